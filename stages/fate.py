"""Tells the fate of one URL: how far it came through the graph, and why no further."""

import argparse
import sys
from pathlib import Path

from pipeline.engine import command
from pipeline.store import ledger

DATA = Path("data")


def main() -> int:
    """Prints the URL's way, one line per stage."""
    parser = argparse.ArgumentParser(prog="python -m stages.fate", description=__doc__)
    parser.add_argument("url", help="as in the link list, e.g. https://example.org/page")
    url = parser.parse_args().url
    print(ledger.explain(ledger.load(DATA), url))
    return 0


if __name__ == "__main__":
    sys.exit(command.guarded(main))
