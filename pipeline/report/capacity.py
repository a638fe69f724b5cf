"""What size buys: losses and zero-shot scores of the capacity ladder against parameters.

    loss                          the law through all sizes with its interval, training and held-out
     │ o.                         loss of each size, and what the smaller sizes foretold of the
     │    ` o .                   largest (◇) beside what was measured (o)
     │         ` - o - _ ◇o
     └──────────────────> log N

Paper: GPT-2, figure 4 (train and test loss against size) and figure 1 (zero-shot scores).
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from pipeline.report import figures, scores
from pipeline.report.figures import LIGHT, Variant

Metrics = Mapping[str, Mapping[str, Any]]

# The score that is drawn of a protocol: the first that it has.
_SCORES = (
    "bits_per_byte",
    "bits_per_character",
    "accuracy",
    "f1",
    "exact_match",
    "bleu_13a",
    "rouge_mean",
)
_CURVE = "curve"  # the law's points; figures of an older version lack them
_CHARS_PER_IN = 9.4  # of a title
_NARROW_IN = 5.0  # below it scores are drawn two abreast, else three
_LOSS_IN, _SCORE_IN = 3.4, 2.0  # heights
_ASIDE = 1.07  # the prediction stands beside the truth, not on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size of the ladder, as it is shown."""

    name: str
    n_parameters: str
    train: str
    valid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A score at the smallest and at the largest size, and what ten times the parameters add."""

    title: str
    smallest: str
    largest: str
    per_decade: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the ladder says.

    Attributes:
        losses: The drawing of losses.
        scores: The drawing of zero-shot scores; empty where there are none.
        law: The fit and the prediction, in sentences.
        sizes: Ascending.
        lines: One per score.
    """

    losses: tuple[Variant, ...]
    scores: tuple[Variant, ...]
    law: tuple[str, ...]
    sizes: tuple[Size, ...]
    lines: tuple[Line, ...]


def capacity(metrics: Metrics) -> Capacity | None:
    """Returns what `metrics/scaling.json` says, None where the ladder has not been climbed."""
    told = metrics.get("scaling")
    if told is None:
        return None
    chosen = dict(_chosen(told))
    return Capacity(
        losses=figures.variants(partial(draw_losses, told)),
        scores=figures.variants(partial(draw_scores, told, chosen)) if chosen else (),
        law=tuple(_law(told)),
        sizes=tuple(_size(size) for size in told["sizes"]),
        lines=tuple(_line(told, *each) for each in chosen.items()),
    )


