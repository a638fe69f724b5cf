"""Dedup, step 6 (one task): the fate of every document.

Writes `verdicts-<shard>.parquet`, one row per row of that shard in the same order: the reason of
the drop (empty: kept), the survivor, the size of the cluster and the Jaccard similarity with the
survivor's text; and `summary.json` with the figures of the report.

Documents of one text are exact duplicates of the best of them; texts of one verified cluster are
near duplicates of the best text. So a dropped document is `duplicate_exact` if its text is the
survivor's up to white space, else `duplicate_near`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.overlap import columns
from pipeline.overlap.candidates import best_first, read_documents
from pipeline.overlap.signatures import DOCUMENTS
from pipeline.overlap.verify import CLUSTERS
from pipeline.overlap.words import Hashes, is_new
from pipeline.store.shards import ShardDraft, to_json

EXACT = "duplicate_exact"
NEAR = "duplicate_near"
SUMMARY = "summary.json"
REPORTED = ("n_clusters", "cluster_sizes", "largest_clusters", "near_jaccard", "sample_pairs")

_N_LARGEST = 10
_N_NAMED = 5  # members named of each of the largest clusters
_N_SAMPLES = 20


def verdicts_name(shard: int) -> str:
    """Returns the file name of one shard's verdicts."""
    return f"verdicts-{shard:05d}.parquet"


def write(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes verdicts and summary.

    Args:
        inputs: `documents.parquet` of each shard in order, then all `clusters.parquet`.
        draft: Where to write.
    """
    paths = [path for path in inputs if path.name == DOCUMENTS]
    documents = read_documents(paths)
    clusters = columns.read([path for path in inputs if path.name == CLUSTERS])
    decided = judge(documents, clusters.sort_by("content"))
    shards = documents["shard"].to_numpy()
    for shard in range(len(paths)):
        mine = decided.filter(pa.array(shards == shard))
        draft.write_table(verdicts_name(shard), mine.drop_columns(["doc_id"]))
    draft.write_bytes(SUMMARY, to_json(summarise(decided)))


def judge(documents: pa.Table, clusters: pa.Table) -> pa.Table:
    """Returns one verdict per document, in the same order.

    Args:
        documents: From `candidates.read_documents`.
        clusters: From `verify`, sorted by content.
    """
    content = documents["content"].to_numpy()
    survivor, similarity = _look_up(content, clusters)
    order = best_first(documents, survivor)
    starts = np.flatnonzero(is_new(survivor[order]))
    sizes = np.diff(np.append(starts, len(order)))
    best, size = np.empty_like(order), np.empty_like(order)
    best[order], size[order] = np.repeat(order[starts], sizes), np.repeat(sizes, sizes)
    reason = np.where(content == survivor, EXACT, NEAR)
    reason[best == np.arange(len(order))] = ""
    ids = np.array([columns.to_doc_id(doc) for doc in documents["doc"].to_pylist()], object)
    return pa.table(
        {
            "doc_id": pa.array(ids, pa.string()),
            "reason": pa.array(reason.tolist(), pa.string()),
            "cluster_id": pa.array(ids[best], pa.string()),
            "cluster_size": pa.array(size, pa.int32()),
            "jaccard": pa.array(similarity, pa.float64()),
        }
    )


def _look_up(content: Hashes, clusters: pa.Table) -> tuple[Hashes, npt.NDArray[np.float64]]:
    """Returns the surviving content of each content (itself by default) and the similarity."""
    survivor, similarity = content.copy(), np.ones(len(content))
    known = clusters["content"].to_numpy()
    if len(known):
        place = np.minimum(np.searchsorted(known, content), len(known) - 1)
        hit = known[place] == content
        survivor[hit] = clusters["survivor"].to_numpy()[place[hit]]
        similarity[hit] = clusters["jaccard"].to_numpy()[place[hit]]
    return survivor, similarity


def summarise(decided: pa.Table) -> dict[str, Any]:
    """Returns the report's figures: drops by reason, cluster sizes, largest clusters, pairs."""
    dropped = sorted(
        (
            {"doc_id": d, "kept": c, "reason": r, "jaccard": round(j, 4)}
            for d, r, c, j in _columns(decided, "doc_id", "reason", "cluster_id", "jaccard")
            if r
        ),
        key=lambda pair: (pair["jaccard"], pair["doc_id"]),
    )
    kept = (row for row in _columns(decided, "reason", "cluster_id", "cluster_size") if not row[0])
    sizes = sorted(((size, c) for _, c, size in kept if size > 1), key=lambda s: (-s[0], s[1]))
    near = [pair for pair in dropped if pair["reason"] == NEAR]
    return {
        "n_documents": decided.num_rows,
        "dropped": Counter(pair["reason"] for pair in dropped),
        "n_clusters": len(sizes),
        "cluster_sizes": histogram([size for size, _ in sizes]),
        "largest_clusters": [_describe(size, c, dropped) for size, c in sizes[:_N_LARGEST]],
        "near_jaccard": Counter(f"{int(pair['jaccard'] * 20) / 20:.2f}" for pair in near),
        "sample_pairs": _spread(near, _N_SAMPLES),
    }


def histogram(sizes: Sequence[int]) -> dict[str, int]:
    """Returns counts by powers of two, keyed by the range's ends.

    >>> histogram([2, 3, 4, 4, 9])
    {'2': 1, '3-4': 3, '9-16': 1}
    """
    powers = Counter((size - 1).bit_length() for size in sizes)
    return {_range(p): powers[p] for p in sorted(powers)}


def _range(power: int) -> str:
    low, high = (1 << power >> 1) + 1, 1 << power
    return str(high) if low >= high else f"{low}-{high}"


def _describe(size: int, survivor: str, dropped: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    members = sorted(pair["doc_id"] for pair in dropped if pair["kept"] == survivor)
    return {"cluster_id": survivor, "size": size, "dropped": members[:_N_NAMED]}


def _spread(pairs: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Returns at most n pairs, evenly from the least similar to the most."""
    if len(pairs) <= n:
        return list(pairs)
    return [pairs[round(i * (len(pairs) - 1) / (n - 1))] for i in range(n)]


def _columns(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)
