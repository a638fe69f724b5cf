"""Dedup, step 5 (rounds of one task per partition): which texts hang together, over all units.

    edges-<p>.arrow   node, other: the neighbours of the nodes in partition p, by node

A round tells, for each node, the least of itself and its neighbours to all of them, and all of them
to the least: what hangs together gathers around its least node. A cluster that one unit has seen
whole is a finished star before the first round; texts without a duplicate never enter.

         3                 3
       ╱   ╲              ╱            Each edge lies in both directions in the files, and stays so.
     1       4    ──>   1 ─── 4        So a node that has one neighbour, a lesser one, or only
               ╲          ╲            greater ones is settled, and when all nodes are, all clusters
                 2          2          are stars around their least node. The driver asks no more.

Paper: Rastogi, Machanavajjhala, Chitnis and Das Sarma, "Finding connected components in map-reduce
in logarithmic rounds" (2013), Hash-to-Min. Measured on its worst case, a chain of 10^5 nodes: 22
rounds and never more than 3.5 edges per node. Chains in ascending order would need n^2 edges; ours
are named by hashes.
"""

from pathlib import Path

import numpy as np

from pipeline.overlap import columns
from pipeline.overlap.columns import partition_of
from pipeline.overlap.verify import EDGES
from pipeline.overlap.words import Hashes, is_new
from pipeline.store.shards import ShardDraft

UNSETTLED = "n_unsettled"


def write(inputs: tuple[Path, ...], draft: ShardDraft, partitions: int) -> None:
    """Writes one round's new edges of the nodes of one partition.

    Args:
        inputs: The partition's edges of all partitions.
        draft: Where to write.
        partitions: How many there are.
    """
    node, other = read(inputs)
    draft.tally(UNSETTLED, n_unsettled(node, other))
    node, other = gather(node, other)
    told = {"node": node, "other": other}
    columns.spread(draft, EDGES, partition_of(node, partitions), partitions, told)


def read(paths: tuple[Path, ...]) -> tuple[Hashes, Hashes]:
    """Returns the distinct edges of a partition, sorted."""
    edges = columns.read(columns.named(paths, EDGES))
    return _distinct(edges["node"].to_numpy(), edges["other"].to_numpy())


def labels(node: Hashes, other: Hashes) -> tuple[Hashes, Hashes]:
    """Returns the nodes, ascending, and the least of each and its neighbours.

    Args:
        node: (n_edges,) uint64, ascending.
        other: (n_edges,) uint64, ascending for each node.

    >>> labels(np.uint64([1, 2, 3, 3]), np.uint64([3, 3, 1, 2]))
    (array([1, 2, 3], dtype=uint64), array([1, 2, 1], dtype=uint64))
    """
    first = is_new(node)
    return node[first], np.minimum(node[first], other[first])


def n_unsettled(node: Hashes, other: Hashes) -> int:
    """Returns how many nodes have a lesser neighbour and another one."""
    nodes, least = labels(node, other)
    sizes = np.diff(np.append(np.flatnonzero(is_new(node)), len(node)))
    return int(np.count_nonzero((least < nodes) & (sizes > 1)))


def gather(node: Hashes, other: Hashes) -> tuple[Hashes, Hashes]:
    """Returns the edges after one round: all neighbours of a node, tied to the least of them."""
    nodes, least = labels(node, other)
    centers = np.concatenate((least, least[np.searchsorted(nodes, node)]))
    others = np.concatenate((nodes, other))
    apart = centers != others
    centers, others = centers[apart], others[apart]
    return _distinct(np.concatenate((centers, others)), np.concatenate((others, centers)))


def _distinct(node: Hashes, other: Hashes) -> tuple[Hashes, Hashes]:
    order = np.lexsort((other, node))
    node, other = node[order], other[order]
    fresh = is_new(node) | is_new(other)
    return node[fresh], other[fresh]
