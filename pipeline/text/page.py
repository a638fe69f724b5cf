"""One page: its text, and what it says about itself. Runs in the sandbox.

Decisions:
- `extract` is a pure function of the page, its address, its headers and its capture date: no
  deduplication inside trafilatura (a process-wide cache, so that a page's text depends on the pages
  before it), no clock, no guessing of dates from prose.
- Hostile pages are extracted like others. What made trafilatura quadratic is gone
  (`furniture`, `frame`, `readability`, `paragraphs`); nesting that libxml2 would cut off is made
  flat, as browsers do it; attributes by the thousand are left out.
- A page that is still too much (`max_elements`, or a limit of the sandbox) gets the text that
  resiliparse finds, in linear time and C; the column `extractor` says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lxml.etree import XPath
from lxml.html import HtmlElement

from pipeline.store.config import require
from pipeline.store.records import Drop
from pipeline.text import charset
from pipeline.text.content.cascade import Wanted, main_text
from pipeline.text.content.parse import parse_page
from pipeline.text.content.plain import plain_text
from pipeline.text.declared import UNDECLARED, declared
from pipeline.text.sandbox import Handler, Limits, serve

_SNIFFED_BYTES = 2048
_MAX_CONTROL_FRAC = 0.02
_CONTROL = bytes(i for i in range(32) if i not in b"\t\n\f\r\x1b")
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_HTML_TYPES = ("", "text/html", "application/xhtml+xml", "application/xml", "text/xml")
_n_elements = XPath("count(//*)")
_permalinks = XPath(
    "//a[starts-with(@href, '#')][string-length(normalize-space()) <= 1]"
    "[ancestor::*[self::h1|self::h2|self::h3|self::h4|self::h5|self::h6|self::dt]]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How pages become text.

    Attributes:
        inputs: Folders and files of the user's own archives, beside the crawl's.
        focus: What trafilatura prefers in doubt: less text that is right, or more text.
        fast: Leave out trafilatura's comparison with two other extractors.
        tables: Keep the text of tables.
        comments: Keep readers' comments.
        max_html_bytes: A longer page is dropped.
        max_elements: A page with more elements gets the plain extractor.
        limits: What one page may use in the sandbox.
    """

    inputs: tuple[str, ...]
    focus: Literal["balanced", "precision", "recall"]
    fast: bool
    tables: bool
    comments: bool
    max_html_bytes: int
    max_elements: int
    limits: Limits

    def __post_init__(self) -> None:
        for name in ("max_html_bytes", "max_elements"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")


class Page(NamedTuple):
    """What was found in a page."""

    title: str | None
    author: str | None
    published_on: str | None
    language_hint: str | None
    charset: str
    charset_source: str
    extractor: str
    text: str


def extract(
    html: bytes,
    url: str,
    headers: Mapping[str, str],
    captured_on: str,
    config: Config,
    *,
    plain: bool = False,
) -> Page | Drop:
    """Returns what a page says, or why it says nothing.

    Args:
        html: The page as captured, content encoding undone.
        url: Its address; a day in the path (`/2016/11/08/`) counts where the page names none.
        headers: HTTP headers, names in lower case.
        captured_on: YYYY-MM-DD; no page is published later.
        config: How pages become text.
        plain: Use the plain extractor only, not even libxml2 (the page was too much before).
    """
    content_type = headers.get("content-type", "")
    if drop := _reject(html, content_type, config):
        return drop
    decoded = charset.decode(html, content_type)
    tree = None if plain else parse_page(decoded.text)
    if tree is None and not plain:
        return Drop("not_html", "no HTML structure")
    told = UNDECLARED
    if tree is not None:
        told = declared(tree, headers.get("content-language", ""), url, captured_on)
    if tree is None or _n_elements(tree) > config.max_elements:
        extractor, text = "resiliparse", plain_text(decoded.text, comments=config.comments)
    else:
        extractor, text = "trafilatura", _main_text(tree, config)
    if not text:
        return Drop("empty")
    return Page(*told, decoded.charset, decoded.source, extractor, text)


def _reject(html: bytes, content_type: str, config: Config) -> Drop | None:
    """Returns why a body is not even parsed."""
    mime = content_type.partition(";")[0].strip().lower()
    if mime not in _HTML_TYPES:
        return Drop("not_html", mime[:80])
    if len(html) > config.max_html_bytes:
        return Drop("too_large", f"{len(html)} bytes")
    if not html.strip():
        return Drop("empty", "no content")
    head = html[:_SNIFFED_BYTES]
    n_control = len(head) - len(head.translate(None, _CONTROL))
    if n_control > _MAX_CONTROL_FRAC * len(head) and not head.startswith(_UTF16_BOMS):
        return Drop("not_html", "binary content")
    return None


def _main_text(tree: HtmlElement, config: Config) -> str:
    for link in _permalinks(tree):
        link.drop_tree()  # the sign beside a heading that links to the heading itself
    return main_text(tree, Wanted(config.focus, config.fast, config.tables, config.comments))


def _answerer(setup: dict[str, Any]) -> Handler:
    """Builds the sandbox's handler from the configuration that the task sent."""
    config = Config(**{**setup, "limits": Limits(**setup["limits"])})

    def answer(question: dict[str, Any], html: bytes) -> dict[str, Any]:
        page = extract(html, config=config, **question)
        return {"drop" if isinstance(page, Drop) else "page": list(page)}

    return answer


if __name__ == "__main__":
    serve(_answerer)
