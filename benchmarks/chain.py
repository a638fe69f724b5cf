"""WARC files to token shards: this project's stages in turn, and datatrove's same chain.

Input: pages as `benchmarks.layouts` draws them, of articles put together by a seed out of the
paragraphs of the documentation on this machine; every fifth page says again what an earlier one
said, on another site. `--megabytes` is the size of the markup, 1,000 by default. Ours are extract,
clean, dedup and encode with Ray, as in the graph, one after the other; datatrove's chain is reader,
Trafilatura, Gopher's filters, C4's, MinHash, tokenizer (`benchmarks/peer_chain.py`). Both have two
processes, one vocabulary, trained before, and limits of Gopher and C4 as published; ours also
detects the language, finds boilerplate, verifies pairs, and accounts for every document.

datatrove's settings are swept on a tenth of the input: its defaults, and named settings that make
it faster; the fastest of these takes turns with ours on the whole, for `ratio`. The defaults, which
take an hour of CPU time for a gigabyte, take turns with ours on the tenth (`further`). What both
keep of the whole is told as `tokens`.

Checks
- tokens_share: our tokens, of those of the peer that keeps the most: ours is not fast by dropping.
- duplicates_gone: share of the repeated pages that are not in our corpus twice.

Run: make bench-env && python -m benchmarks.chain [--small] [--megabytes N]
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks import archives, harness, layouts, texts
from benchmarks.harness import Check, Comparison, Contender, Run
from crawl.docstrings import Block
from crawl.prose import Article
from pipeline.engine import parallel
from pipeline.overlap import dedup
from pipeline.store import manifest, records, shards, urls
from pipeline.store.shards import Counts
from pipeline.text import clean, extract, rules
from pipeline.tokens import bpe, encode
from pipeline.tokens.arrow import open_shards
from stages import params

_SEED = 20190214
_N_FILES = 8
_N_LAYOUTS = 400
_REPEATED_EVERY = 5
_MEGABYTES, _SMALL_MEGABYTES = 1_000, 2
_N_VOCAB, _SMALL_VOCAB = 8_192, 600
_MIN_GONE = 0.8  # layouts differ in what else they show: 57 of 64 pairs were found (measured)
_TARGET, _TARGET_DEFAULT = 2.0, 4.0
_OURS = harness.OURS
_PEER = "datatrove 0.10.1"
_DEFAULT = ("precision", "dedup", "full", "en")
_FASTER = (
    ("precision", "plain", "fast", "split"),
    ("balanced", "plain", "fast", "split"),
    ("precision", "plain", "full", "split"),
)
# Gopher's and C4's published limits, as datatrove's filters have them.
_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_STAGES = ("pages", "clean", "unique", "corpus", "tokens", ".shards")


class Input(NamedTuple):
    """One input: its folder, with `warc/` and `bpe/`, and megabytes of markup."""

    folder: Path
    megabytes: float


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    size = _SMALL_MEGABYTES if given.small else given.megabytes
    with tempfile.TemporaryDirectory(prefix="bench-chain-") as name:
        blocks = texts.blocks(texts.packages(small=given.small))
        tenth = make_input(Path(name) / "tenth", blocks, size / 10, small=given.small)
        whole = make_input(Path(name) / "whole", blocks, size, small=given.small)
        faster = _FASTER[:1] if given.small else _FASTER
        swept = harness.sweep(_contenders(tenth.folder, faster).values())
        n = 1 if given.small else given.rounds
        runs = _rounds(whole.folder, _fastest(swept), n)
        default = {_name(_DEFAULT)} & swept.keys()
        by_default = _rounds(tenth.folder, default, n) if default else {}
        told, checks = _result(whole, runs, by_default, swept)
        told["cost"] = [
            [round(tenth.megabytes, 1), round(swept[_OURS].cpu_s, 2)],
            [round(whole.megabytes, 1), round(harness.median_s(runs[_OURS]), 2)],
        ]
    return harness.finish(told, runs, checks, given.results)


def _rounds(folder: Path, peers: Set[str], n: int) -> dict[str, list[Run]]:
    """Lets ours and some settings of the peer take turns."""
    contenders = _contenders(folder, _FASTER)
    return harness.rounds([contenders[name] for name in (_OURS, *sorted(peers))], n)


def _result(
    whole: Input,
    runs: Mapping[str, Sequence[Run]],
    by_default: Mapping[str, Sequence[Run]],
    swept: Mapping[str, Run],
) -> tuple[dict[str, Any], dict[str, Check]]:
    """Returns the result with the ratio to the fastest settings, and the one to the defaults."""
    checks = {
        "tokens_share": Check(min(_tokens_share(runs), _tokens_share(by_default)), 0.9),
        "duplicates_gone": Check(_share_gone(whole.folder), _MIN_GONE),
    }
    comparison = Comparison(
        name="chain",
        work=f"{whole.megabytes:,.0f} MB of HTML in WARC files to token shards",
        unit="MB per CPU-second",
        amount=whole.megabytes,
        target=_TARGET,
        inputs=harness.digest((whole.folder / "warc").glob("*.warc.gz")),
        n_bytes=1e6 * whole.megabytes,
    )
    told = harness.result(comparison, runs, _OURS, checks)
    others = [name for name in by_default if name != _OURS]
    further = harness.further(comparison, by_default, _OURS, others, _TARGET_DEFAULT)
    told["further"] = [
        {**each, "against": f"{each['against']}, on a tenth of the input"} for each in further
    ]
    told["tokens"] = _tokens(runs)
    tenth = whole.megabytes / 10
    told["swept"] = {name: round(tenth / run.cpu_s, 4) for name, run in swept.items()}
    told["versions"] = harness.peer_versions("datatrove", "trafilatura", "spacy", "tokenizers")
    told["wall_s"] = {
        name: round(statistics.median(r.wall_s for r in of), 2) for name, of in runs.items()
    }
    return told, checks


def _tokens(runs: Mapping[str, Sequence[Run]]) -> dict[str, int]:
    return {name: of[-1].told["tokens"] for name, of in runs.items()}


def _tokens_share(runs: Mapping[str, Sequence[Run]]) -> float:
    """Returns our tokens, of those of the peer that keeps the most; 1 where there is none."""
    tokens = _tokens(runs)
    peers = [n for name, n in tokens.items() if name != _OURS]
    return tokens[_OURS] / max(peers) if peers else 1.0


def _fastest(swept: Mapping[str, Run]) -> set[str]:
    """Returns the peer's fastest settings; none where it is not installed."""
    faster = [_name(setting) for setting in _FASTER if _name(setting) in swept]
    return set(sorted(faster, key=lambda name: swept[name].cpu_s)[:1])


