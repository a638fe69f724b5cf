"""From WARC files to pages: text, reasons, hostile pages, and equal bytes in any order."""

import gzip
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, warc
from pipeline.store.records import Drop
from pipeline.text.extract import Config, Page, extract, run
from pipeline.text.sandbox import Sandbox
from tests.pipeline.text.configs import EXTRACT, LIMITS, PROSE
from tests.pipeline.text.warcs import extract_folder, response, seal, write

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


def _record(kind: str, url: str, block: bytes, **fields: str) -> bytes:
    told = {
        "WARC-Type": kind,
        "WARC-Target-URI": url,
        "WARC-Date": "2019-05-06T07:08:09Z",
        **fields,
    }
    lines = ["WARC/1.0", *(f"{n}: {v}" for n, v in told.items()), f"Content-Length: {len(block)}"]
    return gzip.compress("\r\n".join([*lines, "", ""]).encode() + block + b"\r\n\r\n", mtime=0)


def _wet(url: str, text: bytes, languages: str = "eng,deu") -> bytes:
    more = {"WARC-Identified-Content-Language": languages, "Content-Type": "text/plain"}
    return _record("conversion", url, text, **more)


def _decisions(folder: Path) -> list[tuple[str, str]]:
    paths = manifest.load(folder, "extract").paths("decisions")
    return sorted((r["reason"], r["detail"]) for p in paths for r in pq.read_table(p).to_pylist())


def test_run_foreign_archives_enter_beside_the_crawl(workspace: Path, inline: Engine) -> None:
    write(workspace / "warc" / "part-00000.warc.gz", response("http://a.test/", _html()))
    mine = workspace / "mine"
    revisit = _record("revisit", "http://a.test/r", b"HTTP/1.1 200 OK\r\n\r\n")
    page = _record("resource", "http://b.test/page", _html(), **{"Content-Type": "text/html"})
    log = _record("resource", "metadata://gnu.org/log", b"log", **{"Content-Type": "text/plain"})
    write(mine / "b" / "x.warc.gz", response("http://b.test/", _html(), link=False), revisit)
    write(mine / "a.warc.gz", page, log)
    write(mine / "c.warc.wet.gz", _wet("http://c.test/", "Tëxt as it is.\n".encode()))
    arc = b"http://d.test/ 127.0.0.1 20140216050221 text/html %d\n%b\n"
    http = b"HTTP/1.0 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + _html()
    (mine / "d.arc").write_bytes(arc % (len(http), http))
    config = replace(EXTRACT, inputs=("mine",))
    figures = run(seal(workspace / "warc"), workspace / "pages", config, inline)
    assert figures["counts"] == {"n_in": 5, "n_out": 5, "dropped": {}}
    assert figures["entered"] == 4
    assert figures["records_revisit"] == 1
    assert figures["charset_from_wet"] == 1
    assert [row["url"] for row in _pages(workspace / "pages")] == [
        "http://a.test/",
        "http://b.test/page",
        "http://b.test/",
        "http://c.test/",
        "http://d.test/",
    ]
    text = next(row for row in _pages(workspace / "pages") if row["host"] == "c.test")
    assert text["text"] == "Tëxt as it is."
    assert (text["language_hint"], text["charset_source"]) == ("eng", "wet")
    assert (text["captured_on"], text["title"]) == ("2019-05-06", None)


def test_run_one_address_in_several_files_the_latest_capture_counts(
    workspace: Path, inline: Engine
) -> None:
    for name, day in (("a", "2016-01-01"), ("b", "2018-01-01"), ("c", "2017-01-01")):
        page = response("http://a.test/x", _html(f"{_BODY}<p>{day}</p>"), link=False, day=day)
        write(workspace / "mine" / f"{name}.warc.gz", page)
    folder = extract_folder(workspace, replace(EXTRACT, inputs=("mine",)), inline)
    (row,) = _pages(folder)
    assert row["captured_on"] == "2018-01-01"
    assert _decisions(folder) == [
        ("superseded", "captured 2016-01-01T00:00:00Z"),
        ("superseded", "captured 2017-01-01T00:00:00Z"),
    ]


def test_run_renamed_archive_is_the_same_shard(workspace: Path, inline: Engine) -> None:
    write(workspace / "mine" / "a.warc.gz", response("http://a.test/x", _html(), link=False))
    config = replace(EXTRACT, inputs=("mine",))
    before = manifest.load(extract_folder(workspace, config, inline), "extract").root
    (workspace / "mine" / "a.warc.gz").rename(workspace / "mine" / "z.warc.gz")
    config = replace(EXTRACT, inputs=("mine/z.warc.gz",))
    assert manifest.load(extract_folder(workspace, config, inline), "extract").root == before


def test_run_damage_is_a_decision_that_says_where(workspace: Path, inline: Engine) -> None:
    first, second = (response(f"http://a.test/{i}", _html(), link=False) for i in range(2))
    write(workspace / "mine" / "a.warc.gz", first, second[:-40])
    folder = extract_folder(workspace, replace(EXTRACT, inputs=("mine",)), inline)
    ((reason, detail),) = _decisions(folder)
    assert reason == "damaged_record"
    assert detail.endswith(f"to {len(first + second) - 40}: file is cut short")


@pytest.mark.parametrize("text", [b"\xff\xfe", b" \n"])
def test_run_wet_record_without_text_is_dropped(
    workspace: Path, inline: Engine, text: bytes
) -> None:
    write(workspace / "mine" / "a.wet.gz", _wet("http://c.test/", text))
    folder = extract_folder(workspace, replace(EXTRACT, inputs=("mine",)), inline)
    assert [reason for reason, _ in _decisions(folder)] in (["not_utf8"], ["empty"])


def test_run_crawl_that_fetched_robots_only_has_no_pages(workspace: Path, inline: Engine) -> None:
    head = warc.encode_info("part-00000.warc.gz", "2017-12-01T00:00:00Z", [])
    robots = response("http://a.test/robots.txt", _html(), link=False)
    write(workspace / "warc" / "part-00000.warc.gz", head, robots)
    assert _pages(extract_folder(workspace, EXTRACT, inline)) == []
