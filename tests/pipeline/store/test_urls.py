"""Canonical keys: idempotent, merge what is one page, never merge two."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store import urls

SAME = [
    ("http://example.org/a", "https://example.org/a"),
    ("http://www.example.org/a", "http://example.org/a"),
    ("http://www2.example.org/a", "http://example.org/a"),
    ("http://example.org:80/a", "http://example.org/a"),
    ("http://EXAMPLE.org/a", "http://example.org/a"),
    ("http://example.org./a", "http://example.org/a"),
    ("http://example.org/a#part", "http://example.org/a"),
    ("http://example.org/a/", "http://example.org/a"),
    ("http://example.org", "http://example.org/"),
    ("http://example.org/a?utm_source=x&utm_medium=y", "http://example.org/a"),
    ("http://example.org/a?fbclid=1&id=2", "http://example.org/a?id=2"),
    ("http://example.org/a?b=1&a=2", "http://example.org/a?a=2&b=1"),
    ("http://example.org/%7Euser", "http://example.org/~user"),
    ("http://example.org/%e4", "http://example.org/%E4"),
    ("http://user:secret@example.org/a", "http://example.org/a"),
    ("http://0x7f.1/a", "http://127.0.0.1/a"),
    ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
]
DIFFERENT = [
    "http://example.org/a",
    "http://example.org/A",
    "http://example.org/a.html",
    "http://example.org/a?id=12",
    "http://example.org/a?id=13",
    "http://example.org/a?id=",
    "http://example.org/a?12345",
    "http://example.org/a?keyword=x",
    "http://example.org/a?ref=x",
    "http://example.org/a?source=x",
    "http://example.org/a;v=1",
    "http://example.org/a//b",
    "http://example.org/a/b",
    "http://example.org/a//",
    "http://example.org/a%2Fb",
    "http://example.org/a+b",
    "http://example.org/a%20b",
    "http://example.org/#!/a",
    "http://example.org/#!/b",
    "http://example.org:8080/a",
    "http://m.example.org/a",
    "http://wwwexample.org/a",
    "http://www.org/a",
    "http://example.com/a",
    "http://example.org/a?a=1&a=2",
    "http://example.org/a?a=1",
]


def key(url: str) -> str:
    parsed = urls.parse(url)
    assert parsed is not None
    return urls.canonical_key(parsed)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_canonical_key_of_variants_of_one_page_is_equal(one: str, other: str) -> None:
    assert key(one) == key(other)


def test_canonical_key_never_merges_two_pages() -> None:
    merged = [(a, b) for a, b in combinations(DIFFERENT, 2) if key(a) == key(b)]
    assert merged == []


@pytest.mark.parametrize("url", [*DIFFERENT, *(url for pair in SAME for url in pair)])
def test_canonical_key_is_idempotent(url: str) -> None:
    assert key("http://" + key(url)) == key(url)


@given(
    path=st.text(st.characters(codec="utf-8", exclude_characters="?#"), max_size=30),
    query=st.text(st.characters(codec="utf-8", exclude_characters="#"), max_size=30),
)
def test_canonical_key_of_any_url_is_idempotent(path: str, query: str) -> None:
    parsed = urls.parse(f"http://example.org/{path}?{query}")
    assert parsed is not None
    first = urls.canonical_key(parsed)
    assert key("http://" + first) == first


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/a",
        "ftp://example.org/",
        "javascript:alert(1)",
        "http://",
        "http://[::1",
        "mailto:a@b.c",
    ],
)
def test_parse_of_no_http_url_is_none(url: str) -> None:
    assert urls.parse(url) is None


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("news.bbc.co.uk", "bbc.co.uk"),
        ("alice.github.io", "alice.github.io"),
        ("a.alice.github.io", "alice.github.io"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("numpy-manual.test", "numpy-manual.test"),
        ("co.uk", "co.uk"),
    ],
)
def test_registered_domain_keeps_owners_apart(host: str, domain: str) -> None:
    assert urls.registered_domain(host) == domain
