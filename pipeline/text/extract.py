"""WARC files to pages: what a page says, without what surrounds it.

Decisions:
- `extract` is a pure function of the page, its headers and its capture date: no deduplication
  inside trafilatura (a process-wide cache, so that a page's text depends on the pages before it),
  no clock, no guessing of dates from prose.
- It runs in a sandbox (`pipeline.text.sandbox`); element counts are limited before that, since the
  extractor is quadratic in the number of inline siblings: 5,000 `<a>` in one paragraph take 1.6
  CPU seconds, 10,000 take 36.
- One read of the WARC file decides which captures count (`pipeline.text.captures`), a second one
  extracts them, so that memory holds one page and the rows of one shard.
- The crawl's files share no document. Files of the user may: then one more read of each finds, for
  all files together, the capture that counts (`pipeline.text.repeats`).
- WET records are text already and become pages as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from lxml.etree import XPath
from lxml.html import HtmlElement
from trafilatura.core import bare_extraction
from trafilatura.settings import DEFAULT_CONFIG, Document, Extractor
from trafilatura.utils import load_html

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import shard_map
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards, urls
from pipeline.store.config import require
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft
from pipeline.store.warc import Response, read_responses
from pipeline.text import captures, charset, inputs, repeats
from pipeline.text.captures import Capture, Captures, read_captures
from pipeline.text.declared import declared
from pipeline.text.sandbox import Handler, Limits, Sandbox, lend, serve

_LIBRARIES = ("trafilatura", "lxml", "justext", "resiliparse", "tldextract", "ada-url")
_MAX_DEPTH = 250  # libxml2 stops reading at 256
_SNIFFED_BYTES = 2048
_MAX_CONTROL_FRAC = 0.02

_CONTROL = bytes(i for i in range(32) if i not in b"\t\n\f\r\x1b")
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_HTML_TYPES = ("", "text/html", "application/xhtml+xml", "application/xml", "text/xml")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

# Elements that libxml2 and trafilatura handle in linear time, however many of them stand in a row.
_BLOCKS = "p|div|br|li|tr|td|th|dt|dd|h1|h2|h3|h4|h5|h6|table|section|article|img|hr|pre"
_n_elements = XPath("count(//*)")
_too_deep = XPath(f"boolean({'/*' * (_MAX_DEPTH + 1)})")
_permalinks = XPath(
    "//a[starts-with(@href, '#')][string-length(normalize-space()) <= 1]"
    "[ancestor::*[self::h1|self::h2|self::h3|self::h4|self::h5|self::h6|self::dt]]"
)
_siblings_exceed = XPath(f"boolean(//*[count(*) - count({_BLOCKS}) > $limit])")


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
        max_elements: A page with more elements is dropped.
        max_inline_siblings: A page with more inline elements in one parent is dropped.
        limits: What one page may use in the sandbox.
    """

    inputs: tuple[str, ...]
    focus: Literal["balanced", "precision", "recall"]
    fast: bool
    tables: bool
    comments: bool
    max_html_bytes: int
    max_elements: int
    max_inline_siblings: int
    limits: Limits

    def __post_init__(self) -> None:
        for name in ("max_html_bytes", "max_elements", "max_inline_siblings"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")


class Page(NamedTuple):
    """What was found in a page."""

    title: str | None
    author: str | None
    published_on: str | None
    language_hint: str | None
    charset: str
    charset_source: str
    text: str


def run(crawled: Path, output: Path, config: Config, engine: Engine) -> dict[str, Any]:
    """Extracts every archive into one shard: the crawl's by partition, then the user's.

    Args:
        crawled: Folder of WARC files with its manifest.
        output: Folder of pages.
        config: How pages become text.
        engine: Where tasks run.

    Returns:
        The stage's figures; `entered` counts what no crawl of this project let go.
    """
    own = [p for p in manifest.load(crawled, "crawl").paths() if ".warc" in p.suffixes]
    given = inputs.find(config.inputs, captures.is_archive, "extract.inputs", captures.FILES)
    files = [*own, *(each.path for each in given)]
    told = {name: value for name, value in asdict(config).items() if name != "inputs"}
    step = Step(name="extract", code="pipeline.text.extract", config=told, libraries=_LIBRARIES)
    work = partial(make_shard, config=config)
    tasks = _tasks(files, engine) if given else [(path,) for path in own]
    made = shard_map(step, tasks, work, output, engine)
    return {"counts": shards.counts_json(made.counts), **made.tally}


def _tasks(files: list[Path], engine: Engine) -> list[tuple[Path, ...]]:
    """Returns each file with what says which of its captures another file supersedes."""
    lost = repeats.lost("extract", captures.__name__, files, captures.keys, len(files), engine)
    return [(path, *others) for path, others in zip(files, lost, strict=True)]


def make_shard(inputs: tuple[Path, ...], draft: ShardDraft, *, config: Config) -> None:
    """Extracts one archive into a shard, rows sorted by document id."""
    path, *lost = inputs
    found = read_captures(path)
    kept = _drop_others(found, repeats.read(lost), path, draft)
    rows: list[dict[str, Any]] = []
    with lend("pipeline.text.extract", asdict(config), config.limits) as worker:
        for place, response in enumerate(read_responses(path)):
            if place in kept and isinstance(response, Response):
                capture, page = kept[place], _page(worker, response)
                if isinstance(page, Drop):
                    draft.drop(capture.doc_id, page)
                else:
                    rows.append(_row(page, capture, response))
    _finish(rows, draft)


def _drop_others(
    found: Captures, lost: set[int], path: Path, draft: ShardDraft
) -> dict[int, Capture]:
    """Counts what a file holds and returns the captures that are extracted."""
    n_in = len(found.kept) + len(found.superseded) + len(found.damages)
    draft.count_in(n_in)
    draft.tally("entered", 0 if found.is_own else n_in)
    for kind, n in found.kinds.items():
        draft.tally(f"records_{kind}", n)
    for capture in [*found.superseded, *(found.kept[place] for place in sorted(lost))]:
        draft.drop(capture.doc_id, Drop("superseded", f"captured {capture.warc_date}"))
    digest = shards.sha256_file(path) if found.damages else ""
    for damage in found.damages:
        told = f"bytes {damage.offset} to {damage.end}: {damage.reason}"
        draft.drop(records.doc_id(f"{digest} {damage.offset}"), Drop("damaged_record", told))
    return {place: capture for place, capture in found.kept.items() if place not in lost}


def _finish(rows: list[dict[str, Any]], draft: ShardDraft) -> None:
    rows.sort(key=lambda row: str(row["doc_id"]))
    draft.count_out(len(rows))
    draft.tally("html_bytes", sum(row["html_bytes"] for row in rows))
    draft.tally("text_chars", sum(len(row["text"]) for row in rows))
    for row in rows:
        draft.tally(f"charset_from_{row['charset_source']}", 1)
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.PAGES))


