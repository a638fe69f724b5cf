"""Packed files as pieces and lines: `.gz`, `.zst`, `.xz`, `.bz2`, or plain.

Decisions:
- A file is read once, in pieces, split at line ends as bytes: memory stays flat, a character on a
  boundary is never split, and one bad line costs one line.
- zstd windows of 2 GiB are allowed; newer dumps need them.
- A packed file that ends early stops the stage: what is missing cannot be counted.
"""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from pipeline.store.errors import ShardError

SUFFIXES = (".zst", ".xz", ".bz2", ".gz")

_READ_BYTES = 1 << 18
_ZSTD_WINDOW_BYTES = 1 << 31
_ZSTD_HEADER_BYTES = 18  # the longest frame header
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


def lines(pieces: Iterable[bytes], max_bytes: int) -> Iterator[tuple[int, bytes]]:
    r"""Yields (number, line without blanks at its ends) of a byte stream; keeps one line in memory.

    A line longer than `max_bytes` is cut there.

    >>> list(lines([b"a\nb", b"c\r\n", b"\nd"], 100))
    [(1, b'a'), (2, b'bc'), (3, b''), (4, b'd')]
    """
    number, rest = 1, b""
    for piece in pieces:
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:  # a line at a time stays in the CPU's cache
            line = piece[start:end]
            if rest:
                line, rest = rest + line, b""
            yield number, line[:max_bytes].strip()
            number += 1
            start = end + 1
        if len(rest) < max_bytes:
            rest = (rest + piece[start:])[:max_bytes]
    if rest:
        yield number, rest.strip()


def pieces(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yields a file's content in pieces, decompressed by its suffix."""
    try:
        stream = _opened(file, path.suffix)
        while piece := stream.read(_READ_BYTES):
            yield piece
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        remedy = "fetch it again and compare its SHA-256"
        raise ShardError(f"{path} is damaged or cut short ({error}); {remedy}") from error


def _opened(file: BinaryIO, suffix: str) -> Any:
    if suffix == ".zst":
        _check_zstd_end(file)
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        return decompressor.stream_reader(file, read_across_frames=True)
    openers: dict[str, Any] = {".xz": lzma.open, ".bz2": bz2.open, ".gz": gzip.open}
    return openers[suffix](file) if suffix in openers else file


def _check_zstd_end(file: BinaryIO) -> None:
    """Walks over the frames of a file without decompressing; zstd itself ends silently at a cut.

    Raises:
        EOFError: If the last frame has no end.
        zstandard.ZstdError: If there is something else than frames.
    """
    size = os.fstat(file.fileno()).st_size
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(_ZSTD_HEADER_BYTES)
        if len(head) >= 8 and head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5:
            position += 8 + int.from_bytes(head[4:8], "little")
            continue
        has_checksum = zstandard.get_frame_parameters(head).has_checksum
        position += zstandard.frame_header_size(head)
        is_last = False
        while not is_last:
            file.seek(position)
            block = int.from_bytes(file.read(3), "little")
            is_last = bool(block & 1)
            is_run = block >> 1 & 3 == 1  # one byte, repeated
            position += 3 + (1 if is_run else block >> 3)
            if position > size:
                raise EOFError("the last zstd frame has no end")
        position += 4 * has_checksum
    if position > size:
        raise EOFError("the last zstd frame has no end")
    file.seek(0)
