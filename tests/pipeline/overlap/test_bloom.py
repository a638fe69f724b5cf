"""The Bloom filter: no key lost, and the rate that was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overlap import bloom
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
    assert bloom.check(bloom.build(keys, 1e-8), keys, 1e-8) == 0


@pytest.mark.parametrize("n_keys", [1, 2, 100, 10_000])
def test_contains_few_keys_in_a_small_filter_reach_the_paper_rate_too(n_keys: int) -> None:
    """Where double hashing fails: its two numbers coincide too often in few bits."""
    keys = sequence(4, n_keys)
    assert bloom.check(bloom.build(keys, 1e-8), keys, 1e-8) == 0


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
        bloom.check(Bloom(bits=damaged, n_hashes=filter_.n_hashes), keys, 1e-8)


def test_check_filter_that_is_too_full_is_refused() -> None:
    keys = sequence(1, 1000)
    full = np.full(1024, 2**64 - 1, np.uint64)
    with pytest.raises(ShardError, match="1000000 of 1000000 random keys are found"):
        bloom.check(Bloom(bits=full, n_hashes=5), keys, 1e-8)
