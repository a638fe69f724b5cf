"""Which responses of a WARC file are documents, and which capture of a document counts.

A file of this project's crawl says which responses answer a link; in any other WARC file every
response with a 2xx status is a document of its own, identified by its address. Several captures of
one document: the latest `WARC-Date` counts, then the longest body, then the first in the file.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pipeline.store import records, urls
from pipeline.store.warc import Damage, Response, read_responses

_DOC_ID = re.compile(r"[0-9a-f]{16}")


class Capture(NamedTuple):
    """One captured document; `place` is its number among what `read_responses` yields."""

    doc_id: str
    url: str
    created_utc: int | None
    warc_date: str
    n_bytes: int
    place: int


class Captures(NamedTuple):
    """The documents of a file: the captures that count, by place, and the others."""

    kept: dict[int, Capture]
    superseded: list[Capture]


def read_captures(path: Path) -> Captures:
    """Reads a WARC file once and decides which of its responses are extracted."""
    found = [
        (_capture(response, place), response.link is not None)
        for place, response in enumerate(read_responses(path))
        if not isinstance(response, Damage) and 200 <= response.http_status < 300
    ]
    is_own = any(is_link for _, is_link in found)
    return choose(capture for capture, is_link in found if is_link or not is_own)


def offsets(path: Path) -> dict[str, int]:
    """Returns where each document's response record begins in a file, in bytes, by document id."""
    kept = read_captures(path).kept
    responses = enumerate(read_responses(path))
    return {kept[place].doc_id: found.offset for place, found in responses if place in kept}


def choose(captures: Iterable[Capture]) -> Captures:
    """Returns the captures of which the best of each document is kept."""
    best: dict[str, Capture] = {}
    superseded: list[Capture] = []
    for capture in captures:
        rival = best.get(capture.doc_id, capture)
        better, worse = sorted((capture, rival), key=_rank, reverse=True)
        best[capture.doc_id] = better
        if better is not worse:
            superseded.append(worse)
    return Captures({capture.place: capture for capture in best.values()}, superseded)


def _rank(capture: Capture) -> tuple[str, int, int]:
    return capture.warc_date, capture.n_bytes, -capture.place


def _capture(response: Response, place: int) -> Capture:
    url = response.link or response.url
    given = response.link_doc_id or ""
    return Capture(
        doc_id=given if _DOC_ID.fullmatch(given) else _doc_id(url, response.body),
        url=url,
        created_utc=response.link_created_utc,
        warc_date=response.warc_date,
        n_bytes=len(response.body),
        place=place,
    )


def _doc_id(url: str, body: bytes) -> str:
    """Returns the id of an address; a response without a usable one goes by its content."""
    parsed = urls.parse(url)
    key = urls.canonical_key(parsed) if parsed else hashlib.sha256(body).hexdigest()
    return records.doc_id(key)
