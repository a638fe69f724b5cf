"""WARC files to text: this project's extract step and datatrove's Trafilatura extractor.

Input: articles made from the documentation on this machine, each written into several layouts that
are drawn from a seed (`benchmarks.layouts`); so the right text is known. Nothing was tuned on the
layouts of this seed: `--tuning` takes those of another one. Both sides read the same WARC files on
the same cores and write files: ours with Ray, sandbox, metadata, Parquet, digests and manifest;
datatrove with its local executor, JSON lines and without its one-second limit.

Quality is the mean F1 of words against the right text. datatrove's settings are swept once; the
fastest of those that come within 0.005 of our F1 takes part in the rounds (`ratio`), and so does
the fastest of all (`further`): its `fast` settings lose part of the text. What each further
document costs (`cpu_ms_per_more_document`) is what a corpus pays: the cost of a run on 40
documents, nearly all of it start, is taken off. Other engines (trafilatura itself, resiliparse,
jusText, readability) take part in the comparison of quality. Floors of quality stand in
`floors.json`; falling below one is a failed check.

Run: make bench-env && python -m benchmarks.extract [--small] [--tuning]
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks import archives, harness, layouts
from benchmarks.harness import Check, Comparison, Contender
from crawl import demo, prose
from crawl.prose import Article
from pipeline.engine import parallel
from pipeline.text import extract
from stages import params

_SEED = 20190214  # the day of the GPT-2 paper
_TUNING_SEED = 20180611  # the day of the GPT-1 paper
_N_FILES = 4
_N_LAYOUTS = 400
_PER_ARTICLE = 12  # layouts of each article: with 6 the start of Ray was a quarter of our work
_N_STARTS = 3
_SMALL_ARTICLES, _SMALL_PER_ARTICLE = {"networkx": 40}, 1
_TARGET = 2.0
_MIN_F1_MARGIN = 0.0
_LEVEL = 0.005  # of F1
_FLOORS = Path(__file__).with_name("floors.json")
_PEER = "datatrove 0.10.1"
_SETTINGS = [  # deduplication changes neither cost nor F1 on these pages by a hundredth (measured)
    ("precision", "dedup", "full"),  # its defaults
    ("precision", "plain", "full"),
    ("precision", "plain", "fast"),
    ("balanced", "plain", "full"),
    ("balanced", "plain", "fast"),
]
_ENGINES = ("trafilatura", "resiliparse", "justext", "readability")
_WORD = re.compile(r"\w+")


class Tried(NamedTuple):
    """What one run of a contender gave and cost."""

    f1: float
    cpu_s: float


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as name:
        folder = Path(name)
        seed = _TUNING_SEED if given.tuning else _SEED
        gold, n_bytes = make_input(folder, seed=seed, small=given.small)
        ours, peers, engines = _ours(folder), _peers(folder), _engines(folder)
        tried = {c.name: _try(c, folder, gold) for c in (ours, *peers, *engines)}
        fastest = sorted(peers, key=lambda c: tried[c.name].cpu_s)
        level = [c for c in fastest if tried[c.name].f1 >= tried[ours.name].f1 - _LEVEL]
        finest = sorted(peers, key=lambda c: -tried[c.name].f1)[:1]
        chosen = list(dict.fromkeys((ours, *fastest[:1], *level[:1])))
        runs = harness.rounds(chosen, 1 if given.small else given.rounds)
        checks = _checks(tried, ours.name, [c.name for c in finest], given)
        comparison = Comparison(
            name="extract",
            work=f"{len(gold):,} pages of drawn layouts, WARC to text and metadata",
            unit="docs per CPU-second",
            amount=len(gold),
            target=_TARGET,
            inputs=harness.digest((folder / "warc").glob("*.warc.gz")),
            n_bytes=n_bytes,
        )
        told = harness.result(comparison, runs, ours.name, checks)
        if level:
            told |= harness.against(comparison, runs, ours.name, level[0].name)
            others = [c.name for c in fastest[:1] if c is not level[0]]
            told["further"] = harness.further(comparison, runs, ours.name, others)
        more: dict[str, Any] = {"seed": seed}
        if not given.small:
            more |= _per_more_document(folder / "few", seed, runs, gold)
    more["f1"] = {name: round(one.f1, 5) for name, one in tried.items()}
    more["swept"] = {c.name: round(len(gold) / tried[c.name].cpu_s, 3) for c in (ours, *peers)}
    more["versions"] = harness.peer_versions("datatrove", "trafilatura")
    return harness.finish({**told, **more}, runs, checks, given.results)


def _per_more_document(
    folder: Path, seed: int, runs: Mapping[str, Sequence[harness.Run]], gold: Mapping[str, str]
) -> dict[str, Any]:
    """Returns CPU milliseconds of each document beyond the first forty, and ours of both sizes."""
    few, _ = make_input(folder, seed=seed, small=True)
    starting = [each for each in (_ours(folder), *_peers(folder)) if each.name in runs]
    starts = harness.rounds(starting, _N_STARTS)
    more = {
        name: harness.median_s(of) - harness.median_s(starts[name]) for name, of in runs.items()
    }
    n_more = len(gold) - len(few)
    sizes = ((len(few), starts), (len(gold), runs))
    return {
        "cpu_ms_per_more_document": {n: round(1000 * s / n_more, 3) for n, s in more.items()},
        "cost": [[n, round(harness.median_s(of[harness.OURS]), 3)] for n, of in sizes],
    }


def _checks(
    tried: Mapping[str, Tried], ours: str, finest: Sequence[str], given: argparse.Namespace
) -> dict[str, Check]:
    """Returns the checks of quality: above the floor, and not below the best peer."""
    floors = json.loads(_FLOORS.read_text())["extract"]
    kind = "tuning" if given.tuning else "held_out"
    floor = floors["small"] if given.small else floors[kind]
    checks = {"f1": Check(tried[ours].f1, floor)}
    for name in finest:
        checks["f1_margin"] = Check(tried[ours].f1 - tried[name].f1, _MIN_F1_MARGIN)
    return checks


def _ours(folder: Path) -> Contender:
    return harness.ours("extract", folder, OUTBOUND_WORKERS="2")


def _peers(folder: Path) -> list[Contender]:
    """Returns datatrove under each of its settings."""
    commands = {
        f"{_PEER} {' '.join(setting)}": (folder / "warc", folder / "peer", _N_FILES, *setting)
        for setting in _SETTINGS
    }
    return list(harness.peers("peer_extract", commands, LOGURU_LEVEL="ERROR").values())


def _engines(folder: Path) -> list[Contender]:
    """Returns the engines that are compared by quality only."""
    commands = {f"{name} alone": (folder / "warc", folder / "peer", name) for name in _ENGINES}
    return list(harness.peers("peer_engines", commands).values())


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, *, seed: int, small: bool) -> tuple[dict[str, str], int]:
    """Writes WARC files of articles in drawn layouts.

    Args:
        folder: Where `warc/` goes.
        seed: Of the layouts.
        small: Make some fifty pages.

    Returns:
        The text of each page by its URL; bytes of the markup.
    """
    gold: dict[str, str] = {}
    n_bytes = archives.write(folder / "warc", _pages(gold, seed, small=small), _N_FILES)
    return gold, n_bytes


def _pages(gold: dict[str, str], seed: int, *, small: bool) -> Iterator[tuple[str, bytes]]:
    """Yields URL and markup of each page, and fills `gold` with its text."""
    times = _SMALL_PER_ARTICLE if small else _PER_ARTICLE
    for i, article in enumerate(articles(small=small)):
        for j in range(times):
            number = (i * times + j) % _N_LAYOUTS
            url = f"http://site{number}.test/{i}/{j}.html"
            shown = layouts.show(article, seed, number, i)
            gold[url] = shown.text
            yield url, shown.markup.encode()


def articles(*, small: bool) -> Iterator[Article]:
    """Yields the articles of the packages that the demo reads, or of one."""
    wanted = _SMALL_ARTICLES if small else params.load("demo", demo.Config).packages
    for package, number in wanted.items():
        if root := prose.find(package):
            yield from prose.articles(package, root, number)


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


def _try(contender: Contender, folder: Path, gold: Mapping[str, str]) -> Tried:
    """Runs a contender once; returns the mean F1 of what it wrote, and its cost."""
    shutil.rmtree(folder / "peer", ignore_errors=True)
    cpu_s = harness.measure(contender).cpu_s
    rows = (
        _rows(folder / "pages") if contender.name == harness.OURS else _peer_rows(folder / "peer")
    )
    texts = {row["url"]: row["text"] for row in rows}
    score = statistics.fmean(f1(texts.get(url, ""), text) for url, text in gold.items())
    told = f"{len(texts)} texts, F1 {score:.4f}, {cpu_s:.2f} CPU-s"
    print(f"sweep  {contender.name:<44} {told}", file=sys.stderr)
    return Tried(score, cpu_s)


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


def _parser() -> argparse.ArgumentParser:
    found = harness.parser(__doc__)
    found.add_argument("--tuning", action="store_true", help="the layouts one may look at")
    return found


if __name__ == "__main__":
    harness.main(main, _parser(), work)
