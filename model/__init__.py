"""The language model: architecture, file layout, training, scoring, tasks."""
