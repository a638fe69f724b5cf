"""Dedup, step 7 (one task per partition): who survives in each cluster, and the fate of the rest.

    verdicts-<s>.arrow   doc, reason, cluster, size, jaccard, through: documents of shard s that are
                         in a cluster, survivors included; a document in none has no row
    summary.json         figures of the partition's clusters, to be added up (`merge`)

Documents of one text are exact duplicates of the best of them; texts of one verified cluster are
near duplicates of the best text. So a dropped document is `duplicate_exact` if its text is the
survivor's up to white space, else `duplicate_near`.

Verified pairs may chain: a may equal b, and b c, while a and c lie below the threshold or never
met. Such documents are counted as `n_chained`; one that never met the survivor's text is told with
the document `through` which it hangs there, and the similarity with that one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.overlap import columns
from pipeline.overlap.cluster import best_first
from pipeline.overlap.members import MEMBERS, NEAR
from pipeline.overlap.planted import CONTROLS
from pipeline.overlap.words import Hashes, is_new
from pipeline.store.shards import ShardDraft, to_json

REASONS = ("", "duplicate_exact", "duplicate_near")
VERDICTS = "verdicts"
SUMMARY = "summary.json"

_KEPT, _EXACT, _NEAR = range(3)
_N_LARGEST = 10
_N_NAMED = 5  # members named of each of the largest clusters
_N_SAMPLES = 4  # pairs named per twentieth of Jaccard similarity
_BIN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step.

    Attributes:
        threshold: Least Jaccard similarity of two near duplicates.
        n_sources: Shards that verdicts go to, planted controls included.
    """

    threshold: float
    n_sources: int


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the verdicts on the clusters of one partition.

    Args:
        inputs: Its `members` and its `near` of all partitions.
        draft: Where to write.
        config: Threshold and shards.
    """
    members = columns.read(columns.named(inputs, MEMBERS))
    near = columns.read(columns.named(inputs, NEAR))
    decided = judge(members, near).sort_by("doc")
    rows = {name: decided[name].to_numpy() for name in decided.column_names}
    sources = rows.pop("source")
    columns.spread(draft, VERDICTS, sources, config.n_sources, rows)
    real = decided.filter(pa.array(sources != CONTROLS))
    draft.tally("n_chained", n_chained(real, config.threshold))
    draft.write_bytes(SUMMARY, to_json(summarise(real)))


def judge(members: pa.Table, near: pa.Table) -> pa.Table:
    """Returns one verdict per document of a cluster, with its shard as `source`.

    Args:
        members: Documents, from `members`.
        near: Known similarities, from `members`.
    """
    label = members["label"].to_numpy()
    order = best_first(members, label)
    members, label = members.take(pa.array(order)), label[order]
    starts = np.flatnonzero(is_new(label))
    sizes = np.diff(np.append(starts, len(label)))
    best, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    doc, content = members["doc"].to_numpy(), members["content"].to_numpy()
    reason = np.where(content == content[best], _EXACT, _NEAR)
    reason[best == np.arange(len(best))] = _KEPT
    similarity, center = _closest(content, content[best], near)
    through = _best_documents(center, content, doc)
    through[(reason != _NEAR) | (center == content[best])] = 0
    similarity[reason != _NEAR] = 1.0
    told = {
        "doc": doc,
        "reason": reason.astype(np.int8),
        "cluster": doc[best],
        "size": size.astype(np.int32),
        "jaccard": similarity,
        "through": through,
        "source": members["source"].to_numpy(),
    }
    return pa.table(told)


def _closest(
    content: Hashes, survivor: Hashes, near: pa.Table
) -> tuple[npt.NDArray[np.float64], Hashes]:
    """Returns each text's similarity with the survivor's, else its greatest, and with whom."""
    known: dict[int, tuple[float, int]] = {}
    exact: dict[tuple[int, int], float] = {}
    triples = zip(*(near[n].to_pylist() for n in ("content", "center", "jaccard")), strict=True)
    for text, center, similarity in triples:
        exact[text, center] = similarity
        known[text] = max(known.get(text, (0.0, 0)), (similarity, -center))
    found: list[tuple[float, int]] = []
    for text, center in zip(content.tolist(), survivor.tolist(), strict=True):
        similarity, other = known.get(text, (1.0, -center))
        direct = exact.get((text, center))
        found.append((similarity, -other) if direct is None else (direct, center))
    similarities, centers = zip(*found, strict=True) if found else ((), ())
    return np.array(similarities, np.float64), np.array(centers, np.uint64)


def _best_documents(wanted: Hashes, content: Hashes, doc: Hashes) -> Hashes:
    """Returns the first document of each wanted text; documents come best first."""
    order = np.argsort(content, kind="stable")
    return doc[order[np.searchsorted(content, wanted, sorter=order)]]


def n_chained(decided: pa.Table, threshold: float) -> int:
    """Returns how many near duplicates were not found similar to the survivor itself."""
    reason, similarity = decided["reason"].to_numpy(), decided["jaccard"].to_numpy()
    through = decided["through"].to_numpy()
    return int(((reason == _NEAR) & ((through != 0) | (similarity < threshold))).sum())


def summarise(decided: pa.Table) -> dict[str, Any]:
    """Returns figures of some clusters: drops by reason, sizes, the largest, sample pairs."""
    rows = decided.to_pylist()
    kept = sorted((-row["size"], row["cluster"]) for row in rows if not row["reason"])
    dropped = [row for row in rows if row["reason"]]
    near = [_pair(row) for row in dropped if row["reason"] == _NEAR]
    return {
        "dropped": Counter(REASONS[row["reason"]] for row in dropped),
        "cluster_sizes": Counter((-size - 1).bit_length() for size, _ in kept),
        "largest_clusters": [_describe(-size, c, dropped) for size, c in kept[:_N_LARGEST]],
        "near_jaccard": Counter(bin_of(pair["jaccard"]) for pair in near),
        "sample_pairs": _sample(near),
    }


def merge(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the figures of all partitions together; never longer than those of one."""
    parts = list(summaries)
    sizes = _added(part["cluster_sizes"] for part in parts)
    largest = sorted(
        (cluster for part in parts for cluster in part["largest_clusters"]),
        key=lambda cluster: (-cluster["size"], cluster["cluster_id"]),
    )
    return {
        "dropped": _added(part["dropped"] for part in parts),
        "n_clusters": sum(sizes.values()),
        "cluster_sizes": {_range(int(p)): sizes[p] for p in sorted(sizes, key=int)},
        "largest_clusters": largest[:_N_LARGEST],
        "near_jaccard": _added(part["near_jaccard"] for part in parts),
        "sample_pairs": _sample([pair for part in parts for pair in part["sample_pairs"]]),
    }


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for of in counts:
        total.update(of)
    return dict(sorted(total.items()))


