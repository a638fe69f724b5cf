"""Text to token shards: this project's encode step, datatrove's, and the bare libraries.

Inputs, the vocabulary being the default's:
- repeated: the corpus of the default, its documents recombined from their paragraphs by a seed
  until there are enough bytes. It has 5 MB of text to draw from, so a library that remembers words
  has seen each of them; against datatrove, which does not, a little of it is enough.
- new: every file of source code and documentation in this environment, each once. There is no
  larger text that every machine has, and a word in it is as often a new one as on the web: the
  libraries have two fifths of the speed that they have on the other input.

Ours reads Parquet, encodes, writes Arrow shards with digests and a manifest, in one process: Ray's
daemon lets its workers end without their CPU time being counted anywhere, so a figure with Ray
would be too good. datatrove reads the same Parquet files and writes its own token files with the
same tokenizer.json, at the best of a sweep.
The bare libraries read the same Parquet files, encode every text by one batch call per file and
drop the ids; a 1 at the end of a name is one thread. So three questions are answered: how much
faster than datatrove, which library is the fastest, and what writing and digests add to it.

Libraries with vocabularies of their own only (rs-bpe, bpe-openai) can't take part.

Run: make bench-env && python -m benchmarks.encode [--small]
"""

import argparse
import os
import random
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from benchmarks import harness
from benchmarks.bare_encode import tiktoken_of
from benchmarks.harness import Check, Comparison, Contender, Run
from pipeline.engine import parallel
from pipeline.store import manifest, records, shards
from pipeline.store.shards import Counts, FileInfo
from pipeline.tokens import encode
from pipeline.tokens.arrow import open_shards

_SEED = 20190214
_N_FILES = 4
_MB = {"big": 1_200, "slow": 16, "tiny": 2}  # of text; what takes a second per MB gets less of it
_SUFFIXES = (".c", ".cpp", ".h", ".md", ".py", ".pyi", ".rst", ".txt")
_SAMPLED_EVERY = 30  # documents of the new text that tiktoken encodes, too
_TEXTS = {"little": "repeated text", "repeated": "repeated text", "new": "text that is new"}
_TARGET = 5.0  # times datatrove
_RAW_TARGET = 0.95  # of the fastest library's bare call
_PEER = "datatrove 0.10.1"
_SETTINGS = [(batch, order) for batch in (1_000, 10_000) for order in ("plain", "shuffled")]
_BARE = (
    "gigatoken-list",
    "gigatoken-list-1",
    "gigatoken-each",
    "gigatoken-parquet",
    "gigatoken-parquet-1",
)
_SLOW_BARE = ("tiktoken-1", "tiktoken-2", "tokenizers")
_OURS = harness.OURS


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    n, every = (1, 1) if given.small else (given.rounds, _SAMPLED_EVERY)
    with tempfile.TemporaryDirectory(prefix="bench-encode-") as name:
        little, repeated, new = _inputs(Path(name), given)
        checks = {"ids_equal": Check(min(_ids_equal(little, 1), _ids_equal(new, every)), 1.0)}
        peers = _datatrove(little)
        swept = harness.sweep(peers)
        slow = harness.sweep(_bare(kind, little) for kind in _SLOW_BARE)
        fastest = sorted(peers, key=lambda c: swept[c.name].cpu_s)[:1]
        runs = _against(little, fastest, n)
        cost = [_cost(little, runs)]
        for folder in (new, repeated):
            bare = _against(folder, [_bare(kind, folder) for kind in _BARE], n)
            cost.append(_cost(folder, bare))
            told = harness.result(_comparison(folder), bare, _OURS, checks)
            told["swept"] = _rates(little, slow)
            told["versions"] = harness.versions("gigatoken", "tiktoken", "tokenizers")
            harness.finish(told, bare, checks, given.results)
        told = harness.result(_comparison(little), runs, _OURS, checks)
        told |= {"swept": _rates(little, swept), "cost": cost}
        told["versions"] = harness.peer_versions("datatrove", "tokenizers")
        return harness.finish(told, runs, checks, given.results)