def _chosen(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields protocols with the score that is drawn of them."""
    for protocol in scores.in_order(told["scores"]):
        name = next((name for name in _SCORES if name in told["scores"][protocol]), None)
        if name is not None:
            yield protocol, name


def _law(told: Mapping[str, Any]) -> Iterator[str]:
    fit, foretold = told["fit"], told["predictions"]["valid_loss"]["non_embedding"]
    low, high = fit["interval"]["alpha"]
    freedom = fit["degrees_of_freedom"]
    yield (
        f"L(N) = {fit['a']:.4g} N^-{fit['alpha']:.3g} + {fit['c']:.3g} nats per held-out token "
        f"after {told['n_tokens']:,} tokens (exponent {low:.3g} to {high:.3g}, 95 %)"
    )
    most = f"no size is further than {100 * fit['max_relative_error']:.2g} % from it"
    if fit["at_bound"]:
        yield f"at the edge of what is searched: {', '.join(fit['at_bound'])}"
    yield most if freedom else "it goes through its points: nothing tests it"
    if _CURVE not in told:
        yield (
            f"the law is not drawn: metrics/scaling.json has no {_CURVE!r}, an older version wrote "
            "it; run make scaling, then dvc repro -f -s report"
        )
    if "absent" in foretold:
        yield f"no prediction of the largest: {foretold['absent']}"
        return
    yield (
        f"the {foretold['from_sizes']} smaller sizes foretell "
        f"{_with_ends(foretold['predicted'], foretold['predicted_interval'])} for the largest, "
        f"measured was {_with_ends(foretold['measured'], foretold['measured_interval'])}: "
        f"{'within' if foretold['within'] else 'outside'} the interval of the difference, "
        f"{_with_ends(foretold['error'], foretold['error_interval'], '+.3f')}"
    )


def _with_ends(value: float, interval: Sequence[float], form: str = ".3f") -> str:
    low, high = interval
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def _size(told: Mapping[str, Any]) -> Size:
    return Size(
        name=told["name"],
        n_parameters=f"{told['n_parameters_non_embedding']:,}",
        train=f"{told['train_loss']:.3f}",
        valid=_with_ends(told["valid_loss"], told["valid_loss_interval"]),
    )


def _line(told: Mapping[str, Any], protocol: str, name: str) -> Line:
    values = [size["scores"][protocol][name] for size in told["sizes"]]
    line = told["scores"][protocol][name]["non_embedding"]
    low, high = (_change(name, end) for end in line["interval"])
    return Line(
        title=f"{scores.title_of(protocol)}: {scores.measure_of(name)}",
        smallest=scores.number(name, values[0]),
        largest=scores.number(name, values[-1]),
        per_decade=f"{_change(name, line['per_decade'])} ({low} to {high})",
    )


def _change(name: str, value: float) -> str:
    return f"{100 * value:+.1f}" if scores.is_share(name) else f"{value:+.3f}"


def draw_losses(told: Mapping[str, Any], width: float) -> bytes:
    """Returns losses against parameters as SVG; both axes are logarithmic.

    Args:
        told: `metrics/scaling.json`.
        width: In inches of 72 CSS pixels.
    """
    sizes = told["sizes"]
    with figures.style():
        figure = Figure(figsize=(width, _LOSS_IN), layout="constrained")
        axis = figure.subplots()
        figures.furnish(axis, "loss, nats per token")
        if _CURVE in told:
            _law_line(axis, told[_CURVE])
        _points(axis, sizes, "train_loss", color=LIGHT.lines[0], label="training text", marker="s")
        _points(axis, sizes, "valid_loss", color=LIGHT.lines[1], label="held out", marker="o")
        _prediction(axis, told["predictions"]["valid_loss"]["non_embedding"])
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(MaxNLocator(5))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        _size_axis(axis, [size["n_parameters_non_embedding"] for size in sizes])
        axis.set_xlabel("parameters without embeddings", color=LIGHT.text, loc="right")
        axis.legend(frameon=False, labelcolor=LIGHT.text, loc="lower left")
        return figures.to_svg(figure)


def _law_line(axis: Axes, curve: Sequence[Mapping[str, Any]]) -> None:
    n = [point["n_parameters"] for point in curve]
    low, high = zip(*(point["interval"] for point in curve), strict=True)
    axis.fill_between(n, low, high, color=LIGHT.lines[0], alpha=0.3, linewidth=0)
    law = [point["loss"] for point in curve]
    axis.plot(n, law, color=LIGHT.lines[1], linewidth=1.4, label="law, 95 %")


def _points(axis: Axes, sizes: Sequence[Mapping[str, Any]], name: str, **stroke: Any) -> None:
    """Draws a loss of each size with its interval."""
    n = [size["n_parameters_non_embedding"] for size in sizes]
    values = [size[name] for size in sizes]
    ends = [size[f"{name}_interval"] for size in sizes]
    _with_bars(axis, n, values, ends, markersize=5, **stroke)


def _prediction(axis: Axes, foretold: Mapping[str, Any]) -> None:
    if "absent" in foretold:
        return
    beside = [foretold["n_parameters"] * _ASIDE]
    _with_bars(
        axis,
        beside,
        [foretold["predicted"]],
        [foretold["predicted_interval"]],
        color=LIGHT.lines[2],
        label=f"foretold from the {foretold['from_sizes']} smaller",
        marker="D",
        markersize=6,
        markerfacecolor="none",
    )


def _with_bars(
    axis: Axes,
    n: Sequence[float],
    values: Sequence[float],
    ends: Sequence[Sequence[float]],
    **stroke: Any,
) -> None:
    below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
    above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
    axis.errorbar(n, values, (below, above), linestyle="none", elinewidth=1.2, **stroke)


def _size_axis(axis: Axes, marked: Sequence[int]) -> None:
    """Makes the x axis logarithmic and marks some sizes on it."""
    axis.set_xscale("log")
    axis.set_xticks(marked, [short(n) for n in marked])
    axis.xaxis.set_minor_locator(NullLocator())


def short(n: int) -> str:
    """Returns a number of parameters in few characters.

    >>> [short(n) for n in (512, 3_312, 790_272, 84_934_656, 1_474_560_000)]
    ['512', '3.31k', '790k', '84.9M', '1.47B']
    """
    for size, sign in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g}{sign}"
    return str(n)


def draw_scores(told: Mapping[str, Any], chosen: Mapping[str, str], width: float) -> bytes:
    """Returns a small drawing per zero-shot score: each model, and a line through the means.

    Args:
        told: `metrics/scaling.json`.
        chosen: The score of each protocol.
        width: In inches of 72 CSS pixels.
    """
    n_columns = min(2 if width < _NARROW_IN else 3, len(chosen))
    n_rows = -(-len(chosen) // n_columns)
    with figures.style():
        figure = Figure(figsize=(width, n_rows * _SCORE_IN + 0.5), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axis, (protocol, name) in zip(axes, chosen.items(), strict=False):
            _score(axis, told["sizes"], protocol, name, int(width / n_columns * _CHARS_PER_IN))
        for axis in axes[len(chosen) :]:
            axis.set_axis_off()
        return figures.to_svg(figure)


def _score(
    axis: Axes, sizes: Sequence[Mapping[str, Any]], protocol: str, name: str, n_chars: int
) -> None:
    scale, unit = (100, ", %") if scores.is_share(name) else (1, "")
    title = f"{scores.title_of(protocol)}: {scores.measure_of(name)}{unit}"
    figures.furnish(axis, textwrap.fill(title, n_chars, break_on_hyphens=False))
    n = [size["n_parameters_non_embedding"] for size in sizes]
    for each, size in zip(n, sizes, strict=True):
        values = [scale * run["scores"][protocol][name] for run in size["runs"]]
        axis.plot(
            [each] * len(values),
            values,
            color=LIGHT.lines[0],
            marker="o",
            markersize=4,
            linewidth=0,
        )
    means = [scale * size["scores"][protocol][name] for size in sizes]
    axis.plot(n, means, color=LIGHT.lines[1], linewidth=1.4)
    axis.yaxis.set_major_locator(MaxNLocator(4))
    _size_axis(axis, [n[0], n[-1]])
