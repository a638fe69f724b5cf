"""Canonical keys: idempotent, merge what is one page, never merge two; parsing as browsers do."""

from itertools import combinations

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store import urls

SAME = [
    ("http://example.org/a", "https://example.org/a"),
    ("http://www.example.org/a", "http://example.org/a"),
    ("http://www.www.example.org/a", "http://example.org/a"),
    ("http://example.org:80/a", "http://example.org/a"),
    ("https://example.org:443/a", "http://example.org/a"),
    ("https://example.org:80/a", "http://example.org:443/a"),
    ("http://example.org/a?", "http://example.org/a"),
    ("http://example.org/a?&&", "http://example.org/a"),
    ("http://example.org/a?%75tm_source=x", "http://example.org/a"),
    ("http://example.org/a?UTM_Source=x", "http://example.org/a"),
    ("http://example.org/a?id=2&gclid=1&mc_eid=3&_ga=4", "http://example.org/a?id=2"),
    ("http://example.org/a?PHPSESSID=0f&id=2", "http://example.org/a?id=2"),
    ("http://example.org/a/./b/../c", "http://example.org/a/c"),
    ("http:\\\\example.org\\a", "http://example.org/a"),
    ("http://exam\nple.org/a", "http://example.org/a"),
    ("http://example.org/%61", "http://example.org/a"),
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
    # case, endings, empty names, what looks like a default document
    "http://example.org/a",
    "http://example.org/A",
    "http://example.org/a.html",
    "http://example.org/a.htm",
    "http://example.org/",
    "http://example.org/index.html",
    "http://example.org/index.php",
    # a query selects
    "http://example.org/a?id=12",
    "http://example.org/a?id=13",
    "http://example.org/a?ID=12",
    "http://example.org/a?id=",
    "http://example.org/a?id",
    "http://example.org/a?12345",
    "http://example.org/a?keyword=x",
    "http://example.org/a?ref=x",
    "http://example.org/a?source=x",
    "http://example.org/a?utm=x",
    "http://example.org/a?sid=05/07/28/1319",
    "http://example.org/a?pk=7",
    "http://example.org/a?page=2",
    "http://example.org/a?print=1",
    "http://example.org/a?a=1&a=2",
    "http://example.org/a?a=2&a=1",
    "http://example.org/a?a=1",
    "http://example.org/a?news&sports",
    "http://example.org/a?sports&news",
    "http://example.org/a?q=a+b",
    "http://example.org/a?q=a%20b",
    "http://example.org/a?q=a%2Bb",
    "http://example.org/a?q=a%26b=c",
    "http://example.org/a?q=a&b=c",
    "http://example.org/a?q=a;b=c",
    "http://example.org/a?q=http://example.com/",
    "http://example.org/a?q=http://example.com",
    # the path, to the letter
    "http://example.org/a;v=1",
    "http://example.org/a//b",
    "http://example.org/a/b",
    "http://example.org/a//",
    "http://example.org//",
    "http://example.org/a%2Fb",
    "http://example.org/a+b",
    "http://example.org/a%20b",
    "http://example.org/a%3Fid=12",
    "http://example.org/a%23b",
    "http://example.org/%257Ea",
    "http://example.org/~a",
    "http://example.org/0,,SB1119-_s5eff_5SbJW3B_RdxwYLvU3s6c_2005,00.html",
    "http://example.org/0,,SB1119-_s5eff_5SbJW3B_RdxwYLvU3s6c_2006,00.html",
    # old ways to select a page behind "#"
    "http://example.org/#!/a",
    "http://example.org/#!/b",
    # other machines, other owners
    "http://example.org:8080/a",
    "http://m.example.org/a",
    "http://mobile.example.org/a",
    "http://amp.example.org/a",
    "http://www2.example.org/a",
    "http://wwwexample.org/a",
    "http://www.org/a",
    "http://example.com/a",
    "http://co.uk/a",
    "http://www.co.uk/a",
    "http://github.io/a",
    "http://www.github.io/a",
    "http://alice.github.io/a",
    # AMP beside its page, and in caches
    "http://example.org/a/amp",
    "http://example.org/amp/a",
    "http://example.org/a?amp=1",
    "http://example.org/a?outputType=amp",
    "http://www.google.com/amp/s/example.org/a",
    "http://www.google.com/amp/example.org/a",
    "http://example-org.cdn.ampproject.org/c/s/example.org/a",
    # archives: another day is another page, and so is what they saved
    "http://web.archive.org/web/2015/http://example.org/a",
    "http://web.archive.org/web/2016/http://example.org/a",
    "http://web.archive.org/web/2015/https://example.org/a",
    "http://web.archive.org/web/2015/http://example.org/b",
    "http://archive.is/http://example.org/a",
    "http://archive.is/AbCdE",
    "http://archive.is/aBcDe",
    # shorteners: the case of a letter is another page
    "http://bit.ly/1aBcDe",
    "http://bit.ly/1abcde",
    "http://youtu.be/dQw4w9WgXcQ",
    "http://youtube.com/watch?v=dQw4w9WgXcQ",
    "http://t.co/dQw4w9WgXcQ",
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


_HOSTS = st.sampled_from(
    [
        "example.org",
        "www.example.org",
        "www.www.example.org.",
        "a.co.uk",
        "www.co.uk",
        "[::1]",
        "1.2",
    ]
)
_PORTS = st.sampled_from(["", ":80", ":443", ":8080"])
# What escapes, separators and trackers are made of, so that they meet often.
_PARTS = st.lists(
    st.sampled_from([*"%%%%2567EeFf~/.&=?;+#!aA1 \u00e9\n'", "utm_x=", "%75tm_", "%2", "..", "//"]),
    max_size=12,
).map("".join)


@given(st.sampled_from(["http", "https"]), _HOSTS, _PORTS, _PARTS | st.text(max_size=30))
def test_canonical_key_of_any_url_is_idempotent(
    scheme: str, host: str, port: str, tail: str
) -> None:
    parsed = urls.parse(f"{scheme}://{host}{port}/{tail}")
    if parsed is None:
        return  # "[::1" and the like: no URL
    first = urls.canonical_key(parsed)
    assert key("http://" + first) == first
    assert key("https://" + first) == first


@given(
    st.sampled_from(["http://", "https://", "HTTP://", "http:", " http://", "http:\\\\"]),
    _HOSTS | st.from_regex(r"[a-z0-9.-]{1,12}", fullmatch=True),
    _PORTS,
    st.sampled_from(["", "/", "?", "#"]),
    _PARTS | st.from_regex(r"[!-~]{0,20}", fullmatch=True),
)
def test_parse_takes_an_url_apart_as_the_standard_parser_does(
    scheme: str, host: str, port: str, mark: str, tail: str
) -> None:
    raw = f"{scheme}{host}{port}{mark}{tail}"
    found = urls.parse(raw)
    try:
        expected = ada_url.URL(raw.strip())
    except ValueError:
        assert found is None
        return
    assert found is not None
    assert found.href == expected.href
    assert found.scheme == expected.protocol.rstrip(":")
    assert found.host == expected.hostname
    assert found.port == int(expected.port or {"http": 80, "https": 443}[found.scheme])
    assert found.path == expected.pathname
    assert found.query == expected.search.removeprefix("?")
    assert found.fragment == expected.hash.removeprefix("#")
    assert found.has_userinfo == bool(expected.username or expected.password)


@given(st.sampled_from(DIFFERENT), st.permutations(["utm_source=x", "fbclid=1", "_ga=2"]))
def test_canonical_key_does_not_see_trackers_wherever_they_stand(
    url: str, extra: list[str]
) -> None:
    base, mark, fragment = url.partition("#")
    separator = "&" if "?" in base else "?"
    assert key(base + separator + "&".join(extra) + mark + fragment) == key(url)


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
