"""What one partition's crawl has done so far, in a form that survives kill -9 at any moment.

    data/warc/.journal/part-00003/
    ├── lock               held while a process works on the partition
    ├── journal.jsonl      first the identity; then one line per finished link: its row, its index
    │                      lines, and which stretch of which WARC its records are
    └── part.warc.gz       the records so far, then part.001.warc.gz ...; renamed at the end

Decisions:
- A link is done when its line is whole. Records are written before the line, so on the way back up
  the WARC is cut to the end that the last whole line tells, and nothing is in it twice.
- Sizes alone prove nothing after a power cut (a file system may give back zeros): on the way back
  up the last records are inflated, and lines whose records are not whole are undone.
- A WARC that has reached its size is followed by the next one, with a `warcinfo` of its own.
- Another identity (other links, other configuration) begins anew.
- Links that were left for another run (`deferred`, `host_parked`) are not done.
- What is done stays on disk; in memory are the ids of what an earlier run did.
- `.journal` is ignored by DVC (`.dvcignore`), so it is neither hashed nor removed.
"""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from crawl.outcome import LEFT
from pipeline.store import warc
from pipeline.store.errors import ShardError

FOLDER = ".journal"
_JOURNAL = "journal.jsonl"
_HEAD_BYTES = 64 << 10  # a `warcinfo` record has about 300
PATIENCE_S = 10.0  # what a killed driver's worker may take to notice and die


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One finished link.

    Attributes:
        row: Its row of `data/fetches/`.
        index: CDXJ lines of its records.
        volume: The number of the WARC that holds them.
        begin: Where they begin there, bytes.
        end: Where they end.
    """

    row: dict[str, Any]
    index: list[str]
    volume: int
    begin: int
    end: int


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a partition's folder for this process.

    Another holder gets some seconds to end: the workers of a driver that was killed live on for
    a moment.

    Raises:
        ShardError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        if not _is_ours(file.fileno()):
            file.seek(0)
            raise ShardError(
                f"{folder} is being crawled by another process ({file.read().strip()}); wait for "
                "it, or end it and run the same command again: its work is kept"
            )
        file.truncate(0)
        file.write(f"pid {os.getpid()}\n")
        file.flush()
        yield


def _is_ours(descriptor: int) -> bool:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.1)
        else:
            return True


Head = Callable[[str], bytes]


def volume_name(stem: str, volume: int) -> str:
    """Returns the name of one of a partition's WARC files.

    >>> volume_name("part-00003", 0), volume_name("part-00003", 12)
    ('part-00003.warc.gz', 'part-00003.012.warc.gz')
    """
    return f"{stem}.warc.gz" if volume == 0 else f"{stem}.{volume:03d}.warc.gz"


class Journal:
    """An open partition: which links are done, and where more is written; to be closed.

    Attributes:
        folder: The work folder.
        done: Ids of the links that an earlier run finished, which are not to be asked again.
        n_volumes: How many WARC files there are.
    """

    def __init__(self, folder: Path, stem: str, head: Head, max_bytes: int) -> None:
        """Opens nothing; `resume` does.

        Args:
            folder: The work folder, locked.
            stem: The partition's name, `part-00003`.
            head: Makes the beginning of a WARC of a given name.
            max_bytes: Size at which a WARC is followed by the next one.
        """
        self.folder, self._stem, self._head, self._max_bytes = folder, stem, head, max_bytes
        self.done: set[str] = set()
        self.n_volumes = 0
        self._end = 0
        self._warc: BinaryIO | None = None  # both stay open: opening costs more than writing
        self._log: BinaryIO | None = None

    def close(self) -> None:
        """Closes what is written to; all of it has been flushed."""
        for file in (self._warc, self._log):
            if file is not None:
                file.close()
        self._warc = self._log = None

    def add(self, row: dict[str, Any], records: Sequence[warc.Encoded]) -> None:
        """Writes one finished link: first its records, then its line."""
        if records and self._end >= self._max_bytes:
            self._open_next()
        name = volume_name(self._stem, self.n_volumes - 1)
        begin, index = self._end, []
        for each in records:
            index.append(warc.index_line(each, self._end, name))
            self._end += len(each.data)
        _append(self._warc, b"".join(each.data for each in records))
        entry = Entry(row=row, index=index, volume=self.n_volumes - 1, begin=begin, end=self._end)
        _append(self._log, _line(entry))

    def volumes(self) -> list[Path]:
        """Returns the WARC files in order."""
        return [self.folder / volume_name("part", v) for v in range(self.n_volumes)]

    def entries(self) -> Iterator[Entry]:
        """Returns what is done, and what was left, from disk."""
        return _entries(_lines(self.folder / _JOURNAL, skip=1))

    def _open_next(self) -> None:
        data = self._head(volume_name(self._stem, self.n_volumes))
        self.n_volumes += 1
        self.volumes()[-1].write_bytes(data)
        self._end = len(data)
        if self._warc is not None:
            self._warc.close()
        self._warc = self.volumes()[-1].open("ab")

    def continue_from(self, identity: str) -> None:
        """Keeps what an earlier run of the same identity finished; else begins anew."""
        path = self.folder / _JOURNAL
        kept = _whole(self.folder, self.entries()) if speaks_of(self.folder, identity) else {}
        ends: dict[int, int] = {}
        for place in kept.values():
            ends[place.volume] = max(place.end, ends.get(place.volume, 0))
        self.n_volumes = max(ends, default=-1) + 1
        for volume, file in enumerate(self.volumes()):
            os.truncate(file, ends.get(volume, 0) or _head_end(file))
        for file in set(self.folder.glob("part*.warc.gz")) - set(self.volumes()):
            file.unlink()
        self.done = {place.doc_id for place in kept.values()}
        if self.n_volumes:
            self._end = self.volumes()[-1].stat().st_size
            self._warc = self.volumes()[-1].open("ab")
        else:
            self._open_next()
        entries = self.entries() if kept else iter(())
        _rewrite(path, identity, (each for n, each in enumerate(entries) if n in kept))
        self._log = path.open("ab")


def resume(folder: Path, identity: str, stem: str, head: Head, max_bytes: int) -> Journal:
    """Opens a partition's journal, continuing what an earlier run of the same identity left.

    Args:
        folder: The partition's work folder, locked.
        identity: What the crawl depends on.
        stem: The partition's name, `part-00003`.
        head: Makes the beginning of a WARC of a given name.
        max_bytes: Size at which a WARC is followed by the next one.
    """
    opened = Journal(folder, stem, head, max_bytes)
    opened.continue_from(identity)
    return opened


def speaks_of(folder: Path, identity: str) -> bool:
    """Returns whether a work folder holds a journal of this identity."""
    try:
        told = json.loads(next(_lines(folder / _JOURNAL), ""))
        return bool(told["identity"] == identity)
    except (OSError, ValueError, KeyError, TypeError):
        return False


class _Place(NamedTuple):
    """Where an entry's records are."""

    doc_id: str
    is_left: bool
    volume: int
    begin: int
    end: int


