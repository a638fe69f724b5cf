"""Figures of a text: what quality rules limit. Measured once, judged later (`pipeline.text.rules`).

The definitions are pinned here, because published implementations of the same rules differ:
- A word is what blanks separate; characters are those of words, without blanks.
- A line is a non-empty line without the blanks around it; paragraphs are separated by blank lines.
- A copy is an element (line, paragraph, n-gram) that is equal to an earlier one. Fractions are of
  copies among all, of characters in copies among all characters; no character counts twice.
- The top n-gram is the one that occurs most often (of these the longest), and at least twice.

Paper: Gopher (Rae et al. 2021), appendix A.1.1, table A1; C4 (Raffel et al. 2020), section 2.2;
    FineWeb (Penedo et al. 2024), section 3.6.
Deviation: C4 counts sentences with NLTK; here a sentence is a mark that ends one and a blank.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
_STOP_WORD_CHARS = max(map(len, _STOP_WORDS))
_BULLETS = ("•", "‣", "●", "▪", "◦", "-", "*", "–")
_ELLIPSES = ("...", "…")
_TERMINALS = (".", "!", "?", '"', "”", "’", "'", "…", ":", ";")
_SENTENCE_END = re.compile(r"""[.!?]["'”’)\]]*(?!\S)""")
_SHORT_LINE_CHARS = 30
_MIN_N, _MAX_N = 2, 10
_ID_FACTOR, _FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_N_SALT = np.arange(_MAX_N + 1, dtype=np.uint64) * np.uint64(0x94D049BB133111EB)
_SHIFT = np.uint64(29)
_HAS_LETTER = re.compile(r"[^\W\d_]")
POLICY_PHRASES = (  # C4's list and, by choice, the last; in lower case
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
    "all rights reserved",
)


class Ngrams(NamedTuple):
    """The n-grams of a text that occur more than once, for one n.

    Attributes:
        starts: Where they begin, in words, ascending: (n_repeated,) int64.
        codes: A number for each, equal for equal ones: (n_repeated,) int64.
        is_copy: Whether an equal one stands earlier in the text: (n_repeated,) bool.
    """

    starts: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    is_copy: npt.NDArray[np.bool_]


class Statistics:
    """What the figures are made of, computed once per text and only when asked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = text.split()
        self.lines = [line for line in map(str.strip, text.split("\n")) if line]
        self.vocabulary = list(dict.fromkeys(self.words))
        index = {word: i for i, word in enumerate(self.vocabulary)}
        # (n_words,) int64, equal for equal words
        self.word_ids = np.fromiter(map(index.__getitem__, self.words), np.int64, len(self.words))

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
    def chars_before(self) -> npt.NDArray[np.int64]:
        """Characters of all words before each word, and of all words: (n_words + 1,) int64."""
        return np.concatenate([[0], np.cumsum(self.word_chars)])

    @cached_property
    def ngrams(self) -> dict[int, Ngrams]:
        """The repeated n-grams for n = 2 to 10, as long as there are any.

        A longer n-gram can occur twice only where each 2-gram in it does. What is left is sorted
        once for all n, by 64-bit hashes: different ones share a hash in one of 10^7 texts of 10^6
        words. A sort for each n cost 2.5 times as much on pages of 500 words (measured).
        """
        ids = self.word_ids
        if len(ids) < _MIN_N:
            return {}
        pairs = _group(ids[:-1] * len(self.vocabulary) + ids[1:])
        n_on = _run_lengths(pairs.is_repeated)  # 2-grams in a row that are all repeated
        starts = np.flatnonzero(n_on)
        hashes = _ID_FACTOR * ids[starts].astype(np.uint64)
        places, keys = [], []
        for n in range(_MIN_N, _MAX_N + 1):
            longer = n_on[starts] >= n - 1
            starts, hashes = starts[longer], hashes[longer]
            hashes = (hashes ^ (hashes >> _SHIFT)) * _FACTOR + ids[starts + n - 1].astype(np.uint64)
            places.append(starts)
            keys.append(hashes + _N_SALT[n])
        return _by_length(places, _group(np.concatenate(keys)))


class _Groups(NamedTuple):
    """For each key of a list: the number of its value, whether it recurs, whether it came before.

    All (n,) and in the order of the list.
    """

    codes: npt.NDArray[np.int64]
    is_repeated: npt.NDArray[np.bool_]
    is_copy: npt.NDArray[np.bool_]


def _group(keys: npt.NDArray[Any]) -> _Groups:
    """Numbers equal keys alike, in the order of their values."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    edge = np.ones(len(keys) + 1, bool)  # before each key, and after the last
    np.not_equal(ordered[1:], ordered[:-1], out=edge[1:-1])
    codes = np.empty(len(keys), np.int64)
    is_repeated, is_copy = np.empty(len(keys), bool), np.empty(len(keys), bool)
    codes[order] = np.cumsum(edge[:-1]) - 1
    is_repeated[order] = ~(edge[:-1] & edge[1:])
    is_copy[order] = ~edge[:-1]
    return _Groups(codes, is_repeated, is_copy)


