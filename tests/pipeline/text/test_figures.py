"""Figures of a text: counted by hand, against their definitions, and for any text."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import figures as f
from pipeline.text import rules
from pipeline.text.figures import figures

_TEXT = "\n".join(
    [
        "- the first line is a bullet",
        "• so is the second one.",
        "",
        "a third line #1 with a hash…",
        "{ brace }",
        "the first copy of this line.",
        "the first copy of this line.",
        "We use cookies; see our Privacy Policy",
        "Lorem ipsum dolor 123 4 5",
    ]
)  # 48 words of 167 characters in 8 lines of 28, 23, 28, 9, 28, 28, 38 and 25 characters


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("words", 48),
        ("mean_word_chars", 167 / 48),
        ("symbols_per_word", 1 / 48),
        ("bullet_lines_frac", 2 / 8),
        ("ellipsis_lines_frac", 1 / 8),
        ("alpha_words_frac", 40 / 48),
        ("stop_words", 3),
        ("copied_lines_frac", 1 / 8),
        ("copied_line_chars_frac", 28 / 207),
        ("copied_paragraphs_frac", 0),
        ("copied_paragraph_chars_frac", 0),
        ("top_2gram_chars_frac", 2 * len("thefirst") / 167 + len("thefirst") / 167),
        ("top_3gram_chars_frac", 2 * len("thefirstcopy") / 167),
        ("top_4gram_chars_frac", 2 * len("copyofthisline.") / 167),
        ("copied_5gram_chars_frac", len("thefirstcopyofthisline.") / 167),
        ("copied_6gram_chars_frac", len("thefirstcopyofthisline.") / 167),
        ("copied_7gram_chars_frac", 0),
        ("copied_10gram_chars_frac", 0),
        ("sentences", 3),
        ("lorem_ipsum", 1),
        ("brace_lines_frac", 1 / 8),
        ("policy_lines_frac", 1 / 8),
        ("terminal_lines_frac", 4 / 8),
        ("short_lines_frac", 7 / 8),
        ("newlines_per_word", 8 / 48),
    ],
)
def test_figures_counted_by_hand_agree(figure: str, expected: float) -> None:
    assert figures(_TEXT)[figure] == pytest.approx(expected, abs=1e-12)


def test_figures_paragraphs_are_blocks_between_blank_lines() -> None:
    found = figures("one two\nthree\n\nfour\n\none two\nthree\n\nfive")
    assert found["copied_paragraphs_frac"] == 1 / 4
    assert found["copied_paragraph_chars_frac"] == 13 / (13 + 4 + 13 + 4)


def test_copied_ngrams_overlapping_copies_count_each_character_once() -> None:
    assert f.copied_ngram_chars_frac(f.Statistics("a a a a a a a a"), 5) == 7 / 8


def _copied_by_definition(words: list[str], n: int) -> float:
    """Says the same as the rule, slowly: marks each word of each n-gram seen before."""
    seen: set[tuple[str, ...]] = set()
    marked: set[int] = set()
    for i in range(len(words) - n + 1):
        gram = tuple(words[i : i + n])
        if gram in seen:
            marked.update(range(i, i + n))
        seen.add(gram)
    return sum(len(words[i]) for i in marked) / sum(map(len, words))


def _top_by_definition(words: list[str], n: int) -> float:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    if not counts or max(counts.values()) < 2:
        return 0.0
    best = [gram for gram, count in counts.items() if count == max(counts.values())]
    gram = max(best, key=lambda g: len("".join(g)))  # the first of the longest
    starts = [i for i in range(len(words) - n + 1) if tuple(words[i : i + n]) == gram]
    marked = {i + k for i in starts for k in range(n)}
    return sum(len(words[i]) for i in marked) / sum(map(len, words))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), min_size=1, max_size=60))
def test_ngram_figures_any_words_agree_with_the_definition(words: list[str]) -> None:
    found = figures(" ".join(words))
    for n in range(5, 11):
        assert found[f"copied_{n}gram_chars_frac"] == pytest.approx(_copied_by_definition(words, n))
    for n in (2, 3, 4):
        assert found[f"top_{n}gram_chars_frac"] == pytest.approx(_top_by_definition(words, n))


@settings(deadline=None)
@given(st.text(max_size=300))
def test_figures_any_text_are_finite_and_fractions_are_fractions(text: str) -> None:
    for name, value in figures(text).items():
        assert math.isfinite(value)
        assert value >= 0
        assert value <= 1 or not name.endswith("_frac")
        assert 0 <= rules.histogram_bin(name, value) < len(rules.edges(name))


_TEN = "aa b cc d ee f gg h ii j"  # ten words, 15 characters


@pytest.mark.parametrize("n", range(5, 11))
def test_figures_ten_words_written_twice_are_copies_for_every_n(n: int) -> None:
    found = figures(f"{_TEN} x {_TEN} y {_TEN}")  # 47 characters, 30 of them in copies
    assert found[f"copied_{n}gram_chars_frac"] == 30 / 47


def test_figures_nine_words_written_twice_have_no_copied_10_gram() -> None:
    nine = _TEN[:-2]
    found = figures(f"{nine} x {nine} y")
    assert found["copied_9gram_chars_frac"] == 14 / 30
    assert found["copied_10gram_chars_frac"] == 0


@pytest.mark.parametrize(
    ("n", "expected"), [(2, 3 * len("ab")), (3, 2 * len("abc")), (4, 2 * len("abcd"))]
)
def test_figures_top_ngram_is_the_most_frequent_one(n: int, expected: int) -> None:
    text = "a b c d x a b c d y a b z"
    assert figures(text)[f"top_{n}gram_chars_frac"] == expected / 13


@pytest.mark.parametrize(
    "text", ["", "a", "\n" * 1000, " \t\n ", "\ud800", "\x00", "a" * 1_000_000, "é\n" * 100_000]
)
def test_figures_odd_document_is_measured(text: str) -> None:
    assert all(math.isfinite(value) for value in figures(text).values())
    assert figures(text).keys() == f.FIGURES.keys()


@settings(deadline=None)
@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=40))
def test_ngrams_repeated_ones_are_all_found(words: list[str]) -> None:
    found = f.Statistics(" ".join(words)).ngrams
    for n in range(2, 11):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        repeated = [i for i, gram in enumerate(grams) if grams.count(gram) > 1]
        assert (found[n].starts.tolist() if n in found else []) == repeated
