"""Stage study: what fine-tuning owes to pre-training and its parts -> metrics/study.json.

Beside the default path, in study/dvc.yaml: `make study`, or `dvc repro study/dvc.yaml`. A finished
run is not trained again; a killed one continues from its checkpoint.
"""

from pathlib import Path
from typing import Any

from model.config import Architecture
from model.finetune import growth, settings, study
from model.training import settings as training
from pipeline.engine import command
from stages import params


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("study", study.Config)
    bench = growth.Bench(
        root=Path(),
        override=params.override,
        architecture=params.load("model", Architecture),
        train=params.load("train", training.Config),
        n_checkpoints=config.checkpoints,
        tasks=config.tasks,
    )
    found = study.run(Path(), params.load("finetune", settings.Config), config)
    return {**found, "heuristics": growth.run(bench)}


if __name__ == "__main__":
    command.run_stage("study", __doc__, main)
