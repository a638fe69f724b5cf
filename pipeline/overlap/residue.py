"""What is left of removed documents: 8-grams that nobody else wrote, looked for everywhere.

    R  8-grams of the removed documents' pages, raw and as cleaning would write them
    S  those of R that other pages, or other clean documents, hold on their own account
    U  = R - S, unique to what was removed: none of them may be in any result

Decisions:
- The universe is what was captured, not what was kept: a phrase that another page holds too (a
  licence, a quotation, a copy of the removed page elsewhere) is that page's own and may stay. Which
  documents of the result share the most of R is told, because a removed page may have been the
  survivor of its duplicates, and then one of them stands in its place.
- Equal hashes count as equal 8-grams: 64 bits, so the chance that a sound corpus is accused is
  |U| x |result| / 2^64, 1e-4 for 10^6 times 2 * 10^9.
- One task per file; R travels as a file. Memory of a task: R, and one document.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.engine.tasks import Engine
from pipeline.overlap.words import Hashes, distinct, hash_words, ngrams, split
from pipeline.store import shards
from pipeline.store.errors import ShardError

N_WORDS = 8

_N_LISTED = 10

Texts = Iterator[tuple[str, str]]


class Source(NamedTuple):
    """Files of documents, and how ids and texts are read from one of them."""

    name: str
    paths: Sequence[Path]
    read: Callable[[Path], Texts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """What was looked for and found.

    Attributes:
        n_documents: Removed documents with a page.
        n_ngrams: |R|.
        n_unique: |U|.
        remaining: By result, how many of U it holds.
        holders: By result, the documents that hold any of U, the most first.
        sharers: Documents of all results that hold the most of S, with how many.
    """

    n_documents: int
    n_ngrams: int
    n_unique: int
    remaining: dict[str, int]
    holders: dict[str, list[str]]
    sharers: dict[str, int]

    def check(self) -> None:
        """Raises ShardError if any unique 8-gram is left."""
        left = [
            f"{n} in {name} ({', '.join(self.holders[name][:3])})"
            for name, n in self.remaining.items()
            if n
        ]
        if left:
            raise ShardError(
                f"8-grams that only removed documents hold are left: {'; '.join(left)}; "
                "run `dvc repro`"
            )


def read_parquet(path: Path) -> Texts:
    """Yields id and text of each row of a Parquet file with the columns `doc_id` and `text`."""
    return read_columns(path, "doc_id")


def read_examples(path: Path) -> Texts:
    """Yields id and text of each evaluation example."""
    return read_columns(path, "example_id")


def read_labelled(path: Path) -> Texts:
    """Yields id and texts, a line each, of each example of a labelled task."""
    for name, texts in shards.read_rows(path, ["example_id", "texts"]):
        yield name, "\n".join(texts)


def read_columns(path: Path, key: str) -> Texts:
    """Yields two columns of a Parquet file, `key` and `text`."""
    yield from shards.read_rows(path, [key, "text"])


def raw_and_regular(
    read: Callable[[Path], Texts], regular: Callable[[str], str], path: Path
) -> Texts:
    """Yields each text of a file as it is and as cleaning would write it."""
    for doc_id, text in read(path):
        yield doc_id, text
        yield doc_id, regular(text)


def examine(
    removed: Collection[str],
    pages: Source,
    others: Sequence[Source],
    results: Sequence[Source],
    scratch: Path,
    engine: Engine,
) -> Residue:
    """Looks for what is left.

    Args:
        removed: Ids of the removed documents.
        pages: Everything that was captured, raw and regular; holds the removed documents.
        others: More of what the other documents hold (`data/clean`).
        results: What must hold none of U.
        scratch: Folder for R, seen by all workers.
        engine: Where files are read.
    """
    gone = frozenset(removed)
    told = [found for _, found in engine.map(partial(_grams_of, pages.read, gone), pages.paths)]
    grams = distinct(_joined(hashes for _, hashes in told))
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / "removed-8grams.npy"
    np.save(file, grams)
    try:
        is_shared = np.zeros(len(grams), np.bool_)
        for source in (pages, *others):
            is_shared |= _scan(source, gone, file, engine).held
        scans = {source.name: _scan(source, frozenset(), file, engine) for source in results}
    finally:
        file.unlink()
    return _residue(sum(n for n, _ in told), is_shared, scans)


class _Scan(NamedTuple):
    """What a source holds of R: which of it, and by document the places in R."""

    held: npt.NDArray[np.bool_]
    places: dict[str, npt.NDArray[np.int64]]


def _scan(source: Source, without: frozenset[str], file: Path, engine: Engine) -> _Scan:
    held = np.zeros(len(np.load(file, mmap_mode="r")), np.bool_)
    places: dict[str, npt.NDArray[np.int64]] = {}
    for _, found in engine.map(partial(_places_in, source.read, without, file), source.paths):
        for doc_id, mine in found:
            held[mine] = True
            places[doc_id] = mine
    return _Scan(held, places)


def _grams_of(
    read: Callable[[Path], Texts], wanted: frozenset[str], path: Path
) -> tuple[int, Hashes]:
    """Returns how many wanted documents a file holds, and their 8-grams."""
    mine = [(doc_id, text) for doc_id, text in read(path) if doc_id in wanted]
    hashes = [_grams(text) for _, text in mine]
    return len({doc_id for doc_id, _ in mine}), distinct(_joined(hashes))


def _places_in(
    read: Callable[[Path], Texts], without: frozenset[str], file: Path, path: Path
) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Returns for each document of a file that holds any of R which of it; some are left out."""
    grams: Hashes = np.load(file)
    found: dict[str, list[npt.NDArray[np.int64]]] = {}
    for doc_id, text in read(path):
        if doc_id in without or not len(grams):
            continue
        hashes = _grams(text)
        places = np.minimum(np.searchsorted(grams, hashes), len(grams) - 1)
        mine = np.unique(places[grams[places] == hashes])
        if len(mine):
            found.setdefault(doc_id, []).append(mine)
    return [(doc_id, np.unique(np.concatenate(parts))) for doc_id, parts in found.items()]


def _grams(text: str) -> Hashes:
    return distinct(ngrams(hash_words(split(text)), N_WORDS))


def _joined(hashes: Iterable[Hashes]) -> Hashes:
    return np.concatenate([np.empty(0, np.uint64), *hashes])


def _residue(
    n_documents: int, is_shared: npt.NDArray[np.bool_], scans: dict[str, _Scan]
) -> Residue:
    is_unique = ~is_shared
    holders, sharers = {}, Counter[str]()
    for name, scan in scans.items():
        unique = {doc_id: int(is_unique[mine].sum()) for doc_id, mine in scan.places.items()}
        holders[name] = sorted((d for d, n in unique.items() if n), key=lambda d: (-unique[d], d))
        for doc_id, mine in scan.places.items():
            sharers[doc_id] = max(sharers[doc_id], int(is_shared[mine].sum()))
    most = sorted(sharers, key=lambda doc_id: (-sharers[doc_id], doc_id))[:_N_LISTED]
    return Residue(
        n_documents=n_documents,
        n_ngrams=len(is_shared),
        n_unique=int(is_unique.sum()),
        remaining={name: int((scan.held & is_unique).sum()) for name, scan in scans.items()},
        holders=holders,
        sharers={doc_id: sharers[doc_id] for doc_id in most if sharers[doc_id]},
    )
