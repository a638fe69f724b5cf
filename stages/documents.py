"""Stage documents: the user's JSON lines, Parquet and text files -> data/documents/, as pages.

What is read is `documents.inputs` in params.yaml; the embedded default has none.
"""

from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel
from pipeline.text import documents
from stages import params

PAGES = Path("data/pages")
DOCUMENTS = Path("data/documents")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("documents", documents.Config)
    with parallel.engine() as engine:
        return documents.run(PAGES, DOCUMENTS, config, engine)


if __name__ == "__main__":
    command.run_stage("documents", __doc__, main)
