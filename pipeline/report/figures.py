"""Curves of a training run as pictures, those of the run before beside them; counts as bars.

Curves are drawn with matplotlib into SVG that goes into the page as an image of its own, so that
its styles and ids cannot meet the page's. Each is drawn for light and dark, wide and narrow
screens; the same points give the same bytes (no date, no random ids).
"""

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Points = tuple[tuple[int, float], ...]

MAX_POINTS = 1500  # of one curve; more than the pixels of a wide screen's column
MARKED_POINTS = 30  # of a curve that is measured now and then
_NARROW_SCREEN = "(max-width: 640px)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """Colours of a drawing; those of the page's style sheet, and muted ones for what is past."""

    text: str
    grid: str
    lines: tuple[str, ...]
    past: tuple[str, str]

    @property
    def all(self) -> tuple[str, ...]:
        """Returns every colour in a fixed order."""
        return (self.text, self.grid, *self.lines, *self.past)


LIGHT = Ink(
    text="#59616e",
    grid="#e3dfd5",
    lines=("#8fb8b6", "#0f6a6d", "#b5472f"),
    past=("#d3ccbf", "#978e7e"),
)
DARK = Ink(
    text="#9ba5b3",
    grid="#2b333e",
    lines=("#3f7f84", "#6fd0d0", "#f0937a"),
    past=("#4d5765", "#7d8794"),
)

