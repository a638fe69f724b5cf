"""A downloader as OpenWebText's: a pool that gets each URL and saves the page; no robots.txt.

python peer_openwebtext.py URLS OUTPUT THREADS requests|newspaper

Written after what jcpeterson/openwebtext does, not its code: each URL is asked for with `requests`
in a session of its own, or through newspaper's Article, seven seconds at most; every page is
appended to one file. Every name leads to 127.0.0.1.
"""

import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

_TIMEOUT_S = 7
_HEADERS = {"User-Agent": "bench (+mailto:bench@example.org)"}


def _to_loopback() -> None:
    look_up = socket.getaddrinfo

    def resolve(_host: str, *arguments: Any, **named: Any) -> Any:
        return look_up("127.0.0.1", *arguments, **named)

    socket.getaddrinfo = resolve  # type: ignore[assignment]


def by_requests(url: str) -> bytes:
    """Returns a page's bytes."""
    return requests.get(url, headers=_HEADERS, timeout=_TIMEOUT_S).content


def by_newspaper(url: str) -> bytes:
    """Returns a page's text as newspaper reads it, not parsed."""
    from newspaper import Article, Config  # so that the other kind does not pay for it

    config = Config()
    config.browser_user_agent = _HEADERS["User-Agent"]
    config.request_timeout = _TIMEOUT_S
    article = Article(url, config=config)
    article.download()
    return str(article.html).encode()


def main() -> None:
    """Downloads the list."""
    urls, output, threads, kind = sys.argv[1:]
    _to_loopback()
    get: Callable[[str], bytes] = by_requests if kind == "requests" else by_newspaper
    listed = Path(urls).read_text().split()
    with (
        ThreadPoolExecutor(int(threads)) as pool,
        Path(output, "bodies").open("wb") as bodies,
        Path(output, "index").open("w") as index,
    ):
        for url, body in zip(listed, pool.map(get, listed), strict=True):
            bodies.write(body)
            index.write(f"{url} {len(body)}\n")


if __name__ == "__main__":
    main()
