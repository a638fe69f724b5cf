"""Stage decontaminate: data/unique/ + data/eval/ -> data/corpus/, 8-gram overlap measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel, root
from pipeline.overlap import decontaminate
from stages import params

UNIQUE = Path("data/unique")
EVAL = Path("data/eval")
CORPUS = Path("data/corpus")


def main() -> Mapping[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("decontaminate", decontaminate.Config)
    with parallel.engine() as engine:
        figures = decontaminate.run(UNIQUE, EVAL, CORPUS, config, engine)
        return {**figures, "root": root.run(CORPUS, engine)}


if __name__ == "__main__":
    command.run_stage("decontaminate", __doc__, main)
