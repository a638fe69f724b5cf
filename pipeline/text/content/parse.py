"""Markup to a tree.

libxml2 through lxml, as trafilatura uses it, with elements whose class is fixed in C: with the
package's own parser every element that Python touches costs a call into Python (a seventh of all
time). Comments and processing instructions are left out.
"""

from lxml.etree import ElementDefaultClassLookup, ErrorTypes, HTMLParser, LxmlError, XPath
from lxml.html import HtmlElement, fromstring
from trafilatura.utils import repair_faulty_html

from pipeline.text.content.flatten import flat, lean

_parser = HTMLParser(
    collect_ids=False,
    default_doctype=False,
    encoding="utf-8",
    remove_comments=True,
    remove_pis=True,
)
_parser.set_element_class_lookup(ElementDefaultClassLookup(element=HtmlElement))
_HEAD_CHARS = 50  # in which a document says what it is
_MAX_DEPTH = 250  # libxml2 stops reading at 256
_is_too_deep = XPath(f"boolean({'/*' * (_MAX_DEPTH + 1)})")


def parse_page(text: str) -> HtmlElement | None:
    """Returns the tree of a page, None for a text that is no HTML.

    A text that does not begin like HTML must have at least two elements on its top level.
    """
    beginning = text[:_HEAD_CHARS].lower()
    text = repair_faulty_html(lean(text), beginning)
    tree = parse_part(text)
    if tree is not None and _is_too_deep(tree):
        tree = parse_part(flat(text))
    if tree is not None and "html" not in beginning and len(tree) < 2:
        return None
    return tree


def parse_part(markup: str) -> HtmlElement | None:
    """Returns the tree of some markup, None if there is nothing in it.

    Raises:
        MemoryError: If libxml2 had too little; lxml calls that a syntax error.
    """
    try:
        return fromstring(markup.encode("utf-8", "surrogatepass"), parser=_parser)
    except LxmlError as error:
        if getattr(error, "code", None) == ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error
        return None
