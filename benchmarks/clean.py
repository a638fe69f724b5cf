"""Texts to clean texts: this project's clean step and datatrove's formatter and filters.

Input: documents of the default's paragraphs (`benchmarks.texts`), every tenth of them damaged in
one of five ways: mojibake, one line again and again, hashes between the words, too short, no
sentence that ends. Both sides have the published limits of Gopher, C4 and FineWeb. Ours reads and
writes Parquet with Ray, detects the language, looks for boilerplate across hosts, writes every
figure of every document beside it and a decision for each that goes. datatrove reads and writes
JSON lines: FTFY, Gopher's two filters, C4's, FineWeb's. Its language filter takes no part: its
model would have to be downloaded. Its word tokenizers are swept once on a tenth; both take part in
the rounds, the faster one is that of `ratio`.

Checks
- kept_share: sound documents that ours keeps, of those that the peer which keeps the most does.
- damaged_gone: share of the damaged documents without mojibake that ours drops.
- mended: share of the documents with mojibake that come out as they were.

Run: make bench-env && python -m benchmarks.clean [--small]
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks import chain, harness, texts
from benchmarks.harness import Check, Comparison, Contender, Run
from pipeline.engine import parallel
from pipeline.store import manifest, records
from pipeline.text import clean, rules
from stages import params

_SEED = 20190214
_N_FILES = 8
_MEGABYTES, _SMALL_MEGABYTES = 60.0, 0.6
_DAMAGED_EVERY = 10
_TARGET = 1.0
_OURS = harness.OURS
_PEER = "datatrove 0.10.1"
_DEFAULT, _SPLIT = f"{_PEER} en", f"{_PEER} split"
_SAID = "It’s said."
_KINDS = ("mojibake", "repeated", "hashes", "short", "unended")


class Input(NamedTuple):
    """One input: its folder, megabytes of text, and the kind of damage of each document, by id."""

    folder: Path
    megabytes: float
    kinds: dict[str, str]


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    size = _SMALL_MEGABYTES if given.small else _MEGABYTES
    with tempfile.TemporaryDirectory(prefix="bench-clean-") as name:
        pool = texts.blocks(texts.packages(small=given.small))
        documents = list(texts.documents(pool, _SEED, int(size * 1e6)))
        tenth = make_input(Path(name) / "tenth", documents[: len(documents) // 10])
        whole = make_input(Path(name) / "whole", documents)
        swept = harness.sweep(_contenders(tenth.folder))
        runs = harness.rounds(_contenders(whole.folder), 1 if given.small else given.rounds)
        checks = _checks(whole, [name for name in runs if name != _OURS])
        told = _result(whole, runs, swept, checks)
        told["cost"] = [
            [round(tenth.megabytes, 2), round(swept[_OURS].cpu_s, 2)],
            [round(whole.megabytes, 2), round(harness.median_s(runs[_OURS]), 2)],
        ]
    return harness.finish(told, runs, checks, given.results)


def _result(
    whole: Input,
    runs: Mapping[str, Sequence[Run]],
    swept: Mapping[str, Run],
    checks: Mapping[str, Check],
) -> dict[str, Any]:
    comparison = Comparison(
        name="clean",
        work=f"{len(whole.kinds):,} documents of {whole.megabytes:,.1f} MB to clean ones",
        unit="MB per CPU-second",
        amount=whole.megabytes,
        target=_TARGET,
        inputs=harness.digest((whole.folder / "jsonl").glob("*.jsonl")),
        n_bytes=2e6 * whole.megabytes,
    )
    told = harness.result(comparison, runs, _OURS, checks)
    told["further"] = harness.further(comparison, runs, _OURS, harness.others(told))
    tenth = whole.megabytes / 10
    told["swept"] = {name: round(tenth / run.cpu_s, 4) for name, run in swept.items()}
    told["versions"] = harness.peer_versions("datatrove", "ftfy", "spacy")
    return told


def _contenders(folder: Path) -> list[Contender]:
    """Returns ours and the peer with both word tokenizers."""
    ours = harness.ours("clean", folder, OUTBOUND_WORKERS="2", OMP_NUM_THREADS="1")
    commands = {
        f"{_PEER} {words}": ("clean", folder / "jsonl", folder / f"peer-{words}", _N_FILES, words)
        for words in ("en", "split")
    }
    quiet = {"LOGURU_LEVEL": "ERROR", "OMP_NUM_THREADS": "1"}
    return [ours, *harness.peers("peer_filters", commands, **quiet).values()]


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, documents: Sequence[str]) -> Input:
    """Writes documents, every tenth damaged, as pages and as JSON lines."""
    kinds = [kind_of(number) for number in range(len(documents))]
    damaged = [damage(text, kind) for text, kind in zip(documents, kinds, strict=True)]
    ids = texts.write(folder, "extract", records.PAGES, damaged, _N_FILES)
    megabytes = sum(len(text.encode()) for text in damaged) / 1e6
    return Input(folder, megabytes, dict(zip(ids, kinds, strict=True)))


def kind_of(number: int) -> str:
    """Returns a document's kind of damage, "" for none."""
    which, rest = divmod(number, _DAMAGED_EVERY)
    return "" if rest else _KINDS[which % len(_KINDS)]


