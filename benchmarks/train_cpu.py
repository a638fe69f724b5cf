"""Training on a CPU: this project's engine, nanoGPT's model in its loop, and transformers' GPT-2.

Same network, same initial weights, same sequences in the same order, same optimizer, clipping and
accumulation, same number of threads. Ours runs DeepSpeed. Every contender runs at the best of a
sweep that is printed: torch.compile, autocast or bf16 weights (the peers' bf16 weights have no
fp32 ones beside them as ours have: less precise, and counted all the same), size of the
micro-batch, what malloc keeps. Then the three best take turns (`benchmarks.resident`).

Two shapes: the default's, and one between it and GPT-2's; ids are those of the default's corpus.

Checks
- losses_equal: in fp32, over 200 steps (--small: 20) on the text that OUTBOUND_TEST_DATA holds, a
  character each as in nanoGPT's own example; else on the shape's ids. Every step's loss of every
  peer is ours within .0005 nats.
- bf16_close: the measured runs themselves; the first five losses within one percent.

Run: OUTBOUND_NANOGPT=CHECKOUT python -m benchmarks.train_cpu [--small] [--threads N]
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import harness, resident
from benchmarks.harness import Check, Comparison, Run
from benchmarks.trainees import NANOGPT, Settings, Who
from model.config import ModelConfig
from model.gpt import GPT, init_weights
from pipeline.store import manifest
from pipeline.tokens.arrow import open_shards

_TARGET = 1.0
_TOLERANCE = 5e-4  # nats, in fp32 over 200 steps
_CLOSE = 0.01  # relative, in bf16 over the first steps
_WARM_STEPS = 3
_N_SEQUENCES = 512
_TEXTS = ("gutenberg.txt", "us_presidents.txt")
# What is tried, one after the other; the best so far is kept. The first value is where it starts.
_AXES: dict[str, dict[str, tuple[Any, ...]]] = {
    "outbound": {"compile": (True, False), "zero_stage": (1, 0, 2), "halves": (1, 2)},
    "nanogpt": {
        "compile": (True, False),
        "precision": ("autocast", "bf16"),
        "keep_memory": (False, True),
        "halves": (1, 2),
    },
    "transformers": {
        "compile": (True, False),
        "precision": ("autocast", "bf16"),
        "keep_memory": (False, True),
        "attention": ("sdpa", "eager"),
        "halves": (1, 2),
    },
}


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


CASES = (
    case("default", (1, 4, 256, 64, 8192), batch=16, n_steps=10),
    case("middle", (6, 6, 384, 256, 50257), batch=8, n_steps=1),
)
TINY = (case("tiny", (2, 2, 32, 16, 300), batch=4, n_steps=3),)
# nanoGPT's README, "I only have a macbook": layers, heads, width, context and batch of its example
TEXT = case("text", (4, 4, 128, 64, 256), batch=12, n_steps=200)


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    told, status = {}, 0
    with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
        gap = _parity(Path(name), given)
        for of in TINY if given.small else [c for c in CASES if given.shape in (c.name, "all")]:
            result, runs, checks = _compare(of, Path(name), given, gap)
            told[of.name] = result
            last = {**next(iter(told.values())), "shapes": told}
            status = max(status, harness.finish({**last, **_ours_and_peers(result)}, runs, checks))
    return status


def _ours_and_peers(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `harness.finish` prints of the shape whose table it is."""
    return {key: result[key] for key in ("ours", "peers", "unit")}


# ── speed ────────────────────────────────────────────────────────────────────────────────────────


def _compare(
    of: Case, folder: Path, given: argparse.Namespace, gap: dict[str, float]
) -> tuple[dict[str, Any], dict[str, list[Run]], dict[str, Check]]:
    """Sweeps each contender's settings, then lets the best ones take turns."""
    base = _settings(of, folder, given.threads, _sequences(of, given.tokens))
    best = {}
    for who in contenders():
        settings = _sweep(of, replace(base, who=who), small=given.small)
        best[_label(settings)] = settings
    with resident.started(_written(folder, best)) as found:
        first = {one.name: one.steps(_WARM_STEPS).told["losses"] for one in found}
        runs = resident.rounds(found, 1 if given.small else given.rounds, of.n_steps)
    ours = next(iter(best))
    off = _gap(first, ours, relative=True)
    checks = {
        "losses_equal": Check(float(all(g <= _TOLERANCE for g in gap.values())), 1.0),
        "bf16_close": Check(1 - max(off.values(), default=0.0), 1 - _CLOSE),
    }
    comparison = Comparison(
        name="train_cpu",
        unit="tokens per CPU-second",
        amount=of.n_steps * of.tokens_per_step,
        target=_TARGET,
        inputs=harness.digest([base.weights, base.sequences]),
    )
    told = harness.result(comparison, runs, ours, checks)
    wall = {name: [run._replace(cpu_s=run.wall_s) for run in of] for name, of in runs.items()}
    clock = harness.result(comparison, wall, ours, {})
    told["wall"] = {key: clock[key] for key in ("ours", "peers", "ratio", "spread")}
    return {**told, "threads": given.threads, "loss_gap_nats": gap}, runs, checks


def contenders() -> list[Who]:
    """Returns who takes part: ours first."""
    if NANOGPT in os.environ:
        return ["outbound", "nanogpt", "transformers"]
    print(f"{NANOGPT} names no checkout: nanoGPT is left out", file=sys.stderr)
    return ["outbound", "transformers"]


