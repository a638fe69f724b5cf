"""URLs: what is fetched, and the key by which links are the same link.

Decisions:
- What is fetched is the URL as given, parsed as browsers do (WHATWG, `ada`); nothing is "cleaned".
  Most URLs are in the form that parsing leaves alone (99 % of two months of 2005), by one
  conservative pattern; they skip the parser (3.9 us instead of 9.7 on a busy machine). Tests
  compare both ways on any text.
- `canonical_key` is for comparison only and is never fetched. It drops what does not select a page:
  scheme, leading `www.`, default port, fragment, userinfo, tracking parameters, one trailing slash;
  it sorts the query by name. It keeps everything else: case of the path, `?id=`, `;`, `//` inside
  the path, `#!` (an old way to select a page), order of equal names, order of a query that is
  no list of `name=value`. Where in doubt two keys stay two: a pair too many costs one request and
  near-duplicate removal, a pair too few costs a page.
- `www2.` is a machine of its own at many universities and broadcasters, `www.` of a public suffix
  (`www.co.uk`, `www.github.io`) somebody else's: both stay.
- Mobile and AMP hosts and paths (`m.`, `amp.`, `/amp`) stay links of their own: they serve other
  markup and often other text. So do copies under another registered domain, whatever their path
  says: AMP caches (`google.com/amp/s/...`), archives (`web.archive.org/web/2015/...`, a page of
  another day, often the one that is left), shorteners (`bit.ly/...`; the crawl follows them). A
  partition of the crawl owns whole registered domains, so a key must not leave its URL's.
"""

import re
from functools import lru_cache

import ada_url
import msgspec
from publicsuffixlist import PublicSuffixList

PORTS = {"http": 80, "https": 443}  # that a URL need not name

# Parameters that name a click, not a page. Families by prefix, the rest exact.
_TRACKING_PREFIXES = ("utm_", "mtm_", "hsa_")
_TRACKING = frozenset(
    "fbclid gclid gclsrc dclid gad_source gbraid wbraid msclkid yclid ymclid twclid ttclid igshid "
    "igsh li_fat_id epik srsltid mc_cid mc_eid mkt_tok _ga _gl _hsenc _hsmi __hssc __hstc __hsfp "
    "hsctatracking vero_id vero_conv oly_enc_id oly_anon_id pk_campaign pk_kwd pk_keyword "
    "pk_source pk_medium pk_content pk_cid wt_mc s_cid cmpid s_kwcid ef_id _openstat rb_clickid "
    "sr_share __twitter_impression guccounter guce_referrer guce_referrer_sig phpsessid "
    "jsessionid".split()
)
_WWW = "www."
_KNOWN_PORTS = tuple(PORTS.values())
_MAX_HOSTS = 65_536  # remembered

# What WHATWG parsing returns unchanged: a lower-case ASCII host that ends in letters, no port, no
# user, and only characters that are never escaped. Dot segments and Punycode are looked for apart.
_PLAIN = re.compile(
    r"(https?)://((?:[a-z0-9][a-z0-9-]*\.)+[a-z]{2,})"
    r"(?:(/[A-Za-z0-9._~!$&()*+,;=:@/-]*)(?:\?([A-Za-z0-9._~!$&()*+,;=:@/?-]*))?"
    r"(?:#([A-Za-z0-9._~!$&()*+,;=:@/?-]*))?)?"
)
# The parser's own output, taken apart: the parts it escapes can't hold what separates them.
_PARSED = re.compile(
    r"(https?)://([^/?#@]*@)?(\[[^\]]*\]|[^/?#:]*)(?::(\d+))?(/[^?#]*)(?:\?([^#]*))?(?:#(.*))?"
)
# An escape behind a stray "%" or "%4" stays: decoded it could complete another escape.
_ESCAPE = re.compile(r"(?<!%)(?<!%[0-9A-Fa-f])%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")

# The list inside the package: no network, no cache folder. Its version is part of the partition
# function, so the package is pinned. Private suffixes keep the users of one blog host apart. The
# better known tldextract gives the same answers and imports an HTTP client: 0.25 s per process.
_suffixes = PublicSuffixList(accept_unknown=False)


class Url(msgspec.Struct, frozen=True, gc=False):
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
    found = _PLAIN.fullmatch(url)
    if found and "/." not in url and "xn--" not in url:
        scheme, host, path, query, fragment = found.groups("")
        href = url if path else url + "/"
        return Url(href, scheme, host, PORTS[scheme], path or "/", query, fragment, False)
    return _parse_any(url)


def _parse_any(url: str) -> Url | None:
    try:
        href = ada_url.normalize_url(url.strip())
    except (ValueError, UnicodeError):
        return None
    found = _PARSED.fullmatch(href)
    if not found or not found[3]:
        return None
    scheme, user, host, port, path, query, fragment = found.groups("")
    number = int(port) if port else PORTS[scheme]
    return Url(href, scheme, host, number, path, query, fragment, bool(user))


def canonical_key(url: Url) -> str:
    """Returns the key under which two links are the same link.

    >>> canonical_key(parse("https://www.example.org:443/a/?b=2&utm_source=x&a=1#top"))
    'example.org/a?a=1&b=2'
    >>> canonical_key(parse("http://example.org/A?id=12"))
    'example.org/A?id=12'
    """
    host = bare_host(url.host)
    port = "" if url.port in _KNOWN_PORTS else f":{url.port}"  # else http://x:443 has two keys
    path = _normal_escapes(url.path)
    if path.endswith("/") and not path.endswith("//"):
        path = path[:-1]
    query = _key_query(url.query) if url.query else ""
    bang = "#" + url.fragment if url.fragment.startswith("!") else ""
    return f"{host}{port}{path}{'?' + query if query else ''}{bang}"


@lru_cache(maxsize=_MAX_HOSTS)
def bare_host(host: str) -> str:
    """Returns a host without leading `www.` and closing dot.

    >>> [bare_host(host) for host in ("www.example.org.", "www.co.uk", "www.org")]
    ['example.org', 'www.co.uk', 'www.org']
    """
    bare = host.rstrip(".") or host
    while bare.startswith(_WWW) and "." in bare[len(_WWW) :]:
        inner = bare[len(_WWW) :]
        if _suffixes.publicsuffix(inner) == inner:
            break
        bare = inner
    return bare


def _key_query(query: str) -> str:
    """Returns the query without tracking parameters, escapes normalised, sorted by name."""
    parts = [p for p in _normal_escapes(query).split("&") if p and not _is_tracking(_name(p))]
    if all("=" in part for part in parts):
        parts.sort(key=_name)
    return "&".join(parts)


def _name(part: str) -> str:
    return part.partition("=")[0]


def _is_tracking(name: str) -> bool:
    name = name.lower()
    return name in _TRACKING or name.startswith(_TRACKING_PREFIXES)


def _normal_escapes(text: str) -> str:
    """Decodes escapes of unreserved characters and upper-cases the others (RFC 3986 §6.2.2)."""
    return _ESCAPE.sub(_normal_escape, text) if "%" in text else text


def _normal_escape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


@lru_cache(maxsize=_MAX_HOSTS)
def registered_domain(host: str) -> str:
    """Returns the domain somebody registered, by the public suffix list; else the host itself.

    >>> registered_domain("news.bbc.co.uk"), registered_domain("10.0.0.1")
    ('bbc.co.uk', '10.0.0.1')
    """
    return _suffixes.privatesuffix(host) or host
