"""Groups of equal keys against a dictionary."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import signatures
from pipeline.overlap.exchange import group_equal
from pipeline.overlap.words import sequence

_PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


@given(_PAIRS)
def test_group_equal_equals_a_dictionary_of_sets(pairs: list[tuple[int, int]]) -> None:
    by_key = defaultdict(set)
    for key, member in pairs:
        by_key[key].add(member)
    expected = {tuple(sorted(members)) for members in by_key.values() if len(members) > 1}
    table = np.array(pairs, np.uint64).reshape(-1, 2)
    groups = [tuple(group.tolist()) for group in group_equal(table[:, 0], table[:, 1])]
    assert len(groups) == len(set(groups))
    assert set(groups) == expected


@given(_PAIRS, st.randoms(use_true_random=False))
def test_group_equal_order_of_rows_changes_nothing(pairs, rng) -> None:
    mixed = list(pairs)
    rng.shuffle(mixed)
    results = []
    for rows in (pairs, mixed):
        table = np.array(rows, np.uint64).reshape(-1, 2)
        results.append([g.tolist() for g in group_equal(table[:, 0], table[:, 1])])
    assert results[0] == results[1]


def test_group_equal_giant_bucket_costs_one_group_not_pairs() -> None:
    members = sequence(1, 200_000)
    groups = group_equal(np.zeros(200_000, np.uint64), members)
    assert [len(group) for group in groups] == [200_000]


def test_partition_of_is_even_ordered_and_complete() -> None:
    keys = np.sort(sequence(2, 30_000))
    partitions = signatures.partition_of(keys, 3)
    assert np.all(np.diff(partitions.astype(np.int64)) >= 0)
    assert np.all(np.abs(np.bincount(partitions.astype(np.int64)) - 10_000) < 500)
    ends = np.array([0, 2**64 - 1], np.uint64)
    assert signatures.partition_of(ends, 4096).tolist() == [0, 4095]
