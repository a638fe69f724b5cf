"""What the other extractors make of a page, asked only where the answer could matter.

trafilatura compares its own text with readability's on every page. readability can win in two ways:
with at least twice the text, or because the own text has no paragraphs or more tables than
paragraphs. It cannot find more text than the page has; so on a page whose whole text is no longer
than that, the comparison is decided without it.
"""

from copy import copy
from functools import cached_property

from lxml.etree import Element, SubElement, _Element, strip_tags
from lxml.html import HtmlElement
from trafilatura.external import JUSTEXT_OVERRIDE_RATIO, SANITIZED_XPATH
from trafilatura.settings import Extractor
from trafilatura.xml import TEI_VALID_TAGS

from pipeline.text.content.frame import Found
from pipeline.text.content.furniture import clean, convert, drop_noise, drop_sections, join_pieces
from pipeline.text.content.paragraphs import good_paragraphs
from pipeline.text.content.parse import parse_part
from pipeline.text.content.readability import Article, serialized, squeezed_chars

_HIDDEN = ("script", "style")
_VIDEO_CHARS = 6  # readability writes VIDEO into frames that show one
_UNCLEAN = tuple(path.removeprefix(".//") for path in SANITIZED_XPATH.split("|"))
NOTHING = Found(Element("body"), "")


class Rivals:
    """The other extractors on one page, asked no more often than needed."""

    def __init__(self, tree: HtmlElement, cleaned: HtmlElement) -> None:
        """Keeps the page for when they are asked.

        Args:
            tree: The page, additions and comments removed.
            cleaned: The same, cleaned but not converted.
        """
        self._tree = tree
        self._cleaned = cleaned
        self._article: Article | None = None

    def better(self, found: Found, options: Extractor) -> Found:
        """Returns what was found, or what one of the others found if that is to be preferred."""
        if options.focus == "recall" and len(found.text) > 10 * options.min_extracted_size:
            return found
        own = found
        rival = self._readability(
            _least_to_win(found, options), precision=options.focus == "precision"
        )
        if _wins(rival, own, options):
            found = rival
        is_unclean = next(found.body.iterdescendants(*_UNCLEAN), None) is not None
        if is_unclean or len(found.text) < options.min_extracted_size:
            least = len(found.text) / JUSTEXT_OVERRIDE_RATIO if is_unclean else len(found.text) + 1
            if self.prose.text and len(self.prose.text) >= least:
                return Found(copy(self.prose.body), self.prose.text)
        return found if found is own else _as_body(found, options)

    @cached_property
    def prose(self) -> Found:
        """What jusText finds in the cleaned page."""
        return prose(drop_noise(copy(self._cleaned)))

    def _readability(self, least: int, *, precision: bool) -> Found:
        """Returns readability's article, an empty one if it has fewer than `least` characters."""
        if self.max_raw_chars < least or self._max_chars < least:
            return NOTHING
        if self._article is None:
            tree = copy(self._tree)
            self._article = Article(drop_sections(tree) if precision else tree)
        article = self._article.of(least)
        body = None if article is None else parse_part(serialized(article))
        return NOTHING if body is None else Found(body, " ".join(body.text_content().split()))

    @cached_property
    def _max_chars(self) -> int:
        """The most that readability could find, known before the page is copied."""
        n_chars = squeezed_chars(self._tree)
        for hidden in self._tree.iter(*_HIDDEN):
            n_chars -= max(0, squeezed_chars(hidden) - 1)
        return n_chars + _VIDEO_CHARS * len(self._tree.findall(".//iframe"))

    @cached_property
    def max_raw_chars(self) -> int:
        """The same, blanks as they are: more, but known at once."""
        hidden = sum(len(element.text_content()) for element in self._tree.iter(*_HIDDEN))
        n_videos = len(self._tree.findall(".//iframe"))
        return len(self._tree.text_content()) - hidden + _VIDEO_CHARS * n_videos


def prose(tree: HtmlElement) -> Found:
    """Returns the paragraphs of a page without noise that read like prose."""
    body = Element("body")
    for text in good_paragraphs(tree):
        SubElement(body, "p").text = text
    return Found(body, " ".join(" ".join(body.itertext()).split()))


def _as_body(found: Found, options: Extractor) -> Found:
    """Returns readability's article as a body of text elements."""
    tree = clean(copy(found.body), options)
    strip_tags(tree, "span", "a")
    convert(tree, options)
    tables_with_head = set()
    for row in tree.iter("tr"):
        parent = row.getparent()
        if parent not in tables_with_head and row.find("th") is not None:
            tables_with_head.add(parent)
            for cell in row.iterchildren("th"):
                cell.set("role", "head")
    for part in list(tree.iter("tr", "td", "th")):
        part.tag = "row" if part.tag == "tr" else "cell"
    strip_tags(tree, *({str(part.tag) for part in tree.iter("*")} - TEI_VALID_TAGS))
    join_pieces(tree)
    return Found(tree, " ".join(" ".join(tree.itertext()).split()))


def _least_to_win(found: Found, options: Extractor) -> int:
    """Returns the characters below which readability's article cannot be preferred."""
    n = len(found.text)
    if options.focus == "recall":
        least = (n if found.body.find(".//head") is None else int(1.5 * n)) + 1
    else:
        least = 2 * n + 1
    if _is_deficient(found.body):
        least = min(least, 2 * options.min_extracted_size + 1)
    return max(1, least)


def _wins(rival: Found, own: Found, options: Extractor) -> bool:
    """Returns whether readability's article is preferred."""
    n, n_rival = len(own.text), len(rival.text)
    if n_rival in (0, n) or n > 2 * n_rival:
        return False
    is_json = rival.text.startswith("{")
    if n == 0 or (n_rival > 2 * n and not is_json):
        return True
    if n_rival > 2 * options.min_extracted_size and _is_deficient(own.body):
        return True
    if options.focus != "recall":
        return False
    if n_rival > 1.5 * n and not is_json:
        return True
    has_heads = next(rival.body.iter("h2", "h3", "h4"), None) is not None
    return n_rival > n and has_heads and own.body.find(".//head") is None


def _is_deficient(body: _Element) -> bool:
    """Returns whether a body has no paragraphs with text, or more tables than paragraphs."""
    paragraphs = body.findall(".//p")
    has_text = any(next(p.itertext(), None) is not None for p in paragraphs)
    return not has_text or len(body.findall(".//table")) > len(paragraphs)
