"""What a rank's process tells the one that launched it: its figures, or a stated failure.

A folder that both see holds one small file per letter, so that it works between processes of one
machine and between machines that share the workspace.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.store.errors import CheckpointError, ManifestError, RetryableError, ShardError

Figures = Mapping[str, Any]

_FIGURES = "figures.json"
# Stated failures by name; a more special kind stands before the one it is a case of.
_STATED: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (
        ManifestError,
        ShardError,
        CheckpointError,
        RetryableError,
        FileNotFoundError,
        ValueError,
        OSError,
        KeyboardInterrupt,
    )
}


def deliver(folder: Path, rank: int, work: Callable[[], Figures]) -> None:
    """Does a rank's work and leaves rank 0's figures, or the rank's stated failure.

    A request to stop is left too, and not raised: nobody needs to be stopped because of it.

    Raises:
        Exception: what the work raised, so that the launcher ends the other ranks.
    """
    try:
        figures = work()
    except tuple(_STATED.values()) as error:
        kind = next(name for name, stated in _STATED.items() if isinstance(error, stated))
        _write(folder / f"failure-{rank:05d}.json", {"kind": kind, "message": str(error)})
        if not isinstance(error, KeyboardInterrupt):
            raise
    else:
        if rank == 0:
            _write(folder / _FIGURES, figures)


def collect(folder: Path) -> Figures | None:
    """Returns rank 0's figures, or None where there is no letter of any kind.

    Raises:
        Exception: the first rank's stated failure; KeyboardInterrupt after a request to stop.
    """
    for letter in sorted(folder.glob("failure-*.json")):
        told = json.loads(letter.read_bytes())
        raise _STATED[told["kind"]](told["message"])
    told = folder / _FIGURES
    if not told.is_file():
        return None
    figures: Figures = json.loads(told.read_bytes())
    return figures


def _write(path: Path, value: Figures) -> None:
    """Writes a letter that is there as a whole or not at all."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.rename(path)
