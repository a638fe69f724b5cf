"""Which examples a step reads, and in which order all are scored: functions of numbers alone.

    training   sample k = 0, 1, 2, ...   epoch e = k // n, place i = k % n: a keyed permutation
               step s reads the samples [s B, (s + 1) B), cut over ranks and micro-batches
    scoring    examples by length, in batches; batch j is done by rank j mod n_ranks

Both orders are the same for any number of ranks.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from model.finetune import inputs
from model.finetune.inputs import Encoded
from model.training.engine import Micro, World
from model.training.order import windows_of
from model.training.settings import micro_seed, split_batch

Score = Callable[[Iterable[tuple[Tensor, Tensor]]], Sequence[Tensor]]  # of batches of idx and last
Total = Callable[[Tensor], Tensor]  # over ranks


class Batches:
    """The training batches of one rank.

    Attributes:
        micro_size: examples per forward pass.
        n_micros: forward passes per step.
    """

    def __init__(self, encoded: Encoded, size: int, most: int, world: World, seed: int) -> None:
        """Splits steps of `size` examples over the ranks, in micro-batches of at most `most`.

        Raises:
            ValueError: the ranks can't have equal parts.
        """
        self._encoded, self._size = encoded, size
        self._rank, self._seed = world.rank, seed
        told = "finetune.batch_size"
        self.micro_size, self.n_micros = split_batch(size, world.size, most, told=told)

    def examples(self, step: int) -> list[int]:
        """Returns the numbers of the examples that all ranks read in one step, in order."""
        return windows_of(step, self._size, len(self._encoded), self._seed)

    def make(self, step: int) -> list[Micro]:
        """Returns this rank's part of one step."""
        mine = self.n_micros * self.micro_size
        numbers = self.examples(step)[self._rank * mine :][:mine]
        micros = []
        for micro in range(self.n_micros):
            chosen = numbers[micro * self.micro_size :][: self.micro_size]
            seed = micro_seed(self._seed, step, self._rank * self.n_micros + micro)
            micros.append(Micro(seed, tuple(inputs.collate(self._encoded, chosen))))
        return micros


def scoring_batches(encoded: Encoded, size: int) -> list[list[int]]:
    """Returns the numbers of all examples, the longest first, in batches of at most `size`."""
    order = sorted(range(len(encoded)), key=lambda i: (-encoded.longest(i), i))
    return [order[start : start + size] for start in range(0, len(order), size)]


def scores_of(
    encoded: Encoded, n_outputs: int, size: int, score: Score, total: Total, world: World
) -> Tensor:
    """Returns (n, outputs) fp64 scores of all examples on every rank.

    A rank without a batch of its own at the end does the first one again, to stay in step.

    Args:
        encoded: the examples.
        n_outputs: scores of each.
        size: examples per batch.
        score: returns a model's (B, outputs) scores of some batches.
        total: returns a tensor's sum over ranks.
        world: this process among all of them.
    """
    cut = scoring_batches(encoded, size)
    mine = cut[world.rank :: world.size]
    spare = -(-len(cut) // world.size) - len(mine)
    made = (inputs.collate(encoded, chosen)[:2] for chosen in mine + cut[:1] * spare)
    found = torch.zeros(len(encoded), n_outputs, dtype=torch.float64)
    for chosen, scores in zip(mine, score(made), strict=False):
        found[chosen] = torch.nn.functional.pad(
            scores.double(), (0, n_outputs - scores.size(1)), value=-torch.inf
        )
    return total(found)
