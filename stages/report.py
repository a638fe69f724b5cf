"""Writes `report/index.html`: what the run built, whether it adds up, what its text looks like."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine import command
from pipeline.report import page
from stages import params

SOURCES = page.Sources(
    data=Path("data"), metrics=Path("metrics"), samples=Path("samples"), params=params.FILE
)
OUTPUT = Path("report")


def main() -> Mapping[str, Any]:
    """Runs the stage and returns its figures."""
    return page.run(SOURCES, OUTPUT, params.load("report", page.Config))


if __name__ == "__main__":
    command.run_stage("report", __doc__, main)
