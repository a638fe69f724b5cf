"""The playground: a page on this machine that asks a model, and what it has read."""
