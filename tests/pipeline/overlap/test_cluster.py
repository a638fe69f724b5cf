"""Verified clusters against all pairs."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap.cluster import Verified
from pipeline.overlap.minhash import jaccard
from pipeline.overlap.words import sequence

_NO_LIMIT = 10**6


def _search(n: int, edges: list[tuple[int, int]]) -> list[int]:
    """Least reachable node, by relaxing edges until nothing changes."""
    labels = list(range(n))
    for _ in range(n):
        for a, b in edges:
            labels[a] = labels[b] = min(labels[a], labels[b])
    return labels


@st.composite
def _sets_and_buckets(draw):
    n = draw(st.integers(2, 9))
    sets = [
        np.array(sorted(draw(st.sets(st.integers(0, 7), min_size=1))), np.uint64) for _ in range(n)
    ]
    nodes = st.lists(st.integers(0, n - 1), min_size=2, unique=True)
    return sets, draw(st.lists(nodes, max_size=6))


@given(_sets_and_buckets(), st.sampled_from([0.07, 0.29, 0.5, 0.57, 0.75, 1.0]))
def test_verified_clusters_equal_union_of_all_verified_pairs(case, threshold: float) -> None:
    sets, buckets = case
    edges = [
        (a, b)
        for bucket in buckets
        for a, b in combinations(bucket, 2)
        if jaccard(sets[a], sets[b]) >= threshold
    ]
    verified = Verified(sets, threshold, _NO_LIMIT)
    for bucket in buckets:
        verified.add_bucket(bucket)
    found = [verified.root(node) for node in range(len(sets))]
    assert found == _search(len(sets), edges)
    assert verified.n_cut_short == 0


@given(_sets_and_buckets(), st.randoms(use_true_random=False))
def test_verified_order_of_buckets_and_members_changes_nothing(case, rng) -> None:
    sets, buckets = case
    mixed = [rng.sample(bucket, len(bucket)) for bucket in rng.sample(buckets, len(buckets))]
    roots = []
    for order in (buckets, mixed):
        verified = Verified(sets, 0.5, _NO_LIMIT)
        for bucket in order:
            verified.add_bucket(bucket)
        roots.append([verified.root(node) for node in range(len(sets))])
    assert roots[0] == roots[1]


def test_verified_candidates_below_threshold_are_never_chained() -> None:
    # a-b and b-c share a bucket, but only a and b are alike.
    sets = [np.array(s, np.uint64) for s in ([1, 2, 3, 4], [1, 2, 3, 4, 5], [5, 6, 7, 8])]
    verified = Verified(sets, 0.75, _NO_LIMIT)
    verified.add_bucket([0, 1])
    verified.add_bucket([1, 2])
    assert [verified.root(node) for node in range(3)] == [0, 0, 2]


def test_verified_bucket_of_equal_sets_costs_one_comparison_each() -> None:
    n = 5000
    verified = Verified([sequence(1, 10)] * n, 0.8, 100)
    for _ in range(3):
        verified.add_bucket(range(n))
    assert verified.n_compared == n - 1
    assert {verified.root(node) for node in range(n)} == {0}


def test_verified_bucket_of_unlike_sets_costs_at_most_the_bound_each() -> None:
    n, bound = 2000, 20
    verified = Verified([sequence(i, 10) for i in range(n)], 0.8, bound)
    verified.add_bucket(range(n))
    assert verified.n_compared <= n * bound
    assert verified.n_cut_short == n - bound - 1
    assert verified.n_joined == 0


def test_verified_unlike_pair_in_many_buckets_is_compared_once() -> None:
    verified = Verified([sequence(1, 10), sequence(2, 10)], 0.8, _NO_LIMIT)
    for bucket in ([0, 1], [1, 0], [0, 1]):
        verified.add_bucket(bucket)
    assert verified.n_compared == 1


def test_verified_two_large_families_in_one_bucket_are_both_found() -> None:
    families = [sequence(1, 50), sequence(2, 50)]
    verified = Verified([families[i % 2] for i in range(400)], 0.8, 5)
    verified.add_bucket(range(400))
    assert [verified.root(node) for node in range(400)] == [0, 1] * 200


@pytest.mark.parametrize(("size", "threshold"), [(7, 0.07), (29, 0.29), (57, 0.57)])
def test_verified_similarity_of_exactly_the_threshold_counts(size: int, threshold: float) -> None:
    # 0.07 * 100 > 7 in floating point; the size bound must not decide otherwise than Jaccard does.
    whole = np.sort(sequence(1, 100))
    verified = Verified([whole, whole[:size]], threshold, _NO_LIMIT)
    verified.add_bucket([0, 1])
    assert verified.root(1) == 0
