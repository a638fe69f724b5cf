"""Clusters of similar texts, and who survives in each.

`Verified` joins nodes only where the true Jaccard similarity of their shingle sets reaches the
threshold, and looks at no pair that is joined already: n equal texts in one bucket cost n - 1
comparisons, not n^2 / 2, and the clusters are exactly the connected components that all verified
pairs of all buckets would give.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.overlap.minhash import jaccard
from pipeline.overlap.words import Hashes

Nodes = npt.NDArray[np.int64]


def best_first(documents: pa.Table, *groups: npt.NDArray[Any]) -> Nodes:
    """Returns the order by the given groups, and in each by who survives.

    The survivor of a cluster is the earliest submission (`created_utc`, unknown last), among those
    the longest text (characters), among those the least doc_id.
    """
    by = [documents[name].to_numpy() for name in ("doc", "n_chars", "created")]
    return np.lexsort((by[0], -by[1], by[2], *groups[::-1]))


class Verified:
    """Disjoint sets of nodes, joined by verified similarity only.

    Attributes:
        n_compared: Pairs whose similarity was computed.
        n_joined: Pairs among them that were similar.
        n_cut_short: Members of buckets not compared with all others (see `max_comparisons`).
    """

    def __init__(self, sets: Sequence[Hashes], threshold: float, max_comparisons: int) -> None:
        """Starts with every node alone.

        Args:
            sets: The shingle set of each node, sorted and distinct, not empty.
            threshold: Least Jaccard similarity of a joined pair.
            max_comparisons: With how many others one node is compared in one bucket at most; the
                first member of each cluster comes first. Bounds buckets full of unlike texts.
        """
        self.n_compared = self.n_joined = self.n_cut_short = 0
        self._sets = sets
        self._threshold = threshold
        self._max_comparisons = max_comparisons
        self._parents = list(range(len(sets)))
        self._unlike: set[tuple[int, int]] = set()
        self._known: dict[tuple[int, int], float] = {}

    def root(self, node: int) -> int:
        """Returns the least node of the node's cluster."""
        parents = self._parents
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    def add_bucket(self, bucket: Sequence[int]) -> None:
        """Joins the similar members of one bucket.

        Args:
            bucket: Different nodes; their order decides which pairs are compared, not the result
                (unless `max_comparisons` is reached).
        """
        clusters: dict[int, list[int]] = {}  # members so far, by root
        for node in bucket:
            tries = self._max_comparisons
            for other in self._others(node, clusters):
                if self.root(other) == self.root(node):
                    continue
                if tries == 0:
                    self.n_cut_short += 1
                    break
                tries -= 1
                if self._is_similar(node, other):
                    self._join(node, other, clusters)
            clusters.setdefault(self.root(node), []).append(node)

    def _others(self, node: int, clusters: dict[int, list[int]]) -> Iterator[int]:
        """Yields members of other clusters, the first of each before the rest."""
        mine = self.root(node)
        some = islice(clusters.items(), self._max_comparisons + 2)  # more could not be compared
        others = [members for root, members in some if root != mine]
        yield from [members[0] for members in others]
        yield from chain.from_iterable(members[1 : self._max_comparisons + 2] for members in others)

    def similarity(self, a: int, b: int) -> float:
        """Returns the Jaccard similarity of two nodes, computed once."""
        pair = (a, b) if a < b else (b, a)
        if pair not in self._known:
            self._known[pair] = jaccard(self._sets[a], self._sets[b])
        return self._known[pair]

    def _is_similar(self, a: int, b: int) -> bool:
        pair = (a, b) if a < b else (b, a)
        if pair in self._unlike:
            return False
        self.n_compared += 1
        if self._bound(a, b) >= self._threshold and self.similarity(a, b) >= self._threshold:
            self.n_joined += 1
            return True
        self._unlike.add(pair)
        return False

    def _bound(self, a: int, b: int) -> float:
        """Returns the most that the sizes of two sets allow: the smaller over the larger."""
        small, large = sorted((len(self._sets[a]), len(self._sets[b])))
        return small / large

    def _join(self, a: int, b: int, clusters: dict[int, list[int]]) -> None:
        low, high = sorted((self.root(a), self.root(b)))
        self._parents[high] = low
        members = clusters.pop(low, []) + clusters.pop(high, [])
        clusters[low] = members
