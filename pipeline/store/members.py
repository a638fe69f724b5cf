"""Bytes of an archive file, member by member, wherever one is damaged.

    file      | member 0 | member 1 |XXmember 2X| member 3 |    a member (frame) of gzip, lz4 or
    decoded   | record   | record   |  Broken   | record   |    zstd is one record, or all of them

Decisions:
- A plain file is one member whose decoded bytes are its own.
- The decoders are fed in steps so small that no input makes more than 32 MiB of one step.
- What a damaged member holds before the damage comes out first, then `Broken` is raised. Where the
  next member begins is searched by its magic number and by what it holds.
- A zstd file may begin with a dictionary in a skippable frame (IIPC's proposal for WARC).
"""

import io
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import lz4.frame
import zstandard

_READ_BYTES = 256 << 10
_PADDING_BYTES = 512
_GUESS_BYTES = 16 << 20  # searched for a first member behind a damaged beginning
_PROBE_BYTES = 5 << 20  # of a candidate; an lz4 block of 4 MiB shows nothing before its end
_ZSTD_WINDOW_BYTES = 128 << 20  # what `zstd --long` makes and every decoder takes
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_DICTIONARY = b"\x5d\x2a\x4d\x18"
_DAMAGE = (zlib.error, zstandard.ZstdError, RuntimeError, EOFError)  # lz4 raises RuntimeError


class Broken(Exception):  # noqa: N818  # a state of the data, always caught by the reader
    """The member cannot be read any further; carries the reason."""


class _Codec(NamedTuple):
    """A packing: `decoder()` has `decompress`, `eof` and `unused_data`."""

    name: str
    magic: bytes
    decoder: Callable[[], Any]
    step_bytes: int


