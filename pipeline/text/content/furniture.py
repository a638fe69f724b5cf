"""What surrounds a page's text, and how it is told from the text.

The rules are trafilatura's (its patterns, its lists of elements, its limits of link density, from
the installed package); the passes over the tree are this project's, so that a page is walked a few
times instead of some hundred times:

- patterns over names and attributes go through `Marks`;
- all kinds of unwanted elements are found in one walk, not one per kind;
- link density is judged where there are links; the second round is left out when the first one
  found nothing to remove.

Deviation: trafilatura removes elements while it walks over them, so that after an unwanted element
inside another one of its kind it loses its way and keeps the ones that follow. Here they go too.
"""

from typing import Any

from lxml.etree import XPath, strip_tags
from lxml.html import HtmlElement
from trafilatura.htmlprocessing import (
    convert_tags,
    link_density_test,
    link_density_test_tables,
    recover_math,
)
from trafilatura.settings import (
    BASIC_CLEAN_XPATH,
    CUT_EMPTY_ELEMS,
    MANUALLY_CLEANED,
    MANUALLY_STRIPPED,
    Extractor,
)
from trafilatura.xpaths import (
    DISCARD_IMAGE_ELEMENTS,
    OVERALL_DISCARD_XPATH,
    PRECISION_DISCARD_XPATH,
    RAW_TREE_PRUNE_XPATH,
    REMOVE_COMMENTS_AND_LISTS_XPATH,
    REMOVE_COMMENTS_XPATH,
    TEASER_DISCARD_XPATH,
)

from pipeline.text.content.marks import Marks

_NAMED = "id class"
_BLOCKS = "div item list p section span"
_sections = Marks(
    [*OVERALL_DISCARD_XPATH, *DISCARD_IMAGE_ELEMENTS, *TEASER_DISCARD_XPATH],
    attributes=f"{_NAMED} role style data-lp-replacement-content data-component aria-hidden",
    tags=_BLOCKS,
)
_raw = Marks(
    [*RAW_TREE_PRUNE_XPATH, *REMOVE_COMMENTS_AND_LISTS_XPATH],
    attributes=_NAMED,
    tags="div section aside list details ol ul",
    only=True,
)
_converted_comments = Marks(
    REMOVE_COMMENTS_XPATH, attributes=_NAMED, tags="div list section details", only=True
)
_NOISE = ("aside", "fencedframe", "footer", "script", "style", "svg", "template")
_noise = Marks([BASIC_CLEAN_XPATH], attributes=_NAMED, tags="div " + " ".join(_NOISE))

_UNWANTED = tuple(tag for tag in MANUALLY_CLEANED if tag != "form")
_TABLES = ("table", "td", "th", "tr")
_empty = XPath("descendant::*[not(node())]")
_has_paragraph = XPath("boolean(descendant::p)")
_CONTAINERS = ("div", "li", "p", "table")
_uncontained = XPath(
    f"descendant::a[not({' or '.join(f'ancestor::{tag}' for tag in _CONTAINERS)})]"
)
_MANY_PIECES = 200
_in_pieces = XPath(f"descendant-or-self::*[not(*)][text()[{_MANY_PIECES}]]")
_LINKED = ("div", "list", "p")


def delete(element: HtmlElement, *, keep_tail: bool = True) -> None:
    """Removes an element and what is in it; the text after it stays, unless told otherwise."""
    parent = element.getparent()
    if parent is None:
        return
    if keep_tail and (tail := element.tail):
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + tail
        else:
            before.tail = (before.tail or "") + tail
    parent.remove(element)


def drop_additions(tree: HtmlElement, *, keep_comments: bool) -> None:
    """Removes appended articles, share buttons and readers' comments from a page as parsed."""
    found = _raw.found(tree)
    if any(marked.by[0] or marked.by[1] for marked in found):
        # one of the two also asks what is inside, so the expressions decide
        for expression in RAW_TREE_PRUNE_XPATH:
            for element in expression(tree):
                delete(element)
    if not keep_comments:
        for marked in found:
            if marked.by[2]:
                delete(marked.element)


def drop_converted_comments(tree: HtmlElement) -> None:
    """Removes what looks like comments only after conversion (precision)."""
    for marked in _converted_comments.found(tree):
        delete(marked.element)


def drop_sections(tree: HtmlElement) -> HtmlElement:
    """Removes all sections that are named like furniture (precision)."""
    for marked in _sections.found(tree):
        if marked.by[0] or marked.by[1]:
            delete(marked.element)
    return tree


def drop_noise(tree: HtmlElement) -> HtmlElement:
    """Removes scripts, footers and consent banners: all that the rival extractors want gone."""
    for element in [*tree.iterdescendants(*_NOISE), *(m.element for m in _noise.found(tree))]:
        delete(element)
    return tree


def clean(tree: HtmlElement, options: Extractor) -> HtmlElement:
    """Removes elements that never hold text of a page (navigation, forms, buttons, pictures)."""
    if next(tree.iter("math"), None) is not None:
        recover_math(tree)
    unwanted = _UNWANTED if options.tables else (*_UNWANTED, *_TABLES)
    if options.tables:
        _unwrap_layout_tables(tree)
    strip_tags(tree, MANUALLY_STRIPPED)
    if not (options.focus == "recall" and _would_lose_all(tree, unwanted)):
        for element in list(tree.iter(*unwanted)):
            delete(element)
    _clean_forms(tree)
    keep_tail = options.focus != "precision"
    for element in _empty(tree):
        if element.tag in CUT_EMPTY_ELEMS:
            delete(element, keep_tail=keep_tail)
    return tree


