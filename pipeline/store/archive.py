"""Every record of a WARC or ARC file, and everything in it that cannot be read.

Decisions:
- Damage stays local. A record counts when its block is whole and, where it is a member of its own,
  the member's check sum holds. Behind anything else reading goes on at the next thing that looks
  like the beginning of a record: in the same member, else in the next one that has one.
- A wrong Content-Length shows by what follows the block. One that is too long swallowed the next
  records: they are read, the record is damage. One that is too short leaves bytes that belong to no
  record: the record is read, the bytes are damage.
- The name of a file says nothing: packing and format go by the first bytes.
- Offsets are those of the file; of a packed one, where the member begins that holds the record.
- ARC records look like WARC responses: `WARC-Target-URI`, `WARC-Date`, a `Content-Type`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from pipeline.store.members import Members
from pipeline.store.window import MAX_HEADER_BYTES, Mark, Window

MAX_BLOCK_BYTES = (64 << 20) + (64 << 10)  # kept of one record: a body and its HTTP header

_FILE_BUFFER_BYTES = 1 << 20
_HEADER_VIEW_BYTES = 4 << 10  # nearly all headers
_SEARCH_BYTES = 64 << 10
_PADDING = b"\r\n\0"
_FOLD = re.compile(r"\r?\n[ \t]+")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_WARC = re.compile(rb"WARC/\d\.\d+[ \t]*\r?\n[A-Za-z][\w-]*[ \t]*:")
# URL, address, date, then type and length with up to five fields between them (ARC version 2).
_ARC = re.compile(
    rb"(?P<url>(?:https?|ftp|gopher|dns|whois|filedesc|metadata|urn):[^\r\n]*) [0-9A-Fa-f.:-]+ "
    rb"(?P<date>\d{8,18}) (?P<type>\S+)(?: \S+){0,5} (?P<length>\S+)[ \t]*\r?\n"
)
_ANY = re.compile(_WARC.pattern + b"|" + _ARC.pattern)
_ARC_BEGIN = re.compile(rb"(?:https?|ftp|gopher|dns|whois|filedesc|metadata|urn):")
_UNREADABLE = "holds no readable record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What of a file could not be read.

    It lies between the records that begin at `offset` and at `end` (both byte offsets in the file);
    the two are equal where one record is damaged by itself.
    """

    offset: int
    end: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record.

    Attributes:
        offset: Where it begins.
        fields: Its header in file order, unfolded.
        block: What follows the header, cut at the reader's limit.
        n_bytes: Length of the whole block.
    """

    offset: int
    fields: tuple[tuple[str, str], ...]
    block: bytes
    n_bytes: int

    @cached_property
    def _first(self) -> dict[str, str]:
        return {name.lower(): value for name, value in reversed(self.fields)}

    def get(self, name: str) -> str:
        """Returns the first field of that name, "" where there is none."""
        return self._first.get(name.lower(), "")

    @property
    def kind(self) -> str:
        """The record type in lower case; `arc_header` begins an ARC file."""
        return self.get("WARC-Type").lower()

    @property
    def url(self) -> str:
        """The target's address; wget writes it between angle brackets."""
        return self.get("WARC-Target-URI").strip("<>")


def read_records(path: Path, max_block_bytes: int = MAX_BLOCK_BYTES) -> Iterator[Record | Damage]:
    """Yields every record of a file in file order, and every damaged stretch.

    Args:
        path: WARC or ARC of any version, plain, gzip, lz4 or zstd.
        max_block_bytes: A longer block is cut here; bounds the memory.

    Raises:
        OSError: If the file cannot be opened or read.
    """
    with path.open("rb", buffering=_FILE_BUFFER_BYTES) as file:
        reader = _Reader(file, max_block_bytes)
        found = None
        for found in reader.records():
            yield found
        if found is None and reader.size:
            yield Damage(offset=0, end=reader.size, reason=_UNREADABLE)


