"""What a page says about its use: refusals in headers, in `<meta>` and in robots.txt.

Every signal is written down as `source:word`, e.g. `header:noai`, `meta:noindex`,
`robots:ai-train=no`; which words are obeyed is configuration. A page that refuses is not stored.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from crawl import robots

HEAD_BYTES = 64 << 10  # where `<meta>` is looked for; browsers look for a charset in the first 1024

# Words about indexing, archiving and training. Others (`nofollow`, `nosnippet`) are about search.
_WORDS = frozenset({"noai", "noimageai", "noindex", "noarchive", "none"})
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
_META = re.compile(rb"<meta\b([^<>]{1,2000})>", re.IGNORECASE)
_META_BEGIN = b"<meta"
_ATTRIBUTE = re.compile(
    rb"(?<![a-zA-Z-])([a-zA-Z-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))"
)


def in_headers(headers: Iterable[tuple[str, str]], product: str) -> list[str]:
    """Returns the signals in a response's headers.

    Args:
        headers: Names and values.
        product: This crawler's product token; a directive for another robot is not ours.

    >>> in_headers([("X-Robots-Tag", "other: noindex"), ("x-robots-tag", "noai, nofollow")], "bot")
    ['header:noai']
    """
    found: list[str] = []
    for name, value in headers:
        match name.lower():
            case "x-robots-tag":
                found += _directives(value, product)
            case "content-usage" | "content-signal":
                found += robots.preferences(value)
            case "tdm-reservation" if value.strip() == "1":
                found.append("tdm-reservation=1")
    return [f"header:{word}" for word in sorted(set(found))]


def in_html(page: bytes, product: str) -> list[str]:
    """Returns the signals in the `<meta>` elements at the beginning of a page.

    >>> in_html(b'<META content="NoAI" name=Robots><!--<meta name=robots content=none>-->', "bot")
    ['meta:noai']
    """
    page = page[:HEAD_BYTES]
    found = _in_meta(page, product)
    if found and b"<!--" in page:  # most pages refuse nothing, and are looked through once
        found = _in_meta(_uncommented(page), product)
    return [f"meta:{word}" for word in sorted(set(found))]


def _in_meta(page: bytes, product: str) -> list[str]:
    found: list[str] = []
    for element in _metas(page):
        attributes = {
            match[1].lower(): (match[2] or match[3] or match[4] or b"").decode("latin-1")
            for match in _ATTRIBUTE.finditer(element[1])
        }
        name, value = attributes.get(b"name", "").strip().lower(), attributes.get(b"content", "")
        if name in ("robots", product.lower()):
            found += _directives(value, product)
        elif name == "tdm-reservation" and value.strip() == "1":
            found.append("tdm-reservation=1")
    return found


def _metas(page: bytes) -> Iterator[re.Match[bytes]]:
    """Yields the `<meta>` elements of a page; a search for them is a quarter of a regex's time."""
    small = page.lower()
    position = small.find(_META_BEGIN)
    while position >= 0:
        element = _META.match(page, position)
        if element is not None:
            yield element
        position = small.find(_META_BEGIN, element.end() if element else position + 1)


def _uncommented(page: bytes) -> bytes:
    """Returns a page without its comments, in linear time; one without an end hides the rest.

    >>> _uncommented(b"a<!-- b -->c<!-- d")
    b'ac'
    """
    kept, position = [], 0
    while (start := page.find(b"<!--", position)) >= 0:
        kept.append(page[position:start])
        end = page.find(b"-->", start + 4)
        position = end + 3 if end >= 0 else len(page)
    return b"".join([*kept, page[position:]])


def in_robots(opt_outs: Iterable[str]) -> list[str]:
    """Returns the signals of a robots.txt."""
    return [f"robots:{word}" for word in opt_outs]


def refusal(signals: Sequence[str], enforced: Iterable[str]) -> str:
    """Returns the first signal that is to be obeyed, or "".

    >>> refusal(["header:noindex", "meta:noai"], ["noai"])
    'meta:noai'
    """
    words = set(enforced)
    return next((s for s in signals if s.partition(":")[2] in words), "")


def _directives(value: str, product: str) -> list[str]:
    """Returns the known words of one list of robots directives, if it is for this crawler."""
    robot, colon, rest = value.partition(":")
    robot = robot.strip().lower()
    if colon and robot not in _WITH_VALUE and "," not in robot:
        if robot != product.lower():
            return []
        value = rest
    return [word for part in value.split(",") if (word := part.strip().lower()) in _WORDS]
