"""From WARC files to pages: text, reasons, hostile pages, and equal bytes in any order."""

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records
from pipeline.store.records import Drop
from pipeline.text.extract import Config, Page, extract, run
from pipeline.text.sandbox import Sandbox
from tests.pipeline.text.configs import EXTRACT, LIMITS, PROSE
from tests.pipeline.text.warcs import response, seal, write

_PARAGRAPHS = [" ".join(PROSE.split()) + f" This is paragraph {i}." for i in range(3)]
_BODY = "".join(f"<p>{text}</p>" for text in _PARAGRAPHS)
_HTML = {"content-type": "text/html; charset=utf-8"}


def _html(body: str = _BODY, head: str = "<title>The lighthouse</title>") -> bytes:
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>{body}</body></html>".encode()


def _extracted(html: bytes, headers: dict[str, str] = _HTML, config: Config = EXTRACT) -> Page:
    page = extract(html, headers, "2017-12-01", config)
    assert isinstance(page, Page), page
    return page


def _dropped(html: bytes, headers: dict[str, str] = _HTML, config: Config = EXTRACT) -> Drop:
    page = extract(html, headers, "2017-12-01", config)
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
    page = extract(html, _HTML, "2017-12-02", EXTRACT)
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
        (_html("<br>" * 30_000), _HTML, Drop("too_many_elements", "30004 elements")),
        (
            _html(f"<p>{'<a href=x>y</a> ' * 4_001}</p>"),
            _HTML,
            Drop("too_many_elements", "over 4000 inline siblings"),
        ),
        (_html("<div>" * 300 + _BODY), _HTML, Drop("too_deep", "over 250 levels")),
        (_html("<div>" * 100_000 + _BODY), _HTML, Drop("too_deep", "over 250 levels")),
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


@pytest.fixture(scope="module")
def lenient_sandbox() -> Iterator[Sandbox]:
    """Extraction without element limits: only the sandbox protects."""
    limits = replace(LIMITS, max_cpu_s=1.0, max_memory_bytes=256 << 20)
    config = replace(EXTRACT, max_elements=10**9, max_inline_siblings=10**9, limits=limits)
    config = replace(config, max_html_bytes=10**9)
    with Sandbox("pipeline.text.extract", asdict(config), limits) as running:
        yield running


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>" + "<a href=x>y</a> " * 40_000, Drop("cpu_limit")),
        ("<p " + " ".join(f"a{i}=1" for i in range(60_000)) + ">x", Drop("cpu_limit")),
    ],
    ids=["links", "attributes"],
)
def test_sandbox_page_that_takes_minutes_is_ended_in_bounded_time(
    lenient_sandbox: Sandbox, body: str, expected: Drop
) -> None:
    question = {"headers": _HTML, "captured_on": "2017-12-01"}
    assert lenient_sandbox.run(question, _html(body)) == expected
    assert "page" in lenient_sandbox.run(question, _html())


def _pages(folder: Path) -> list[dict[str, Any]]:
    paths = manifest.load(folder, "extract").paths()
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_run_folder_of_warcs_is_extracted_counted_and_explained(
    workspace: Path, inline: Engine
) -> None:
    warc = workspace / "warc"
    write(
        warc / "part-00000.warc.gz",
        response("http://www.a.org/story?utm_source=x", _html()),
        response("http://www.a.org/story?utm_source=x", _html("<p>old</p>"), day="2016-01-01"),
        response("http://a.org/scan.html", b"%PDF-1.4" + bytes(500)),
        response("http://a.org/old", b"", status=302, link=False),
    )
    write(warc / "part-00001.warc.gz", response("http://b.org/", _html(), content_type=""))
    figures = run(seal(warc), workspace / "pages", EXTRACT, inline)
    made = manifest.load(workspace / "pages", "extract")
    assert made.n_shards == 2
    assert pq.read_schema(made.paths()[0]).equals(records.PAGES)
    first, second = _pages(workspace / "pages")
    assert first["doc_id"] == records.doc_id("a.org/story")
    assert first["url"] == "http://www.a.org/story?utm_source=x"
    assert (first["host"], first["domain"]) == ("www.a.org", "a.org")
    assert (first["created_utc"], first["captured_on"]) == (1_500_000_000, "2017-12-01")
    assert first["html_bytes"] == len(_html())
    assert second["charset_source"] == "detector"
    assert figures["counts"] == {"n_in": 4, "n_out": 2, "dropped": {"not_html": 1, "superseded": 1}}
    decided = [row for path in made.paths("decisions") for row in pq.read_table(path).to_pylist()]
    assert sorted(row["reason"] for row in decided) == ["not_html", "superseded"]
    assert figures["text_chars"] == len(first["text"]) + len(second["text"])


def test_run_records_in_any_order_give_the_same_bytes(workspace: Path, inline: Engine) -> None:
    exchanges = [
        response(f"http://a.test/{i}", _html(f"<p>{PROSE} It was number {i}.</p>{_BODY}"))
        for i in range(6)
    ]
    made = []
    for name in ("one", "two"):
        write(workspace / name / "part-00000.warc.gz", *exchanges)
        run(seal(workspace / name), workspace / f"pages-{name}", EXTRACT, inline)
        made.append((workspace / f"pages-{name}" / "part-00000.parquet").read_bytes())
        random.Random(5).shuffle(exchanges)
    assert made[0] == made[1]


def test_run_recycled_workers_and_one_worker_give_the_same_bytes(
    workspace: Path, inline: Engine
) -> None:
    warc = workspace / "warc"
    exchanges = [response(f"http://a.test/{i}", _html(_BODY + f"<p>{i}</p>")) for i in range(4)]
    write(warc / "part-00000.warc.gz", *exchanges)
    seal(warc)
    made = []
    for n in (1, 1000):
        config = replace(EXTRACT, limits=replace(LIMITS, recycle_pages=n))
        run(warc, workspace / f"pages-{n}", config, inline)
        made.append((workspace / f"pages-{n}" / "part-00000.parquet").read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("name", "n_pages", "n_chars"),
    [("dolma/sample-0000.warc.gz", 22, 80_000), ("resiliparse/warcfile.warc.gz", 16, 20_000)],
)
def test_run_real_warc_pages_have_text(
    real_data: Path, workspace: Path, inline: Engine, name: str, n_pages: int, n_chars: int
) -> None:
    warc = workspace / "warc"
    write(warc / "part-00000.warc.gz", (real_data / "warc" / name).read_bytes())
    figures = run(seal(warc), workspace / "pages", EXTRACT, inline)
    assert figures["counts"]["n_out"] == n_pages
    assert figures["text_chars"] >= n_chars


def test_run_damaged_warc_whole_records_are_kept_and_damage_is_counted(
    workspace: Path, inline: Engine
) -> None:
    whole = [response(f"http://a.test/{i}", _html()) for i in range(3)]
    cut = whole[1][: len(whole[1]) - 200]
    write(workspace / "warc" / "part-00000.warc.gz", whole[0], cut, whole[2])
    figures = run(seal(workspace / "warc"), workspace / "pages", EXTRACT, inline)
    assert figures["counts"]["n_out"] == 2
    assert figures["counts"]["dropped"] == {"damaged_record": 1}
