"""Spikes: told from noise by their definition, and led back to the documents of their step."""

import random
import statistics
from itertools import pairwise

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report import page, spikes
from pipeline.report.figures import Points
from pipeline.report.gallery import shorten
from pipeline.report.page import Config
from pipeline.report.spikes import MIN_DEVIATIONS, N_BEFORE
from tests.pipeline.report.world import (
    HOSTILE,
    LEFT_OUT,
    SPIKE,
    World,
    make_losses,
    write_curves,
    write_json,
)


def noisy(n: int, seed: int = 0) -> list[float]:
    """A falling loss with the noise of its batches."""
    chance = random.Random(seed)
    return [4 + 3 / (1 + i) ** 0.5 + chance.gauss(0, 0.05) for i in range(n)]


def points(losses: list[float]) -> Points:
    return tuple((20 * (i + 1), loss) for i, loss in enumerate(losses))


def test_rise_is_measured_by_medians_of_the_losses_before_and_their_differences() -> None:
    losses = noisy(N_BEFORE + 1)
    losses[-1] = 9.0
    before = losses[:-1]
    middle = statistics.median(before)
    scatter = statistics.median(abs(b - a) for a, b in pairwise(before))
    rise = spikes.largest_rise(points(losses))
    assert rise is not None
    assert rise.done == 20 * (N_BEFORE + 1)
    assert rise.height == pytest.approx(9.0 - middle)
    assert rise.deviations == pytest.approx((9.0 - middle) / (1.4826 * scatter / 2**0.5))
    assert rise.is_spike


def test_spike_is_found_also_behind_another_one() -> None:
    losses = noisy(120)
    losses[60] += 3.0
    losses[70] += 3.5
    rise = spikes.largest_rise(points(losses))
    assert rise is not None
    assert (rise.done, rise.is_spike) == (20 * 71, True)


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_spike(seed: int) -> None:
    rise = spikes.largest_rise(points(noisy(75, seed)))
    assert rise is None or rise.deviations < MIN_DEVIATIONS


@given(st.lists(st.integers(0, 10**6), min_size=N_BEFORE + 1, max_size=60), st.integers(0, 10**6))
def test_level_of_the_loss_does_not_matter(losses: list[int], more: int) -> None:
    low = spikes.largest_rise(points([float(loss) for loss in losses]))
    high = spikes.largest_rise(points([float(loss + more) for loss in losses]))
    assert (low is None) == (high is None)
    if low and high:
        assert (low.done, low.height, low.deviations) == (high.done, high.height, high.deviations)


def test_loss_that_only_falls_has_no_rise() -> None:
    assert spikes.largest_rise(points([5.0 - i / 100 for i in range(80)])) is None


def shown(world: World, config: Config) -> lxml.html.HtmlElement:
    html = page.render(page.collect(world.sources, config))
    return lxml.html.document_fromstring(html).get_element_by_id("lineage")


def text_of(element: lxml.html.HtmlElement) -> str:
    return " ".join(element.text_content().split())


def test_page_names_the_documents_that_the_step_of_the_spike_read(
    world: World, config: Config
) -> None:
    """Those, and as many tokens of each, that the run itself names; the ledger counts from 0."""
    section = shown(world, config)
    spike, *others = section.xpath(".//article")
    assert f"A spike: after step {SPIKE} the loss lay" in text_of(section)
    assert text_of(spike).startswith(f"Step {SPIKE - 1}, counted from 0 · spike, loss")
    assert f"python -m stages.ledger --step {SPIKE - 1} " in text_of(spike)
    listed = {li.find("bdi").text: li.find("span").text for li in spike.xpath(".//li")}
    losses = tuple((10 * (i + 1), loss) for i, loss in enumerate(make_losses()))
    read = world.sources.training.documents_of(losses, [SPIKE - 1])[SPIKE - 1]
    most = sorted(read.items(), key=lambda item: (-item[1], item[0]))[: spikes.N_DOCUMENTS]
    urls = {document.doc_id: document.url for document in world.documents}
    assert listed == {shorten(urls[id_], 160): f"{n:,} tokens" for id_, n in most}
    assert len(others) == 1


def test_page_lists_what_training_itself_left_out_but_for_the_loss_scale(
    world: World, config: Config
) -> None:
    section = shown(world, config)
    assert "Training left out 3 steps: 1 loss_spike, 2 overflow." in text_of(section)
    _, other = section.xpath(".//article/h3")
    (step,) = [step for step, kind in LEFT_OUT.items() if kind == "loss_spike"]
    assert text_of(other) == f"Step {step}, counted from 0 · left out: loss_spike"


def test_page_without_checkpoint_and_tokens_says_what_is_not_known(
    own_world: World, config: Config
) -> None:
    (checkpoint,) = own_world.root.glob("models/checkpoints/*/*/checkpoint.json")
    checkpoint.unlink()
    at_hand = text_of(shown(own_world, config))
    assert "Training left out 3 steps; its checkpoints, which name them, are gone." in at_hand
    assert "http://" in at_hand  # the run at hand still tells
    (own_world.sources.data / "tokens" / "manifest.json").unlink()
    section = shown(own_world, config)
    assert "What it read is not known here" in text_of(section)
    assert section.xpath(".//li") == []


def test_page_of_quiet_and_of_short_runs_shows_no_step(own_world: World, config: Config) -> None:
    write_json(own_world.sources.metrics / "train.json", {"skipped_steps": 0})
    write_curves(own_world.root, [5.0 - i / 100 for i in range(40)])
    quiet = shown(own_world, config)
    assert "No spike: no logged loss lies above the median of the 20 before it." in text_of(quiet)
    assert quiet.xpath(".//article") == []
    write_curves(own_world.root, make_losses()[:20])
    short = text_of(shown(own_world, config))
    assert "No verdict: 20 logged losses; a spike is told from 20 before it." in short


def test_page_shows_urls_of_strangers_as_text(world: World, config: Config) -> None:
    hostile = [spikes.Read(url=shorten(attack, 160), n_tokens=7) for attack in HOSTILE]
    moment = spikes.Moment(step=1, why="", documents=tuple(hostile), n_documents=9)
    context = page.collect(world.sources, config)
    context["lineage"] = spikes.Lineage(told="", left_out="", moments=(moment,))
    html = page.render(context)
    section = lxml.html.document_fromstring(html).get_element_by_id("lineage")
    assert section.xpath(".//bdi/text()") == [shorten(attack, 160) for attack in HOSTILE]
    assert {element.tag for element in section.xpath(".//li/*")} == {"bdi", "span"}
    assert "and 2 more." in text_of(section)
