"""A Bloom filter over 64-bit hashes: a set that may say yes wrongly, at a rate that is chosen.

A key's first position is its mixed hash, each further one the mix of the one before; the upper
bits of a position name one of 2^b bits. The size is a power of two so that no position is ever cut
to the wrong range (a filter in the field masks with a byte count and reaches a handful of bits).

Deviation: not double hashing (h1 + i * h2). Its positions hang on two numbers, and in a filter of m
bits two keys have all of them in common with a probability of about m^-2: two keys in 64 bits gave
164 hits among a million strangers here. Below 2^20 bits that alone is more than the paper's 1e-8.

The rate of a filled filter is computed from the bits that are set, not from the number of keys:
(set bits / m)^k. `build` doubles the filter until that rate is the wanted one.

Paper: GPT-2, section 4: false positive rate at most 1e-8, checked with a million random strings.
"""

from dataclasses import dataclass
from functools import cache
from math import exp

import numpy as np
import numpy.typing as npt

from pipeline.overlap.words import Hashes, hash_words, mix, ngrams, sequence, split
from pipeline.store.errors import ShardError

N_RANDOM = 1_000_000

_RANDOM_SEED = 8
_MIN_LOG2_BITS = 6  # one 64-bit word
_MAX_HASHES = 12  # 50 bits per key at a rate of 1e-8; the least possible, 38, needs 27 positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Bloom:
    """A filled filter.

    Attributes:
        bits: (2^b / 64,) uint64.
        n_hashes: Positions per key.
    """

    bits: Hashes
    n_hashes: int

    @property
    def n_set(self) -> int:
        """Bits that are set."""
        return int(np.bitwise_count(self.bits).sum())

    @property
    def fp(self) -> float:
        """Rate of wrong yes-answers, from bits, positions and fill.

        >>> Bloom(bits=np.uint64([2**32 - 1]), n_hashes=3).fp
        0.125
        """
        return (self.n_set / (64 * len(self.bits))) ** self.n_hashes

    def contains(self, keys: Hashes) -> npt.NDArray[np.bool_]:
        """Returns (n,) bool: False is certain, True may be wrong.

        Each round looks at one position of the keys that are still in question, so an absent key
        costs about two rounds, not k.
        """
        answer = np.zeros(len(keys), np.bool_)
        asked, position = np.arange(len(keys)), keys
        for _ in range(self.n_hashes):
            position = mix(position)
            word, bit = _place(position, len(self.bits))
            alive = (self.bits[word] & bit) != 0
            asked, position = asked[alive], position[alive]
            if not len(asked):
                break
        answer[asked] = True
        return answer


def build(keys: Hashes, max_fp: float) -> Bloom:
    """Returns a filter of these keys whose rate, measured by its fill, is at most the wanted one.

    >>> keys = sequence(1, 1000)
    >>> filled = build(keys, 1e-8)
    >>> bool(filled.contains(keys).all()), filled.fp <= 1e-8
    (True, True)
    """
    log2_bits, n_hashes = shape(len(keys), max_fp)
    filled = _fill(keys, log2_bits, n_hashes)
    while filled.fp > max_fp:  # chance filled a small filter more than expected
        log2_bits += 1
        filled = _fill(keys, log2_bits, n_hashes)
    return filled


def _fill(keys: Hashes, log2_bits: int, n_hashes: int) -> Bloom:
    bits = np.zeros(2**log2_bits // 64, np.uint64)
    position = keys
    for _ in range(n_hashes):
        position = mix(position)
        np.bitwise_or.at(bits, *_place(position, len(bits)))
    return Bloom(bits=bits, n_hashes=n_hashes)


def shape(n_keys: int, max_fp: float) -> tuple[int, int]:
    """Returns (log2 of the number of bits, positions per key) for n keys and a rate.

    The least power of two that reaches the rate with few positions, and the least number of them
    that does: positions cost time in every look-up, bits only memory.

    >>> shape(1_000_000, 1e-8)
    (26, 9)
    """
    for log2_bits in range(_MIN_LOG2_BITS, 64):
        for n_hashes in range(1, _MAX_HASHES + 1):
            if expected_fp(n_keys, log2_bits, n_hashes) <= max_fp:
                return log2_bits, n_hashes
    raise ValueError(f"no Bloom filter of 2^63 bits holds {n_keys} keys at a rate of {max_fp}")


def expected_fp(n_keys: int, log2_bits: int, n_hashes: int) -> float:
    """Returns the rate of wrong yes-answers, (1 - e^(-k n / m))^k."""
    return (1 - exp(-n_hashes * n_keys / 2**log2_bits)) ** n_hashes


@cache
def random_ngrams(n: int, n_words: int) -> Hashes:
    """Returns the hashes of `n` runs of random words, made as strings and read like any text.

    >>> len(random_ngrams(100, 8))
    100
    """
    numbers = sequence(_RANDOM_SEED, n + n_words - 1).astype("<u8")
    hashes = ngrams(hash_words(split(numbers.tobytes().hex(" ", -8))), n_words)
    hashes.flags.writeable = False  # the same array for all who ask
    return hashes


def check(bloom: Bloom, keys: Hashes, strangers: Hashes, max_fp: float) -> int:
    """Returns how many strangers the filter wrongly holds.

    Args:
        bloom: The filter.
        keys: What was added to it.
        strangers: What was not, e.g. `random_ngrams`.
        max_fp: The rate that was asked for.

    Raises:
        ShardError: If it lacks one of its own keys, if its fill means a higher rate, or if it holds
            more strangers than the rate allows by five standard deviations.
    """
    if not bloom.contains(keys).all():
        raise ShardError("Bloom filter self-test: the filter lacks keys that were added to it")
    if bloom.fp > max_fp:
        raise ShardError(
            f"Bloom filter self-test: {bloom.n_set} of {64 * len(bloom.bits)} bits are set, which "
            f"with {bloom.n_hashes} positions is a rate of {bloom.fp:.3g}; allowed {max_fp:g}"
        )
    n_false = int(bloom.contains(strangers).sum())
    expected = max_fp * len(strangers)
    if n_false > expected + 5 * expected**0.5 + 2:
        raise ShardError(
            f"Bloom filter self-test: {n_false} of {len(strangers)} random keys are found; "
            f"at most {expected:g} were expected at a rate of {max_fp:g}"
        )
    return n_false


def _place(position: Hashes, n_words: int) -> tuple[Hashes, Hashes]:
    """Returns the word that holds each position, and the bit in it, as a mask."""
    bit = position >> np.uint64(64 - (n_words * 64).bit_length() + 1)
    return bit >> np.uint64(6), np.uint64(1) << (bit & np.uint64(63))