def _page(worker: Sandbox, response: Response) -> Page | Drop:
    """Returns what a capture says; a WET record holds nothing but that."""
    if response.kind != "conversion":
        return _extract_in(worker, response)
    try:
        text = response.body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        return Drop("not_utf8", f"byte {error.start}")
    headers = {name.lower(): value for name, value in response.http_headers}
    language = headers.get("content-language", "").partition(",")[0].strip() or None
    return Page(None, None, None, language, "utf-8", "wet", text) if text else Drop("empty")


def _extract_in(worker: Sandbox, response: Response) -> Page | Drop:
    """Asks the sandbox for one response's page."""
    if response.undecoded and not response.body:
        return Drop("undecodable", response.undecoded)
    headers = {name.lower(): value for name, value in response.http_headers}
    question = {"headers": headers, "captured_on": _day(response.warc_date)}
    answer = worker.run(question, response.body)
    if isinstance(answer, Drop):
        return answer
    return Drop(*answer["drop"]) if "drop" in answer else Page(*answer["page"])


def _row(page: Page, capture: Capture, response: Response) -> dict[str, Any]:
    parsed = urls.parse(capture.url)
    host = parsed.host if parsed else ""
    return {
        "doc_id": capture.doc_id,
        "url": capture.url,
        "host": host,
        "domain": urls.registered_domain(host),
        "created_utc": capture.created_utc,
        "captured_on": _day(response.warc_date),
        "html_bytes": len(response.body),
        **page._asdict(),
    }


def _day(warc_date: str) -> str:
    """Returns the day of a `WARC-Date`, "" when it is no date."""
    found = _DATE.match(warc_date)
    return found[0] if found else ""


# ── what runs in the sandbox ─────────────────────────────────────────────────────────────────────


def extract(
    html: bytes, headers: Mapping[str, str], captured_on: str, config: Config
) -> Page | Drop:
    """Returns what a page says, or why it says nothing.

    Args:
        html: The page as captured, content encoding undone.
        headers: HTTP headers, names in lower case.
        captured_on: YYYY-MM-DD; no page is published later.
        config: How pages become text.
    """
    content_type = headers.get("content-type", "")
    if drop := _reject(html, content_type, config):
        return drop
    decoded = charset.decode(html, content_type)
    tree = load_html(decoded.text)
    if tree is None:
        return Drop("not_html", "no HTML structure")
    if drop := _too_complex(tree, config):
        return drop
    told = declared(tree, headers.get("content-language", ""), captured_on)
    _drop_permalinks(tree)
    text = _main_text(tree, config)
    if not text:
        return Drop("empty")
    return Page(*told, decoded.charset, decoded.source, text)


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


def _too_complex(tree: HtmlElement, config: Config) -> Drop | None:
    """Returns why a parsed page is not given to the extractor."""
    n_elements = int(_n_elements(tree))
    if n_elements > config.max_elements:
        return Drop("too_many_elements", f"{n_elements} elements")
    limit = config.max_inline_siblings
    if n_elements > limit and _siblings_exceed(tree, limit=limit):
        return Drop("too_many_elements", f"over {limit} inline siblings")
    if _too_deep(tree):
        return Drop("too_deep", f"over {_MAX_DEPTH} levels")
    return None


def _drop_permalinks(tree: HtmlElement) -> None:
    """Removes the `¶` and `#` beside headings, which link to the headings themselves."""
    for link in _permalinks(tree):
        link.drop_tree()


def _main_text(tree: HtmlElement, config: Config) -> str:
    """Returns the text of a page's main content, paragraphs separated by line ends."""
    options = Extractor(
        config=DEFAULT_CONFIG,
        output_format="python",
        fast=config.fast,
        precision=config.focus == "precision",
        recall=config.focus == "recall",
        comments=config.comments,
        tables=config.tables,
        dedup=False,
        date_params={"max_date": "1970-01-01"},  # unused; without it the extractor asks the clock
    )
    document = bare_extraction(tree, options=options)
    if not isinstance(document, Document):
        return ""
    return "\n".join(filter(None, (document.text, document.comments)))


def _answerer(setup: dict[str, Any]) -> Handler:
    """Builds the sandbox's handler from the configuration that the task sent."""
    config = Config(**{**setup, "limits": Limits(**setup["limits"])})

    def answer(question: dict[str, Any], html: bytes) -> dict[str, Any]:
        page = extract(html, question["headers"], question["captured_on"], config)
        return {"drop" if isinstance(page, Drop) else "page": list(page)}

    return answer


if __name__ == "__main__":
    serve(_answerer)
