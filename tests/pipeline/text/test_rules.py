"""Quality rules: hand-computed figures, limits, and what holds for any text."""

import math
from collections import Counter
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store.records import Drop
from pipeline.text import rules
from tests.pipeline.text import configs

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
        ("lorem_ipsum", 1),
        ("brace_lines_frac", 1 / 8),
        ("policy_lines_frac", 1 / 8),
        ("terminal_lines_frac", 4 / 8),
        ("short_lines_frac", 7 / 8),
        ("newlines_per_word", 8 / 48),
    ],
)
def test_figures_counted_by_hand_agree(figure: str, expected: float) -> None:
    assert rules.figures(_TEXT)[figure] == pytest.approx(expected, abs=1e-12)


def test_figures_paragraphs_are_blocks_between_blank_lines() -> None:
    found = rules.figures("one two\nthree\n\nfour\n\none two\nthree\n\nfive")
    assert found["copied_paragraphs_frac"] == 1 / 4
    assert found["copied_paragraph_chars_frac"] == 13 / (13 + 4 + 13 + 4)


def test_copied_ngrams_overlapping_copies_count_each_character_once() -> None:
    assert rules.copied_ngram_chars_frac(rules.Statistics("a a a a a a a a"), 5) == 7 / 8


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
    found = rules.figures(" ".join(words))
    for n in range(5, 11):
        assert found[f"copied_{n}gram_chars_frac"] == pytest.approx(_copied_by_definition(words, n))
    for n in (2, 3, 4):
        assert found[f"top_{n}gram_chars_frac"] == pytest.approx(_top_by_definition(words, n))


@settings(deadline=None)
@given(st.text(max_size=300))
def test_figures_any_text_are_finite_and_fractions_are_fractions(text: str) -> None:
    for name, value in rules.figures(text).items():
        assert math.isfinite(value)
        assert value >= 0
        assert value <= 1 or not name.endswith("_frac")
        assert 0 <= rules.histogram_bin(name, value) < len(rules.edges(name))


def test_every_limit_names_a_figure() -> None:
    groups = (rules.Gopher, rules.Repetition, rules.C4, rules.Fineweb)
    limited = {field.name[4:] for group in groups for field in fields(group)}
    assert limited == set(rules.FIGURES)


def _failure(text: str, **changes: Any) -> Drop | None:
    group = replace(configs.GOPHER, **changes)
    return rules.first_failure(rules.figures(text), rules.bounds({"gopher": group}))


def test_first_failure_several_limits_fail_the_first_in_order_counts() -> None:
    drop = _failure("§ " * 40, min_words=1)
    assert drop == Drop("gopher_min_mean_word_chars", "mean_word_chars = 1")


def test_first_failure_value_at_the_limit_passes() -> None:
    text = "- a\n" * 3 + "b\n" * 7  # 3 of 10 lines
    lenient = {"min_words": 0, "min_mean_word_chars": 0, "min_stop_words": 0}
    lenient |= {"min_alpha_words_frac": 0}
    assert _failure(text, **lenient, max_bullet_lines_frac=0.3) is None
    failed = _failure(text, **lenient, max_bullet_lines_frac=0.29)
    assert failed == Drop("gopher_max_bullet_lines_frac", "bullet_lines_frac = 0.3")


def test_first_failure_prose_passes_all_published_limits() -> None:
    assert rules.first_failure(rules.figures(configs.PROSE), configs.CLEAN.bounds()) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_bullet_lines_frac": 1.5}, "max_bullet_lines_frac is 1.5; expected 0 <= x <= 1"),
        ({"min_words": -1}, "min_words is -1; expected x >= 0"),
    ],
)
def test_limits_out_of_range_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(configs.GOPHER, **change)
