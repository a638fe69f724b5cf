import tarfile
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import robots
from tests.crawl import robots_by_the_book as book

BOT = "OutboundBot"


def _allows(text: str | bytes, path: str, product: str = BOT) -> bool:
    body = text if isinstance(text, bytes) else text.encode()
    return robots.parse(body, product).allows(f"http://a.test{path}")


# RFC 9309: the example of section 5.1, the tables of 2.2.2 and 2.2.3, rules stated in 2.2.1.
RFC_SIMPLE = """\
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""
RFC_LONGEST = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
RFC_MERGE = """\
User-Agent: ExampleBot
Disallow: /foo
Disallow: /bar

User-Agent: ExampleBot
Disallow: /baz
"""
STAR = "user-agent: *\ndisallow: "


@pytest.mark.parametrize(
    ("text", "product", "path", "allowed"),
    [
        (RFC_SIMPLE, "anybot", "/x.gif", False),
        (RFC_SIMPLE, "anybot", "/x.gif?y", True),
        (RFC_SIMPLE, "anybot", "/example/a", False),
        (RFC_SIMPLE, "anybot", "/publications/a", True),
        (RFC_SIMPLE, "anybot", "/other", True),
        (RFC_SIMPLE, "foobot", "/", False),
        (RFC_SIMPLE, "foobot", "/publications/", False),
        (RFC_SIMPLE, "foobot", "/example/page.html", True),
        (RFC_SIMPLE, "foobot", "/example/allowed.gif", True),
        (RFC_SIMPLE, "FooBot", "/x.gif", False),
        (RFC_SIMPLE, "barbot", "/example/page.html", False),
        (RFC_SIMPLE, "bazbot", "/example/page.html", False),
        (RFC_SIMPLE, "bazbot", "/example/", True),
        (RFC_SIMPLE, "quxbot", "/example/", True),
        (RFC_SIMPLE, "quxbot", "/x.gif", True),
        (RFC_LONGEST, "foobot", "/example/page/disallowed.gif", False),
        (RFC_LONGEST, "foobot", "/example/page/a.gif", True),
        (RFC_MERGE, "examplebot", "/foo", False),
        (RFC_MERGE, "examplebot", "/bar", False),
        (RFC_MERGE, "examplebot", "/baz", False),
        (RFC_MERGE, "examplebot", "/qux", True),
        ("user-agent: *\ndisallow: /p\nallow: /p", "b", "/p", True),  # a tie goes to allow
        ("user-agent: *\ndisallow: /", "b", "/robots.txt", True),  # implicitly allowed
        (STAR + "/path/file-with-a-%2A.html", "b", "/path/file-with-a-*.html", False),
        ("user-agent: *\ndisallow: /path/foo-%24", "b", "/path/foo-$", False),
        (STAR + "/foo/bar?baz=http://foo.bar", "b", "/foo/bar?baz=http://foo.bar", False),
        ("user-agent: *\ndisallow: /foo/bar/\u30c4", "b", "/foo/bar/%E3%83%84", False),
        ("user-agent: *\ndisallow: /foo/bar/%E3%83%84", "b", "/foo/bar/%E3%83%84", False),
        ("user-agent: *\ndisallow: /foo/bar/%62%61%7A", "b", "/foo/bar/baz", False),
        ("user-agent: *\ndisallow: /x # comment", "b", "/x", False),
        ("user-agent: *\ndisallow: /a*b*c$", "b", "/a-b-c", False),
        ("user-agent: *\ndisallow: /a*b*c$", "b", "/a-b-cc-d", True),
        ("user-agent: *\ndisallow:", "b", "/x", True),
        ("disallow: /", "b", "/x", True),  # no group
        ("", "b", "/x", True),
    ],
)  # fmt: skip
def test_rules_of_the_rfc_decide_as_it_says(
    text: str, product: str, path: str, allowed: bool
) -> None:
    assert _allows(text, path, product) is allowed


# What robots.txt files do in the wild, and what Protego alone gets wrong.
@pytest.mark.parametrize(
    ("body", "path", "allowed"),
    [
        pytest.param(b"user-agent: out\ndisallow: /", "/x", True, id="our name begins with it"),
        pytest.param(b"user-agent: bot\ndisallow: /", "/x", True, id="our name ends with it"),
        pytest.param(b"user-agent: OutboundBotPlus\ndisallow: /", "/x", True, id="longer name"),
        pytest.param(b"user-agent: OutboundBot/2.0 (x)\ndisallow: /", "/x", False, id="version"),
        pytest.param(b"USER-AGENT: outboundbot\nDISALLOW: /", "/x", False, id="case"),
        pytest.param(
            b"user-agent: *\ndisallow: /\nuser-agent: outboundbot\nallow: /", "/x", True, id="own"
        ),
        pytest.param(
            b"user-agent: outboundbot\nuser-agent: other\ndisallow: /a\n", "/a", False, id="shared"
        ),
        pytest.param(
            b"user-agent: outboundbot\ncrawl-delay: 1\nuser-agent: x\ndisallow: /a", "/a", False,
            id="another line does not end the names",
        ),
        pytest.param(
            b"user-agent: outboundbot\ndisallow: /a\nuser-agent: other\ndisallow: /b", "/b", True,
            id="a rule does",
        ),
        pytest.param(b"\xef\xbb\xbfuser-agent: *\ndisallow: /", "/x", False, id="byte order mark"),
        pytest.param(b"user-agent: *\ndis\0allow: /", "/x", False, id="NUL"),
        pytest.param(b"user-agent: *\rdisallow: /", "/x", False, id="bare carriage returns"),
        pytest.param(b"user-agent: *\r\n\r\n\r\ndisallow: /", "/x", False, id="blank lines"),
        pytest.param(b"user-agent *\ndisallow /", "/x", False, id="no colons"),
        pytest.param(b"useragent: *\ndissallow: /", "/x", False, id="misspelled"),
        pytest.param(b"user-agent: *\ndisallow: /\xff\xfe", "/y", True, id="not UTF-8"),
        pytest.param("user-agent: *\ndisallow: /a\u2028b".encode(), "/a", True, id="U+2028"),
        pytest.param(b"<html>user-agent: *\n<p>disallow: /", "/x", True, id="an HTML page"),
        pytest.param(
            b"user-agent: *\ndisallow: /a/\nallow: /a/index.html", "/a/", False, id="index"
        ),
        pytest.param(
            b"user-agent: *\ndisallow: /a/\nallow: /a/index.html", "/a/index.html?b", True,
            id="index itself",
        ),
        pytest.param(b"user-agent: *\nsitemap: http://a.test\ndisallow: /", "/x", False, id="map"),
    ],
)  # fmt: skip
def test_file_in_the_wild_is_read_as_meant(body: bytes, path: str, allowed: bool) -> None:
    assert _allows(body, path) is allowed


@pytest.mark.parametrize(
    ("status", "allowed", "reachable"),
    [(200, False, True), (206, False, True)]
    + [(status, True, True) for status in (400, 401, 403, 404, 410, 418, 451)]
    + [(status, False, False) for status in (429, 500, 502, 503, 504, 520, 599)]
    + [(status, False, False) for status in (301, 302, 307, 304, 100, 0)],
)
def test_status_decides_before_the_body(status: int, allowed: bool, reachable: bool) -> None:
    rules = robots.judge(status, b"user-agent: *\ndisallow: /", BOT)
    assert (rules.allows("http://a.test/x"), rules.is_reachable) == (allowed, reachable)


def test_rules_beyond_the_limit_do_not_count_and_the_cut_line_neither() -> None:
    filler = b"# " + b"x" * (robots.MAX_BYTES - 40) + b"\n"
    text = b"user-agent: *\n" + filler + b"disallow: /abc\n" * 3
    rules = robots.parse(text, BOT)
    cut = text[: robots.MAX_BYTES].rpartition(b"\n")[2]
    assert cut.startswith(b"d"), "the test must cut inside a rule"
    assert rules.allows("http://a.test/")
    assert not rules.allows("http://a.test/abc")
    assert robots.parse(b"user-agent: *\ndisallow: /a", BOT, is_cut=True).allows("http://a.test/a")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("10", 10.0), ("0.5", 0.5), ("5 # s", 5.0), ("5 seconds", 5.0), ("1e9", 1e9)]
    + [(v, None) for v in ("nan", "inf", "-3", "", "ten", "1e999")],
)
def test_crawl_delay_is_a_finite_number_or_nothing(value: str, seconds: float | None) -> None:
    rules = robots.parse(f"user-agent: *\ncrawl-delay: {value}\n".encode(), BOT)
    assert rules.crawl_delay_s == seconds


def test_crawl_delay_of_another_robot_is_not_ours() -> None:
    text = b"user-agent: slowbot\ncrawl-delay: 99\n\nuser-agent: *\ncrawl-delay: 2\ndisallow: /a"
    assert robots.parse(text, BOT).crawl_delay_s == 2.0
    assert robots.parse(text, "slowbot").crawl_delay_s == 99.0


def test_training_preferences_come_from_our_group_only() -> None:
    text = b"""user-agent: *
