"""The longest run of words that an evaluation example and any document have in common.

    example     w w A B C D E F G H I w        one diagonal: word of the document minus word of
    document  w w w A B C D E F G H I w w      the example is the same all along a verbatim run

Found 8-grams are sorted by example and diagonal; the longest chain of neighbours is then extended
word by word to both sides. An 8-gram counts where it first begins in the example, so the run is
exact for examples that repeat none; in others a longer one can be missed that is broken by repeats.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.overlap import spans, words
from pipeline.overlap.evalgrams import NGRAM_WORDS, EvalGrams, Overlap

MAX_TEXT_CHARS = 2000  # of a run that is written down

# Pairs of places of one document; beyond it, an 8-gram counts at its first place there only.
_MAX_PAIRS = 1 << 23

SCHEMA = pa.schema(
    [
        ("example", pa.int32()),
        ("doc_id", pa.string()),
        ("doc_word", pa.int64()),
        ("example_word", pa.int64()),
        ("n_words", pa.int64()),
        ("text", pa.string()),
    ]
)


class Chains(NamedTuple):
    """For each example with a found 8-gram, its longest chain of neighbours.

    Attributes:
        owners: (n,) int32, ascending.
        lengths: (n,) int64, 8-grams.
        doc_words: (n,) int64, where the chain begins in the document.
        example_words: (n,) int64, and in the example.
    """

    owners: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int64]
    doc_words: npt.NDArray[np.int64]
    example_words: npt.NDArray[np.int64]


class Longest:
    """Collects the longest run of each example over documents, the first document of equals."""

    def __init__(self, grams: EvalGrams) -> None:
        """Starts without any."""
        self._grams = grams
        self._lengths = np.zeros(grams.examples.num_rows, np.int64)
        self._rows: dict[int, dict[str, Any]] = {}

    def see(self, doc_id: str, text: str, seen: Overlap) -> None:
        """Takes a document into account; `seen` is its overlap."""
        if not len(seen.found):
            return
        found = chains(self._grams, seen)
        better = np.flatnonzero(found.lengths > self._lengths[found.owners])
        if len(better):
            mine, (starts, ends) = words.split(text), spans.locate(text)
        for i in better:
            example = int(found.owners[i])
            first, at, n = _extend(
                mine,
                self._grams.words(example),
                (int(found.doc_words[i]), int(found.example_words[i])),
                int(found.lengths[i]) + NGRAM_WORDS - 1,
            )
            shown = text[starts[first] : ends[first + n - 1]][:MAX_TEXT_CHARS]
            self._lengths[example] = found.lengths[i]
            self._rows[example] = {
                "example": example,
                "doc_id": doc_id,
                "doc_word": first,
                "example_word": at,
                "n_words": n,
                "text": shown,
            }

    def table(self) -> pa.Table:
        """Returns one row per example that shares an 8-gram with any document."""
        rows = [self._rows[example] for example in sorted(self._rows)]
        return pa.Table.from_pylist(rows, SCHEMA)


def chains(grams: EvalGrams, seen: Overlap) -> Chains:
    """Returns the longest chain of each example that shares an 8-gram with a document."""
    places = np.flatnonzero(seen.is_found)
    if grams.count(seen.hashes[places])[1].sum() > _MAX_PAIRS:
        places = seen.places
    rows, which = grams.rows(seen.hashes[places])
    owners, at = grams.grams.owners[rows], grams.grams.offsets[rows].astype(np.int64)
    first = places[which]
    order = np.lexsort((first, first - at, owners))
    owners, at, first = owners[order], at[order], first[order]
    broken = np.ones(len(order), np.bool_)
    broken[1:] = (np.diff(owners) != 0) | (np.diff(first - at) != 0) | (np.diff(first) != 1)
    starts = np.flatnonzero(broken)
    lengths = np.diff(np.append(starts, len(order)))
    ranked = np.lexsort((first[starts], -lengths, owners[starts]))
    best = ranked[words.is_new(owners[starts][ranked])]
    begin = starts[best]
    return Chains(owners[begin], lengths[best], first[begin], at[begin])


def _extend(
    mine: list[bytes], theirs: list[bytes], at: tuple[int, int], n: int
) -> tuple[int, int, int]:
    """Returns a run of `n` equal words that begin at `at`, as far as it reaches on both sides."""
    i, j = at
    while i and j and mine[i - 1] == theirs[j - 1]:
        i, j, n = i - 1, j - 1, n + 1
    while i + n < len(mine) and j + n < len(theirs) and mine[i + n] == theirs[j + n]:
        n += 1
    return i, j, n
