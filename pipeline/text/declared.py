"""What a page says about itself: title, author, date, language.

Only declarations count (`<meta>`, JSON-LD, `<html lang>`, `<title>`, `<h1>`, the address); nothing
is guessed from prose, where a guess takes a quarter of the extraction's time and is often a
neighbour's name or a comment's date.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from lxml.etree import XPath
from lxml.html import HtmlElement

_TITLES = ("og:title", "twitter:title", "citation_title", "dc.title")
_AUTHORS = ("author", "article:author", "citation_author", "dc.creator", "parsely-author")
_DATES = (
    *("article:published_time", "og:article:published_time", "datepublished", "citation_date"),
    *(
        "citation_publication_date",
        "dc.date",
        "dc.date.issued",
        "dcterms.created",
        "dcterms.issued",
    ),
    *("parsely-pub-date", "pubdate", "publishdate", "publish-date", "sailthru.date", "date"),
)
_EARLIEST = date(1990, 1, 1)  # the web is no older
_MAX_CHARS = 300
_MAX_JSON_CHARS = 100_000

_meta = XPath("//meta[@content and (@name or @property or @itemprop)]")
_json_ld = XPath("//script[@type='application/ld+json']/text()")
_title = XPath("//head//title")
_h1 = XPath("//h1")
_time = XPath("//time[@datetime and (@pubdate or @itemprop='datePublished')]/@datetime")
_DAY = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)|\s*(\d{4})/(\d{1,2})/(\d{1,2})(?!\d)")
_URL_DAY = re.compile(r"/(\d{4}/\d{1,2}/\d{1,2})(?:/|$)")
_LANGUAGE = re.compile(r"\s*([A-Za-z]{2,3})(?![A-Za-z])")


class Declared(NamedTuple):
    """A page's own statements; None where it makes none."""

    title: str | None
    author: str | None
    published_on: str | None
    language: str | None


UNDECLARED = Declared(None, None, None, None)


def declared(tree: HtmlElement, content_language: str, url: str, captured_on: str) -> Declared:
    """Reads a page's statements about itself.

    Args:
        tree: The parsed page.
        content_language: The HTTP header's value, "" if there was none.
        url: The page's address; blogs and newspapers write the day into it.
        captured_on: YYYY-MM-DD; no page is published later than it was captured.
    """
    meta = _meta_values(tree)
    linked = list(_linked_data(tree))
    dates = [meta[name] for name in _DATES if name in meta]
    dates += [str(item["datePublished"]) for item in linked if "datePublished" in item]
    dates += [str(value) for value in _time(tree)]
    dates += [found[1] for found in [_URL_DAY.search(url)] if found]
    languages = [tree.get("lang") or "", tree.get("xml:lang") or "", content_language]
    return Declared(
        title=_first(meta, _TITLES) or _heading(tree),
        author=_first(meta, _AUTHORS) or next(_authors(linked), None),
        published_on=next(filter(None, (day(text, captured_on) for text in dates)), None),
        language=next((m[1].lower() for text in languages if (m := _LANGUAGE.match(text))), None),
    )


def day(text: str, latest: str) -> str | None:
    """Returns the date at the beginning of a text as YYYY-MM-DD, None if there is no likely one.

    >>> day("2016-11-01T08:00:00Z", "2017-01-01"), day("2016/2/30", "2017-01-01")
    ('2016-11-01', None)
    >>> day("2018-01-01", "2017-01-01") is None
    True
    """
    found = _DAY.match(text)
    if not found:
        return None
    try:
        value = date(*(int(part) for part in found.groups() if part))
    except ValueError:
        return None
    return value.isoformat() if value >= _EARLIEST and value.isoformat() <= latest else None


def _meta_values(tree: HtmlElement) -> dict[str, str]:
    """Returns the first non-empty value of each `<meta>` name, names in lower case."""
    values: dict[str, str] = {}
    for element in _meta(tree):
        text = _tidy(element.get("content"))
        for attribute in ("property", "name", "itemprop"):
            name = (element.get(attribute) or "").strip().lower()
            if name and text:
                values.setdefault(name, text)
    return values


def _first(values: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Returns the first value that is not an address (`article:author` is often a profile's)."""
    return next((values[n] for n in names if n in values and "://" not in values[n]), None)


def _heading(tree: HtmlElement) -> str | None:
    """Returns the `<title>`, else the first `<h1>` (many sites have their own name there)."""
    elements = [*_title(tree), *_h1(tree)]
    return next(filter(None, (_tidy(element.text_content()) for element in elements)), None)


def _linked_data(tree: HtmlElement) -> Iterator[dict[str, Any]]:
    """Yields the objects of the page's JSON-LD, those of a `@graph` included."""
    for text in _json_ld(tree):
        if len(text) > _MAX_JSON_CHARS:
            continue
        try:
            told = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            continue
        for item in told if isinstance(told, list) else [told]:
            graph = item.get("@graph") if isinstance(item, dict) else None
            parts = graph if isinstance(graph, list) else [item]
            yield from (part for part in parts if isinstance(part, dict))


def _authors(items: list[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        author = item.get("author")
        for person in author if isinstance(author, list) else [author]:
            name = person.get("name") if isinstance(person, dict) else person
            if isinstance(name, str) and (text := _tidy(name)) and "://" not in text:
                yield text


def _tidy(text: str) -> str:
    return " ".join(text.split())[:_MAX_CHARS]