_STYLE: dict[Any, Any] = {  # the keys are typed as literals
    "svg.fonttype": "none",
    "svg.hashsalt": "outbound",
    "text.parse_math": False,  # names of curves are file names
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One figure over the steps of a training run."""

    name: str
    points: Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Curves that share a y axis; `past` are those of the run before."""

    title: str
    curves: tuple[Curve, ...]
    height: float
    past: tuple[Curve, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One rendering of a picture: for which screens, and its data URI."""

    media: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One count with its share of the longest bar, 0..1."""

    label: str
    n: int
    share: float


def read_curves(folder: Path) -> dict[str, Curve]:
    """Reads the curves that DVCLive left, by their path without suffix, e.g. `train/loss`.

    Args:
        folder: `metrics/train/plots/metrics`; may be absent.
    """
    found = {p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.rglob("*.tsv")}
    return {name: Curve(name=name, points=_points(found[name])) for name in sorted(found)}


def _points(path: Path) -> Points:
    """Reads one tab-separated file: a header with `step`, then a row per logged step."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    names = header.split("\t")
    x, y = names.index("step"), names.index(path.stem)
    rows = [line.split("\t") for line in lines if line]
    return tuple((int(row[x]), float(row[y])) for row in rows)


def panels(
    curves: Mapping[str, Curve], past: Mapping[str, Curve] = MappingProxyType({})
) -> tuple[Panel, ...]:
    """Returns what is drawn of a training run: losses in one panel, the learning rate below.

    Args:
        curves: Of the run.
        past: Of the run before.
    """
    titles = (("loss", "loss, nats per token", 3.0), ("lr", "learning rate", 1.0))
    drawn = (
        Panel(title=title, height=height, curves=_named(curves, name), past=_named(past, name))
        for name, title, height in titles
    )
    return tuple(panel for panel in drawn if panel.curves)


def _named(curves: Mapping[str, Curve], last: str) -> tuple[Curve, ...]:
    """Returns the curves whose path ends in a name."""
    return tuple(curve for name, curve in curves.items() if name.rpartition("/")[2] == last)


def picture(shown: Sequence[Panel]) -> tuple[Variant, ...]:
    """Returns the drawing of panels for each kind of screen."""
    return variants(partial(draw, shown))


def variants(drawn: Callable[[float], bytes]) -> tuple[Variant, ...]:
    """Returns a drawing for each kind of screen; the last one is for all others.

    Args:
        drawn: Returns the SVG, in light ink, of a width in inches.
    """
    dark = "(prefers-color-scheme: dark)"
    narrow, wide = drawn(4.2), drawn(9.6)
    return (
        Variant(media=f"{_NARROW_SCREEN} and {dark}", uri=_uri(darken(narrow))),
        Variant(media=_NARROW_SCREEN, uri=_uri(narrow)),
        Variant(media=dark, uri=_uri(darken(wide))),
        Variant(media="", uri=_uri(wide)),
    )


def darken(svg: bytes) -> bytes:
    """Returns a drawing in the dark ink: laying out axes again would take seconds."""
    for light, dark in zip(LIGHT.all, DARK.all, strict=True):
        svg = svg.replace(light.encode(), dark.encode())
    return svg


def describe(shown: Sequence[Panel]) -> tuple[str, ...]:
    """Returns each curve in one sentence, for those who cannot see the picture."""
    return tuple(
        f"{curve.name}: {curve.points[0][1]:.4g} at step {curve.points[0][0]:,}, "
        f"{curve.points[-1][1]:.4g} at step {curve.points[-1][0]:,}, "
        f"lowest {min(value for _, value in curve.points):.4g}"
        for panel in shown
        for curve in panel.curves
    )


def draw(shown: Sequence[Panel], width: float) -> bytes:
    """Returns panels under one another over one x axis as SVG.

    Args:
        shown: At least one panel.
        width: In inches of 72 CSS pixels.
    """
    heights = [panel.height for panel in shown]
    with style():
        figure = Figure(figsize=(width, sum(heights) + 0.6), layout="constrained")
        axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)
        for panel, axis in zip(shown, axes[:, 0], strict=True):
            _panel(axis, panel)
        axes[-1, 0].set_xlabel("step", color=LIGHT.text, loc="right")
        return to_svg(figure)


def style() -> AbstractContextManager[None]:
    """Returns the context in which a figure is made and written."""
    return mpl.rc_context(_STYLE)


def to_svg(figure: Figure) -> bytes:
    """Returns a figure as SVG, in the page's typeface."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue().replace(b"'DejaVu Sans'", b"system-ui, 'DejaVu Sans', sans-serif")


def furnish(axis: Axes, title: str) -> None:
    """Gives axes their title and the page's ink."""
    axis.set_title(title, loc="left", fontsize=11, color=LIGHT.text)
    axis.tick_params(colors=LIGHT.text)
    axis.grid(axis="y", color=LIGHT.grid, linewidth=0.8)
    axis.spines["bottom"].set_color(LIGHT.grid)


def _panel(axis: Axes, panel: Panel) -> None:
    furnish(axis, panel.title)
    alone = len(panel.curves) == 1
    for number, curve in enumerate(panel.curves):
        _plot(axis, curve, curve.name, _stroke(1 if alone else number))
    for number, curve in enumerate(panel.past):
        _plot(axis, curve, f"{curve.name}, before", _past_stroke(1 if alone else number))
    if not alone:
        axis.legend(frameon=False, labelcolor=LIGHT.text, loc="upper right")
    axis.margins(x=0.01)


def _plot(axis: Axes, curve: Curve, label: str, stroke: Mapping[str, Any]) -> None:
    steps, values = zip(*thin(curve.points), strict=True)
    marker = "o" if len(steps) <= MARKED_POINTS else "none"
    axis.plot(steps, values, label=label, marker=marker, markersize=4, **stroke)


def _stroke(number: int) -> dict[str, Any]:
    """Returns how the curve of that number is drawn: the first, of training, is the quiet one."""
    return {
        "color": LIGHT.lines[number % len(LIGHT.lines)],
        "linewidth": 2.0 if number else 1.2,
    }


def _past_stroke(number: int) -> dict[str, Any]:
    """Returns the same for the run before: muted, and dashed where it is no noisy line."""
    return {
        "color": LIGHT.past[min(number, 1)],
        "linewidth": 1.4 if number else 1.0,
        "linestyle": (0, (5, 2)) if number else "solid",
        "zorder": 1.9,  # matplotlib's lines lie at 2
    }


def thin(points: Points, most: int = MAX_POINTS) -> Points:
    """Returns at most about `most` points, evenly picked, the last one always among them.

    >>> thin(tuple((i, 0.0) for i in range(10)), 4)
    ((0, 0.0), (3, 0.0), (6, 0.0), (9, 0.0))
    """
    stride = max(1, -(-len(points) // most))
    picked = points[::stride]
    return picked if picked[-1:] == points[-1:] else (*picked, points[-1])


def _uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def count_values(dataset: ds.Dataset, column: str) -> Counter[str]:
    """Returns how many rows have each value of a column."""
    return _count(dataset, column, lambda values: values)


def count_lengths(dataset: ds.Dataset, column: str) -> Counter[int]:
    """Returns how many rows have a value below 2, 4, 8, ...; the key is that power of two."""
    powers = _count(dataset, column, lambda n: pc.floor(pc.log2(pc.max_element_wise(n, 1))))
    return Counter({2 ** (int(power) + 1): n for power, n in powers.items()})


def count_years(dataset: ds.Dataset, column: str) -> Counter[str]:
    """Returns how many rows are of each year, by a column of seconds since 1970; null is none."""
    years = _count(dataset, column, lambda at: pc.year(at.drop_null().cast(pa.timestamp("s"))))
    return Counter({str(year): n for year, n in years.items()})


def _count(dataset: ds.Dataset, column: str, of: Callable[[pa.Array], pa.Array]) -> Counter[Any]:
    """Returns how many rows have each value that `of` makes of a column, read batch by batch."""
    counts: Counter[Any] = Counter()
    for batch in dataset.to_batches(columns=[column]):
        for pair in pc.value_counts(of(batch.column(0))).to_pylist():
            counts[pair["values"]] += pair["counts"]
    return counts


def bars(counts: Iterable[tuple[str, int]]) -> tuple[Bar, ...]:
    """Returns bars in the order given, as long as their share of the highest count.

    >>> [bar.share for bar in bars([("en", 8), ("fr", 2)])]
    [1.0, 0.25]
    """
    listed = list(counts)
    most = max((n for _, n in listed), default=0) or 1
    return tuple(Bar(label=label, n=n, share=round(n / most, 4)) for label, n in listed)


def most_common(counts: Counter[str], n: int) -> tuple[Bar, ...]:
    """Returns the highest counts as bars, equal ones by name; the rest summed up without one."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = ranked[n:]
    others = Bar(label=f"{len(rest):,} others", n=sum(count for _, count in rest), share=0.0)
    return (*bars(ranked[:n]), *([others] if rest else []))


def lengths(counts: Mapping[int, int]) -> tuple[Bar, ...]:
    """Returns one bar per power of two between the shortest and the longest."""
    if not counts:
        return ()
    powers = range(min(counts).bit_length() - 1, max(counts).bit_length())
    return bars((f"{2**p // 2:,} – {2**p - 1:,}", counts.get(2**p, 0)) for p in powers)
