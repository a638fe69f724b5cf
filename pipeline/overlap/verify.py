"""Dedup, step 5 (one task per partition): which candidates are duplicates indeed.

Reads the groups of its partition and the shingle sets of their members, joins texts whose true
Jaccard similarity reaches the threshold (`cluster.Verified`), and writes `clusters.parquet`: for
each text of a cluster of two or more, the text whose document survives and the similarity with it.

Verified edges may chain: a may equal b, and b c, while a and c lie below the threshold. Such texts
are dropped with the similarity to the survivor stated, and counted as `n_chained`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.overlap import columns
from pipeline.overlap.candidates import best_first
from pipeline.overlap.cluster import Nodes, Verified
from pipeline.overlap.minhash import jaccard
from pipeline.overlap.words import is_new
from pipeline.store.shards import ShardDraft

CLUSTERS = "clusters.parquet"
_SCHEMA = pa.schema(
    [("content", columns.HASH), ("survivor", columns.HASH), ("jaccard", pa.float64())]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step."""

    threshold: float
    max_comparisons: int


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the clusters of one partition.

    Args:
        inputs: `groups-<q>.parquet`, then `shingles-<q>.parquet` of each shard.
        draft: Where to write.
        config: Threshold and bound.
    """
    texts = columns.read(inputs[1:]).sort_by("content")
    contents, sets = texts["content"].to_numpy(), columns.to_lists(texts["shingles"])
    verified = Verified(sets, config.threshold, config.max_comparisons)
    for group in columns.to_lists(columns.read(inputs[:1])["contents"]):
        verified.add_bucket(np.searchsorted(contents, group).tolist())
    roots = np.array([verified.root(node) for node in range(len(sets))], np.int64)
    rows = [
        (contents[node], contents[survivor], jaccard(sets[node], sets[survivor]))
        for node, survivor in survivors(texts, roots)
    ]
    by_column = zip(*rows, strict=True) if rows else ([], [], [])
    draft.write_table(
        CLUSTERS, pa.table(dict(zip(_SCHEMA.names, by_column, strict=True)), schema=_SCHEMA)
    )
    draft.tally("n_pairs_compared", verified.n_compared)
    draft.tally("n_pairs_similar", verified.n_joined)
    draft.tally("n_cut_short", verified.n_cut_short)
    draft.tally("n_chained", sum(similarity < config.threshold for _, _, similarity in rows))


def survivors(texts: pa.Table, roots: Nodes) -> list[tuple[int, int]]:
    """Returns (node, surviving node) for all nodes of clusters of two or more, by node."""
    order = best_first(texts, roots)
    starts = np.flatnonzero(is_new(roots[order]))
    sizes = np.diff(np.append(starts, len(order)))
    best, size = np.repeat(order[starts], sizes), np.repeat(sizes, sizes)
    pairs = zip(order[size > 1].tolist(), best[size > 1].tolist(), strict=True)
    return sorted(pairs)
