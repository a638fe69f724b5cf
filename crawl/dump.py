"""Reading Pushshift's dumps of Reddit: one line is one submission, or a `Drop` with its reason.

Decisions:
- Every line is parsed whole, so a broken one is never taken for a good one; msgspec does it without
  making Python objects of the sixty fields that nobody asks for (2.5 us per 2 kB). It doesn't look
  whether skipped text is UTF-8, so that is asked apart. What it refuses the standard parser looks
  at again: it knows lone surrogates and `NaN`, and says where a line breaks.
- Strings are cast where Pushshift's own format changed over the years (`created_utc`).
- Reddit's interface escaped `&`, `<` and `>` in every text, and the dumps keep that: one URL in
  nine of 2005 says `&amp;`, which selects another page or none. It is undone, once.
- Nothing of a self post is looked at but that it is one.
"""

import json
from typing import Annotated, Any

import msgspec

from pipeline.store.records import Drop

MAX_LINE_BYTES = 16 << 20  # the longest real submissions are below 1 MiB
_MAX_INTEGER = 2**31 - 1  # of a score and, until 2038, of a time

_GONE = ("[deleted]", "[removed]")
_GONE_TEXT = tuple(msgspec.Raw(f'"{gone}"'.encode()) for gone in _GONE)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))  # in this order: "&amp;lt;" is "&lt;"


_Integer = Annotated[int, msgspec.Meta(ge=-_MAX_INTEGER, le=_MAX_INTEGER)]


class _Post(msgspec.Struct, gc=False):
    """The fields of a line that are asked for; None where there is none.

    A line that writes one of them in another way is parsed again.
    """

    is_self: Any = None
    domain: Any = None
    url: str | None = None
    id: str | None = None
    score: _Integer | None = None
    created_utc: _Integer | str | None = None
    subreddit: str | None = None
    over_18: Any = None
    author: Any = None
    title: Any = None
    selftext: msgspec.Raw = msgspec.Raw(b"")  # as it stands there: thousands of characters
    removed_by_category: Any = None


_FIELDS = _Post.__struct_fields__
_decode = msgspec.json.Decoder(_Post).decode


class Submission(msgspec.Struct, frozen=True, gc=False):
    """One submitted link.

    `score` and `created_utc` (seconds) are None where a list of URLs does not tell them;
    `submission_id` and `subreddit` are "" there.
    """

    url: str
    score: int | None
    created_utc: int | None
    submission_id: str
    subreddit: str
    is_self: bool = False
    is_deleted: bool = False
    is_over_18: bool = False


SELF_POST = Submission("", None, None, "", "", is_self=True)


# One entry of a file, behind the bytes that it was read from.
Line = tuple[bytes, Submission | Drop]


def parse_submission(data: bytes) -> Submission | Drop:
    r"""Returns one line of a dump as a submission, or why it is none.

    >>> parse_submission(b'{"url": "http://a.test/", "is_self": false}')
    Drop(reason='missing_field', detail='score')
    >>> parse_submission(b"{")[0], parse_submission(b"\xff")[0]
    ('broken_json', 'not_utf8')
    """
    try:
        post = _decode(data)
        if not data.isascii():
            data.decode("utf-8")
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return _parse_again(data)
    return _submission(post)


def _parse_again(data: bytes) -> Submission | Drop:
    """Returns what the standard parser makes of a line; of equal names the last counts, too."""
    try:
        told = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Drop("not_utf8", f"byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Drop("broken_json", str(error).partition(":")[0])
    if not isinstance(told, dict):
        return Drop("broken_json", "not an object")
    fields: dict[str, Any] = {name: told.get(name) for name in _FIELDS}
    fields |= {name: text(fields[name]) for name in ("url", "id", "subreddit")}
    fields |= {name: integer(fields[name]) for name in ("score", "created_utc")}
    fields["selftext"] = msgspec.Raw(json.dumps(fields["selftext"]).encode())
    return _submission(_Post(**fields))


def _submission(post: _Post) -> Submission | Drop:
    if post.is_self is not False:
        is_self = _is_self(post)
        if is_self is None:
            return Drop("missing_field", "is_self")
        if is_self:
            return SELF_POST
    url, name, score, created = post.url, post.id, post.score, post.created_utc
    if isinstance(created, str):
        created = integer(created)
    if url is None or name is None or score is None or created is None:
        missing = {"url": url, "score": score, "created_utc": created, "id": name}
        return Drop("missing_field", next(name for name in missing if missing[name] is None))
    if "&" in url:
        url = _unescaped(url)
    is_deleted = (
        url in _GONE
        or post.author in _GONE
        or post.title in _GONE
        or post.selftext in _GONE_TEXT
        or bool(post.removed_by_category)
    )
    told = url, score, created, name, post.subreddit or ""
    return Submission(*told, False, is_deleted, post.over_18 is True)


def _is_self(post: _Post) -> bool | None:
    """Returns whether a post is its own text; `is_self` is missing in some years."""
    if post.is_self is True or post.is_self is False:
        return post.is_self  # type: ignore[no-any-return]
    return post.domain.startswith("self.") if isinstance(post.domain, str) else None


def _unescaped(url: str) -> str:
    """Returns a URL as it was submitted.

    >>> _unescaped("http://a.test/?b=1&amp;c=2&amp;lt;")
    'http://a.test/?b=1&c=2&lt;'
    """
    for entity, character in _ENTITIES:
        url = url.replace(entity, character)
    return url


def text(value: object) -> str | None:
    """Returns a text that has a UTF-8 form: JSON may escape half a character."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def integer(value: object) -> int | None:
    """Returns a number however it was written, None where there is none of reasonable size.

    >>> integer("1509494400"), integer(1509494400.0), integer(10**30), integer("many")
    (1509494400, 1509494400, None, None)
    """
    if type(value) is not int:
        try:
            value = int(float(value))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return None
    return value if -_MAX_INTEGER <= value <= _MAX_INTEGER else None
