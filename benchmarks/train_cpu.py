"""Training on a CPU: this project's engine, nanoGPT's model in its loop, and transformers' GPT-2.

Same network, same initial weights, same sequences in the same order, same optimizer, clipping and
accumulation, same number of threads, products in bf16, weights and moments in fp32. Ours runs
DeepSpeed. Every contender runs at the best of a sweep that is printed: torch.compile, size of the
micro-batch, what malloc keeps. Then everyone's best two take turns (`benchmarks.resident`), and the
better of them counts. The peers also run with weights and moments in bf16 alone, which is another
precision: told apart (`bf16_weights`), and part of no ratio.

Two shapes: the default's, and one between it and GPT-2's; ids are those of the default's corpus.

Checks
- losses_equal: in fp32, over 200 steps (--small: 20) on the text that OUTBOUND_TEST_DATA holds, a
  byte each, else on drawn ids: the loss of every step of every peer is ours within .0005 nats.
- bf16_close: the measured runs with fp32 weights; the first three losses within one percent.

Run: OUTBOUND_NANOGPT=CHECKOUT python -m benchmarks.train_cpu [--small] [--threads N]
"""

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness, resident, training
from benchmarks.harness import Check, Comparison, Run
from benchmarks.machine import Limit
from benchmarks.trainees import Precision, Settings, Who
from benchmarks.training import Axes, Case, case
from pipeline.store import manifest
from pipeline.tokens.arrow import open_shards

_TARGET = 1.0
_TOLERANCE = 5e-4  # nats, in fp32 over 200 steps
_SIDES = (1024, 2048, 4096)  # of the square matrices whose product is the limit
_TEXTS = ("gutenberg.txt", "us_presidents.txt")
_DATA = "OUTBOUND_TEST_DATA"
# What is tried, one after the other; the best so far is kept. The first value is where it starts.
_PEER: Axes = {"compile": (True, False), "keep_memory": (False, True)}
_AXES: dict[str, Axes] = {
    "outbound": {"compile": (True, False), "zero_stage": (1, 0, 2), "halves": (1, 2)},
    "nanogpt": {**_PEER, "halves": (1, 2)},
    "transformers": {**_PEER, "attention": ("sdpa", "eager"), "halves": (1, 2)},
}
_PRECISIONS: dict[Who, tuple[Precision, ...]] = {  # ours has fp32 weights beside those in bf16
    "outbound": ("bf16",),
    "nanogpt": ("autocast", "bf16"),
    "transformers": ("autocast", "bf16"),
}
CASES = (
    case("default", (1, 4, 256, 64, 8192), batch=16, n_steps=10),
    case("middle", (6, 6, 384, 256, 50257), batch=8, n_steps=4),
)
# nanoGPT's README, "I only have a macbook": layers, heads, width, context and batch of its example
TEXT = case("text", (4, 4, 128, 64, 256), batch=12, n_steps=200)


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    cases = [of for of in CASES if given.shape in (of.name, "all")]
    told: dict[str, Any] = {}
    status = 0
    with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
        off = parity(Path(name), 20 if given.small else TEXT.n_steps, given.threads)
        for of in [training.TINY] if given.small else cases:
            told[of.name], runs, checks = _compare(of, Path(name), given, off)
            status |= training.finish(told, runs, checks, given.results)
    return status


