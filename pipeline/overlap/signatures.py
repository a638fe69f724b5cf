"""Dedup, step 1 (map over shards): what is needed of each document to find its duplicates.

    documents.arrow     doc, content, created, n_chars; one row per input row, in the same order
    ids-<p>.arrow       doc, by ranges of doc
    texts-<p>.arrow     content, check, doc, created, n_chars; by ranges of content
    bands-<p>.arrow     key, content; by ranges of key, one row per band of each distinct text

That is 16 bytes per band, 224 per text at 14 bands, 80 more per document and nothing of the text.
No file but the first holds row numbers, all are sorted: a document less changes only the ranges
that its own hashes fall into.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.overlap import columns, exact, minhash
from pipeline.overlap.columns import partition_of
from pipeline.overlap.words import Hashes
from pipeline.store import shards
from pipeline.store.shards import ShardDraft

DOCUMENTS = "documents.arrow"
IDS, TEXTS, BANDS = "ids", "texts", "bands"
NEVER = 2**63 - 1  # stands for an unknown created_utc, which sorts last

_CHARS_AT_ONCE = 1 << 18  # 2^17 to 2^19 take the same time; below and above it is 1.4 times as much


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step."""

    minhash: minhash.Config
    partitions: int


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the signatures of one shard of `data/clean/`."""
    documents: list[tuple[int, int, int, int, int]] = []
    keys, contents = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    seen: set[int] = set()
    for rows in _batches(inputs[0]):
        fresh: dict[int, str] = {}
        for doc, created, text in rows:
            found = exact.content(text, config.minhash.seed)
            since = NEVER if created is None else created
            documents.append((int(doc, 16), found.key, found.check, since, len(text)))
            if found.key not in seen:
                seen.add(found.key)
                fresh[found.key] = text
        signed, with_words = sign(list(fresh.values()), config.minhash)
        keys.append(signed.ravel())
        named = np.fromiter(fresh, np.uint64, len(fresh))[with_words]
        contents.append(np.repeat(named, config.minhash.bands))
    n_signed = sum(map(len, contents)) // config.minhash.bands
    draft.tally("n_without_words", len(seen) - n_signed)
    draft.tally("n_documents", len(documents))
    _write_documents(documents, draft, config.partitions)
    _write_bands(np.concatenate(keys), np.concatenate(contents), draft, config.partitions)


def sign(texts: list[str], config: minhash.Config) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Returns the band keys of texts, and which of them have words and so have keys at all.

    Returns:
        (n_with_words, bands) uint64 and (n_texts,) bool.
    """
    shingled = minhash.all_shingles(texts, config.shingle_words)
    with_words = np.diff(shingled.ends, prepend=0) > 0
    shingled = shingled._replace(ends=shingled.ends[with_words])
    return minhash.band_keys(minhash.signatures(shingled, config), config), with_words


def _batches(path: Path) -> Iterator[list[tuple[str, int | None, str]]]:
    """Yields rows of some hundred kilobytes of text at a time."""
    names = ["doc_id", "created_utc", "text"]
    waiting: list[tuple[str, int | None, str]] = []
    n_chars = 0
    for row in shards.read_rows(path, names):
        waiting.append(row)
        n_chars += len(row[2])
        if n_chars >= _CHARS_AT_ONCE:
            yield waiting
            waiting, n_chars = [], 0
    if waiting:
        yield waiting


def _write_documents(
    rows: list[tuple[int, int, int, int, int]], draft: ShardDraft, partitions: int
) -> None:
    by_column = list(zip(*rows, strict=True)) or [()] * 5
    doc, content, check = (np.array(of, np.uint64) for of in by_column[:3])
    created, n_chars = (np.array(of, np.int64) for of in by_column[3:])
    told = {"doc": doc, "content": content, "created": created, "n_chars": n_chars}
    columns.write(draft, DOCUMENTS, told)
    ids = np.sort(doc)
    columns.spread(draft, IDS, partition_of(ids, partitions), partitions, {"doc": ids})
    order = np.lexsort((doc, content))
    told = {name: of[order] for name, of in {**told, "check": check}.items()}
    owners = partition_of(content[order], partitions)
    columns.spread(draft, TEXTS, owners, partitions, told)


def _write_bands(keys: Hashes, contents: Hashes, draft: ShardDraft, partitions: int) -> None:
    order = np.lexsort((contents, keys))
    told = {"key": keys[order], "content": contents[order]}
    columns.spread(draft, BANDS, partition_of(told["key"], partitions), partitions, told)
