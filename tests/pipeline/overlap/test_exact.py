"""Exact duplicates: what counts as the same text."""

import hashlib
import sys

from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import exact


@given(st.text(), st.text())
def test_content_is_equal_exactly_for_texts_equal_up_to_white_space(a: str, b: str) -> None:
    same = "".join(a.split()) == "".join(b.split())
    assert (exact.content(a, 1) == exact.content(b, 1)) == same


@given(st.lists(st.text(min_size=1), min_size=1))
def test_content_white_space_of_any_kind_changes_nothing(parts: list[str]) -> None:
    assert exact.content(" ".join(parts), 1) == exact.content("\n\t".join(parts) + " \u00a0", 1)


def test_content_case_and_punctuation_make_another_text() -> None:
    digests = {exact.content(text, 1) for text in ("a b", "A b", "a, b", "")}
    assert len(digests) == 4


def test_content_every_code_point_is_blank_exactly_where_split_says_so() -> None:
    for start in range(0, sys.maxunicode + 1, 1 << 14):
        text = "a".join(map(chr, range(start, start + (1 << 14))))
        same = exact.content("".join(text.split()), 1)
        assert exact.content(text, 1) == same, hex(start)
    text = "a".join(map(chr, range(128)))  # ASCII goes its own way
    assert exact.content(text, 1) == exact.content("".join(text.split()), 1)


def test_content_seed_changes_the_digest() -> None:
    assert exact.content("a", 1) != exact.content("a", 2)


def test_content_halves_are_independent_64_bit_values() -> None:
    digests = [exact.content(hashlib.sha256(bytes([i])).hexdigest(), 1) for i in range(200)]
    assert len({d.key for d in digests}) == len({d.check for d in digests}) == 200
    assert all(0 <= half < 2**64 for digest in digests for half in digest)
    assert max(d.key for d in digests) > 2**63 < max(d.check for d in digests)


def test_content_lone_surrogate_is_no_error() -> None:
    assert exact.content("\ud800", 1) != exact.content("", 1)
