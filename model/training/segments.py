"""What the parts of a run were computed with: stage, ranks, device, and the like.

A run goes on where it was stopped, also on another machine. Equal bits need an equal segment; so
each checkpoint says which of its steps were computed how.
"""

from collections.abc import Mapping
from typing import Any

Segment = Mapping[str, Any]  # `from_step` and the settings, by name


def changes(before: tuple[Segment, ...], now: Segment) -> list[str]:
    """Returns in words what is computed differently from now on.

    >>> changes(({"from_step": 0, "n_ranks": 1},), {"n_ranks": 2})
    ['n_ranks 1 -> 2']
    """
    last = before[-1] if before else now
    return [f"{key} {last.get(key)} -> {now[key]}" for key in now if last.get(key) != now[key]]


def continued(before: tuple[Segment, ...], step: int, now: Segment) -> tuple[Segment, ...]:
    """Returns the segments of a run that goes on after `step` steps.

    >>> first = continued((), 0, {"n_ranks": 1})
    >>> continued(first, 10, {"n_ranks": 1}) == first
    True
    >>> continued(first, 0, {"n_ranks": 2})
    ({'from_step': 0, 'n_ranks': 2},)
    """
    if before and not changes(before, now):
        return before
    kept = tuple(segment for segment in before if segment["from_step"] < step)
    return (*kept, {"from_step": step, **now})
