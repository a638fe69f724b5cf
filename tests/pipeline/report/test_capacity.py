"""The ladder on the page: what `scaling` measured, drawn and told; scores by their unit."""

import json
from typing import Any
from xml.etree import ElementTree as ET

import lxml.html
import pytest

from pipeline.report import capacity, page
from pipeline.report.figures import LIGHT
from pipeline.report.page import Config
from tests.pipeline.report.world import HOSTILE, World, make_scaling, write_json


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """Figures of five sizes, by the ladder's own code."""
    return make_scaling(5)


def words(svg: bytes) -> str:
    return " ".join(" ".join(ET.fromstring(svg).itertext()).split())


def test_losses_are_drawn_with_law_sizes_and_prediction(told: dict[str, Any]) -> None:
    svg = capacity.draw_losses(told, 9.6)
    drawn = words(svg)
    for name in ("loss, nats per token", "law, 95 %", "held out", "foretold from the 4 smaller"):
        assert name in drawn
    for size in ("12k", "50k", "200k", "800k", "3M"):
        assert f" {size} " in f" {drawn} "
    assert LIGHT.lines[2].encode() in svg
    assert svg == capacity.draw_losses(told, 9.6)


def test_few_sizes_have_no_prediction_and_say_so() -> None:
    few = make_scaling(3)
    assert LIGHT.lines[2].encode() not in capacity.draw_losses(few, 4.2)
    found = capacity.capacity({"scaling": few})
    assert found is not None
    assert found.law[1] == "it goes through its points: nothing tests it"
    assert found.law[2].startswith("no prediction of the largest: 2 smaller sizes")


def test_law_and_prediction_are_told_as_measured(told: dict[str, Any]) -> None:
    found = capacity.capacity({"scaling": told})
    assert found is not None
    fit, foretold = told["fit"], told["predictions"]["valid_loss"]["non_embedding"]
    law, most, prediction = found.law
    assert law.startswith(f"L(N) = {fit['a']:.4g} N^-{fit['alpha']:.3g} + {fit['c']:.3g} nats")
    assert most == f"no size is further than {100 * fit['max_relative_error']:.2g} % from it"
    assert f"the 4 smaller sizes foretell {foretold['predicted']:.3f} (" in prediction
    assert f"measured was {foretold['measured']:.3f} (" in prediction
    verdict = "within" if foretold["within"] else "outside"
    assert f": {verdict} the interval of the difference, {foretold['error']:+.3f} (" in prediction
    assert [size.n_parameters for size in found.sizes] == [
        f"{size['n_parameters_non_embedding']:,}" for size in told["sizes"]
    ]


def test_law_at_the_edge_says_so(told: dict[str, Any]) -> None:
    edge = {**told, "fit": {**told["fit"], "at_bound": ["c"]}}
    found = capacity.capacity({"scaling": edge})
    assert found is not None
    assert found.law[1] == "at the edge of what is searched: c"


def test_ladder_of_an_older_version_is_drawn_without_the_law_and_says_so(
    own_world: World, config: Config
) -> None:
    path = own_world.sources.metrics / "scaling.json"
    told = json.loads(path.read_bytes())
    del told["curve"]
    write_json(path, told)
    html = page.render(page.collect(own_world.sources, config))
    section = lxml.html.document_fromstring(html).get_element_by_id("capacity")
    assert (
        "the law is not drawn: metrics/scaling.json has no 'curve', an older version wrote it; "
        "run make scaling, then dvc repro -f -s report"
    ) in section.text_content()
    assert len(section.xpath(".//picture")) == 2
    drawn = words(capacity.draw_losses(told, 9.6))
    assert "held out" in drawn
    assert "law" not in drawn


def test_scores_have_a_line_and_a_drawing_each_in_their_unit(told: dict[str, Any]) -> None:
    found = capacity.capacity({"scaling": told})
    assert found is not None
    lastword, hostile, plain = found.lines
    line = told["scores"]["heldout_lastword"]["accuracy"]["non_embedding"]
    low, high = line["interval"]
    assert lastword.per_decade == (
        f"{100 * line['per_decade']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    )
    assert plain.title == "words: accuracy"  # of perplexity and accuracy the latter
    assert lastword.smallest.endswith("%")
    assert hostile.title.startswith(HOSTILE[0])
    for width in (4.2, 9.6):
        chosen = {"heldout_lastword": "accuracy", HOSTILE[0]: "accuracy"}
        drawn = words(capacity.draw_scores(told, chosen, width))
        assert "Last words of held-out" in drawn
        assert "</script><script>" in drawn


@pytest.mark.parametrize(
    ("n", "shown"), [(999, "999"), (1000, "1k"), (12_768, "12.8k"), (1_474_560_000, "1.47B")]
)
def test_short_names_a_size_in_few_characters(n: int, shown: str) -> None:
    assert capacity.short(n) == shown


def test_page_shows_the_ladder_and_its_names_stay_text(world: World, config: Config) -> None:
    html = page.render(page.collect(world.sources, config))
    section = lxml.html.document_fromstring(html).get_element_by_id("capacity")
    assert len(section.xpath(".//picture")) == 2
    sizes, lines = section.xpath(".//table")
    assert len(sizes.xpath(".//tbody/tr")) == 5
    assert lines.xpath(".//tbody/tr")[1][0].text == f"{HOSTILE[0]}: accuracy"
    assert section.xpath(".//script") == []
    assert "make scaling" not in section.text_content()


def test_before_the_ladder_there_is_nothing() -> None:
    assert capacity.capacity({}) is None
