"""Stage decontaminate: data/unique/, data/eval/ -> data/corpus/, data/overlap/."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel, root
from pipeline.overlap import decontaminate
from stages import params

UNIQUE = Path("data/unique")
EVAL = Path("data/eval")
OUTPUTS = decontaminate.Outputs(corpus=Path("data/corpus"), overlap=Path("data/overlap"))


def main() -> Mapping[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("decontaminate", decontaminate.Config)
    with parallel.engine() as engine:
        figures = decontaminate.run(UNIQUE, EVAL, OUTPUTS, config, engine)
        return {**figures, "root": root.run(OUTPUTS.corpus, engine)}


if __name__ == "__main__":
    command.run_stage("decontaminate", __doc__, main)
