"""MinHash signatures of word shingles and their bands (locality-sensitive hashing).

    text ──> words ──> 5-grams ──> min over shingles of a_i * h + b_i ──> bands x rows ──> keys
                                   (one value per permutation i)           (one per band)

Two texts whose shingle sets have Jaccard similarity s agree in one row with probability s, in one
whole band with s^rows, in at least one band with 1 - (1 - s^rows)^bands. With 14 bands of 8 rows
that is .05 at s = .5, .56 at .7, .92 at .8 and 1.0 at .9; the middle of the curve is at .72.

A text of fewer words than a shingle has one shingle, the whole text, and so equals texts of the
same words only; a text without words has none and takes part in exact matching only.

Many texts are signed at once: one pass per permutation over the shingles of all of them, in the
cache, then the least of each text. The images are 32-bit: 3 times as fast as 64-bit ones, and two
unlike texts of n shingles agree in a row by chance n / 2^32 of the time, in a band that to the 8th.

Deviation: an image is a * h mod 2^32 with a and h odd, not (a * h + b) mod a prime. It is a
bijection of h, its top bits, which decide a minimum, depend on all of h, and h is well mixed. On
20,000 planted pairs per level the share caught lay within two standard deviations of the curve
with and without b; without it a permutation costs a third less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.overlap import words
from pipeline.overlap.words import Ends, Hashes
from pipeline.store.config import require

Minima = npt.NDArray[np.uint32]

_HIGH = np.uint64(32)
_ODD = np.uint32(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Shape of the signatures; every value decides which pairs become candidates."""

    shingle_words: int
    bands: int
    rows: int
    seed: int

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        require("shingle_words", self.shingle_words, 1 <= self.shingle_words <= 50, "1 to 50")
        require("bands", self.bands, 1 <= self.bands <= 1000, "1 to 1000")
        require("rows", self.rows, 1 <= self.rows <= 100, "1 to 100")
        require("seed", self.seed, 0 <= self.seed < 2**63, "0 <= x < 2^63")


class Shingles(NamedTuple):
    """The shingles of several texts, one text after the other, repeated ones included.

    Attributes:
        hashes: (n_shingles,) uint64.
        ends: (n_texts,) int64, how many shingles there are up to the end of each text.
    """

    hashes: Hashes
    ends: Ends


def shingles(text: str, n: int) -> Hashes:
    """Returns the set of shingles of a text as sorted, distinct uint64.

    >>> len(shingles("a rose is a rose is a rose", 3)), len(shingles("a rose", 3))
    (3, 1)
    """
    return shingle_sets([text], n)[0]


def shingle_sets(texts: Sequence[str], n: int) -> list[Hashes]:
    """Returns the set of shingles of each text as sorted, distinct uint64."""
    hashes, ends = all_shingles(texts, n)
    return [words.distinct(part) for part in np.split(hashes, ends[:-1])]


def all_shingles(texts: Sequence[str], n: int) -> Shingles:
    """Returns the shingles of texts in order.

    Args:
        texts: Better some hundred kilobytes of them at once than one: a call costs 50 microseconds.
        n: Words per shingle.
    """
    hashed, ends = words.hash_texts(texts)
    starts = np.append(0, ends)[:-1]
    n_words = ends - starts
    grams = words.ngrams(hashed, n)
    whole = np.ones(len(grams), np.bool_)  # no shingle crosses from one text into the next
    for before in range(1, n):
        places = ends[:-1] - before
        whole[places[(places >= 0) & (places < len(grams))]] = False
    short = np.flatnonzero((n_words > 0) & (n_words < n))
    n_shingles = np.where(n_words < n, 0, n_words - n + 1)
    kept = grams[whole]
    if len(short):
        places = np.append(0, np.cumsum(n_shingles))[short]
        only = [words.ngrams(hashed[starts[i] : ends[i]], int(n_words[i])) for i in short]
        kept = np.insert(kept, places, np.concatenate(only))
        n_shingles[short] = 1
    return Shingles(kept, np.cumsum(n_shingles))


def jaccard(a: Hashes, b: Hashes) -> float:
    """Returns |a & b| / |a | b| of two sets of shingles; two empty sets have nothing in common.

    >>> sets = shingles("a b c d", 1), shingles("c d e", 1)
    >>> jaccard(*sets), jaccard(sets[0], sets[0])
    (0.4, 1.0)
    """
    both = np.concatenate((a, b))
    both.sort()
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    return common / (len(both) - common) if common else 0.0


@cache
def permutations(config: Config) -> Minima:
    """Returns (bands * rows,) odd uint32 from the seed, one multiplier per permutation."""
    drawn = words.sequence(config.seed, config.bands * config.rows)
    return (drawn >> _HIGH).astype(np.uint32) | _ODD


def signatures(shingled: Shingles, config: Config) -> Minima:
    """Returns (n_texts, bands * rows) uint32, per text the least image under each permutation.

    Args:
        shingled: Texts of at least one shingle each; order and repetition of shingles change
            nothing.
        config: Shape and seed.
    """
    hashes = (shingled.hashes >> _HIGH).astype(np.uint32) | _ODD
    starts = np.append(0, shingled.ends)[:-1]
    least = np.empty((config.bands * config.rows, len(starts)), np.uint32)
    images = np.empty_like(hashes)
    for row, multiplier in enumerate(permutations(config) if len(starts) else ()):
        np.multiply(hashes, multiplier, out=images)
        np.minimum.reduceat(images, starts, out=least[row])
    return least.T


def band_keys(minima: Minima, config: Config) -> Hashes:
    """Returns (n, bands) uint64, one key per band, which includes the band's number.

    Args:
        minima: (n, bands * rows) uint32 from `signatures`.
        config: Shape.
    """
    bands = minima.reshape(-1, config.bands, config.rows)
    keys = np.tile(np.arange(config.bands, dtype=np.uint64), (len(bands), 1))
    for row in range(config.rows):
        keys = words.mix(keys ^ bands[:, :, row])
    return keys


def caught_frac(similarity: float, config: Config) -> float:
    """Returns the probability that a pair of this Jaccard similarity shares a band.

    >>> round(caught_frac(0.8, Config(shingle_words=5, bands=14, rows=8, seed=1)), 2)
    0.92
    """
    return float(1 - (1 - similarity**config.rows) ** config.bands)
