"""Token shards to training batches: this project's loader, nanoGPT's way and index maps.

Input: documents of random ids, their lengths drawn as those of web pages fall (median 500 tokens,
mean 820), in Arrow shards as `encode` writes them; `export` makes the peers' files of them, so all
read the same stream. Each side is a process with one thread (`benchmarks.loaders`), files in the
page cache, and makes batches of shuffled windows, inputs and targets as int64 tensors. Two cases:

    gpt2       12 windows of 1,024 tokens, nanoGPT's own micro-batch
    default    16 windows of 64 tokens, the embedded default's

nanoGPT draws places with replacement and remembers nothing: no epoch is exact, and what a killed
run had read is not known. Index maps are exact and hold 4 bytes and more of each window and
document in memory, made at the start (`start_cpu_s`). Ours is exact and holds nothing.

Checks
- rows_equal: every side's batches hold what the flat stream has at the places that it names.
- epoch_exact: share of the windows that one epoch of ours reads exactly once.
- resumes: a process that starts at a step makes the batch of one that came there from the first.

Run: python -m benchmarks.load [--small] [--case default]
"""

import argparse
import hashlib
import json
import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import harness, resident
from benchmarks.harness import Check, Comparison, Run
from benchmarks.loaders import Settings
from benchmarks.resident import Resident
from model.training.data import Windows
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo
from pipeline.tokens import export
from pipeline.tokens.arrow import Vocabulary, open_shards, write_values

_SEED = 20190214
_N_SHARDS = 8
_N_TOKENS = 256_000_000  # half a gigabyte: larger than the caches
_N_SMALL = 400_000
_N_VOCAB = 50_257
_MEDIAN_LENGTH, _LENGTH_SIGMA = 500, 1.0  # of a log-normal law, tokens
_TARGET = 1.0
_OURS = "outbound"
_PEERS = ("nanogpt reopened", "nanogpt kept", "megatron")
_SHOWN = (0, 1, 7)  # steps whose batches are looked into
_TOKEN_BYTES = 10  # 2 are read and 8 written; targets are inputs, one place further


class Case(NamedTuple):
    """A shape of batches: tokens of a window, windows of a batch, batches per round."""

    n_ctx: int
    batch: int
    n_steps: int


CASES = {"gpt2": Case(1024, 12, 4000), "default": Case(64, 16, 20_000)}


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    status, cases = 0, {}
    with tempfile.TemporaryDirectory(prefix="bench-load-") as name:
        folder = Path(name)
        make_input(folder, _N_SMALL if given.small else _N_TOKENS)
        inputs = harness.digest((folder / "tokens").glob("*.arrow"))
        for case in CASES:
            if given.case in (None, case):
                told, runs, checks = _compare(
                    case, folder, inputs, small=given.small, n=given.rounds
                )
                status |= harness.finish(told, runs, checks, given.results)
                cases[case] = told
    first = next(iter(cases.values()))
    print(json.dumps({**first, "cases": cases}, sort_keys=True, allow_nan=False))
    return status


def _compare(
    case: str, folder: Path, inputs: str, *, small: bool, n: int
) -> tuple[dict[str, Any], dict[str, list[Run]], dict[str, Check]]:
    """Lets all sides make batches in turn; checks what they made."""
    shape = CASES[case]._replace(n_steps=20) if small else CASES[case]
    paths = {name: _settings(name, folder, shape) for name in (_OURS, *_PEERS)}
    with resident.started(paths, "benchmarks.loaders") as sides:
        shown = {side.name: [_show(side, step) for step in _SHOWN] for side in sides}
        for side in sides:
            side.steps(shape.n_steps)  # warm
        runs = resident.rounds(sides, 1 if small else n, shape.n_steps)
        last = runs[_OURS][-1].told["step"] - 1
        continued = _show(sides[0], last)
    with resident.started({_OURS: paths[_OURS]}, "benchmarks.loaders") as (fresh,):
        resumed = _show(fresh, last)
    checks = {
        "rows_equal": Check(_share_right(shown, folder, shape.n_ctx), 1.0),
        "epoch_exact": Check(_share_once(folder, shape), 1.0),
        "resumes": Check(float(continued == resumed), 1.0),
    }
    comparison = Comparison(
        name="load",
        case=case,
        work=f"batches of {shape.batch} shuffled windows of {shape.n_ctx:,} tokens",
        unit="tokens per CPU-second",
        amount=shape.n_ctx * shape.batch * shape.n_steps,
        target=_TARGET,
        inputs=inputs,
        n_bytes=_TOKEN_BYTES * shape.n_ctx * shape.batch * shape.n_steps,
    )
    told = harness.result(comparison, runs, _OURS, checks)
    told["versions"] = harness.versions("numpy", "torch", "pyarrow")
    told["start_cpu_s"] = {side.name: round(side.ready["ready_cpu_s"], 4) for side in sides}
    return told, runs, checks


