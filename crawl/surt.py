"""The key under which web archives list a page: host labels reversed, what tells no page removed.

Common Crawl sorts its index by this key (the form of the Internet Archive's tools). It merges pages
that this project keeps apart (`/A` and `/a`), so what is found is compared again by the link's own
key. Compared once with the `surt` package 0.3.1, which is not used here for its licence (AGPL):
equal for all 1,182 addresses of two real dumps and for 22 hand-made ones.
"""

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pipeline.store.urls import PORTS, Url

_WWW = re.compile(r"^www\d*\.")
_SAFE = "!\"$&'()*+,-./:;<=>?@[\\]^_`{|}~"  # what an escape may stand for without its need
_ASPX_SESSION = re.compile(r"/\((?:[0-9a-z]{24}|(?:[a-z]\([0-9a-z]{24}\))+)\)(?=/[^?]*\.aspx)")
_QUERY_SESSION = re.compile(
    r"(?:(?:jsession|phpsess|s)id=[0-9a-z]{32}|aspsessionid[a-z]{8}=[a-z]{24}"
    r"|cfid=[^&]+&cftoken=[^&]+)(?:&|$)"
)


def surt(url: Url) -> str:
    """Returns an address's key in an archive's index.

    >>> from pipeline.store import urls
    >>> surt(urls.parse("http://www.Example.org:80/A/?b=2&a=1#top"))
    'org,example)/a?a=1&b=2'
    >>> surt(urls.parse("https://blog.example.co.uk:8080/"))
    'uk,co,example,blog:8080)/'
    """
    host = _WWW.sub("", url.host.rstrip("."))
    labels = [host] if ":" in host else reversed(host.split("."))
    port = f":{url.port}" if url.port != PORTS[url.scheme] else ""
    path = _escaped(_folded(url.path)).lower() or "/"
    path = _ASPX_SESSION.sub("", path)
    path = path.removesuffix("/") if len(path) > 1 else path
    query = _query(url.query)
    return f"{','.join(labels)}{port}){path}{'?' + query if query else ''}"


def _query(query: str) -> str:
    """Returns a query without session ids, its parts sorted."""
    query = _QUERY_SESSION.sub("", _escaped(query).lower())
    if not query:
        return ""
    return "&".join(sorted(query.split("&"), key=lambda part: part.split("=", 1)))


def _folded(path: str) -> str:
    """Returns a path without `//`."""
    return re.sub("/{2,}", "/", path)


def _escaped(text: str) -> str:
    """Returns a text whose escapes are undone as often as they go, and needed ones made again."""
    data, last = text.encode(), b""
    while data != last:
        last, data = data, unquote_to_bytes(data)
    return quote_from_bytes(data, safe=_SAFE)
