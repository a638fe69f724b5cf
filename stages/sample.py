"""Stage sample: models/pretrained/, data/eval/ -> samples/, what the model writes."""

from pathlib import Path
from typing import Any

from model import gallery
from pipeline.engine import command
from stages import params

PRETRAINED = Path("models/pretrained")
EVALUATION = Path("data/eval")
OUTPUT = Path("samples")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("sample", gallery.Config)
    return gallery.run(PRETRAINED, EVALUATION, OUTPUT, config)


if __name__ == "__main__":
    command.run_stage("sample", __doc__, main)
