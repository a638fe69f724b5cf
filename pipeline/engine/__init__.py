"""How steps run: one task per shard on Ray, resume, conservation, progress, exit codes."""
