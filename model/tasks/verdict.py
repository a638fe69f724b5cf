"""Published weights against the paper: pass or fail, figure by figure.

    matrix of `evaluate` ── rows with the paper's figure of this size ──> ours, paper, pass or fail

Decisions:
- Passed is what lies within `max_deviation` of the paper's figure, relative. The paper rounds to
  two digits or three, and leaves open what shifts a perplexity by more (window, stride, BOS): a
  fail says that a protocol differs, and its row says which one was ours.
- A figure whose cell is empty is not judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.tasks.paper import BASELINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One figure beside the paper's."""

    protocol: str
    figure: str
    ours: float
    paper: float
    is_passed: bool


def verdicts(matrix: Sequence[Mapping[str, Any]], size: str, max_deviation: float) -> list[Verdict]:
    """Returns the figures that the paper gives for a model of this size, or for none.

    >>> row = {"protocol": "text8", "figure": "bits_per_character", "value": 1.18}
    >>> row |= {"paper": {"117M": 1.17, "345M": 1.06}}
    >>> [verdicts([row], size, 0.02)[0].is_passed for size in ("117M", "345M")]
    [True, False]
    """
    found = []
    for row in matrix:
        for who in (size, BASELINE):
            paper = row["paper"].get(who)
            if paper is not None:
                found.append(
                    Verdict(
                        protocol=row["protocol"],
                        figure=row["figure"],
                        ours=row["value"],
                        paper=paper,
                        is_passed=abs(row["value"] - paper) <= max_deviation * paper,
                    )
                )
    return found


def lines(found: Sequence[Verdict]) -> list[str]:
    """Returns a table for people, one line per verdict."""
    return [
        f"{'pass' if each.is_passed else 'FAIL'}  {each.protocol:<28} {each.figure:<26} "
        f"{each.ours:>12g}  paper {each.paper:g}"
        for each in found
    ]
