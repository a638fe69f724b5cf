"""Stage extract: data/warc/ -> data/pages/, each page's main text and statements of its own."""

from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel
from pipeline.text import extract
from stages import params

WARC = Path("data/warc")
PAGES = Path("data/pages")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("extract", extract.Config)
    with parallel.engine() as engine:
        return extract.run(WARC, PAGES, config, engine)


if __name__ == "__main__":
    command.run_stage("extract", __doc__, main)
