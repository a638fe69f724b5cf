"""From text to token shards: byte-level BPE, encoding, the Arrow files that training maps."""
