"""Files of finished documents: JSON lines, Parquet and plain text, read a document at a time.

Decisions:
- Text is UTF-8, with or without a byte order mark. Anything else is a drop, not a guess.
- Memory holds one line, or one small batch of rows, whatever the file's size.
- A name in `fields` may lead into nested objects: `metadata.url`. In Parquet it is a column.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import packed
from pipeline.store.config import require
from pipeline.store.records import Drop

FILES = ".jsonl, .ndjson or .txt, plain or packed as .gz, .zst, .xz or .bz2, or .parquet"

_FILE = re.compile(r".*\.(?:(?:jsonl|ndjson|txt)(?:\.(?:gz|zst|xz|bz2))?|parquet)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_BATCH_ROWS = 64
_LINE_PER_TEXT = 3  # `\u0436` takes six bytes for two
_LINE_MARGIN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Names of fields or columns; null where there is none.

    Attributes:
        text: The document's text.
        url: Its address.
        id: Its name, shown where it has no address.
        title: Its title.
        date: When it was published.
    """

    text: str
    url: str | None
    id: str | None
    title: str | None
    date: str | None

    def __post_init__(self) -> None:
        require("text", self.text, bool(self.text), "the name of a field")


class Document(NamedTuple):
    """One document; `name` is a URI that says where it comes from, `date` YYYY-MM-DD or ""."""

    text: str
    url: str
    name: str
    title: str
    date: str


Entry = tuple[int, Document | Drop]


def is_known(name: str) -> bool:
    """Returns whether a file's name in lower case is that of a collection or a text.

    >>> [is_known(name) for name in ("a.jsonl.zst", "b.txt", "c.parquet", "d.json")]
    [True, True, True, False]
    """
    return _FILE.fullmatch(name) is not None


def is_text(path: Path) -> bool:
    """Returns whether a file is one document.

    >>> is_text(Path("a.TXT.gz")), is_text(Path("a.txt.jsonl"))
    (True, False)
    """
    return _suffix(path) == ".txt"


def _suffix(path: Path) -> str:
    plain = path.with_suffix("") if path.suffix.lower() in packed.SUFFIXES else path
    return plain.suffix.lower()


def read(path: Path, name: str, fields: Fields, max_bytes: int) -> Iterator[Entry]:
    """Yields every document of a file by its number, or why it is none.

    Args:
        path: The file.
        name: What a text file is called.
        fields: Where a line or row has what.
        max_bytes: A longer text is dropped.

    Raises:
        ShardError: If a packed file is damaged.
        ValueError: If a Parquet file has no such columns.
    """
    if _suffix(path) == ".parquet":
        yield from _read_parquet(path, fields, max_bytes)
    elif is_text(path):
        yield 0, _read_text(path, name, max_bytes)
    else:
        yield from _read_lines(path, fields, max_bytes)


def _read_text(path: Path, name: str, max_bytes: int) -> Document | Drop:
    data = b""
    with path.open("rb") as file:
        for piece in packed.pieces(file, path):
            data += piece
            if len(data) > max_bytes:
                return Drop("too_large", f"over {max_bytes} bytes")
    stem = re.sub(r"(?i)\.txt(\.\w+)?$", "", name.rpartition("/")[2])
    return _document(data, {"id": name, "title": stem}, max_bytes)


def _read_lines(path: Path, fields: Fields, max_bytes: int) -> Iterator[Entry]:
    limit = _LINE_PER_TEXT * max_bytes + _LINE_MARGIN_BYTES
    with path.open("rb") as file:
        for number, line in packed.lines(packed.pieces(file, path), limit):
            if line:
                yield number, _parse_line(line, fields, max_bytes, limit)


def _parse_line(line: bytes, fields: Fields, max_bytes: int, limit: int) -> Document | Drop:
    if len(line) >= limit:
        return Drop("too_large", f"a line of over {limit} bytes")
    try:
        told = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Drop("not_utf8", f"byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Drop("broken_json", str(error).partition(":")[0])
    if not isinstance(told, dict):
        return Drop("broken_json", "not an object")
    text = _within(told, fields.text)
    others = _others({n: _within(told, key) if key else None for n, key in _optional(fields)})
    return _document(text if isinstance(text, str) else None, others, max_bytes)


def _within(told: Mapping[str, Any], key: str) -> Any:
    """Returns a field, or what a dotted name leads to.

    >>> _within({"a": {"b": 1}, "c.d": 2}, "a.b"), _within({"c.d": 2}, "c.d"), _within({}, "x.y")
    (1, 2, None)
    """
    if key in told:
        return told[key]
    first, dot, rest = key.partition(".")
    inner = told.get(first)
    return _within(inner, rest) if dot and isinstance(inner, dict) else None


def _optional(fields: Fields) -> list[tuple[str, str | None]]:
    names = ("url", "id", "title", "date")
    return [(name, getattr(fields, name)) for name in names]


def _others(values: Mapping[str, Any]) -> dict[str, str]:
    """Returns the fields beside the text as text; what is none of a plain value is left out."""
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else _clean(str(value))
        for name, value in values.items()
        if value is not None and not isinstance(value, (dict, list))
    }


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # JSON may escape half a character


def _read_parquet(path: Path, fields: Fields, max_bytes: int) -> Iterator[Entry]:
    with pq.ParquetFile(path) as file:
        there = set(file.schema_arrow.names)
        wanted = {
            "text": fields.text,
            **{n: key for n, key in _optional(fields) if key and key in there},
        }
        if fields.text not in there:
            raise ValueError(
                f"documents.fields.text is {fields.text!r}; expected one of the file's columns, "
                f"{', '.join(sorted(there))}"
            )
        number = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=sorted(set(wanted.values()))):
            columns = {name: _values(batch.column(key)) for name, key in wanted.items()}
            for row in range(batch.num_rows):
                values = {name: column[row] for name, column in columns.items()}
                yield number, _parse_row(values, max_bytes)
                number += 1


def _values(column: pa.Array) -> list[Any]:
    """Returns a column's values, strings as bytes: Parquet does not promise that they are UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    values: list[Any] = column.to_pylist()
    return values


def _parse_row(values: dict[str, Any], max_bytes: int) -> Document | Drop:
    text = values.pop("text")
    return _document(text if isinstance(text, bytes) else None, _others(values), max_bytes)


def _document(
    text: str | bytes | None, others: Mapping[str, str], max_bytes: int
) -> Document | Drop:
    """Returns a document, or why it is none."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            return Drop("not_utf8", f"byte {error.start}")
    text = _clean((text or "").removeprefix("\ufeff"))
    if not text.strip():
        return Drop("no_text", "")
    n_bytes = len(text.encode())
    if n_bytes > max_bytes:
        return Drop("too_large", f"{n_bytes} bytes")
    date = _DATE.match(others.get("date", ""))
    name = others.get("id", "")
    return Document(
        text=text,
        url=others.get("url", ""),
        name=f"document:{quote(name)}" if name else "",
        title=" ".join(others.get("title", "").split()),
        date=date[0] if date else "",
    )
