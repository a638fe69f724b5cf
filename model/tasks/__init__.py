"""Tasks of the papers: their test sets, their protocols, their figures."""