def _settings(who: str, folder: Path, shape: Case) -> Path:
    path = folder / f"{who.replace(' ', '-')}-{shape.n_ctx}.json"
    told = Settings(who, str(folder), shape.n_ctx, shape.batch, _SEED)
    path.write_text(json.dumps(told._asdict()), encoding="utf-8")
    return path


def _show(side: Resident, step: int) -> Mapping[str, Any]:
    told = side.ask(f"show {step}").told
    return {key: told[key] for key in ("digest", "pieces")}


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


def _share_right(
    shown: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path, n_ctx: int
) -> float:
    """Returns the share of shown batches that are what the flat stream has at their places."""
    stream = np.memmap(folder / "nanogpt" / "train.bin", dtype="<u2", mode="r")
    told = [one for of in shown.values() for one in of]
    return sum(one["digest"] == _digest(stream, one["pieces"], n_ctx) for one in told) / len(told)


def _digest(stream: Any, pieces: Sequence[Sequence[Sequence[int]]], n_ctx: int) -> str:
    rows = [np.concatenate([stream[at : at + n] for at, n in row]) for row in pieces]
    whole = np.stack(rows).astype("<i8")
    assert whole.shape[1] == n_ctx + 1
    found = hashlib.sha256(np.ascontiguousarray(whole[:, :-1]).tobytes())
    found.update(np.ascontiguousarray(whole[:, 1:]).tobytes())
    return found.hexdigest()


def _share_once(folder: Path, shape: Case) -> float:
    """Returns the share of windows that the steps of one epoch read exactly once."""
    paths = sorted((folder / "tokens").glob("*.arrow"))
    windows = Windows(open_shards(paths), shape.n_ctx, _SEED)
    n = windows.n_windows
    steps = range(math.ceil(n / shape.batch))
    read = [window for step in steps for window in windows.ids(step, shape.batch)][:n]
    times = Counter(read)
    return sum(times[window] == 1 for window in range(n)) / n


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, n_tokens: int) -> None:
    """Writes token shards, and the same tokens in the forms that the peers read.

    Args:
        folder: Where `tokens/`, `nanogpt/`, `megatron/` and `encoded/` go.
        n_tokens: About how many.
    """
    tokenizer = folder / "bpe" / "tokenizer.json"
    tokenizer.parent.mkdir(parents=True)
    tokenizer.write_text('{"drawn": "ids without words"}', encoding="utf-8")
    vocabulary = Vocabulary(shards.sha256_file(tokenizer), _N_VOCAB, _N_VOCAB - 1)
    drawn = np.random.default_rng(_SEED)
    files = {}
    for index in range(_N_SHARDS):
        for split, n in (("train", n_tokens // _N_SHARDS), ("valid", 0)):
            name = f"{split}/part-{index:05d}.arrow"
            path = folder / "encoded" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, n, vocabulary, drawn)
            files[name] = FileInfo(
                n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=0
            )
    counts = Counts(n_in=0, n_out=0, dropped={})
    manifest.write(folder / "encoded", "encode", files, counts, {}, _N_SHARDS)
    for form in export.FORMATS:
        export.run(folder / "encoded", tokenizer.parent, folder / form, form)
    (folder / "encoded" / "train").rename(folder / "tokens")


def _write(path: Path, n_tokens: int, vocabulary: Vocabulary, drawn: np.random.Generator) -> None:
    """Writes one shard of documents of random ids."""
    lengths = drawn.lognormal(math.log(_MEDIAN_LENGTH), _LENGTH_SIGMA, n_tokens // 500 + 10)
    lengths = np.maximum(lengths, 2).astype(np.int64)
    n_documents = int(np.searchsorted(np.cumsum(lengths), n_tokens))
    lengths = lengths[:n_documents]
    values = drawn.integers(0, vocabulary.eot_id, int(lengths.sum()), dtype=vocabulary.dtype)
    values[np.cumsum(lengths) - 1] = vocabulary.eot_id
    ids = [records.doc_id(f"load/{path.name}/{row}") for row in range(n_documents)]
    write_values(path, ids, lengths.tolist(), values, (4 * lengths).tolist(), vocabulary)


if __name__ == "__main__":
    arguments = harness.parser(__doc__)
    arguments.add_argument("--case", choices=sorted(CASES), help="one of them only")
    harness.main(main, arguments)
