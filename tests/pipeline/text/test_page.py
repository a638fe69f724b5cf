"""What a page says: text, reasons, hostile pages, and the same answer every time."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest

from pipeline.store.records import Drop
from pipeline.text.page import Config, Page, extract
from pipeline.text.sandbox import Sandbox
from tests.pipeline.text.configs import EXTRACT, LIMITS, PROSE

_PARAGRAPHS = [" ".join(PROSE.split()) + f" This is paragraph {i}." for i in range(3)]
_BODY = "".join(f"<p>{text}</p>" for text in _PARAGRAPHS)
_URL = "http://coast.test/stories/lighthouse"
_HTML = {"content-type": "text/html; charset=utf-8"}


def _html(body: str = _BODY, head: str = "<title>The lighthouse</title>") -> bytes:
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>{body}</body></html>".encode()


def _extracted(html: bytes, headers: dict[str, str] = _HTML, config: Config = EXTRACT) -> Page:
    page = extract(html, _URL, headers, "2017-12-01", config)
    assert isinstance(page, Page), page
    return page


def _dropped(html: bytes, headers: dict[str, str] = _HTML, config: Config = EXTRACT) -> Drop:
    page = extract(html, _URL, headers, "2017-12-01", config)
    assert isinstance(page, Drop), page
    return page


def test_extract_page_with_surroundings_only_main_text_is_left() -> None:
    around = "".join(f"<li><a href='/{i}'>Section {i}</a></li>" for i in range(20))
    html = _html(
        f"<header><nav><ul>{around}</ul></nav></header>"
        f"<main><article><h1>The lighthouse</h1>{_BODY}</article></main>"
        "<footer><p>© 2017 The Coast. <a href='/p'>Privacy policy</a></p></footer>"
    )
    assert _extracted(html) == Page(
        "The lighthouse",
        None,
        None,
        "en",
        "utf-8",
        "header",
        "trafilatura",
        "\n".join(["The lighthouse", *_PARAGRAPHS]),
    )


def test_extract_permalink_beside_heading_is_no_text() -> None:
    html = _html(
        f"<article><h1>Tall tales<a class='headerlink' href='#tall'>¶</a></h1>{_BODY}</article>"
    )
    assert "¶" not in _extracted(html).text
    assert "Tall tales" in _extracted(html).text


def test_extract_tables_and_comments_follow_the_configuration() -> None:
    comments = "<div id='comments'><p>I was there that night, and it was quite different.</p></div>"
    html = _html(
        f"<article>{_BODY}<table><tr><td>Height</td><td>31 metres</td></tr></table></article>"
        f"{comments}"
    )
    assert "31 metres" in _extracted(html).text
    assert "31 metres" not in _extracted(html, config=replace(EXTRACT, tables=False)).text
    assert "that night, and" not in _extracted(html).text
    assert "that night, and" in _extracted(html, config=replace(EXTRACT, comments=True)).text


def test_extract_date_later_than_capture_is_not_believed() -> None:
    html = _html(head='<meta property="article:published_time" content="2017-12-02">')
    assert _extracted(html).published_on is None
    page = extract(html, _URL, _HTML, "2017-12-02", EXTRACT)
    assert isinstance(page, Page)
    assert page.published_on == "2017-12-02"


@pytest.mark.parametrize(
    ("html", "headers", "expected"),
    [
        (_html(), {"content-type": "application/pdf"}, Drop("not_html", "application/pdf")),
        (_html(), {"content-type": "text/plain"}, Drop("not_html", "text/plain")),
        (b"%PDF-1.4\n" + bytes(range(256)) * 8, _HTML, Drop("not_html", "binary content")),
        (b"\x89PNG\r\n\x1a\n" + bytes(4000), {}, Drop("not_html", "binary content")),
        (b"  \n", _HTML, Drop("empty", "no content")),
        (b"just a few words", _HTML, Drop("not_html", "no HTML structure")),
        (_html(""), _HTML, Drop("empty")),
        (b" " * 1_000_001, _HTML, Drop("too_large", "1000001 bytes")),
    ],
    ids=lambda value: value.detail or value.reason if isinstance(value, Drop) else "",
)  # fmt: skip
def test_extract_no_usable_page_reason_is_named(
    html: bytes, headers: dict[str, str], expected: Drop
) -> None:
    assert _dropped(html, headers) == expected


def test_extract_utf16_page_is_not_taken_for_binary() -> None:
    html = b"\xff\xfe" + _html().decode().encode("utf-16-le")
    page = _extracted(html, {})
    assert page.text.endswith("paragraph 2.")
    assert (page.charset, page.charset_source) == ("utf-16-le", "bom")


@pytest.mark.parametrize(
    "body", [f"{'<p>line</p>' * 9_000}", f"<ul>{'<li>x y z</li>' * 9_000}</ul>"]
)
def test_extract_long_ordinary_lists_are_not_too_complex(body: str) -> None:
    assert len(_extracted(_html(body + _BODY)).text) > 1_000


def test_extract_same_page_after_five_hundred_others_gives_the_same_text() -> None:
    html = _html()
    before = _extracted(html)
    for i in range(500):
        own = f"<p>Page {i} says this and nothing else about its own subject, at some length.</p>"
        _extracted(_html(_BODY + own))  # with the very paragraphs of the page in question
    assert _extracted(html) == before
    assert all(text in before.text for text in _PARAGRAPHS)


def test_extract_day_in_the_address_counts_where_the_page_names_none() -> None:
    def published(head: str, url: str) -> str | None:
        page = extract(_html(head=head), url, _HTML, "2017-12-01", EXTRACT)
        assert isinstance(page, Page)
        return page.published_on

    meta = '<meta property="article:published_time" content="2016-03-04">'
    assert published("", "http://a.test/2015/11/08/storm/") == "2015-11-08"
    assert published(meta, "http://a.test/2015/11/08/storm/") == "2016-03-04"
    assert published("", "http://a.test/2018/01/01/tomorrow/") is None
    assert published("", "http://a.test/2015/99/08/storm/") is None


def test_extract_more_elements_than_allowed_plain_text_is_given() -> None:
    html = _html(_BODY + "<p>x</p>" * 500)
    page = _extracted(html, config=replace(EXTRACT, max_elements=400))
    assert page.extractor == "resiliparse"
    assert page.title == "The lighthouse"
    assert all(text in page.text for text in _PARAGRAPHS)
    assert _extracted(html, config=replace(EXTRACT, max_elements=600)).extractor == "trafilatura"


def test_extract_plain_needs_no_other_parser() -> None:
    page = extract(_html(), _URL, _HTML, "2017-12-01", EXTRACT, plain=True)
    assert page == Page(
        None, None, None, None, "utf-8", "header", "resiliparse", "\n".join(_PARAGRAPHS)
    )


# ── pages that take other extractors minutes ─────────────────────────────────────────────────────

HOSTILE = {
    "line ends": _BODY + "<p>word " + "<br>" * 40_000 + "last words</p>",
    "lines": "<div>" + "".join(f"line {i} of a long poem<br>" for i in range(40_000)) + "</div>",
    "linked items": _BODY + "<ul>" + "<li><a href='/x'>one</a></li>" * 40_000 + "</ul>",
    "links": _BODY + "<p>" + "<a href='/x'>one</a> " * 15_000 + "</p>",
    "rows": _BODY + "<table>" + "".join(f"<tr><td>{i}<td>cell" for i in range(20_000)) + "</table>",
    "levels": "<div>" * 100_000 + _BODY,
    "levels with text": "".join(f"<div>w{i} " for i in range(20_000)) + _BODY,
    "bold levels": "<b>" * 20_000 + _BODY,
    "attributes": "<p " + " ".join(f"a{i}=1" for i in range(60_000)) + ">x</p>" + _BODY,
    "spans": "<div>" + "<span>one</span> " * 40_000 + "</div>" + _BODY,
    "definitions": _BODY + "<dl>" + "<dt>term<dd>what it means" * 10_000 + "</dl>",
    "unclosed comments": _BODY + "<!-- " * 100_000,
}
_IN_THE_TEXT = {
    **dict.fromkeys(HOSTILE, _PARAGRAPHS),
    "line ends": [*_PARAGRAPHS, "last words"],
    "lines": ["line 0 of a long poem", "line 39999 of a long poem"],
    "links": [*_PARAGRAPHS, "one one one"],
    "rows": [*_PARAGRAPHS, "19999 | cell"],
    "levels with text": [*_PARAGRAPHS, "w1000", "w19999"],
    "definitions": [*_PARAGRAPHS, "what it means"],
}
_MAX_CPU_S = 20.0  # six times what the slowest takes; trafilatura needs up to ten minutes


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A worker that would end a page which takes long."""
    limits = replace(LIMITS, max_cpu_s=_MAX_CPU_S)
    config = replace(EXTRACT, max_html_bytes=10_000_000, limits=limits)
    with Sandbox("pipeline.text.page", asdict(config), limits) as running:
        yield running