def _compare(
    of: Case, folder: Path, given: argparse.Namespace, off: dict[str, float]
) -> tuple[dict[str, Any], dict[str, list[Run]], dict[str, Check]]:
    """Sweeps each contender's settings, then lets the best ones take turns."""
    base = training.prepare(of, folder, _sequences(of, given.tokens), n_threads=given.threads)
    finalists: dict[str, Settings] = {}
    swept: dict[str, float] = {}
    for who in training.with_nanogpt("transformers"):
        axes = {} if given.small else _AXES[who]
        for precision in _PRECISIONS[who][: 1 if given.small else None]:
            start = replace(base, who=who, precision=precision)
            costs = training.sweep(of, start, axes)
            finalists |= training.finalists(costs)
            swept |= training.rates(of, costs)
    every, close = training.take_turns(of, folder, finalists, 1 if given.small else given.rounds)
    best = training.fastest(every, finalists, clock=False)
    runs = {name: each for name, each in best.items() if not finalists[name].is_less_precise}
    equal = Check(float(all(g <= _TOLERANCE for g in off.values())), 1.0)
    checks = {"losses_equal": equal, "bf16_close": close}
    comparison = Comparison(
        name="train_cpu",
        case=of.name,
        work=f"{training.work(of)}, {given.threads} threads",
        unit="tokens per CPU-second",
        amount=of.n_steps * of.tokens_per_step,
        target=_TARGET,
        inputs=harness.digest([base.weights, base.sequences]),
    )
    ours = next(iter(runs))
    told = harness.result(comparison, runs, ours, checks)
    clock = harness.result(comparison, training.by_clock(runs), ours, {})
    told["bf16_weights"] = {
        name: round(comparison.amount / statistics.median(run.cpu_s for run in each), 3)
        for name, each in best.items()
        if name not in runs
    }
    told |= {"swept": swept, "versions": training.versions("torch", "deepspeed", "transformers")}
    torch.set_num_threads(given.threads)
    peak = training.matrix_peak("cpu", (256,) if given.small else _SIDES)
    reached = told["ours"] * training.operations_per_token(of.shape)
    told["limit"] = Limit("bf16 product", peak, reached, "FLOP per CPU-second").told()
    told["wall"] = {key: clock[key] for key in ("ours", "peers", "ratio", "spread")}
    return {**told, "threads": given.threads, "loss_gap_nats": off}, runs, checks


def parity(folder: Path, n_steps: int, n_threads: int) -> dict[str, float]:
    """Returns how far, in nats, each peer's loss is from ours at most in an fp32 run."""
    rows = _text()
    rows = training.drawn(TEXT) if rows is None else rows
    settings = training.prepare(TEXT, folder, rows, precision="fp32", n_threads=n_threads)
    runs = {who: replace(settings, who=who) for who in training.with_nanogpt("transformers")}
    with resident.started(training.written(folder, runs)) as found:
        losses = {one.name: one.steps(n_steps).told["losses"] for one in found}
    off = training.gap(losses, "outbound", relative=False)
    last = {name: round(of[-1], 5) for name, of in losses.items()}
    print(f"fp32, {n_steps} steps: last losses {last}, largest gaps {off}", file=sys.stderr)
    return off


def _sequences(of: Case, tokens: Path) -> np.ndarray[Any, Any]:
    """Returns (n, n_ctx + 1) ids of the default's corpus, drawn ones where there is none."""
    if of is training.TINY or not (tokens / "manifest.json").is_file():
        return training.drawn(of)
    stream = open_shards(manifest.load(tokens, "encode").paths("train"))
    n = min(training.N_SEQUENCES, (stream.n_tokens - 1) // of.shape.n_ctx)
    return training.cut(np.asarray(stream.slice(0, n * of.shape.n_ctx + 1)), of)


def _text() -> np.ndarray[Any, Any] | None:
    """Returns sequences of bytes from all over the public texts, None where there are none."""
    folder = Path(os.environ.get(_DATA, "")) / "text"
    paths = [folder / name for name in _TEXTS if (folder / name).is_file()]
    if not paths:
        return None
    read = np.frombuffer(b"".join(path.read_bytes() for path in paths), np.uint8)
    n = TEXT.n_steps * TEXT.batch
    length = TEXT.shape.n_ctx + 1
    return np.stack([read[start : start + length] for start in np.arange(n) * (len(read) // n)])


def _parser() -> argparse.ArgumentParser:
    found = harness.parser(__doc__)
    found.add_argument("--threads", type=int, default=os.cpu_count(), help="of every contender")
    found.add_argument("--shape", choices=[*(c.name for c in CASES), "all"], default="all")
    found.add_argument(
        "--tokens", type=Path, default=Path("data/tokens"), help="token shards to train on"
    )
    return found


if __name__ == "__main__":
    harness.main(main, _parser())
