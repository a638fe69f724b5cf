r"""Near-duplicate removal end to end: ours, datatrove's four MinHash stages and text-dedup.

Input: sentences of the default's own documents (`data/clean/`), recombined into as many documents
as wanted, and edited copies of some of them: words replaced, ends cut off, sentences put in, from
one word to a tenth of the text, and plain copies. Same documents, 14 x 8 bands, word 5-grams, two
processes. All sides write their unique documents.

Quality: all pairs of Jaccard similarity >= .75 of word 5-grams, found exactly (inverted index over
each text's rarest shingles, which misses no pair). Recall is the share of these pairs that ended in
one cluster, precision the share of pairs in one cluster that hang together by such pairs. For this
the first part of the documents is reduced to lower-case words (`[^\W_]+`) with one space between
them, so that all sides mean the same by a word: text-dedup counts an empty word between a comma and
a space, which lifts the mean similarity of our edited copies from .911 to .918 and the recall that
the curve promises from .976 to .982.

datatrove's word tokenizers are swept on the first part: its default for English (spaCy), the one
it assigns where it knows no better (spaCy's rules for no language), and `str.split`, passed as a
tokenizer of the user's own. The fastest of all peers takes part in the rounds, and datatrove's
default.

Run: make bench-env && dvc repro clean && python -m benchmarks.dedup [--small]
     python -m benchmarks.dedup --scale N    N short documents, once: seconds and memory
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from benchmarks import harness
from benchmarks.harness import Check, Comparison, Contender, Run
from pipeline.engine import parallel
from pipeline.overlap import dedup
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo
from stages import params

_SEED = 20190214  # the day of the GPT-2 paper
_N_FILES = 8
_N_DOCS, _N_SWEPT = 36_000, 12_000
_N_SMALL = 600
_SHARE_COPIED = 0.2
_MIN_SENTENCES, _MAX_SENTENCES = 8, 32
_TARGET = 2.0
_TARGET_DEFAULT = 8.0
_THRESHOLD = 0.75
# Each side draws its permutations: by the curve the recall of one draw on the swept part has a
# standard deviation of .002, the difference of two .003. Two of these.
_MIN_MARGIN = -0.006
_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_DATATROVE, _TEXT_DEDUP = "datatrove 0.10.1", "text-dedup 0.4.0"
_DEFAULT, _SPLIT = f"{_DATATROVE} en", f"{_DATATROVE} split"
_OURS = harness.OURS

Cluster = Sequence[str]


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as name:
        n_swept, n_docs = (_N_SMALL, _N_SMALL) if given.small else (_N_SWEPT, _N_DOCS)
        documents = list(make_documents(_pool(harness.ROOT / "data" / "clean"), n_docs))
        swept, whole = Path(name) / "swept", Path(name) / "whole"
        write_input(swept, documents[:n_swept])
        write_input(whole, documents)
        costs = harness.sweep(_contenders(swept).values())
        speed = {name: n_swept / run.cpu_s for name, run in costs.items()}
        quality = _quality(Path(name) / "plain", documents[:n_swept])
        peers = sorted((n for n in speed if n != _OURS), key=lambda n: -speed[n])
        contenders = _contenders(whole)
        runs = harness.rounds(
            [contenders[name] for name in (_OURS, *peers[:1], *({_DEFAULT} & {*peers[1:]}))],
            1 if given.small else given.rounds,
        )
        told, checks = _result(runs, quality, speed, (n_swept, len(documents)), whole)
        return harness.finish(told, runs, checks, given.results)


def _result(
    runs: Mapping[str, Sequence[Run]],
    quality: Mapping[str, Mapping[str, float]],
    speed: Mapping[str, float],
    sizes: tuple[int, int],
    folder: Path,
) -> tuple[dict[str, Any], dict[str, Check]]:
    n_swept, n_docs = sizes
    peers = [name for name in quality if name != _OURS]
    checks = {measure: Check(quality[_OURS][measure], 0.9) for measure in ("recall", "precision")}
    for measure in ("recall", "precision") if peers else ():
        best = max(quality[name][measure] for name in peers)
        checks[f"{measure}_margin"] = Check(quality[_OURS][measure] - best, _MIN_MARGIN)
    lines = sorted((folder / "jsonl").glob("*.jsonl"))
    comparison = Comparison(
        name="dedup",
        work=f"{n_docs:,} documents, a third of them edited copies, to unique ones",
        unit="docs per CPU-second",
        amount=n_docs,
        target=_TARGET,
        inputs=harness.digest(lines),
        n_bytes=sum(path.stat().st_size for path in lines),
    )
    told = harness.result(comparison, runs, _OURS, checks)
    slower = harness.others(told)
    told["further"] = harness.further(comparison, runs, _OURS, slower, _TARGET_DEFAULT)
    told["quality"] = quality
    told["swept"] = {name: round(rate, 2) for name, rate in speed.items()}
    told["versions"] = harness.peer_versions("datatrove", "text-dedup", "spacy")
    told["cost"] = [
        [n_swept, round(n_swept / speed[_OURS], 3)],
        [n_docs, round(harness.median_s(runs[_OURS]), 3)],
    ]
    return told, checks


def _contenders(folder: Path) -> dict[str, Contender]:
    """Returns ours and every peer under each of its settings."""
    ours = harness.ours("dedup", folder, OUTBOUND_WORKERS="2", OMP_NUM_THREADS="1")
    output = folder / "peer"
    commands: dict[str, tuple[object, ...]] = {
        f"{_DATATROVE} {words}": ("datatrove", folder, output, _N_FILES, words)
        for words in ("en", "xx", "split")
    }
    commands[_TEXT_DEDUP] = ("text-dedup", folder, output)
    quiet = {"LOGURU_LEVEL": "ERROR", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {ours.name: ours, **harness.peers("peer_dedup", commands, **quiet)}


def _quality(folder: Path, documents: Sequence[Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """Returns precision and recall of all contenders but those that only cut words otherwise."""
    plain = [{**d, "text": " ".join(_WORD.findall(d["text"].lower()))} for d in documents]
    write_input(folder, plain)
    pairs = similar_pairs({d["id"]: d["text"] for d in plain}, _THRESHOLD)
    print(f"truth  {len(pairs)} pairs of Jaccard >= {_THRESHOLD}", file=sys.stderr)
    found = {}
    for name, contender in _contenders(folder).items():
        if name in (_OURS, _SPLIT, _TEXT_DEDUP):
            harness.measure(contender)
            clusters = _clusters(folder) if name == _OURS else _peer_clusters(folder, name)
            found[name] = score(clusters, pairs)
            print(f"quality {name:<24} {found[name]}", file=sys.stderr)
    return found


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def _pool(clean: Path) -> list[str]:
    """Returns the sentences of real documents, each once, in order."""
    paths = manifest.load(clean, "clean").paths()
    texts = [text for p in paths for text in pq.read_table(p, columns=["text"])["text"].to_pylist()]
    found = (sentence for text in texts for sentence in _SENTENCE.split(text))
    return list(dict.fromkeys(s for s in found if len(s.split()) >= 4))


def make_documents(pool: Sequence[str], n: int) -> Iterator[dict[str, str]]:
    """Yields documents of recombined sentences; some are followed by edited copies.

    Args:
        pool: Sentences.
        n: How many to make.
    """
    rng = random.Random(_SEED)
    waiting: list[str] = []
    for number in range(n):
        if waiting:
            text = waiting.pop()
        else:
            sentences = rng.choices(pool, k=rng.randint(_MIN_SENTENCES, _MAX_SENTENCES))
            text = " ".join(sentences)
            if rng.random() < _SHARE_COPIED:
                waiting = [edit(text, pool, rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        yield {"id": records.doc_id(f"bench/{number}"), "text": text}


def edit(text: str, pool: Sequence[str], rng: random.Random) -> str:
    """Returns a copy with words replaced, the end cut off or a sentence put in, or as it was."""
    words = text.split(" ")
    kind, share = rng.randrange(4), rng.uniform(0.0, 0.1)
    if kind == 0:
        for _ in range(ceil(share / 2 * len(words))):
            words[rng.randrange(len(words))] = rng.choice(rng.choice(pool).split())
    elif kind == 1:
        words = words[: ceil(len(words) * (1 - 3 * share))]
    elif kind == 2:
        at = rng.randrange(len(words))
        words[at:at] = rng.choice(pool).split(" ")
    return " ".join(words)


def write_input(folder: Path, documents: Sequence[Mapping[str, str]]) -> None:
    """Writes the same documents as `data/clean/`, as JSON lines, and as text-dedup's own form."""
    (folder / "clean").mkdir(parents=True)
    (folder / "jsonl").mkdir()
    size = ceil(len(documents) / _N_FILES)
    for i in range(_N_FILES):
        part = documents[i * size : (i + 1) * size]
        lines = [json.dumps(document, ensure_ascii=False) + "\n" for document in part]
        (folder / "jsonl" / f"part-{i:05d}.jsonl").write_text("".join(lines))
        rows = [_row(document) for document in part]
        path = folder / "clean" / f"part-{i:05d}.parquet"
        shards.write_table(path, pa.Table.from_pylist(rows, records.CLEAN))
    _seal(folder / "clean", len(documents))
    if python := harness.peer_python():
        script = str(harness.ROOT / "benchmarks" / "peer_dedup.py")
        subprocess.run([python, script, "prepare", str(folder)], check=True, capture_output=True)