def _unwrap_layout_tables(tree: HtmlElement) -> None:
    for element in list(tree.iter("figure", "table")):
        if element.tag == "figure":
            is_layout = element.find(".//table") is not None
        else:
            is_layout = element.get("role") in ("presentation", "none")
        if is_layout:
            element.tag = "div"


def _would_lose_all(tree: HtmlElement, unwanted: tuple[str, ...]) -> bool:
    """Returns whether every paragraph of a page is inside an unwanted element."""
    return bool(_has_paragraph(tree)) and all(
        next(p.iterancestors(*unwanted), tree) is not tree for p in tree.iter("p")
    )


def _clean_forms(tree: HtmlElement) -> None:
    """Removes forms; one that holds most of the page's text is the page's frame and stays."""
    forms = list(tree.iter("form"))
    total = len(tree.text_content()) if forms else 0
    for form in forms:
        if total and len(form.text_content()) > total / 2:
            form.tag = "div"
        else:
            delete(form)


def convert(tree: HtmlElement, options: Extractor) -> HtmlElement:
    """Renames elements to the dozen kinds that trafilatura's handlers know."""
    if options.tables and tree.tag not in _CONTAINERS:
        loose = set(_uncontained(tree))
        for link in list(tree.iter("a")):
            if link not in loose:
                link.tag = "ref"
    return convert_tags(tree, options)


# ── within the part that holds the text ──────────────────────────────────────────────────────────


def prune(
    tree: HtmlElement, options: Extractor, *, tables: bool, keep_teasers: bool = False
) -> HtmlElement:
    """Removes sections of a converted tree that are named like furniture or full of links."""
    precision = options.focus == "precision"
    marked = _sections.found(tree)
    _drop_outer([m.element for m in marked if m.by[0] or m.by[1]], tree)
    with_teasers = options.focus != "recall" and not keep_teasers
    for element, by in marked:
        if by[2] or (by[3] and with_teasers):
            delete(element)
    if precision:
        for expression in PRECISION_DISCARD_XPATH:
            for element in expression(tree):
                delete(element)
    _prune_links(tree, _LINKED, precision=precision)
    if tables or precision:
        for table in [t for t in tree.iter("table") if link_density_test_tables(t)]:
            delete(table, keep_tail=False)
    if precision:
        while len(tree) > 0 and tree[-1].tag == "head":
            delete(tree[-1], keep_tail=False)
        around = _around_links(tree)
        _delete_linked(tree, "head", around, precision=True)
        _delete_linked(tree, "quote", around, precision=True)
        let_go(around)
    strip_tags(tree, "span", "ref")
    join_pieces(tree)
    return tree


def join_pieces(tree: HtmlElement) -> None:
    """Makes one text of the many that stripped tags leave behind.

    lxml takes quadratic time to read a text that consists of many: with 40,000 links in a paragraph
    4 CPU seconds at each reading. XPath reads it in linear time.
    """
    for element in _in_pieces(tree):
        element.text = element.text_content()


def _drop_outer(elements: list[HtmlElement], tree: HtmlElement) -> None:
    """Removes elements, unless hardly any text would be left."""
    marked = set(elements)
    outer = [e for e in elements if not any(a in marked for a in e.iterancestors())]
    if not outer:
        return
    total = len(tree.text_content())
    if total - sum(len(e.text_content()) for e in outer) > total / 7:
        for element in outer:
            delete(element)


def _prune_links(tree: HtmlElement, tags: tuple[str, ...], *, precision: bool) -> None:
    """Removes elements full of links, twice: the first round may uncover others."""
    around = _around_links(tree)
    for _ in range(2):
        n_deleted = sum(_delete_linked(tree, tag, around, precision=precision) for tag in tags)
        if not n_deleted:
            break
    let_go(around)


def _delete_linked(
    tree: HtmlElement, tag: str, around: dict[HtmlElement, None], *, precision: bool
) -> int:
    full = [e for e in tree.iter(tag) if e in around and _is_full_of_links(e, precision=precision)]
    for element in full:
        delete(element)
    return len(full)


def _around_links(tree: HtmlElement) -> dict[HtmlElement, None]:
    """Returns the elements that a link is in."""
    around: dict[HtmlElement, None] = {}
    for link in tree.iter("ref"):
        for ancestor in link.iterancestors():
            if ancestor in around:
                break
            around[ancestor] = None
    return around


def let_go(kept: dict[HtmlElement, Any]) -> None:
    """Empties a collection of elements, the last one first.

    When an element that was removed from its tree goes out of use, lxml looks from the beginning of
    the removed part for another one that is in use. In page order that is quadratic: 40,000 list
    items took 6 CPU seconds.
    """
    while kept:
        kept.popitem()


def _is_full_of_links(element: HtmlElement, *, precision: bool) -> bool:
    is_full, is_short = link_density_test(element, precision)
    if not is_full and is_short and element.tag == "div":
        most_chars, fewest_children = (200, 1) if precision else (100, 3)
        text = " ".join(element.text_content().split())
        is_full = len(element) >= fewest_children and len(text) < most_chars
    if is_full and element.tag == "p":
        # what a list item or a cell consists of is judged with the list or the table
        parent = element.getparent()
        return parent is None or parent.tag not in ("item", "td", "th")
    return is_full
