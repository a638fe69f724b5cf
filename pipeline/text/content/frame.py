"""The element that holds a page's text, and the text's parts in it.

trafilatura tries a list of patterns (`class="entry-content"`, `<article>`, `id="main"`), takes the
first element that fits one of them and yields text, and turns its parts into a small body of
paragraphs, heads, lists, quotes, code and tables. If that yields little, paragraphs from the whole
page are added. The handlers of the parts are trafilatura's own; what is around them is written so
that each element is looked at once.
"""

from collections.abc import Callable
from typing import NamedTuple

from lxml.etree import Element, XPath, _Element, strip_elements, strip_tags
from lxml.html import HtmlElement
from trafilatura.htmlprocessing import process_node
from trafilatura.main_extractor import REBUILT_BLOCKS, handle_textelem
from trafilatura.settings import (
    DEDUPE_SCAN_CAP,
    INLINE_FORMATTABLE,
    MIN_DUPLICATE_LENGTH,
    TAG_CATALOG,
    Extractor,
)
from trafilatura.utils import text_chars_test
from trafilatura.xpaths import BODY_XPATH

from pipeline.text.content.furniture import delete, prune
from pipeline.text.content.marks import Marks

_frames = Marks(
    BODY_XPATH,
    attributes="id class itemprop role",
    tags="article div main section",
    only=True,
)
_STRAY = "self::code or self::p or self::quote or self::table"
_CODE = "self::div[contains(@class, 'w3-code')]"
_stray = XPath(f"descendant::*[{_STRAY} or {_CODE}]")
_stray_block = XPath(f"descendant::*[{_STRAY} or self::div or self::lb or self::list]")
_INLINE = INLINE_FORMATTABLE | {"lb"}
_LEAVES = ("p", "head")
_TRAILING = ("head", "ref")
_BEGINNING = 80  # characters that hold a word, most often
_VERBATIM = ("code", "pre")


class Found(NamedTuple):
    """A body of text elements, and its text."""

    body: _Element
    text: str


def extract_frame(
    tree: HtmlElement, untouched: Callable[[], HtmlElement], options: Extractor
) -> Found:
    """Returns the text elements of a cleaned, converted page.

    Args:
        tree: The page; it is taken apart.
        untouched: Makes an equal page, for a second look.
        options: trafilatura's.
    """
    order = list(tree.iter())
    body, kinds = _main_pass(tree, options)
    text = text_of(body)
    if len(body) == 0 or len(text) < options.min_extracted_size:
        again = untouched()
        used = {twin for e, twin in zip(order, again.iter(), strict=True) if e.tag == "done"}
        _add_strays(again, body, used, kinds, options)
        text = text_of(body)
    _drop_repeats(body)
    _tidy(body)
    return Found(body, text)


def text_of(body: _Element) -> str:
    """Returns the text of a body, a space between its pieces."""
    return " ".join(body.itertext()).strip()


def _main_pass(tree: HtmlElement, options: Extractor) -> tuple[_Element, set[str]]:
    """Returns the parts of the first frame that has any, and the kinds that counted."""
    body = Element("body")
    kinds = set(TAG_CATALOG) | ({"table", "td", "th", "tr"} if options.tables else set())
    least = options.min_extracted_size * (1 if options.focus == "precision" else 3)
    marked = [(m.element, m.element.tag, m.by) for m in _frames.found(tree)]
    for pattern in range(len(BODY_XPATH)):
        frame = next((e for e, tag, by in marked if by[pattern] and _is_left(e, tag, tree)), None)
        if frame is None:
            continue
        prune(frame, options, tables="table" in kinds)
        if len(frame) == 0:
            continue
        if not _has_paragraphs(frame, least):
            kinds.add("div")
        start = len(body)
        lead = _take_parts(frame, body, kinds, options)
        while len(body) > 0 and body[-1].tag in _TRAILING:
            delete(body[-1], keep_tail=False)
        if sum(part.tag != "graphic" for part in body) > 1:
            if lead is not None:
                body.insert(start, lead)
            break
    return body, kinds


def _has_paragraphs(frame: HtmlElement, least: int) -> bool:
    """Returns whether the paragraphs of the whole page have so many characters."""
    n_chars = 0
    for paragraph in frame.getroottree().iter("p"):
        if next(paragraph.iterancestors("p"), None) is None:
            n_chars += len(paragraph.text_content())
            if n_chars >= least:
                return True
    return False


