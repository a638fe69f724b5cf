"""The capacity ladder: models of several sizes, and what size alone buys."""
