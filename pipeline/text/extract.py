"""WARC files to pages: what a page says, without what surrounds it.

Decisions:
- What a page says is a pure function (`pipeline.text.page`), run in a sandbox
  (`pipeline.text.sandbox`).
- A page that a limit of the sandbox ended twice is given to the plain extractor, under the same
  limits; only if that fails too, the page is dropped, with the first reason.
- One read of the WARC file decides which captures count (`pipeline.text.captures`), a second one
  extracts them, so that memory holds one page and the rows of one shard.
- The crawl's files share no document. Files of the user may: then one more read of each finds, for
  all files together, the capture that counts (`pipeline.text.repeats`).
- WET records are text already and become pages as they are.
"""

import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import shard_map
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, records, shards, urls
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft
from pipeline.store.warc import Response, read_responses
from pipeline.text import captures, inputs, repeats
from pipeline.text.captures import Capture, Captures, read_captures
from pipeline.text.page import Config, Page, extract
from pipeline.text.sandbox import Sandbox, lend

__all__ = ["Config", "Page", "extract", "make_shard", "run"]

_LIBRARIES = ("trafilatura", "lxml", "justext", "resiliparse", "publicsuffixlist", "ada-url")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


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
    given = inputs.find(
        config.inputs, captures.is_archive, "extract.inputs", captures.FILES, engine
    )
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
    with lend("pipeline.text.page", asdict(config), config.limits) as worker:
        for place, response in enumerate(read_responses(path)):
            if place in kept and isinstance(response, Response):
                capture = kept[place]
                page = _page(worker, capture.url, response)
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
        draft.tally(f"extractor_{row['extractor']}", 1)
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.PAGES))


def _page(worker: Sandbox, url: str, response: Response) -> Page | Drop:
    """Returns what a capture says; a WET record holds nothing but that."""
    if response.kind != "conversion":
        return _extract_in(worker, url, response)
    try:
        text = response.body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        return Drop("not_utf8", f"byte {error.start}")
    headers = {name.lower(): value for name, value in response.http_headers}
    language = headers.get("content-language", "").partition(",")[0].strip() or None
    return Page(None, None, None, language, "utf-8", "wet", "wet", text) if text else Drop("empty")


def _extract_in(worker: Sandbox, url: str, response: Response) -> Page | Drop:
    """Asks the sandbox for one response's page."""
    if response.undecoded and not response.body:
        return Drop("undecodable", response.undecoded)
    headers = {name.lower(): value for name, value in response.http_headers}
    question = {"url": url, "headers": headers, "captured_on": _day(response.warc_date)}
    answer = worker.run(question, response.body)
    if isinstance(answer, Drop):
        again = worker.run({**question, "plain": True}, response.body)
        if isinstance(again, Drop) or "drop" in again:
            return answer
        answer = again
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
