"""MinHash: sets, not sequences; an estimate within its bound; the curve of the bands."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import minhash, words
from pipeline.overlap.minhash import Config
from pipeline.overlap.planted import pair

_CONFIG = Config(shingle_words=5, bands=14, rows=8, seed=1)
_TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "é"]), max_size=30).map(" ".join)


def _sign(sets: list[np.ndarray]) -> np.ndarray:
    ends = np.cumsum([len(one) for one in sets])
    return minhash.signatures(minhash.Shingles(np.concatenate(sets), ends), _CONFIG)


def _tuples(text: str, n: int) -> set[tuple[str, ...]]:
    split = text.split()
    n = max(1, min(n, len(split)))
    return {tuple(split[i : i + n]) for i in range(len(split) - n + 1)}


@given(_TEXTS, _TEXTS, st.integers(1, 6))
def test_jaccard_equals_that_of_sets_of_word_tuples(a: str, b: str, n: int) -> None:
    x, y = _tuples(a, n), _tuples(b, n)
    expected = len(x & y) / len(x | y) if x | y else 0.0
    assert minhash.jaccard(minhash.shingles(a, n), minhash.shingles(b, n)) == expected


def test_jaccard_by_hand_is_two_thirds() -> None:
    a, b = (minhash.shingles(text, 2) for text in ("a b c d e f", "a b c d e g"))
    assert minhash.jaccard(a, b) == 4 / 6


@pytest.mark.parametrize("text", ["one", "one two", "one two three four"])
def test_shingles_text_shorter_than_a_shingle_has_one_of_its_own(text: str) -> None:
    mine = minhash.shingles(text, 5)
    assert len(mine) == 1
    longer = minhash.shingles(text + " more", 5)
    assert minhash.jaccard(mine, longer) == 0.0


@given(st.lists(_TEXTS, max_size=8), st.integers(1, 6))
def test_all_shingles_of_one_call_equal_those_of_each_text(texts: list[str], n: int) -> None:
    hashes, ends = minhash.all_shingles(texts, n)
    alone = [minhash.all_shingles([text], n).hashes.tolist() for text in texts]
    assert [part.tolist() for part in np.split(hashes, ends)[: len(texts)]] == alone
    for text, found in zip(texts, alone, strict=True):
        n_words = len(text.split())
        assert len(found) == (0 if not n_words else max(1, n_words - n + 1))


def test_shingles_text_without_words_has_none() -> None:
    assert len(minhash.shingles("… --- !!!", 5)) == 0


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_signature_order_and_repetition_change_nothing(
    values: list[int], rng: random.Random
) -> None:
    again = values + rng.choices(values, k=5)
    rng.shuffle(again)
    first, second = (_sign([np.array(v, np.uint64)]).tolist() for v in (values, again))
    assert first == second


def test_signatures_of_one_call_equal_those_of_many() -> None:
    parts = np.split(words.sequence(5, 5000), [1, 7, 8, 4000])
    assert np.array_equal(_sign(parts), np.concatenate([_sign([part]) for part in parts]))


def test_signature_equals_arithmetic_of_unbounded_integers() -> None:
    values = words.sequence(5, 40)
    upper = [int(v) >> 32 | 1 for v in values]
    expected = [min(a * v % 2**32 for v in upper) for a in minhash.permutations(_CONFIG).tolist()]
    assert _sign([values])[0].tolist() == expected
    assert all(a % 2 for a in minhash.permutations(_CONFIG).tolist())  # a bijection mod 2^32


@pytest.mark.parametrize("level", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_signature_share_of_equal_rows_estimates_jaccard(level: float) -> None:
    n_pairs, n_rows = 100, 112
    equal = 0
    for number in range(n_pairs):
        first, second = _sign([minhash.shingles(text, 5) for text in pair(level, number, 5)])
        equal += int((first == second).sum())
    exact = round(120 * (1 - level) / 2)
    exact_level = (120 - 2 * exact) / 120
    # Four standard deviations of a mean over pairs and rows, plus the grid of the planted levels.
    bound = 4 * (exact_level * (1 - exact_level) / (n_pairs * n_rows)) ** 0.5
    assert abs(equal / (n_pairs * n_rows) - exact_level) < bound


@pytest.mark.parametrize("low_bits", [1, 1 << 20])
def test_signature_regular_values_are_sampled_evenly(low_bits: int) -> None:
    """Min-wise: of arithmetic progressions, mixed as shingles are, each value wins as often."""
    values = words.mix(np.arange(1, 9, dtype=np.uint64) * np.uint64(low_bits))
    wins = np.zeros(8, int)
    for seed in range(60):
        multipliers = minhash.permutations(Config(shingle_words=5, bands=14, rows=8, seed=seed))
        upper = (values >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        wins += np.bincount((multipliers[:, None] * upper).argmin(axis=1), minlength=8)
    expected = 60 * 112 / 8
    assert np.abs(wins - expected).max() < 5 * expected**0.5


def test_band_keys_are_equal_exactly_where_all_rows_of_the_band_are() -> None:
    signature = words.sequence(9, 112).astype(np.uint32)
    changed = signature.copy()
    changed[[3, 17, 111]] += np.uint32(1)  # rows of bands 0, 2 and 13
    keys = minhash.band_keys(np.stack([signature, changed]), _CONFIG)
    assert keys.shape == (2, 14)
    assert np.flatnonzero(keys[0] != keys[1]).tolist() == [0, 2, 13]


def test_band_keys_equal_rows_in_two_bands_get_different_keys() -> None:
    keys = minhash.band_keys(np.ones((1, 112), np.uint32), _CONFIG)
    assert len(set(keys[0].tolist())) == 14


def test_caught_frac_is_the_table_of_the_field() -> None:
    shares = [round(minhash.caught_frac(s, _CONFIG), 2) for s in (0.5, 0.7, 0.8, 0.9)]
    assert shares == [0.05, 0.56, 0.92, 1.0]


@pytest.mark.parametrize(
    ("key", "value"), [("shingle_words", 0), ("bands", 0), ("rows", 0), ("seed", -1)]
)
def test_config_value_out_of_range_is_named(key: str, value: int) -> None:
    fields = {"shingle_words": 5, "bands": 14, "rows": 8, "seed": 1} | {key: value}
    with pytest.raises(ValueError, match=f"^{key} is {value}; expected"):
        Config(**fields)
