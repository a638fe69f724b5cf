r"""HTTP/1.1 as servers really send it: an answer read from pieces of any size, with no socket here.

    HEAD ──┬─> LENGTH ──────────────┐
           ├─> SIZE <─> CHUNK ──────┤
           │     └─> TRAILER ───────┼─> DONE
           ├─> CLOSE ── end ────────┤
           └─> (1xx: HEAD again) ───┘

Decisions:
- Lenient where browsers are and the meaning is plain: line ends without CR, blank lines before the
  status line, no reason phrase, `200:`, folded headers, lines that are no header, blanks before the
  colon, equal lengths said twice.
- Strict where two readings would give two bodies: lengths that differ, a length beside chunking,
  transfer encodings other than `chunked`, broken chunks. Those are `ProtocolError`.
- Headers keep their bytes, case and order; what cannot stand in a header (NUL, CR) becomes a blank.
- All is bounded: a head by bytes and lines, interim answers by number, chunk lines and trailers.
  The body is not: who feeds looks at its length after each piece.

Paper: RFC 9112 (messages, framing), sections 2.2, 4, 5.2, 6.3, 7.1.
"""

import re
from enum import Enum, auto

Headers = tuple[tuple[bytes, bytes], ...]

_MAX_INTERIM = 8
_MAX_CHUNK_LINE_BYTES = 1024
_STATUS = re.compile(rb"HTTP/(\d)\.(\d)[ \t]+(\d{3})(?!\d)[ \t]*([^\r\n\0]*)")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_AS_BLANK = bytes.maketrans(b"\0\r\n", b"   ")
_FOLD = re.compile(rb"\r?\n[ \t]+")


class ProtocolError(Exception):
    """An answer that is not HTTP, or that could be read in two ways."""


class _State(Enum):
    HEAD = auto()
    LENGTH = auto()
    SIZE = auto()
    CHUNK = auto()
    TRAILER = auto()
    CLOSE = auto()
    DONE = auto()