content-signal: search=yes, ai-train=no
content-usage: train-ai=n
user-agent: friend
allow: /
"""
    assert robots.parse(text, BOT).opt_outs == ("ai-train=no", "train-ai=n")
    split = text.replace(b"user-agent: friend", b"allow: /\nuser-agent: friend")
    assert robots.parse(split, "friend").opt_outs == ()


# ── an independent matcher: dynamic programming over octets, written from the RFC's text ─────────


def _matches(pattern: str, path: str) -> bool:
    """Returns whether a rule's pattern matches a path, by section 2.2.3 alone."""
    is_anchored = pattern.endswith("$")
    pattern = pattern[:-1] if is_anchored else pattern + "*"
    reachable = {0}
    for char in pattern:
        if char == "*":
            reachable = set(range(min(reachable), len(path) + 1)) if reachable else set()
        else:
            reachable = {i + 1 for i in reachable if i < len(path) and path[i] == char}
    return len(path) in reachable


def _judged(rules: list[tuple[str, str]], path: str) -> bool:
    hits = [(len(p), field == "allow") for field, p in rules if p and _matches(p, path)]
    return max(hits)[1] if hits else True


_PATTERN = (
    st.text("ab/*$", min_size=0, max_size=8)
    .map(lambda t: "/" + t.replace("$", ""))
    .flatmap(lambda t: st.sampled_from([t, t + "$"]))
)


