"""WARC files: what the crawl writes, and how any WARC is read.

Decisions:
- Writing is done by hand (a record is a header block, a body and two line ends): one gzip member
  per record at level 6, modification time 0, record ids by `uuid5`, so that equal exchanges give
  equal bytes with any library version.
- Bodies are stored as they were sent (Content-Encoding kept), only chunking is undone; headers that
  are no longer true are renamed to `X-Crawler-…` and a true Content-Length is added.
- Reading is done by FastWARC. It stops silently where a file is cut, so the end of the file is
  checked here, and it gives up at a damaged gzip member, so reading starts again at the next one.
  What could not be read is reported as `Damage`, never skipped in silence.
"""

import base64
import hashlib
import json
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from pipeline.store import content

MAX_BODY_BYTES = 64 << 20  # guards the reader's memory; the crawl's own caps are far below

_GZIP_LEVEL = 6
_GZIP_MAGIC = b"\x1f\x8b\x08"
_NAMESPACE = uuid.UUID("0b7c5c1e-6f0c-5d5c-9f6a-6f7574626f75")
_STEP_BYTES = 64 << 10
_UNREADABLE = "holds no readable WARC record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response of a WARC file.

    `body` is decoded by Transfer-Encoding and Content-Encoding. `truncated` is "" or `length`,
    `time`, `disconnect`, `unspecified`; `undecoded` is "" or the encoding that could not be undone
    to its end (`body` then holds what could). The three link fields are those of this project's own
    crawl, None in foreign files and in responses that answer no link (redirects).
    """

    offset: int
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
class Damage:
    """What of a WARC file could not be read.

    It lies between the records that begin at `offset` and at `end` (both byte offsets in the file);
    the two are equal where one record is damaged by itself.
    """

    offset: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One HTTP request and its answer, as they were on the wire (chunking undone)."""

    url: str
    date: str
    address: str
    request: bytes
    status_line: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    truncated: str


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
    """Yields every HTTP response of a WARC file in file order, and every damaged stretch.

    Args:
        path: Plain, gzip or lz4 WARC file of any version.
        max_body_bytes: A longer body, stored or decoded, is cut here and marked `length`.

    Raises:
        OSError: If the file cannot be opened.
    """
    size = path.stat().st_size
    start = last = 0
    damaged_from = -1
    found: Response | Damage | None = None
    with path.open("rb") as file:
        while start < size:
            n_records, is_whole = 0, True
            file.seek(start)
            try:
                for record in _records(file):
                    last, n_records = record.stream_pos, n_records + 1
                    if damaged_from >= 0:
                        yield Damage(offset=damaged_from, end=last, reason=_UNREADABLE)
                        damaged_from = -1
                    found = _response(record, max_body_bytes)
                    if found is not None:
                        yield found
            except OSError:
                is_whole = False
            if is_whole and n_records:
                break
            # The head of a damaged member looks sound: it fails once more, without a record.
            damaged_from = last if n_records else max(damaged_from, last)
            start = _next_member(file, (last if n_records else start) + 1, size)
        if damaged_from >= 0:
            yield Damage(offset=damaged_from, end=size, reason=_UNREADABLE)
        elif size and not isinstance(found, Damage) and (reason := _end_damage(file, last)):
            yield Damage(offset=last, end=size, reason=reason)


def _records(file: BinaryIO) -> Iterable[WarcRecord]:
    return ArchiveIterator(file, parse_http=False, strict_mode=False, quirks_mode=True)


