"""What the two training benchmarks share: cases, inputs, the sweep, the comparison itself."""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import harness, resident
from benchmarks.harness import Check, Run
from benchmarks.trainees import NANOGPT, Settings, Who
from model.config import ModelConfig
from model.gpt import GPT, init_weights, linear

_CLOSE = 0.01  # relative, in bf16 over the first steps
_WARM_STEPS = 3
N_SEQUENCES = 512
FINALISTS = 2  # settings of each contender that take part in the rounds

Axes = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One network and its data.

    Attributes:
        name: In the report.
        shape: The network.
        batch: Sequences per step.
        n_steps: Per round and contender.
    """

    name: str
    shape: ModelConfig
    batch: int
    n_steps: int

    @property
    def tokens_per_step(self) -> int:
        """Inputs of one optimizer step."""
        return self.batch * self.shape.n_ctx


def case(name: str, sizes: tuple[int, int, int, int, int], batch: int, n_steps: int) -> Case:
    """Returns a case; sizes are n_layer, n_head, n_embd, n_ctx, n_vocab."""
    keys = ("n_layer", "n_head", "n_embd", "n_ctx", "n_vocab")
    shape = ModelConfig(norm="pre", dropout=0.0, **dict(zip(keys, sizes, strict=True)))
    return Case(name=name, shape=shape, batch=batch, n_steps=n_steps)


TINY = case("tiny", (2, 2, 32, 16, 300), batch=4, n_steps=3)


def work(of: Case) -> str:
    """Returns what a case is, for people."""
    shape = of.shape
    return (
        f"{of.n_steps} steps of {of.tokens_per_step:,} tokens, depth {shape.n_layer}, width "
        f"{shape.n_embd}, context {shape.n_ctx:,}, {shape.n_vocab:,} entries, bf16 products"
    )


def with_nanogpt(*others: Who) -> list[Who]:
    """Returns who takes part: ours first, nanoGPT where there is a checkout."""
    if NANOGPT in os.environ:
        return ["outbound", "nanogpt", *others]
    print(f"{NANOGPT} names no checkout: nanoGPT is left out", file=sys.stderr)
    return ["outbound", *others]


def versions(*names: str) -> dict[str, str]:
    """Returns the versions of packages, and of nanoGPT the digest of its model file."""
    theirs = Path(os.environ.get(NANOGPT, os.devnull)) / "model.py"
    found = harness.versions(*names)
    if theirs.is_file():
        found["nanogpt model.py"] = f"sha256 {harness.digest([theirs])}"
    return found


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────


def prepare(of: Case, folder: Path, rows: np.ndarray[Any, Any], **changes: Any) -> Settings:
    """Writes initial weights and sequences; returns our settings, uncompiled, on the CPU."""
    weights, sequences = folder / f"{of.name}.safetensors", folder / f"{of.name}.npy"
    model = GPT(of.shape)
    init_weights(model, torch.Generator().manual_seed(1))
    save_file(model.state_dict(), weights)
    np.save(sequences, rows)
    usual = Settings(
        who="outbound",
        shape=of.shape,
        precision="bf16",
        compile=False,
        micro=of.batch,
        batch=of.batch,
        zero_stage=1,
        fused=True,
        attention="sdpa",
        keep_memory=False,
        pad_vocab=False,
        lr=1e-3,
        weights=weights,
        sequences=sequences,
        n_threads=os.cpu_count() or 1,
        device="cpu",
    )
    return replace(usual, **changes)


def written(folder: Path, settings: Mapping[str, Settings]) -> dict[str, Path]:
    """Writes settings files and returns them by the same names."""
    paths = {}
    for name, one in settings.items():
        paths[name] = folder / f"{name.replace(' ', '-')}.json"
        paths[name].write_text(json.dumps(asdict(one), default=str), encoding="utf-8")
    return paths


def drawn(of: Case) -> np.ndarray[Any, Any]:
    """Returns (n, n_ctx + 1) ids drawn by Zipf's law."""
    stream = np.random.default_rng(1).zipf(1.2, N_SEQUENCES * of.shape.n_ctx + 1)
    return cut(stream % of.shape.n_vocab, of)


def cut(stream: np.ndarray[Any, Any], of: Case) -> np.ndarray[Any, Any]:
    """Returns a stream's (n, n_ctx + 1) windows, each beginning with the last one's end."""
    n_ctx = of.shape.n_ctx
    n = (len(stream) - 1) // n_ctx
    return np.stack([stream[i * n_ctx : (i + 1) * n_ctx + 1] for i in range(n)])


# ── comparison ───────────────────────────────────────────────────────────────────────────────────


def take_turns(
    of: Case, folder: Path, best: Mapping[str, Settings], n_rounds: int
) -> tuple[dict[str, list[Run]], Check]:
    """Runs the contenders in rounds; checks that the first losses of equal precision are close."""
    with resident.started(written(folder, best)) as found:
        first = {one.name: one.steps(_WARM_STEPS).told["losses"] for one in found}
        runs = resident.rounds(found, n_rounds, of.n_steps)
    equal = {name: losses for name, losses in first.items() if not best[name].is_less_precise}
    off = gap(equal, next(iter(best)), relative=True)
    return runs, Check(1 - max(off.values(), default=0.0), 1 - _CLOSE)


def gap(losses: Mapping[str, Sequence[float]], ours: str, *, relative: bool) -> dict[str, float]:
    """Returns how far each peer's losses are from ours at most.

    >>> gap({"a": [2.0, 4.0], "b": [2.0, 5.0]}, "a", relative=True)
    {'b': 0.25}
    """
    mine = np.array(losses[ours])
    scale = mine if relative else 1.0
    return {
        name: float(np.abs((np.array(theirs) - mine) / scale).max())
        for name, theirs in losses.items()
        if name != ours
    }