@given(
    st.lists(st.tuples(st.sampled_from(["allow", "disallow"]), _PATTERN), max_size=6),
    st.text("ab/", max_size=10).map(lambda t: "/" + t),
)
def test_verdict_of_any_rules_equals_the_independent_matcher(
    rules: list[tuple[str, str]], path: str
) -> None:
    rules = [(field, _single_stars(pattern)) for field, pattern in rules]
    text = "\n".join(["user-agent: *", *(f"{f}: {p}" for f, p in rules)])
    if "//" in path:  # what a client sends is a URL; "//" at the front would be an authority
        path = "/x" + path
    assert _allows(text, path) is _judged(rules, path)


def _single_stars(pattern: str) -> str:
    """A run of stars is one star; the RFC is silent on how long such a run counts."""
    while "**" in pattern:
        pattern = pattern.replace("**", "*")
    return pattern


@given(st.binary(max_size=300), st.text(max_size=20))
def test_any_bytes_give_a_verdict(body: bytes, path: str) -> None:
    for rules in (robots.parse(body, BOT), robots.parse(b"user-agent: *\n" + body, BOT)):
        assert rules.allows("http://a.test/" + quote(path)) in (True, False)


@pytest.mark.timeout(120)  # 5 s are usual here; a pattern that explodes takes for ever
def test_real_files_all_give_verdicts(real_data: Path) -> None:
    n_files = n_forbidding = n_delays = 0
    with tarfile.open(real_data / "robots" / "robots_txt.tar.gz") as archive:
        for member in archive:
            if not member.name.startswith("robots_txt/") or not member.isfile():
                continue
            rules = robots.parse(archive.extractfile(member).read(), BOT)  # type: ignore[union-attr]
            paths = ("/", "/a/b.html?c=d", "/%C3%A9", "/" + "a" * 2000)
            n_files += 1
            n_forbidding += sum(not rules.allows(f"http://a.test{path}") for path in paths)
            n_delays += rules.crawl_delay_s is not None
    assert n_files >= 2295
    assert n_forbidding > 100
    assert n_delays > 100


def _paths(rules: list[book.Rule]) -> set[str]:
    """Returns paths that a file's own rules are about, and some that they are not."""
    found = {"/", "/a/b.html?c=d", "/%C3%A9", "/robots.txt"}
    for _, pattern in rules[:: max(1, len(rules) // 2)][:2]:
        path = pattern.decode().replace("*", "xy").removesuffix("$")
        if path.startswith("/") and not path.startswith("//"):
            found |= {path, path + "z"}
    return found


@pytest.mark.timeout(180)  # some seconds are usual
def test_verdicts_on_real_files_are_those_of_a_reader_by_the_book(real_data: Path) -> None:
    n_verdicts = n_forbidden = 0
    with tarfile.open(real_data / "robots" / "robots_txt.tar.gz") as archive:
        for member in archive:
            if not member.name.startswith("robots_txt/") or not 0 < member.size < 20_000:
                continue
            body = archive.extractfile(member).read()  # type: ignore[union-attr]
            product = "Googlebot" if b"googlebot" in body.lower() else BOT
            ours, by_the_book = robots.parse(body, product), book.chosen(body, product)
            for path in sorted(_paths(by_the_book)):
                allowed = book.allows(by_the_book, path)
                assert ours.allows(f"http://a.test{path}") is allowed, (member.name, path)
                n_verdicts += 1
                n_forbidden += not allowed
    assert n_verdicts > 10_000
    assert n_forbidden > 1_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user-agent", "Allow", "DISALLOW", "crawl-delay", "sitemap"]),
            st.sampled_from(
                ["*", "OutboundBot", "outboundbot/2", "bot", "/", "/a", "/a*b$", "/%61", ""]
            ),
            st.sampled_from(["\n", "\r\n", "\r", "\n\n", " # note\n"]),
        ),
        max_size=14,
    ),
    st.sampled_from(["/", "/a", "/ab", "/axb", "/b", "/a%62"]),
)
def test_groups_of_any_file_are_those_of_a_reader_by_the_book(
    lines: list[tuple[str, str, str]], path: str
) -> None:
    body = "".join(f"{name}: {value}{end}" for name, value, end in lines).encode()
    assert _allows(body, path) is book.allows(book.chosen(body, BOT), path)
