"""Stage bpe: data/corpus/train/ -> data/bpe/, a BPE vocabulary, learned or adopted."""

from pathlib import Path
from typing import Any

from pipeline.engine import command
from pipeline.tokens import bpe
from stages import params

CORPUS = Path("data/corpus")
OUTPUT = Path("data/bpe")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    return bpe.run(CORPUS, OUTPUT, params.load("bpe", bpe.Config))


if __name__ == "__main__":
    command.run_stage("bpe", __doc__, main)