def sweep(of: Case, settings: Settings, axes: Axes) -> dict[Settings, float]:
    """Returns what settings cost in seconds, those that failed left out; prints all of them.

    One axis after the other is tried with the best so far. On a noisy machine one measurement is
    no verdict between the best two: `FINALISTS` of them meet in the rounds.

    Args:
        of: The case.
        settings: Where it starts, but for the first value of each axis.
        axes: Field -> values; `halves` stands for parts that the micro-batch is cut into.
    """
    start = {name: values[0] for name, values in axes.items() if name != "halves"}
    best = replace(settings, **start)
    costs = {best: _cost(best, of.n_steps) if axes else 0.0}
    for name, values in axes.items():
        for value in values[1:]:
            change = {"micro": best.micro // value} if name == "halves" else {name: value}
            tried = replace(best, **change)
            costs[tried] = _cost(tried, of.n_steps)
        best = min(costs, key=lambda one: costs[one])
    return {one: cost for one, cost in costs.items() if math.isfinite(cost)}


def finalists(costs: Mapping[Settings, float]) -> dict[str, Settings]:
    """Returns the settings that cost least, at most `FINALISTS`, by their labels."""
    best = sorted(costs, key=lambda one: costs[one])[:FINALISTS]
    return {label(one): one for one in best}


def rates(of: Case, costs: Mapping[Settings, float]) -> dict[str, float]:
    """Returns tokens per second of the sweep by label; settings without a sweep cost nothing."""
    n_tokens = of.n_steps * of.tokens_per_step
    return {label(one): round(n_tokens / cost, 3) for one, cost in costs.items() if cost}


def operations_per_token(shape: ModelConfig) -> float:
    """Returns floating-point operations of forward and backward pass, attention in full.

    >>> small = case("", (12, 12, 768, 1024, 50257), 1, 1).shape
    >>> round(operations_per_token(small) / 1e6)
    855
    """
    with torch.device("meta"):
        model = GPT(shape)
    n_weights = sum(p.numel() for p in model.parameters()) - model.wpe.weight.numel()
    return 6 * n_weights + 12 * shape.n_layer * shape.n_embd * shape.n_ctx


def matrix_peak(device: str, sides: tuple[int, ...], dtype: torch.dtype = torch.bfloat16) -> float:
    """Returns operations per second of the fastest product of two random square matrices.

    Seconds are those of the clock on a GPU, of CPU time on a CPU. Both of torch's ways to multiply
    are tried, for in fp32 on a CPU they lead to different libraries.
    """
    found = []
    for side in sides:
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        for product in (torch.mm, linear):
            times = [_seconds(partial(product, a, b), device) for _ in range(25)]
            found.append(2 * side**3 / sorted(times[5:])[10])
        print(f"peak   {side} x {side}: {max(found[-2:]) / 1e12:8.2f} TFLOP/s", file=sys.stderr)
    return max(found)


@torch.inference_mode()
def _seconds(product: Callable[[], torch.Tensor], device: str) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    clock = time.perf_counter if device == "cuda" else time.process_time
    wait()
    start = clock()
    product()
    wait()
    return clock() - start


def fastest(
    runs: Mapping[str, list[Run]], finalists: Mapping[str, Settings], *, clock: bool
) -> dict[str, list[Run]]:
    """Returns the runs of each contender's best settings by precision, ours first.

    The best are those of the lowest median cost.
    """

    def cost(name: str) -> float:
        return statistics.median(run.wall_s if clock else run.cpu_s for run in runs[name])

    kinds = {name: (one.who, one.precision) for name, one in finalists.items()}
    of = {kind: [name for name in kinds if kinds[name] == kind] for kind in kinds.values()}
    return {name: runs[name] for names in of.values() for name in [min(names, key=cost)]}


def _cost(settings: Settings, n_steps: int) -> float:
    """Returns seconds of n steps, the least of three: of CPU time, on a GPU of the clock.

    Settings that fail, for want of memory say, cost infinitely much.
    """
    name = label(settings)
    try:
        with resident.started(written(settings.weights.parent, {name: settings})) as (one,):
            one.steps(_WARM_STEPS)
            runs = [one.steps(n_steps) for _ in range(3)]
    except RuntimeError as error:
        print(f"sweep  {error}", file=sys.stderr)
        return math.inf
    cost = min(run.cpu_s if settings.device == "cpu" else run.wall_s for run in runs)
    print(f"sweep  {name:<64} {cost:8.3f} s", file=sys.stderr)
    return cost


def label(settings: Settings) -> str:
    """Returns a contender's name with its settings."""
    parts = [settings.who, settings.precision, f"micro {settings.micro}"]
    parts += ["compiled"] if settings.compile else []
    if settings.who == "outbound":
        return " ".join([*parts, f"ZeRO-{settings.zero_stage}"])
    parts += [settings.attention] if settings.who == "transformers" else []
    parts += ["padded"] if settings.pad_vocab else []
    return " ".join([*parts, *(["kept memory"] if settings.keep_memory else [])])


def by_clock(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[Run]]:
    """Returns runs whose cost is the time on the clock, for `harness.result`."""
    return {name: [run._replace(cpu_s=run.wall_s) for run in of] for name, of in runs.items()}


def finish(
    told: Mapping[str, dict[str, Any]],
    runs: Mapping[str, Sequence[Run]],
    checks: Mapping[str, Check],
    results: Path | None,
) -> int:
    """Prints the last case's table and, as the last line, all so far; returns the exit status."""
    first, *_ = cases = list(told.values())
    status = harness.finish(cases[-1], runs, checks, results)
    print(json.dumps({**first, "shapes": told}, sort_keys=True, allow_nan=False))
    return status
