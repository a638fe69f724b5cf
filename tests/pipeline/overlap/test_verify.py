"""What one partition makes of groups and shingle sets that are given by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.overlap import columns, verify
from pipeline.overlap.words import sequence
from pipeline.store.shards import ShardDraft

_CONFIG = verify.Config(threshold=0.75, max_comparisons=100, partitions=1)
_SHARED = np.sort(sequence(1, 40))

Text = tuple[int, int, np.ndarray]  # content, created, shingles


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Returns a function that verifies groups of texts; edges and links come back as tuples."""

    def run_(texts: list[Text], groups: list[tuple[int, list[int]]]) -> tuple[set[Any], set[Any]]:
        draft = ShardDraft("x", tmp_path)
        told = {
            "content": np.array([t[0] for t in texts], np.uint64),
            "doc": np.array([100 + i for i in range(len(texts))], np.uint64),
            "created": np.array([t[1] for t in texts], np.int64),
            "n_chars": np.ones(len(texts), np.int64),
            "shingles": columns.from_lists([t[2] for t in texts]),
        }
        columns.write(draft, columns.owned("shingles", 0), told)
        rows = [(unit, i == 0, c) for unit, group in groups for i, c in enumerate(group)]
        named = zip(("unit", "first", "content"), zip(*rows, strict=True), strict=True)
        kinds = {"unit": np.uint64, "first": np.bool_, "content": np.uint64}
        told = {name: np.array(of, kinds[name]) for name, of in named}
        columns.write(draft, columns.owned("groups", 0), told)
        verify.write(tuple(draft.folder.glob("*.arrow")), draft, _CONFIG)
        found = [
            columns.read([draft.path(columns.owned(name, 0))]).to_pylist()
            for name in (verify.EDGES, verify.LINKS)
        ]
        return tuple({tuple(row.values()) for row in part} for part in found)

    return run_


def _like(n_own: int, seed: int) -> np.ndarray:
    return np.sort(np.append(_SHARED, sequence(seed, n_own)))


def test_write_similar_texts_are_tied_to_the_least_and_measured_with_the_survivor(run) -> None:
    texts = [(5, 3, _like(1, 2)), (6, 1, _like(1, 3)), (9, 2, np.sort(sequence(4, 40)))]
    edges, links = run(texts, [(5, [5, 6]), (5, [5, 6, 9])])
    assert edges == {(6, 5), (5, 6)}  # 9 is like none
    assert links == {(5, 6, 40 / 42)}  # 6 is the earliest


def test_write_texts_that_met_through_a_third_are_compared(run) -> None:
    texts = [(1, 1, np.sort(sequence(4, 40))), (5, 1, _like(1, 2)), (6, 2, _like(1, 3))]
    edges, links = run(texts, [(1, [1, 5]), (1, [1, 6])])
    assert edges == {(6, 5), (5, 6)}
    assert links == {(6, 5, 40 / 42)}


def test_write_units_do_not_mix(run) -> None:
    texts = [(1, 1, np.sort(sequence(4, 40))), (5, 1, _like(1, 2)), (6, 2, _like(1, 3))]
    assert run(texts, [(1, [1, 5]), (5, [1, 6])]) == (set(), set())


def test_write_shard_that_only_names_its_document_decides_the_survivor(run) -> None:
    nothing = np.empty(0, np.uint64)
    texts = [(5, 3, _like(1, 2)), (6, 2, _like(1, 3)), (5, 1, nothing)]
    assert run(texts, [(5, [5, 6])])[1] == {(6, 5, 40 / 42)}
    assert run(texts[:2], [(5, [5, 6])])[1] == {(5, 6, 40 / 42)}
