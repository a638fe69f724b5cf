"""Stage crawl: data/links/ -> data/warc/ and data/fetches/, every link asked for politely, once.

With `crawl.source: demo` in params.yaml the web is data/web/, served on loopback; with `web` it is
the internet. A crawl that was stopped goes on where it was: run the same command again.
"""

from pathlib import Path
from typing import Any

from crawl import crawl
from pipeline.engine import command, parallel
from stages import params

LINKS = Path("data/links")
WEB = Path("data/web")
WARC = Path("data/warc")
FETCHES = Path("data/fetches")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("crawl", crawl.Config)
    with parallel.engine() as engine:
        return crawl.run((LINKS, WEB), (WARC, FETCHES), config, engine)


if __name__ == "__main__":
    command.run_stage("crawl", __doc__, main)
