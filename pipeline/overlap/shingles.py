"""Dedup, step 3 (map over shards): the shingle sets of possible duplicates, sent where they meet.

    shingles-<q>.arrow   content, doc, created, n_chars, shingles: texts for partition q

Each text is brought by one shard; other shards that hold it name their best document, with an empty
set, so that the partition knows who would survive. Texts in no group, most of a corpus, are not
read again.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import columns, minhash
from pipeline.overlap.cluster import Nodes, best_first
from pipeline.overlap.exchange import WANTED
from pipeline.overlap.signatures import DOCUMENTS
from pipeline.overlap.words import Hashes, is_new
from pipeline.store.shards import ShardDraft

SHINGLES = "shingles"

_TEXTS_AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step."""

    shingle_words: int
    partitions: int


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the shingle sets that one shard owes each partition.

    Args:
        inputs: A shard of `data/clean/`, its `documents.arrow`, its `wanted` of all partitions.
        draft: Where to write.
        config: Shingles and partitions.
    """
    wanted = columns.read(columns.named(inputs, WANTED))
    order = [("content", "ascending"), ("partition", "ascending"), ("brings", "descending")]
    wanted = wanted.sort_by(order)
    content, partition = (wanted[name].to_numpy() for name in ("content", "partition"))
    once = is_new(content) | is_new(partition)
    content, partition, brings = content[once], partition[once], wanted["brings"].to_numpy()[once]
    documents = columns.read(columns.named(inputs, DOCUMENTS))
    rows = _best_rows(documents, content)
    sets = _sets(inputs[0], np.unique(rows[brings]), config.shingle_words)
    draft.tally("n_candidate_texts", len(sets))
    nothing = np.empty(0, np.uint64)
    for owner, mine in columns.split(partition, config.partitions):
        found = documents.take(pa.array(rows[mine]))
        brought = [
            sets[row] if b else nothing for row, b in zip(rows[mine], brings[mine], strict=True)
        ]
        found = found.append_column("shingles", columns.from_lists(brought))
        columns.write(
            draft,
            columns.owned(SHINGLES, owner),
            dict(zip(found.column_names, found.columns, strict=True)),
        )


def _best_rows(documents: pa.Table, wanted: Hashes) -> Nodes:
    """Returns, for each wanted content, the row of this shard's document that would survive."""
    content = documents["content"].to_numpy()
    order = best_first(documents, content)
    order = order[is_new(content[order])]
    return order[np.searchsorted(content[order], wanted)]


def _sets(path: Path, rows: Nodes, shingle_words: int) -> dict[int, Hashes]:
    """Returns the sorted, distinct shingles of some rows of a shard, by row."""
    texts = pq.read_table(path, columns=["text"])["text"].take(pa.array(rows))
    sets: dict[int, Hashes] = {}
    for start in range(0, len(rows), _TEXTS_AT_ONCE):
        part = texts[start : start + _TEXTS_AT_ONCE].to_pylist()
        found = minhash.shingle_sets(part, shingle_words)
        sets.update(zip(rows[start : start + _TEXTS_AT_ONCE].tolist(), found, strict=True))
    return sets
