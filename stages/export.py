"""Writes the token shards as another trainer reads them: `python -m stages.export --help`."""

import argparse
import sys
from pathlib import Path

from pipeline.engine import command
from pipeline.tokens import export

TOKENS = Path("data/tokens")
BPE = Path("data/bpe")


def main() -> int:
    """Writes the files and prints how many tokens each split has."""
    parser = argparse.ArgumentParser(prog="python -m stages.export", description=__doc__)
    parser.add_argument("--format", choices=export.FORMATS, required=True, help="whose format")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    given = parser.parse_args()
    counts = export.run(TOKENS, BPE, given.out, given.format)
    told = ", ".join(f"{split} {n:,} tokens" for split, n in counts.items())
    print(f"export: {given.out}: {told}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(command.guarded(main))
