"""The dedup benchmark: its truth against all pairs, scores by hand, its input, one small run."""

import random
from itertools import combinations

import pytest

from benchmarks import dedup
from tests.benchmarks.small import NO_PEERS, run

_POOL = [" ".join(f"w{i}x{j}" for j in range(5 + i % 9)) for i in range(300)]


@pytest.mark.parametrize("threshold", [0.5, 0.75, 0.9, 1.0])
def test_similar_pairs_equal_those_of_all_comparisons(threshold: float) -> None:
    texts = {d["id"]: d["text"] for d in dedup.make_documents(_POOL, 150)}
    sets = {name: dedup._shingles(text) for name, text in texts.items()}
    expected = {
        pair
        for pair in combinations(sorted(sets), 2)
        if dedup._jaccard(*(sets[name] for name in pair)) >= threshold
    }
    assert dedup.similar_pairs(texts, threshold) == expected
    assert len(expected) > 3


def test_score_by_hand() -> None:
    pairs = {("a", "b"), ("b", "c"), ("d", "e")}
    assert dedup.score([], pairs) == {"precision": 0.0, "recall": 0.0}
    assert dedup.score([["a", "b", "c"], ["d", "e"]], pairs) == {"precision": 1.0, "recall": 1.0}
    # a-c hang together by b: not wrong. Of the six pairs of a, b, c, x three are right.
    assert dedup.score([["a", "b", "c", "x"]], pairs) == {"precision": 0.5, "recall": 0.66667}


def test_make_documents_same_seed_gives_the_same_texts_and_enough_copies() -> None:
    documents = list(dedup.make_documents(_POOL, 400))
    assert documents == list(dedup.make_documents(_POOL, 400))
    assert len({d["id"] for d in documents}) == 400
    near = dedup.similar_pairs({d["id"]: d["text"] for d in documents}, 0.75)
    assert 50 < len(near) < 250


def test_edit_changes_at_most_what_it_says() -> None:
    rng = random.Random(1)
    text = " ".join(_POOL[:40])
    kinds = {dedup.edit(text, _POOL, rng) == text for _ in range(40)}
    assert kinds == {True, False}


@pytest.mark.slow
def test_dedup_short_documents_once_reports_what_it_cost() -> None:
    told = run("dedup", "--scale", "400", OUTBOUND_ENGINE="inline", **NO_PEERS)
    assert told["n_docs"] == 400
    assert 330 < told["n_unique"] < 400
