"""Says what a run will need before it is begun: `python -m stages.plan --train --hardware h100`.

Beside the graph. From params.yaml: parameters, memory of a rank by ZeRO stage, tokens, operations,
hours, predicted loss. The corpus's tokens are those of data/tokens, where it is, or --tokens.
"""

import argparse
import json
import sys
from pathlib import Path

from model.config import Architecture
from model.training import plan
from model.training.settings import Config
from pipeline.engine import command
from pipeline.store import manifest
from pipeline.tokens import bpe
from stages import params

TOKENS = Path("data/tokens")
FITTED = Path("metrics/scaling.json")


def main() -> int:
    """Prints the plan."""
    parser = _parser()
    given = parser.parse_args()
    vocabulary = params.load("bpe", bpe.Config)
    shape = params.load("model", Architecture).with_vocab(vocabulary.n_vocab)
    config = params.load("train", Config)
    rate = given.tokens_per_second
    corpus = _corpus_tokens() if given.tokens is None else given.tokens
    asked = plan.Asked(given.hardware, given.ranks, given.mfu, rate, corpus, FITTED)
    try:
        asked.check()
    except ValueError as error:
        parser.error(str(error))
    made = plan.make(shape, config, asked)
    table = plan.table(made, config.zero_stage, config.offload)
    print(json.dumps(made, indent=1) if given.json else "\n".join(table))
    return 0


def _corpus_tokens() -> int | None:
    """Returns the tokens of the training split, None where there are no token shards yet."""
    if not (TOKENS / manifest.NAME).is_file():
        return None
    return manifest.load(TOKENS, "encode").tally.get("train_tokens")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.plan", description=__doc__)
    parser.add_argument("--train", action="store_true", required=True, help="plan the training")
    parser.add_argument("--hardware", choices=plan.DEVICES, help="device of each rank")
    parser.add_argument("--ranks", type=int, default=1, help="number of ranks (1)")
    parser.add_argument("--mfu", type=float, default=0.4, help="share of the peak reached (0.4)")
    parser.add_argument("--tokens-per-second", type=float, help="measured, of all ranks together")
    parser.add_argument("--tokens", type=int, help="tokens of the corpus, instead of data/tokens")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(command.guarded(main))
