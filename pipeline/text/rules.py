"""Quality rules: figures of a text, and limits on them.

A limit's name says what it limits: `max_bullet_lines_frac` is the largest `bullet_lines_frac` that
may pass. The groups are those of the papers; the definitions are pinned here, because published
implementations of the same rules differ:
- A word is what blanks separate; characters are those of words, without blanks.
- A line is a non-empty line without the blanks around it; paragraphs are separated by blank lines.
- A copy is an element (line, paragraph, n-gram) that is equal to an earlier one. Fractions are of
  copies among all, of characters in copies among all characters; no character counts twice.
- The top n-gram is the one that occurs most often (of these the longest), and at least twice.

Paper: Gopher (Rae et al. 2021), appendix A.1.1, table A1; C4 (Raffel et al. 2020), section 2.2;
    FineWeb (Penedo et al. 2024), section 3.6.
Deviation: C4 removes lines with policy phrases and every page with a brace; here their share is
    limited.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.store.config import require
from pipeline.store.records import Drop

_STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
_BULLETS = ("•", "‣", "●", "▪", "◦", "-", "*", "–")
_ELLIPSES = ("...", "…")
_TERMINALS = (".", "!", "?", '"', "”", "’", "'", "…", ":", ";")
_SHORT_LINE_CHARS = 30
_HAS_LETTER = re.compile(r"[^\W\d_]")
_POLICY = re.compile(  # in lower case
    "javascript|terms of use|privacy policy|cookie policy|uses? (?:of )?cookies|all rights reserved"
)


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
    """C4's page rules: place-holder text, code, and pages about cookies and scripts."""

    max_lorem_ipsum: int
    max_brace_lines_frac: float
    max_policy_lines_frac: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fineweb(_Limits):
    """FineWeb's own rules: lists and menus that the other rules let pass."""

    min_terminal_lines_frac: float
    max_short_lines_frac: float
    max_newlines_per_word: float


class Bound(NamedTuple):
    """One limit: a drop's reason, the figure it looks at, and what may pass."""

    reason: str
    figure: str
    is_upper: bool
    limit: float


class Ngrams(NamedTuple):
    """All n-grams of a text for one n.

    Attributes:
        codes: A number for each n-gram in text order, equal for equal ones: (n_words-n+1,) int64.
        first: Where each different one occurs first: (n_different,) int64.
    """

    codes: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]


class Statistics:
    """What the figures are made of, computed once per text and only when asked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = text.split()
        self.lines = [line for line in map(str.strip, text.split("\n")) if line]
        index: dict[str, int] = {}
        ids = [index.setdefault(word, len(index)) for word in self.words]
        self.word_ids = np.asarray(ids, np.int64)  # (n_words,), equal for equal words
        self.vocabulary = list(index)

    @cached_property
    def lowered(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    @cached_property
    def paragraphs(self) -> list[str]:
        """Blocks between blank lines."""
        return [block for block in map(str.strip, re.split(r"\n\s*\n", self.text)) if block]

    @cached_property
    def word_chars(self) -> npt.NDArray[np.int64]:
        """Characters of each word: (n_words,) int64."""
        return np.fromiter(map(len, self.vocabulary), np.int64)[self.word_ids]

    @cached_property
    def ngrams(self) -> dict[int, Ngrams]:
        """The n-grams for n = 2 to 10, as long as any of them occurs twice.

        Numbers of n-grams come from those of (n-1)-grams and words, so no n-gram is ever built.
        """
        codes, found = self.word_ids, {}
        for n in range(2, min(10, len(self.words)) + 1):
            pairs = codes[:-1] * len(self.vocabulary) + self.word_ids[n - 1 :]
            values, first, codes = np.unique(pairs, return_index=True, return_inverse=True)
            if len(values) == len(pairs):
                break  # where no n-gram occurs twice, no longer one does
            found[n] = Ngrams(codes, first)
        return found


def figures(text: str) -> dict[str, float]:
    """Returns every figure that a rule may limit; all are 0 for a text without words.

    >>> round(figures("a cat and a dog")["mean_word_chars"], 2)
    2.2
    """
    statistics = Statistics(text)
    if not statistics.words:
        return dict.fromkeys(FIGURES, 0.0)
    return {name: float(figure(statistics)) for name, figure in FIGURES.items()}


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


# ── the figures ──────────────────────────────────────────────────────────────────────────────────


def mean_word_chars(s: Statistics) -> float:
    """Mean length of a word."""
    return float(s.word_chars.sum()) / len(s.words)


def symbols_per_word(s: Statistics) -> float:
    """Hash signs or ellipses per word, whichever are more."""
    return max(s.text.count("#"), sum(map(s.text.count, _ELLIPSES))) / len(s.words)


def bullet_lines_frac(s: Statistics) -> float:
    """Lines that begin with a bullet."""
    return sum(line.startswith(_BULLETS) for line in s.lines) / len(s.lines)


def ellipsis_lines_frac(s: Statistics) -> float:
    """Lines that end in an ellipsis."""
    return sum(line.endswith(_ELLIPSES) for line in s.lines) / len(s.lines)


def alpha_words_frac(s: Statistics) -> float:
    """Words with at least one letter."""
    has_letter = [bool(_HAS_LETTER.search(word)) for word in s.vocabulary]
    return float(np.asarray(has_letter)[s.word_ids].sum()) / len(s.words)


def stop_words(s: Statistics) -> int:
    """How many of Gopher's eight stop words occur."""
    return len(_STOP_WORDS.intersection(map(str.lower, s.vocabulary)))


