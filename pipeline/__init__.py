"""Everything between a WARC file and a token shard: what lies on disk, the engine, the steps."""
