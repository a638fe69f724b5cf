"""Writes `report/index.html`: what the run built, whether it adds up, what its text looks like.

Beside it `model_card.md` and `datasheet.md`, in the hubs' forms.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.training import lineage
from pipeline.engine import command
from pipeline.report import cards, page
from stages import params

DATA = Path("data")
CHECKPOINTS = Path("models/checkpoints")
BEFORE = Path(".shards/report")
OUTPUT = Path("report")


def main() -> Mapping[str, Any]:
    """Runs the stage and returns its figures."""
    settings = params.read()
    sources = page.Sources(
        data=DATA,
        metrics=Path("metrics"),
        samples=Path("samples"),
        params=params.FILE,
        settings=settings,
        before=BEFORE,
        training=lineage.Trained(
            tokens=DATA / "tokens", checkpoints=CHECKPOINTS, settings=settings
        ),
    )
    cards.run(sources, OUTPUT)
    return page.run(sources, OUTPUT, params.load("report", page.Config))


if __name__ == "__main__":
    command.run_stage("report", __doc__, main)
