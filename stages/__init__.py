"""One thin module per stage of dvc.yaml, and the two that run and configure the graph."""
