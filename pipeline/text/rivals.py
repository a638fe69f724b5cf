"""What the other extractors make of a page, asked only where the answer could matter.

trafilatura compares its own text with readability's on every page. readability can win in two ways:
with at least twice the text, or because the own text has no paragraphs or more tables than
paragraphs. It cannot find more text than the page has; so on a page whose whole text is no longer
than that, the comparison is decided without it.
"""

from copy import copy
from functools import cached_property

from lxml.etree import Element, SubElement, XPath, _Element, tostring
from lxml.html import HtmlElement
from trafilatura.external import (
    JUSTEXT_OVERRIDE_RATIO,
    SANITIZED_XPATH,
    sanitize_tree,
    try_readability,
)
from trafilatura.settings import Extractor

from pipeline.text.frame import Found
from pipeline.text.furniture import drop_noise, drop_sections
from pipeline.text.paragraphs import good_paragraphs

_HIDDEN = ("script", "style", "fencedframe")
_n_videos = XPath("count(descendant::iframe)")
_VIDEO_CHARS = 6  # readability writes VIDEO into frames that show one
_unclean = XPath(f"boolean({SANITIZED_XPATH})")
_paragraph_text = XPath("boolean(.//p//text())")


class Rivals:
    """The other extractors on one page, each asked at most once."""

    def __init__(self, tree: HtmlElement, cleaned: HtmlElement) -> None:
        """Keeps the page for when they are asked.

        Args:
            tree: The page, additions and comments removed.
            cleaned: The same, cleaned but not converted.
        """
        self._tree = tree
        self._cleaned = cleaned
        self._generic: tuple[HtmlElement, str] | None = None

    def better(self, found: Found, options: Extractor) -> Found:
        """Returns what was found, or what one of the others found if that is to be preferred."""
        if options.focus == "recall" and len(found.text) > 10 * options.min_extracted_size:
            return found
        is_generic = False
        if self._readability_could_win(found, options):
            body, text = self._readability(options.focus == "precision")
            if _readability_wins(found, body, text, options):
                found, is_generic = Found(copy(body), text), True
        is_unclean = _unclean(found.body)
        if is_unclean or len(found.text) < options.min_extracted_size:
            prose = self.prose
            least = len(found.text) / JUSTEXT_OVERRIDE_RATIO if is_unclean else len(found.text) + 1
            if prose.text and len(prose.text) >= least:
                return Found(copy(prose.body), prose.text)
        return Found(*sanitize_tree(found.body, options)) if is_generic else found

    @cached_property
    def prose(self) -> Found:
        """What jusText finds in the cleaned page."""
        return prose(copy(self._cleaned))

    def _readability_could_win(self, found: Found, options: Extractor) -> bool:
        n = len(found.text)
        if options.focus == "recall":
            least = n if found.body.find(".//head") is None else int(1.5 * n)
        else:
            least = 2 * n
        most = self._max_chars
        return most > least or (most > 2 * options.min_extracted_size and _is_deficient(found.body))

    @cached_property
    def _max_chars(self) -> int:
        """The most that readability could find."""
        n_chars = _n_squeezed(self._tree)
        for hidden in self._tree.iter(*_HIDDEN):
            n_chars -= max(0, _n_squeezed(hidden) - 1)
        return n_chars + _VIDEO_CHARS * int(_n_videos(self._tree))

    def _readability(self, precision: bool) -> tuple[HtmlElement, str]:
        if self._generic is None:
            tree = copy(self._tree)
            self._generic = generic(drop_sections(tree) if precision else tree)
        return self._generic


def _n_squeezed(tree: HtmlElement) -> int:
    """Returns the characters of a tree's text with single spaces between its words."""
    return len(" ".join(tree.text_content().split()))


def prose(tree: HtmlElement) -> Found:
    """Returns the paragraphs that read like prose; the tree is changed."""
    body = Element("body")
    for text in good_paragraphs(drop_noise(tree)):
        SubElement(body, "p").text = text
    return Found(body, " ".join(" ".join(body.itertext()).split()))


def generic(tree: HtmlElement) -> tuple[HtmlElement, str]:
    """Returns what readability takes for the article, and its text; the tree is changed."""
    body = try_readability(tree)
    text = tostring(body, method="text", encoding="unicode")
    return body, " ".join(text.split())


def _readability_wins(
    found: Found, body: HtmlElement, text: str, options: Extractor
) -> bool:
    n, n_generic = len(found.text), len(text)
    if n_generic in (0, n) or n > 2 * n_generic:
        return False
    if n == 0:
        return True
    is_json = text.startswith("{")
    if n_generic > 2 * n and not is_json:
        return True
    if n_generic > 2 * options.min_extracted_size and _is_deficient(found.body):
        return True
    if options.focus != "recall":
        return False
    if n_generic > 1.5 * n and not is_json:
        return True
    has_heads = next(body.iter("h2", "h3", "h4"), None) is not None
    return n_generic > n and has_heads and found.body.find(".//head") is None


def _is_deficient(body: _Element) -> bool:
    """Returns whether a body has no paragraphs with text, or more tables than paragraphs."""
    return not _paragraph_text(body) or len(body.findall(".//table")) > len(body.findall(".//p"))
