"""Curves and bars: what is drawn is what was logged."""

import base64
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from dvclive import Live

from pipeline.report import figures
from pipeline.report.figures import DARK, LIGHT, Curve, Panel


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """Curves as DVCLive itself writes them."""
    with Live(str(tmp_path), report=None, dvcyaml=None, save_dvc_exp=False) as live:  # type: ignore[arg-type]
        for step in range(0, 50, 10):
            live.step = step
            live.log_metric("train/loss", 5.0 - step / 20)
            live.log_metric("train/lr", 0.001)
            if step % 20 == 0:
                live.log_metric("valid/loss", 6.0 - step / 20)
    return tmp_path / "plots" / "metrics"


def test_read_curves_of_dvclive_gives_points_by_name(logged: Path) -> None:
    curves = figures.read_curves(logged)
    assert list(curves) == ["train/loss", "train/lr", "valid/loss"]
    assert curves["valid/loss"].points == ((0, 6.0), (20, 5.0), (40, 4.0))


def test_read_curves_of_nothing_is_empty(tmp_path: Path) -> None:
    assert figures.read_curves(tmp_path / "absent") == {}


def test_panels_put_losses_together_and_the_rate_below(logged: Path) -> None:
    shown = figures.panels(figures.read_curves(logged))
    names = [[curve.name for curve in panel.curves] for panel in shown]
    assert names == [["train/loss", "valid/loss"], ["train/lr"]]
    assert figures.describe(shown)[0] == "train/loss: 5 at step 0, 3 at step 40, lowest 3"


def test_draw_is_deterministic_svg_with_a_line_per_curve(logged: Path) -> None:
    shown = figures.panels(figures.read_curves(logged))
    first, second = (figures.draw(shown, 9.6) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first
    text = " ".join(ET.fromstring(first).itertext())
    assert "train/loss" in text
    assert "loss, nats per token" in text
    assert LIGHT.lines[0].encode() in first


def test_draw_shows_the_run_before_muted_and_named(logged: Path) -> None:
    curves = figures.read_curves(logged)
    past = {"valid/loss": Curve(name="valid/loss", points=((0, 7.0), (20, 6.5)))}
    svg = figures.draw(figures.panels(curves, past), 9.6)
    assert "valid/loss, before" in " ".join(ET.fromstring(svg).itertext())
    assert LIGHT.past[0].encode() in svg
    assert not any(ink.encode() in figures.darken(svg) for ink in LIGHT.past)
    assert LIGHT.past[0].encode() not in figures.draw(figures.panels(curves), 9.6)


def test_darken_leaves_no_light_ink_and_nothing_else_changed(logged: Path) -> None:
    light = figures.draw(figures.panels(figures.read_curves(logged)), 4.2)
    dark = figures.darken(light)
    used = [colour.encode() for colour in LIGHT.all if colour.encode() in light]
    assert len(used) == 4
    assert not any(colour in dark for colour in used)
    assert len(dark) == len(light)
    assert not set(LIGHT.all) & set(DARK.all)


def test_draw_single_point_and_name_with_markup_is_well_formed() -> None:
    curve = Curve(name="a<b>&$x$/loss", points=((0, 1.0),))
    svg = figures.draw([Panel(title="loss", curves=(curve, curve), height=2.0)], 4.2)
    assert "a<b>&$x$/loss" in " ".join(ET.fromstring(svg).itertext())


def test_picture_has_a_variant_for_each_kind_of_screen(logged: Path) -> None:
    variants = figures.picture(figures.panels(figures.read_curves(logged)))
    assert len({variant.uri for variant in variants}) == 4
    assert [variant.media == "" for variant in variants] == [False, False, False, True]
    for variant in variants:
        head, _, body = variant.uri.partition(",")
        assert head == "data:image/svg+xml;base64"
        assert ET.fromstring(base64.b64decode(body)).tag.endswith("svg")


def test_thin_keeps_first_and_last_point() -> None:
    points = tuple((i, float(i)) for i in range(10_007))
    thinned = figures.thin(points)
    assert thinned[0] == points[0]
    assert thinned[-1] == points[-1]
    assert len(thinned) <= figures.MAX_POINTS + 1


def test_counts_equal_a_plain_count() -> None:
    words = [1, 2, 3, 64, 127, 128, 0]
    source = ds.dataset(pa.table({"n": pa.array(words, pa.int64()), "d": list("aabbbcb")}))
    assert figures.count_values(source, "d") == Counter("aabbbcb")
    assert figures.count_lengths(source, "n") == {2: 2, 4: 2, 128: 2, 256: 1}


def test_years_are_those_of_the_seconds_and_null_is_none() -> None:
    at = pa.array([0, 31_536_000, 31_535_999, None, 1_512_086_400], pa.int64())
    found = figures.count_years(ds.dataset(pa.table({"at": at})), "at")
    assert found == {"1970": 2, "1971": 1, "2017": 1}


def test_lengths_show_empty_classes_between() -> None:
    bars = figures.lengths({4: 2, 32: 1})
    assert [(bar.label, bar.n) for bar in bars] == [
        ("2 – 3", 2),
        ("4 – 7", 0),
        ("8 – 15", 0),
        ("16 – 31", 1),
    ]


def test_most_common_sums_up_the_rest() -> None:
    bars = figures.most_common(Counter({"a": 5, "b": 3, "c": 3, "d": 1}), 2)
    assert [(bar.label, bar.n) for bar in bars] == [("a", 5), ("b", 3), ("2 others", 4)]
    assert [bar.share for bar in bars] == [1.0, 0.6, 0.0]
