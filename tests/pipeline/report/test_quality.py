"""Rules beside what they measure: lines stand where limits are, bars add up, tables say it all."""

from typing import Any

import lxml.html
import pytest

from pipeline.report import page, quality
from pipeline.report.page import Config
from tests.pipeline.report.world import HISTOGRAMS, MEMORIZE, OVERLAP, World

TOLD: dict[str, Any] = {
    "clean": {
        "counts": {"dropped": {"gopher_min_words": 3, "language": 9}},
        "histograms": HISTOGRAMS,
    },
    "decontaminate": {"sets": OVERLAP},
    "memorize": MEMORIZE,
}


def test_measures_whose_rules_dropped_most_stand_in_front_and_rules_that_are_off_are_left_out() -> (
    None
):
    words, bullets = quality.measures(TOLD)
    assert (words.name, words.n_dropped, words.first, words.last) == (
        "words",
        3,
        "0",
        "64 and more",
    )
    assert (bullets.name, bullets.n_dropped) == ("bullet lines", 0)
    assert [(each.rule, each.allows, each.n_dropped) for each in words.limits] == [
        ("gopher_max_words", "at most 100,000", 0),
        ("gopher_min_words", "at least 24", 3),
    ]
    assert [each.rule for each in bullets.limits] == ["gopher_max_bullet_lines_frac"]


def test_line_stands_between_the_bins_as_its_value_does() -> None:
    words, bullets = quality.measures(TOLD)
    most, least = words.limits
    assert least.x == 375.0  # 24 is the middle of the second of four bins
    assert most.x == 750.0  # beyond all edges: where the last bin begins
    assert bullets.limits[0].x == pytest.approx(720.0)  # 0.9 in the fourth of five bins


def test_bars_are_as_high_as_the_root_of_their_share_and_empty_bins_have_none() -> None:
    bullets = quality.measures(TOLD)[1]
    assert [(bar.x, bar.height) for bar in bullets.bars] == [
        (0.0, quality.HEIGHT_PX),
        (400.0, quality.HEIGHT_PX / 2),
        (600.0, quality.HEIGHT_PX / 8),
    ]


def test_overlap_stands_beside_the_paper_s_where_the_set_is_the_paper_s() -> None:
    assert [(o.name, o.found, o.left, o.paper) for o in quality.overlaps(TOLD)] == [
        ("heldout", "1.92", "0.44", ""),
        ("ptb", "0.50", "0.00", "0.88"),
    ]
    (echo,) = quality.echoes(TOLD)
    assert (echo.name, echo.mean, echo.p90, echo.highest) == ("held out", "1.3", "2.9", "28.6")


def test_rules_stand_by_what_they_are_worth() -> None:
    change = {"change": 0.0165, "change_low": -0.0034, "change_high": 0.0411}
    rules = {
        "a": {"documents_corpus": 0},
        "b": {**change, "change": -0.2, "documents_corpus": 3},
        "c": {**change, "documents_corpus": 14},
    }
    assert quality.worths({"ablate": {"rules": rules}}) == (
        quality.Worth(rule="c", n_more="+14", change="+0.0165 (-0.0034 to +0.0411)"),
        quality.Worth(rule="b", n_more="+3", change="-0.2000 (-0.0034 to +0.0411)"),
    )


def test_refusals_are_counted_from_the_crawl() -> None:
    told = {"counts": {"dropped": {"robots_disallowed": 4}}, "tally": {"n_with_opt_outs": 2}}
    assert dict(quality.refusals({"crawl": told})) == {
        "forbidden by robots.txt": 4,
        "robots.txt not to be had": 0,
        "refused to be used": 0,
        "with a word about use": 2,
    }
    assert quality.refusals({}) == ()


def test_page_draws_each_measure_with_its_lines(world: World, config: Config) -> None:
    shown = lxml.html.fromstring(page.render(page.collect(world.sources, config)))
    figures = shown.xpath("//*[@id='rules']//figure")
    assert [figure.findtext("h3") for figure in figures] == ["bullet lines", "words"]
    assert [len(figure.findall(".//line")) for figure in figures] == [1, 2]
    assert [len(figure.findall(".//rect")) for figure in figures] == [3, 3]
    rows = [row.text_content() for row in shown.xpath("//*[@id='overlap']//tbody/tr")]
    assert rows == ["heldout46,4211.920.44–", "ptb9000.500.000.88", "held out641.32.928.623"]
    assert "make ablate" in shown.get_element_by_id("rules").text_content()


def test_before_any_run_all_is_empty() -> None:
    assert quality.measures({}) == quality.worths({}) == quality.overlaps({}) == ()
    assert quality.echoes({}) == ()