def _whole(folder: Path, entries: Iterator[Entry]) -> dict[int, _Place]:
    """Returns the entries that are done and whose records are there, by their numbers."""
    places = [
        _Place(e.row["doc_id"], e.row["outcome"] in LEFT, e.volume, e.begin, e.end) for e in entries
    ]
    n_volumes = max((place.volume for place in places), default=-1) + 1
    files = [folder / volume_name("part", volume) for volume in range(n_volumes)]
    if not all(file.is_file() and _head_end(file) for file in files):
        return {}  # somebody took a file away
    sizes = [file.stat().st_size for file in files]
    there = [n for n, place in enumerate(places) if place.end <= sizes[place.volume]]
    while there and not _is_whole(folder, places[there[-1]]):
        there.pop()
    return {n: places[n] for n in there if not places[n].is_left}


def _is_whole(folder: Path, place: _Place) -> bool:
    """Returns whether an entry's records are gzip members from end to end."""
    with (folder / volume_name("part", place.volume)).open("rb") as file:
        file.seek(place.begin)
        data = file.read(place.end - place.begin)
    while end := _member_end(data):
        data = data[end:]
    return not data


def _head_end(file: Path) -> int:
    """Returns where a WARC's first record ends, 0 if it has no whole one."""
    with file.open("rb") as opened:
        return _member_end(opened.read(_HEAD_BYTES))


def _member_end(data: bytes) -> int:
    """Returns where the gzip member ends that some bytes begin with, 0 if it is not whole."""
    inflater = zlib.decompressobj(31)
    try:
        inflater.decompress(data)
    except zlib.error:
        return 0
    return len(data) - len(inflater.unused_data) if inflater.eof else 0


def _append(file: BinaryIO | None, data: bytes) -> None:
    assert file is not None  # a journal that has been closed takes nothing
    file.write(data)
    file.flush()


def _line(entry: Entry) -> bytes:
    told = {
        "volume": entry.volume,
        "begin": entry.begin,
        "end": entry.end,
        "index": entry.index,
        "row": entry.row,
    }
    return msgspec.json.encode(told) + b"\n"


def _lines(path: Path, skip: int = 0) -> Iterator[str]:
    """Yields a journal's lines; a torn one may end within a character."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file):
            if number >= skip:
                yield line


def _entries(lines: Iterator[str]) -> Iterator[Entry]:
    for line in lines:
        try:
            yield Entry(**msgspec.json.decode(line))
        except (ValueError, TypeError, msgspec.MsgspecError):
            return  # the line that was being written; nothing behind it counts


def _rewrite(path: Path, identity: str, entries: Iterable[Entry]) -> None:
    """Replaces a journal by its whole lines, so that new ones do not join a torn one."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode({"identity": identity}) + b"\n")
        file.writelines(_line(entry) for entry in entries)
    temporary.replace(path)
