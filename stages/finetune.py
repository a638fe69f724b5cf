"""Stage finetune: models/pretrained/, data/labelled/ -> models/finetuned/<task>/, metrics/.

Continues a run that was stopped, from models/checkpoints/finetune/. Ranks as for stage train.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from model.finetune import finetune, settings
from model.training import launch
from pipeline.engine import command
from stages import params

FOLDERS = finetune.Folders(
    labelled=Path("data/labelled"),
    pretrained=Path("models/pretrained"),
    checkpoints=Path("models/checkpoints/finetune"),
    models=Path("models/finetuned"),
)


def main() -> Mapping[str, Any] | None:
    """Runs the stage and returns its figures."""
    config = params.load("finetune", settings.Config)
    return launch.start(partial(finetune.run, FOLDERS, config), FOLDERS.checkpoints)


if __name__ == "__main__":
    command.run_stage("finetune", __doc__, main, launch.end)
