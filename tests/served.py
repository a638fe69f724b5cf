"""Web servers on loopback that several test modules start; one misbehaves on request."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def http(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answers requests by a handler while the block runs; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Site:
    """A server of files whose behaviour a test sets.

    Attributes:
        body: Of every path that is not in `files`; None answers 404.
        files: By path.
        requests: (method, path, Range) of what came.
        cuts: Bytes after which an answer ends, in turn.
        statuses: Answered first.
        etag: Of all; None sends none.
        has_ranges: Whether Range is heard.
        tells_size: Whether Content-Length is sent.
        change_after: Requests after which all bytes and the ETag are others.
        wait_s: Before every answer.
        auth: What Authorization has to be.
        url: Its address.
    """

    body: bytes | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    etag: str | None = '"one"'
    has_ranges: bool = True
    tells_size: bool = True
    change_after: int | None = None
    wait_s: float = 0.0
    auth: str | None = None
    url: str = ""

    def gets(self, path: str | None = None) -> list[str | None]:
        """Returns the Range of every GET, of one path or of all."""
        return [r for m, p, r in self.requests if m == "GET" and path in (None, p)]


@contextmanager
def site() -> Iterator[Site]:
    """Serves a site while the block runs."""
    told = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            wanted = self.headers.get("Range")
            told.requests.append((self.command, self.path, wanted))
            if told.change_after is not None and len(told.requests) > told.change_after:
                told.change_after, told.etag = None, '"two"'
                told.body = told.body and told.body[::-1]
            body = told.files.get(self.path, told.body)
            status = told.statuses.pop(0) if told.statuses else 200 if body is not None else 404
            if told.auth and self.headers.get("Authorization") != told.auth:
                status = 401
            if body is None or status != 200:
                self.send_error(status)
                return
            time.sleep(told.wait_s)
            start, end = 0, len(body)
            if wanted and told.has_ranges:
                first, last = re.findall(r"bytes=(\d+)-(\d+)", wanted)[0]
                start, end = int(first), min(int(last) + 1, end)
            piece = body[start:end]
            self.send_response(206 if wanted and told.has_ranges else 200)
            if told.tells_size:
                self.send_header("Content-Length", str(len(piece)))
            if wanted and told.has_ranges:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            if told.etag:
                self.send_header("ETag", told.etag)
            self.end_headers()
            if with_body:
                self.wfile.write(piece[: told.cuts.pop(0) if told.cuts else len(piece)])

    with http(Handler) as told.url:
        yield told
