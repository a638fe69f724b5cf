"""Stage labelled: a mirror folder, data/unique/ -> data/labelled/, the tasks of fine-tuning."""

from pathlib import Path
from typing import Any

from model.finetune import labelled
from pipeline.engine import command
from stages import params

UNIQUE = Path("data/unique")
OUTPUT = Path("data/labelled")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    return labelled.run(UNIQUE, OUTPUT, params.load("labelled", labelled.Config))


if __name__ == "__main__":
    command.run_stage("labelled", __doc__, main)
