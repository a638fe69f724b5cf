"""The run before: which one it is, what is said of it, and that nothing but reports decides it."""

import json
import shutil
from pathlib import Path
from typing import Any

import lxml.html

from pipeline.report import page, previous
from pipeline.report.figures import Curve
from pipeline.report.page import Config
from pipeline.report.previous import Change, Run
from tests.pipeline.report.world import HOSTILE, World, make_losses, write_curves, write_json


def run_of(last: float, **facts: Any) -> Run:
    points = ((10, 5.0), (20, last))
    return Run(curves={"train/loss": Curve(name="train/loss", points=points)}, facts=facts)


def report(folder: Path, now: Run) -> Run | None:
    """Does what a report does: looks for the run before, then keeps this one."""
    found = previous.before(folder, now)
    previous.keep(folder, now)
    return found


def test_run_before_is_the_last_other_one_that_was_reported(tmp_path: Path) -> None:
    a, b, c = run_of(4.0, lr=1), run_of(3.0, lr=2), run_of(2.0, lr=3)
    reported = [a, a, b, b, a, c, c]
    found = [report(tmp_path / "kept", run) for run in reported]
    assert found == [None, None, a, a, b, a, a]


def test_run_whose_keeping_was_cut_short_is_kept_the_next_time(tmp_path: Path) -> None:
    a, b = run_of(4.0), run_of(3.0)
    report(tmp_path, a)
    (tmp_path / "last.json").replace(tmp_path / "before.json")  # killed between the two steps
    assert report(tmp_path, b) == a
    assert report(tmp_path, b) == a


def test_run_without_curves_is_not_kept(tmp_path: Path) -> None:
    previous.keep(tmp_path / "kept", Run(curves={}, facts={}))
    assert list(tmp_path.iterdir()) == []


def test_changes_are_what_differs_also_where_one_side_lacks_it(tmp_path: Path) -> None:
    was, now = run_of(4.0, lr=0.001, old=True, same="x"), run_of(3.0, lr=0.0005, same="x", new=None)
    assert previous.changes(was, now) == (
        Change(name="lr", was="0.001", now="0.0005"),
        Change(name="new", was="not set", now="null"),
        Change(name="old", was="true", now="not set"),
    )
    report(tmp_path, was)
    kept = report(tmp_path, now)
    assert kept is not None
    assert previous.changes(kept, now) == previous.changes(was, now)
    assert list(previous.ends(was, now)) == ["train/loss ended at 3.000, before at 4.000 (-1.000)"]


def test_facts_are_settings_of_training_and_the_tokens(world: World, tmp_path: Path) -> None:
    settings = {"model": {"n_ctx": 64}, "train": {"lr": 0.1}, "report": {"n_kept": 3}}
    found = previous.facts(settings, world.sources.data / "tokens")
    assert {"model.n_ctx": 64, "train.lr": 0.1}.items() <= found.items()
    assert len(found) == 3
    assert previous.facts(settings, tmp_path) == {"model.n_ctx": 64, "train.lr": 0.1}


def shown(world: World, config: Config) -> tuple[str, lxml.html.HtmlElement]:
    page.run(world.sources, world.root / "report", config)
    html = (world.root / "report" / "index.html").read_bytes()
    section = lxml.html.document_fromstring(html).get_element_by_id("training")
    return " ".join(section.text_content().split()), section


def test_page_draws_the_run_before_beside_this_one(own_world: World, config: Config) -> None:
    first, _ = shown(own_world, config)
    assert "No other run has been reported here yet" in first
    alone, _ = shown(own_world, config)
    assert alone == first
    write_curves(own_world.root, [loss - 0.5 for loss in make_losses()])
    told, section = shown(own_world, config)
    assert "Muted: the run before." in told
    last = make_losses()[-1]
    assert f"train/loss ended at {last - 0.5:.3f}, before at {last:.3f} (-0.500)" in told
    assert "Its settings and tokens are the same" in told
    assert section.xpath(".//table") == []
    again, _ = shown(own_world, config)
    assert again == told


def test_page_shows_settings_that_differ_as_text(own_world: World, config: Config) -> None:
    shown(own_world, config)
    write_curves(own_world.root, make_losses()[:20])
    path = own_world.sources.before / "last.json"
    kept = json.loads(path.read_bytes())
    kept["facts"]["train.lr"] = HOSTILE[1]
    write_json(path, kept)
    _, section = shown(own_world, config)
    ((name, was, now),) = [[cell.text for cell in row] for row in section.xpath(".//tbody/tr")]
    assert (name, was) == ("train.lr", HOSTILE[1])
    assert now == str(own_world.sources.settings["train"]["lr"])


def test_page_without_what_was_kept_only_lacks_the_comparison(
    own_world: World, config: Config
) -> None:
    shown(own_world, config)
    shutil.rmtree(own_world.sources.before)
    write_curves(own_world.root, make_losses()[:20])
    told, section = shown(own_world, config)
    assert "No other run has been reported here yet" in told
    assert len(section.xpath(".//picture")) == 1
