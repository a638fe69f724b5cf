"""The page: complete, self-contained, and nothing that strangers wrote is more than text."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import lxml.etree
import lxml.html
import pytest

from pipeline.report import gallery, page
from pipeline.report.page import Config
from tests.pipeline.report.world import (
    HOSTILE,
    Document,
    World,
    write_json,
    write_stage,
    write_truth,
)

TAGS = frozenset(
    """html head meta title link style body a header p h1 ul ol li strong span b nav main section
    h2 h3 h4 div lineargradient stop wbr code svg path rect line details summary table caption thead
    tbody tr th td picture source img figure figcaption article bdi mark dl dt dd pre footer
    br""".split()
)


def build(world: World, config: Config) -> lxml.html.HtmlElement:
    page.run(world.sources, world.root / "report", config)
    return lxml.html.document_fromstring((world.root / "report" / "index.html").read_bytes())


@pytest.fixture(scope="module")
def shown(world: World, config: Config) -> lxml.html.HtmlElement:
    """The parsed page of a whole run."""
    return build(world, dataclasses.replace(config, n_kept=60, n_dropped=4))


def text_of(element: lxml.html.HtmlElement, css_id: str) -> str:
    return " ".join(element.get_element_by_id(css_id).text_content().split())


def attributes(element: lxml.html.HtmlElement) -> Iterator[tuple[str, str, str]]:
    for node in element.iter(lxml.etree.Element):
        for name, value in node.attrib.items():
            yield node.tag, name, value


def test_page_holds_only_elements_of_the_template(shown: lxml.html.HtmlElement) -> None:
    assert {node.tag for node in shown.iter(lxml.etree.Element)} <= TAGS
    assert shown.xpath("//title/text()") == ["Outbound: what this run built"]


def test_page_has_no_handler_no_inline_style_and_no_address(shown: lxml.html.HtmlElement) -> None:
    for tag, name, value in attributes(shown):
        assert not name.startswith("on"), (tag, name)
        assert name != "style", tag
        if name in ("href", "src", "srcset"):
            assert value.startswith(("#", "data:")), (tag, name, value)


def test_page_links_lead_to_sections_of_the_page(shown: lxml.html.HtmlElement) -> None:
    ids = {value for _, name, value in attributes(shown) if name == "id"}
    links = {
        value[1:] for _, name, value in attributes(shown) if name == "href" and value[0] == "#"
    }
    assert links <= ids
    assert len(ids) == len([1 for _, name, _ in attributes(shown) if name == "id"])


def test_policy_allows_this_style_sheet_and_nothing_from_elsewhere(
    world: World, config: Config
) -> None:
    page.run(world.sources, world.root / "report", config)
    html = (world.root / "report" / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert policy
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize("attack", HOSTILE)
def test_attacks_are_shown_as_the_text_they_are(shown: lxml.html.HtmlElement, attack: str) -> None:
    safe = gallery.visible(attack)
    assert safe[:100] in shown.text_content()


def test_attack_in_params_and_prompt_stays_text(shown: lxml.html.HtmlElement) -> None:
    assert "seed: 1  # </code><script>alert(1)</script>" in shown.text_content()
    assert HOSTILE[1] in text_of(shown, "generated")


def test_flow_on_the_page_adds_up_when_parsed_back(shown: lxml.html.HtmlElement) -> None:
    rows = shown.xpath("//section[@id='flow']//tbody/tr")
    numbers = [[int(cell.text.replace(",", "")) for cell in row[1:4]] for row in rows]
    assert rows[0][0].text == "links"
    assert numbers[0] == [96, 88, 8]
    for n_in, n_out, n_dropped in numbers:
        assert n_in == n_out + n_dropped
    assert [n_in for n_in, _, _ in numbers[1:]] == [n_out for _, n_out, _ in numbers[:-1]]
    drops = [
        int(b.text.replace(",", "")) for b in shown.xpath("//ol[@class='river']/li/div/ul/li/b")
    ]
    assert sum(drops) == numbers[0][0] - numbers[-1][1]


def test_headline_names_documents_tokens_and_seconds(shown: lxml.html.HtmlElement) -> None:
    tiles = {t[1].text: t[0].text for t in shown.xpath("//li[@class='tile']")}
    assert tiles["documents kept"] == "60"
    assert tiles["tokens"] == "12,000"
    assert tiles["seconds in all stages"] == "10"
    assert (
        shown.xpath("//h1")[0].text
        == "88 links became 60 documents, 12,000 tokens and a language model"
    )


def test_headings_go_down_one_level_at_a_time_and_images_have_words(
    shown: lxml.html.HtmlElement,
) -> None:
    levels = [int(h.tag[1]) for h in shown.xpath("//h1|//h2|//h3|//h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(len(img.get("alt")) > 40 for img in shown.xpath("//img"))
    assert all(table[0].tag == "caption" for table in shown.xpath("//table"))
    assert all(svg.get("aria-hidden") == "true" for svg in shown.xpath("//svg"))


def test_broken_flow_is_shown_as_an_error_and_counted(own_world: World, config: Config) -> None:
    path = own_world.sources.metrics / "clean.json"
    told = json.loads(path.read_bytes())
    told["counts"]["dropped"]["language"] += 1
    write_json(path, told)
    figures = page.run(own_world.sources, own_world.root / "report", config)
    shown = lxml.html.document_fromstring((own_world.root / "report" / "index.html").read_bytes())
    assert figures["n_flow_problems"] == 1
    alarm = shown.xpath("//*[@role='alert']")[0].text_content()
    assert "clean: 76 in, 68 out and 9 dropped do not add up: 1 too many" in alarm
    assert (
        "does not add up" in shown.xpath("//ul[@class='checks']/li[@class='bad']")[0].text_content()
    )


def test_lost_document_is_shown_as_a_failed_check(own_world: World, config: Config) -> None:
    good = next(d for d in own_world.documents if not d.end)
    for folder in ("corpus", "tokens"):
        shutil.rmtree(own_world.sources.data / folder)
    data = own_world.sources.data
    alive = [d for d in own_world.documents if not d.end and d != good]
    write_stage(data, "decontaminate", alive)
    write_stage(data, "encode", alive)
    figures = page.run(own_world.sources, own_world.root / "report", config)
    assert figures["n_unaccounted"] == 1
    html = (own_world.root / "report" / "index.html").read_text()
    assert "1 of 96 documents have no fate" in html


def test_missed_case_is_listed_with_what_happened_to_it(own_world: World, config: Config) -> None:
    stranger = Document(url="http://ray-manual.test/unseen", title="", text="", end="crawl")
    kept = next(d for d in own_world.documents if not d.end)
    wrong = Document(
        url=kept.url, title="", text="", end="clean", drop=own_world.documents[-1].drop
    )
    shutil.rmtree(own_world.sources.data / "truth")
    write_truth(own_world.sources.data, [kept, wrong, stranger])
    shown = build(own_world, config)
    told = text_of(shown, "planted")
    assert "1 of 3 caught" in told
    assert "expected clean: duplicate_exact, found encode: kept" in told
    assert "found no trace of it" in told


@pytest.mark.parametrize(
    ("gone", "section", "words"),
    [
        ("metrics/train", "training", "No training curves were found"),
        ("metrics/train", "lineage", "No training curves were found"),
        ("metrics/scaling.json", "capacity", "measured by make scaling; it has not run here"),
        ("metrics/encode.json", "flow", "encode has not run"),
        ("samples", "generated", "sample has not run."),
        ("data/truth", "planted", "nothing was planted"),
        ("data/corpus", "kept", "There is no corpus yet."),
        ("data/unique", "pairs", "No near-duplicates were dropped."),
    ],
)
def test_missing_part_is_said_where_it_would_stand(
    own_world: World, config: Config, gone: str, section: str, words: str
) -> None:
    path = own_world.root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert words in text_of(build(own_world, config), section)


def test_page_of_an_empty_project_still_stands(config: Config, tmp_path: Path) -> None:
    empty = World(root=tmp_path, documents=())
    (empty.root / "params.yaml").write_text("")
    shown = build(empty, config)
    assert shown.xpath("//h1")[0].text == "Nothing has run yet"


def test_same_run_gives_the_same_bytes(world: World, config: Config) -> None:
    pages = []
    for _ in range(2):
        page.run(world.sources, world.root / "report", config)
        pages.append((world.root / "report" / "index.html").read_bytes())
    assert pages[0] == pages[1]
    assert len(pages[0]) < 500_000


def test_page_over_the_limit_is_refused_with_the_remedy(
    world: World, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"allowed 1,000: lower report\.n_dropped"):
        page.run(world.sources, world.root / "report", config)


@pytest.mark.parametrize(
    ("field", "value"), [("n_kept", 0), ("n_bars", 101), ("excerpt_chars", 10)]
)
def test_config_out_of_range_is_refused(config: Config, field: str, value: int) -> None:
    values = {name: getattr(config, name) for name in Config.__slots__}
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        Config(**{**values, field: value})
