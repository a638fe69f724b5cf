"""Continues texts with a model: `python -m stages.generate "A prompt" --top-k 40`.

Beside the graph. Each prompt stands at the start of a document; without any, every line of standard
input is one, and an empty one asks for a document of the model's own. Prints each prompt with what
follows it; `<|endoftext|>` and the strings of --stop end a text and are not printed.
"""

import argparse
import sys
from pathlib import Path

from model import hf
from model.sample import Settings
from model.score import Scorer, device
from model.stops import Stops
from pipeline.engine import command
from pipeline.tokens import codec


def main() -> int:
    """Prints the texts."""
    given = _parser().parse_args()
    settings = Settings(temperature=given.temperature, top_k=given.top_k, top_p=given.top_p)
    network, _ = hf.load(given.model)
    coder = codec.load(given.model / "tokenizer.json")
    scorer = Scorer(network.to(device()), coder.vocabulary.eot_id)
    stops = Stops(strings=tuple(given.stop), coder=coder)
    asked = given.prompt or sys.stdin.read().splitlines()
    prompts = [prompt for prompt in asked for _ in range(given.samples)]
    ids = [coder.encode(prompt) for prompt in prompts]
    made = scorer.generate(ids, settings, given.tokens, given.seed, stops=stops)
    for prompt, new in zip(prompts, made, strict=True):
        print(f"{prompt}{stops.text(new)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.generate", description=__doc__)
    parser.add_argument("prompt", nargs="*", help="a text to continue")
    parser.add_argument("--model", type=Path, default=Path("models/pretrained"), help="its folder")
    parser.add_argument("--tokens", type=int, default=100, help="new tokens at most (100)")
    parser.add_argument("--samples", type=int, default=1, help="texts per prompt (1)")
    parser.add_argument("--temperature", type=float, default=1.0, help="divides the logits (1)")
    parser.add_argument("--top-k", type=int, help="the k likeliest tokens only; 1: greedy")
    parser.add_argument("--top-p", type=float, help="the fewest tokens that hold this probability")
    parser.add_argument("--stop", action="append", default=[], help="ends a text; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (0)")
    return parser


if __name__ == "__main__":
    sys.exit(command.guarded(main))
