"""What one partition's crawl has done so far, in a form that survives kill -9 at any moment.

    data/warc/.journal/part-00003/
    ├── lock             held while a process works on the partition
    ├── journal.jsonl    first the identity; then one line per finished link: its row, its index
    │                    lines, and where the WARC ended after its records
    └── part.warc.gz     the records so far; renamed into place at the end

Decisions:
- A link is done when its line is whole. Records are written before the line, so on the way back up
  the WARC is cut to the end that the last whole line tells, and nothing is in it twice.
- Another identity (other links, other configuration) begins anew.
- Links that were left for another run (`deferred`, `host_parked`) are not done.
- `.journal` is ignored by DVC (`.dvcignore`), so it is neither hashed nor removed.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.store.errors import ShardError

FOLDER = ".journal"
WARC = "part.warc.gz"
LEFT = ("deferred", "host_parked")
_JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One finished link.

    Attributes:
        row: Its row of `data/fetches/`.
        index: CDXJ lines of its records.
        end: Where the WARC ended after them, bytes.
    """

    row: dict[str, Any]
    index: list[str]
    end: int


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a partition's folder for this process.

    Raises:
        ShardError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise ShardError(
                f"{folder} is being crawled by another process ({file.read().strip()}); wait for "
                "it, or end it and run the same command again: its work is kept"
            ) from error
        file.truncate(0)
        file.write(f"pid {os.getpid()}\n")
        file.flush()
        yield


@dataclass(slots=True, kw_only=True)
class Journal:
    """An open partition: what is done, and where more is written.

    `end` is where the next record begins in the WARC, bytes.
    """

    folder: Path
    warc: Path
    entries: list[Entry]
    end: int

    def append(self, row: dict[str, Any], index: list[str], data: bytes) -> None:
        """Writes one finished link: first its records, then its line."""
        with self.warc.open("ab") as file:
            file.write(data)
        self.end += len(data)
        entry = Entry(row=row, index=index, end=self.end)
        with (self.folder / _JOURNAL).open("a", encoding="utf-8") as file:
            file.write(_line(entry))
        self.entries.append(entry)


def resume(folder: Path, identity: str, head: bytes) -> Journal:
    """Opens a partition's journal, continuing what an earlier run of the same identity left.

    Args:
        folder: The partition's work folder, locked.
        identity: What the crawl depends on.
        head: The bytes a new WARC begins with.
    """
    warc = folder / WARC
    size = warc.stat().st_size if warc.is_file() else 0
    told = _read(folder / _JOURNAL)
    if told is None or told.identity != identity or size < told.begin:
        warc.write_bytes(head)
        told = _Told(identity=identity, begin=len(head), entries=[])
        size = len(head)
    whole = [entry for entry in told.entries if entry.end <= size]
    entries = [entry for entry in whole if entry.row["outcome"] not in LEFT]
    end = max((entry.end for entry in entries), default=told.begin)
    os.truncate(warc, end)
    _rewrite(folder / _JOURNAL, _Told(identity=identity, begin=told.begin, entries=entries))
    return Journal(folder=folder, warc=warc, entries=entries, end=end)


def speaks_of(folder: Path, identity: str) -> bool:
    """Returns whether a work folder holds a journal of this identity."""
    told = _read(folder / _JOURNAL)
    return told is not None and told.identity == identity


class _Told(NamedTuple):
    """What a journal says: whose it is, where the first record begins, its whole lines."""

    identity: str
    begin: int
    entries: list[Entry]


def _line(entry: Entry) -> str:
    told = {"end": entry.end, "index": entry.index, "row": entry.row}
    return json.dumps(told, ensure_ascii=False) + "\n"


def _read(path: Path) -> _Told | None:
    """Returns what a journal says; None if it is none."""
    try:  # a torn line may end within a character
        first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        head = json.loads(first)
        begin, identity = int(head["begin"]), str(head["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    entries = []
    for line in lines:
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            break  # the line that was being written; nothing behind it counts
    return _Told(identity, begin, entries)


def _rewrite(path: Path, told: _Told) -> None:
    """Replaces a journal by its whole lines, so that new ones do not join a torn one."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"identity": told.identity, "begin": told.begin}) + "\n")
        file.writelines(_line(entry) for entry in told.entries)
    temporary.replace(path)
