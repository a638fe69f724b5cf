"""Stage train: data/tokens/, data/bpe/ -> models/pretrained/, metrics/train/ (the curve).

Continues a run that was stopped, from models/checkpoints/. OUTBOUND_RANKS sets the number of ranks;
OUTBOUND_LAUNCH=ray puts them on a Ray cluster; torchrun and deepspeed may start this module too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.config import Architecture
from model.training import launch, settings
from pipeline.engine import command
from stages import params

PLACES = settings.Places(
    tokens=Path("data/tokens"),
    bpe=Path("data/bpe"),
    checkpoints=Path("models/checkpoints"),
    model=Path("models/pretrained"),
    curve=Path("metrics/train"),
)


def main() -> Mapping[str, Any] | None:
    """Runs the stage and returns its figures."""
    architecture = params.load("model", Architecture)
    config = params.load("train", settings.Config)
    return launch.run(PLACES, architecture, config)


if __name__ == "__main__":
    command.run_stage("train", __doc__, main, launch.end)
