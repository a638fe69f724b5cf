"""Which examples a step reads: all once an epoch, alike on any number of ranks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.finetune import batches, settings
from model.finetune.batches import Batches
from model.finetune.inputs import Encoded
from model.training.engine import World
from tests.model.finetune.small_tuning import config


def encoded(n: int) -> Encoded:
    """Example i has one row that begins with its number."""
    rows = tuple((np.array([i, *range(i % 7)], np.int32),) for i in range(n))
    labels = np.arange(n) % 2 * 1.0
    return Encoded(ids=tuple(map(str, range(n))), rows=rows, labels=labels, grades=None, n_cut=0)


@given(n=st.integers(1, 40), size=st.integers(1, 12), epochs=st.integers(1, 4))
def test_every_example_is_read_once_an_epoch_but_for_the_last_rest(
    n: int, size: int, epochs: int
) -> None:
    cfg = config(epochs=epochs, batch_size=size)
    steps, ends = settings.n_steps(cfg, n), settings.epoch_ends(cfg, n)
    made = Batches(encoded(n), size, size, World(0, 0, 1), seed=3)
    read = [i for step in range(steps) for i in made.examples(step)]
    for epoch in range(epochs):
        part = read[epoch * n : (epoch + 1) * n]
        assert len(set(part)) == len(part)
    assert max(1, epochs * n - len(read)) <= max(size - 1, 1)
    assert ends == sorted(ends)
    assert ends[-1] == steps
    assert all(end * size >= min(steps * size, (e + 1) * n) for e, end in enumerate(ends))


def test_ranks_and_micro_batches_cut_the_same_examples_with_the_same_dropout() -> None:
    """Four micro-batches a step, on one rank or two."""
    alone = Batches(encoded(30), 8, 2, World(0, 0, 1), seed=3)
    two = [Batches(encoded(30), 8, 2, World(rank, rank, 2), seed=3) for rank in range(2)]
    for step in range(5):
        whole = alone.make(step)
        halves = [micro for rank in two for micro in rank.make(step)]
        assert [micro.seed for micro in whole] == [micro.seed for micro in halves]
        assert len({micro.seed for micro in whole}) == 4
        for one, other in zip(whole, halves, strict=True):
            assert all(map(torch.equal, one.tensors, other.tensors))
        numbers = torch.cat([micro.tensors[0][:, 0, 0] for micro in whole]).tolist()
        assert numbers == alone.examples(step)


def test_batches_of_other_seeds_differ() -> None:
    made = [Batches(encoded(30), 8, 8, World(0, 0, 1), seed) for seed in (3, 4)]
    assert made[0].examples(0) != made[1].examples(0)


def test_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"finetune\.batch_size is 9 sequences; expected a multiple"
    ):
        Batches(encoded(30), 9, 9, World(0, 0, 2), seed=1)


def number(made: tuple[Tensor, Tensor]) -> Tensor:
    """Scores that tell which example and how many tokens."""
    return torch.stack([made[0][:, 0, 0], made[1][:, 0]], dim=1).float()


@pytest.mark.parametrize("n", [1, 5, 16, 17])
def test_scores_stand_in_the_order_of_the_examples_on_any_number_of_ranks(n: int) -> None:
    for size in (1, 2, 3):
        parts = []
        for rank in range(size):
            told: list[int] = []

            def score(made, told=told):  # type: ignore[no-untyped-def]
                found = list(map(number, made))
                told.append(len(found))
                return found

            world = World(rank, rank, size)
            found = batches.scores_of(encoded(n), 3, 4, score, lambda x: x, world)
            parts.append((found, told))
        assert len({tuple(told) for _, told in parts}) == 1  # in step
        whole = sum(found[:, :2] for found, _ in parts)
        expected = [[i, i % 7] for i in range(n)]
        assert whole.tolist() == expected
        assert all(bool((found[:, 2] <= 0).all()) for found, _ in parts)


@pytest.mark.parametrize(("warmup_frac", "steps"), [(0.0, 10), (0.002, 10), (0.25, 8), (0.5, 7)])
def test_learning_rate_is_the_released_codes_but_for_the_first_step(
    warmup_frac: float, steps: int
) -> None:
    """By hand: min(1, x / w) (1 - x) with x the share of the steps done before."""
    cfg = config(warmup_frac=warmup_frac, lr=2.0)
    rates = [settings.learning_rate(step, cfg, steps) for step in range(steps)]
    assert min(rates) > 0
    warm = max(1, int(np.ceil(warmup_frac * steps)))
    for step in range(warm, steps):
        assert rates[step] == pytest.approx(2.0 * (1 - step / steps))
    assert rates[:warm] == sorted(rates[:warm]) or warm > steps / 2