def bin_of(similarity: float) -> str:
    """Returns the lower end of a similarity's twentieth.

    >>> bin_of(0.8125), bin_of(1.0)
    ('0.80', '1.00')
    """
    return f"{int(similarity * _BIN) / _BIN:.2f}"


def _range(power: int) -> str:
    """Returns the cluster sizes above one power of two up to the next, as text.

    >>> _range(1), _range(2)
    ('2', '3-4')
    """
    low, high = (1 << power >> 1) + 1, 1 << power
    return str(high) if low >= high else f"{low}-{high}"


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "doc_id": columns.to_doc_id(row["doc"]),
        "kept": columns.to_doc_id(row["cluster"]),
        "jaccard": round(row["jaccard"], 4),
    }


def _sample(pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a few pairs of each twentieth, those of least doc_id: as good as random."""
    taken: Counter[str] = Counter()
    found = []
    for pair in sorted(pairs, key=lambda pair: pair["doc_id"]):
        taken[bin_of(pair["jaccard"])] += 1
        if taken[bin_of(pair["jaccard"])] <= _N_SAMPLES:
            found.append(pair)
    return sorted(found, key=lambda pair: (pair["jaccard"], pair["doc_id"]))


def _describe(size: int, survivor: int, dropped: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    members = sorted(row["doc"] for row in dropped if row["cluster"] == survivor)
    return {
        "cluster_id": columns.to_doc_id(survivor),
        "size": size,
        "dropped": [columns.to_doc_id(doc) for doc in members[:_N_NAMED]],
    }
