"""WARC files: what the crawl writes, and the captured documents of any archive.

Decisions:
- Writing is done by hand (a record is a header block, a body and two line ends): one gzip member
  per record at level 6, modification time 0, record ids by `uuid5`, so that equal exchanges give
  equal bytes with any library version. A body that was sent as gzip gains nothing from a second
  deflate (12,118 bytes stay 12,118) and costs ten times a copy: it goes into stored blocks.
- Bodies are stored as they were sent (Content-Encoding kept), only chunking is undone; headers that
  are no longer true are renamed to `X-Crawler-…` and a true Content-Length is added.
- Reading stands on `pipeline.store.archive`, by which damage stays local. What could not be read is
  reported as `Damage`, never skipped in silence.
- `resource` records of http addresses are documents that were stored without an HTTP header, and
  `conversion` records (WET) their text; both read like a response with status 200.
"""

import hashlib
import json
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from isal import isal_zlib

from pipeline.store import archive, content
from pipeline.store.archive import Damage, Record

MAX_BODY_BYTES = 64 << 20  # guards the reader's memory; the crawl's own caps are far below

OWN_FIELD = "Outbound-Crawl"  # of the `warcinfo` record: only responses that answer links count

_MAX_HTTP_HEADER_BYTES = 64 << 10
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BASE32 = [a + b for a in _LETTERS for b in _LETTERS]  # base64's function takes four times as long
_NO_SIGNS = str.maketrans("", "", "-:.TZ")  # of a WARC-Date
_GZIP_LEVEL = 6
_GZIP_WINDOW = 16  # added to the window's bits it asks zlib for the gzip form
_SMALL_BYTES = 4096  # up to here a small hash table compresses as well, in a fifth of the time
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
_GZIP_MAGIC = _GZIP_HEAD[:2]
_NAMESPACE = uuid.UUID("0b7c5c1e-6f0c-5d5c-9f6a-6f7574626f75")
_STATUS = re.compile(rb"\s*HTTP/[\d.]+[ \t]+(\d{3})(?!\d)")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One captured document of a WARC or ARC file.

    `kind` is the record's type; a `conversion` holds text, whatever its headers say. `body` is
    decoded by Transfer-Encoding and Content-Encoding. `truncated` is "" or `length`, `time`,
    `disconnect`, `unspecified`; `undecoded` is "" or the encoding that could not be undone to its
    end (`body` then holds what could). The three link fields are those of this project's own crawl,
    None in foreign files and in responses that answer no link (redirects).
    """

    offset: int
    kind: Literal["response", "resource", "conversion"]
    url: str
    warc_date: str
    http_status: int
    http_headers: list[tuple[str, str]]
    body: bytes
    truncated: str
    undecoded: str
    link: str | None
    link_doc_id: str | None
    link_created_utc: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One HTTP request and its answer, as they were on the wire (chunking undone).

    An answer that was taken from an archive has no request; `source` says where it lies there.
    """

    url: str
    date: str
    address: str
    request: bytes
    status_line: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    truncated: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFields:
    """The link that a response answers; written as extension fields of its record."""

    url: str
    doc_id: str
    created_utc: int


class Encoded(NamedTuple):
    """Compressed records of one exchange and the index entry of its response.

    `offset` counts from the beginning of `data`.
    """

    data: bytes
    url: str
    date: str
    status: int
    mime: str
    digest: str
    offset: int
    length: int


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def read_responses(path: Path, max_body_bytes: int = MAX_BODY_BYTES) -> Iterator[Response | Damage]:
    """Yields every captured document of a file in file order, and every damaged stretch.

    Args:
        path: WARC, WET or ARC file of any version, plain, gzip, lz4 or zstd.
        max_body_bytes: A longer body, stored or decoded, is cut here and marked `length`.

    Raises:
        OSError: If the file cannot be opened.
    """
    for record in archive.read_records(path, max_body_bytes + _MAX_HTTP_HEADER_BYTES):
        found = captured(record, max_body_bytes)
        if found is not None:
            yield found


def captured(
    record: Record | Damage, max_body_bytes: int = MAX_BODY_BYTES
) -> Response | Damage | None:
    """Returns the document that a record holds, None when it is of another kind."""
    if isinstance(record, Damage):
        return record
    kind, mime = record.kind, record.get("Content-Type")
    if kind == "response":
        is_http = mime.lower().startswith("application/http")
        is_http = is_http or (not mime and _STATUS.match(record.block) is not None)
        return _http_response(record, max_body_bytes) if is_http else None
    language = record.get("WARC-Identified-Content-Language")
    headers = [("Content-Type", mime), *([("Content-Language", language)] if language else [])]
    if kind == "resource" and record.url.lower().startswith(("http://", "https://")):
        return _response(record, "resource", 200, headers, record.block, max_body_bytes)
    if kind == "conversion":
        return _response(record, "conversion", 200, headers, record.block, max_body_bytes)
    return None