def _inputs(folder: Path, given: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Makes a little of the repeated text, much of it, and the new text."""
    little, repeated, new = (folder / name for name in ("little", "repeated", "new"))
    megabytes = ("tiny", "tiny") if given.small else ("slow", "big")
    for path, size in zip((little, repeated), megabytes, strict=True):
        make_input(path, given.bpe, recombined(given.corpus, _MB[size] * 1_000_000))
    found = sources(_MB["tiny"] * 1_000_000 if given.small else None)
    make_input(new, given.bpe, (found[index::_N_FILES] for index in range(_N_FILES)))
    return little, repeated, new


def _rates(folder: Path, runs: dict[str, Run]) -> dict[str, float]:
    return {name: round(_megabytes(folder) / run.cpu_s, 3) for name, run in runs.items()}


def _cost(folder: Path, runs: dict[str, list[Run]]) -> list[float]:
    return [round(_megabytes(folder)), round(harness.median_s(runs[_OURS]), 3)]


def _comparison(folder: Path) -> Comparison:
    """Returns what is compared: datatrove on a little text, bare calls on much."""
    megabytes, kind = _megabytes(folder), folder.name
    return Comparison(
        name="encode",
        case="" if kind == "little" else f"bare-{kind}",
        work=f"{megabytes:,.0f} MB of {_TEXTS[kind]} to token shards, {_N_FILES} files",
        unit="MB per CPU-second",
        amount=megabytes,
        target=_TARGET if kind == "little" else _RAW_TARGET,
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


def make_input(folder: Path, bpe: Path, texts: Iterable[list[str]]) -> None:
    """Writes a corpus, and the vocabulary beside it.

    Args:
        folder: Where `corpus/` and `bpe/` go.
        bpe: The vocabulary.
        texts: Of each file.
    """
    shutil.copytree(bpe, folder / "bpe")
    files = {}
    for index, train in enumerate(texts):
        for split, held in (("train", train), ("valid", [])):
            path = folder / "corpus" / split / f"part-{index:05d}.parquet"
            _write_documents(path, held, index)
            name = path.relative_to(folder / "corpus").as_posix()
            files[name] = described(path)
    counts = Counts(n_in=0, n_out=0, dropped={})
    manifest.write(folder / "corpus", "decontaminate", files, counts, {}, _N_FILES)


def sources(n_bytes: int | None) -> list[str]:
    """Returns the files of the standard library and of all packages, until there are as many bytes.

    What is no UTF-8, has no text, or has been there before is left out.
    """
    found: dict[str, None] = {}
    folders = (Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if n_bytes is not None and n_bytes <= 0:
            break
        if path.suffix in _SUFFIXES and path.is_file():
            with suppress(UnicodeDecodeError):
                text = path.read_text(encoding="utf-8")
                if text.strip() and text not in found:
                    found[text] = None
                    n_bytes = None if n_bytes is None else n_bytes - path.stat().st_size
    return list(found)


def recombined(corpus: Path, n_bytes: int) -> Iterator[list[str]]:
    """Yields the texts of each file: documents of the paragraphs of a corpus.

    Args:
        corpus: As `decontaminate` leaves it.
        n_bytes: About how many bytes of text in all.
    """
    paths = manifest.load(corpus, "decontaminate").paths("train")
    texts = [t for path in paths for t in pq.read_table(path)["text"].to_pylist()]
    for index in range(_N_FILES):
        yield list(_recombined(texts, index, n_bytes // _N_FILES))


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


def _ids_equal(folder: Path, every: int) -> float:
    """Returns 1 if our shards hold the ids of tiktoken, and those of tokenizers on a sample.

    Args:
        folder: The input.
        every: Of how many documents one is looked at; all are counted.
    """
    harness.measure(_ours(folder))
    opened = open_shards(manifest.load(folder / "tokens", "encode").paths("train"))
    texts = [t for p in _files(folder) for t in pq.read_table(p)["text"].to_pylist()]
    theirs = tiktoken_of(folder / "bpe" / "tokenizer.json").encode_ordinary_batch(texts[::every])
    starts = [row["start"] for row in opened.documents().to_pylist()]
    found = [
        opened.slice(start, stop).tolist() for start, stop in pairwise([*starts, opened.n_tokens])
    ][::every]
    same = len(starts) == len(texts) and found == [[*ids, opened.eot_id] for ids in theirs]
    other = Tokenizer.from_file(str(folder / "bpe" / "tokenizer.json"))
    other.encode_special_tokens = True
    sample = [e.ids for e in other.encode_batch_fast(texts[:: 50 * every])]
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