class _Reader:
    """Reads records one after the other and finds the next one behind damage."""

    def __init__(self, file: BinaryIO, max_block_bytes: int) -> None:
        self._pattern = _ANY  # until the first record settles it
        members = Members(file, self._begins_record)
        self.size = members.size
        self._max_block_bytes = max_block_bytes
        self._window = Window(members)

    def records(self) -> Iterator[Record | Damage]:
        """Yields what the file holds."""
        window = self._window
        while True:
            offset = window.offset
            if window.skip_padding():
                yield from self._read(window.mark) if self._is_record() else self._skip(offset)
            elif window.broken:
                yield from self._skip(offset)
            elif not window.open_next():
                return

    def _is_record(self) -> bool:
        return self._window.match(self._pattern) is not None

    def _skip(self, offset: int, reason: str = "") -> Iterator[Damage]:
        """Moves to the next record and yields the damage that lies before it."""
        reason = reason or self._window.broken or "bytes that belong to no record"
        self._find_record()
        end = self._window.offset
        yield Damage(offset=min(offset, end), end=end, reason=reason)

    def _find_record(self) -> None:
        """Moves to the next beginning of a record, in this member or a later one."""
        window = self._window
        while not self._find_in_member():
            if window.members.is_plain:
                return
            window.jump(window.members.find(window.members.search_from, self.size))
            if window.members.offset >= self.size:
                return
            if window.skip_padding() and self._is_record():
                return

    def _find_in_member(self) -> bool:
        """Moves to a record that begins here or behind a line end; False at the member's end."""
        window = self._window
        if self._is_record():
            return True
        while view := window.view(_SEARCH_BYTES + MAX_HEADER_BYTES):
            line_end = view.find(b"\n", 0, _SEARCH_BYTES)
            while line_end >= 0:
                if self._pattern.match(view, line_end + 1):
                    window.take(line_end + 1)
                    return True
                line_end = view.find(b"\n", line_end + 1, _SEARCH_BYTES)
            window.take(min(len(view), _SEARCH_BYTES))
        return False

    def _begins_record(self, head: bytes) -> bool:
        head = head.lstrip(_PADDING)
        is_warc = self._pattern is not _ARC and head.startswith(b"WARC/")
        return is_warc or (self._pattern is not _WARC and _ARC_BEGIN.match(head) is not None)

    def _read(self, begin: Mark) -> Iterator[Record | Damage]:
        """Yields the record that begins here, or the damage it is."""
        window = self._window
        offset = window.offset
        fields, n_bytes = self._header()
        length = _length(fields)
        if length is None:
            window.take(1)
            yield from self._skip(offset, "record without a length")
            return
        window.take(n_bytes)
        behind = window.mark
        block, n_read = self._block(length)
        reason = self._fault(begin, block, n_read, length)
        if not reason:
            yield Record(offset=offset, fields=fields, block=block, n_bytes=length)
            return
        if not (window.broken and begin.position == 0) and not self._is_next_member(begin):
            window.rewind(behind)
            yield from self._skip(offset, reason)
            return
        if window.broken:
            self._find_record()
        yield Damage(offset=offset, end=window.offset, reason=reason)

    def _is_next_member(self, begin: Mark) -> bool:
        """Returns whether a later member was reached and begins with a record."""
        mark = self._window.mark
        return mark.member > begin.member and mark.position == 0 and self._is_record()

    def _header(self) -> tuple[tuple[tuple[str, str], ...], int]:
        """Returns the fields of the header in view and its length; no fields if it has no end."""
        window = self._window
        if self._pattern is _ANY:
            self._pattern = _WARC if window.match(_WARC) else _ARC
        if self._pattern is _ARC:
            found = window.match(_ARC)
            return (_arc_fields(found), len(found[0])) if found else ((), 0)
        for n_bytes in (_HEADER_VIEW_BYTES, MAX_HEADER_BYTES):
            view = window.view(n_bytes)
            if end := _HEADER_END.search(view):
                return fields_of(view[: end.start()]), end.end()
        return (), 0

    def _block(self, length: int) -> tuple[bytes, int]:
        """Returns a block as far as it is kept, and how many bytes of it there were.

        Some writers spread one record over several members; a member that begins with a record
        ends the block.
        """
        window, parts, kept, n_read = self._window, [], 0, 0
        while n_read < length:
            piece = window.take(length - n_read)
            if not piece:
                if window.broken or not window.open_next() or self._is_record():
                    break
                continue
            n_read += len(piece)
            if kept < self._max_block_bytes:
                parts.append(piece[: self._max_block_bytes - kept])
                kept += len(parts[-1])
        return b"".join(parts), n_read

    def _fault(self, begin: Mark, block: bytes, n_read: int, length: int) -> str:
        """Returns why a record that was read does not count, "" if it does."""
        window = self._window
        if n_read < length:
            return window.broken or f"block has {n_read} of {length} bytes"
        end = window.mark
        is_alone = begin == (end.member, 0) and not window.members.is_plain
        if not window.skip_padding():
            return window.broken if is_alone else ""
        return "" if self._is_record() else self._doubt(end, block, length, is_alone)

    def _doubt(self, end: Mark, block: bytes, length: int, is_alone: bool) -> str:  # noqa: FBT001
        """Judges a record that something else than a record follows."""
        window = self._window
        window.rewind(end)
        if length > len(block) or self._holds_record(block, window.view(MAX_HEADER_BYTES)):
            return f"next record begins before the {length} bytes of this one end"
        is_broken = is_alone and not self._find_in_member() and window.broken
        window.rewind(end)
        return is_broken or ""

    def _holds_record(self, block: bytes, behind: bytes) -> bool:
        """Returns whether a record begins in a block; its header may end behind it."""
        both, begin = block + behind, 0
        while not self._pattern.match(both, begin):
            begin = block.find(b"\n", begin) + 1
            if not begin:
                return False
        return True


def fields_of(header: bytes) -> tuple[tuple[str, str], ...]:
    r"""Returns the fields of a header whose first line is passed over.

    >>> fields_of(b"HTTP/1.1 200 OK\r\nA: 1\nB : 2\r\n  3\nnot a field")
    (('A', '1'), ('B', '2 3'))
    """
    lines = _FOLD.sub(" ", header.decode("utf-8", "replace")).split("\n")
    pairs = (line.partition(":") for line in lines[1:])
    return tuple(
        [(name.strip(), value.strip()) for name, colon, value in pairs if colon and name.strip()]
    )


def _arc_fields(found: re.Match[bytes]) -> tuple[tuple[str, str], ...]:
    """Returns the line before an ARC record as fields of a WARC record."""
    url, date, mime, length = (
        found[name].decode("utf-8", "replace") for name in ("url", "date", "type", "length")
    )
    is_header, is_http = url.startswith("filedesc:"), url.lower().startswith("http")
    day, time = f"{date[:4]}-{date[4:6]}-{date[6:8]}", date[8:14].ljust(6, "0")
    return (
        ("WARC-Type", "arc_header" if is_header else "response"),
        ("WARC-Target-URI", url),
        ("WARC-Date", f"{day}T{time[:2]}:{time[2:4]}:{time[4:]}Z"),
        ("Content-Type", "application/http; msgtype=response" if is_http else mime),
        ("Content-Length", length),
    )


def _length(fields: tuple[tuple[str, str], ...]) -> int | None:
    for name, value in fields:
        if name.lower() == "content-length" and re.fullmatch("[0-9]{1,18}", value):
            return int(value)
    return None
