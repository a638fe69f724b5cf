"""Stage links: Reddit dumps and URL lists -> data/links/, one row per link, in crawl partitions.

The folder or address that is read is `links.inputs` in params.yaml; the embedded default's is
data/dump/.
"""

from pathlib import Path
from typing import Any

from crawl import links, rules
from pipeline.engine import command, parallel
from stages import params

LINKS = Path("data/links")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("links", rules.Config)
    with parallel.engine() as engine:
        return links.run(links.folder(config.inputs, engine), LINKS, config, engine)


if __name__ == "__main__":
    command.run_stage("links", __doc__, main)