def _run_lengths(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Returns for each place how many flags from there on are set without a gap.

    >>> _run_lengths(np.array([True, True, False, True])).tolist()
    [2, 1, 0, 1]
    """
    here = np.arange(len(flags))
    stops = np.where(flags, len(flags), here)
    return np.minimum.accumulate(stops[::-1])[::-1] - here


def _by_length(places: list[npt.NDArray[np.int64]], groups: _Groups) -> dict[int, Ngrams]:
    """Splits what was grouped together into one entry for each n that has repeated n-grams."""
    found, begin = {}, 0
    for n, starts in enumerate(places, _MIN_N):
        part = slice(begin, begin + len(starts))
        begin += len(starts)
        kept = groups.is_repeated[part]
        if kept.any():
            found[n] = Ngrams(starts[kept], groups.codes[part][kept], groups.is_copy[part][kept])
    return found


def figures(text: str) -> dict[str, float]:
    """Returns every figure that a rule may limit; all are 0 for a text without words.

    >>> round(figures("a cat and a dog")["mean_word_chars"], 2)
    2.2
    """
    return measured(Statistics(text))


def measured(statistics: Statistics) -> dict[str, float]:
    """Returns every figure of a text whose statistics are there already."""
    if not statistics.words:
        return dict.fromkeys(FIGURES, 0.0)
    return {name: float(figure(statistics)) for name, figure in FIGURES.items()}


def mean_word_chars(s: Statistics) -> float:
    """Mean length of a word."""
    return float(s.chars_before[-1]) / len(s.words)


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
    has_letter = [word.isalpha() or bool(_HAS_LETTER.search(word)) for word in s.vocabulary]
    return float(np.asarray(has_letter)[s.word_ids].sum()) / len(s.words)


def stop_words(s: Statistics) -> int:
    """How many of Gopher's eight stop words occur."""
    short = {word.lower() for word in s.vocabulary if len(word) <= _STOP_WORD_CHARS}
    return len(_STOP_WORDS & short)


def sentences(s: Statistics) -> int:
    """Marks that end a sentence, with quotes and brackets closed after them.

    >>> sentences(Statistics('He said "no." Version 1.2 works (really!). Why?'))
    3
    """
    return len(_SENTENCE_END.findall(s.text))


def lorem_ipsum(s: Statistics) -> int:
    """Occurrences of the printers' place-holder."""
    return s.lowered.count("lorem ipsum")


def brace_lines_frac(s: Statistics) -> float:
    """Lines with a curly brace."""
    if "{" not in s.text and "}" not in s.text:
        return 0.0
    return sum("{" in line or "}" in line for line in s.lines) / len(s.lines)


def policy_lines_frac(s: Statistics) -> float:
    """Lines about scripts, cookies, privacy and terms of use."""
    if not is_policy(s.lowered):
        return 0.0
    return sum(is_policy(line.lower()) for line in s.lines) / len(s.lines)


def is_policy(lowered: str) -> bool:
    """Returns whether a line in lower case is about scripts, cookies, privacy or terms of use."""
    return any(phrase in lowered for phrase in POLICY_PHRASES)


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
    starts, codes, _ = s.ngrams[n]
    ranks = codes - codes.min()
    counts = np.bincount(ranks)[ranks]
    chars = s.chars_before[starts + n] - s.chars_before[starts]
    top = int(np.argmax(np.where(counts == counts.max(), chars, -1)))
    return _covered_chars_frac(s, starts[codes == codes[top]], n)


def copied_ngram_chars_frac(s: Statistics, n: int) -> float:
    """Characters in n-grams that are equal to an earlier one.

    >>> copied_ngram_chars_frac(Statistics("a b c d a b c d e"), 4)
    0.4444444444444444
    """
    if n not in s.ngrams:
        return 0.0
    return _covered_chars_frac(s, s.ngrams[n].starts[s.ngrams[n].is_copy], n)


def _covered_chars_frac(s: Statistics, starts: npt.NDArray[np.int64], n: int) -> float:
    """Characters of the words in n-grams that begin at `starts` (ascending), each word once."""
    ends = starts + n
    fresh = np.maximum(starts[1:], ends[:-1])  # what the n-gram before covers counts there
    first = s.chars_before[ends[0]] - s.chars_before[starts[0]]
    covered = first + (s.chars_before[ends[1:]] - s.chars_before[fresh]).sum()
    return float(covered) / float(s.chars_before[-1])


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
    "sentences": sentences,
    "lorem_ipsum": lorem_ipsum,
    "brace_lines_frac": brace_lines_frac,
    "policy_lines_frac": policy_lines_frac,
    "terminal_lines_frac": terminal_lines_frac,
    "short_lines_frac": short_lines_frac,
    "newlines_per_word": newlines_per_word,
}
