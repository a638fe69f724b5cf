"""One rank's part of each step, as micro-batches: a pure function of the step.

    step's windows    | rank 0: micro 0, micro 1, ... | rank 1: micro m, micro m + 1, ... |

A micro-batch's dropout seed comes from its number over all ranks, so the same split gives the same
masks on any number of ranks.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

from model.training.data import Windows
from model.training.engine import Micro, World
from model.training.settings import micro_seed, split_batch

WINDOW_LOG = "OUTBOUND_WINDOW_LOG"  # a file that gets one JSON line of window ids per step


class Batch(NamedTuple):
    """What one rank reads in one step.

    Attributes:
        windows: numbers of its windows, in order.
        micros: the same as tensors.
    """

    windows: list[int]
    micros: list[Micro]


class Batches:
    """The batches of one rank.

    Attributes:
        micro_size: sequences per forward pass.
        n_micros: forward passes per step.
    """

    def __init__(
        self, windows: Windows, sequences: int, world: World, seed: int, most: int
    ) -> None:
        """Splits steps of `sequences` windows over the ranks, in micro-batches of at most `most`.

        Raises:
            ValueError: the ranks can't have equal parts.
        """
        self._windows, self._sequences = windows, sequences
        self._rank, self._seed = world.rank, seed
        self.micro_size, self.n_micros = split_batch(sequences, world.size, most)

    def windows(self, step: int) -> list[int]:
        """Returns the numbers of the windows that all ranks read in one step, in order."""
        return self._windows.ids(step, self._sequences)

    def make(self, step: int) -> Batch:
        """Returns this rank's part of one step."""
        mine = self.n_micros * self.micro_size
        ids = self.windows(step)[self._rank * mine :][:mine]
        micros = []
        for number in range(self.n_micros):
            chosen = ids[number * self.micro_size :][: self.micro_size]
            seed = micro_seed(self._seed, step, self._rank * self.n_micros + number)
            micros.append(Micro(seed, self._windows.batch(chosen)))
        return Batch(ids, micros)

    def log(self, step: int, batch: Batch) -> None:
        """Appends the windows of a step to the file that OUTBOUND_WINDOW_LOG names, if it does."""
        name = os.environ.get(WINDOW_LOG)
        if name:
            told = {"step": step, "rank": self._rank, "windows": batch.windows}
            with Path(name).open("a", encoding="utf-8") as log:
                log.write(json.dumps(told) + "\n")
