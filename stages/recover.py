"""Looks dead links up in Common Crawl: data/links/ and data/fetches/ -> data/recovered/.

Beside the graph, which never needs it: `python -m stages.recover` after the crawl. Every link that
its site no longer answers gets the capture nearest to when it was posted, fetched by byte range. To
use what was found: name data/recovered/warc in `extract.inputs` of params.yaml, then `dvc repro`.
Run again after a break, it goes on where it was. It has not been run against the real archive:
there was no network where it was written.
"""

import argparse
import sys
import time
from pathlib import Path

from crawl import crawl, recover
from crawl.fetch import INTERNET
from pipeline.engine import command, parallel
from pipeline.engine.progress import summary
from pipeline.store.shards import Counts
from stages import params

INPUTS = (Path("data/links"), Path("data/fetches"))
OUTPUT = Path("data/recovered")


def main() -> int:
    """Runs the look-up and tells what became of the dead links."""
    argparse.ArgumentParser(prog="python -m stages.recover", description=__doc__).parse_args()
    began = time.monotonic()
    configs = (params.load("recover", recover.Config), params.load("crawl", crawl.Config))
    with parallel.engine() as engine:
        figures = recover.run(INPUTS, OUTPUT, configs, INTERNET, engine)
    print(
        summary("recover", Counts(**figures["counts"]), time.monotonic() - began), file=sys.stderr
    )
    return 0


if __name__ == "__main__":
    sys.exit(command.guarded(main))
