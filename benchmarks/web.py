"""The web that crawlers are compared on: pages of 44 kB, gzip on the wire, by any host name.

    /robots.txt      rules of forty lines that forbid /private/
    /p/NUMBER.html   page NUMBER, one of the bodies in turn
    /private/...     counted: nobody who obeys robots.txt asks for it

A process of its own, so that its CPU time is in no contender's account. Bodies are compressed
before the clock runs. Connections are kept open for who wants that.

python -m benchmarks.web BODIES_FOLDER [CERTIFICATE_CHAIN_WITH_KEY]; prints its port.
"""

import asyncio
import gzip
import ssl
import sys
from pathlib import Path

ADDRESS = "127.0.0.1"
ASKED = "/asked"  # how many requests for /private/ there were
_COMMENTS = "".join(f"Disallow: /search/{i}/*?sort=\n" for i in range(36))
ROBOTS = f"User-agent: *\n{_COMMENTS}Disallow: /private/\nAllow: /p/\n".encode()


class Web:
    """Answers by path; `n_private` counts requests that robots.txt forbids."""

    def __init__(self, folder: Path) -> None:
        """Reads and compresses the bodies of a folder.

        Args:
            folder: One file per body.
        """
        packed = ("Content-Encoding: gzip", "Content-Type: text/html; charset=utf-8")
        self._pages = [
            answer(gzip.compress(path.read_bytes(), 6, mtime=0), *packed)
            for path in sorted(folder.iterdir())
        ]
        self._robots = answer(ROBOTS, "Content-Type: text/plain")
        self.n_private = 0

    def find(self, path: bytes) -> bytes:
        """Returns the whole answer to a path."""
        if path.startswith(b"/p/"):
            return self._pages[int(path[3:].partition(b".")[0]) % len(self._pages)]
        if path == b"/robots.txt":
            return self._robots
        if path == ASKED.encode():
            return answer(str(self.n_private).encode(), "Content-Type: text/plain")
        self.n_private += path.startswith(b"/private/")
        return answer(b"nothing here", "Content-Type: text/plain")


def answer(body: bytes, *headers: str) -> bytes:
    """Returns a whole answer as bytes, with the headers that servers usually send."""
    lines = [
        "HTTP/1.1 200 OK",
        "Server: benchmark",
        "Date: Fri, 01 Dec 2017 00:00:00 GMT",
        "Cache-Control: max-age=60",
        'ETag: "5a209d80-2b13"',
        "Vary: Accept-Encoding",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, web: Web) -> None:
        self._web, self._rest = web, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            self._transport.write(self._web.find(head.split(b" ", 2)[1]))
            if b"connection: close" in head.lower():
                self._transport.close()


async def _serve(web: Web, context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(web), ADDRESS, 0, ssl=context, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serves until it is ended."""
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
    asyncio.run(_serve(Web(Path(sys.argv[1])), context))


if __name__ == "__main__":
    main()
