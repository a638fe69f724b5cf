"""From WARC files to pages: rows, counts, reasons, and equal bytes in any order."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records
from pipeline.text.extract import run
from tests.pipeline.text.configs import EXTRACT, LIMITS, PROSE
from tests.pipeline.text.warcs import response, seal, write

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
