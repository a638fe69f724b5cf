"""Stage dedup: data/clean/ -> data/unique/ (train/, valid/), exact and near duplicates removed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel
from pipeline.overlap import dedup
from stages import params

CLEAN = Path("data/clean")
UNIQUE = Path("data/unique")


def main() -> Mapping[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("dedup", dedup.Config)
    with parallel.engine() as engine:
        return dedup.run(CLEAN, UNIQUE, config, engine)


if __name__ == "__main__":
    command.run_stage("dedup", __doc__, main)
