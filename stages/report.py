"""Writes `report/index.html`: what the run built, whether it adds up, what its text looks like.

Beside it `model_card.md` and `datasheet.md`, in the hubs' forms.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine import command
from pipeline.report import cards, page
from stages import params

SOURCES = page.Sources(
    data=Path("data"), metrics=Path("metrics"), samples=Path("samples"), params=params.FILE
)
OUTPUT = Path("report")


def main() -> Mapping[str, Any]:
    """Runs the stage and returns its figures."""
    cards.run(SOURCES, params.read(), OUTPUT)
    return page.run(SOURCES, OUTPUT, params.load("report", page.Config))


if __name__ == "__main__":
    command.run_stage("report", __doc__, main)
