"""Text to token shards: this project's encode step, datatrove's, and the bare libraries.

Input: the corpus of the default, its documents recombined from their paragraphs by a seed until
there are enough bytes; the vocabulary is the default's. Ours reads Parquet, encodes, writes Arrow
shards with digests and a manifest, in one process: Ray's daemon lets its workers end without their
CPU time being counted anywhere, so a figure with Ray would be too good. datatrove reads the same
Parquet files and writes its own token files with the same tokenizer.json, at the best of a sweep.
The bare libraries read the same Parquet files, encode every text by one batch call per file and
drop the ids. So three questions are answered: how much faster than datatrove, which library is the
fastest, and what reading, writing and digests add to it.

Libraries with vocabularies of their own only (rs-bpe, bpe-openai) can't take part.

Run: make bench-env && python -m benchmarks.encode [--small]
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from benchmarks import harness
from benchmarks.bare_encode import tiktoken_of
from benchmarks.harness import Check, Comparison, Contender, Run
from pipeline.engine import parallel
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo
from pipeline.tokens import codec, encode
from pipeline.tokens.arrow import open_shards

_SEED = 20190214
_N_FILES = 4
_MB = {"big": 800, "slow": 16, "tiny": 2}  # of text; what takes a second per MB gets less of it
_TARGET = 5.0  # times datatrove
_RAW_TARGET = 0.95  # of the fastest library's bare call
_PEER = "datatrove 0.10.1"
_SETTINGS = [(batch, order) for batch in (1_000, 10_000) for order in ("plain", "shuffled")]
_BARE = ("gigatoken-list", "gigatoken-each", "gigatoken-parquet")
_SLOW_BARE = ("tiktoken-1", "tiktoken-2", "tokenizers")
_OURS = harness.OURS


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="bench-encode-") as name:
        big, small = Path(name) / "big", Path(name) / "small"
        sizes = ("tiny", "tiny") if given.small else ("big", "slow")
        for folder, size in zip((big, small), sizes, strict=True):
            make_input(folder, given.corpus, given.bpe, _MB[size] * 1_000_000)
        n = 1 if given.small else given.rounds
        equal = _ids_equal(small)
        peers = _datatrove(small)
        swept = harness.sweep(peers)
        fastest = sorted(peers, key=lambda c: swept[c.name].cpu_s)[:1]
        against_peer = _against(small, fastest, n)
        bare = [_bare(kind, big) for kind in _BARE]
        against_raw = _against(big, bare, n)
        slow_raw = harness.rounds([_bare(kind, small) for kind in _SLOW_BARE], 1)
        sides = (small, against_peer, swept), (big, against_raw, slow_raw)
        return _finish(*sides, Check(equal, 1.0), given.results)


def _finish(
    peer: tuple[Path, dict[str, list[Run]], dict[str, Run]],
    raw: tuple[Path, dict[str, list[Run]], dict[str, list[Run]]],
    equal: Check,
    results: Path | None,
) -> int:
    checks = {"ids_equal": equal}
    told = harness.result(_comparison(peer[0], "", _TARGET), peer[1], _OURS, checks)
    bare = harness.result(_comparison(raw[0], "bare", _RAW_TARGET), raw[1], _OURS, checks)
    slow = {name: _megabytes(peer[0]) / runs[0].cpu_s for name, runs in raw[2].items()}
    bare["versions"] = harness.versions("gigatoken", "tiktoken", "tokenizers")
    bare["swept"] = {name: round(rate, 3) for name, rate in slow.items()}
    cost = [
        [round(_megabytes(of[0])), round(harness.median_s(of[1][_OURS]), 3)] for of in (peer, raw)
    ]
    harness.finish({**bare, "cost": cost}, raw[1], checks, results)
    told["versions"] = harness.peer_versions("datatrove", "tokenizers")
    told["swept"] = {
        name: round(_megabytes(peer[0]) / run.cpu_s, 3) for name, run in peer[2].items()
    }
    extra = {key: bare[key] for key in ("ours", "peers", "ratio", "spread", "target", "inputs")}
    extra["peers"] |= bare["swept"]
    return harness.finish({**told, "cost": cost, "raw": extra}, peer[1], checks, results)


def _comparison(folder: Path, case: str, target: float) -> Comparison:
    megabytes = _megabytes(folder)
    return Comparison(
        name="encode",
        case=case,
        work=f"{megabytes:,.0f} MB of text to token shards, {_N_FILES} files",
        unit="MB per CPU-second",
        amount=megabytes,
        target=target,
        inputs=harness.digest(folder.glob("corpus/train/*.parquet")),
        n_bytes=1e6 * megabytes,
    )


def _against(folder: Path, peers: Sequence[Contender], n: int) -> dict[str, list[Run]]:
    return harness.rounds([_ours(folder), *peers], n)


def _ours(folder: Path) -> Contender:
    return harness.ours("encode", folder, OUTBOUND_ENGINE="inline")


def _bare(kind: str, folder: Path) -> Contender:
    script = str(harness.ROOT / "benchmarks" / "bare_encode.py")
    command = (sys.executable, script, str(folder), kind)
    return Contender(name=f"bare {kind}", command=command)


def _datatrove(folder: Path) -> list[Contender]:
    """Returns datatrove under each of its settings."""
    paths = (folder / "corpus" / "train", folder / "peer", folder / "bpe" / "tokenizer.json")
    commands = {
        f"{_PEER} batch {batch} {order}": (*paths, _N_FILES, batch, order)
        for batch, order in _SETTINGS
    }
    quiet = {"LOGURU_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
    return list(harness.peers("peer_encode", commands, **quiet).values())


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, corpus: Path, bpe: Path, n_bytes: int) -> None:
    """Writes a corpus of recombined documents, and the vocabulary beside it.

    Args:
        folder: Where `corpus/` and `bpe/` go.
        corpus: A corpus as `decontaminate` leaves it.
        bpe: Its vocabulary.
        n_bytes: About how many bytes of text.
    """
    shutil.copytree(bpe, folder / "bpe")
    paths = manifest.load(corpus, "decontaminate").paths("train")
    texts = [t for path in paths for t in pq.read_table(path)["text"].to_pylist()]
    files = {}
    for index in range(_N_FILES):
        for split, share in (("train", n_bytes // _N_FILES), ("valid", 0)):
            path = folder / "corpus" / split / f"part-{index:05d}.parquet"
            _write_documents(path, list(_recombined(texts, index, share)), index)
            name = path.relative_to(folder / "corpus").as_posix()
            files[name] = described(path)
    counts = Counts(n_in=0, n_out=0, dropped={})
    manifest.write(folder / "corpus", "decontaminate", files, counts, {}, _N_FILES)


def described(path: Path) -> FileInfo:
    """Returns what a manifest says of a file."""
    return FileInfo(n_bytes=path.stat().st_size, sha256=shards.sha256_file(path), rows=0)


def _recombined(texts: Sequence[str], index: int, n_bytes: int) -> Iterator[str]:
    """Yields documents whose paragraphs are drawn from all texts."""
    drawn = random.Random(f"{_SEED}/{index}")
    paragraphs = [part for text in texts for part in text.split("\n\n")]
    lengths = [text.count("\n\n") + 1 for text in texts]
    while n_bytes > 0:
        text = "\n\n".join(drawn.choices(paragraphs, k=drawn.choice(lengths)))
        n_bytes -= len(text.encode())
        yield text


def _write_documents(path: Path, texts: list[str], index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [records.doc_id(f"{path.parent.name}/{index}/{row}") for row in range(len(texts))]
    table = pa.table({"doc_id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})
    pq.write_table(table, path, compression="zstd")


def _megabytes(folder: Path) -> float:
    texts = [pq.read_table(p, columns=["text"])["text"] for p in _files(folder)]
    return sum(pa.compute.sum(pa.compute.binary_length(t)).as_py() for t in texts) / 1e6


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("corpus/train/*.parquet"))


# ── work ─────────────────────────────────────────────────────────────────────────────────────────


def work(folder: Path) -> None:
    """Does our side's work once, from scratch."""
    for name in ("tokens", ".shards"):
        shutil.rmtree(folder / name, ignore_errors=True)
    os.chdir(folder)
    with parallel.engine() as engine:
        encode.run(Path("corpus"), Path("bpe"), Path("tokens"), engine)


