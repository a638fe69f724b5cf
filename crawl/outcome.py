"""What is written down of a link: its row of `data/fetches/` and its records in the WARC.

Decisions:
- Stored are the exchanges of the attempt that counts. The last one carries the link's fields if it
  answers the link: a whole answer of any status, or one that the server ended too early.
- A body that this crawl cut (`too_large`, `too_slow`, `deadline`, `timeout`) is stored with its
  mark and answers nothing; so is a page that stands in for another (`soft_404`, `consent_wall`,
  `captcha`). A page that refuses its use, or whose type is not wanted, is not stored; nor is what
  was seen of a link that is left for another run, which will see it again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from crawl import optout, walls
from crawl.fetch import Reply
from crawl.visit import Rules, Visit
from pipeline.store import content, records, warc
from pipeline.store.records import Drop
from pipeline.store.warc import Exchange, LinkFields

FETCHED = "fetched"
NOT_FETCHED = "not_fetched"

LEFT = ("deferred", "host_parked")  # for another run
_NOT_STORED = ("opt_out", "content_type", *LEFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link to fetch."""

    doc_id: str
    url: str
    host: str
    created_utc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The attempt at a link that counts.

    `number` counts from 1; `captured_at` is the WARC-Date of its records, "" the real time; `crawl`
    distinguishes their ids from those of other crawls.
    """

    link: Link
    visit: Visit
    number: int
    captured_at: str
    crawl: str


def settle(
    attempt: Attempt, rules: Rules, max_decoded_bytes: int
) -> tuple[dict[str, Any], list[warc.Encoded]]:
    """Returns a link's row and the records to store.

    Args:
        attempt: What came of it.
        rules: For the opt-outs that are obeyed.
        max_decoded_bytes: Longest page without its Content-Encoding.
    """
    visit, link = attempt.visit, attempt.link
    last = visit.replies[-1] if visit.replies else None
    drop = visit.drop
    if drop is None and last is not None:
        drop = _judge_answer(visit, last, rules, max_decoded_bytes)
    outcome = drop.reason if drop is not None else FETCHED
    answers = outcome == FETCHED or outcome.startswith("http_")
    fields = LinkFields(url=link.url, doc_id=link.doc_id, created_utc=link.created_utc)
    stored = visit.replies if outcome not in _NOT_STORED else []
    encoded = [
        warc.encode_exchange(
            _exchange(reply, attempt.captured_at or warc_date(reply.began_utc)),
            f"{attempt.crawl} {link.doc_id} {number}",
            fields if answers and reply is last else None,
        )
        for number, reply in enumerate(stored)
    ]
    return _row(attempt, last, Drop(outcome, drop.detail if drop is not None else "")), encoded


def unfetched(link: Link) -> dict[str, Any]:
    """Returns the row of a link that a crawl without a source leaves alone."""
    row: dict[str, Any] = dict.fromkeys(records.FETCHES.names)
    told = {"doc_id": link.doc_id, "url": link.url, "host": link.host, "outcome": NOT_FETCHED}
    numbers = dict.fromkeys(("n_redirects", "wire_bytes", "attempts"), 0)
    return row | told | numbers | {"opt_outs": [], "detail": "crawl.source is none"}


def warc_date(utc: float) -> str:
    """Returns seconds since 1970 in the form of WARC-Date.

    >>> warc_date(1512086400.9)
    '2017-12-01T00:00:00Z'
    """
    return _date(int(utc))


@lru_cache(maxsize=256)
def _date(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _judge_answer(visit: Visit, last: Reply, rules: Rules, max_decoded_bytes: int) -> Drop | None:
    """Returns what speaks against a whole answer: its status, its size, its `<meta>`, its text."""
    if not 200 <= last.status < 300:
        return Drop(f"http_{last.status}")
    encoding = last.header("content-encoding") or ""
    decoded = content.decode(bytes(last.body), encoding, max_decoded_bytes)
    if decoded.exceeded:
        return Drop("too_large", f"over {max_decoded_bytes} bytes decoded")
    visit.opt_outs += optout.in_html(decoded.body[: optout.HEAD_BYTES], rules.product)
    if refused := optout.refusal(visit.opt_outs, rules.enforced_opt_outs):
        return Drop("opt_out", refused)
    link = visit.replies[0].url
    return walls.judge(walls.Answer(link, last.url, last.header_pairs(), decoded.body))


def _exchange(reply: Reply, date: str) -> Exchange:
    return Exchange(
        url=reply.url,
        date=date,
        address=reply.address,
        request=reply.request,
        status_line=reply.status_line,
        headers=reply.headers,
        body=bytes(reply.body),
        truncated=reply.truncated,
        source=reply.source,
    )


def _row(attempt: Attempt, last: Reply | None, outcome: Drop) -> dict[str, Any]:
    link, visit = attempt.link, attempt.visit
    return {
        "doc_id": link.doc_id,
        "url": link.url,
        "host": link.host,
        "outcome": outcome.reason,
        "http_status": last.status if last else None,
        "final_url": last.url if last else None,
        "n_redirects": max(0, len(visit.replies) - 1),
        "content_type": last.header("content-type") if last else None,
        "wire_bytes": len(last.body) if last else 0,
        "truncated": (last.truncated or None) if last else None,
        "opt_outs": sorted(set(visit.opt_outs)),
        "attempts": attempt.number,
        "address": (last.address or None) if last else None,
        "detail": outcome.detail,
    }
