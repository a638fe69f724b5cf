"""Matched spans of a document: where they are, whose they are, and the document without them.

    positions    0 1 2 3 4 5 6 7 8 9         one 8-gram begins at each word
    found        . x x x . . . . x .
    spans          [1 .. 3 + 7]   [8 .. 8 + 7]   runs of found positions, in words

A span is a longest run of words all of whose 8-grams occur in evaluation examples. `pieces` takes
spans out with a margin and returns what is left, unless it is too short.
Paper: GPT-3 (Brown et al. 2020), appendix C: 200 characters go on each side of a 13-gram; pieces
below 200 characters and documents in more than 10 pieces go too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.store.config import require

_WORD = re.compile(r"[^\W_]+")
_SPACE = re.compile(r"\s")

Places = npt.NDArray[np.int64]


class Span(NamedTuple):
    """A stretch of a text, in characters."""

    start: int
    end: int


def runs(found: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns the first and the last position of each run of True.

    >>> runs(np.array([False, True, True, False, True]))
    [(1, 2), (4, 4)]
    """
    steps = np.diff(np.concatenate([[False], found, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def locate(text: str) -> tuple[Places, Places]:
    """Returns where each word of `words.split(text)` begins and ends in the text, in characters.

    >>> starts, ends = locate("Don't PANIC")
    >>> starts.tolist(), ends.tolist()
    ([0, 4, 6], [3, 5, 11])
    """
    lower = text.lower()
    found = np.array([match.span() for match in _WORD.finditer(lower)], np.int64).reshape(-1, 2)
    starts, ends = found[:, 0], found[:, 1]
    if len(lower) != len(text):  # one character became several, as the dotted capital I does
        origin = np.repeat(np.arange(len(text)), [len(letter.lower()) for letter in text])
        starts, ends = origin[starts], origin[ends - 1] + 1
    return starts, ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How spans are taken out of a document.

    Attributes:
        min_words: Shorter spans stay.
        margin_chars: What is cut on each side as well; a cut then grows to the next white space.
        min_piece_chars: Shorter pieces between two cuts go too.
        max_pieces: A document that falls into more is dropped as a whole.
    """

    min_words: int
    margin_chars: int
    min_piece_chars: int
    max_pieces: int

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        require("min_words", self.min_words, self.min_words >= 1, "x >= 1")
        require("margin_chars", self.margin_chars, self.margin_chars >= 0, "x >= 0")
        require("min_piece_chars", self.min_piece_chars, self.min_piece_chars >= 1, "x >= 1")
        require("max_pieces", self.max_pieces, self.max_pieces >= 1, "x >= 1")


def pieces(text: str, cuts: Sequence[Span], cutting: Cutting) -> list[str]:
    """Returns what is left of a text between widened cuts, pieces that are too short left out.

    >>> four = Cutting(min_words=1, margin_chars=0, min_piece_chars=3, max_pieces=9)
    >>> pieces('one "two" three, a', [Span(5, 8)], four)
    ['one', 'three, a']
    """
    widened = sorted(_widen(text, cut, cutting.margin_chars) for cut in cuts)
    left, end = [], 0
    for cut in [*widened, Span(len(text), len(text))]:
        left.append(text[end : cut.start].strip())
        end = max(end, cut.end)
    return [piece for piece in left if len(piece) >= cutting.min_piece_chars]


def _widen(text: str, cut: Span, margin: int) -> Span:
    """Returns a cut with its margin, up to white space, so that no word is left in half."""
    start, end = max(0, cut.start - margin), min(len(text), cut.end + margin)
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    space = _SPACE.search(text, end)
    return Span(start, space.start() if space else len(text))
