"""fp16's loss scale: as large as the gradients allow.

    overflow      scale = scale / 2, at least 1        the step is left out
    1,000 steps   without one: scale = 2 scale          the steps after it use it

Paper: Micikevicius et al. 2018, "Mixed Precision Training", section 3.2; the numbers are the usual
ones (first 2^16, factor 2; window 1,000 as in DeepSpeed, 2,000 in torch's GradScaler).
"""

from collections.abc import Mapping
from typing import Any

FIRST = 65536.0
_LEAST, _MOST = 1.0, float(2**24)
_GROWS_AFTER = 1000


class LossScale:
    """What the loss is multiplied by before the backward pass.

    >>> scale = LossScale()
    >>> scale.update(overflow=True)
    >>> scale.value
    32768.0
    """

    def __init__(self) -> None:
        self.value = FIRST
        self._good_steps = 0

    def update(self, *, overflow: bool) -> None:
        """Counts one step."""
        if overflow:
            self.value, self._good_steps = max(self.value / 2, _LEAST), 0
            return
        self._good_steps += 1
        if self._good_steps == _GROWS_AFTER:
            self.value, self._good_steps = min(self.value * 2, _MOST), 0

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold."""
        return {"value": self.value, "good_steps": self._good_steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` has returned."""
        self.value, self._good_steps = float(state["value"]), int(state["good_steps"])
