"""HTTP bodies as they were meant: chunking and Content-Encoding undone, bounded, tolerant.

Decisions:
- A bomb is stopped by the cap while it is decoded, not after.
- A damaged body gives everything that comes before the damage; who reads it is told.
- A body that is one whole member, as nearly all are, is inflated by ISA-L in half of zlib's time;
  all others go through zlib step by step.
- gzip with several members and padding, zlib and bare deflate, stacked encodings are understood.
  Others (`br`, `zstd`) are left as they are and named.
"""

import re
import zlib
from typing import NamedTuple

from isal import isal_zlib

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_RESERVED = 0xE0  # flags that no writer may set; ISA-L doesn't look
_STEP_BYTES = 64 << 10
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")


class Decoded(NamedTuple):
    """A body without its Content-Encoding."""

    body: bytes
    undecoded: str
    exceeded: bool


def unchunk(stored: bytes, transfer_encoding: str) -> bytes:
    r"""Undoes chunking where the header claims it and the body really has it.

    >>> unchunk(b"4\r\npage\r\n0\r\n\r\n", "chunked")
    b'page'
    """
    if "chunked" not in transfer_encoding.lower():
        return stored
    parts, position = [], 0
    while size := _CHUNK_SIZE.match(stored, position):
        n_bytes = int(size[1], 16)
        if not n_bytes:
            break
        parts.append(stored[size.end() : size.end() + n_bytes])
        position = size.end() + n_bytes + 2
    return b"".join(parts) if parts else stored


def decode(body: bytes, content_encoding: str, max_bytes: int) -> Decoded:
    r"""Undoes the Content-Encoding of a body, the last one first.

    A body that does not look like what the header claims stays as it is (servers and archives that
    decode often leave the header). A damaged body gives what comes before the damage.

    Args:
        body: As it was sent.
        content_encoding: The header's value, encodings separated by commas; "" is none.
        max_bytes: Where a longer result is cut; nothing is decoded beyond it.

    >>> decode(zlib.compress(b"page", wbits=31), "gzip", 100)
    Decoded(body=b'page', undecoded='', exceeded=False)
    >>> decode(zlib.compress(bytes(1000)), "deflate", 3)
    Decoded(body=b'\x00\x00\x00', undecoded='', exceeded=True)
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    undecoded = ""
    for name in reversed([n for n in names if n not in ("", "identity", "none")]):
        body, is_whole = _decode(body, name, max_bytes)
        if not is_whole and len(body) <= max_bytes:
            undecoded = name
            break
    return Decoded(body[:max_bytes], undecoded, len(body) > max_bytes)


def _decode(body: bytes, name: str, max_bytes: int) -> tuple[bytes, bool]:
    if name in ("gzip", "x-gzip"):
        return _inflate(body, 31, max_bytes) if body.startswith(b"\x1f\x8b") else (body, True)
    if name == "deflate":  # zlib by the standard, bare deflate by some servers
        decoded, is_whole = _inflate(body, 15, max_bytes)
        if not decoded and not is_whole:
            decoded, is_whole = _inflate(body, -15, max_bytes)
        return (decoded, True) if is_whole else (decoded or body, False)
    return body, False  # this crawl asks for nothing else; other archives may hold `br`


def _inflate(body: bytes, window_bits: int, max_bytes: int) -> tuple[bytes, bool]:
    """Returns at most max_bytes + 1 decompressed bytes of all members, and whether all is well."""
    whole = _inflate_member(body, window_bits, max_bytes)
    if whole is not None:
        return whole, True
    out, rest = bytearray(), body
    while rest and len(out) <= max_bytes:
        inflater = zlib.decompressobj(window_bits)
        for start in range(0, len(rest), _STEP_BYTES):
            before = inflater.copy()
            step = rest[start : start + _STEP_BYTES]
            room = max_bytes + 1 - len(out)
            try:
                out += inflater.decompress(step, room)
            except zlib.error:
                out += _salvage(before, step, room)
                return bytes(out), False
            if inflater.eof or len(out) > max_bytes:
                break
        if not inflater.eof:
            return bytes(out), False
        rest = inflater.unused_data + rest[start + _STEP_BYTES :]
        if rest and not rest.startswith(_GZIP_MAGIC):
            break  # padding or junk behind the last member, which browsers ignore too
    return bytes(out), True


def _inflate_member(body: bytes, window_bits: int, max_bytes: int) -> bytes | None:
    """Returns what a body holds that is one whole member and no bomb; None for any other."""
    if window_bits == 31 and (len(body) < 4 or body[3] & _GZIP_RESERVED):
        return None
    inflater = isal_zlib.decompressobj(window_bits)
    try:
        out = inflater.decompress(body, max_bytes + 1)
    except isal_zlib.error:  # type: ignore[misc]  # its stub calls the class an object
        return None
    is_whole = inflater.eof and not inflater.unused_data and len(out) <= max_bytes
    return out if is_whole else None


def _salvage(inflater: "zlib._Decompress", data: bytes, room: int) -> bytes:
    """Returns what comes out before the damaged byte; `decompress` loses it when it raises."""
    out = bytearray()
    for byte in data:
        try:
            out += inflater.decompress(bytes([byte]), max(1, room - len(out)))
        except zlib.error:
            break
    return bytes(out)
