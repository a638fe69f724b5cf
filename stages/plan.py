"""Says what a run will need before it is begun: `python -m stages.plan --links 45000000`.

Beside the graph. Presets may be named as for `stages.configure`; they are merged into a copy of
params.yaml, which stays as it is.

    --links N corpus=NAME   the whole chain: bytes, shards, core-hours by stage, days of the crawl,
                            disk, money, then the training on the tokens that come out
    --train                 the training alone: parameters, memory of a rank by ZeRO stage, tokens,
                            operations, hours, predicted loss. The corpus's tokens are those of
                            data/tokens, where it is, or --tokens

What stages cost stands in benchmarks/costs.json; `python -m benchmarks.scaling --calibrate`
measures it anew. Corpora and machines, with prices, stand there too.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from crawl import rules
from crawl.hosts import Pace
from model.config import Architecture
from model.training import plan
from model.training.settings import Config
from pipeline.engine import chain, command, costs
from pipeline.engine.costs import Costs
from pipeline.store import manifest
from pipeline.tokens import bpe
from stages import configure, params

TOKENS = Path("data/tokens")
FITTED = Path("metrics/scaling.json")
COSTS = Path("benchmarks/costs.json")

Known = TypeVar("Known")


def main() -> int:
    """Prints the plan."""
    parser = _parser()
    given = parser.parse_args()
    if given.train == (given.links is not None):
        parser.error("expected one of --links N and --train")
    if given.tokens is not None and not given.train:
        parser.error("--tokens belongs to --train; the chain's tokens come out of --links")
    with tempfile.TemporaryDirectory(prefix="outbound-plan-") as folder:
        file = Path(shutil.copy(params.FILE, folder))
        configure.configure(given.presets, file)
        try:
            asked = None if given.train else _chain(given, file)
            trainer = _trainer(given)
        except ValueError as error:
            parser.error(str(error))
        told, lines = _plan(asked, trainer, file)
    print(json.dumps(told, indent=1) if given.json else "\n".join(lines))
    return 0


def _plan(
    asked: tuple[chain.Asked, Costs] | None, trainer: plan.Asked, file: Path
) -> tuple[dict[str, Any], list[str]]:
    """Returns the plan and its lines for people; of the training alone without a chain."""
    if asked is None:
        return _training(trainer, file)
    _, known = asked
    data = chain.make(*asked)
    tokens = data["volumes"]["train_tokens"]
    training, lines = _training(trainer._replace(corpus_tokens=tokens), file)
    return {"data": data, "training": training}, [*chain.table(data, known), "", *lines]


def _training(asked: plan.Asked, file: Path) -> tuple[dict[str, Any], list[str]]:
    vocabulary = params.load("bpe", bpe.Config, file)
    shape = params.load("model", Architecture, file).with_vocab(vocabulary.n_vocab)
    config = params.load("train", Config, file)
    made = plan.make(shape, config, asked)
    return made, list(plan.table(made, config.zero_stage, config.offload))


def _chain(given: argparse.Namespace, file: Path) -> tuple[chain.Asked, Costs]:
    """Returns what is asked of the chain up to the tokens, and what its stages cost.

    Raises:
        ValueError: A figure is out of range, or no corpus or machine of that name is known.
    """
    known, sections = costs.load(COSTS), params.read(file)
    corpora = [each.partition("=")[2] for each in given.presets if each.startswith("corpus=")]
    pace = Pace(**sections["crawl"]["pace"])
    asked = chain.Asked(
        n_links=given.links,
        corpus=_named(known.corpora, corpora[-1] if corpora else None, "corpus=NAME"),
        partitions=params.load("links", rules.Config, file).partitions,
        max_warc_bytes=sections["crawl"]["max_warc_bytes"],
        hosts=pace.hosts,
        min_delay_s=pace.min_delay_s,
        stop_after_s=sections["crawl"]["stop_after_s"],
        node=_named(known.nodes, given.node, "--node"),
        n_nodes=given.nodes,
    )
    asked.check()
    return asked, known


def _trainer(given: argparse.Namespace) -> plan.Asked:
    """Returns what is asked of the training.

    Raises:
        ValueError: A figure is out of range, or no machine of that name is known.
    """
    hardware, ranks, price = given.hardware, given.ranks, None
    if given.gpu_node is not None:
        node = _named(costs.load(COSTS).nodes, given.gpu_node, "--gpu-node")
        if not node.gpus:
            raise ValueError(f"--gpu-node is {given.gpu_node!r}; expected a machine with GPUs")
        hardware, ranks = node.device, node.gpus * given.gpu_nodes
        price = None if node.usd_per_hour is None else node.usd_per_hour / node.gpus
    corpus = _corpus_tokens() if given.train and given.tokens is None else given.tokens
    asked = plan.Asked(hardware, ranks, given.mfu, given.tokens_per_second, corpus, FITTED, price)
    asked.check()
    return asked


def _named(known: Mapping[str, Known], name: str | None, option: str) -> Known:
    if name is None or name not in known:
        raise ValueError(f"{option} is {name!r}; known: {', '.join(known)} ({COSTS})")
    return known[name]


def _corpus_tokens() -> int | None:
    """Returns the tokens of the training split, None where there are no token shards yet."""
    if not (TOKENS / manifest.NAME).is_file():
        return None
    return manifest.load(TOKENS, "encode").tally.get("train_tokens")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("presets", nargs="*", metavar="THEME=NAME")
    parser.add_argument("--links", type=int, help="plan the whole chain for so many links")
    parser.add_argument("--train", action="store_true", help="plan the training alone")
    parser.add_argument("--node", default="c7i.8xlarge", help="machines for the data (c7i.8xlarge)")
    parser.add_argument("--nodes", type=int, default=1, help="how many (1)")
    device = parser.add_mutually_exclusive_group()
    device.add_argument("--gpu-node", help="machines for the training")
    device.add_argument("--hardware", choices=plan.DEVICES, help="device of each rank")
    parser.add_argument("--gpu-nodes", type=int, default=1, help="how many (1)")
    parser.add_argument("--ranks", type=int, default=1, help="without --gpu-node (1)")
    parser.add_argument("--mfu", type=float, default=0.4, help="share of the peak reached (0.4)")
    parser.add_argument("--tokens-per-second", type=float, help="measured, of all ranks together")
    parser.add_argument("--tokens", type=int, help="tokens of the corpus, instead of data/tokens")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(command.guarded(main))
