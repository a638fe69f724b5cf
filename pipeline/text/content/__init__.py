"""From a page of markup to its main text."""
