"""Which optimizer steps may change the weights: finite ones that are no spike.

    z = (x - mean) / std     x: a step's loss, or its gradient's norm
                             mean, std: of the `spike_window` counted steps before it

Decisions
- Judged are the loss of the whole batch and the norm of the whole gradient, both already reduced:
  every rank sees the same two numbers and decides alike, without another message.
- Only upwards, and only once the window is full. A skipped value stays out of the window, or the
  next spike would seem normal; the third in a row enters it, or a true change of level would be
  skipped for ever. Both as in llm.c (llmc/outlier_detector.h). Deviation: llm.c counts the judged
  value into mean and deviation, so that z can't exceed sqrt(window - 1).
- The statistics are recomputed from the values themselves, so that a resumed run, which gets them
  from the checkpoint, computes the same bits.
- In fp16 a gradient that is not finite is no fault but how the loss scale is found: such a step is
  skipped whatever the policy is. Too many in a row stop the run all the same.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, NamedTuple, get_args

from pipeline.store.config import require

OnBadStep = Literal["stop", "skip"]

_A_LEVEL = 3  # so many spikes in a row are a new level


class Fault(NamedTuple):
    """Why a step must not change the weights.

    Attributes:
        kind: `loss`, `gradient`, `overflow`, `loss_spike` or `gradient_spike`.
        text: the same for people, with the figure.
    """

    kind: str
    text: str

    @property
    def is_in_loss(self) -> bool:
        """Whether the micro-batches' own losses tell where it comes from."""
        return self.kind in ("loss", "loss_spike")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """What happens at a bad step.

    Attributes:
        on_bad_step: `stop` ends the run, `skip` leaves the step out.
        max_skipped_steps: in a row; one more ends the run.
        max_spike_zscore: largest z of loss and gradient norm; None never judges spikes.
        spike_window: steps that mean and deviation are taken over.
    """

    on_bad_step: OnBadStep
    max_skipped_steps: int
    max_spike_zscore: float | None
    spike_window: int

    def __post_init__(self) -> None:
        known = self.on_bad_step in get_args(OnBadStep)
        require("on_bad_step", self.on_bad_step, known, "stop or skip")
        enough = self.max_skipped_steps >= 1
        require("max_skipped_steps", self.max_skipped_steps, enough, "x >= 1")
        z = self.max_spike_zscore
        require("max_spike_zscore", z, z is None or z > 0, "null or x > 0")
        require("spike_window", self.spike_window, self.spike_window >= 2, "x >= 2")


class Guard:
    """The judge of one run's steps.

    Attributes:
        skipped: every step that was left out: its number and the fault's kind.
        in_row: how many of them the last steps are.
    """

    def __init__(self, config: GuardConfig, *, scaled: bool, section: str = "train") -> None:
        """Starts without any step.

        Args:
            config: what happens at a bad step.
            scaled: whether fp16's loss scale is in use.
            section: of params.yaml, that remedies are settings of.
        """
        self._config, self._scaled, self._section = config, scaled, section
        self._losses = deque[float](maxlen=config.spike_window)
        self._norms = deque[float](maxlen=config.spike_window)
        self.skipped: list[dict[str, Any]] = []
        self.in_row = 0

    def judge(self, loss: float, grad_norm: float) -> Fault | None:
        """Returns what is wrong with a step, None if nothing is; remembers nothing."""
        if not math.isfinite(loss):
            return Fault("loss", f"the loss is {loss}")
        if not math.isfinite(grad_norm):
            kind = "overflow" if self._scaled else "gradient"
            return Fault(kind, "the gradient's norm is not finite")
        most = self._config.max_spike_zscore
        if most is None:
            return None
        for kind, what, value, past in (
            ("loss_spike", "loss", loss, self._losses),
            ("gradient_spike", "gradient's norm", grad_norm, self._norms),
        ):
            if len(past) == past.maxlen and (z := zscore(value, past)) > most:
                allowed = f"{self._section}.max_spike_zscore is {most}"
                return Fault(kind, f"the {what} is {value:.4g}, z = {z:.1f} ({allowed})")
        return None

    def count(self, step: int, loss: float, grad_norm: float, fault: Fault | None) -> None:
        """Remembers a step; `fault` is what `judge` has returned."""
        self.in_row = 0 if fault is None else self.in_row + 1
        if fault is None or self.in_row >= _A_LEVEL:
            for value, past in ((loss, self._losses), (grad_norm, self._norms)):
                if math.isfinite(value):
                    past.append(value)
        if fault is not None:
            self.skipped.append({"step": step, "kind": fault.kind})

    def must_stop(self, fault: Fault) -> bool:
        """Tells whether the run ends with the step that was counted last."""
        forgiven = self._config.on_bad_step == "skip" or fault.kind == "overflow"
        return not forgiven or self.in_row > self._config.max_skipped_steps

    def remedy(self, fault: Fault) -> str:
        """Returns why the run ends here and what to change."""
        section = self._section
        change = f"lower {section}.lr or lengthen its warm-up"
        if self.in_row > self._config.max_skipped_steps:
            most = self._config.max_skipped_steps
            told = f"{section}.max_skipped_steps is {most}"
            return f"{self.in_row} such steps in a row, {told}; {change}"
        if fault.kind.endswith("spike"):
            change = f"raise {section}.max_spike_zscore"
        return (
            f"{change}, or leave such steps out with {section}.on_bad_step: skip, which continues "
            "from the last checkpoint"
        )

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold."""
        return {
            "losses": list(self._losses),
            "grad_norms": list(self._norms),
            "skipped": list(self.skipped),
            "in_row": self.in_row,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` has returned; a smaller window keeps the newest values."""
        self._losses.extend(state["losses"])
        self._norms.extend(state["grad_norms"])
        self.skipped = list(state["skipped"])
        self.in_row = int(state["in_row"])


def zscore(value: float, past: Sequence[float] | deque[float]) -> float:
    """Returns by how many standard deviations `value` lies above the mean of `past`.

    >>> zscore(7.0, [1.0, 3.0])
    5.0
    >>> zscore(1.1, [1.0, 1.0]), zscore(1.0, [1.0, 1.0])
    (inf, 0.0)
    """
    mean = fmean(past)
    deviation = math.sqrt(fmean((each - mean) ** 2 for each in past))
    if deviation == 0:
        return math.copysign(math.inf, value - mean) if value != mean else 0.0
    return (value - mean) / deviation


def suspects(windows: list[int], losses: list[float], fault: Fault) -> list[int]:
    """Returns the windows of the micro-batches that a bad loss comes from; else all of them.

    Args:
        windows: of the step, over all ranks.
        losses: of its micro-batches, over all ranks.
        fault: what is wrong.

    >>> suspects([7, 8, 9, 4], [5.0, math.nan], Fault("loss", ""))
    [9, 4]
    """
    if not fault.is_in_loss:
        return windows
    size = len(windows) // len(losses)
    bad = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
    bad = bad or [losses.index(max(losses))]
    return [window for i in bad for window in windows[i * size : (i + 1) * size]]


def few(names: Sequence[object], most: int = 8) -> str:
    """Returns the first names and how many are left.

    >>> few([1, 2, 3], most=2)
    '1 2 (1 more)'
    """
    left = len(names) - most
    return " ".join(map(str, names[:most])) + (f" ({left} more)" if left > 0 else "")
