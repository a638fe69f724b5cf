"""Collections of finished documents, friendly and hostile, read a document at a time."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.errors import ShardError
from pipeline.store.records import Drop
from pipeline.text import formats
from pipeline.text.formats import Document, Fields

FIELDS = Fields(text="text", url="url", id="id", title="title", date="date")


def entries(path: Path, fields: Fields = FIELDS, max_bytes: int = 1000) -> list[Document | Drop]:
    return [found for _, found in formats.read(path, path.name, fields, max_bytes)]


def lines(path: Path, *data: bytes) -> list[Document | Drop]:
    path.write_bytes(b"\n".join(data))
    return entries(path)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("kind", [".jsonl", ".ndjson", ".txt"])
def test_read_packed_collection_gives_its_documents(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"one{kind}{suffix}"
    told = (
        b"Call me Ishmael.\r\nSome years ago" if kind == ".txt" else b'{"text": "a"}\n{"text": "b"}'
    )
    path.write_bytes(PACKED[suffix](told))
    assert formats.is_known(path.name)
    found = [each.text for each in entries(path) if isinstance(each, Document)]
    assert found == (["Call me Ishmael.\r\nSome years ago"] if kind == ".txt" else ["a", "b"])


def test_read_line_gives_every_field() -> None:
    told = {
        "text": "T",
        "url": "http://a.test/",
        "id": "x/1 é",
        "title": " a\n b ",
        "date": "2015-02-03T1",
    }
    found = formats._parse_line(json.dumps(told).encode(), FIELDS, 100, 1000)
    assert found == Document("T", "http://a.test/", "document:x/1%20%C3%A9", "a b", "2015-02-03")


def test_read_line_with_nested_and_absent_fields() -> None:
    fields = Fields(text="body.text", url="metadata.url", id=None, title=None, date=None)
    told = {"body": {"text": "T"}, "metadata": {"url": "u"}, "title": "no"}
    found = formats._parse_line(json.dumps(told).encode(), fields, 100, 1000)
    assert found == Document("T", "u", "", "", "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b'\xef\xbb\xbf{"text": "T"}\r', "T", id="mark and CR"),
        pytest.param(b'{"text": "a\\u0000b"}', "a\0b", id="NUL"),
        pytest.param(b'{"text": "\\ud83d half"}', "? half", id="half a character"),
        pytest.param(b'{"text": "T", "id": 7, "url": ["x"], "date": 2015}', "T", id="other types"),
        pytest.param(b'{"text": "T", "extra": NaN}', "T", id="NaN"),
        pytest.param(b'{"text": "T"', "broken_json", id="cut"),
        pytest.param(b"not json", "broken_json", id="prose"),
        pytest.param(b'["T"]', "broken_json", id="list"),
        pytest.param(b"[" * 100_000, "broken_json", id="deep"),
        pytest.param(b'{"text": "T", "n": ' + b"9" * 5000 + b"}", "broken_json", id="huge number"),
        pytest.param(b'{"text": "\xff"}', "not_utf8", id="latin-1"),
        pytest.param(b'{"text": null}', "no_text", id="null"),
        pytest.param(b'{"text": 5}', "no_text", id="number"),
        pytest.param(b'{"body": "T"}', "no_text", id="absent"),
        pytest.param(b'{"text": " \\n\\ufeff "}'.replace(b"\\ufeff", b""), "no_text", id="blank"),
        pytest.param(json.dumps({"text": "x" * 1001}).encode(), "too_large", id="long text"),
        pytest.param(b'{"text": "' + b"x" * (2 << 20) + b'"}', "too_large", id="huge line"),
    ],
)
def test_read_hostile_line_costs_itself(tmp_path: Path, line: bytes, expected: str) -> None:
    found, after = lines(tmp_path / "a.jsonl", line, b"", b'{"text": "after"}')
    assert (found.text if isinstance(found, Document) else found.reason) == expected
    assert isinstance(after, Document)


@given(st.binary(max_size=300))
def test_read_any_bytes_is_documents_and_drops(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    for name in ("any.jsonl", "any.txt"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(data)
        for found in entries(path):
            if isinstance(found, Document):
                assert found.text.encode().strip()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfMark", "Mark"),
        (b"caf\xe9", "not_utf8"),
        (b"\xff\xfeU\x00", "not_utf8"),
        (b" \n", "no_text"),
        (b"x" * 1001, "too_large"),
    ],
)
def test_read_text_file_is_one_document(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "A book.txt"
    path.write_bytes(data)
    (found,) = entries(path)
    assert (found.text if isinstance(found, Document) else found.reason) == expected
    if isinstance(found, Document):
        assert (found.title, found.name) == ("A book", "document:A%20book.txt")


def test_read_damaged_archive_stops(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "T"}\n' * 1000)[:-9])
    with pytest.raises(ShardError, match="damaged or cut short"):
        entries(path)


def test_read_parquet_of_any_string_type(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for kind in (
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.binary(),
    ):
        text = pa.array(["one", None, "", "two"]).cast(kind)
        table = pa.table(
            {"text": text, "url": ["http://a.test/", None, None, None], "n": [1, 2, 3, 4]}
        )
        pq.write_table(table, path)
        first, *empty, last = entries(path)
        assert isinstance(first, Document)
        assert isinstance(last, Document)
        assert (first.text, first.url, last.text, last.url) == ("one", "http://a.test/", "two", "")
        assert empty == [Drop("no_text", "")] * 2


def test_read_parquet_bytes_that_are_no_utf8_cost_their_row(tmp_path: Path) -> None:
    offsets, data = pa.array([0, 2, 4], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfeok")
    text = pa.StringArray.from_buffers(2, offsets, data)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": text, "title": text}), path)
    bad, good = entries(path)
    assert bad == Drop("not_utf8", "byte 0")
    assert isinstance(good, Document)


def test_read_parquet_without_the_column_names_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"content": ["x"], "url": ["y"]}), path)
    with pytest.raises(
        ValueError, match="is 'text'; expected one of the file's columns, content, url"
    ):
        entries(path)
