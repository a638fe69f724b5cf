"""Limits on figures: what fails, in which order, and what values are refused."""

from dataclasses import fields, replace
from typing import Any

import pytest

from pipeline.store.records import Drop
from pipeline.text import figures, rules
from tests.pipeline.text import configs


def test_every_limit_names_a_figure() -> None:
    groups = (rules.Gopher, rules.Repetition, rules.C4, rules.Fineweb)
    limited = {field.name[4:] for group in groups for field in fields(group)}
    assert limited == set(figures.FIGURES)


def _failure(text: str, **changes: Any) -> Drop | None:
    group = replace(configs.GOPHER, **changes)
    return rules.first_failure(figures.figures(text), rules.bounds({"gopher": group}))


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
    assert rules.first_failure(figures.figures(configs.PROSE), configs.CLEAN.bounds()) is None


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
