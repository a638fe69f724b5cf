"""The cleaning rules beside what they measure, and how much of the test sets is in the corpus.

    1370 ▇                  a bar per bin of one measure over all documents, as high as the
         ▇ ▂ ▁ . . | .      square root of its share, so that a handful is still seen; a line
         0         0.9      where a rule's limit is

The x axis goes by bins, as the stage cut them; widths are of `WIDTH`, heights in CSS pixels.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Any]

WIDTH = 1000
HEIGHT_PX = 44
_GAP = 6
_MAX, _MIN = "_max_", "_min_"
_SHARE = "_frac"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bin: where it is drawn."""

    x: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One rule: what it allows, where its line is drawn, how many documents it dropped."""

    rule: str
    allows: str
    x: float
    n_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measured figure over all documents, and the rules that limit it."""

    name: str
    first: str
    last: str
    bars: tuple[Bar, ...]
    limits: tuple[Limit, ...]

    @property
    def n_dropped(self) -> int:
        """How many documents its rules dropped."""
        return sum(limit.n_dropped for limit in self.limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a rule is worth to the model, by training without it."""

    rule: str
    n_more: str
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """One test set: its 8-grams, and how many of a hundred are in the corpus before and after.

    `paper` is what the GPT-2 paper found of its set of that name in WebText, "" for others.
    """

    name: str
    n_8grams: int
    found: str
    left: str
    paper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """One kind of text: how much of it stands in the training text, as the paper's figure 5."""

    name: str
    n_texts: int
    mean: str
    p90: str
    highest: str
    longest: int


def measures(metrics: Metrics) -> tuple[Measure, ...]:
    """Returns the histograms of `metrics/clean.json`, those whose rules dropped most in front.

    Rules that let everything pass are left out, and measures that have no other.
    """
    told = metrics.get("clean", {})
    dropped = told.get("counts", {}).get("dropped", {})
    made = [_measure(n, h, dropped) for n, h in told.get("histograms", {}).items()]
    shown = [measure for measure in made if measure.limits]
    return tuple(sorted(shown, key=lambda measure: (-measure.n_dropped, measure.name)))


def _measure(name: str, told: Mapping[str, Any], dropped: Mapping[str, int]) -> Measure:
    edges: list[float] = told["edges"]
    limits = {
        rule: value for rule, value in told["limits"].items() if _cuts(name, rule, float(value))
    }
    return Measure(
        name=name.replace("_", " ").replace(" frac", ""),
        first=_short(edges[0]),
        last=f"{_short(edges[-1])} and more",
        bars=tuple(_bars(told["counts"])),
        limits=tuple(
            Limit(
                rule=rule,
                allows=f"at {'most' if _MAX in rule else 'least'} {_short(value)}",
                x=_place(edges, value),
                n_dropped=dropped.get(rule, 0),
            )
            for rule, value in sorted(limits.items())
        ),
    )


def _cuts(name: str, rule: str, value: float) -> bool:
    """Returns whether a rule could ever drop a document."""
    if _MIN in rule:
        return value > 0
    return not name.endswith(_SHARE) or value < 1


def _bars(counts: Sequence[int]) -> Iterator[Bar]:
    most, step = max([*counts, 1]), WIDTH / max(1, len(counts))
    for i, n in enumerate(counts):
        if n:
            height = max(1.5, HEIGHT_PX * (n / most) ** 0.5)
            yield Bar(x=round(i * step, 1), width=round(step - _GAP, 1), height=round(height, 1))


def _place(edges: Sequence[float], value: float) -> float:
    """Returns where a value lies on an axis of equal bins; the last bin has no end."""
    step = WIDTH / len(edges)
    i = max(0, bisect_right(edges, value) - 1)
    inside = 0.0
    if i + 1 < len(edges):
        inside = max(0.0, (value - edges[i]) / (edges[i + 1] - edges[i]))
    return round((i + inside) * step, 1)


def _short(value: float) -> str:
    return f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def worths(metrics: Metrics) -> tuple[Worth, ...]:
    """Returns the leave-one-out table of `metrics/ablate.json`, the dearest rule first."""
    ruled = metrics.get("ablate", {}).get("rules", {})
    ranked = sorted(
        ((rule, told) for rule, told in ruled.items() if "change" in told),
        key=lambda item: (-item[1]["change"], item[0]),
    )
    return tuple(
        Worth(
            rule=rule,
            n_more=f"{told['documents_corpus']:+,}",
            change=f"{told['change']:+.4f} "
            f"({told['change_low']:+.4f} to {told['change_high']:+.4f})",
        )
        for rule, told in ranked
    )


def overlaps(metrics: Metrics) -> tuple[Overlap, ...]:
    """Returns the overlap table of `metrics/decontaminate.json`, in the form of table 6."""
    sets = metrics.get("decontaminate", {}).get("sets", {})
    return tuple(
        Overlap(
            name=name,
            n_8grams=told["n_8grams"],
            found=f"{told['percent']:.2f}",
            left=f"{told['percent_left']:.2f}",
            paper=f"{told['paper_percent']:.2f}" if "paper_percent" in told else "",
        )
        for name, told in sorted(sets.items())
    )


def echoes(metrics: Metrics) -> tuple[Echo, ...]:
    """Returns how much of generated and of held-out text `metrics/memorize.json` found again."""
    sets = metrics.get("memorize", {}).get("sets", {})
    return tuple(
        Echo(
            name=name.replace("_", " "),
            n_texts=told["n_texts"],
            mean=f"{told['mean_percent']:.1f}",
            p90=f"{told['p90_percent']:.1f}",
            highest=f"{told['max_percent']:.1f}",
            longest=told["longest_words"],
        )
        for name, told in sorted(sets.items())
        if "mean_percent" in told  # else no text is long enough for one 8-gram
    )


def refusals(metrics: Metrics) -> tuple[tuple[str, int], ...]:
    """Returns what hosts asked the crawl not to do, and what it could not ask, by links."""
    told = metrics.get("crawl", {})
    dropped = told.get("counts", {}).get("dropped", {})
    named = {
        "forbidden by robots.txt": dropped.get("robots_disallowed", 0),
        "robots.txt not to be had": dropped.get("robots_unreachable", 0),
        "refused to be used": dropped.get("opt_out", 0),
        "with a word about use": told.get("tally", {}).get("n_with_opt_outs", 0),
    }
    return tuple(named.items()) if told else ()
