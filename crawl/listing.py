"""Reading plain lists of URLs: `.txt`, `.csv` and `.parquet`, as entries like those of a dump.

Decisions:
- What a list does not tell is unknown, not bad: without scores it is not judged by them.
- A list is taken literally; nothing of it is unescaped.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from crawl.dump import MAX_LINE_BYTES, Line, Submission, integer, text
from pipeline.store import packed
from pipeline.store.errors import ShardError
from pipeline.store.records import Drop

COLUMNS = ("url", "score", "created_utc", "id", "subreddit")
_READ_BYTES = 1 << 20
_BATCH_ROWS = 8_192
_COMMENT = b"#"


def read_text(file: BinaryIO, path: Path) -> Iterator[Line]:
    """Yields one URL per line; a line that begins with `#` is a comment."""
    for _, data in packed.lines(packed.pieces(file, path), MAX_LINE_BYTES):
        if data and not data.startswith(_COMMENT):
            yield data, _entry({"url": data})


def read_csv(file: BinaryIO, path: Path) -> Iterator[Line]:
    """Yields the rows of a table with a column `url` and perhaps the other COLUMNS.

    Raises:
        ShardError: If there is no such column, or a quote never ends.
    """
    stream = io.BufferedReader(_Pieces(packed.pieces(file, path)), _READ_BYTES)
    decoded = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
    csv.field_size_limit(MAX_LINE_BYTES)
    rows = csv.DictReader(decoded)
    _check_columns(path, rows.fieldnames or ())
    try:
        for row in rows:
            told = {name: _bytes(row.get(name)) for name in COLUMNS}
            yield _identity(told), _entry(told)
    except csv.Error as error:
        raise ShardError(f"{path} line {rows.line_num}: {error}; mend or remove it") from error


def _bytes(value: str | None) -> bytes | None:
    return value.encode("utf-8", "surrogateescape") if value else None


def read_parquet(path: Path) -> Iterator[Line]:
    """Yields the rows of a Parquet file with a column `url` and perhaps the other COLUMNS.

    Raises:
        ShardError: If there is no such column, or the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as table:
            _check_columns(path, table.schema_arrow.names)
            names = [name for name in COLUMNS if name in table.schema_arrow.names]
            for batch in table.iter_batches(_BATCH_ROWS, columns=names):
                for values in zip(*(_values(column) for column in batch.columns), strict=True):
                    told = dict(zip(names, values, strict=True))
                    yield _identity(told), _entry(told)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        why = str(error).partition("\n")[0]
        raise ShardError(f"{path} is no whole Parquet file ({why}); write it again") from error


def _values(column: pa.Array) -> list[Any]:
    """Returns a column's values; texts as bytes, for nobody has checked that they are UTF-8."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return list(column.to_pylist())


def _check_columns(path: Path, names: Any) -> None:
    if "url" not in names:
        raise ShardError(f"{path} has the columns {list(names)}; expected one named `url`")


def _identity(told: Mapping[str, Any]) -> bytes:
    return repr([told.get(name) for name in COLUMNS]).encode()


def _entry(told: Mapping[str, Any]) -> Submission | Drop:
    try:
        known = {name: _decoded(value) for name, value in told.items()}
    except UnicodeDecodeError as error:
        return Drop("not_utf8", f"byte {error.start}")
    url = text(known.get("url") or "")  # an empty cell is a bad URL, not a missing column
    numbers = {name: known.get(name) for name in ("score", "created_utc")}
    found = {name: integer(value) for name, value in numbers.items() if value not in (None, "")}
    missing = [name for name, value in [("url", url), *found.items()] if value is None]
    if missing:
        return Drop("missing_field", missing[0])
    return Submission(
        url=url or "",
        score=found.get("score"),
        created_utc=found.get("created_utc"),
        submission_id=str(known.get("id") or ""),
        subreddit=str(known.get("subreddit") or ""),
    )


def _decoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.timestamp()
    return value.decode("utf-8") if isinstance(value, bytes) else value


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a readable stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        """Says that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer with what comes next."""
        while not self._rest and (piece := next(self._pieces, None)) is not None:
            self._rest = piece
        n_bytes = min(len(buffer), len(self._rest))
        buffer[:n_bytes], self._rest = self._rest[:n_bytes], self._rest[n_bytes:]
        return n_bytes
