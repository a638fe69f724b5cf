"""The index of passages against a plain search through every place."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import shardmap
from pipeline.engine.tasks import InlineEngine
from pipeline.store.errors import ManifestError
from pipeline.tokens import ngrams
from pipeline.tokens.arrow import Vocabulary
from pipeline.tokens.ngrams import Index, N, Run
from tests.pipeline.tokens.test_export import seal

END = 9


def runs_by_hand(query: list[int], values: list[int]) -> list[Run]:
    """Every pair of places, grown as long as it goes: the definition, no hash involved."""
    found = []
    for q in range(len(query)):
        for p in range(len(values)):
            begins = q == 0 or p == 0 or query[q - 1] != values[p - 1]
            pairs = zip(query[q:], values[p:], strict=False)
            n = next(
                (i for i, (a, b) in enumerate(pairs) if a != b),
                min(len(query) - q, len(values) - p),
            )
            if begins and n >= N:
                found.append(Run(q, p, n))
    return sorted(found)


@given(
    values=st.lists(st.integers(0, 2), max_size=120),
    more=st.lists(st.integers(0, 2), max_size=30),
    cut=st.tuples(st.integers(0, 120), st.integers(0, 60)),
)
def test_runs_of_any_query_equal_those_found_place_by_place(
    values: list[int], more: list[int], cut: tuple[int, int]
) -> None:
    """Three ids only, so that most hashes are equal to others and passages repeat and overlap."""
    query = [*more[:10], *values[cut[0] : cut[0] + cut[1]], *more[10:]]
    stream = np.array(values, np.uint16)
    found = ngrams.runs(np.array(query, np.uint32), stream, *ngrams.build(stream))
    assert sorted(found) == runs_by_hand(query, values)


def test_build_in_chunks_equals_build_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).integers(0, 50, 5000).astype(np.uint16)
    whole = ngrams.build(values)
    monkeypatch.setattr(ngrams, "_CHUNK", 97)
    assert all((a == b).all() for a, b in zip(ngrams.build(values), whole, strict=True))


@pytest.fixture
def indexed(workspace: Path) -> Index:
    """Three shards, one of them empty; every document has repeats of another one."""
    rng = np.random.default_rng(5)
    phrases = [rng.integers(0, END, 12).tolist() for _ in range(6)]
    shards = [
        [[*rng.integers(0, END, 30).tolist(), *phrases[i], *phrases[(i + j) % 6], END]]
        for i in range(6)
        for j in (1, 2)
    ]
    flat = [document for made in shards for document in made]
    parts = [flat[:7], [], [*flat[7:], [1, 2, 3, END], [END]]]
    seal(workspace / "tokens", {"train": parts, "valid": [[], [], []]}, Vocabulary("x", 10, END))
    ngrams.make(workspace / "tokens", workspace / "ngrams", InlineEngine())
    return Index(workspace / "tokens", workspace / "ngrams")


def test_each_8_gram_of_each_training_document_is_found_at_its_place(indexed: Index) -> None:
    n_asked = 0
    for row in indexed.documents.to_pylist():
        ids = indexed.tokens.slice(row["start"], row["start"] + row["n_tokens"] - 1).tolist()
        for start in range(len(ids) - N + 1):
            query = np.array(ids[start : start + N], np.uint32)
            assert Run(0, row["start"] + start, N) in set(indexed._runs(query))
            told = {passage.doc_id for passage in indexed.find(query.tolist(), 100).passages}
            assert row["doc_id"] in told
            n_asked += 1
    assert n_asked > 500


def test_passages_say_where_they_stand_in_their_document(indexed: Index) -> None:
    row = indexed.documents.to_pylist()[9]
    whole = indexed.tokens.slice(row["start"], row["start"] + row["n_tokens"] - 1).tolist()
    found = indexed.find([3, *whole[10:40], 3], 1).passages[0]
    assert found.doc_id == row["doc_id"]
    assert whole[found.place : found.place + found.n] == whole[10:40][: found.n]
    assert (found.n, found.n_document, found.stream) == (30, len(whole), row["start"])


def test_what_is_told_is_cut_but_everything_is_counted(indexed: Index) -> None:
    row = indexed.documents.to_pylist()[0]
    ids = indexed.tokens.slice(row["start"] + 30, row["start"] + 42).tolist()  # a phrase
    everything, some = indexed.find(ids, 100), indexed.find(ids, 1)
    assert everything.n_documents == len(everything.passages) > 2
    assert (some.n_documents, some.n_runs) == (everything.n_documents, everything.n_runs)
    assert some.passages == everything.passages[:1]


def test_text_of_fewer_tokens_and_text_never_seen_are_not_found(indexed: Index) -> None:
    assert indexed.find([1, 2, 3, 4], 9).covered == (False,) * 4
    assert indexed.find([], 9).passages == ()
    unseen = [0, 1] * 10  # the documents' draws hold no such run
    assert indexed.find(unseen, 9).n_documents == 0


def test_query_with_an_end_mark_is_refused(indexed: Index) -> None:
    with pytest.raises(ValueError, match="id 9, which ends a document"):
        indexed.find([1, 2, END, 4], 9)


def test_index_is_current_until_the_tokens_change(indexed: Index, workspace: Path) -> None:
    tokens, folder = workspace / "tokens", workspace / "ngrams"
    assert ngrams.is_current(tokens, folder)
    assert not ngrams.is_current(tokens, workspace / "elsewhere")
    vocabulary = Vocabulary("x", 10, END)
    seal(tokens, {"train": [[[1] * 20 + [END]], [], []], "valid": [[], [], []]}, vocabulary)
    assert not ngrams.is_current(tokens, folder)


class Backwards:
    """An engine whose tasks are done in another order."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        yield from reversed([(index, function(item)) for index, item in enumerate(items)])


def test_index_is_the_same_in_any_order_of_shards(indexed: Index, workspace: Path) -> None:
    alone = {p.name: p.read_bytes() for p in (workspace / "ngrams" / "places").iterdir()}
    shardmap.shards.discard(workspace / ".shards" / "ngrams")
    ngrams.make(workspace / "tokens", workspace / "again", Backwards())
    assert {p.name: p.read_bytes() for p in (workspace / "again" / "places").iterdir()} == alone


def test_shard_of_too_many_tokens_is_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"train": [[[1] * 20 + [END]]], "valid": [[]]}
    seal(workspace / "tokens", parts, Vocabulary("x", 10, END))
    monkeypatch.setattr(ngrams, "MAX_PLACE", 10)
    with pytest.raises(Exception, match="21 tokens; allowed 10: make more shards"):
        ngrams.make(workspace / "tokens", workspace / "ngrams", InlineEngine())


def test_missing_index_names_itself(workspace: Path) -> None:
    parts = {"train": [[[1, END]]], "valid": [[]]}
    seal(workspace / "tokens", parts, Vocabulary("x", 10, END))
    with pytest.raises(ManifestError, match="ngrams does not exist"):
        Index(workspace / "tokens", workspace / "ngrams")