class Answer:
    """One answer as it comes.

    `status` is 0 until the head is whole; `body` grows, chunking undone; `announced` is the
    Content-Length, None where the server gave none.
    """

    def __init__(self, max_header_bytes: int, max_headers: int) -> None:
        """Waits for a status line.

        Args:
            max_header_bytes: Longest head.
            max_headers: Most lines in it.
        """
        self._max_header_bytes, self._max_headers = max_header_bytes, max_headers
        self._state = _State.HEAD
        self._rest = bytearray()
        self._left = 0
        self._n_interim = 0
        self._is_reusable = False
        self.status = 0
        self.status_line = ""
        self.headers: Headers = ()
        self.announced: int | None = None
        self.body = bytearray()

    @property
    def is_done(self) -> bool:
        """Whether all of it has come."""
        return self._state is _State.DONE

    @property
    def leaves_open(self) -> bool:
        """Whether the connection may carry another exchange: a whole answer, nothing behind it."""
        return self.is_done and self._is_reusable and not self._rest

    def feed(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            ProtocolError: If they make no answer.
        """
        if self._state is _State.CLOSE:
            self.body += data
        elif self._state is _State.LENGTH and not self._rest and len(data) <= self._left:
            self._take(data)
        else:
            self._rest += data
            while self._step():
                pass

    def end(self) -> bool:
        """Takes the end of the connection; returns whether the answer is whole."""
        if self._state in (_State.CLOSE, _State.TRAILER):
            self._state, self._is_reusable = _State.DONE, False
        return self.is_done

    def _step(self) -> bool:
        """Reads what it can of one part; returns whether another may follow."""
        match self._state:
            case _State.HEAD:
                return self._read_head()
            case _State.LENGTH | _State.CHUNK:
                data = bytes(self._rest[: self._left])
                del self._rest[: self._left]
                self._take(data)
                return bool(data)
            case _State.SIZE:
                return self._read_size()
            case _State.TRAILER:
                return self._read_trailer()
            case _State.CLOSE:
                self.body += self._rest
                self._rest.clear()
        return False

    def _take(self, data: bytes) -> None:
        self.body += data
        self._left -= len(data)
        if not self._left:
            is_chunk = self._state is _State.CHUNK
            self._state = _State.SIZE if is_chunk else _State.DONE

    # ── head ─────────────────────────────────────────────────────────────────────────────────────

    def _read_head(self) -> bool:
        if self._rest.startswith((b"\r", b"\n")):
            self._rest = self._rest.lstrip(b"\r\n")
        end = _HEAD_END.search(self._rest)
        if (end.start() if end else len(self._rest)) > self._max_header_bytes:
            raise ProtocolError(f"over {self._max_header_bytes} bytes of headers")
        if not b"HTTP/".startswith(self._rest[:5]):
            raise ProtocolError("no status line")
        if end is None:
            return False
        head = bytes(self._rest[: end.start()])
        del self._rest[: end.end()]
        self._parse(head)
        return True

    def _parse(self, head: bytes) -> None:
        line, _, fields = head.partition(b"\n")
        told = _STATUS.match(line)
        if told is None:
            raise ProtocolError("no status line")
        status = int(told[3])
        if 100 <= status < 200 and status != 101:
            self._n_interim += 1
            if self._n_interim > _MAX_INTERIM:
                raise ProtocolError(f"over {_MAX_INTERIM} interim answers")
            return
        if status < 200:
            raise ProtocolError(f"status {status}")
        version, reason = f"{int(told[1])}.{int(told[2])}", told[4].decode("latin-1").strip()
        self.status, self.status_line = status, f"HTTP/{version} {status} {reason}"
        self.headers = self._fields(fields)
        self._frame(version)

    def _fields(self, text: bytes) -> Headers:
        lines = (_FOLD.sub(b" ", text) if b"\n " in text or b"\n\t" in text else text).split(b"\n")
        if len(lines) > self._max_headers:
            raise ProtocolError(f"over {self._max_headers} headers")
        found = []
        for line in lines:
            name, colon, value = line.partition(b":")
            name = name.rstrip(b" \t")
            if colon and _TOKEN.fullmatch(name):
                found.append((name, value.strip(b" \t\r").translate(_AS_BLANK)))
        return tuple(found)

    def _frame(self, version: str) -> None:
        """Decides where the body ends."""
        lengths, codings, connection = set[bytes](), list[bytes](), b""
        for name, value in self.headers:
            match name.lower():
                case b"content-length":
                    lengths.update(part.strip() for part in value.split(b","))
                case b"transfer-encoding":
                    codings += [part.strip().lower() for part in value.split(b",")]
                case b"connection":
                    connection += value.lower() + b","
        codings = [coding for coding in codings if coding not in (b"", b"identity")]
        if any(not (n.isdigit() and len(n) < 16) for n in lengths) or len(lengths) > 1:
            raise ProtocolError("Content-Length is no number" if len(lengths) == 1 else "lengths")
        if codings not in ([], [b"chunked"]):
            raise ProtocolError("Transfer-Encoding is not chunked")
        if codings and lengths:
            raise ProtocolError("Content-Length beside Transfer-Encoding")
        self._is_reusable = version == "1.1" and b"close" not in connection
        self.announced = int(next(iter(lengths))) if lengths else None
        self._left = self.announced or 0
        if self.status in (204, 304) or self.announced == 0:
            self._state = _State.DONE
        elif codings:
            self._state = _State.SIZE
        else:
            self._state = _State.CLOSE if self.announced is None else _State.LENGTH

    # ── chunks ───────────────────────────────────────────────────────────────────────────────────

    def _read_size(self) -> bool:
        """Reads the line that says how long the next chunk is; before it, the last one's end."""
        start = 0
        if self.body:  # no chunk is empty, so a body means that one has just ended
            if self._rest[:1] == b"\r" and len(self._rest) == 1:
                return False
            start = 2 if self._rest.startswith(b"\r\n") else 1
            if self._rest and not self._rest.startswith((b"\r\n", b"\n")):
                raise ProtocolError("chunk longer than it says")
        end = self._rest.find(b"\n", start)
        if end < 0 and len(self._rest) - start <= _MAX_CHUNK_LINE_BYTES:
            return False
        size = _SIZE.fullmatch(bytes(self._rest[start:end]).rstrip(b"\r"))
        if end < 0 or size is None:
            raise ProtocolError("bad chunk size")
        del self._rest[: end + 1]
        self._left = int(size[1], 16)
        self._state = _State.CHUNK if self._left else _State.TRAILER
        return True

    def _read_trailer(self) -> bool:
        """Reads and forgets what follows the last chunk."""
        end = self._rest.find(b"\n")
        if end < 0:
            if len(self._rest) > self._max_header_bytes:
                raise ProtocolError("trailer too long")
            return False
        is_last = not self._rest[:end].strip()
        self._n_interim += 1
        if self._n_interim > self._max_headers:
            raise ProtocolError("trailer too long")
        del self._rest[: end + 1]
        self._state = _State.DONE if is_last else _State.TRAILER
        return not is_last
