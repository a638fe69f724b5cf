"""The flow of documents through the graph, and whether it adds up.

Each stage owes `n_in = n_out + drops`, and the next stage owes that it saw what this one let go.
What does not hold becomes a sentence in `Flow.problems` and is shown, never smoothed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a stage of the flow does, in a reader's words.

    Attributes:
        name: As in dvc.yaml.
        reads: What it counts on its way in.
        leaves: What it counts on its way out.
        does: One sentence.
    """

    name: str
    reads: str
    leaves: str
    does: str


STAGES = (
    Stage(
        name="links",
        reads="lines of the dump",
        leaves="links",
        does="Keeps what three people found worth a vote, one row per page.",
    ),
    Stage(
        name="crawl",
        reads="links",
        leaves="responses",
        does="Fetches each link once, as robots.txt and the host allow.",
    ),
    Stage(
        name="extract",
        reads="responses",
        leaves="pages",
        does="Takes the main text out of the markup.",
    ),
    Stage(
        name="clean",
        reads="pages",
        leaves="documents",
        does="Mends the text and leaves out what is no prose in the wanted languages.",
    ),
    Stage(
        name="dedup",
        reads="documents",
        leaves="unique documents",
        does="Keeps one of each group of equal or nearly equal texts.",
    ),
    Stage(
        name="decontaminate",
        reads="unique documents",
        leaves="corpus documents",
        does="Finds what the test sets share with the corpus.",
    ),
    Stage(
        name="encode",
        reads="corpus documents",
        leaves="encoded documents",
        does="Turns each document into tokens.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stage of the flow; `dropped` is ordered from the most common reason down."""

    stage: Stage
    n_in: int
    n_out: int
    dropped: tuple[tuple[str, int], ...]

    @property
    def n_dropped(self) -> int:
        """Returns how many documents end here."""
        return sum(n for _, n in self.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The stages that ran, in order, and every sentence about what does not add up."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    absent: tuple[str, ...]


def flow(metrics: Mapping[str, Mapping[str, Any]]) -> Flow:
    """Returns the flow from links to tokens, checked.

    Args:
        metrics: Content of `metrics/<stage>.json` by stage. A run may start late (documents of the
            user) or end early; a hole in between is a problem.

    >>> counts = {"n_in": 5, "n_out": 3, "dropped": {"robots": 1}}
    >>> flow({"crawl": {"counts": counts}}).problems
    ('crawl: 5 in, 3 out and 1 dropped do not add up: 1 unaccounted for',)
    """
    rows = tuple(_row(stage, metrics[stage.name]) for stage in STAGES if _ran(stage, metrics))
    absent = tuple(stage.name for stage in STAGES if not _ran(stage, metrics))
    problems = [*_losses(rows), *_gaps(rows), *_holes(rows)]
    return Flow(rows=rows, problems=tuple(problems), absent=absent)


def _ran(stage: Stage, metrics: Mapping[str, Mapping[str, Any]]) -> bool:
    return "counts" in metrics.get(stage.name, {})


def _row(stage: Stage, figures: Mapping[str, Any]) -> Row:
    counts = figures["counts"]
    dropped = sorted(counts["dropped"].items(), key=lambda item: (-item[1], item[0]))
    return Row(
        stage=stage,
        n_in=counts["n_in"],
        n_out=counts["n_out"],
        dropped=tuple((reason, n) for reason, n in dropped if n),
    )


def _losses(rows: tuple[Row, ...]) -> list[str]:
    return [
        f"{row.stage.name}: {row.n_in:,} in, {row.n_out:,} out and {row.n_dropped:,} dropped "
        f"do not add up: {abs(lost):,} {'unaccounted for' if lost > 0 else 'too many'}"
        for row in rows
        if (lost := row.n_in - row.n_out - row.n_dropped)
    ]


def _gaps(rows: tuple[Row, ...]) -> list[str]:
    return [
        f"{before.stage.name} let {before.n_out:,} {before.stage.leaves} go, "
        f"{after.stage.name} saw {after.n_in:,}"
        for before, after in pairwise(rows)
        if before.n_out != after.n_in
    ]


def _holes(rows: tuple[Row, ...]) -> list[str]:
    """Returns a sentence for each stage without figures between two that have some."""
    ran = [STAGES.index(row.stage) for row in rows]
    between = range(ran[0], ran[-1]) if ran else range(0)
    return [f"{STAGES[i].name} has no figures" for i in between if i not in ran]
