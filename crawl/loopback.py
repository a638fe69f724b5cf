"""The embedded web's server: answers on 127.0.0.1 at a free port, by the Host header.

    slow                     waits a second before it answers
    drip                     sends its body one byte at a time
    too_many_requests_once   429 and Retry-After first, then the page
    disconnect               announces the whole body, hangs up in the middle

Decisions:
- Raw asyncio, not a web framework: what is wrong with an answer must arrive as it was written.
- A thread with an event loop of its own, so that a crawl serves itself wherever its task runs and
  the server ends with it.
- No Date and no Server header: the same answer in every run.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from pipeline.store import manifest, records

ADDRESS = "127.0.0.1"

_SLOW_S = 1.0
_DRIP_S = 0.05
_RETRY_AFTER_S = 1
_MAX_HEAD_BYTES = 64 << 10
_DISCONNECT_FRAC = 0.6
_TEXT = (("Content-Type", "text/plain"),)


class Answer(NamedTuple):
    """What a host answers to one path: a row of `data/web/`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    behaviour: str


class Asked(NamedTuple):
    """One request; `at` is monotonic seconds."""

    at: float
    host: str
    path: str
    user_agent: str


_MISSING = Answer(404, _TEXT, b"not found\n", "")
_OTHER_METHOD = Answer(405, (*_TEXT, ("Allow", "GET, HEAD")), b"", "")
_OTHER_HOST = Answer(421, _TEXT, b"no such host here\n", "")
_TOO_MANY = Answer(429, (*_TEXT, ("Retry-After", str(_RETRY_AFTER_S))), b"too many requests\n", "")


class Server:
    """Answers requests for the hosts of an embedded web."""

    def __init__(self, web: dict[str, dict[str, Answer]]) -> None:
        """Opens nothing yet; `serve` does.

        Args:
            web: Answers by host and path (with query).
        """
        self._web = web
        self._refused: set[tuple[str, str]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ADDRESS
        self.port = 0
        self.hosts = tuple(sorted(web))
        self.log: list[Asked] = []

    async def open(self) -> None:
        """Begins to listen; sets `port`."""
        self._server = await asyncio.start_server(
            self._connected, ADDRESS, 0, limit=_MAX_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and ends every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or sent what is no request
        except asyncio.CancelledError:
            pass  # by `close`; asyncio would print it, with its traceback
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; returns whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        method, path, version = (*request.split(" "), "", "")[:3]
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        self.log.append(Asked(time.monotonic(), host, path, headers.get("user-agent", "")))
        answer = self._find(host.lower(), path) if method in ("GET", "HEAD") else _OTHER_METHOD
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return await self._send(writer, answer, has_body=method != "HEAD", keep=keep)

    def _find(self, host: str, path: str) -> Answer:
        """Returns the answer to a path; unknown parameters at its end change nothing."""
        known = self._web.get(host)
        if known is None:
            return _OTHER_HOST
        while path not in known and "?" in path:
            path = path[: max(path.rfind("&"), path.rfind("?"))]
        answer = known.get(path, _MISSING)
        if answer.behaviour == "too_many_requests_once" and (host, path) not in self._refused:
            self._refused.add((host, path))
            return _TOO_MANY
        return answer

    async def _send(
        self, writer: asyncio.StreamWriter, answer: Answer, *, has_body: bool, keep: bool
    ) -> bool:
        keep = keep and answer.behaviour != "disconnect"
        if answer.behaviour == "slow":
            await asyncio.sleep(_SLOW_S)
        writer.write(_head(answer, keep=keep))
        if has_body and answer.behaviour == "drip":
            await _drip(writer, answer.body)
        elif has_body:
            n_bytes = len(answer.body)
            if answer.behaviour == "disconnect":
                n_bytes = int(n_bytes * _DISCONNECT_FRAC)
            writer.write(answer.body[:n_bytes])
        await writer.drain()
        return keep


def _head(answer: Answer, *, keep: bool) -> bytes:
    phrase = HTTPStatus(answer.status).phrase
    lines = [f"HTTP/1.1 {answer.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines += [f"Content-Length: {len(answer.body)}"]
    lines += [f"Connection: {'keep-alive' if keep else 'close'}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


async def _drip(writer: asyncio.StreamWriter, body: bytes) -> None:
    for byte in body:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(_DRIP_S)


def load(folder: Path) -> dict[str, dict[str, Answer]]:
    """Returns the answers in `data/web/` by host and path.

    Raises:
        ManifestError: If the folder is missing or unfinished.
    """
    web: dict[str, dict[str, Answer]] = {}
    for path in manifest.load(folder, "demo").paths():
        for row in pq.read_table(path, schema=records.WEB).to_pylist():
            headers = tuple((pair["name"], pair["value"]) for pair in row["headers"])
            answer = Answer(row["status"], headers, row["body"], row["behaviour"])
            web.setdefault(row["host"], {})[row["path"]] = answer
    return web


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serves an embedded web while the block runs.

    Args:
        folder: `data/web/`.

    Yields:
        The server: its `address`, `port` and `hosts`, and in `log` what it was asked.
    """
    server, loop = Server(load(folder)), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.open(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
