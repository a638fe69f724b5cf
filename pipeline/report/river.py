"""The flow as a river that narrows: one drawing per stage, set under one another without a gap.

      0            n_out    n_in            1000
      ┌──────────────┬────────┐
      │    trunk     │╲╲      ╲────── robots        each drop leaves to its own line of text,
      │              │ ╲──────────── too_large      the most common one first
      └──────────────┘

The x axis is stretched to the column's width, the y axis is in CSS pixels, so that a ribbon meets
its line of text on any screen. Widths of trunk and ribbons at the top are to scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from pipeline.report.flow import Flow, Row

WIDTH = 1000
HEAD_PX = 76  # a stage's name, counts and sentence; this and SEA_PX stand in page.css too
LINE_PX = 26  # one reason
FOOT_PX = 22
SEA_PX = 96  # what the river ends in

_TRUNK = 640  # of WIDTH; the rest is for ribbons to turn in
_MAX_RIBBON_PX = 18
_MIN_RIBBON_PX = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The stretch of the river that one stage is.

    Attributes:
        row: What it shows.
        height: In CSS pixels.
        trunk: Width of what goes on, of `WIDTH`.
        ribbons: One SVG path per reason, in the order of `row.dropped`.
    """

    row: Row
    height: int
    trunk: float
    ribbons: tuple[str, ...]


def river(flow: Flow) -> tuple[Reach, ...]:
    """Returns the drawing of each stage, all to one scale."""
    most = max((row.n_in for row in flow.rows), default=0)
    return tuple(_reach(row, _TRUNK / max(most, 1)) for row in flow.rows)


def _reach(row: Row, scale: float) -> Reach:
    ends = [row.n_in - n for n in accumulate((n for _, n in row.dropped), initial=0)]
    starts = zip(ends[1:], ends[:-1], strict=True)  # the first reason leaves at the right bank
    ribbons = [
        _ribbon(left * scale, right * scale, HEAD_PX + LINE_PX * (i + 0.5))
        for i, (left, right) in enumerate(starts)
    ]
    return Reach(
        row=row,
        height=HEAD_PX + LINE_PX * len(row.dropped) + FOOT_PX,
        trunk=round(row.n_out * scale, 2),
        ribbons=tuple(ribbons),
    )


def _ribbon(left: float, right: float, y: float) -> str:
    """Returns a path from `left`..`right` on the upper edge to the right edge at `y`."""
    half = min(max((right - left) / _TRUNK * 60, _MIN_RIBBON_PX), _MAX_RIBBON_PX) / 2
    right = max(right, left + 1)
    upper, lower = y - half, y + half
    turn_left, turn_right = _between(left, 0.45), _between(right, 0.45)
    return _path(
        ("M", (left, 0)),
        ("C", (left, lower * 0.8, left, lower, turn_left, lower)),
        ("L", (WIDTH, lower, WIDTH, upper, turn_right, upper)),
        ("C", (right, upper, right, upper * 0.8, right, 0)),
    )


def _between(x: float, share: float) -> float:
    return x + (WIDTH - x) * share


def _path(*parts: tuple[str, Sequence[float]]) -> str:
    return (
        " ".join(f"{letter}{' '.join(f'{n:.1f}' for n in numbers)}" for letter, numbers in parts)
        + "Z"
    )
