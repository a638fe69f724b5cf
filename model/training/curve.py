"""The training curve: rows by step, shown live by DVCLive.

Decisions
- The rows belong to the checkpoint. A resumed run replays them into an empty DVCLive folder (DVC
  has removed it, as it removes every output before a stage runs), so the curve is whole and no step
  stands in it twice.
- DVCLive only mirrors the rows: no experiment, no dvc.yaml, no report of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.store.arrow import without_pandas

with without_pandas():
    from dvclive.live import Live

Row = dict[str, float]  # "step" and figures by name, e.g. "train/loss"


class Curve:
    """The curve of one run; `folder` None keeps the rows without showing them."""

    def __init__(self, folder: Path | None, rows: Sequence[Row]) -> None:
        """Starts from the rows of a checkpoint; what else lies in `folder` is removed."""
        self.rows: list[Row] = []
        self._live: Any = None if folder is None else _live(folder)
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Appends one row; steps never go back."""
        self.rows.append(row)
        if self._live is None:
            return
        self._live.step = int(row["step"])
        for name, value in sorted(row.items()):  # as a checkpoint has them: same bytes either way
            if name != "step":
                self._live.log_metric(name, value)
        self._live.make_summary()

    def close(self) -> None:
        """Writes what DVCLive has left to write."""
        if self._live is not None:
            self._live.end()


def _live(folder: Path) -> Live:
    return Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None)