def _http_response(record: Record, max_body_bytes: int) -> Response | Damage:
    status = _STATUS.match(record.block)
    if status is None:
        reason = "record has no HTTP status line"
        return Damage(offset=record.offset, end=record.offset, reason=reason)
    end = _BLANK_LINE.search(record.block)
    head = record.block[: end.start()] if end else record.block
    body = record.block[end.end() :] if end else b""
    headers = list(archive.fields_of(head))
    return _response(record, "response", int(status[1]), headers, body, max_body_bytes)


def _response(
    record: Record,
    kind: Literal["response", "resource", "conversion"],
    status: int,
    headers: list[tuple[str, str]],
    stored: bytes,
    max_body_bytes: int,
) -> Response:
    is_cut = len(record.block) < record.n_bytes or len(stored) > max_body_bytes
    whole = content.unchunk(stored, _all(headers, "transfer-encoding"))
    decoded = content.decode(whole, _all(headers, "content-encoding"), max_body_bytes)
    return Response(
        offset=record.offset,
        kind=kind,
        url=record.url,
        warc_date=record.get("WARC-Date"),
        http_status=status,
        http_headers=headers,
        body=decoded.body,
        truncated="length" if is_cut or decoded.exceeded else record.get("WARC-Truncated"),
        undecoded=decoded.undecoded,
        link=record.get("Outbound-Link") or None,
        link_doc_id=record.get("Outbound-Doc-Id") or None,
        link_created_utc=_integer(record.get("Outbound-Created")),
    )


def _all(headers: Sequence[tuple[str, str]], name: str) -> str:
    return ",".join(value for key, value in headers if key.lower() == name)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def _integer(value: str) -> int | None:
    return int(value) if re.fullmatch(r"-?[0-9]{1,18}", value) else None


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def encode_exchange(exchange: Exchange, identity: str, link: LinkFields | None) -> Encoded:
    """Returns the request and response records of one exchange, each a gzip member.

    Args:
        exchange: What was sent and received.
        identity: Distinguishes the exchange from every other of the crawl; gives the record ids.
        link: The link that the response answers, None for a redirect on the way.
    """
    headers = _true_headers(exchange.headers, len(exchange.body))
    head = exchange.status_line.encode("latin-1", "replace") + b"\r\n"
    head += b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"
    common = [("WARC-Target-URI", exchange.url), ("WARC-Date", exchange.date)]
    request_id, response_id = _record_id(identity, "request"), _record_id(identity, "response")
    digest = _sha1(exchange.body)
    fields = [*common, ("WARC-Record-ID", response_id)]
    fields += [("WARC-Concurrent-To", request_id)] if exchange.request else []
    fields += [("Outbound-Source", exchange.source)] if exchange.source else []
    fields += [("WARC-IP-Address", exchange.address)] if exchange.address else []
    fields += [("WARC-Truncated", exchange.truncated)] if exchange.truncated else []
    fields += [("WARC-Payload-Digest", digest), *(_link_fields(link) if link else [])]
    asked = [*common, ("WARC-Record-ID", request_id), ("WARC-Concurrent-To", response_id)]
    mime = "application/http; msgtype=request"
    request = _record("request", asked, mime, exchange.request) if exchange.request else b""
    response = _record(
        "response", fields, "application/http; msgtype=response", head, exchange.body
    )
    return Encoded(
        data=request + response,
        url=exchange.url,
        date=exchange.date,
        status=int(exchange.status_line.split(" ")[1]),
        mime=_mime(headers),
        digest=digest,
        offset=len(request),
        length=len(response),
    )


