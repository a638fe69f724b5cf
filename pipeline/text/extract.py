"""WARC files to pages: what a page says, without what surrounds it.

Decisions:
- What a page says is a pure function (`pipeline.text.page`), run in a sandbox
  (`pipeline.text.sandbox`).
- A page that a limit of the sandbox ended twice is given to the plain extractor, under the same
  limits; only if that fails too, the page is dropped, with the first reason.
- One read of the WARC file decides which captures count (`pipeline.text.captures`), a second one
  extracts them, so that memory holds one page and the rows of one shard.
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
from pipeline.store.warc import Damage, Response, read_responses
from pipeline.text.captures import Capture, read_captures
from pipeline.text.page import Config, Page, extract
from pipeline.text.sandbox import Sandbox, lend

__all__ = ["Config", "Page", "extract", "make_shard", "run"]

_LIBRARIES = ("trafilatura", "lxml", "justext", "resiliparse", "FastWARC", "tldextract", "ada-url")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def run(inputs: Path, output: Path, config: Config, engine: Engine) -> dict[str, Any]:
    """Extracts every WARC file of a folder into one shard each.

    Args:
        inputs: Folder of WARC files with its manifest.
        output: Folder of pages.
        config: How pages become text.
        engine: Where tasks run.

    Returns:
        The stage's figures.
    """
    files = [path for path in manifest.load(inputs, "crawl").paths() if ".warc" in path.suffixes]
    step = Step(name="extract", code="pipeline.text.extract", config=config, libraries=_LIBRARIES)
    work = partial(make_shard, config=config)
    made = shard_map(step, [(path,) for path in files], work, output, engine)
    return {"counts": shards.counts_json(made.counts), **made.tally}


def make_shard(inputs: tuple[Path, ...], draft: ShardDraft, *, config: Config) -> None:
    """Extracts one WARC file into a shard, rows sorted by document id."""
    (path,) = inputs
    kept, superseded = read_captures(path)
    draft.count_in(len(kept) + len(superseded))
    for capture in superseded:
        draft.drop(capture.doc_id, Drop("superseded", f"captured {capture.warc_date}"))
    rows: list[dict[str, Any]] = []
    with lend("pipeline.text.page", asdict(config), config.limits) as worker:
        for place, response in enumerate(read_responses(path)):
            if isinstance(response, Damage):
                draft.count_in()
                draft.count_dropped("damaged_record")
            elif place in kept:
                capture = kept[place]
                page = _extract_in(worker, capture.url, response)
                if isinstance(page, Drop):
                    draft.drop(capture.doc_id, page)
                else:
                    rows.append(_row(page, capture, response))
    _finish(rows, draft)


def _finish(rows: list[dict[str, Any]], draft: ShardDraft) -> None:
    rows.sort(key=lambda row: str(row["doc_id"]))
    draft.count_out(len(rows))
    draft.tally("html_bytes", sum(row["html_bytes"] for row in rows))
    draft.tally("text_chars", sum(len(row["text"]) for row in rows))
    for row in rows:
        draft.tally(f"charset_from_{row['charset_source']}", 1)
        draft.tally(f"extractor_{row['extractor']}", 1)
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.PAGES))


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