def lorem_ipsum(s: Statistics) -> int:
    """Occurrences of the printers' place-holder."""
    return s.lowered.count("lorem ipsum")


def brace_lines_frac(s: Statistics) -> float:
    """Lines with a curly brace."""
    return sum("{" in line or "}" in line for line in s.lines) / len(s.lines)


def policy_lines_frac(s: Statistics) -> float:
    """Lines about scripts, cookies, privacy and terms of use."""
    if not _POLICY.search(s.lowered):
        return 0.0
    return sum(bool(_POLICY.search(line.lower())) for line in s.lines) / len(s.lines)


def terminal_lines_frac(s: Statistics) -> float:
    """Lines that end like a sentence."""
    return sum(line.endswith(_TERMINALS) for line in s.lines) / len(s.lines)


def short_lines_frac(s: Statistics) -> float:
    """Lines of at most 30 characters."""
    return sum(len(line) <= _SHORT_LINE_CHARS for line in s.lines) / len(s.lines)


def newlines_per_word(s: Statistics) -> float:
    """Line ends per word."""
    return s.text.count("\n") / len(s.words)


def copied_frac(elements: Sequence[str]) -> float:
    """Elements that are equal to an earlier one.

    >>> copied_frac(["a", "b", "a", "a"])
    0.5
    """
    return (len(elements) - len(set(elements))) / len(elements)


def copied_chars_frac(elements: Sequence[str]) -> float:
    """Characters in elements that are equal to an earlier one.

    >>> copied_chars_frac(["abc", "d", "abc", "e"])
    0.375
    """
    total = sum(map(len, elements))
    return (total - sum(map(len, set(elements)))) / total


def top_ngram_chars_frac(s: Statistics, n: int) -> float:
    """Characters in the most frequent n-gram, if it occurs at least twice.

    >>> round(top_ngram_chars_frac(Statistics("so it is so it was to be to"), 2), 3)
    0.421
    """
    if n not in s.ngrams:
        return 0.0
    codes = s.ngrams[n].codes
    counts = np.bincount(codes)
    chars = np.convolve(s.word_chars, np.ones(n, np.int64), "valid")
    longest = int(np.argmax(np.where(counts[codes] == counts.max(), chars, -1)))
    return _covered_chars_frac(s, np.flatnonzero(codes == codes[longest]), n)


def copied_ngram_chars_frac(s: Statistics, n: int) -> float:
    """Characters in n-grams that are equal to an earlier one.

    >>> copied_ngram_chars_frac(Statistics("a b c d a b c d e"), 4)
    0.4444444444444444
    """
    if n not in s.ngrams:
        return 0.0
    is_copy = np.ones(len(s.ngrams[n].codes), bool)
    is_copy[s.ngrams[n].first] = False
    return _covered_chars_frac(s, np.flatnonzero(is_copy), n)


def _covered_chars_frac(s: Statistics, starts: npt.NDArray[np.intp], n: int) -> float:
    """Characters of the words in n-grams that begin at `starts`, each word once."""
    change = np.zeros(len(s.words) + 1, np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + n, -1)
    covered = np.cumsum(change[:-1]) > 0
    return float(s.word_chars[covered].sum()) / float(s.word_chars.sum())


FIGURES: dict[str, Callable[[Statistics], float]] = {
    "words": lambda s: len(s.words),
    "mean_word_chars": mean_word_chars,
    "symbols_per_word": symbols_per_word,
    "bullet_lines_frac": bullet_lines_frac,
    "ellipsis_lines_frac": ellipsis_lines_frac,
    "alpha_words_frac": alpha_words_frac,
    "stop_words": stop_words,
    "copied_lines_frac": lambda s: copied_frac(s.lines),
    "copied_paragraphs_frac": lambda s: copied_frac(s.paragraphs),
    "copied_line_chars_frac": lambda s: copied_chars_frac(s.lines),
    "copied_paragraph_chars_frac": lambda s: copied_chars_frac(s.paragraphs),
    **{f"top_{n}gram_chars_frac": partial(top_ngram_chars_frac, n=n) for n in (2, 3, 4)},
    **{f"copied_{n}gram_chars_frac": partial(copied_ngram_chars_frac, n=n) for n in range(5, 11)},
    "lorem_ipsum": lorem_ipsum,
    "brace_lines_frac": brace_lines_frac,
    "policy_lines_frac": policy_lines_frac,
    "terminal_lines_frac": terminal_lines_frac,
    "short_lines_frac": short_lines_frac,
    "newlines_per_word": newlines_per_word,
}


# ── histograms for the report ────────────────────────────────────────────────────────────────────


@cache
def edges(figure: str) -> list[float]:
    """Returns the left edges of a figure's histogram bins; the last bin has no right edge."""
    if figure == "words":
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