class Members:
    """The members of one file, read one after the other.

    Attributes:
        size: Of the file, bytes.
        offset: Where the current member begins.
        search_from: Where the next one is searched if the current one is damaged.
    """

    def __init__(self, file: BinaryIO, accepts: Callable[[bytes], bool]) -> None:
        """Finds out how the file is packed, by its bytes; its name plays no part.

        Args:
            file: Open, seekable.
            accepts: Judges whether decoded bytes begin as the content of a member does.
        """
        self._file, self._accepts = file, accepts
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(64)
        codecs = _codecs(file)
        named = next((codec for codec in codecs if head.startswith(codec.magic)), None)
        named = codecs[-1] if head.startswith(_ZSTD_DICTIONARY) else named
        self._codec = named
        if named is None and not accepts(head):  # a damaged beginning, or no archive at all
            self._codec = next((codec for codec in codecs if self._holds(codec)), None)
        self.begin(_dictionary_bytes(file))

    def _holds(self, codec: _Codec) -> bool:
        """Returns whether a member of that packing begins within the first megabytes."""
        self._codec = codec
        return self.find(0, min(self.size, _GUESS_BYTES)) < min(self.size, _GUESS_BYTES)

    @property
    def is_plain(self) -> bool:
        """Whether the file is not packed."""
        return self._codec is None

    def begin(self, offset: int) -> None:
        """Goes to the member that begins at an offset of the file."""
        self.offset, self.search_from = offset, offset + 1
        self._file.seek(offset)
        self._decoder: Any = self._codec.decoder() if self._codec else None
        self._damage = ""  # set when what comes before it was given out

    def next(self) -> bool:
        """Goes to the member behind this one, which was read to its end; False if there is none."""
        if self._codec is None:
            return False
        position = self._file.tell()
        while (head := self._file.read(_PADDING_BYTES)) and not head.strip(b"\0"):
            position += len(head)  # zeros, as tape and block devices leave them
        position += len(head) - len(head.lstrip(b"\0"))
        before = self.offset
        self.begin(position)
        if not head.lstrip(b"\0").startswith(self._codec.magic):
            self.search_from = before + 1  # the member before it was damaged, and did not notice
        return position < self.size

    def read(self) -> bytes:
        """Returns the next decoded bytes of the member, none at its end.

        Raises:
            Broken: If the member is damaged or the file ends in it.
        """
        if self._codec is None:
            return self._file.read(_READ_BYTES)
        out = b""
        while not out and (self._damage or not self._decoder.eof) and self.offset < self.size:
            out = self._step(self._codec)
        return out

    def _step(self, codec: _Codec) -> bytes:
        if self._damage:
            raise Broken(self._damage)
        begin = self._file.tell()
        raw = self._file.read(codec.step_bytes)
        if not raw:
            raise Broken("file is cut short")
        try:
            out: bytes = self._decoder.decompress(raw)
        except _DAMAGE as error:
            self._damage = f"{codec.name} data is damaged"
            out = self._salvage(codec, begin, raw)
            if not out:
                raise Broken(self._damage) from error
            return out
        if self._decoder.eof:
            self._file.seek(begin + len(raw) - len(self._decoder.unused_data or b""))
        return out

    def _salvage(self, codec: _Codec, begin: int, raw: bytes) -> bytes:
        """Returns what the failed step holds before its damage; the decoder lost it."""
        self._file.seek(self.offset)
        again = codec.decoder()
        while (left := begin - self._file.tell()) > 0:
            again.decompress(self._file.read(min(left, codec.step_bytes)))
        out = bytearray()
        try:
            for byte in raw:
                out += again.decompress(bytes([byte]))
        except _DAMAGE:
            pass
        return bytes(out)

    def find(self, start: int, stop: int) -> int:
        """Returns where the next member begins whose content is accepted, else `stop`."""
        assert self._codec is not None
        magic, base, kept = self._codec.magic, start, b""
        self._file.seek(start)
        while base < stop and (chunk := self._file.read(_READ_BYTES)):
            window = kept + chunk
            found = window.find(magic)
            while found >= 0:
                if self._accepts(self._probe(base + found)):
                    return min(base + found, stop)
                found = window.find(magic, found + 1)
            kept = window[-len(magic) + 1 :]
            base += len(window) - len(kept)
            self._file.seek(base + len(kept))
        return stop

    def _probe(self, offset: int) -> bytes:
        """Returns the first decoded bytes of what may be a member; none if it is not."""
        try:
            self.begin(offset)
            out = b""
            while len(out) < 64 and self._file.tell() - offset < _PROBE_BYTES:
                piece = self.read()
                out += piece
                if not piece:
                    break
        except Broken:
            pass
        return out


def _codecs(file: BinaryIO) -> tuple[_Codec, ...]:
    """Returns the packings; zstd with the dictionary of this file, if it has one."""
    gzip = _Codec("gzip", b"\x1f\x8b\x08", lambda: zlib.decompressobj(31), 16 << 10)
    lz4_frame = _Codec("lz4", b"\x04\x22\x4d\x18", lz4.frame.LZ4FrameDecompressor, 64 << 10)
    zstd = _Codec("zstd", _ZSTD_MAGIC, _zstd(file).decompressobj, 1 << 10)
    return gzip, lz4_frame, zstd


def _dictionary_bytes(file: BinaryIO) -> int:
    """Returns how many bytes a zstd dictionary takes at the beginning of a file, frame included."""
    file.seek(0)
    head = file.read(8)
    is_dictionary = head.startswith(_ZSTD_DICTIONARY) and len(head) == 8
    return 8 + int.from_bytes(head[4:], "little") if is_dictionary else 0


def _zstd(file: BinaryIO) -> zstandard.ZstdDecompressor:
    plain = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    n_bytes = _dictionary_bytes(file)
    file.seek(8)
    packed = file.read(min(max(n_bytes - 8, 0), _ZSTD_WINDOW_BYTES))
    try:
        if packed.startswith(_ZSTD_MAGIC):
            packed = plain.stream_reader(packed).read(_ZSTD_WINDOW_BYTES)
        dictionary = zstandard.ZstdCompressionDict(packed)
        return zstandard.ZstdDecompressor(dictionary, max_window_size=_ZSTD_WINDOW_BYTES)
    except zstandard.ZstdError:  # a damaged dictionary: every frame that needs it is damage
        return plain
