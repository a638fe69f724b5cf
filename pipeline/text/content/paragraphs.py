"""jusText: the paragraphs of a page that read like prose, by length, stop words and links.

Paper: Pomikálek, "Removing Boilerplate and Duplicate Content from Web Corpora" (2011), section 3,
with trafilatura's limits: no headings, stop words of all languages together.

    bad    full of links, a copyright line, or without stop words
    short  under 50 characters: what its neighbours are
    near   between: good unless it stands between bad ones
    good   over 150 characters, and stop words enough

Written anew: the package builds SAX events and a path for every element, and looks for neighbours
one by one, which is quadratic. The paragraphs are the same, which a test checks.
"""

import pkgutil
import re
from functools import cache
from typing import NamedTuple

from justext.core import PARAGRAPH_TAGS
from justext.utils import get_stoplists
from lxml.html import HtmlElement

_MIN_CHARS, _GOOD_CHARS = 50, 150
_MIN_STOP_FRAC, _GOOD_STOP_FRAC = 0.1, 0.2
_MAX_LINK_FRAC = 0.25
_SPACE = re.compile(r"\s+")


def good_paragraphs(tree: HtmlElement) -> list[str]:
    """Returns the texts of a page's good paragraphs, in order."""
    paragraphs = _Splitter().split(tree)
    kinds = [_kind(paragraph) for paragraph in paragraphs]
    _settle_short(kinds)
    _settle_near(kinds)
    return [p.text for p, kind in zip(paragraphs, kinds, strict=True) if kind == "good"]


class _Paragraph(NamedTuple):
    """A text, the characters of the links in it, and whether it is part of a menu."""

    text: str
    linked_chars: int
    in_menu: bool


class _Splitter:
    """Splits a page at its block elements."""

    def __init__(self) -> None:
        self.paragraphs: list[_Paragraph] = []
        self._pieces: list[str] = []
        self._linked_chars = 0
        self._n_menus = 0  # elements around the place that are menus
        self._in_menu = False  # where the paragraph began
        self._in_link = False
        self._after_break = False

    def split(self, tree: HtmlElement) -> list[_Paragraph]:
        self._element(tree)
        self._begin()
        return self.paragraphs

    def _element(self, element: HtmlElement) -> None:
        tag = element.tag
        is_block = tag in PARAGRAPH_TAGS
        is_menu = "select" in tag
        self._n_menus += is_menu
        if is_block or (tag == "br" and self._after_break):
            self._begin()
        else:
            self._after_break = tag == "br"
            if tag == "br":
                self._pieces.append(" ")
            elif tag == "a":
                self._in_link = True
        if text := element.text:
            self._text(text)
        for child in element:
            self._element(child)
        self._n_menus -= is_menu
        if is_block:
            self._begin()
        if tag == "a":
            self._in_link = False
        if text := element.tail:
            self._text(text)

    def _text(self, text: str) -> None:
        if text.isspace():
            return
        text = squeeze(text)
        self._pieces.append(text)
        self._linked_chars += len(text) if self._in_link else 0
        self._after_break = False

    def _begin(self) -> None:
        if self._pieces and (text := squeeze("".join(self._pieces).strip())):
            self.paragraphs.append(_Paragraph(text, self._linked_chars, self._in_menu))
        self._pieces, self._linked_chars, self._in_menu = [], 0, self._n_menus > 0


def squeeze(text: str) -> str:
    r"""Returns a text whose blanks are single: a line end where there was one, else a space.

    >>> squeeze(" a  b \n c")
    ' a b\nc'
    """
    if "\n" in text or "\r" in text:
        return _SPACE.sub(lambda m: "\n" if "\n" in m[0] or "\r" in m[0] else " ", text)
    squeezed = " ".join(text.split())
    if not squeezed:
        return text[:1] and " "
    return f"{' ' * text[:1].isspace()}{squeezed}{' ' * text[-1:].isspace()}"


def _kind(paragraph: _Paragraph) -> str:
    text, linked_chars, in_menu = paragraph
    n = len(text)
    if linked_chars > _MAX_LINK_FRAC * n or "\xa9" in text or "&copy" in text or in_menu:
        return "bad"
    if n < _MIN_CHARS:
        return "bad" if linked_chars else "short"
    words = text.lower().split()
    stop_frac = sum(map(_stop_words().__contains__, words)) / len(words)
    if stop_frac >= _GOOD_STOP_FRAC:
        return "good" if n > _GOOD_CHARS else "near"
    return "near" if stop_frac >= _MIN_STOP_FRAC else "bad"


@cache
def _stop_words() -> frozenset[str]:
    """Returns the stop words of all languages of the package."""
    words: set[str] = set()
    for language in get_stoplists():
        data = pkgutil.get_data("justext", f"stoplists/{language}.txt") or b""
        words.update(data.decode().lower().split("\n"))
    return frozenset(words)


def _settle_short(kinds: list[str]) -> None:
    """Makes short paragraphs good or bad: as both neighbours, near ones count where they differ."""
    given = list(kinds)
    firm_before, near_before = _neighbours(given)
    firm_after, near_after = (found[::-1] for found in _neighbours(given[::-1]))
    for i, kind in enumerate(given):
        if kind != "short":
            continue
        sides = (firm_before[i], firm_after[i])
        if sides[0] == sides[1]:
            kinds[i] = sides[0]
        else:
            is_near = (sides[0] == "bad" and near_before[i] == "near") or (
                sides[1] == "bad" and near_after[i] == "near"
            )
            kinds[i] = "good" if is_near else "bad"


def _neighbours(kinds: list[str]) -> tuple[list[str], list[str]]:
    """Returns for each place the last good or bad kind before it, and the last but short ones."""
    firm, near = "bad", "bad"
    firms, nears = [], []
    for kind in kinds:
        firms.append(firm)
        nears.append(near)
        if kind != "short":
            near = kind
            firm = kind if kind != "near" else firm
    return firms, nears


def _settle_near(kinds: list[str]) -> None:
    """Makes near-good paragraphs good, unless the settled ones on both sides are bad."""
    firm_after = _neighbours(kinds[::-1])[0][::-1]
    for i, kind in enumerate(kinds):
        if kind == "near":
            before = kinds[i - 1] if i else "bad"
            kinds[i] = "bad" if before == firm_after[i] == "bad" else "good"
