"""Groups of equal keys against a dictionary; giant buckets; who brings which text."""

from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import columns, exchange
from pipeline.overlap.exchange import Groups, group_equal, repeated
from pipeline.overlap.words import sequence
from pipeline.store.shards import ShardDraft

_PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


def _table(pairs: list[tuple[int, int]]) -> pa.Table:
    told = np.array(pairs, np.uint64).reshape(-1, 2)
    names = {"key": told[:, 0], "content": told[:, 1], "source": np.zeros(len(told), np.int64)}
    return pa.table(names)


def _group(table: pa.Table) -> tuple[Groups, int]:
    rows = repeated(table)
    return group_equal(rows["key"].to_numpy(), rows["content"].to_numpy())


def _lists(groups: Groups) -> list[list[int]]:
    return [part.tolist() for part in np.split(groups.content, np.flatnonzero(groups.first))[1:]]


@given(_PAIRS)
def test_group_equal_equals_a_dictionary_of_sets(pairs: list[tuple[int, int]]) -> None:
    by_key = defaultdict(set)
    for key, content in pairs:
        by_key[key].add(content)
    expected = sorted(sorted(members) for members in by_key.values() if len(members) > 1)
    groups, n_sliced = _group(_table(pairs))
    assert sorted(_lists(groups)) == expected
    assert n_sliced == 0
    starts = np.flatnonzero(groups.first)
    assert groups.unit[starts].tolist() == [group[0] for group in _lists(groups)]
    assert np.array_equal(groups.unit, np.repeat(groups.unit[starts], _sizes(groups)))


def _sizes(groups: Groups) -> list[int]:
    return [len(group) for group in _lists(groups)]


@given(_PAIRS, st.randoms(use_true_random=False))
def test_group_equal_order_of_rows_changes_nothing(pairs, rng) -> None:
    mixed = list(pairs)
    rng.shuffle(mixed)
    first, second = (_group(_table(rows))[0] for rows in (pairs, mixed))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_group_equal_giant_bucket_is_sliced_with_common_leaders() -> None:
    contents = np.sort(sequence(1, 50_000))
    groups, n_sliced = group_equal(np.full(50_000, 7, np.uint64), contents)
    assert n_sliced == 1
    sets = [set(group) for group in _lists(groups)]
    assert max(map(len, sets)) <= 4096
    assert set().union(*sets) == set(contents.tolist())
    assert len(set.intersection(*sets)) == 16
    assert sum(map(len, sets)) == 50_000 + 16 * (len(sets) - 1)
    assert len(set(groups.unit[groups.first].tolist())) == len(sets)  # met in different units
    again, _ = group_equal(np.full(50_000, 8, np.uint64), contents)
    assert {frozenset(one) for one in sets}.isdisjoint(map(frozenset, _lists(again)))


def test_write_every_pair_meets_where_both_texts_are_sent(tmp_path: Path) -> None:
    """For each group, each member is brought to the group's partition by exactly one holder."""
    draft, rng = ShardDraft("x", tmp_path), np.random.default_rng(0)
    for source in range(3):
        keys, contents = rng.integers(0, 40, (2, 60), np.uint64) << np.uint64(58)
        columns.write(draft, columns.owned("bands", source), {"key": keys, "content": contents})
        columns.write(draft, columns.owned("ids", source), {"doc": sequence(source, 5)})
    inputs = tuple(sorted(draft.folder.glob("*.arrow")))
    exchange.write(inputs, draft, 4)
    brought = defaultdict(list)
    for source in range(3):
        rows = columns.read([draft.path(columns.owned("wanted", source))]).to_pylist()
        held = columns.read([draft.path(columns.owned("bands", source))])["content"].to_pylist()
        for row in rows:
            assert row["content"] in held
            if row["brings"]:
                brought[row["content"]].append((row["partition"], source))
    n_pairs = 0
    for partition in range(4):
        table = columns.read([draft.path(columns.owned("groups", partition))])
        told = (table[n].to_numpy(zero_copy_only=False) for n in ("unit", "first", "content"))
        for group in _lists(Groups(*told)):
            n_pairs += len(list(combinations(group, 2)))
            for content in group:
                assert [p for p, _ in brought[content]].count(partition) == 1
    assert n_pairs > 100


def test_partition_of_is_even_ordered_and_complete() -> None:
    keys = np.sort(sequence(2, 30_000))
    partitions = columns.partition_of(keys, 3)
    assert np.all(np.diff(partitions) >= 0)
    assert np.all(np.abs(np.bincount(partitions) - 10_000) < 500)
    ends = np.array([0, 2**64 - 1], np.uint64)
    assert columns.partition_of(ends, 4096).tolist() == [0, 4095]
