"""Dedup, step 4 (one task per partition): which candidates are duplicates indeed.

Reads the groups of its units and the shingle sets of their members. In each unit (`exchange`) it
joins texts whose true Jaccard similarity reaches the threshold (`cluster.Verified`), and writes

    edges-<p>.arrow   node, other: texts of one cluster, tied to the least of them, both ways
    links-<p>.arrow   content, center, jaccard: each text's similarity with the text whose document
                      would survive in this unit

Texts of one unit are compared even where they share no band with each other but each with a third:
of the pairs that the bands miss this finds most that have a sibling, and what is found is verified.
A text may take part in several units; what they found is put together by `components`. No unit
depends on another, so neither the number of partitions nor their order changes what is found.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.overlap import columns
from pipeline.overlap.cluster import Verified, best_first
from pipeline.overlap.columns import partition_of
from pipeline.overlap.exchange import GROUPS
from pipeline.overlap.shingles import SHINGLES
from pipeline.overlap.words import Hashes, is_new
from pipeline.store.shards import ShardDraft

EDGES, LINKS = "edges", "links"
_COUNTED = ("n_candidate_groups", "n_pairs_compared", "n_pairs_similar", "n_cut_short")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What decides the bytes of this step."""

    threshold: float
    max_comparisons: int
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts of a partition by rank: in the order of who survives.

    Attributes:
        contents: (n,) uint64.
        sets: Shingles of each.
    """

    contents: Hashes
    sets: list[Hashes]


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes the verified clusters of one partition.

    Args:
        inputs: Its `groups` of all partitions and its `shingles` of all shards.
        draft: Where to write.
        config: Threshold and bound.
    """
    texts = rank(columns.read(columns.named(inputs, SHINGLES)))
    edges: list[tuple[int, int]] = []
    links: list[tuple[int, int, float]] = []
    for name in _COUNTED:
        draft.tally(name, 0)
    for groups in units(columns.read(columns.named(inputs, GROUPS)), texts.contents):
        nodes = sorted(set().union(*groups))
        place = {node: i for i, node in enumerate(nodes)}
        verified = Verified(
            [texts.sets[node] for node in nodes], config.threshold, config.max_comparisons
        )
        for group in (*groups, nodes):  # at last, those who met through a third text only
            verified.add_bucket([place[node] for node in group])
        found = _clusters(verified, len(nodes))
        for best, *others in found:
            links += [(nodes[i], nodes[best], verified.similarity(i, best)) for i in others]
            least = min((nodes[i] for i in (best, *others)), key=texts.contents.__getitem__)
            edges += [(nodes[i], least) for i in (best, *others) if nodes[i] != least]
        counted = (len(groups), verified.n_compared, verified.n_joined, verified.n_cut_short)
        for name, n in zip(_COUNTED, counted, strict=True):
            draft.tally(name, n)
    _write(edges, links, texts.contents, draft, config.partitions)


def rank(texts: pa.Table) -> Texts:
    """Returns each text once, in the order of who survives, whichever shard brought it."""
    contents = texts["content"].to_numpy()
    order = best_first(texts, contents)
    best = order[is_new(contents[order])]
    best = best[best_first(texts.take(pa.array(best)))]
    sets = columns.to_lists(texts["shingles"])
    brought = {
        content: one for content, one in zip(contents.tolist(), sets, strict=True) if len(one)
    }
    return Texts(contents=contents[best], sets=[brought[c] for c in contents[best].tolist()])


def units(groups: pa.Table, contents: Hashes) -> Iterator[list[tuple[int, ...]]]:
    """Yields the distinct groups of each unit as ranks, in an order that only they decide."""
    order = np.argsort(contents)
    members = order[np.searchsorted(contents, groups["content"].to_numpy(), sorter=order)].tolist()
    starts = np.flatnonzero(groups["first"].to_numpy(zero_copy_only=False))
    names = groups["unit"].to_numpy()[starts]
    ends = np.append(starts[1:], len(members)).tolist()
    by_unit = np.argsort(names, kind="stable").tolist()
    for _, mine in groupby(by_unit, key=names.tolist().__getitem__):
        distinct = {tuple(sorted(members[starts[i] : ends[i]])) for i in mine}
        yield sorted(distinct, key=lambda group: (len(group), group))


def _clusters(verified: Verified, n: int) -> list[list[int]]:
    """Returns the members of each cluster of two or more, ascending, so the best is the first."""
    found: dict[int, list[int]] = {}
    for node in range(n):
        found.setdefault(verified.root(node), []).append(node)
    return [members for members in found.values() if len(members) > 1]


def _write(
    edges: list[tuple[int, int]],
    links: list[tuple[int, int, float]],
    contents: Hashes,
    draft: ShardDraft,
    partitions: int,
) -> None:
    ends = contents[np.array(edges, np.int64).reshape(-1, 2)]
    node, other = np.concatenate((ends, ends[:, ::-1])).T
    order = np.lexsort((other, node))
    told = {"node": node[order], "other": other[order]}
    columns.spread(draft, EDGES, partition_of(told["node"], partitions), partitions, told)
    texts, centers, similar = zip(*links, strict=True) if links else ((), (), ())
    told = {
        "content": contents[np.array(texts, np.int64)],
        "center": contents[np.array(centers, np.int64)],
    }
    order = np.lexsort((told["center"], told["content"]))
    told = {name: of[order] for name, of in told.items()}
    told["jaccard"] = np.array(similar, np.float64)[order]
    columns.spread(draft, LINKS, partition_of(told["content"], partitions), partitions, told)
