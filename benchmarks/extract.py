"""WARC files to text: this project's extract step and datatrove's Trafilatura extractor.

Input: the pages of a generated web (stage `demo`, another seed than the default's), whose text is
known. Both sides read the same WARC files on the same cores and write files: ours with Ray,
sandbox, metadata, Parquet, digests and manifest; datatrove with its local executor, JSON lines and
without its one-second limit. Quality is the mean F1 of words against the text that the pages were
made from. datatrove's settings are swept once; the fastest and the best of them take part.

Run: make bench-env && python -m benchmarks.extract [--small]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import harness
from benchmarks.harness import Check, Comparison, Contender
from crawl import demo
from pipeline.engine import parallel
from pipeline.engine.tasks import InlineEngine
from pipeline.store import manifest, records, shards, urls, warc
from pipeline.store.shards import Counts, FileInfo
from pipeline.text import extract
from stages import params

_SEED = 20190214  # the day of the GPT-2 paper; not the default's seed
_N_FILES = 8
_SMALL: dict[str, Any] = {"packages": {"networkx": 70}, "mirrors": 1, "per_case": 1}
_TARGET = 1.0
_MIN_F1 = 0.9  # below it the comparison would be one of failures
_MIN_F1_MARGIN = -0.01
_PEER = "datatrove 0.10.1"
_SETTINGS = [(f, d) for f in ("precision", "balanced") for d in ("dedup", "plain")]
_WORD = re.compile(r"\w+")


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as name:
        folder = Path(name)
        gold = make_input(folder, small=given.small)
        ours = _ours(folder)
        peers = _peers(folder)
        seen = {c.name: _try(c, folder, gold) for c in (ours, *peers)}
        quality = {name: f1 for name, (f1, _) in seen.items()}
        fastest = sorted(peers, key=lambda c: seen[c.name][1])[:1]
        finest = sorted(peers, key=lambda c: -quality[c.name])[:1]
        chosen = list(dict.fromkeys((ours, *fastest, *finest)))
        runs = harness.rounds(chosen, 1 if given.small else given.rounds)
        checks = {"f1": Check(quality[ours.name], _MIN_F1)}
        if finest:
            margin = quality[ours.name] - quality[finest[0].name]
            checks["f1_margin"] = Check(margin, _MIN_F1_MARGIN)
        comparison = Comparison(
            name="extract",
            unit="docs per CPU-second",
            amount=len(gold),
            target=_TARGET,
            inputs=harness.digest((folder / "warc").glob("*.warc.gz")),
        )
        told = harness.result(comparison, runs, ours.name, checks)
    rounded = {name: round(f1, 5) for name, f1 in quality.items()}
    return harness.finish({**told, "f1": rounded}, runs, checks)


def _ours(folder: Path) -> Contender:
    command = (sys.executable, "-m", "benchmarks.extract", "--work", str(folder))
    # Workers start in the folder of the benchmark, not in the project's.
    env = (("OUTBOUND_WORKERS", "2"), ("PYTHONPATH", str(harness.ROOT)))
    return Contender(name="outbound", command=command, env=env)


def _peers(folder: Path) -> list[Contender]:
    """Returns datatrove under each of its settings, the default first."""
    python = harness.peer_python()
    if python is None:
        print("no .venv-bench: run `make bench-env` for the comparison", file=sys.stderr)
        return []
    script = str(harness.ROOT / "benchmarks" / "peer_extract.py")
    names = ("warc", "peer")
    paths = tuple(str(folder / name) for name in names)
    return [
        Contender(
            name=f"{_PEER} {focus} {dedup}",
            command=(python, script, *paths, str(_N_FILES), focus, dedup),
            env=(("LOGURU_LEVEL", "ERROR"),),
        )
        for focus, dedup in _SETTINGS
    ]


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, *, small: bool) -> dict[str, str]:
    """Writes WARC files of generated pages.

    Args:
        folder: Where `warc/` goes.
        small: Make a web of some fifty pages.

    Returns:
        The text of each page by its URL.
    """
    here = Path.cwd()
    os.chdir(folder)  # the shard store is relative to the workspace
    try:
        config = replace(params.load("demo", demo.Config, here / params.FILE), seed=_SEED)
        config = replace(config, **_SMALL) if small else config
        demo.run(Path("web"), Path("dump"), Path("truth"), config, InlineEngine())
        gold = {row["doc_id"]: row["text"] for row in _rows(folder / "truth" / "gold")}
        return _write_warcs(folder, gold)
    finally:
        os.chdir(here)


def _write_warcs(folder: Path, gold: Mapping[str, str]) -> dict[str, str]:
    pages = [
        (row, url, doc_id)
        for row in _rows(folder / "web")
        if row["status"] == 200
        and (doc_id := _doc_id(url := f"http://{row['host']}{row['path']}")) in gold
    ]
    files: list[list[bytes]] = [[] for _ in range(_N_FILES)]
    for i, (row, url, doc_id) in enumerate(pages):
        files[i % _N_FILES].append(_record(row, url, doc_id))
    (folder / "warc").mkdir()
    for i, data in enumerate(files):
        (folder / "warc" / f"part-{i:05d}.warc.gz").write_bytes(b"".join(data))
    _seal(folder / "warc")
    return {url: gold[doc_id] for _, url, doc_id in pages}


def _doc_id(url: str) -> str:
    parsed = urls.parse(url)
    assert parsed is not None
    return records.doc_id(urls.canonical_key(parsed))


def _record(row: Mapping[str, Any], url: str, doc_id: str) -> bytes:
    exchange = warc.Exchange(
        url=url,
        date="2017-12-01T00:00:00Z",
        address="",
        request=b"GET / HTTP/1.1\r\n\r\n",
        status_line="HTTP/1.1 200 OK",
        headers=tuple((h["name"].encode(), h["value"].encode()) for h in row["headers"]),
        body=row["body"],
        truncated="",
    )
    link = warc.LinkFields(url=url, doc_id=doc_id, created_utc=0)
    return warc.encode_exchange(exchange, url, link).data


def _seal(folder: Path) -> None:
    files = {
        path.name: FileInfo(n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=0)
        for path in sorted(folder.iterdir())
    }
    manifest.write(folder, "crawl", files, Counts(n_in=0, n_out=0, dropped={}), {}, len(files))


def _rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("part-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


# ── work and quality ─────────────────────────────────────────────────────────────────────────────


def work(folder: Path) -> None:
    """Does our side's work once, from scratch."""
    config = params.load("extract", extract.Config)
    for name in ("pages", ".shards"):
        shutil.rmtree(folder / name, ignore_errors=True)
    os.chdir(folder)
    with parallel.engine() as engine:
        extract.run(folder / "warc", folder / "pages", config, engine)


