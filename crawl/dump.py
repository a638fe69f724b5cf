"""Reading what users submitted: Pushshift dumps of Reddit and plain lists of URLs.

Decisions:
- Packed files and lines are read by `pipeline.store.packed`: one bad line costs one line, a file
  that ends early stops the stage.
- Every line that is no submission is a `Drop` with its reason. Empty lines are no lines.
- Strings are cast where Pushshift's own format changed over the years (`created_utc`).
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.store import packed
from pipeline.store.errors import ShardError
from pipeline.store.records import Drop

MAX_LINE_BYTES = 16 << 20  # the longest real submissions are below 1 MiB
_MAX_INTEGER = 2**31 - 1  # of a score and, until 2038, of a time
_READ_BYTES = 1 << 20

_LISTS = (".txt", ".csv")
_OBJECTS = (".ndjson", ".jsonl", ".json")
_GONE = ("[deleted]", "[removed]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One submitted link.

    `score` and `created_utc` (seconds) are None where a list of URLs does not tell them;
    `submission_id` and `subreddit` are "" there.
    """

    url: str
    score: int | None
    created_utc: int | None
    submission_id: str
    subreddit: str
    is_self: bool
    is_deleted: bool
    is_over_18: bool


class Line(NamedTuple):
    """One entry of a file by its line number, counted from 1."""

    number: int
    entry: Submission | Drop


def is_input(path: Path) -> bool:
    """Returns whether a file is a dump or a list, by its name.

    >>> [is_input(Path(name)) for name in ("RS_2017-11.zst", "urls.csv.gz", "manifest.json")]
    [True, True, False]
    """
    suffixes = path.suffixes
    is_packed = bool(suffixes) and suffixes[-1] in packed.SUFFIXES
    if is_packed:
        suffixes = suffixes[:-1]
    if path.name.startswith("RS_"):
        return True
    return bool(suffixes) and suffixes[-1] in (_LISTS + _OBJECTS[: 3 if is_packed else 2])


def read(path: Path) -> Iterator[Line]:
    """Yields every entry of a dump or list in file order.

    Args:
        path: Newline-delimited JSON with Pushshift's fields, or one URL per line (`.txt`, where a
            line that begins with `#` is a comment), or `.csv` with a column `url` and perhaps
            `score`, `created_utc`, `id`, `subreddit`; plain, `.zst`, `.xz`, `.bz2` or `.gz`.

    Raises:
        ShardError: If a compressed file is damaged or ends early, or a `.csv` has no `url` column.
    """
    kind = path.with_suffix("").suffix if path.suffix in packed.SUFFIXES else path.suffix
    with path.open("rb") as file:
        if kind == ".csv":
            yield from _read_csv(file, path)
            return
        parse = _parse_url_line if kind == ".txt" else parse_submission
        for number, data in packed.lines(packed.pieces(file, path), MAX_LINE_BYTES):
            if data and not (kind == ".txt" and data.startswith(b"#")):
                yield Line(number, parse(data))


def parse_submission(data: bytes) -> Submission | Drop:
    r"""Returns one line of a dump as a submission, or why it is none.

    >>> parse_submission(b'{"url": "http://a.test/"}')
    Drop(reason='missing_field', detail='score')
    >>> parse_submission(b"{")[0], parse_submission(b"\xff")[0]
    ('broken_json', 'not_utf8')
    """
    try:
        told = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Drop("not_utf8", f"byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Drop("broken_json", str(error).partition(":")[0])
    if not isinstance(told, dict):
        return Drop("broken_json", "not an object")
    try:
        return _submission(told)
    except _MissingError as error:
        return Drop("missing_field", str(error))


class _MissingError(Exception):
    """A field that every submission needs is absent or of no use; carries its name."""


def _submission(told: dict[str, Any]) -> Submission:
    texts = [told.get(name) for name in ("url", "author", "title", "selftext")]
    return Submission(
        url=_string(told, "url"),
        score=_integer(told, "score"),
        created_utc=_integer(told, "created_utc"),
        submission_id=_string(told, "id"),
        subreddit=_string({"subreddit": told.get("subreddit") or ""}, "subreddit"),
        is_self=_is_self(told),
        is_deleted=any(t in _GONE for t in texts) or bool(told.get("removed_by_category")),
        is_over_18=told.get("over_18") is True,
    )


def _is_self(told: dict[str, Any]) -> bool:
    """Returns whether a post is its own text; `is_self` is missing in some years."""
    if isinstance(told.get("is_self"), bool):
        return bool(told["is_self"])
    if isinstance(told.get("domain"), str):
        return str(told["domain"]).startswith("self.")
    raise _MissingError("is_self")


def _string(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise _MissingError(name)
    return value.encode("utf-8", "replace").decode()  # JSON may escape half a character


def _integer(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    try:
        number = int(float(value))  # type: ignore[arg-type]  # "1509494400", 1509494400.0
    except (TypeError, ValueError, OverflowError) as error:
        raise _MissingError(name) from error
    if abs(number) > _MAX_INTEGER:
        raise _MissingError(name)
    return number


def _parse_url_line(data: bytes) -> Submission | Drop:
    try:
        return _listed({"url": data.decode("utf-8")})
    except UnicodeDecodeError as error:
        return Drop("not_utf8", f"byte {error.start}")


def _read_csv(file: BinaryIO, path: Path) -> Iterator[Line]:
    stream = io.BufferedReader(_Pieces(packed.pieces(file, path)), _READ_BYTES)
    text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
    csv.field_size_limit(MAX_LINE_BYTES)
    rows = csv.DictReader(text)
    if "url" not in (rows.fieldnames or ()):
        raise ShardError(f"{path} has the columns {rows.fieldnames}; expected one named `url`")
    try:
        for row in rows:
            yield Line(rows.line_num, _parse_row(row))
    except csv.Error as error:
        raise ShardError(f"{path} line {rows.line_num}: {error}; mend or remove it") from error


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


def _parse_row(row: dict[str, str | None]) -> Submission | Drop:
    try:
        (row.get("url") or "").encode("utf-8")
        return _listed(row)
    except UnicodeEncodeError as error:
        return Drop("not_utf8", f"character {error.start}")
    except _MissingError as error:
        return Drop("missing_field", str(error))


def _listed(row: dict[str, str | None]) -> Submission:
    """Returns an entry of a list; what it does not tell is unknown, not bad."""
    return Submission(
        url=_string(row, "url"),
        score=_integer(row, "score") if row.get("score") else None,
        created_utc=_integer(row, "created_utc") if row.get("created_utc") else None,
        submission_id=_string({"id": row.get("id") or ""}, "id"),
        subreddit=_string({"subreddit": row.get("subreddit") or ""}, "subreddit"),
        is_self=False,
        is_deleted=False,
        is_over_18=False,
    )
