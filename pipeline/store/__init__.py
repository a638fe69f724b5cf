"""What lies on disk: records, shards, manifests, WARC files, metrics, the ledger."""
