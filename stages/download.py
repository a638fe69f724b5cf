"""Fetches published evaluation sets: `python -m stages.download lambada_openai wikitext2`.

Beside the graph, which never touches the network. Files go to the mirror folder (evalsets.mirror of
params.yaml, or --mirror); a transfer that broke goes on where it was. Digests are checked where one
is known and reported where none is; the licence note is shown. Then: dvc repro evalsets
"""

import argparse
import sys
from pathlib import Path

from model.tasks import download, evalsets
from pipeline.engine import command
from stages import params


def main() -> int:
    """Fetches the named sets and tells what came."""
    given = _parser().parse_args()
    mirror = given.mirror or params.load("evalsets", evalsets.Config).mirror
    if mirror is None:
        raise ValueError("params.yaml: evalsets.mirror is null; expected a folder, or --mirror")
    sets = download.chosen(given.sets)
    if given.url and len({known.fetch for known in sets}) > 1:
        raise ValueError("--url is one address; expected sets that come from one file or archive")
    for found in download.fetch(sets, Path(mirror), given.url):
        print("\n".join(download.lines(found)))
    download.clear(Path(mirror))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__)
    parser.add_argument("sets", nargs="+", metavar="SET", help="names as in model/tasks/registry")
    parser.add_argument("--mirror", help="folder to fill (evalsets.mirror of params.yaml)")
    parser.add_argument("--url", help="another address of the same file or archive")
    return parser


if __name__ == "__main__":
    sys.exit(command.guarded(main))
