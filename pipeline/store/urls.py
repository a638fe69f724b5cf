"""URLs: what is fetched, and the key by which links are the same link.

Decisions:
- What is fetched is the URL as given, parsed as browsers do (WHATWG, `ada`); nothing is "cleaned".
- `canonical_key` is for comparison only and is never fetched. It drops what does not select a page:
  scheme, a leading `www.`, default port, fragment, userinfo, tracking parameters, one trailing
  slash; it sorts the query and keeps blank values. It keeps everything else: case of the path,
  `?id=12`, `;`, `//` inside the path, `#!` (an old way to select a page).
- Mobile and AMP hosts stay hosts of their own: they serve other markup and often other text;
  near-duplicate removal merges them by what they say.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import ada_url
import tldextract

# Parameters that name a click, not a page. Families by prefix, the rest exact.
_TRACKING_PREFIXES = ("utm_", "mtm_", "pk_", "hsa_", "oly_")
_TRACKING = frozenset(
    [
        "fbclid",
        "gclid",
        "gclsrc",
        "dclid",
        "gbraid",
        "wbraid",
        "msclkid",
        "yclid",
        "twclid",
        "ttclid",
        "igshid",
        "mc_cid",
        "mc_eid",
        "_ga",
        "_gl",
        "_hsenc",
        "_hsmi",
        "vero_id",
        "wt_mc",
        "s_cid",
        "cmpid",
        "ncid",
        "sr_share",
        "__twitter_impression",
    ]
)
_WWW = re.compile(r"^www\d{0,2}\.(?=[^.]+\.)")
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")

# The list inside the package: no network, no cache folder. Its version is part of the partition
# function, so the package is pinned. Private suffixes keep the users of one blog host apart.
_extract = tldextract.TLDExtract(
    suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
)


class Url(NamedTuple):
    """A parsed http(s) URL. `href` is what is fetched."""

    href: str
    scheme: str
    host: str
    port: int
    path: str
    query: str
    fragment: str
    has_userinfo: bool


def parse(url: str) -> Url | None:
    """Parses an absolute http(s) URL as a browser does; None when it is none.

    >>> parse(" HTTP://Example.ORG:80/a b?q#x ").href
    'http://example.org/a%20b?q#x'
    >>> parse("ftp://example.org/") is None
    True
    """
    try:
        parsed = ada_url.URL(url.strip())
    except (ValueError, UnicodeError):
        return None
    scheme = parsed.protocol.rstrip(":")
    if scheme not in ("http", "https") or not parsed.hostname:
        return None
    return Url(
        href=parsed.href,
        scheme=scheme,
        host=parsed.hostname,
        port=int(parsed.port) if parsed.port else {"http": 80, "https": 443}[scheme],
        path=parsed.pathname,
        query=parsed.search.removeprefix("?"),
        fragment=parsed.hash.removeprefix("#"),
        has_userinfo=bool(parsed.username or parsed.password),
    )


def canonical_key(url: Url) -> str:
    """Returns the key under which two links are the same link.

    >>> canonical_key(parse("https://www.example.org:443/a/?b=2&utm_source=x&a=1#top"))
    'example.org/a?a=1&b=2'
    >>> canonical_key(parse("http://example.org/A?id=12"))
    'example.org/A?id=12'
    """
    host = _WWW.sub("", url.host.rstrip("."))
    default = {"http": 80, "https": 443}[url.scheme]
    port = "" if url.port == default else f":{url.port}"
    path = _normal_escapes(url.path)
    path = path.removesuffix("/") if not path.endswith("//") else path
    query = _key_query(url.query)
    bang = "#" + url.fragment if url.fragment.startswith("!") else ""
    return f"{host}{port}{path}{'?' + query if query else ''}{bang}"


def _key_query(query: str) -> str:
    """Returns the query without tracking parameters, escapes normalised, sorted."""
    kept = (p for p in query.split("&") if p and not _is_tracking(p.partition("=")[0]))
    return "&".join(sorted(_normal_escapes(p) for p in kept))


def _is_tracking(name: str) -> bool:
    name = name.lower()
    return name in _TRACKING or name.startswith(_TRACKING_PREFIXES)


def _normal_escapes(text: str) -> str:
    """Decodes escapes of unreserved characters and upper-cases the others (RFC 3986 §6.2.2)."""
    return re.sub(r"%[0-9A-Fa-f]{2}", lambda m: _normal_escape(m[0]), text)


def _normal_escape(escape: str) -> str:
    byte = unquote_to_bytes(escape)
    return byte.decode() if _UNRESERVED.fullmatch(byte) else escape.upper()


@lru_cache(maxsize=65_536)
def registered_domain(host: str) -> str:
    """Returns the domain somebody registered, by the public suffix list; else the host itself.

    >>> registered_domain("news.bbc.co.uk"), registered_domain("10.0.0.1")
    ('bbc.co.uk', '10.0.0.1')
    """
    return _extract(host).top_domain_under_public_suffix or host