def _name(setting: Sequence[str]) -> str:
    return f"{_PEER} {' '.join(setting)}"


def _contenders(folder: Path, faster: Sequence[Sequence[str]]) -> dict[str, Contender]:
    """Returns ours, and the peer at its defaults and under each of some settings."""
    ours = harness.ours("chain", folder, OUTBOUND_WORKERS="2", OMP_NUM_THREADS="1")
    paths = (folder / "warc", folder / "peer", folder / "bpe" / "tokenizer.json")
    commands = {_name(setting): (*paths, _N_FILES, *setting) for setting in (_DEFAULT, *faster)}
    quiet = {"LOGURU_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {ours.name: ours, **harness.peers("peer_chain", commands, **quiet)}


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, blocks: Sequence[Block], megabytes: float, *, small: bool) -> Input:
    """Writes WARC files of pages and the vocabulary.

    Args:
        folder: Where `warc/` and `bpe/` go.
        blocks: What articles are put together of.
        megabytes: Of markup, about.
        small: Make a vocabulary of some hundred entries.
    """
    pages = _pages(blocks, int(megabytes * 1e6))
    n_bytes = archives.write(folder / "warc", pages, _N_FILES)
    lines = [line for block in blocks for line in block.lines]
    bpe.write(folder / "bpe", bpe.train(iter([lines]), _SMALL_VOCAB if small else _N_VOCAB, 2))
    return Input(folder, n_bytes / 1e6)