def _is_left(element: HtmlElement, tag: str, tree: HtmlElement) -> bool:
    """Returns whether an element is still in the page, not taken by a frame before."""
    return element.tag == tag and any(a is tree for a in element.iterancestors())


def _take_parts(
    frame: HtmlElement, body: _Element, kinds: set[str], options: Extractor
) -> _Element | None:
    """Appends a frame's parts to the body; returns the frame's own first words, if it has any."""
    parts = list(frame.iterdescendants("*"))
    tags = {part.tag for part in parts}
    if tags == {"lb"} or (frame.tag == "div" and "div" in kinds and tags <= _INLINE):
        parts, lead = [frame], None
    else:
        lead = _paragraph(frame.text, options)
    moved: set[_Element] = set()  # with an ancestor that became a part as it was
    for part in parts:
        if part in moved:
            continue
        tag, tail = part.tag, part.tail
        if tag in _LEAVES and len(part) == 0:
            made = process_node(part, options)
            if made is not None and tag == "head" and not text_chars_test(made.text):
                made = None
        else:
            made = handle_textelem(part, kinds, options)
        if made is not None:
            body.append(made)
            if made is part or part.getparent() is made:
                moved.update(part.iterdescendants("*"))
            else:
                part.tag = "done"
        if tag in REBUILT_BLOCKS and (made is None or made.tail is None):
            after = _paragraph(tail, options)
            if after is not None:
                body.append(after)
    return lead


def _paragraph(text: str | None, options: Extractor) -> _Element | None:
    if not text or text.isspace():
        return None
    paragraph = Element("p")
    paragraph.text = text
    return process_node(paragraph, options)


def _add_strays(
    tree: HtmlElement,
    body: _Element,
    used: set[_Element],
    kinds: set[str],
    options: Extractor,
) -> None:
    """Adds paragraphs, quotes, code and tables from anywhere in a page that the body lacks."""
    find = _stray
    if options.focus == "recall":
        kinds, find = kinds | {"div", "lb"}, _stray_block
    prune(tree, options, tables="table" in kinds, keep_teasers=options.fast)
    present = _Present(body)
    whole: set[_Element] = set()
    for stray in find(tree):
        if stray in used or (whole and any(a in whole for a in stray.iterancestors())):
            continue
        made = handle_textelem(stray, kinds, options)
        if made is None:
            continue
        if made is stray:
            whole.add(stray)
        if present.add(made):
            body.append(made)


class _Present:
    """The texts that a body has."""

    def __init__(self, body: _Element) -> None:
        texts = [_squeezed(part) for part in body]
        self._texts = set(texts)
        self._joined = "\n".join(filter(None, texts))  # a squeezed text has no line end

    def add(self, part: _Element) -> bool:
        """Takes note of a part; returns whether its text was not there before."""
        text = _squeezed(part)
        tail = part.tail
        with_tail = " ".join((text + tail).split()) if tail and not tail.isspace() else ""
        is_scanned = len(self._joined) <= DEDUPE_SCAN_CAP
        if text and (text in self._texts or (is_scanned and self._has(text, with_tail))):
            return False
        if is_scanned:
            self._joined += "\n" + (with_tail or text)
        self._texts.add(text)
        return True

    def _has(self, text: str, with_tail: str) -> bool:
        if len(text) > MIN_DUPLICATE_LENGTH and text in self._joined:
            return True
        return bool(with_tail) and with_tail in self._joined


def _squeezed(element: _Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _drop_repeats(body: _Element) -> None:
    """Removes parts of some length that say what the part before says."""
    before = ""
    for part in list(body):
        text = part.text or "" if len(part) == 0 else "".join(part.itertext())
        if _may_be_equal(text, before) and _are_equal(text, before):
            delete(part, keep_tail=False)
        else:
            before = text


def _may_be_equal(text: str, other: str) -> bool:
    """Returns whether two texts begin with the same word, blanks before it aside."""
    first, second = text[:_BEGINNING].split(None, 1), other[:_BEGINNING].split(None, 1)
    return len(first) < 2 or len(second) < 2 or first[0] == second[0]


def _are_equal(text: str, other: str) -> bool:
    words = text.split()
    return len(" ".join(words)) > MIN_DUPLICATE_LENGTH and words == other.split()


def _tidy(body: _Element) -> None:
    strip_elements(body, "done")
    strip_tags(body, "div")
    for line_end in body.iter("lb"):
        tail = line_end.tail
        if tail and tail.isspace() and next(line_end.iterancestors(*_VERBATIM), None) is None:
            line_end.tail = None