def damage(text: str, kind: str) -> str:
    """Returns a text as a careless page would have it.

    >>> damage("It ends. So.", "unended"), damage("It ends.", "mojibake")
    ('It ends So', 'It ends. Itâ€™s said.')
    """
    match kind:
        case "mojibake":
            return f"{text} {_SAID.encode().decode('cp1252')}"
        case "repeated":
            return "\n".join([text.partition("\n")[0]] * 40)
        case "hashes":
            return text.replace(" ", " # ")
        case "short":
            return text[:60]
        case "unended":
            return text.replace(".", "").replace("!", "").replace("?", "")
        case _:
            return text


# ── work and quality ─────────────────────────────────────────────────────────────────────────────


def work(folder: Path) -> None:
    """Does our side's work once, from scratch."""
    config = params.load("clean", clean.Config, harness.ROOT / "params.yaml")
    fineweb = rules.Fineweb(
        min_terminal_lines_frac=0.12,
        max_short_lines_frac=0.67,
        max_copied_line_chars_frac=0.01,
        max_newlines_per_word=0.3,
    )
    for name in ("clean", ".shards"):
        shutil.rmtree(folder / name, ignore_errors=True)
    os.chdir(folder)
    with parallel.engine() as engine:
        limits = replace(chain.clean_config(config), fineweb=fineweb)
        clean.run([Path("shards")], Path("clean"), limits, engine)


def _checks(whole: Input, peers: Sequence[str]) -> dict[str, Check]:
    """Returns what of the sound, the damaged and the mended documents came out."""
    ours = _kept(whole.folder)
    sound = {doc_id for doc_id, kind in whole.kinds.items() if not kind}
    gone = {doc_id for doc_id, kind in whole.kinds.items() if kind not in ("", "mojibake")}
    kept = (len(sound & _peer_kept(whole.folder, name)) for name in peers)
    most = max(kept, default=len(sound & ours.keys()))
    garbled = (doc_id for doc_id, kind in whole.kinds.items() if kind == "mojibake")
    mended = [ours[doc_id].endswith(_SAID) for doc_id in garbled if doc_id in ours]
    return {
        "kept_share": Check(len(sound & ours.keys()) / max(1, most), 0.9),
        "damaged_gone": Check(len(gone - ours.keys()) / max(1, len(gone)), 0.9),
        "mended": Check(sum(mended) / max(1, len(mended)), 1.0),
    }


def _kept(folder: Path) -> dict[str, str]:
    found = {}
    for path in manifest.load(folder / "clean", "clean").paths():
        table = pq.read_table(path, columns=["doc_id", "text"])
        found |= dict(zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    return found


def _peer_kept(folder: Path, name: str) -> set[str]:
    words = name.rpartition(" ")[2]
    paths = sorted((folder / f"peer-{words}" / "kept").glob("*.jsonl"))
    return {json.loads(line)["id"] for path in paths for line in path.read_text().splitlines()}


if __name__ == "__main__":
    harness.main(main, harness.parser(__doc__), work)