def _sweep(of: Case, settings: Settings, *, small: bool) -> Settings:
    """Returns the best settings, one axis after the other; prints what each cost."""
    axes = {} if small else _AXES[settings.who]
    best = replace(
        settings, **{name: values[0] for name, values in axes.items() if name != "halves"}
    )
    costs = {best: _cost(best, of.n_steps)} if axes else {}
    for name, values in axes.items():
        for value in values[1:]:
            change = {"micro": best.micro // value} if name == "halves" else {name: value}
            tried = replace(best, **change)
            costs[tried] = _cost(tried, of.n_steps)
        best = min(costs, key=lambda one: costs[one])
    return best


def _cost(settings: Settings, n_steps: int) -> float:
    """Returns CPU-seconds of n steps, the least of three."""
    name = _label(settings)
    with resident.started(_written(settings.weights.parent, {name: settings})) as (one,):
        one.steps(_WARM_STEPS)
        cost = min(one.steps(n_steps).cpu_s for _ in range(3))
    print(f"sweep  {name:<64} {cost:8.3f} CPU-s", file=sys.stderr)
    return cost


def _label(settings: Settings) -> str:
    parts = [settings.who, settings.precision, f"micro {settings.micro}"]
    parts += ["compiled"] if settings.compile else []
    if settings.who == "outbound":
        return " ".join([*parts, f"ZeRO-{settings.zero_stage}"])
    parts += [settings.attention] if settings.who == "transformers" else []
    return " ".join([*parts, *(["kept memory"] if settings.keep_memory else [])])


# ── equal losses ─────────────────────────────────────────────────────────────────────────────────


def _parity(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """Returns how far, in nats, each peer's loss is from ours at most in an fp32 run."""
    n_steps = 20 if given.small else TEXT.n_steps
    rows = _text()
    settings = _settings(TEXT, folder, given.threads, _drawn(TEXT) if rows is None else rows)
    runs = {
        who: replace(settings, who=who, precision="fp32", compile=False, attention="eager")
        for who in contenders()
    }
    with resident.started(_written(folder, runs)) as found:
        losses = {one.name: one.steps(n_steps).told["losses"] for one in found}
    gap = _gap(losses, "outbound", relative=False)
    last = {name: round(of[-1], 5) for name, of in losses.items()}
    print(f"fp32, {n_steps} steps: last losses {last}, largest gaps {gap}", file=sys.stderr)
    return gap


def _gap(losses: Mapping[str, list[float]], ours: str, *, relative: bool) -> dict[str, float]:
    mine = np.array(losses[ours])
    scale = mine if relative else 1.0
    return {
        name: float(np.abs((np.array(theirs) - mine) / scale).max())
        for name, theirs in losses.items()
        if name != ours
    }


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────


def _settings(of: Case, folder: Path, n_threads: int, rows: np.ndarray[Any, Any]) -> Settings:
    """Writes initial weights and sequences; returns our settings, uncompiled."""
    weights, sequences = folder / f"{of.name}.safetensors", folder / f"{of.name}.npy"
    model = GPT(of.shape)
    init_weights(model, torch.Generator().manual_seed(1))
    save_file(model.state_dict(), weights)
    np.save(sequences, rows)
    return Settings(
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
        lr=1e-3,
        weights=weights,
        sequences=sequences,
        n_threads=n_threads,
        device="cpu",
    )


def _written(folder: Path, settings: Mapping[str, Settings]) -> dict[str, Path]:
    paths = {}
    for name, one in settings.items():
        paths[name] = folder / f"{name.replace(' ', '-')}.json"
        paths[name].write_text(json.dumps(asdict(one), default=str), encoding="utf-8")
    return paths


def _sequences(of: Case, tokens: Path) -> np.ndarray[Any, Any]:
    """Returns (n, n_ctx + 1) ids of the default's corpus, drawn ones where there is none."""
    if not (tokens / "manifest.json").is_file() or of in TINY:
        return _drawn(of)
    stream = open_shards(manifest.load(tokens, "encode").paths("train"))
    n = min(_N_SEQUENCES, (stream.n_tokens - 1) // of.shape.n_ctx)
    return _rows(np.asarray(stream.slice(0, n * of.shape.n_ctx + 1)), of)


def _drawn(of: Case) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(1).zipf(1.2, _N_SEQUENCES * of.shape.n_ctx + 1)
    return _rows(drawn % of.shape.n_vocab, of)


def _text() -> np.ndarray[Any, Any] | None:
    """Returns sequences of characters of the public texts, None where there are none."""
    folder = Path(os.environ.get("OUTBOUND_TEST_DATA", "")) / "text"
    paths = [folder / name for name in _TEXTS if (folder / name).is_file()]
    if not paths:
        return None
    read = np.frombuffer(b"".join(path.read_bytes() for path in paths), np.uint8)
    n = TEXT.n_steps * TEXT.batch
    every = len(read) // n  # from all over the texts
    starts = np.arange(n) * every
    return np.stack([read[start : start + TEXT.shape.n_ctx + 1] for start in starts])


def _rows(stream: Iterable[int] | np.ndarray[Any, Any], of: Case) -> np.ndarray[Any, Any]:
    ids, n_ctx = np.asarray(stream), of.shape.n_ctx
    n = (len(ids) - 1) // n_ctx
    return np.stack([ids[i * n_ctx : (i + 1) * n_ctx + 1] for i in range(n)])


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
