"""Stage evalsets: a mirror folder, data/unique/valid/ -> data/eval/, the evaluation sets."""

from pathlib import Path
from typing import Any

from model.tasks import evalsets
from pipeline.engine import command
from stages import params

UNIQUE = Path("data/unique")
OUTPUT = Path("data/eval")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    return evalsets.run(UNIQUE, OUTPUT, params.load("evalsets", evalsets.Config))


if __name__ == "__main__":
    command.run_stage("evalsets", __doc__, main)
