"""One HTTP request: every limit explicit, every way to fail a named outcome.

Decisions:
- No redirect is followed here, nothing is decoded, no cookie is kept, no proxy is asked: each hop
  comes back to be judged (`crawl.visit`), and bodies are kept as they were sent.
- A new connection per request: most hosts of a link list have one link.
- The HTTP library repeats a request by itself when a connection breaks; it is kept from that, for
  it would break the delay per host.
- A read timeout begins anew with each byte, so it stops no drip: the deadline of the whole request
  does, and a minimum speed.
- The content type is looked at before the body. A body is cut at the limit, at the deadline and
  where the server hangs up; what came is kept and marked. Only the last is a page all the same: the
  server, not this crawl, ended it.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from crawl.guard import Address, AddressRefusedError, Guard, Resolver
from pipeline.store.config import require
from pipeline.store.records import Drop

_MAX_HEADERS = 256
_DNS_TTL_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost.

    Attributes:
        connect_s: To a connection, TLS included.
        read_s: Between two pieces of the answer.
        total_s: The whole request.
        min_bytes_per_s: Slowest body, on average since it began.
        min_speed_after_s: When that average is first looked at.
        max_wire_bytes: Longest body as sent.
        max_decoded_bytes: Longest body without its Content-Encoding.
        max_header_bytes: Longest header line, and all headers together.
    """

    connect_s: float
    read_s: float
    total_s: float
    min_bytes_per_s: float
    min_speed_after_s: float
    max_wire_bytes: int
    max_decoded_bytes: int
    max_header_bytes: int

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        for name in self.__slots__:
            require(name, getattr(self, name), getattr(self, name) > 0, "x > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the crawl can reach.

    Attributes:
        connect_to: Host to (address, port); None is DNS and the public internet.
        allowed: Addresses that are let through although they are not public.
    """

    connect_to: Mapping[str, Address] | None
    allowed: frozenset[Address]


INTERNET = Reach(connect_to=None, allowed=frozenset())


@dataclass(slots=True, kw_only=True)
class Reply:
    """What one request brought. `status` 0: no answer; `drop` None: a whole answer.

    `truncated` is "" or why the body is not whole: `length`, `time`, `disconnect`; `began_utc` is
    in seconds since 1970.
    """

    url: str
    began_utc: float = 0.0
    status: int = 0
    status_line: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    request: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    truncated: str = ""
    address: str = ""
    drop: Drop | None = None

    def header(self, name: str) -> str | None:
        """Returns the first header of a name (lower case), as text."""
        wanted = name.encode()
        values = (_text(value) for key, value in self.headers if key.lower() == wanted)
        return next(values, None)

    def header_pairs(self) -> list[tuple[str, str]]:
        """Returns all headers as text."""
        return [(_text(name), _text(value)) for name, value in self.headers]


def _text(value: bytes) -> str:
    """Decodes a header as browsers do: UTF-8 where it is, else Latin-1."""
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()


class _Response(aiohttp.ClientResponse):
    """Remembers the address before the connection is given back."""

    peer = ""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        self.peer = str(peer[0]) if peer else ""
        return await super().start(connection)


class _BrokenOffError(aiohttp.ClientError):
    """A connection that ended before the answer began."""


async def _send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Hides broken connections from the client, which would repeat the request at once."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenOffError from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request asks for.

    Attributes:
        accept: The Accept header.
        content_types: Types whose body is read when the answer is 2xx; empty is every type.
        max_bytes: Longest body of such an answer.
        max_other_bytes: Longest body of any other answer.
        may_be_cut: Whether a longer body is welcome as far as it is read.
    """

    accept: str
    content_types: tuple[str, ...]
    max_bytes: int
    max_other_bytes: int
    may_be_cut: bool


class Client:
    """Sends requests within limits, to where the guard allows."""

    def __init__(self, reach: Reach, limits: Limits, user_agent: str) -> None:
        """Opens nothing yet; use as `async with`.

        Args:
            reach: Where requests may go.
            limits: What each may cost.
            user_agent: Names the crawler and whom to write to.
        """
        self._limits = limits
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=Resolver(reach.connect_to),
                socket_factory=Guard(reach.allowed).socket,
                ttl_dns_cache=_DNS_TTL_S,
                limit=0,  # hosts are limited one by one, and their number is
                force_close=True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip, deflate"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.connect_s, sock_read=limits.read_s
            ),
            auto_decompress=False,
            response_class=_Response,
            middlewares=(_send_once,),
            max_line_size=limits.max_header_bytes,
            max_field_size=limits.max_header_bytes,
            max_headers=_MAX_HEADERS,
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, url: str, wanted: Wanted) -> Reply:
        """Returns what a URL answers; never raises for what a server does.

        Args:
            url: As it is to be sent.
            wanted: What is asked for.
        """
        reply = Reply(url=url, began_utc=time.time())
        try:
            async with asyncio.timeout(self._limits.total_s):
                await self._exchange(reply, wanted)
        except TimeoutError as error:
            is_deadline = not isinstance(error, aiohttp.ServerTimeoutError)
            reply.drop = (
                Drop("deadline", f"not done in {self._limits.total_s:g} s")
                if is_deadline
                else self._timeout(error)
            )
            reply.truncated = "time" if reply.body else ""
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if reply.body and reply.drop is None:
                reply.truncated = "disconnect"
            else:
                reply.drop = drop_of(error)
        return reply

    def _timeout(self, error: TimeoutError) -> Drop:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return Drop("connect", f"no connection in {self._limits.connect_s:g} s")
        return Drop("timeout", f"nothing came for {self._limits.read_s:g} s")

    async def _exchange(self, reply: Reply, wanted: Wanted) -> None:
        """Sends the request and fills in the reply as it comes."""
        headers = {"Accept": wanted.accept}
        address = URL(reply.url, encoded=True)
        async with self._session.get(address, headers=headers, allow_redirects=False) as response:
            _note_head(reply, response)
            reply.drop = self._judge_head(reply, response, wanted)
            if reply.drop is None:
                is_page = 200 <= response.status < 300
                max_bytes = wanted.max_bytes if is_page else wanted.max_other_bytes
                reply.drop = await self._read(reply, response, max_bytes)
                if reply.truncated == "length" and (wanted.may_be_cut or not is_page):
                    reply.drop = None
            if reply.drop is not None or reply.truncated:
                response.close()

    def _judge_head(
        self, reply: Reply, response: aiohttp.ClientResponse, wanted: Wanted
    ) -> Drop | None:
        """Returns why a body is not worth reading."""
        n_bytes = sum(len(name) + len(value) + 4 for name, value in reply.headers)
        if n_bytes > self._limits.max_header_bytes:
            return Drop("protocol", f"{n_bytes} bytes of headers")
        if not 200 <= response.status < 300:
            return None
        kind = (reply.header("content-type") or "").partition(";")[0].strip().lower()
        if kind and wanted.content_types and kind not in wanted.content_types:
            return Drop("content_type", kind[:100])
        if (response.content_length or 0) > wanted.max_bytes and not wanted.may_be_cut:
            return Drop("too_large", f"{response.content_length} bytes announced")
        return None

    async def _read(
        self, reply: Reply, response: aiohttp.ClientResponse, max_bytes: int
    ) -> Drop | None:
        """Reads the body until it ends or a limit is met; returns which one."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async for piece in response.content.iter_any():
            reply.body += piece
            if len(reply.body) > max_bytes:
                del reply.body[max_bytes:]
                reply.truncated = "length"
                return Drop("too_large", f"over {max_bytes} bytes")
            passed = loop.time() - began
            slowest = self._limits.min_bytes_per_s * passed
            if passed > self._limits.min_speed_after_s and len(reply.body) < slowest:
                reply.truncated = "time"
                return Drop("too_slow", f"under {self._limits.min_bytes_per_s:g} bytes/s")
        return None


def _note_head(reply: Reply, response: aiohttp.ClientResponse) -> None:
    version = response.version or aiohttp.HttpVersion11
    reply.status = response.status
    reply.status_line = (
        f"HTTP/{version.major}.{version.minor} {response.status} {response.reason or ''}"
    )
    reply.headers = tuple(response.raw_headers)
    reply.request = _request_bytes(response.request_info)
    reply.address = getattr(response, "peer", "")


def _request_bytes(info: aiohttp.RequestInfo) -> bytes:
    """Returns the request's head as it was sent."""
    lines = [f"{info.method} {info.url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in info.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")


def drop_of(error: BaseException) -> Drop:
    """Returns the outcome that an error of the HTTP client stands for.

    The detail names no address and no port, so that it is the same in every run.
    """
    cause = _cause(error, OSError)
    if _cause(error, AddressRefusedError) is not None:
        return Drop("address_refused", "the address is not public")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Drop("dns", "the name has no address")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientConnectorSSLError)):
        return Drop("connect", _reason(cause))
    return Drop("protocol", _reason(error.__cause__ or error))


def _cause(error: BaseException | None, kind: type[Any]) -> Any:
    """Returns the innermost error of a kind in a chain of causes."""
    found = None
    while error is not None:
        found = error if isinstance(error, kind) else found
        error = getattr(error, "os_error", None) or error.__cause__
    return found


def _reason(error: BaseException | None) -> str:
    text = getattr(error, "strerror", None) or getattr(error, "reason", None)
    return str(text or type(error).__name__)[:200]