def _row(document: Mapping[str, str]) -> dict[str, Any]:
    text = document["text"]
    return {
        "doc_id": document["id"],
        "url": f"http://bench.test/{document['id']}",
        "host": "bench.test",
        "domain": "bench.test",
        "created_utc": None,
        "title": None,
        "language": "en",
        "text": text,
        "n_chars": len(text),
        "n_words": len(text.split()),
    }


def _seal(folder: Path, n: int) -> None:
    files = {
        path.name: FileInfo(n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=0)
        for path in sorted(folder.iterdir())
    }
    manifest.write(folder, "clean", files, Counts(n_in=n, n_out=n, dropped={}), {}, len(files))


# ── work and quality ─────────────────────────────────────────────────────────────────────────────


def work(folder: Path) -> None:
    """Does our side's work once, from scratch, with the settings of params.yaml."""
    config = replace(params.load("dedup", dedup.Config), max_removed_frac=1.0)
    _clear(folder)
    os.chdir(folder)
    with parallel.engine() as engine:
        dedup.run(folder / "clean", folder / "unique", config, engine)


def _clear(folder: Path) -> None:
    for name in ("unique", ".shards", "peer"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _clusters(folder: Path) -> list[list[str]]:
    """Returns our clusters: a survivor and the documents that were dropped for it."""
    found = defaultdict(list)
    for path in manifest.load(folder / "unique", "dedup").paths("decisions"):
        for row in pq.read_table(path, columns=["doc_id", "detail"]).to_pylist():
            found[row["detail"].split()[0]].append(row["doc_id"])
    return [[survivor, *others] for survivor, others in found.items()]


def _peer_clusters(folder: Path, name: str) -> list[list[str]]:
    script = str(harness.ROOT / "benchmarks" / "peer_dedup.py")
    command = [str(harness.peer_python()), script, "clusters", str(folder), str(folder / "peer")]
    command.append("datatrove" if name.startswith(_DATATROVE) else "text-dedup")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    clusters: list[list[str]] = json.loads(done.stdout.splitlines()[-1])["clusters"]
    return clusters


def similar_pairs(texts: Mapping[str, str], threshold: float) -> set[tuple[str, str]]:
    """Returns all pairs of texts of at least this Jaccard similarity of word 5-grams.

    Two sets of similarity t share t of the larger one, so they share at least one of the rarest
    (1 - t) n + 1 of each: only texts that meet there are compared.

    >>> sorted(similar_pairs({"a": "1 2 3 4 5 6", "b": "1 2 3 4 5 6 7", "c": "8 9"}, 0.5))
    [('a', 'b')]
    """
    sets = {name: _shingles(text) for name, text in texts.items()}
    n_texts = Counter(shingle for one in sets.values() for shingle in one)
    meeting = defaultdict(list)
    for name, one in sets.items():
        n_rare = len(one) - ceil(threshold * len(one)) + 1
        for shingle in sorted(one, key=lambda s: (n_texts[s], s))[:n_rare]:
            meeting[shingle].append(name)
    near = {pair for names in meeting.values() for pair in combinations(sorted(names), 2)}
    return {(a, b) for a, b in near if _jaccard(sets[a], sets[b]) >= threshold}


def _shingles(text: str, n: int = 5) -> set[int]:
    words = _WORD.findall(text.lower())
    grams = (" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1)))
    return {xxhash.xxh3_64_intdigest(gram.encode()) for gram in grams}


def _jaccard(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b)


def score(clusters: Iterable[Cluster], pairs: set[tuple[str, str]]) -> dict[str, float]:
    """Returns precision and recall of clusters.

    >>> score([["a", "b"], ["c", "d"]], {("a", "b"), ("a", "e")})
    {'precision': 0.5, 'recall': 0.5}
    """
    root = _components(pairs)
    of = {name: i for i, members in enumerate(clusters) for name in members}
    found = Counter(of.values())
    right = Counter((i, root.get(name, name)) for name, i in of.items())
    n_pairs, n_right = (sum(n * (n - 1) // 2 for n in c.values()) for c in (found, right))
    caught = sum(a in of and of[a] == of.get(b) for a, b in pairs)
    return {
        "precision": round(n_right / max(1, n_pairs), 5),
        "recall": round(caught / max(1, len(pairs)), 5),
    }


def _components(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    parents: dict[str, str] = {}

    def find(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    for a, b in sorted(pairs):
        parents[find(b)] = find(a)
    return {name: find(name) for name in list(parents)}


# ── scale ────────────────────────────────────────────────────────────────────────────────────────


def scale(n: int) -> None:
    """Deduplicates n documents of 40 to 60 words once and prints what it cost."""
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as name:
        folder = Path(name)
        (folder / "clean").mkdir()
        rng = random.Random(_SEED)
        for i in range(_N_FILES):
            part = _short_documents(i, ceil(n / _N_FILES), rng)
            path = folder / "clean" / f"part-{i:05d}.parquet"
            shards.write_table(path, pa.Table.from_pylist(list(map(_row, part)), records.CLEAN))
        _seal(folder / "clean", n)
        run = harness.measure(_contenders(folder)[_OURS])
        kept = manifest.load(folder / "unique", "dedup").counts.n_out
    told = {"n_docs": n, "n_unique": kept, "cpu_s": round(run.cpu_s, 2), "s": round(run.wall_s, 2)}
    each = {"cpu_us_per_doc": round(run.cpu_s / n * 1e6, 1)}
    print(json.dumps({**told, **each, "max_rss_mib": run.max_rss_bytes >> 20}))


def _short_documents(part: int, n: int, rng: random.Random) -> list[dict[str, str]]:
    """Returns documents of invented words; a tenth are others of them with one word changed."""
    words = [
        f"{a}{b}{c}{d}" for a in "bdgklmprst" for b in "aeiou" for c in "nrlsk" for d in "aeio"
    ]
    texts: list[list[str]] = []
    for _ in range(n):
        if texts and rng.random() < 0.1:
            chosen = list(rng.choice(texts))
            chosen[rng.randrange(len(chosen))] = rng.choice(words)
        else:
            chosen = rng.choices(words, k=rng.randint(40, 60))
        texts.append(chosen)
    ids = (records.doc_id(f"scale/{part}/{i}") for i in range(n))
    return [{"id": i, "text": " ".join(text)} for i, text in zip(ids, texts, strict=True)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--scale"]:
        scale(int(sys.argv[2]))
    else:
        harness.main(main, harness.parser(__doc__), work)
