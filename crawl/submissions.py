"""What users of the embedded default submitted: lines of a Reddit dump in Pushshift's fields.

Every link is submitted one to three times; the rest of the dump is what a real one is full of: self
posts, posts taken back, posts marked as adult, lines that are broken.
"""

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

import zstandard

from crawl.draws import between, draw, pick, shuffled
from crawl.web import Link

MIN_SCORE = 3  # Paper: GPT-2, section 2.1
_FIRST_UTC, _LAST_UTC = 1_509_494_400, 1_512_086_399  # November 2017
_RETRIEVED_UTC = 1_514_764_800
_FIRST_ID = 450_000_000
_SUBREDDITS = (
    "programming", "python", "learnpython", "MachineLearning", "compsci", "datascience", "linux",
    "coding", "technology", "webdev", "math", "statistics", "opensource", "todayilearned",
)  # fmt: skip
_USERS = ("kestrel_9", "mossgreen", "tin_whistle", "0xfade", "paperboat", "lateshift", "quokka_dev")
_QUESTIONS = (
    "What are you reading this week?",
    "Is it worth learning this in 2017?",
    "I finally finished my first project",
    "How do you keep your notes in order?",
    "Weekly questions thread",
)
_SELF_TEXT = "I have been thinking about this for a while and would like to hear what you do."
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

# One in so many links is also the subject of such a line.
_EVERY = {"deleted": 40, "adult": 60, "broken": 150, "not_utf8": 300, "keyless": 120}
_SELF_POSTS_PER_LINK = 0.15


def dump(links: Sequence[Link], seed: int) -> tuple[bytes, int]:
    """Returns a whole dump, compressed, and its number of lines.

    Args:
        links: What was submitted.
        seed: Of scores, times and the order of lines.
    """
    lines = shuffled(
        [*_good(links, seed), *_self_posts(links, seed), *_bad(links, seed)], seed, "dump"
    )
    text = b"".join(line + b"\n" for line in lines)
    return zstandard.ZstdCompressor(level=10, write_checksum=True).compress(text), len(lines)


def _good(links: Sequence[Link], seed: int) -> Iterator[bytes]:
    """Yields one to three submissions per link, one of them with the karma that it takes."""
    for number, link in enumerate(links):
        times = between(1, 5, seed, "times", link.url)
        for time in range(max(1, times - 2)):
            post = _post(link, seed, 4 * number + time)
            if time and draw(seed, "again", link.url, time) % 2:
                post["score"] = between(0, MIN_SCORE - 1, seed, "later", link.url)
            yield _line(post)


def _post(link: Link, seed: int, number: int) -> dict[str, Any]:
    """Returns one link post as Pushshift describes it; `number` makes its id."""
    name = _base36(_FIRST_ID + number)
    subreddit = pick(_SUBREDDITS, seed, "subreddit", number)
    created = between(_FIRST_UTC, _LAST_UTC, seed, "created", number)
    most = 10 ** between(1, 4, seed, "hot", number)
    score = MIN_SCORE + draw(seed, "score", number) % most
    if link.low:
        score = between(0, MIN_SCORE - 1, seed, "low", number)
    slug = "_".join(link.title.lower().split()[:6])
    return {
        "archived": False,
        "author": pick(_USERS, seed, "user", number),
        "created_utc": str(created) if draw(seed, "text", number) % 10 == 0 else created,
        "domain": urlsplit(link.url).netloc,
        "edited": False,
        "gilded": 0,
        "hidden": False,
        "id": name,
        "is_self": False,
        "link_flair_text": None,
        "locked": False,
        "media": None,
        "num_comments": between(0, 120, seed, "comments", number),
        "over_18": False,
        "permalink": f"/r/{subreddit}/comments/{name}/{slug}/",
        "retrieved_on": _RETRIEVED_UTC,
        "score": score,
        "selftext": "",
        "spoiler": False,
        "stickied": False,
        "subreddit": subreddit,
        "subreddit_id": f"t5_{_base36(draw(0, subreddit) % 10**8)}",
        "thumbnail": "default",
        "title": link.title,
        "url": escape(link.url, quote=False),  # as Reddit's interface gave it
    }


def _self_posts(links: Sequence[Link], seed: int) -> Iterator[bytes]:
    for number in range(int(len(links) * _SELF_POSTS_PER_LINK) + bool(links)):
        title = pick(_QUESTIONS, seed, "question", number)
        post = _post(Link("", title), seed, 4 * len(links) + number)
        domain = f"self.{post['subreddit']}"
        url = f"https://www.reddit.com{post['permalink']}"
        is_deleted = draw(seed, "self", number) % 8 == 0
        text = "[deleted]" if is_deleted else _SELF_TEXT
        author = "[deleted]" if is_deleted else post["author"]
        told = {"is_self": True, "domain": domain, "url": url, "selftext": text, "author": author}
        yield _line({**post, **told})


def _bad(links: Sequence[Link], seed: int) -> Iterator[bytes]:
    """Yields posts that were taken back or marked, and broken lines, about links that are known."""
    base = 5 * len(links) + 100
    for number, link in enumerate(links):
        post = _post(link, seed, base + number)
        if _is_turn("deleted", number):
            yield _line({**post, "author": "[deleted]", "title": "[deleted]"})
        if _is_turn("adult", number):
            yield _line({**post, "over_18": True})
        if _is_turn("broken", number):
            yield _line(post)[: between(20, 200, seed, "cut", number)]
        if _is_turn("not_utf8", number):
            yield _line({**post, "title": "caf\\u00e9"}).replace(b"caf\\\\u00e9", b"caf\xe9")
        if _is_turn("keyless", number):
            missing = pick(("url", "score", "is_self", "created_utc"), seed, "missing", number)
            gone = {"domain", missing} if missing == "is_self" else {missing}
            yield _line({key: value for key, value in post.items() if key not in gone})


def _is_turn(kind: str, number: int) -> bool:
    return number % _EVERY[kind] == _EVERY[kind] // 7


def _line(post: dict[str, Any]) -> bytes:
    return json.dumps(post, sort_keys=True, separators=(",", ":")).encode()


def _base36(number: int) -> str:
    """Returns a number as Reddit writes ids.

    >>> _base36(35), _base36(36)
    ('z', '10')
    """
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
