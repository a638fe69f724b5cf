"""Documents without what evaluation sets hold: this project's step and datatrove's filter.

Input: documents of the default's paragraphs (`benchmarks.texts`) and examples of paragraphs that no
document has; every twentieth document quotes one of them in full. Both sides look for 8-grams. Ours
reads and writes Parquet with Ray, builds the index of the examples (datatrove's is made before),
confirms every hit of its filter word by word, tables the overlap of every example, and drops by the
limits of params.yaml. datatrove looks its hashes up in a dictionary and drops at the first one. Its
word tokenizers are swept once on a tenth; both take part in the rounds, the faster one is that of
`ratio`.

Checks
- planted_gone: share of the documents with a quotation that ours drops.
- others_kept: share of the other documents that ours keeps.

Run: make bench-env && python -m benchmarks.decontaminate [--small]
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import harness, texts
from benchmarks.harness import Check, Comparison, Contender, Run
from crawl.docstrings import Block
from crawl.prose import plain_text
from pipeline.engine import parallel
from pipeline.overlap import decontaminate
from pipeline.overlap.decontaminate import Outputs
from pipeline.store import manifest, records, shards
from stages import params

_SEED = 20190214
_N_FILES = 8
_MEGABYTES, _SMALL_MEGABYTES = 100.0, 0.6
_HELD_EVERY = 10  # paragraphs that are left to examples
_QUOTED_EVERY = 20
_MIN_WORDS = 60  # of an example: more than the 37 words that params.yaml allows
_TARGET = 1.0
_OURS = harness.OURS
_PEER = "datatrove 0.10.1"
_WORDS = ("en", "split")


class Input(NamedTuple):
    """One input: its folder, megabytes of text, ids of all documents and of those that quote."""

    folder: Path
    megabytes: float
    ids: frozenset[str]
    quoting: frozenset[str]


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    size = _SMALL_MEGABYTES if given.small else _MEGABYTES
    with tempfile.TemporaryDirectory(prefix="bench-decontaminate-") as name:
        blocks = texts.blocks(texts.packages(small=given.small))
        examples = make_examples(blocks[::_HELD_EVERY])
        pool = [block for i, block in enumerate(blocks) if i % _HELD_EVERY]
        documents = list(texts.documents(pool, _SEED, int(size * 1e6)))
        tenth = make_input(Path(name) / "tenth", documents[: len(documents) // 10], examples)
        whole = make_input(Path(name) / "whole", documents, examples)
        swept = harness.sweep(_contenders(tenth.folder))
        runs = harness.rounds(_contenders(whole.folder), 1 if given.small else given.rounds)
        checks = _checks(whole)
        told = _result(whole, runs, checks, len(examples))
        told["swept"] = {n: round(tenth.megabytes / run.cpu_s, 4) for n, run in swept.items()}
        told["cost"] = [
            [round(tenth.megabytes, 2), round(swept[_OURS].cpu_s, 2)],
            [round(whole.megabytes, 2), round(harness.median_s(runs[_OURS]), 2)],
        ]
    return harness.finish(told, runs, checks, given.results)


def _result(
    whole: Input, runs: Mapping[str, Sequence[Run]], checks: Mapping[str, Check], n_examples: int
) -> dict[str, Any]:
    n = len(whole.ids)
    comparison = Comparison(
        name="decontaminate",
        work=f"{n:,} documents of {whole.megabytes:,.1f} MB against {n_examples:,} examples",
        unit="MB per CPU-second",
        amount=whole.megabytes,
        target=_TARGET,
        inputs=harness.digest((whole.folder / "jsonl").glob("*.jsonl")),
        n_bytes=2e6 * whole.megabytes,
    )
    told = harness.result(comparison, runs, _OURS, checks)
    told["further"] = harness.further(comparison, runs, _OURS, harness.others(told))
    told["versions"] = harness.peer_versions("datatrove", "spacy", "xxhash")
    return told


def _contenders(folder: Path) -> list[Contender]:
    """Returns ours and the peer with both word tokenizers."""
    ours = harness.ours("decontaminate", folder, OUTBOUND_WORKERS="2", OMP_NUM_THREADS="1")
    commands = {
        f"{_PEER} {words}": (
            "decontaminate", folder / "jsonl", folder / f"peer-{words}", _N_FILES, words,
            folder / f"index-{words}",
        )
        for words in _WORDS
    }  # fmt: skip
    quiet = {"LOGURU_LEVEL": "ERROR", "OMP_NUM_THREADS": "1"}
    return [ours, *harness.peers("peer_filters", commands, **quiet).values()]


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_examples(blocks: Sequence[Block]) -> list[str]:
    """Returns paragraphs, put together until each example has enough words."""
    found, waiting = [], ""
    for block in blocks:
        waiting = f"{waiting} {plain_text([block])}".strip()
        if len(waiting.split()) >= _MIN_WORDS:
            found.append(waiting)
            waiting = ""
    return found


def make_input(folder: Path, documents: Sequence[str], examples: Sequence[str]) -> Input:
    """Writes documents, some with a quotation, the examples, and the peer's index of these."""
    quoted = [
        text if number % _QUOTED_EVERY else f"{text}\n{examples[number % len(examples)]}"
        for number, text in enumerate(documents)
    ]
    ids = texts.write(folder, "dedup", records.UNIQUE, quoted, _N_FILES)
    rows = [
        {"set": "made", "split": "test", "example_id": str(i), "text": text, "fields": "{}"}
        for i, text in enumerate(examples)
    ]
    (folder / "eval").mkdir()
    shards.write_table(folder / "eval" / "made.parquet", pa.Table.from_pylist(rows, records.EVAL))
    _write_index(folder, examples)
    megabytes = sum(len(text.encode()) for text in quoted) / 1e6
    return Input(folder, megabytes, frozenset(ids), frozenset(ids[::_QUOTED_EVERY]))


def _write_index(folder: Path, examples: Sequence[str]) -> None:
    lines = (json.dumps({"text": text}) + "\n" for text in examples)
    path = folder / "examples.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    commands = {words: ("index", path, folder / f"index-{words}", words) for words in _WORDS}
    for peer in harness.peers("peer_filters", commands).values():
        subprocess.run(peer.command, check=True, capture_output=True)


# ── work and quality ─────────────────────────────────────────────────────────────────────────────


def work(folder: Path) -> None:
    """Does our side's work once, from scratch."""
    section = harness.ROOT / "params.yaml"
    config = params.load("decontaminate", decontaminate.Config, section)
    for name in ("corpus", "overlap", ".shards"):
        shutil.rmtree(folder / name, ignore_errors=True)
    os.chdir(folder)
    outputs = Outputs(corpus=Path("corpus"), overlap=Path("overlap"))
    with parallel.engine() as engine:
        decontaminate.run(Path("shards"), Path("eval"), outputs, config, engine)


def _checks(whole: Input) -> dict[str, Check]:
    paths = manifest.load(whole.folder / "corpus", "decontaminate").paths("train")
    rows = (pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist() for path in paths)
    kept = {doc_id for ids in rows for doc_id in ids}
    others = whole.ids - whole.quoting
    return {
        "planted_gone": Check(len(whole.quoting - kept) / len(whole.quoting), 1.0),
        "others_kept": Check(len(others & kept) / len(others), 0.99),
    }


if __name__ == "__main__":
    harness.main(main, harness.parser(__doc__), work)
