"""Stage encode: data/corpus/, data/bpe/ -> data/tokens/, shards that training maps into memory."""

from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel
from pipeline.tokens import encode

CORPUS = Path("data/corpus")
BPE = Path("data/bpe")
OUTPUT = Path("data/tokens")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    with parallel.engine() as engine:
        return encode.run(CORPUS, BPE, OUTPUT, engine)


if __name__ == "__main__":
    command.run_stage("encode", __doc__, main)
