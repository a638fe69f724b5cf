"""Words against the regular expression that defines them; n-gram hashes against n-gram tuples."""

import re
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import words

_WORD = re.compile(r"[^\W_]+")
_TEXTS = st.text(st.characters() | st.sampled_from(" _-'\n\u00a0é’"), max_size=200)


def _reference(text: str) -> list[bytes]:
    return [word.encode() for word in _WORD.findall(text.lower())]


def test_split_every_code_point_equals_regular_expression() -> None:
    for start in range(0, sys.maxunicode + 1, 1 << 14):
        text = "a ".join(map(chr, range(start, start + (1 << 14))))
        assert words.split(text) == _reference(text), hex(start)


@given(_TEXTS)
def test_split_any_text_equals_regular_expression(text: str) -> None:
    assert words.split(text) == _reference(text)


def test_split_lone_surrogate_separates() -> None:
    assert words.split("a\ud800b") == [b"a", b"b"]


def test_split_paper_normalisation_is_lower_case_alphanumeric() -> None:
    assert b" ".join(words.split("Mr. O'Neil's\t10,000  e-Mails…")) == b"mr o neil s 10 000 e mails"


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 9))
def test_ngrams_are_equal_exactly_where_the_words_are(letters: list[str], n: int) -> None:
    hashes = words.ngrams(words.hash_words([letter.encode() for letter in letters]), n)
    grams = [tuple(letters[i : i + n]) for i in range(len(letters) - n + 1)]
    assert len(hashes) == len(grams)
    assert len(set(zip(grams, hashes.tolist(), strict=True))) == len(set(grams))
    assert len(set(hashes.tolist())) == len(set(grams))


@given(st.lists(_TEXTS, max_size=6))
def test_hash_texts_equals_hash_of_the_words_of_each_text(texts: list[str]) -> None:
    hashes, ends = words.hash_texts(texts)
    split = [words.split(text) for text in texts]
    assert np.diff(ends, prepend=0).tolist() == [len(each) for each in split]
    assert hashes.tolist() == [h for each in split for h in words.hash_words(each).tolist()]


def test_hash_texts_every_code_point_equals_hash_of_the_words() -> None:
    for start in range(0, sys.maxunicode + 1, 1 << 14):
        text = "a ".join(map(chr, range(start, start + (1 << 14))))
        hashes = words.hash_texts(["b", text, "c"]).hashes
        assert np.array_equal(hashes[1:-1], words.hash_words(words.split(text))), hex(start)


@given(st.sets(st.text("ab0é中", min_size=1, max_size=40)))
def test_hash_words_different_words_differ_at_any_length(found: set[str]) -> None:
    hashes = words.hash_words([word.encode() for word in found])
    assert len(set(hashes.tolist())) == len(found)


def test_hash_words_long_and_nearly_equal_words_differ() -> None:
    found = [b"x" * n for n in range(1, 200)] + [b"x" * n + b"y" + b"x" * 30 for n in range(200)]
    assert len(set(words.hash_words(found).tolist())) == len(found)


def test_ngrams_of_other_length_or_order_differ() -> None:
    def of(text: str, n: int) -> set[int]:
        return set(words.ngrams(words.hash_words(words.split(text)), n).tolist())

    assert not of("a b c", 2) & of("a b c", 3)
    assert not of("a b", 2) & of("b a", 2)
    assert not of("a a", 2) & of("a", 1)


def test_ngrams_do_not_depend_on_their_surroundings() -> None:
    inside = words.ngrams(words.hash_words(words.split("x y to be or not z")), 4)
    alone = words.ngrams(words.hash_words(words.split("to be or not")), 4)
    assert inside[2] == alone[0]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_distinct_equals_numpy_unique(values: list[int]) -> None:
    hashes = np.array(values, np.uint64)
    assert np.array_equal(words.distinct(hashes), np.unique(hashes))


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, min_size=2, max_size=50))
def test_mix_keeps_different_values_different(values: list[int]) -> None:
    assert len(set(words.mix(np.array(values, np.uint64)).tolist())) == len(values)


def test_mix_spreads_one_bit_over_half_of_the_bits() -> None:
    values = words.sequence(3, 1000)
    for bit in range(64):
        flipped = words.mix(values) ^ words.mix(values ^ np.uint64(1 << bit))
        assert 30 < np.bitwise_count(flipped).mean() < 34


def test_sequence_same_seed_gives_the_same_values_everywhere() -> None:
    # Written down: a change would silently change every signature ever made.
    assert words.sequence(1, 2).tolist() == words.sequence(1, 5)[:2].tolist()
    assert words.sequence(0, 1).tolist() == [int(words.mix(np.uint64([0x9E3779B97F4A7C15]))[0])]
    assert len(set(words.sequence(7, 10_000).tolist())) == 10_000
