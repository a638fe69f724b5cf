"""Fine-tuning as in the GPT-1 paper: labelled tasks, inputs, a head, and the paper's questions."""
