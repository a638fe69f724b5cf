"""Clusters: connected components of a plain graph, and of similarities still to be checked.

`components` labels every node with the least node it can reach. `Verified` joins nodes only where
the true Jaccard similarity of their shingle sets reaches the threshold, and looks at no pair that
is joined already: n equal texts in one bucket cost n - 1 comparisons, not n^2 / 2, and the clusters
are exactly the connected components that all verified pairs of all buckets would give.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from pipeline.overlap.minhash import jaccard
from pipeline.overlap.words import Hashes

Nodes = npt.NDArray[np.int64]


def components(n_nodes: int, a: Nodes, b: Nodes) -> Nodes:
    """Returns (n_nodes,) int64: for each node the least node connected to it.

    Min-label propagation: labels of neighbours meet in their least one, then every label is
    replaced by its own label until nothing moves. A path of n nodes needs O(log n) rounds.

    Args:
        n_nodes: Nodes are 0 .. n_nodes - 1.
        a: (n_edges,) int64, one end of each edge.
        b: (n_edges,) int64, the other end.

    >>> components(5, np.array([4, 1]), np.array([3, 4])).tolist()
    [0, 1, 2, 1, 1]
    """
    labels = np.arange(n_nodes)
    while True:
        old_a, old_b = labels[a], labels[b]
        if np.array_equal(old_a, old_b):
            return labels
        least = np.minimum(old_a, old_b)
        np.minimum.at(labels, old_a, least)
        np.minimum.at(labels, old_b, least)
        while not np.array_equal(labels[labels], labels):
            labels = labels[labels]


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

    def _is_similar(self, a: int, b: int) -> bool:
        pair = (a, b) if a < b else (b, a)
        if pair in self._unlike:
            return False
        self.n_compared += 1
        x, y = self._sets[a], self._sets[b]
        small, large = sorted((len(x), len(y)))
        # The smaller size over the larger bounds the similarity from above.
        if small / large >= self._threshold and jaccard(x, y) >= self._threshold:
            self.n_joined += 1
            return True
        self._unlike.add(pair)
        return False

    def _join(self, a: int, b: int, clusters: dict[int, list[int]]) -> None:
        low, high = sorted((self.root(a), self.root(b)))
        self._parents[high] = low
        members = clusters.pop(low, []) + clusters.pop(high, [])
        clusters[low] = members
