"""Quality rules: limits on the figures of a text (`pipeline.text.figures`), one group per paper.

A limit's name says what it limits: `max_bullet_lines_frac` is the largest `bullet_lines_frac` that
may pass. Limits are applied to figures that were measured and written down before, so that another
limit costs no measuring.

Paper: Gopher (Rae et al. 2021), appendix A.1.1, table A1; C4 (Raffel et al. 2020), section 2.2;
    FineWeb (Penedo et al. 2024), section 3.6.
Deviation: C4 removes every page with a brace; here the share of such lines is limited, and 0 is
    C4's rule. What C4 and RefinedWeb remove line by line is in `pipeline.text.lines`.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

from pipeline.store.config import require
from pipeline.store.records import Drop


class _Limits:
    """Shared by the groups: every limit is a non-negative number."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            allowed = 0 <= value <= 1 if field.name.endswith("_frac") else value >= 0
            require(
                field.name, value, allowed, "0 <= x <= 1" if "_frac" in field.name else "x >= 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gopher(_Limits):
    """Gopher's quality rules."""

    min_words: int
    max_words: int
    min_mean_word_chars: float
    max_mean_word_chars: float
    max_symbols_per_word: float
    max_bullet_lines_frac: float
    max_ellipsis_lines_frac: float
    min_alpha_words_frac: float
    min_stop_words: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition(_Limits):
    """Gopher's repetition rules."""

    max_copied_lines_frac: float
    max_copied_paragraphs_frac: float
    max_copied_line_chars_frac: float
    max_copied_paragraph_chars_frac: float
    max_top_2gram_chars_frac: float
    max_top_3gram_chars_frac: float
    max_top_4gram_chars_frac: float
    max_copied_5gram_chars_frac: float
    max_copied_6gram_chars_frac: float
    max_copied_7gram_chars_frac: float
    max_copied_8gram_chars_frac: float
    max_copied_9gram_chars_frac: float
    max_copied_10gram_chars_frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class C4(_Limits):
    """C4's page rules: too little, place-holder text, code, pages about cookies and scripts."""

    min_sentences: int
    max_lorem_ipsum: int
    max_brace_lines_frac: float
    max_policy_lines_frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fineweb(_Limits):
    """FineWeb's own rules: lists and menus that the other rules let pass."""

    min_terminal_lines_frac: float
    max_short_lines_frac: float
    max_copied_line_chars_frac: float
    max_newlines_per_word: float


class Bound(NamedTuple):
    """One limit: a drop's reason, the figure it looks at, and what may pass."""

    reason: str
    figure: str
    is_upper: bool
    limit: float


def bounds(groups: Mapping[str, Any]) -> tuple[Bound, ...]:
    """Returns the limits of rule groups in the order of their fields.

    Args:
        groups: Name of the group (the first part of the reason) to its limits.
    """
    found = []
    for name, group in groups.items():
        for field in fields(group):
            side, _, figure = field.name.partition("_")
            limit = float(getattr(group, field.name))
            found.append(Bound(f"{name}_{field.name}", figure, side == "max", limit))
    return tuple(found)


def first_failure(measured: Mapping[str, float], limits: Sequence[Bound]) -> Drop | None:
    """Returns the first limit that a text exceeds, None when it passes all."""
    for bound in limits:
        value = measured[bound.figure]
        if value > bound.limit if bound.is_upper else value < bound.limit:
            return Drop(bound.reason, f"{bound.figure} = {value:.4g}")
    return None


@cache
def edges(figure: str) -> list[float]:
    """Returns the left edges of a figure's histogram bins; the last bin has no right edge."""
    if figure in ("words", "sentences"):
        return [0.0, *(float(2**i) for i in range(4, 20))]
    if figure in ("mean_word_chars", "stop_words", "lorem_ipsum"):
        return [float(i) for i in range(16)]
    return [round(i / 20, 2) for i in range(21)]


def histogram_bin(figure: str, value: float) -> int:
    """Returns the number of the bin that a value falls into.

    >>> histogram_bin("words", 40.0), histogram_bin("bullet_lines_frac", 1.0)
    (2, 20)
    """
    return max(0, bisect_right(edges(figure), value) - 1)