def _ids_equal(folder: Path) -> float:
    """Returns 1 if our shards hold the ids of tiktoken, and those of tokenizers on a sample."""
    harness.measure(_ours(folder))
    paths = manifest.load(folder / "tokens", "encode").paths("train")
    end = codec.load(folder / "bpe" / "tokenizer.json").vocabulary.eot_id
    texts = [t for p in _files(folder) for t in pq.read_table(p)["text"].to_pylist()]
    theirs = tiktoken_of(folder / "bpe" / "tokenizer.json").encode_ordinary_batch(texts)
    expected = np.concatenate([np.array([*ids, end]) for ids in theirs])
    opened = open_shards(paths)
    same = np.array_equal(opened.slice(0, opened.n_tokens), expected)
    other = Tokenizer.from_file(str(folder / "bpe" / "tokenizer.json"))
    sample = [e.ids for e in other.encode_batch_fast(texts[::50])]
    return float(same and sample == theirs[::50])


def _parser() -> argparse.ArgumentParser:
    found = harness.parser(__doc__)
    found.add_argument(
        "--corpus", type=Path, default=Path("data/corpus"), help="texts to recombine"
    )
    found.add_argument("--bpe", type=Path, default=Path("data/bpe"), help="the vocabulary")
    return found


if __name__ == "__main__":
    harness.main(main, _parser(), work)
