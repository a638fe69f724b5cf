"""One optimizer step after the other: what pre-training and fine-tuning have in common.

    newest checkpoint ──> resume ──> advance, advance, ... ──> save

Decisions
- A step that must not change the weights still counts: its batch is not read again, the learning
  rate goes on, and Adam knows nothing of it.
- Rank 0 decides which checkpoint is continued from, so that all ranks continue from the same.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from model.training import checkpoint, segments
from model.training.checkpoint import Checkpoint, Facts
from model.training.curve import Row
from model.training.engine import Engine, Micro, StepResult, World
from model.training.guard import Fault, Guard
from model.training.partitions import KINDS
from model.training.speed import device_name
from model.training.watch import Silent
from pipeline.engine.progress import Progress

Bar = Progress | Silent


class Stepper:
    """The engine of one run with its guard, and how far it is.

    Attributes:
        engine: does the steps.
        step: optimizer steps done, skipped ones too.
        valid_loss: of the last step, None if it was not validated.
        segments: what the run was computed with.
    """

    def __init__(self, name: str, engine: Engine, guard: Guard, world: World, root: Path) -> None:
        """Begins before the first step.

        Args:
            name: of the run, as messages begin.
            engine: holds the weights.
            guard: judges each step.
            world: this process among all ranks.
            root: folder of the run's checkpoints.
        """
        self.engine = engine
        self.step = 0
        self.valid_loss: float | None = None
        self.segments: tuple[segments.Segment, ...] = ()
        self._name, self._guard, self._world, self._root = name, guard, world, root

    @property
    def n_skipped(self) -> int:
        """Steps so far that have not changed the weights."""
        return len(self._guard.skipped)

    def resume(self) -> Sequence[Row]:
        """Continues from the newest whole checkpoint, if there is one, and returns its curve.

        Raises:
            CheckpointError: one is demanded and there is none.
        """
        leads, demanded = self._world.rank == 0, checkpoint.is_demanded()
        found = checkpoint.newest(self._root, demanded=demanded) if leads else None
        step = self.engine.agree(-1 if found is None else found.step)
        if step < 0:
            return ()
        found = found or checkpoint.read(checkpoint.folder_of(self._root, step))
        self._continue_from(found)
        return found.facts.rows

    def _continue_from(self, found: Checkpoint) -> None:
        facts = found.facts
        self.step, self.segments, self.valid_loss = facts.step, facts.segments, facts.valid_loss
        self._guard.load(facts.guard)
        for kind in KINDS:
            self.engine.restore(
                facts.step, facts.step - self.n_skipped, {kind: found.tensors(kind)}
            )
        if self.engine.loss_scale is not None and facts.loss_scale is not None:
            self.engine.loss_scale.load(facts.loss_scale)

    def begin_segment(self, settings: Mapping[str, Any]) -> list[str]:
        """Writes down what the steps that are left are computed with: equal bits need all of it.

        Args:
            settings: those that say how the same training is computed, by name.

        Returns:
            What has changed since the step before, in words.
        """
        now = {
            **settings,
            "dtype": str(self.engine.dtype).removeprefix("torch."),
            "zero_stage": self.engine.zero_stage,
            "n_ranks": self._world.size,
            "n_threads": torch.get_num_threads(),
            "device": device_name(),
        }
        changed = segments.changes(self.segments, now)
        self.segments = segments.continued(self.segments, self.step, now)
        return changed

    def advance(
        self,
        micros: Iterable[Micro],
        lr: float,
        suspects: Callable[[list[float], Fault], str],
        bar: Bar,
    ) -> Row:
        """Does one optimizer step and returns its row of the curve; what is not finite is left out.

        Args:
            micros: this rank's micro-batches.
            lr: learning rate.
            suspects: names, from the losses of all micro-batches, what a bad step has read.
            bar: takes the note on a skipped step.

        Raises:
            ValueError: the step is bad and the policy is to stop.
        """
        result = self.engine.train_step(micros, lr, self._guard.judge)
        self._guard.count(self.step, result.loss, result.grad_norm, result.fault)
        if result.fault is not None:
            self._leave_out(result, result.fault, suspects, bar)
        self.step += 1
        figures = {"train/loss": result.loss, "train/grad_norm": result.grad_norm, "train/lr": lr}
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        return {"step": self.step, **finite}

    def _leave_out(
        self,
        result: StepResult,
        fault: Fault,
        suspects: Callable[[list[float], Fault], str],
        bar: Bar,
    ) -> None:
        """Reports a step that has not changed the weights."""
        losses = self.engine.gather_losses(result.micro_losses)
        told = (
            f"{self._name}: step {self.step}: {fault.text}; the weights before it are kept; "
            f"{suspects(losses, fault)}"
        )
        if self._guard.must_stop(fault):
            raise ValueError(f"{told}; {self._guard.remedy(fault)}")
        bar.note(f"{told}; skipped, {self.n_skipped} so far")

    def save(self, rows: Sequence[Row], about: Mapping[str, Any], n_kept: int) -> None:
        """Writes a checkpoint; every rank calls it.

        Args:
            rows: the curve so far.
            about: what the checkpoint says about itself.
            n_kept: how many checkpoints stay, the best one apart.

        Raises:
            CheckpointError: a tensor is not finite, or does not read back as it was written.
        """
        if self._world.rank > 0:
            for kind in KINDS:
                self.engine.gather(kind)
            return
        checkpoint.save(self._root, self._facts(rows), self.engine.gather, about)
        checkpoint.prune(self._root, n_kept)

    def _facts(self, rows: Sequence[Row]) -> Facts:
        scale = self.engine.loss_scale
        return Facts(
            step=self.step,
            rows=tuple(rows),
            valid_loss=self.valid_loss,
            guard=self._guard.state(),
            loss_scale=None if scale is None else scale.state(),
            segments=self.segments,
        )
