"""The Bloom filter: no key lost, and the rate that was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import bloom, words
from pipeline.overlap.bloom import Bloom
from pipeline.overlap.words import sequence
from pipeline.store.errors import ShardError


@given(st.lists(st.integers(0, 2**64 - 1), max_size=300), st.sampled_from([0.5, 0.01, 1e-8]))
def test_contains_never_loses_a_key(values: list[int], max_fp: float) -> None:
    keys = np.array(values, np.uint64)
    assert bloom.build(keys, max_fp).contains(keys).all()


@pytest.mark.parametrize("max_fp", [0.2, 0.01, 1e-4])
def test_contains_measured_rate_is_the_expected_one(max_fp: float) -> None:
    keys = sequence(1, 20_000)
    filter_ = bloom.build(keys, max_fp)
    strangers = 1_000_000
    hits = int(filter_.contains(sequence(2, strangers)).sum())
    log2_bits = (len(filter_.bits) * 64).bit_length() - 1
    expected = bloom.expected_fp(len(keys), log2_bits, filter_.n_hashes) * strangers
    assert abs(hits - expected) < 5 * expected**0.5 + 1
    assert hits <= max_fp * strangers + 5 * (max_fp * strangers) ** 0.5


def test_contains_million_random_keys_at_paper_rate_gives_no_hit() -> None:
    keys = sequence(1, 100_000)
    strangers = bloom.random_ngrams(bloom.N_RANDOM, 8)
    assert bloom.check(bloom.build(keys, 1e-8), keys, strangers, 1e-8) == 0


def test_random_ngrams_are_different_runs_of_real_words() -> None:
    hashes = bloom.random_ngrams(1000, 8)
    assert len(np.unique(hashes)) == 1000
    numbers = sequence(8, 1007)
    written = " ".join(int(n).to_bytes(8, "little").hex() for n in numbers)
    assert np.array_equal(hashes, words.ngrams(words.hash_words(words.split(written)), 8))


@pytest.mark.parametrize("n_keys", [1, 2, 100, 10_000])
def test_contains_few_keys_in_a_small_filter_reach_the_paper_rate_too(n_keys: int) -> None:
    """Where double hashing fails: its two numbers coincide too often in few bits."""
    keys = sequence(4, n_keys)
    assert bloom.check(bloom.build(keys, 1e-8), keys, sequence(9, 1_000_000), 1e-8) == 0


@given(st.integers(0, 400), st.integers(0, 2**63), st.sampled_from([0.5, 0.1, 1e-3, 1e-8]))
def test_build_rate_by_fill_is_never_above_the_wanted_one(n: int, seed: int, max_fp: float) -> None:
    """Few keys fill a small filter unevenly, so the expected rate is not enough."""
    filled = bloom.build(sequence(seed, n), max_fp)
    n_set = sum(int(word).bit_count() for word in filled.bits)
    assert filled.n_set == n_set
    assert filled.fp == (n_set / (64 * len(filled.bits))) ** filled.n_hashes <= max_fp


def test_contains_rate_by_fill_is_the_measured_one() -> None:
    """A filter half of whose bits are set, whatever its keys: (1/2)^3 of the strangers."""
    half = Bloom(bits=np.full(1024, 0x5555555555555555, np.uint64), n_hashes=3)
    assert half.fp == 0.125
    hits = int(half.contains(sequence(3, 100_000)).sum())
    assert abs(hits - 12_500) < 5 * (100_000 * 0.125 * 0.875) ** 0.5


def test_contains_regular_keys_are_no_worse_than_random_ones() -> None:
    keys = np.arange(0, 2_000_000, 2, dtype=np.uint64)
    filter_ = bloom.build(keys, 1e-3)
    assert filter_.contains(keys + np.uint64(1)).mean() < 1.2e-3


def test_build_uses_the_whole_range_of_bits() -> None:
    filter_ = bloom.build(sequence(1, 50_000), 1e-3)
    quarters = [np.bitwise_count(part).mean() for part in np.array_split(filter_.bits, 4)]
    assert min(quarters) > 0.95 * max(quarters)


@pytest.mark.parametrize("n_keys", [0, 1, 1000, 10**6, 10**9])
@pytest.mark.parametrize("max_fp", [0.5, 1e-3, 1e-8, 1e-15])
def test_shape_reaches_the_rate_and_no_smaller_filter_does(n_keys: int, max_fp: float) -> None:
    log2_bits, n_hashes = bloom.shape(n_keys, max_fp)
    assert bloom.expected_fp(n_keys, log2_bits, n_hashes) <= max_fp
    assert n_hashes == 1 or bloom.expected_fp(n_keys, log2_bits, n_hashes - 1) > max_fp
    if log2_bits > 6:
        assert all(bloom.expected_fp(n_keys, log2_bits - 1, k) > max_fp for k in range(1, 13))


def test_contains_empty_filter_holds_nothing() -> None:
    filter_ = bloom.build(np.empty(0, np.uint64), 1e-8)
    assert not filter_.contains(sequence(1, 1000)).any()


def test_check_filter_that_lost_a_bit_is_refused() -> None:
    keys = sequence(1, 1000)
    filter_ = bloom.build(keys, 1e-8)
    damaged = filter_.bits.copy()
    damaged[np.flatnonzero(damaged)[0]] = 0
    with pytest.raises(ShardError, match="lacks keys"):
        bloom.check(Bloom(bits=damaged, n_hashes=filter_.n_hashes), keys, keys[:0], 1e-8)


def test_check_filter_that_is_too_full_is_refused() -> None:
    keys = sequence(1, 1000)
    full = np.full(1024, 2**64 - 1, np.uint64)
    with pytest.raises(
        ShardError, match="65536 of 65536 bits are set, which with 5 positions is a"
    ):
        bloom.check(Bloom(bits=full, n_hashes=5), keys, keys[:0], 1e-8)


def test_check_filter_that_holds_too_many_strangers_is_refused() -> None:
    """A fill that allows the rate is not enough: here the strangers are the keys."""
    keys = sequence(1, 1000)
    with pytest.raises(ShardError, match="1000 of 1000 random keys are found; at most 1e-05"):
        bloom.check(bloom.build(keys, 1e-8), keys, keys, 1e-8)
