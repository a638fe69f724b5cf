"""What two texts have in common: duplicates in the corpus, test sets in the corpus."""
