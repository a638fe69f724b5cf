"""Which window is read when, and that every token is scored once."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.gpt import IGNORE
from model.training import data
from model.training.data import BEYOND, Windows
from model.training.order import windows_of
from pipeline.store import shards
from pipeline.store.errors import ManifestError
from pipeline.tokens.arrow import TokenShards, open_shards
from tests.model.training.small_runs import make_tokenizer, make_tokens

N_CTX = 8
PINNED = [19, 2, 6, 16, 17, 22, 23, 21, 0, 8, 24, 14, 20, 5, 13, 1, 9, 11, 12, 4, 7, 3, 10, 15, 18]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    """Two shards whose stream counts 0, 1, 2, ... modulo 290: a token tells its own place."""
    root = tmp_path_factory.mktemp("tokens")
    make_tokenizer(root, 300)
    stream = (np.arange(203) % 290).tolist()
    texts = [stream[:50], stream[50:90], stream[90:91], stream[91:]]
    folder = make_tokens(root / "tokens", root, {"train": texts})
    return open_shards(sorted((folder / "train").glob("*.arrow")))


def test_window_order_is_pinned(tokens: TokenShards) -> None:
    """A change of these numbers changes what every seed trains on."""
    assert Windows(tokens, N_CTX, seed=1).ids(0, 25) == PINNED


def test_windows_of_an_epoch_are_all_windows_and_epochs_differ(tokens: TokenShards) -> None:
    windows = Windows(tokens, N_CTX, seed=3)
    assert windows.n_windows == (203 - 1) // N_CTX == 25
    first, second = windows.ids(0, 25), windows.ids(1, 25)
    assert sorted(first) == sorted(second) == list(range(25))
    assert first != second
    assert first != Windows(tokens, N_CTX, seed=4).ids(0, 25)


@given(step=st.integers(0, 40), size=st.integers(1, 30))
def test_window_order_does_not_depend_on_the_batch_size(
    tokens: TokenShards, step: int, size: int
) -> None:
    windows = Windows(tokens, N_CTX, seed=3)
    one_by_one = [windows.ids(sample, 1)[0] for sample in range(step * size, (step + 1) * size)]
    assert windows.ids(step, size) == one_by_one


def test_windows_of_a_step_do_not_depend_on_the_steps_asked_for_before(
    tokens: TokenShards,
) -> None:
    """Blocks of windows are kept: whole, over a block's end, backwards and far ahead."""
    kept = Windows(tokens, N_CTX, seed=3)
    for step, size in [(0, 7), (584, 7), (585, 7), (586, 7), (3, 7), (10**6, 4), (2, 5000), (0, 0)]:
        fresh = Windows(tokens, N_CTX, seed=3)
        assert kept.ids(step, size) == fresh.ids(step, size) == windows_of(step, size, 25, 3)


def test_batch_is_two_views_of_one_tensor(tokens: TokenShards) -> None:
    idx, targets = Windows(tokens, N_CTX, seed=3).batch([1, 2])
    assert targets.data_ptr() == idx.data_ptr() + idx.element_size()


def test_batch_holds_the_stream_and_its_successors(tokens: TokenShards) -> None:
    windows = Windows(tokens, N_CTX, seed=3)
    idx, targets = windows.batch([24, 0, 6])
    assert idx.dtype == targets.dtype == torch.int64
    starts = torch.tensor([[24], [0], [6]]) * N_CTX
    assert torch.equal(idx, starts + torch.arange(N_CTX))
    assert torch.equal(targets, idx + 1)


def test_windows_refuse_a_stream_shorter_than_one(tokens: TokenShards) -> None:
    assert Windows(tokens, 202, seed=0).n_windows == 1
    with pytest.raises(ValueError, match="n_ctx is 203; expected less than 203 tokens"):
        Windows(tokens, 203, seed=0)


@pytest.mark.parametrize("n_ctx", [1, 7, 8, 202, 203, 500])
@pytest.mark.parametrize("n_ranks", [1, 3])
def test_scoring_scores_every_token_once_behind_its_predecessor(
    tokens: TokenShards, n_ctx: int, n_ranks: int
) -> None:
    windows = data.scoring_windows(tokens.n_tokens, n_ctx, None)
    pairs: Counter[tuple[int, int]] = Counter()
    n_batches = set()
    for rank in range(n_ranks):
        mine = data.share(windows, rank, n_ranks)
        batches = list(data.scoring_batches(tokens, n_ctx, 4, mine))
        n_batches.add(len(batches))
        for idx, targets in batches:
            scored = targets != IGNORE
            pairs.update(zip(idx[scored].tolist(), targets[scored].tolist(), strict=True))
    before = [299, *range(202)]  # <|endoftext|> leads the stream
    assert pairs == Counter(zip(before, range(203), strict=True))
    assert len(n_batches) == 1


def test_scoring_beyond_the_end_scores_nothing(tokens: TokenShards) -> None:
    ((idx, targets),) = data.scoring_batches(tokens, N_CTX, 4, [BEYOND])
    assert (targets == IGNORE).all()
    assert idx.shape == (1, N_CTX)


def test_scoring_windows_of_a_part_are_spread_evenly() -> None:
    assert data.scoring_windows(1000, 10, 55) == [0, 16, 33, 50, 66, 83]
    assert data.scoring_windows(25, 10, 1000) == [0, 1, 2]


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    make_tokenizer(tmp_path, 300)
    digest = shards.sha256_file(tmp_path / "tokenizer.json")
    folder = make_tokens(tmp_path / "tokens", tmp_path, {"train": [[1, 2], [3, 299]]})
    paths = sorted((folder / "train").glob("*.arrow"))
    assert data.open_tokens(paths, digest).n_tokens == 4
    with pytest.raises(ManifestError, match="expected 000000000000; make them again with: dvc"):
        data.open_tokens(paths, "0" * 64)


def test_ahead_gives_the_steps_batches_in_any_order() -> None:
    with data.ahead(lambda step: step * step, stop=6) as batches:
        assert [batches.get(step) for step in (2, 3, 4, 5)] == [4, 9, 16, 25]
        assert [batches.get(step) for step in (0, 4, 1)] == [0, 16, 1]


def test_ahead_makes_the_next_batch_in_a_thread_while_one_is_used() -> None:
    made: list[tuple[int, str]] = []
    second = threading.Event()

    def make(step: int) -> int:
        made.append((step, threading.current_thread().name))
        if step == 1:
            second.set()
        return step

    with data.ahead(make, stop=2) as batches:
        assert batches.get(0) == 0
        assert second.wait(timeout=60), "the second batch was never asked for"
        assert batches.get(1) == 1
    assert [step for step, _ in made] == [0, 1]
    assert all(name.startswith("batches") for _, name in made)


def test_ahead_raises_what_made_the_batch_fail_at_its_step_and_ends_its_thread() -> None:
    def make(step: int) -> int:
        if step == 1:
            raise OSError("shard is gone")
        return step

    with data.ahead(make, stop=5) as batches:
        assert batches.get(0) == 0
        with pytest.raises(OSError, match="shard is gone"):
            batches.get(1)
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]
