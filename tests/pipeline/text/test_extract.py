"""From WARC files to pages: rows, counts, reasons, and equal bytes in any order."""

import gzip
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, warc
from pipeline.text.extract import run
from tests.pipeline.text.configs import EXTRACT, LIMITS, PROSE
from tests.pipeline.text.warcs import extract_folder, response, seal, write

_BODY = "".join(f"<p>{' '.join(PROSE.split())} This is paragraph {i}.</p>" for i in range(3))


def _html(body: str = _BODY) -> bytes:
    head = "<title>The lighthouse</title>"
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>{body}</body></html>".encode()


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


def test_run_page_that_a_limit_ends_gets_plain_text_or_its_reason(
    workspace: Path, inline: Engine
) -> None:
    long_poem = "".join(f"<p>line {i} of a long poem</p>" for i in range(80_000))
    too_long = "".join(f"<p>{i}</p>" for i in range(400_000))
    write(
        workspace / "warc" / "part-00000.warc.gz",
        response("http://a.test/poem", _html(long_poem)),
        response("http://a.test/longer", _html(too_long)),
        response("http://a.test/story", _html()),
    )
    limits = replace(LIMITS, max_memory_bytes=64 << 20)
    config = replace(EXTRACT, max_html_bytes=10_000_000, max_elements=10**6, limits=limits)
    figures = run(seal(workspace / "warc"), workspace / "pages", config, inline)
    assert figures["counts"] == {"n_in": 3, "n_out": 2, "dropped": {"memory_limit": 1}}
    assert (figures["extractor_trafilatura"], figures["extractor_resiliparse"]) == (1, 1)
    rows = {row["url"]: row for row in _pages(workspace / "pages")}
    assert rows["http://a.test/poem"]["extractor"] == "resiliparse"
    assert rows["http://a.test/poem"]["text"].endswith("line 79999 of a long poem")
    assert rows["http://a.test/story"]["extractor"] == "trafilatura"
