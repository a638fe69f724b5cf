"""Connected components in rounds against a plain search, and how many rounds that takes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import components

_EDGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def _search(edges: list[tuple[int, int]]) -> dict[int, int]:
    """Least reachable node of each node, by relaxing edges until nothing changes."""
    least = {node: node for edge in edges for node in edge}
    for _ in least:
        for a, b in edges:
            least[a] = least[b] = min(least[a], least[b])
    return least


def _settle(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    node, other = components._distinct(np.concatenate((a, b)), np.concatenate((b, a)))
    for n_rounds in range(1, 100):
        n_unsettled = components.n_unsettled(node, other)
        node, other = components.gather(node, other)
        if not n_unsettled:
            return node, other, n_rounds
    raise AssertionError("not settled after 99 rounds")


@given(_EDGES)
def test_gather_until_settled_equals_a_plain_search(edges: list[tuple[int, int]]) -> None:
    edges = [(a, b) for a, b in edges if a != b]
    table = np.array(edges, np.uint64).reshape(-1, 2)
    node, other, _ = _settle(table[:, 0], table[:, 1])
    found = dict(zip(*(part.tolist() for part in components.labels(node, other)), strict=True))
    assert found == _search(edges)
    assert len(node) == 2 * sum(least != each for each, least in found.items())  # stars only


@given(_EDGES)
def test_gather_keeps_every_edge_in_both_directions(edges: list[tuple[int, int]]) -> None:
    table = np.array([(a, b) for a, b in edges if a != b], np.uint64).reshape(-1, 2)
    ends = np.concatenate((table, table[:, ::-1]))
    node, other = components.gather(*components._distinct(*ends.T))
    pairs = set(zip(node.tolist(), other.tolist(), strict=True))
    assert pairs == {(b, a) for a, b in pairs}


def test_settle_finished_stars_take_one_round() -> None:
    leaves = np.arange(1, 1000, dtype=np.uint64) * np.uint64(10)
    centers = leaves // np.uint64(1000)
    *_, n_rounds = _settle(centers[leaves != centers], leaves[leaves != centers])
    assert n_rounds == 1


def test_settle_long_chain_takes_few_rounds_and_few_edges() -> None:
    """The worst case; its nodes come in random order, as hashes do."""
    n = 20_000
    chain = np.random.default_rng(0).permutation(np.arange(n, dtype=np.uint64))
    node, other = chain[:-1], chain[1:]
    most = 0
    n_unsettled, n_rounds = 1, 0
    node, other = components._distinct(np.append(node, other), np.append(other, node))
    while n_unsettled:
        most, n_unsettled = max(most, len(node)), components.n_unsettled(node, other)
        node, other = components.gather(node, other)
        n_rounds += 1
    assert not components.labels(node, other)[1].any()
    assert len(node) == 2 * (n - 1)
    assert most < 6 * n
    assert n_rounds < 2 * np.log2(n)
