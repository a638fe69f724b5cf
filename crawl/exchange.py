"""One request on one connection: what comes is judged as it comes.

    write ─> silence ─> head ─> judged ─> body ──> over: a whole answer, or why no more was read
                │                          │
             read_s                  read_s, speed, caps

Decisions:
- The content type is looked at before the body. A body is cut at the limit, at the deadline and
  where the server hangs up; what came is kept and marked. Only the last is a page all the same: the
  server, not this crawl, ended it.
- A read timeout begins anew with each byte, so it stops no drip: the deadline of the whole request
  does (`crawl.fetch`), and a minimum speed.
- Where a redirect leads, or that a page is gone, its head says: a broken body changes nothing.
"""

import asyncio
from dataclasses import dataclass, field
from typing import cast

from crawl.http1 import Answer, Headers, ProtocolError
from pipeline.store.config import require
from pipeline.store.records import Drop

_MAX_HEADERS = 256


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


@dataclass(slots=True, kw_only=True)
class Reply:
    """What one request brought. `status` 0: no answer; `drop` None: a whole answer.

    `truncated` is "" or why the body is not whole: `length`, `time`, `disconnect`; `began_utc` is
    in seconds since 1970; `source` says where in an archive it was found, "" for the web.
    """

    url: str
    began_utc: float = 0.0
    status: int = 0
    status_line: str = ""
    headers: Headers = ()
    request: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    truncated: str = ""
    address: str = ""
    source: str = ""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request asks for.

    Attributes:
        accept: The Accept header.
        content_types: Types whose body is read when the answer is 2xx; empty is every type.
        max_bytes: Longest body of such an answer.
        max_other_bytes: Longest body of any other answer.
        may_be_cut: Whether a longer body is welcome as far as it is read.
        byte_range: First and last byte of the file that are asked for, None for all of it.
    """

    accept: str
    content_types: tuple[str, ...]
    max_bytes: int
    max_other_bytes: int
    may_be_cut: bool
    byte_range: tuple[int, int] | None = None


class Exchange:
    """One request on one connection: what has come, and whether that is enough."""

    def __init__(self, reply: Reply, wanted: Wanted, limits: Limits) -> None:
        self._reply, self._wanted, self._limits = reply, wanted, limits
        self._answer = Answer(limits.max_header_bytes, _MAX_HEADERS)
        self._loop = asyncio.get_running_loop()
        self._max_bytes = 0
        self._body_at = 0.0
        self._heard_at = self._loop.time()
        self._watch = self._loop.call_later(limits.read_s, self._look)
        self.over: asyncio.Future[None] = self._loop.create_future()
        self.is_silent = True

    @property
    def leaves_open(self) -> bool:
        """Whether the connection may carry another exchange."""
        return self._answer.leaves_open and self._reply.drop is None

    @property
    def _is_page(self) -> bool:
        return 200 <= self._answer.status < 300

    def heard(self, data: bytes) -> None:
        """Takes bytes of the answer."""
        if self.over.done():
            return
        self._heard_at, self.is_silent = self._loop.time(), False
        had_head = self._answer.status != 0
        try:
            self._answer.feed(data)
        except ProtocolError as error:
            self._note_head()
            self._reply.truncated = "unspecified" if self._reply.body else ""
            self._finish(Drop("protocol", str(error)))
            return
        if self._answer.status:
            if not had_head:
                self._note_head()
            self._judge(is_new=not had_head)

    def lost(self, error: Exception | None) -> None:
        """Takes the end of the connection."""
        if self.over.done():
            return
        if self._answer.end():
            self._finish(None)
        elif self._answer.body:
            self._reply.truncated = "disconnect"
            self._finish(None)
        else:
            self._finish(Drop("protocol", reason_of(error) if error else "ServerDisconnectedError"))

    def stop(self) -> None:
        """Ends the watch over an exchange that nobody waits for any more."""
        self._watch.cancel()
        self.over.cancel()

    def _note_head(self) -> None:
        answer, reply = self._answer, self._reply
        reply.status, reply.status_line = answer.status, answer.status_line
        reply.headers, reply.body = answer.headers, answer.body
        wanted = self._wanted
        self._max_bytes = wanted.max_bytes if self._is_page else wanted.max_other_bytes
        self._body_at = self._heard_at

    def _judge(self, *, is_new: bool) -> None:
        """Ends the exchange when all is there, or when more is not worth it."""
        refused = self._judge_head() if is_new and self._is_page else None
        body = self._answer.body
        if refused is not None:
            body.clear()
            self._finish(refused)
        elif len(body) > self._max_bytes:
            del body[self._max_bytes :]
            self._reply.truncated = "length"
            is_welcome = self._wanted.may_be_cut or not self._is_page
            self._finish(None if is_welcome else Drop("too_large", f"over {self._max_bytes} bytes"))
        elif self._answer.is_done:
            self._finish(None)
        elif self._is_slow():
            self._reply.truncated = "time"
            self._finish(Drop("too_slow", f"under {self._limits.min_bytes_per_s:g} bytes/s"))

    def _judge_head(self) -> Drop | None:
        """Returns why the body of a page is not worth reading."""
        wanted, announced = self._wanted, self._answer.announced or 0
        kind = (self._reply.header("content-type") or "").partition(";")[0].strip().lower()
        if kind and wanted.content_types and kind not in wanted.content_types:
            return Drop("content_type", kind[:100])
        if announced > wanted.max_bytes and not wanted.may_be_cut:
            return Drop("too_large", f"{announced} bytes announced")
        return None

    def _is_slow(self) -> bool:
        passed = self._heard_at - self._body_at
        slowest = self._limits.min_bytes_per_s * passed
        return passed > self._limits.min_speed_after_s and len(self._answer.body) < slowest

    def _look(self) -> None:
        """Ends the exchange when nothing has come for too long; else looks again later."""
        left_s = self._heard_at + self._limits.read_s - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look)
        elif not self.over.done():
            self._reply.truncated = "time" if self._reply.body else ""
            self._finish(Drop("timeout", f"nothing came for {self._limits.read_s:g} s"))

    def _finish(self, drop: Drop | None) -> None:
        self._watch.cancel()
        # Where a redirect leads, or that a page is gone, its head has said already.
        self._reply.drop = drop if self._is_page or not self._answer.status else None
        if not self.over.done():
            self.over.set_result(None)


class Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    def __init__(self) -> None:
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self.is_open = False
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes who is at the other end."""
        # Ray's workers take uvloop's loop where it is installed; its transports are no subclass.
        self._transport, self.is_open = cast("asyncio.Transport", transport), True
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""

    def data_received(self, data: bytes) -> None:
        """Gives bytes to the exchange that waits for them."""
        if self._exchange is None:
            self.close()  # nobody asked
        else:
            self._exchange.heard(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the exchange that no more will come."""
        self.is_open = False
        if self._exchange is not None:
            self._exchange.lost(exc)

    def close(self) -> None:
        """Ends it at once; what is on its way is not waited for."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def carry(self, exchange: Exchange, request: bytes) -> None:
        """Sends a request and returns when its answer is over; closes what cannot be used again."""
        self._exchange = exchange
        try:
            assert self._transport is not None
            self._transport.write(request)
            await exchange.over
        finally:
            self._exchange = None
            exchange.stop()
            if not (exchange.leaves_open and self.is_open):
                self.close()


def reason_of(error: BaseException) -> str:
    """Returns what an error says of itself, without addresses."""
    text = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(text or type(error).__name__)[:200]