def _response(record: WarcRecord, max_body_bytes: int) -> Response | Damage | None:
    """Returns a record as a response, None when it is of another kind."""
    if record.record_type != WarcRecordType.response or not record.is_http:
        return None
    headers, offset = record.headers, record.stream_pos
    record.parse_http(strict_mode=False, quirks_mode=True)
    http, length = record.http_headers, record.content_length  # of the body, once parsed
    stored = record.reader.read(max_body_bytes + 1)
    if http.status_code is None:
        return Damage(offset=offset, end=offset, reason="record has no HTTP status line")
    if len(stored) < min(length, max_body_bytes):
        return Damage(offset=offset, end=offset, reason=f"body has {len(stored)} of {length} bytes")
    pairs = [(_text(name), _text(value)) for name, value in http.items_bytes()]
    whole = content.unchunk(stored, _all(pairs, "transfer-encoding"))
    decoded = content.decode(whole, _all(pairs, "content-encoding"), max_body_bytes)
    is_cut = decoded.exceeded or len(stored) > max_body_bytes
    return Response(
        offset=offset,
        url=(headers.get("WARC-Target-URI") or "").strip("<>"),
        warc_date=headers.get("WARC-Date") or "",
        http_status=http.status_code,
        http_headers=pairs,
        body=decoded.body,
        truncated="length" if is_cut else headers.get("WARC-Truncated") or "",
        undecoded=decoded.undecoded,
        link=headers.get("Outbound-Link"),
        link_doc_id=headers.get("Outbound-Doc-Id"),
        link_created_utc=_integer(headers.get("Outbound-Created")),
    )


def _end_damage(file: BinaryIO, last: int) -> str:
    """Returns what is wrong with the end of a file whose last record begins at `last`, or ""."""
    file.seek(last)
    inflater = zlib.decompressobj(31)
    rest = file.read(_STEP_BYTES)
    if not rest.startswith(_GZIP_MAGIC):
        return ""  # not gzip: a cut record shows by its length
    while rest:
        try:
            inflater.decompress(rest)
        except zlib.error:
            return "ends with something that is no record"
        rest = inflater.unused_data
        if rest.strip(b"\0") and inflater.eof:
            inflater = zlib.decompressobj(31)
        else:
            rest = file.read(_STEP_BYTES)
    return "" if inflater.eof else "file is cut short"


def _next_member(file: BinaryIO, start: int, size: int) -> int:
    """Returns where the next gzip member that holds a record begins, or the file's size."""
    position, kept = start, b""
    file.seek(start)
    while chunk := file.read(_STEP_BYTES):
        window = kept + chunk
        base = position - len(kept)
        found = window.find(_GZIP_MAGIC)
        while found >= 0:
            if _begins_record(file, base + found):
                return base + found
            found = window.find(_GZIP_MAGIC, found + 1)
        position += len(chunk)
        kept = window[-2:]
        file.seek(position)
    return size


def _begins_record(file: BinaryIO, offset: int) -> bool:
    file.seek(offset)
    try:
        return zlib.decompressobj(31).decompress(file.read(512), 5) == b"WARC/"
    except zlib.error:
        return False


def _all(headers: Sequence[tuple[str, str]], name: str) -> str:
    return ",".join(value for key, value in headers if key.lower() == name)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and value.strip().lstrip("-").isdecimal() else None


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
    fields = [*common, ("WARC-Record-ID", response_id), ("WARC-Concurrent-To", request_id)]
    fields += [("WARC-IP-Address", exchange.address)] if exchange.address else []
    fields += [("WARC-Truncated", exchange.truncated)] if exchange.truncated else []
    fields += [("WARC-Payload-Digest", digest), *(_link_fields(link) if link else [])]
    request = _record(
        "request",
        [*common, ("WARC-Record-ID", request_id), ("WARC-Concurrent-To", response_id)],
        "application/http; msgtype=request",
        exchange.request,
    )
    response = _record(
        "response", fields, "application/http; msgtype=response", head + exchange.body
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
    timestamp = re.sub(r"\D", "", encoded.date)[:14]
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


def _record(kind: str, fields: Iterable[tuple[str, str]], mime: str, block: bytes) -> bytes:
    """Returns one record as a gzip member of its own."""
    lines = ["WARC/1.1", f"WARC-Type: {kind}", *(f"{name}: {value}" for name, value in fields)]
    lines += [f"WARC-Block-Digest: {_sha1(block)}", f"Content-Type: {mime}"]
    lines += [f"Content-Length: {len(block)}", "", ""]
    deflater = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    data = deflater.compress("\r\n".join(lines).encode() + block + b"\r\n\r\n")
    return data + deflater.flush()


def _record_id(identity: str, kind: str) -> str:
    return f"<urn:uuid:{uuid.uuid5(_NAMESPACE, f'{kind} {identity}')}>"


def _sha1(data: bytes) -> str:
    """Returns the digest in the form that WARC tools and CDX indexes use; not for security."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


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
