"""Figures of a stage: results in `metrics/`, times beside them where no stage depends on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.store import shards

FOLDER = Path("metrics")
TIMINGS = FOLDER / "timings"


def write(stage: str, figures: Mapping[str, Any]) -> None:
    """Writes `metrics/<stage>.json`: sorted keys, no NaN, no times.

    Raises:
        ValueError: If a figure is NaN or infinite.
    """
    shards.write_atomic(FOLDER / f"{stage}.json", shards.to_json(figures))


def write_timings(stage: str, figures: Mapping[str, Any]) -> None:
    """Writes `metrics/timings/<stage>.json`: seconds, rates, memory; no stage depends on it."""
    shards.write_atomic(TIMINGS / f"{stage}.json", shards.to_json(figures))
