"""The main text of a parsed page: trafilatura's cascade, walked with as few steps as give its text.

    clean, convert -> frame -> readability, where it could win -> justext, where the frame is
    doubtful -> everything, where there is next to nothing -> once more in recall mode, where the
    text covers little of the page

Each stage takes over only where the one before under-delivers, and what decides that is often
cheaper than the stage: readability wins only with over twice the text, so it need not run on a page
whose whole text is not twice the frame's.
"""

from copy import copy
from functools import cache
from typing import Literal, NamedTuple

from lxml.etree import XPath
from lxml.html import HtmlElement
from trafilatura.baseline import _BLOCK_ELEMS, baseline, html2txt
from trafilatura.core import (
    ESCALATION_ACCEPT_RATIO,
    ESCALATION_JUSTEXT_RATIO,
    ESCALATION_MAX_LENGTH,
    ESCALATION_PAGE_SHARE,
    _forum_thread_page,
    bare_extraction,
)
from trafilatura.settings import DEFAULT_CONFIG, Document, Extractor

from pipeline.text.content.frame import Found, extract_frame
from pipeline.text.content.furniture import (
    clean,
    convert,
    drop_additions,
    drop_converted_comments,
    drop_noise,
)
from pipeline.text.content.readability import squeezed_chars
from pipeline.text.content.render import render
from pipeline.text.content.rivals import NOTHING, Rivals, prose

_n_elements = XPath("count(//*)")

Focus = Literal["balanced", "precision", "recall"]


class Wanted(NamedTuple):
    """What counts as main text."""

    focus: Focus
    fast: bool
    tables: bool
    comments: bool


def main_text(tree: HtmlElement, wanted: Wanted) -> str:
    """Returns the text of a page's main content, paragraphs separated by line ends.

    Args:
        tree: The parsed page; it is changed.
        wanted: What counts as main text.
    """
    options = _options(wanted)
    if wanted.comments:
        return _with_comments(tree, options)
    return render(_main_part(tree, options).body)


def _with_comments(tree: HtmlElement, options: Extractor) -> str:
    """Returns the text and the readers' comments after it, by trafilatura's own way."""
    document = bare_extraction(tree, options=options)
    if not isinstance(document, Document):
        return ""
    return "\n".join(filter(None, (document.text, document.comments)))


@cache
def _options(wanted: Wanted) -> Extractor:
    return Extractor(
        config=DEFAULT_CONFIG,
        output_format="python",
        fast=wanted.fast,
        precision=wanted.focus == "precision",
        recall=wanted.focus == "recall",
        comments=wanted.comments,
        tables=wanted.tables,
        dedup=False,
        date_params={"max_date": "1970-01-01"},  # unused; without it the extractor asks the clock
    )


def _main_part(tree: HtmlElement, options: Extractor) -> Found:
    is_thread = _forum_thread_page(tree)
    drop_additions(tree, keep_comments=is_thread and options.focus != "precision")
    cleaned = clean(copy(tree), options)
    others = Rivals(tree, cleaned)
    drop_comments = options.focus == "precision" and not is_thread
    found = _attempt(cleaned, others, options, drop_comments=drop_comments)
    if len(found.text) < options.min_extracted_size and options.focus != "precision":
        body, text, n_chars = baseline(tree)
        if n_chars > len(found.text):
            found = Found(body, text)
    if options.focus == "balanced" and 0 < len(found.text) < ESCALATION_MAX_LENGTH:
        # the page's full measure counts a blank at each end of a block
        most_chars = others.max_raw_chars + 2 * int(_n_elements(tree))
        is_most = len(found.text) >= ESCALATION_PAGE_SHARE * most_chars
        if not is_most and _is_little(len(found.text), quiet := copy(tree)):
            return _escalated(tree, quiet, cleaned, others, found, options)
    return found


def _is_little(n_chars: int, page: HtmlElement) -> bool:
    """Returns whether so much text is a small share of a page's; noise is removed from the page."""
    body = page.find(".//body")
    body = drop_noise(page if body is None else body)
    n_at_least = squeezed_chars(body)
    if n_chars < ESCALATION_PAGE_SHARE * n_at_least:
        return True
    n_at_most = n_at_least + 2 * sum(1 for _ in body.iter(*_BLOCK_ELEMS))
    if n_chars >= ESCALATION_PAGE_SHARE * n_at_most:
        return False
    return n_chars < ESCALATION_PAGE_SHARE * len(html2txt(body, clean=False))


def _attempt(
    cleaned: HtmlElement, others: Rivals, options: Extractor, *, drop_comments: bool
) -> Found:
    """Returns what the frame has, or what one of the other extractors finds."""

    def converted() -> HtmlElement:
        tree = convert(copy(cleaned), options)
        if drop_comments:
            drop_converted_comments(tree)
        return tree

    found = extract_frame(converted(), converted, options)
    return found if options.fast else others.better(found, options)


def _escalated(
    tree: HtmlElement,
    quiet: HtmlElement,
    cleaned: HtmlElement,
    others: Rivals,
    found: Found,
    options: Extractor,
) -> Found:
    """Returns what recall mode or jusText finds in the whole page, if it is clearly more."""
    eager = _options(Wanted("recall", options.fast, options.tables, comments=False))
    if tree.find(".//p") is not None and cleaned.find(".//p") is None:
        cleaned = clean(copy(tree), eager)  # recall mode takes back what removes every paragraph
        others = Rivals(tree, cleaned)
    again = _attempt(cleaned, others, eager, drop_comments=False)
    spread = NOTHING if options.fast else prose(drop_noise(quiet))
    n, n_again, n_spread = len(found.text), len(again.text), len(spread.text)
    if n_spread > n_again and n_spread > ESCALATION_JUSTEXT_RATIO * n:
        return spread
    if n_again >= options.min_extracted_size and n_again > ESCALATION_ACCEPT_RATIO * n:
        return again
    return found