def encode_info(filename: str, date: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """Returns the `warcinfo` record that begins a file: by whom and by which rules."""
    body = "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
    header = [
        ("WARC-Date", date),
        ("WARC-Record-ID", _record_id(filename + date, "warcinfo")),
        ("WARC-Filename", filename),
        (OWN_FIELD, "1"),
    ]
    return _record("warcinfo", header, "application/warc-fields", body)


def index_line(encoded: Encoded, base: int, filename: str) -> str:
    """Returns the CDXJ line of an exchange's response.

    Args:
        encoded: The exchange.
        base: Where its data begins in the file, bytes.
        filename: The WARC file's name.
    """
    told = {
        "url": encoded.url,
        "mime": encoded.mime,
        "status": str(encoded.status),
        "digest": encoded.digest,
        "length": str(encoded.length),
        "offset": str(base + encoded.offset),
        "filename": filename,
    }
    timestamp = encoded.date.translate(_NO_SIGNS)[:14]
    return f"{index_key(encoded.url)} {timestamp} {json.dumps(told)}"


def index_key(url: str) -> str:
    """Returns the SURT form by which CDXJ lines are sorted: the host's labels reversed.

    >>> index_key("http://www.Example.org:8080/A?b=C")
    'org,example,www:8080)/a?b=c'
    """
    parts = urlsplit(url)
    host = ",".join(reversed((parts.hostname or "").split(".")))
    port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
    query = f"?{parts.query}" if parts.query else ""
    return f"{host}{port}){parts.path or '/'}{query}".lower()


def _record(
    kind: str, fields: Iterable[tuple[str, str]], mime: str, head: bytes, body: bytes = b""
) -> bytes:
    """Returns one record as a gzip member of its own."""
    lines = ["WARC/1.1", f"WARC-Type: {kind}", *(f"{name}: {value}" for name, value in fields)]
    lines += [f"WARC-Block-Digest: {_sha1(head + body)}", f"Content-Type: {mime}"]
    lines += [f"Content-Length: {len(head) + len(body)}", "", ""]
    begin = "\r\n".join(lines).encode() + head
    if body.startswith(_GZIP_MAGIC):
        return _member(begin, body + b"\r\n\r\n")
    data = begin + body + b"\r\n\r\n"
    deflater = _deflater(len(data), _GZIP_WINDOW)
    return deflater.compress(data) + deflater.flush()


def _deflater(n_bytes: int, form: int) -> "zlib._Compress":
    """Returns a compressor with no more tables than so few bytes can use: they cost more to clear.

    Args:
        n_bytes: What will be compressed.
        form: _GZIP_WINDOW, or 0 for bare deflate.
    """
    bits = min(15, max(9, n_bytes.bit_length()))
    memory = 5 if n_bytes <= _SMALL_BYTES else 8
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, form + bits if form else -bits, memory)


def _member(head: bytes, packed: bytes) -> bytes:
    """Returns a gzip member of a compressed head and a body that is only copied.

    >>> zlib.decompress(_member(b"head ", b"body"), wbits=31)
    b'head body'
    """
    deflater = _deflater(len(head), 0)
    copier = zlib.compressobj(0, zlib.DEFLATED, -9, 1)
    begin = deflater.compress(head) + deflater.flush(zlib.Z_FULL_FLUSH)
    crc, n_bytes = (
        isal_zlib.crc32(packed, isal_zlib.crc32(head)),
        (len(head) + len(packed)) & 0xFFFFFFFF,
    )
    end = crc.to_bytes(4, "little") + n_bytes.to_bytes(4, "little")
    return b"".join((_GZIP_HEAD, begin, copier.compress(packed), copier.flush(), end))


def _record_id(identity: str, kind: str) -> str:
    return f"<urn:uuid:{uuid.uuid5(_NAMESPACE, f'{kind} {identity}')}>"


def _sha1(data: bytes) -> str:
    """Returns the digest in the form that WARC tools and CDX indexes use; not for security."""
    number = int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest())
    return "sha1:" + "".join([_BASE32[number >> shift & 1023] for shift in range(150, -1, -10)])


def _link_fields(link: LinkFields) -> list[tuple[str, str]]:
    return [
        ("Outbound-Link", link.url),
        ("Outbound-Doc-Id", link.doc_id),
        ("Outbound-Created", str(link.created_utc)),
    ]


def _true_headers(
    headers: Iterable[tuple[bytes, bytes]], n_bytes: int
) -> list[tuple[bytes, bytes]]:
    """Returns headers that fit the stored body; those that do not are kept under another name."""
    kept = []
    for name, value in headers:
        untrue = name.lower() == b"transfer-encoding" or (
            name.lower() == b"content-length" and value.strip() != str(n_bytes).encode()
        )
        kept.append((b"X-Crawler-" + name if untrue else name, value))
    if not any(name.lower() == b"content-length" for name, _ in kept):
        kept.append((b"Content-Length", str(n_bytes).encode()))
    return kept


def _mime(headers: Iterable[tuple[bytes, bytes]]) -> str:
    values = [_text(value) for name, value in headers if name.lower() == b"content-type"]
    return values[0].partition(";")[0].strip().lower() if values else "unk"
