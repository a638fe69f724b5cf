"""Markup whose elements are nested without end, or have attributes without end, made harmless.

libxml2 stops reading at 256 levels, lexbor takes quadratic time in their number, and both do in the
number of a tag's attributes. Browsers keep all of the text: an element that would be deeper than
512 levels becomes the sibling of the last one that is not. The same is done here, on the markup, in
one pass.
"""

import re
from collections.abc import Iterator

_MAX_LEVELS = 200  # below libxml2's 256, with room for elements that parsers add
_LONG_TAG_CHARS = 20_000
_MAX_ATTRIBUTES = 1000  # real pages: some tens; 60,000 take libxml2 20 CPU seconds
_VOID = frozenset(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source "
    "track wbr".split()
)
_SELF_CLOSED_BY_NEXT = frozenset("p li dt dd tr td th option".split())
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|textarea|title|xmp)\b.*?(?:</\1\s*>|\Z)"
    r"|<(/?)([a-zA-Z][^\s/<>]*)[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
_LONG_TAG = re.compile(rf"<([a-zA-Z][^\s/<>]*)([^<>]{{{_LONG_TAG_CHARS},}})>")
_ATTRIBUTE = re.compile(r"""\s+[^\s"'=/]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"']+))?""")


def lean(markup: str) -> str:
    """Returns markup in which no tag has thousands of attributes.

    >>> lean("<p class=a>" + "<b" + " x='y'" * 5000 + ">text")
    '<p class=a><b>text'
    """
    if len(markup) < _LONG_TAG_CHARS or max(map(len, markup.split("<"))) < _LONG_TAG_CHARS:
        return markup
    return _LONG_TAG.sub(_without_attributes, markup)


def _without_attributes(tag: re.Match[str]) -> str:
    n_attributes = sum(1 for _ in _ATTRIBUTE.finditer(tag[2]))
    return f"<{tag[1]}>" if n_attributes > _MAX_ATTRIBUTES else tag[0]


def flat(markup: str) -> str:
    """Returns markup whose elements are nested at most 200 levels deep, with the same text.

    >>> flat("<div>" * 1000 + "text").count("</div>")
    800
    """
    return "".join(_flat(markup))


def _flat(markup: str) -> Iterator[str]:
    open_tags: list[str] = []
    end = 0
    for token in _TOKEN.finditer(markup):
        yield markup[end : token.start()]
        end = token.end()
        name = (token[3] or "").lower()
        if not name or name in _VOID or token[0].endswith("/>"):
            yield token[0]
        elif token[2]:
            yield from _closed(name, open_tags)
        else:
            if open_tags and (
                len(open_tags) >= _MAX_LEVELS
                or (name == open_tags[-1] and name in _SELF_CLOSED_BY_NEXT)
            ):
                yield f"</{open_tags.pop()}>"
            open_tags.append(name)
            yield token[0]
    yield markup[end:]


def _closed(name: str, open_tags: list[str]) -> Iterator[str]:
    """Yields the end tags that one end tag stands for: none for an element that is not open."""
    if name in open_tags:
        while open_tags:
            last = open_tags.pop()
            yield f"</{last}>"
            if last == name:
                return
