"""Stage sample: models/pretrained/ -> samples/, what the model writes, by several methods."""

from pathlib import Path
from typing import Any

from model import sample
from pipeline.engine import command
from stages import params

PRETRAINED = Path("models/pretrained")
OUTPUT = Path("samples")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    return sample.run(PRETRAINED, OUTPUT, params.load("sample", sample.Config))


if __name__ == "__main__":
    command.run_stage("sample", __doc__, main)
