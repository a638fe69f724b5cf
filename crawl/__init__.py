"""From link lists to WARC files: what was submitted, what may be fetched, and how it is fetched."""
