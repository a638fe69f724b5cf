"""Where words and spans are in a text, and the text without them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import spans, words
from pipeline.overlap.spans import Cutting, Span, locate, pieces, runs

_PLAIN = Cutting(min_words=1, margin_chars=0, min_piece_chars=1, max_pieces=10)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(_TEXT)
def test_locate_gives_the_place_of_each_word_that_split_gives(text: str) -> None:
    starts, ends = locate(text)
    expected = words.split(text)
    assert len(starts) == len(ends) == len(expected)
    places = list(zip(starts.tolist(), ends.tolist(), strict=True))
    assert all(0 <= start < end <= len(text) for start, end in places)
    if len(text.lower()) == len(text):
        lower = text.lower()
        assert [lower[start:end].encode() for start, end in places] == expected


@given(st.lists(st.sampled_from(["İstanbul", "ǰx", "abc", "ẞ", "É"]), max_size=12))
def test_locate_letters_that_become_several_keep_the_places_right(parts: list[str]) -> None:
    """The lower-cased text is longer than the text; each part's first word begins where it does."""
    text = " ".join(parts)
    starts, _ = locate(text)
    expected = [sum(len(p) + 1 for p in parts[:i]) for i in range(len(parts))]
    assert set(expected) <= set(starts.tolist())


@given(st.lists(st.booleans(), max_size=40))
def test_runs_cover_exactly_what_is_true(found: list[bool]) -> None:
    covered = [i for first, last in runs(np.array(found, bool)) for i in range(first, last + 1)]
    assert covered == [i for i, there in enumerate(found) if there]
    bounds = [edge for run in runs(np.array(found, bool)) for edge in run]
    assert all(b > a + 1 for a, b in zip(bounds[1::2], bounds[2::2], strict=False))


@given(st.integers(1, 30), st.data())
def test_pieces_hold_every_word_outside_the_cuts_and_none_inside(
    n: int, data: st.DataObject
) -> None:
    parts = [f"w{i}x" for i in range(n)]
    text = " ".join(parts)
    starts, ends = locate(text)
    chosen = data.draw(
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=4)
    )
    ranges = [(min(pair), max(pair)) for pair in chosen]
    cuts = [Span(int(starts[a]), int(ends[b])) for a, b in ranges]
    left = " ".join(pieces(text, cuts, _PLAIN)).split()
    assert left == [p for i, p in enumerate(parts) if not any(a <= i <= b for a, b in ranges)]


def test_pieces_margin_grows_to_white_space_and_merges_cuts() -> None:
    text = "aaaa bbbb cccc dddd eeee ffff gggg hhhh"
    at = text.index("dddd")
    two = Cutting(min_words=1, margin_chars=2, min_piece_chars=1, max_pieces=10)
    assert pieces(text, [Span(at, at + 4)], two) == ["aaaa bbbb", "ffff gggg hhhh"]
    near = [Span(text.index(word), text.index(word) + 4) for word in ("gggg", "dddd")]
    assert pieces(text, near, two) == ["aaaa bbbb"]
    whole = Cutting(min_words=1, margin_chars=100, min_piece_chars=1, max_pieces=10)
    assert pieces(text, [Span(at, at + 4)], whole) == []


def test_pieces_that_are_too_short_go_too() -> None:
    text = "one two\nX\nthree four\nX\nfive"
    cuts = [Span(8, 9), Span(21, 22)]
    seven = Cutting(min_words=1, margin_chars=0, min_piece_chars=7, max_pieces=10)
    assert pieces(text, cuts, seven) == ["one two", "three four"]
    assert pieces(text, [], seven) == [text]


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_words", 0), ("margin_chars", -1), ("min_piece_chars", 0), ("max_pieces", 0)],
)
def test_cutting_value_out_of_range_is_named(key: str, value: int) -> None:
    fields = {"min_words": 1, "margin_chars": 0, "min_piece_chars": 1, "max_pieces": 1}
    with pytest.raises(ValueError, match=f"^{key} is {value}; expected"):
        spans.Cutting(**fields | {key: value})
