"""Evaluates published weights: `python -m stages.published FOLDER --size 117M`.

Beside the graph. FOLDER holds config.json and model.safetensors as transformers' `save_pretrained`
writes them, and tokenizer.json as published with the weights, or merges.txt and vocab.json. The
sets are those of data/eval, the protocol is that of params.yaml, section evaluate. A run that was
killed goes on where it was. Prints pass or fail for each figure that the GPT-2 paper gives for a
model of this size; exit status 1 where one fails or none can be judged. It has not been run on
OpenAI's weights: none were at hand.
"""

import argparse
import sys
from pathlib import Path

from model.tasks import evaluate, verdict
from pipeline.engine import command
from stages import params

EVALUATION = Path("data/eval")
OVERLAP = Path("data/overlap")
STORE = Path(".shards/published")


def main() -> int:
    """Prints the verdicts."""
    given = _parser().parse_args()
    config = params.load("evaluate", evaluate.Config)
    found = evaluate.run(given.folder, EVALUATION, OVERLAP, STORE, config)
    verdicts = verdict.verdicts(found.protocols["matrix"], given.size, given.max_deviation)
    print("\n".join(verdict.lines(verdicts) or ["no figure of the paper stands beside these sets"]))
    return 0 if verdicts and all(each.is_passed for each in verdicts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.published", description=__doc__)
    parser.add_argument("folder", type=Path, help="a model in transformers' layout")
    parser.add_argument(
        "--size", required=True, choices=["117M", "345M", "762M", "1542M"], help="as in the paper"
    )
    parser.add_argument(
        "--max-deviation", type=float, default=0.02, help="from the paper's figure, relative (0.02)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(command.guarded(main))
