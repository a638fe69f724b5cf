"""Stage clean: data/pages/ -> data/clean/, regular text that passes language and quality rules."""

from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel
from pipeline.text import clean
from stages import params

PAGES = (Path("data/pages"),)
CLEAN = Path("data/clean")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("clean", clean.Config)
    with parallel.engine() as engine:
        return clean.run(PAGES, CLEAN, config, engine)


if __name__ == "__main__":
    command.run_stage("clean", __doc__, main)
