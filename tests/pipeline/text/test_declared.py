"""What a page says about itself."""

import pytest
from lxml.html import document_fromstring

from pipeline.text.declared import Declared, day, declared


def _declared(head: str, body: str = "<p>x</p>", language: str = "") -> Declared:
    tree = document_fromstring(f"<html><head>{head}</head><body>{body}</body></html>")
    return declared(tree, language, "http://a.test/", "2017-12-31")


def test_declared_open_graph_and_meta_are_read() -> None:
    told = _declared(
        '<title>Site | Story</title><meta property="og:title" content=" A  Story ">'
        '<meta name="Author" content="Ada Marlow">'
        '<meta property="article:published_time" content="2016-03-04T10:00:00+01:00">'
    )
    assert told == Declared("A Story", "Ada Marlow", "2016-03-04", None)


def test_declared_json_ld_graph_is_read() -> None:
    told = _declared(
        '<script type="application/ld+json">{"@graph": [{"@type": "WebSite"}, '
        '{"author": [{"name": "Ben Ortega"}], "datePublished": "2015-1-2"}]}</script>'
    )
    assert (told.author, told.published_on) == ("Ben Ortega", "2015-01-02")


@pytest.mark.parametrize("broken", ["{", "[1, null]", "[" * 100_000, '{"author": 3}', "null"])
def test_declared_broken_json_ld_is_passed_over(broken: str) -> None:
    told = _declared(f'<title>T</title><script type="application/ld+json">{broken}</script>')
    assert told == Declared("T", None, None, None)


def test_declared_author_is_an_address_is_passed_over() -> None:
    assert _declared('<meta name="article:author" content="https://x.test/ada">').author is None


def test_declared_date_after_capture_is_passed_over() -> None:
    dates = '<meta name="date" content="2018-01-01"><meta name="dc.date" content="2011-05-06">'
    assert _declared(dates).published_on == "2011-05-06"


def test_declared_title_without_meta_is_title_then_heading() -> None:
    assert _declared("<title>T</title>", "<h1>H</h1>").title == "T"
    assert _declared("", "<h1>The <b>H</b></h1>").title == "The H"


def test_declared_language_header_counts_when_page_is_silent() -> None:
    assert _declared("", language="de-DE, en").language == "de"
    tree = document_fromstring('<html lang="EN-us"><body>x</body></html>')
    assert declared(tree, "de", "", "2017-12-31").language == "en"


def test_day_capture_date_unknown_nothing_is_believed() -> None:
    assert day("2010-01-01", "") is None
