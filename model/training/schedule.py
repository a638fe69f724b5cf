"""The learning rate as a pure function of the step: linear warm-up, then a cosine.

      lr ┤      ,-~~-.
         │    /        `.
         │  /             `-.
    min ─┤/                  `-.____
         └──┬───────────────────────┬─> step
          warmup_steps            steps

Paper: GPT-1, section 4.1 (2,000 steps of warm-up, cosine to 0). The GPT-2 paper does not say.
"""

import math
from dataclasses import dataclass

from pipeline.store.config import require


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the learning rate moves.

    Attributes:
        lr: the highest rate.
        min_lr_frac: the last step's rate as a share of `lr`.
        warmup_steps: steps until `lr` is reached.
        steps: optimizer steps altogether.
    """

    lr: float
    min_lr_frac: float
    warmup_steps: int
    steps: int

    def __post_init__(self) -> None:
        require("lr", self.lr, self.lr > 0, "x > 0")
        require("min_lr_frac", self.min_lr_frac, 0 <= self.min_lr_frac <= 1, "0 <= x <= 1")
        require("steps", self.steps, self.steps >= 1, "x >= 1")
        below = 0 <= self.warmup_steps < self.steps
        require("warmup_steps", self.warmup_steps, below, f"0 <= x < steps = {self.steps}")


def learning_rate(step: int, schedule: Schedule) -> float:
    """Returns the rate of one optimizer step, counted from 0.

    >>> four = Schedule(lr=1.0, min_lr_frac=0.1, warmup_steps=2, steps=5)
    >>> [round(learning_rate(step, four), 3) for step in range(5)]
    [0.5, 1.0, 0.775, 0.325, 0.1]
    """
    if step < schedule.warmup_steps:
        return schedule.lr * (step + 1) / schedule.warmup_steps
    done = (step + 1 - schedule.warmup_steps) / (schedule.steps - schedule.warmup_steps)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return schedule.lr * (schedule.min_lr_frac + (1 - schedule.min_lr_frac) * share)
