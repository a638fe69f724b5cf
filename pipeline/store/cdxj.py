"""Where a WARC file holds a document: looked up in the CDXJ file beside it, not searched for.

A CDXJ file is sorted, so a line is found by halving. Two links may end at one address, each with a
response of its own; the document id in the record's header says which is which.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.store.warc import index_key

_HEADER_BYTES = 64 << 10


def find(index: Path, url: str, doc_id: str) -> int | None:
    """Returns the byte offset of the response record that answers a link.

    Args:
        index: A `part-*.cdxj`; the WARC file named in its lines lies beside it.
        url: What was fetched in the end, after redirects.
        doc_id: The link's.
    """
    key = f"{index_key(url)} ".encode()
    with index.open("rb") as file:
        for line in _lines_from(file, key, index.stat().st_size):
            if not line.startswith(key):
                return None
            told = json.loads(line[line.index(b"{") :])
            offset = int(told["offset"])
            if told["url"] == url and _answers(index.with_name(told["filename"]), offset, doc_id):
                return offset
    return None


def _lines_from(file: BinaryIO, key: bytes, size: int) -> Iterator[bytes]:
    """Yields the lines that are not below `key`, in order."""
    low, high = 0, size  # the first wanted line begins in (low, high], or at 0
    while low < high:
        middle = (low + high) // 2
        _seek_line(file, middle)
        line = file.readline()
        if line and line < key:
            low = middle + 1
        else:
            high = middle
    _seek_line(file, low)
    yield from (line for line in file if line >= key)


def _seek_line(file: BinaryIO, position: int) -> None:
    """Goes to the first line that begins at a position or after it."""
    file.seek(max(0, position - 1))
    if position:
        file.readline()


def _answers(warc: Path, offset: int, doc_id: str) -> bool:
    """Returns whether the record at an offset is the response to a link."""
    with warc.open("rb") as file:
        file.seek(offset)
        try:
            head = zlib.decompressobj(31).decompress(file.read(_HEADER_BYTES), _HEADER_BYTES)
        except zlib.error:
            return False
    fields = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return b"Outbound-Doc-Id: " + doc_id.encode() in fields
