"""Dedup, step 1 (map over shards): what is needed of each document to find its duplicates.

Writes `documents.parquet`, one row per input row in the same order: the digest of the text and the
three values that decide who survives; and, for each partition p of the key space,
`bands-<p>.parquet`: one (band key, content) pair per band of each distinct text of the shard.

That is 16 bytes per band, 224 per text at 14 bands, and nothing of the text itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import columns, exact, minhash
from pipeline.overlap.words import Hashes
from pipeline.store.shards import ShardDraft

DOCUMENTS = "documents.parquet"
NEVER = 2**63 - 1  # stands for an unknown created_utc, which sorts last

_DOCUMENTS = pa.schema(
    [
        ("doc", columns.HASH),
        ("content", columns.HASH),
        ("check", columns.HASH),
        ("created", pa.int64()),
        ("n_chars", pa.int64()),
    ]
)
_BANDS = pa.schema([("key", columns.HASH), ("content", columns.HASH)])
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step."""

    minhash: minhash.Config
    partitions: int


def bands_name(partition: int) -> str:
    """Returns the file name of one partition's band keys."""
    return f"bands-{partition:05d}.parquet"


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the signatures of one shard of `data/clean/`."""
    documents: list[tuple[int, int, int, int, int]] = []
    signed: dict[int, Hashes] = {}
    for doc, created, text in _rows(inputs[0]):
        found = exact.content(text, config.minhash.seed)
        since = NEVER if created is None else created
        documents.append((int(doc, 16), found.key, found.check, since, len(text)))
        if found.key not in signed:
            signed[found.key] = sign(text, config.minhash)
    draft.write_table(DOCUMENTS, _table(documents))
    with_words = {key: signature for key, signature in signed.items() if len(signature)}
    draft.tally("n_without_words", len(signed) - len(with_words))
    _write_bands(with_words, draft, config)


def sign(text: str, config: minhash.Config) -> Hashes:
    """Returns the (bands * rows,) uint64 signature of a text; empty for a text without words."""
    hashes = minhash.all_shingles(text, config.shingle_words)
    return minhash.signature(hashes, config) if len(hashes) else hashes


def partition_of(keys: Hashes, n_partitions: int) -> Hashes:
    """Returns the partition of each key: equal ranges of its upper 32 bits."""
    return ((keys >> np.uint64(32)) * np.uint64(n_partitions)) >> np.uint64(32)


def _rows(path: Path) -> Iterator[tuple[str, int | None, str]]:
    file = pq.ParquetFile(path)
    names = ["doc_id", "created_utc", "text"]
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names):
        yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def _table(rows: list[tuple[int, int, int, int, int]]) -> pa.Table:
    by_column = zip(*rows, strict=True) if rows else ([] for _ in _DOCUMENTS)
    return pa.table(dict(zip(_DOCUMENTS.names, by_column, strict=True)), schema=_DOCUMENTS)


def _write_bands(signed: dict[int, Hashes], draft: ShardDraft, config: Config) -> None:
    shape = config.minhash
    signatures = np.concatenate([*signed.values(), np.empty(0, np.uint64)])
    keys = minhash.band_keys(signatures, shape).ravel()
    contents = np.repeat(np.fromiter(signed, np.uint64, len(signed)), shape.bands)
    partitions = partition_of(keys, config.partitions)
    order = np.lexsort((contents, keys))
    for partition in range(config.partitions):
        rows = order[partitions[order] == partition]
        table = pa.table({"key": keys[rows], "content": contents[rows]}, schema=_BANDS)
        draft.write_table(bands_name(partition), table)
