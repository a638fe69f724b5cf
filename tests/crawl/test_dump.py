"""Lines of dumps: the fast parser says what the standard one says; Reddit's escapes are undone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import dump
from crawl.dump import Submission, parse_submission
from pipeline.store.records import Drop
from tests.crawl.test_links import POST as LINK_POST

POST = {name: value for name, value in LINK_POST.items() if name != "domain"}


def line(**changes: Any) -> bytes:
    """Returns a post as a line."""
    return json.dumps({**POST, **changes}).encode()


def good(data: bytes) -> Submission:
    found = parse_submission(data)
    assert isinstance(found, Submission), found
    return found


@pytest.mark.parametrize(
    ("given_url", "meant"),
    [
        ("http://a.test/?b=1&amp;c=2", "http://a.test/?b=1&c=2"),
        ("http://a.test/?b=&lt;i&gt;", "http://a.test/?b=<i>"),
        ("http://a.test/?b=1&amp;amp;c=2", "http://a.test/?b=1&amp;c=2"),
        ("http://a.test/?b=1&amp;lt=2", "http://a.test/?b=1&lt=2"),
        ("http://a.test/?b=1&c=2", "http://a.test/?b=1&c=2"),
        ("http://a.test/?b=1&eacute;=2&quot;", "http://a.test/?b=1&eacute;=2&quot;"),
        ("http:\\/\\/a.test\\/x", "http://a.test/x"),
        ("http://a.test/\\u00e9", "http://a.test/é"),
    ],
)
def test_url_of_a_dump_is_what_was_submitted(given_url: str, meant: str) -> None:
    data = line(url="URL").replace(b"URL", given_url.encode())
    assert good(data).url == meant


def reference(data: bytes) -> Submission | None:
    """Returns a line as a plain reading of the format has it; None where it is no submission."""
    try:
        told = json.loads(data)
    except ValueError:
        return None
    if not isinstance(told, dict) or not isinstance(told.get("is_self"), bool):
        return None
    if told["is_self"] is True:
        return dump.SELF_POST
    numbers = [told.get(name) for name in ("score", "created_utc")]
    for i, value in enumerate(numbers):
        if isinstance(value, (str, float, bool)):
            try:
                numbers[i] = int(float(value))
            except (ValueError, OverflowError):
                return None
        if not isinstance(numbers[i], int) or abs(numbers[i]) > 2**31 - 1:
            return None
    if not isinstance(told.get("url"), str) or not isinstance(told.get("id"), str):
        return None
    texts = [told.get(name) for name in ("url", "author", "title", "selftext")]
    gone = any(text in ("[deleted]", "[removed]") for text in texts)
    subreddit = told.get("subreddit")
    return Submission(
        told["url"],
        numbers[0],
        numbers[1],
        told["id"],
        subreddit if isinstance(subreddit, str) else "",
        False,
        gone or bool(told.get("removed_by_category")),
        told.get("over_18") is True,
    )


_WORDS = st.sampled_from(
    [
        "",
        "x",
        "é",
        "三",
        "[deleted]",
        "[removed]",
        "12",
        "1e3",
        "nan",
        "\\",
        '"',
        "\n",
        "removed_by_",
    ]
)
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.integers(-9, 9), _WORDS,
    st.floats(), st.just([]), st.just({"url": "inner"}),
)  # fmt: skip
_FIELDS = st.dictionaries(st.sampled_from([*POST, "removed_by_category", "media"]), _VALUES)


@given(_FIELDS, st.sets(st.sampled_from(sorted(POST))), st.booleans())
def test_line_says_what_a_plain_reading_says(
    changes: dict[str, Any], missing: set[str], is_ascii: bool
) -> None:
    told = {k: v for k, v in {**POST, **changes}.items() if k not in missing or k in changes}
    data = json.dumps(told, ensure_ascii=is_ascii).encode()
    found = parse_submission(data)
    expected = reference(data)
    assert (found if isinstance(found, Submission) else None) == expected
    assert expected is not None or isinstance(found, Drop)


@given(st.binary(max_size=3), st.integers(0, 300), st.booleans())
def test_broken_line_is_never_a_submission(noise: bytes, place: int, cut: bool) -> None:
    whole = line(title="é三 and more")
    data = whole[:place] + (b"" if cut else noise + whole[place:])
    try:
        json.loads(data.decode("utf-8"))
    except ValueError:
        assert isinstance(parse_submission(data), Drop)
    else:
        assert not isinstance(parse_submission(data), Drop) or reference(data) is None


@pytest.mark.parametrize(
    "data",
    [
        line().replace(b'"score": 5', b'"score": 5, "score": 900'),
        line(title="\ud83d").replace(b'"score": 5', b'"score": 5, "score": 900'),
    ],
    ids=["fast parser", "standard parser"],
)
def test_last_of_equal_names_counts(data: bytes) -> None:
    assert good(data).score == 900


def test_value_that_is_an_object_leaves_the_parser_free() -> None:
    assert isinstance(parse_submission(line(url={"a": 1})), Drop)
    assert good(line(author={"a": 1}, title=[1])).url == POST["url"]
    assert good(line()).score == 5


@pytest.mark.parametrize("name", ["score", "created_utc"])
@pytest.mark.parametrize("value", [2**31, -(2**31), 10**19, 10**30, 1e300, "9" * 12, float("inf")])
def test_number_beyond_its_column_is_missing(name: str, value: Any) -> None:
    assert parse_submission(line(**{name: value})) == Drop("missing_field", name)


@pytest.mark.parametrize(
    ("told", "is_deleted"),
    [
        ({"removed_by_category": "moderator"}, True),
        ({"removed_by_category": None}, False),
        ({"title": "piece_by_piece"}, False),
        ({"title": "removed_by_category"}, False),
        ({"title": "\\u00e9 [deleted]"}, False),
        ({"author": "[deleted]"}, True),
        ({"title": "[removed]"}, True),
    ],
)
def test_deleted_post_is_known_by_its_marks(told: dict[str, Any], is_deleted: bool) -> None:
    assert good(line(**told)).is_deleted == is_deleted
