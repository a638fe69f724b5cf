"""The order of windows: a permutation per epoch, forwards and backwards."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.order import (
    epoch_key,
    permute,
    step_of,
    unpermute,
    windows_between,
    windows_of,
)


@settings(deadline=None)
@given(n=st.integers(1, 300), key=st.integers(0, 2**64 - 1))
def test_permute_visits_every_place_once(n: int, key: int) -> None:
    assert sorted(permute(range(n), n, key).tolist()) == list(range(n))


def test_permute_of_a_large_range_stays_inside_and_has_no_repeat() -> None:
    n = 10**9 + 7
    found = permute(range(2000), n, key=5).tolist()
    assert len(set(found)) == 2000
    assert 0 <= min(found) < n / 100
    assert n - n / 100 < max(found) < n


def test_permute_looks_random() -> None:
    """Neighbours land apart: 0.25 is the chance that one of 4 steps up, .5 that a place is even."""
    order = permute(range(4096), 4096, key=1)
    assert abs(np.corrcoef(np.arange(4096), order)[0, 1]) < 0.05
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.mean(np.diff(order) > 0) - 0.5) < 0.03


@settings(deadline=None)
@given(n=st.integers(1, 10**12), key=st.integers(0, 2**64 - 1), data=st.data())
def test_unpermute_undoes_permute(n: int, key: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, n - 1))
    assert unpermute(permute([place], n, key).item(), n, key) == place


@settings(deadline=None)
@given(
    n=st.integers(1, 2**33) | st.integers(1, 40),
    seed=st.integers(0, 2**64),
    first=st.integers(0, 10**12),
    size=st.integers(0, 100),
)
def test_windows_between_are_the_samples_one_by_one(
    n: int, seed: int, first: int, size: int
) -> None:
    samples = (divmod(sample, n) for sample in range(first, first + size))
    expected = [permute([place], n, epoch_key(seed, epoch)).item() for epoch, place in samples]
    assert windows_between(first, first + size, n, seed).tolist() == expected


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 60), batch=st.integers(1, 25), seed=st.integers(0, 9))
def test_step_of_is_where_windows_of_reads_the_window(n: int, batch: int, seed: int) -> None:
    """Three epochs, read step by step: each window once per epoch, in the step that is told."""
    n_steps = -(-3 * n // batch)
    told = [(step_of(w, e, batch, n, seed), w) for e in range(3) for w in range(n)]
    read = [(s, w) for s in range(n_steps) for w in windows_of(s, batch, n, seed)][: 3 * n]
    assert sorted(told) == sorted(read)
