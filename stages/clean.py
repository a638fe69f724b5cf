"""Stage clean: data/pages/, data/documents/ -> data/clean/, regular text that passes the rules.

First of all, what `removal.list` names is left out; data/fetches/ tells where redirects ended.
"""

from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel
from pipeline.text import clean, removal
from stages import params

PAGES = Path("data/pages")
FETCHES = Path("data/fetches")
DOCUMENTS = Path("data/documents")
CLEAN = Path("data/clean")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("clean", clean.Config)
    listed = params.load("removal", removal.Config)
    with parallel.engine() as engine:
        removed = removal.find([PAGES, DOCUMENTS], FETCHES, listed, engine)
        return clean.run((PAGES, DOCUMENTS), CLEAN, config, engine, removed)


if __name__ == "__main__":
    command.run_stage("clean", __doc__, main)
