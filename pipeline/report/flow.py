"""The flow of documents through the graph, and whether it adds up.

Each stage owes `n_in = n_out + drops`, and the next stage owes that it saw what this one let go and
what entered beside it: archives of the user at `extract`, finished documents at `clean`.
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


# Not one of the chain: it enters at `clean`, beside the pages.
DOCUMENTS = Stage(
    name="documents",
    reads="documents of the user",
    leaves="documents",
    does="Takes finished texts as they are.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stage of the flow; `dropped` is ordered from the most common reason down.

    `n_entered` of what it counts in did not come from the stage before it.
    """

    stage: Stage
    n_in: int
    n_out: int
    dropped: tuple[tuple[str, int], ...]
    n_entered: int = 0

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
    rows = tuple(_row(stage, metrics) for stage in STAGES if _ran(stage, metrics))
    absent = tuple(stage.name for stage in STAGES if not _ran(stage, metrics))
    beside = (_row(DOCUMENTS, metrics),) if _ran(DOCUMENTS, metrics) else ()
    problems = [*_losses((*rows, *beside)), *_gaps(rows), *_holes(rows)]
    return Flow(rows=rows, problems=tuple(problems), absent=absent)


def _ran(stage: Stage, metrics: Mapping[str, Mapping[str, Any]]) -> bool:
    return "counts" in metrics.get(stage.name, {})


def _row(stage: Stage, metrics: Mapping[str, Mapping[str, Any]]) -> Row:
    counts = metrics[stage.name]["counts"]
    dropped = sorted(counts["dropped"].items(), key=lambda item: (-item[1], item[0]))
    return Row(
        stage=stage,
        n_in=counts["n_in"],
        n_out=counts["n_out"],
        dropped=tuple((reason, n) for reason, n in dropped if n),
        n_entered=_entered(stage, metrics),
    )


def _entered(stage: Stage, metrics: Mapping[str, Mapping[str, Any]]) -> int:
    """Returns how many of what a stage reads came by another way than from the stage before it."""
    if stage.name == "clean" and _ran(DOCUMENTS, metrics):
        n_out: int = metrics[DOCUMENTS.name]["counts"]["n_out"]
        return n_out
    n_entered: int = metrics[stage.name].get("entered", 0)
    return n_entered


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
        f"{after.stage.name} saw {after.n_in - after.n_entered:,}"
        for before, after in pairwise(rows)
        if before.n_out + after.n_entered != after.n_in
    ]


def _holes(rows: tuple[Row, ...]) -> list[str]:
    """Returns a sentence for each stage without figures between two that have some."""
    ran = [STAGES.index(row.stage) for row in rows]
    between = range(ran[0], ran[-1]) if ran else range(0)
    return [f"{STAGES[i].name} has no figures" for i in between if i not in ran]
