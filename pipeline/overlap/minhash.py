"""MinHash signatures of word shingles and their bands (locality-sensitive hashing).

    text ──> words ──> 5-grams ──> min over shingles of a_i * h + b_i ──> bands x rows ──> keys
                                   (one value per permutation i)           (one per band)

Two texts whose shingle sets have Jaccard similarity s agree in one row with probability s, in one
whole band with s^rows, in at least one band with 1 - (1 - s^rows)^bands. With 14 bands of 8 rows
that is .05 at s = .5, .56 at .7, .92 at .8 and 1.0 at .9; the middle of the curve is at .72.

A text of fewer words than a shingle has one shingle, the whole text, and so equals texts of the
same words only; a text without words has none and takes part in exact matching only.

Deviation: a * h + b is taken mod 2^64, not mod a prime. The top bits, which decide a minimum,
depend on all bits of h, and h is well mixed; the error bound of the estimate is tested, and a run
measures its own recall on planted pairs before it starts.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from pipeline.overlap import words
from pipeline.overlap.words import Hashes
from pipeline.store.config import require

_BLOCK = 1024  # shingles per step: 112 permutations x 1024 x 8 B stay in the L2 cache
_MAX = np.uint64(2**64 - 1)


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


def shingles(text: str, n: int) -> Hashes:
    """Returns the set of shingles of a text as sorted, distinct uint64.

    >>> len(shingles("a rose is a rose is a rose", 3)), len(shingles("a rose", 3))
    (3, 1)
    """
    return words.distinct(all_shingles(text, n))


def all_shingles(text: str, n: int) -> Hashes:
    """Returns the shingles of a text in order, repeated ones included."""
    hashed = words.hash_words(words.split(text))
    return words.ngrams(hashed, max(1, min(n, len(hashed))))


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
def permutations(config: Config) -> tuple[Hashes, Hashes]:
    """Returns multipliers (odd) and addends, each (bands * rows, 1) uint64, from the seed."""
    n = config.bands * config.rows
    drawn = words.sequence(config.seed, 2 * n).reshape(2, n, 1)
    return drawn[0] | np.uint64(1), drawn[1]


def signature(hashes: Hashes, config: Config) -> Hashes:
    """Returns (bands * rows,) uint64, the least image of any shingle under each permutation.

    Args:
        hashes: Shingles, at least one; order and repetition change nothing.
        config: Shape and seed.
    """
    multiply, add = permutations(config)
    least = np.full(len(multiply), _MAX)
    for start in range(0, len(hashes), _BLOCK):
        images = multiply * hashes[start : start + _BLOCK]
        images += add
        np.minimum(least, images.min(axis=1), out=least)
    return least


def band_keys(signatures: Hashes, config: Config) -> Hashes:
    """Returns (n, bands) uint64, one key per band, which includes the band's number.

    Args:
        signatures: (n, bands * rows) uint64.
        config: Shape.
    """
    bands = signatures.reshape(-1, config.bands, config.rows)
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
