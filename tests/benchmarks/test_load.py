"""The loader benchmark: what the sides make is looked into, and one small run."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import load, loaders
from benchmarks.loaders import Settings
from tests.benchmarks.small import run

SIDES = (load._OURS, *load._PEERS)
N_CTX, BATCH = 64, 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token files of some forty thousand ids in all forms."""
    folder = tmp_path_factory.mktemp("load")
    load.make_input(folder, 40_000)
    return folder


@pytest.mark.parametrize("who", SIDES)
def test_side_makes_what_the_stream_has_at_the_places_it_names(made: Path, who: str) -> None:
    side = loaders.make(Settings(who, str(made), N_CTX, BATCH, 1))
    stream = np.fromfile(made / "nanogpt" / "train.bin", "<u2")
    for step in (0, 3):
        batch = side.make(step)
        assert [tuple(one.shape) for one in batch] == [(BATCH, N_CTX)] * 2
        pieces = side.pieces(step)
        assert loaders.digest(batch) == load._digest(stream, pieces, N_CTX)
        moved = [[(at + 1, n) for at, n in row] for row in pieces]
        assert loaders.digest(batch) != load._digest(stream, moved, N_CTX)


def test_index_maps_read_every_token_of_an_epoch_once(made: Path) -> None:
    side = loaders.make(Settings("megatron", str(made), N_CTX, 1, 1))
    assert isinstance(side, loaders.Megatron)
    n_tokens = (made / "nanogpt" / "train.bin").stat().st_size // 2
    n_windows = (n_tokens - 1) // N_CTX
    assert len(side._shuffled) == n_windows
    read: Counter[int] = Counter()
    for window in range(n_windows):
        places = [at + i for at, n in side._cut(window) for i in range(n)]
        assert len(places) == N_CTX + 1
        read.update(places[:-1])  # the last one is a target only, and the next window's first
    assert set(read.values()) == {1}
    assert len(read) == n_windows * N_CTX


@pytest.mark.slow
def test_load_small_finds_equal_rows_and_an_exact_resumable_epoch() -> None:
    told = run("load", "--small", OMP_NUM_THREADS="1")
    assert set(told["cases"]) == set(load.CASES)
    for case in told["cases"].values():
        assert case["checks"] == {"rows_equal": 1.0, "epoch_exact": 1.0, "resumes": 1.0}
        assert set(case["peers"]) == set(load._PEERS)
        assert case["limit"]["share"] > 0