def _question(**more: bool) -> dict[str, object]:
    return {"url": _URL, "headers": _HTML, "captured_on": "2017-12-01", **more}


def _text(sandbox: Sandbox, html: bytes) -> str:
    answer = sandbox.run(_question(), html)
    assert isinstance(answer, dict), answer
    page = Page(*answer["page"])
    assert page.extractor == "trafilatura"
    return page.text


@pytest.mark.parametrize("name", HOSTILE)
def test_sandbox_hostile_page_is_extracted_within_the_limit(sandbox: Sandbox, name: str) -> None:
    text = _text(sandbox, _html(HOSTILE[name]))
    assert [part for part in _IN_THE_TEXT[name] if part not in text] == []


@pytest.mark.slow
def test_sandbox_hostile_pages_beside_busy_neighbours_give_the_same_bytes(
    sandbox: Sandbox,
) -> None:
    names = ("line ends", "linked items", "links", "levels with text")
    alone = [_text(sandbox, _html(HOSTILE[name])) for name in names]
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        with Sandbox("pipeline.text.page", asdict(_strict()), _strict().limits) as other:
            assert [_text(other, _html(HOSTILE[name])) for name in names] == alone
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _strict() -> Config:
    return replace(EXTRACT, max_html_bytes=10_000_000, limits=replace(LIMITS, max_cpu_s=_MAX_CPU_S))
