"""Stage scaling: models of several sizes on equal tokens -> metrics/scaling.json, plots.

Beside the default path, in scaling/dvc.yaml: `make scaling`, or `dvc repro scaling/dvc.yaml`. A
finished size is not trained again; a killed one continues from its checkpoint.
"""

from pathlib import Path
from typing import Any

from model.capacity import ladder, scaling
from model.config import Architecture
from model.tasks import evaluate
from model.training import settings
from pipeline.engine import command
from stages import params

PLOTS = Path("metrics/scaling")
ANSWERS = Path(".shards/scaling-answers")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("scaling", scaling.Config)
    bench = ladder.Bench(
        root=Path(),
        override=params.override,
        answers=ANSWERS,
        evaluate=params.load("evaluate", evaluate.Config),
        documents=config.documents,
    )
    shape, train = params.load("model", Architecture), params.load("train", settings.Config)
    found = scaling.run(bench, shape, train, config)
    scaling.write_plots(PLOTS, found)
    return found


if __name__ == "__main__":
    command.run_stage("scaling", __doc__, main)
