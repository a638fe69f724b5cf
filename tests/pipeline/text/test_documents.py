"""A user's collections become shards of pages: identity, cuts, repeats, conservation."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records
from pipeline.store.errors import ShardError
from pipeline.store.shards import sha256_file
from pipeline.text.documents import Config, run
from pipeline.text.formats import Fields
from tests.pipeline.text.configs import EXTRACT
from tests.pipeline.text.warcs import extract_folder, response, write

FIELDS = Fields(text="text", url="url", id="id", title="title", date="date")
CONFIG = Config(inputs=("mine",), fields=FIELDS, max_document_bytes=10_000, shard_bytes=2_000)


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


@pytest.fixture
def pages(workspace: Path, inline: Engine) -> Path:
    """Pages of an empty crawl."""
    return extract_folder(workspace, EXTRACT, inline)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    paths = manifest.load(folder, "documents").paths()
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def decisions_of(folder: Path) -> dict[str, str]:
    paths = manifest.load(folder, "documents").paths("decisions")
    return {r["detail"]: r["reason"] for p in paths for r in pq.read_table(p).to_pylist()}


def test_run_without_inputs_is_empty_and_finished(
    workspace: Path, pages: Path, inline: Engine
) -> None:
    figures = run(pages, workspace / "out", replace(CONFIG, inputs=()), inline)
    assert figures == {"counts": {"n_in": 0, "n_out": 0, "dropped": {}}}
    assert manifest.load(workspace / "out", "documents").n_shards == 0


def test_run_collections_of_every_kind_are_pages(
    workspace: Path, pages: Path, inline: Engine
) -> None:
    path = jsonl(
        workspace / "mine" / "a.jsonl",
        {"text": "A page.", "url": "https://www.A.org/x?utm_source=y", "title": "X"},
        {"text": "No address.", "id": "7", "date": "2016-05-04"},
        {"no": "text"},
    )
    pq.write_table(pa.table({"text": ["Of Parquet."]}), workspace / "mine" / "b.parquet")
    (workspace / "mine" / "c.txt").write_text("A book.")
    figures = run(pages, workspace / "out", CONFIG, inline)
    assert figures["counts"] == {"n_in": 5, "n_out": 4, "dropped": {"no_text": 1}}
    assert figures["text_chars"] == 7 + 11 + 11 + 7
    found = {row["text"]: row for row in rows_of(workspace / "out")}
    page, other, book = found["A page."], found["No address."], found["A book."]
    assert page["doc_id"] == records.doc_id("a.org/x")
    assert (page["host"], page["domain"], page["title"]) == ("www.a.org", "a.org", "X")
    assert other["doc_id"] == records.doc_id(f"{sha256_file(path)} 2")
    assert (other["url"], other["host"], other["published_on"]) == ("document:7", "", "2016-05-04")
    assert (book["url"], book["title"]) == ("document:c.txt", "c")
    assert {row["charset_source"] for row in found.values()} == {"documents"}
    for shard in manifest.load(workspace / "out", "documents").paths():
        assert pq.read_schema(shard).equals(records.PAGES)


def test_run_large_files_are_cut_and_small_texts_put_together(
    workspace: Path, pages: Path, inline: Engine
) -> None:
    jsonl(workspace / "mine" / "a.jsonl", *({"text": f"{i} " + "x" * 300} for i in range(20)))
    for i in range(9):
        (workspace / "mine" / f"{i}.txt").write_text(f"{i} " + "y" * 600)
    run(pages, workspace / "out", CONFIG, inline)
    told = manifest.load(workspace / "out", "documents")
    sizes = [pq.read_metadata(path).num_rows for path in told.paths()]
    assert sum(sizes) == 29
    assert sorted(sizes) == [2, 3, 3, 3, 6, 6, 6]  # texts 3 by 3, lines 6 by 6


def test_run_renamed_collection_and_other_order_give_the_same_documents(
    workspace: Path, pages: Path, inline: Engine
) -> None:
    path = jsonl(workspace / "mine" / "a.jsonl", {"text": "one"}, {"text": "two"})
    run(pages, workspace / "out", CONFIG, inline)
    before = [(row["doc_id"], row["text"]) for row in rows_of(workspace / "out")]
    path.rename(workspace / "mine" / "z.jsonl")
    run(pages, workspace / "out", CONFIG, inline)
    assert [(row["doc_id"], row["text"]) for row in rows_of(workspace / "out")] == before


def test_run_repeated_ids_the_page_counts_then_the_longest_then_the_first(
    workspace: Path, inline: Engine
) -> None:
    html = b"<html><body><article><p>" + b"A page about something. " * 30 + b"</p></article></html>"
    write(workspace / "warc" / "part-00000.warc.gz", response("http://a.test/x", html))
    pages = extract_folder(workspace, EXTRACT, inline)
    jsonl(
        workspace / "mine" / "a.jsonl",
        {"text": "of a page", "url": "http://a.test/x"},
        {"text": "short", "url": "http://a.test/y"},
        {"text": "the longer one", "url": "http://www.a.test/y/"},
    )
    jsonl(workspace / "mine" / "b.jsonl", {"text": "short", "url": "http://a.test/y"})
    (workspace / "mine" / "1.txt").write_text("the same")
    (workspace / "mine" / "2.txt").write_text("the same")
    figures = run(pages, workspace / "out", CONFIG, inline)
    assert sorted(row["text"] for row in rows_of(workspace / "out")) == [
        "the longer one",
        "the same",
    ]
    assert figures["counts"]["dropped"] == {"superseded": 4}
    assert decisions_of(workspace / "out")["http://a.test/x"] == "superseded"


def test_run_wrong_name_of_the_text_field_is_an_error(
    workspace: Path, pages: Path, inline: Engine
) -> None:
    jsonl(workspace / "mine" / "a.jsonl", {"content": "x"}, {"content": "y"})
    with pytest.raises(ValueError, match=r"fields.text is 'text'; none of 2 documents has text"):
        run(pages, workspace / "out", CONFIG, inline)


def test_run_file_that_is_no_parquet_is_named(workspace: Path, pages: Path, inline: Engine) -> None:
    (workspace / "mine").mkdir()
    (workspace / "mine" / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(ShardError, match=r"documents-read shard 0 \(a.parquet\)"):
        run(pages, workspace / "out", CONFIG, inline)


@pytest.mark.slow
def test_run_two_workers_give_the_same_bytes(
    workspace: Path, pages: Path, inline: Engine, ray_engine: Engine
) -> None:
    for n in range(4):
        rows = ({"text": f"{n} {i} " + "x" * 200, "url": f"http://a.test/{i}"} for i in range(30))
        jsonl(workspace / "mine" / f"{n}.jsonl", *rows)
    run(pages, workspace / "one", CONFIG, inline)
    for folder in (workspace / ".shards").iterdir():
        folder.rename(workspace / f"{folder.name}-old")
    run(pages, workspace / "two", CONFIG, ray_engine)
    roots = [manifest.load(workspace / name, "documents").root for name in ("one", "two")]
    assert roots[0] == roots[1]