def _try(contender: Contender, folder: Path, gold: Mapping[str, str]) -> tuple[float, float]:
    """Runs a contender once; returns the mean F1 of what it wrote, and its CPU seconds."""
    shutil.rmtree(folder / "peer", ignore_errors=True)
    cpu_s = harness.measure(contender).cpu_s
    rows = _rows(folder / "pages") if contender.name == "outbound" else _peer_rows(folder / "peer")
    texts = {row["url"]: row["text"] for row in rows}
    score = statistics.fmean(f1(texts.get(url, ""), text) for url, text in gold.items())
    told = f"{len(texts)} texts, F1 {score:.4f}, {cpu_s:.2f} CPU-s"
    print(f"sweep  {contender.name:<44} {told}", file=sys.stderr)
    return score, cpu_s


def _peer_rows(folder: Path) -> Iterable[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            told = json.loads(line)
            yield {"url": told["metadata"]["url"], "text": told["text"]}


def f1(found: str, gold: str) -> float:
    """Returns the F1 of a text's words, as a multiset, against the right ones.

    >>> f1("a b b c", "a b d")
    0.5714285714285714
    """
    a, b = Counter(_WORD.findall(found)), Counter(_WORD.findall(gold))
    return 2 * (a & b).total() / max(1, a.total() + b.total())


def _arguments(given: Sequence[str]) -> None:
    """Runs as a contender with `--work FOLDER`, else as the benchmark."""
    if given[:1] == ["--work"]:
        work(Path(given[1]))
    else:
        harness.main(main, harness.parser(__doc__))


if __name__ == "__main__":
    _arguments(sys.argv[1:])
