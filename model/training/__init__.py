"""Pre-training: token windows, schedule, DeepSpeed engine, checkpoints, launch."""