def _pages(blocks: Sequence[Block], n_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yields URL and markup of pages until there are as many bytes; every fifth is said again."""
    said: Article | None = None
    for page in count():
        if n_bytes <= 0:
            return
        if said is None or page % _REPEATED_EVERY:
            said = _article(blocks, page)
        shown = layouts.show(said, _SEED, page % _N_LAYOUTS, page).markup.encode()
        n_bytes -= len(shown)
        yield url_of(page), shown


def url_of(page: int) -> str:
    """Returns a page's URL."""
    return f"http://site{page % _N_LAYOUTS}.test/{page}.html"


def _article(blocks: Sequence[Block], page: int) -> Article:
    return Article("bench", str(page), f"Of things, part {page}", texts.chosen(blocks, _SEED, page))


# ── work ─────────────────────────────────────────────────────────────────────────────────────────


def work(folder: Path) -> None:
    """Does our side's work once, from scratch; tells the tokens of both parts."""
    root = harness.ROOT / "params.yaml"
    configs = (
        params.load("extract", extract.Config, root),
        clean_config(params.load("clean", clean.Config, root)),
        replace(params.load("dedup", dedup.Config, root), max_removed_frac=1.0),
    )
    for name in _STAGES:
        shutil.rmtree(folder / name, ignore_errors=True)
    os.chdir(folder)
    with parallel.engine() as engine:
        extract.run(Path("warc"), Path("pages"), configs[0], engine)
        clean.run([Path("pages")], Path("clean"), configs[1], engine)
        dedup.run(Path("clean"), Path("unique"), configs[2], engine)
        _pass_on(Path("unique"), Path("corpus"))
        encode.run(Path("corpus"), Path("bpe"), Path("tokens"), engine)
    made = manifest.load(Path("tokens"), "encode")
    n_tokens = sum(open_shards(made.paths(split)).n_tokens for split in encode.SPLITS)
    print(json.dumps({"tokens": n_tokens}))


def clean_config(config: clean.Config) -> clean.Config:
    """Returns cleaning with Gopher's and C4's limits as published, as datatrove's filters have."""
    published = {f"max_copied_{n}gram_chars_frac": most for n, most in _NGRAMS.items()}
    return replace(
        config,
        lines=replace(config.lines, terminal=True, min_words=3, policy=True, long_words=True),
        repetition=replace(config.repetition, **published),
        c4=rules.C4(
            min_sentences=5, max_lorem_ipsum=0, max_brace_lines_frac=0.0, max_policy_lines_frac=1.0
        ),
        min_chars=1,
        guard=replace(config.guard, max_removed_frac=1.0),
    )


def _pass_on(unique: Path, corpus: Path) -> None:
    """Links the unique documents as a corpus: datatrove's chain has no decontamination."""
    found = manifest.load(unique, "dedup")
    files = {}
    for split in encode.SPLITS:
        (corpus / split).mkdir(parents=True)
        for path in found.paths(split):
            name = f"{split}/{path.name}"
            os.link(path, corpus / name)
            files[name] = shards.FileInfo(
                n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=0
            )
    counts = Counts(n_in=0, n_out=0, dropped={})
    manifest.write(corpus, "decontaminate", files, counts, {}, len(found.paths("train")))


def _share_gone(folder: Path) -> float:
    """Returns the share of repeated pages, of those that were clean, that were left once."""
    clean_ids = _ids(manifest.load(folder / "clean", "clean").paths())
    unique = manifest.load(folder / "unique", "dedup")
    kept = _ids([path for split in encode.SPLITS for path in unique.paths(split)])
    n_both = n_gone = 0
    for page in range(_REPEATED_EVERY, len(clean_ids) * _REPEATED_EVERY, _REPEATED_EVERY):
        first, second = (_doc_id(each) for each in (page - 1, page))
        if first in clean_ids and second in clean_ids:
            n_both += 1
            n_gone += not (first in kept and second in kept)
    return n_gone / max(1, n_both)


def _ids(paths: Sequence[Path]) -> set[str]:
    return {
        i for path in paths for i in pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist()
    }


def _doc_id(page: int) -> str:
    parsed = urls.parse(url_of(page))
    assert parsed is not None
    return records.doc_id(urls.canonical_key(parsed))


def _parser() -> argparse.ArgumentParser:
    found = harness.parser(__doc__)
    found.add_argument("--megabytes", type=float, default=_MEGABYTES, help="of markup")
    return found


if __name__ == "__main__":
    harness.main(main, _parser(), work)
