"""Dedup's self-test: planted pairs of known Jaccard similarity, before any document is judged.

A probabilistic step that is broken does nothing, or removes nearly everything, without an error (a
filter that was never consulted, 99 % of a source removed: both happened to others). So each run
sends pairs through the very functions it will use and compares what it caught with theory.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from pipeline.overlap import minhash
from pipeline.overlap.cluster import Verified
from pipeline.overlap.signatures import sign
from pipeline.store.errors import ShardError

_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_N_PAIRS = 100
_N_UNION = 120  # shingles of both texts together; every level is a whole number of them
_SIGMAS = 5  # a sound run fails once in 10^6


def pair(level: float, number: int, n: int) -> tuple[str, str]:
    """Returns two texts whose sets of n-word shingles have exactly this Jaccard similarity.

    Both begin with the same words and end in words of their own, and all words differ, so the
    shared words make the shared shingles: s of them and t of each text's own, s / (s + 2 t).

    >>> a, b = pair(0.8, 0, 5)
    >>> minhash.jaccard(minhash.shingles(a, 5), minhash.shingles(b, 5))
    0.8
    """
    own = round(_N_UNION * (1 - level) / 2)
    shared = [f"s{number}x{i}" for i in range(_N_UNION - 2 * own + n - 1)]
    tails = ([f"{side}{number}x{i}" for i in range(own)] for side in "ab")
    first, second = (" ".join(shared + tail) for tail in tails)
    return first, second


def examine(config: minhash.Config, threshold: float) -> list[dict[str, Any]]:
    """Returns, per level of similarity, how many planted pairs were caught and how many expected.

    Raises:
        ShardError: If a level's count is not what the curve says, a similarity is not the planted
            one, or a pair is joined below the threshold or not joined above it.
    """
    unlike = (pair(1.0, 0, config.shingle_words)[0], pair(1.0, 1, config.shingle_words)[0])
    if _n_sharing([unlike], config):
        raise ShardError("dedup self-test: two texts without a common word share a band")
    return [_examine_level(level, config, threshold) for level in _LEVELS]


def _examine_level(level: float, config: minhash.Config, threshold: float) -> dict[str, Any]:
    pairs = [pair(level, number, config.shingle_words) for number in range(_N_PAIRS)]
    found = _n_sharing(pairs, config)
    expected = minhash.caught_frac(level, config)
    margin = _SIGMAS * sqrt(expected * (1 - expected) / _N_PAIRS) + 2 / _N_PAIRS
    if abs(found / _N_PAIRS - expected) > margin:
        raise ShardError(
            f"dedup self-test: {found} of {_N_PAIRS} planted pairs of Jaccard {level} share a "
            f"band; expected {expected * _N_PAIRS:.0f} +- {margin * _N_PAIRS:.0f}; "
            "the candidate search is broken"
        )
    _check_verdict(pairs[0], level, config, threshold)
    return {
        "jaccard": level,
        "n_pairs": _N_PAIRS,
        "found_frac": found / _N_PAIRS,
        "expected_frac": round(expected, 4),
    }


def _n_sharing(pairs: Sequence[tuple[str, str]], config: minhash.Config) -> int:
    """Returns how many pairs share a band."""
    keys = [
        minhash.band_keys(np.stack([sign(text, config) for text in side]), config)
        for side in zip(*pairs, strict=True)
    ]
    return int((keys[0] == keys[1]).any(axis=1).sum())


def _check_verdict(
    texts: tuple[str, str], level: float, config: minhash.Config, threshold: float
) -> None:
    sets = [minhash.shingles(text, config.shingle_words) for text in texts]
    similarity = minhash.jaccard(*sets)
    verified = Verified(sets, threshold, max_comparisons=1)
    verified.add_bucket([0, 1])
    is_joined = verified.root(0) == verified.root(1)
    if abs(similarity - level) > 1e-9 or is_joined != (similarity >= threshold):
        raise ShardError(
            f"dedup self-test: a planted pair of Jaccard {level} measures {similarity} and is "
            f"{'' if is_joined else 'not '}joined at threshold {threshold}; verification is broken"
        )
