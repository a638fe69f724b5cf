"""Opens the playground: a page on this machine that asks the models, and what they have read.

Beside the graph. Continues prompts with token probabilities, two checkpoints side by side; finds
passages in the training tokens; tells the fate of a URL. Needs `dvc repro train` for the models,
`dvc repro encode` for the rest; what is there is offered. Listens on 127.0.0.1 alone.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from model import gallery
from model.play import checkpoints, server
from model.play.corpus import Corpus, Places
from model.score import device
from pipeline.engine import command
from pipeline.engine.tasks import InlineEngine
from pipeline.store import manifest
from pipeline.text import captures
from pipeline.tokens import ngrams
from stages import params

DATA = Path("data")
MODELS = Path("models")
NGRAMS = DATA / "ngrams"


def main() -> int:
    """Serves the page until Ctrl-C."""
    asked = _parser().parse_args()
    config = params.load("play", server.Config)
    if asked.port is not None:
        config = replace(config, port=asked.port)
    if (DATA / "tokens" / manifest.NAME).is_file():
        ngrams.make(DATA / "tokens", NGRAMS, InlineEngine())
    with ThreadPoolExecutor(server.N_THREADS) as pool:
        server.serve(_playground(config, asked.model, pool), _announce)
    return 0


def _playground(
    config: server.Config, others: list[Path], pool: ThreadPoolExecutor
) -> server.Playground:
    found = checkpoints.listing(MODELS, others)
    shelf = checkpoints.Shelf(
        entries={entry.name: entry for entry in found},
        tokenizers=(DATA / "bpe", MODELS / checkpoints.PRETRAINED),
        n_kept=config.n_models,
        device=device(),
    )
    places = Places(
        data=DATA,
        ngrams=NGRAMS,
        checkpoints=MODELS / "checkpoints",
        settings=params.read(),
        scan=captures.offsets,
    )
    shown = params.load("sample", gallery.Config)
    return server.Playground(
        config=config,
        shelf=shelf,
        corpus=Corpus(places),
        methods=shown.methods,
        method=shown.continuations.method,
        prompts=shown.prompts,
        pool=pool,
    )


def _announce(address: str) -> None:
    print(f"playground: {address}  (Ctrl-C ends it)", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.play",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", nargs="*", type=Path, help="folders of further models, e.g. published ones"
    )
    parser.add_argument("--port", type=int, help="instead of params.yaml's; 0: a free one")
    return parser


if __name__ == "__main__":
    sys.exit(command.guarded(main))
