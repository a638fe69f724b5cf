"""The cascade gives the text that trafilatura gives, on every page, for every way to prefer."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from lxml.html import document_fromstring
from trafilatura.core import bare_extraction
from trafilatura.settings import Document
from trafilatura.utils import load_html

from pipeline.store.warc import Damage, read_responses
from pipeline.text import charset
from pipeline.text.content.cascade import Wanted, main_text
from pipeline.text.content.parse import parse_page
from tests.pipeline.text.pages import pages

_DATES = {"max_date": "2017-01-01"}


def _theirs(markup: str, wanted: Wanted) -> str:
    tree = load_html(markup)
    document = tree is not None and bare_extraction(
        tree,
        output_format="python",
        fast=wanted.fast,
        favor_precision=wanted.focus == "precision",
        favor_recall=wanted.focus == "recall",
        include_comments=False,
        include_tables=wanted.tables,
        deduplicate=False,
        date_extraction_params=_DATES,
    )
    return document.text or "" if isinstance(document, Document) else ""


def _ours(markup: str, wanted: Wanted) -> str:
    tree = parse_page(markup)
    return "" if tree is None else main_text(tree, wanted)


def _different(markups: Iterable[str], wanted: Wanted) -> list[str]:
    return [markup for markup in markups if _ours(markup, wanted) != _theirs(markup, wanted)]


@pytest.mark.parametrize("focus", ["balanced", "precision", "recall"])
@pytest.mark.parametrize("fast", [False, True], ids=["compared", "fast"])
def test_main_text_random_pages_is_what_trafilatura_gives(focus: str, fast: bool) -> None:
    wanted = Wanted(focus, fast=fast, tables=True, comments=False)  # type: ignore[arg-type]
    assert _different(pages(60 if fast else 30, seed=7), wanted) == []


def test_main_text_without_tables_is_what_trafilatura_gives() -> None:
    wanted = Wanted("balanced", fast=False, tables=False, comments=False)
    apart = [m for m in pages(60, seed=2) if not document_fromstring(m).xpath("//table//table")]
    assert len(apart) > 30
    assert _different(apart, wanted) == []


def test_main_text_random_pages_take_every_way_through_the_cascade() -> None:
    ways = dict.fromkeys(("balanced", "precision", "recall"), 0)
    for markup in pages(50, seed=7):
        texts = {f: _ours(markup, Wanted(f, False, True, False)) for f in ways}  # type: ignore[arg-type]
        for focus in ways:
            ways[focus] += bool(texts[focus]) and len(set(texts.values())) > 1
    assert min(ways.values()) > 10


def test_main_text_navigation_inside_navigation_all_of_it_goes() -> None:
    # where trafilatura keeps what follows
    prose = "<p>The lighthouse has not been lit for thirty years, and people still talk.</p>" * 6
    nav = "<nav>outer <nav>inner</nav></nav>"
    later = f"<nav><p>Later. {' '.join(['One', 'link', 'after', 'another'] * 9)}.</p></nav>"
    markup = f"<html><body><article>{nav}{prose}{later}</article></body></html>"
    wanted = Wanted("balanced", fast=False, tables=True, comments=False)
    assert "Later" in _theirs(markup, wanted)
    assert "Later" not in _ours(markup, wanted)


@pytest.mark.parametrize(
    "name",
    ["dolma/sample-0000.warc.gz", "dolma/sample-0001.warc.gz", "resiliparse/warcfile.warc.gz"],
)
def test_main_text_real_pages_is_what_trafilatura_gives(real_data: Path, name: str) -> None:
    markups = [
        charset.decode(response.body, "").text
        for response in read_responses(real_data / "warc" / name)
        if not isinstance(response, Damage) and b"<html" in response.body.lower()
    ]
    wanted = Wanted("balanced", fast=False, tables=True, comments=False)
    assert len(markups) > 10
    assert _different(markups, wanted) == []
