"""The longest verbatim run, against all pairs of places compared."""

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.overlap import bloom, evalgrams
from pipeline.overlap.evalgrams import EvalGrams
from pipeline.overlap.verbatim import Longest


def _index(texts: list[str]) -> EvalGrams:
    columns = {"set": ["s"] * len(texts), "example_id": list(map(str, range(len(texts))))}
    examples = pa.table(columns | {"text": pa.array(texts, pa.string())})
    grams = evalgrams.collect(examples["text"])
    return EvalGrams(grams, examples, bloom.build(grams.hashes, 1e-8))


def _see(texts: list[str], documents: list[str]) -> list[dict[str, Any]]:
    index = _index(texts)
    longest = Longest(index)
    for number, document in enumerate(documents):
        longest.see(f"{number:016x}", document, index.overlap(document))
    return longest.table().to_pylist()


def _brute(a: list[str], b: list[str]) -> int:
    """Words of the longest common run, by comparing every pair of places."""
    best, before = 0, [0] * (len(b) + 1)
    for word in a:
        row = [0] * (len(b) + 1)
        for j, other in enumerate(b):
            row[j + 1] = before[j] + 1 if word == other else 0
        best, before = max(best, *row), row
    return best


_NUMBERED = st.permutations(range(24)).map(lambda order: [f"w{i}" for i in order])


@settings(deadline=None)
@given(_NUMBERED, st.lists(st.tuples(st.integers(0, 23), st.integers(1, 24)), max_size=3))
def test_longest_of_texts_without_repeats_is_that_of_all_pairs(
    example: list[str], parts: list[tuple[int, int]]
) -> None:
    document = [w for i, (at, n) in enumerate(parts) for w in [*example[at : at + n], f"x{i}"]]
    told = _see([" ".join(example)], [" ".join(document)])
    expected = _brute(example, document)
    assert [row["n_words"] for row in told] == ([expected] if expected >= 8 else [])


@settings(deadline=None)
@given(st.lists(st.sampled_from("ab"), max_size=30), st.lists(st.sampled_from("ab"), max_size=30))
def test_longest_of_repetitive_texts_is_a_real_run_and_never_too_long(
    example: list[str], document: list[str]
) -> None:
    told = _see([" ".join(example)], [" ".join(document)])
    expected = _brute(example, document)
    assert bool(told) == (expected >= 8)
    for row in told:
        n, i, j = row["n_words"], row["example_word"], row["doc_word"]
        assert 8 <= n <= expected
        assert example[i : i + n] == document[j : j + n] == row["text"].split()


def test_longest_is_kept_over_documents_and_the_first_of_equals_stays() -> None:
    example = "a b c d e f g h i j k l"
    documents = [
        "none of it",
        "a b c d e f g h i!",
        "Said: B, c; d e f g h i - J k?",
        "b c d e f g h i j k",
    ]
    (row,) = _see(["x " * 9, example], documents)
    assert row == {
        "example": 1,
        "doc_id": f"{2:016x}",
        "doc_word": 1,
        "example_word": 1,
        "n_words": 10,
        "text": "B, c; d e f g h i - J k",
    }


def test_longest_of_a_looping_text_reaches_beyond_the_loop() -> None:
    """Each 8-gram counts where it first begins; the run is extended word by word all the same."""
    loop = "to be or not " * 50
    (row,) = _see([f"say {loop} that"], [f"and {loop} so"])
    assert row["n_words"] == 200
