"""Dumps and lists become links: every line counted, whatever is in it."""

import bz2
import dataclasses
import gzip
import html
import json
import lzma
import resource
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from crawl import dump, grouping, links, sources
from crawl.dump import Submission, parse_submission
from crawl.rules import Config, Rules
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, packed, records, urls
from pipeline.store.errors import ShardError
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft

CONFIG = Config(
    inputs="in",
    partitions=4,
    min_score=3,
    score_per="submission",
    until_utc=1_514_764_800,
    drop_deleted=True,
    drop_over_18=True,
    drop_wikipedia=True,
    max_url_chars=200,
    ports=(80, 443),
    blocked_domains={"images": ("imgur.com", "i.redd.it"), "video": ("youtube.com",)},
    blocked_extensions={"images": ("jpg", "png"), "archives": ("zip",)},
)
POST = {
    "id": "7abc",
    "url": "http://a.test/x",
    "score": 5,
    "is_self": False,
    "over_18": False,
    "author": "someone",
    "subreddit": "news",
    "created_utc": 1_509_494_400,
    "domain": "a.test",
    "selftext": "",
    "title": "A title",
}


def line(**changes: Any) -> bytes:
    """Returns a post as a line; None removes a field."""
    told = {**POST, **changes}
    return json.dumps({k: v for k, v in told.items() if v is not None}).encode()


def run(folder: Path, engine: Engine, config: Config = CONFIG) -> dict[str, Any]:
    """Makes links of `in/` under a folder that is the current one."""
    return links.run(folder / "in", folder / "links", config, engine)


def write(folder: Path, name: str, *lines: bytes) -> None:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / name).write_bytes(b"".join(each + b"\n" for each in lines))


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = manifest.load(folder / "links", "links").paths()
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def decisions(folder: Path) -> list[dict[str, Any]]:
    paths = manifest.load(folder / "links", "links").paths("decisions")
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


# ── one line ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"{", "broken_json", id="cut"),
        pytest.param(b"null", "broken_json", id="no object"),
        pytest.param(b'["url"]', "broken_json", id="a list"),
        pytest.param(b"[" * 100_000, "broken_json", id="nested without end"),
        pytest.param(
            b'{"score": ' + b"9" * 5000 + b"}", "broken_json", id="a number of 5000 digits"
        ),
        pytest.param(line(title="x").replace(b"x", b"\xff"), "not_utf8", id="a byte that is none"),
        pytest.param(line(url=None), "missing_field", id="no url"),
        pytest.param(line(url=7), "missing_field", id="url is a number"),
        pytest.param(line(score=None), "missing_field", id="no score"),
        pytest.param(line(score="many"), "missing_field", id="score in words"),
        pytest.param(line(score=10**30), "missing_field", id="score beyond reason"),
        pytest.param(line(created_utc=None), "missing_field", id="no time"),
        pytest.param(b'{"url":"u","id":"i","score":NaN}', "missing_field", id="score is NaN"),
        pytest.param(line(id=None), "missing_field", id="no id"),
        pytest.param(line(is_self=None, domain=None), "missing_field", id="self or not is unknown"),
    ],
)
def test_line_that_is_no_submission_is_dropped_with_its_reason(data: bytes, reason: str) -> None:
    found = parse_submission(data)
    assert isinstance(found, Drop)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"created_utc": "1509494400"}, {"created_utc": 1_509_494_400}),
        ({"created_utc": 1509494400.0}, {"created_utc": 1_509_494_400}),
        ({"score": "12"}, {"score": 12}),
        ({"is_self": None}, {"is_self": False}),
        ({"is_self": None, "domain": "self.news"}, {"is_self": True}),
        ({"over_18": True}, {"is_over_18": True}),
        ({"author": "[deleted]"}, {"is_deleted": True}),
        ({"selftext": "[removed]"}, {"is_deleted": True}),
        ({"removed_by_category": "moderator"}, {"is_deleted": True}),
        ({"removed_by_category": None}, {"is_deleted": False}),
        ({"subreddit": None}, {"subreddit": ""}),
        ({"url": "http://a.test/\ud83d"}, {"url": "http://a.test/?"}),
    ],
)
def test_submission_of_any_year_is_understood(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = parse_submission(line(**changes))
    assert isinstance(found, Submission)
    assert {name: getattr(found, name) for name in expected} == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_a_submission_or_a_drop(data: bytes) -> None:
    assert isinstance(parse_submission(data), Submission | Drop)


@given(
    st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"")), max_size=8),
    st.integers(1, 5),
)
def test_lines_do_not_depend_on_how_the_bytes_arrive(parts: list[bytes], step: int) -> None:
    data = b"\n".join(parts)
    pieces = (data[i : i + step] for i in range(0, len(data), step))
    expected = [(i, part.strip()) for i, part in enumerate(parts, 1)]
    if expected and not parts[-1]:
        expected.pop()  # a file that ends with a line end has no line behind it
    assert list(packed.lines(pieces, dump.MAX_LINE_BYTES)) == expected


def test_line_without_end_is_cut_and_the_next_one_is_whole() -> None:
    endless = (b"x" * (1 << 20) for _ in range(20))
    found = list(packed.lines([*endless, b"\nnext\n"], dump.MAX_LINE_BYTES))
    assert [(number, len(data)) for number, data in found] == [(1, dump.MAX_LINE_BYTES), (2, 4)]


# ── rules ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"score": 3}, None),
        ({"score": 2}, Drop("low_score", "score 2")),
        ({"is_self": True}, Drop("self_post")),
        ({"is_self": True, "score": 0}, Drop("self_post")),
        ({"author": "[deleted]"}, Drop("deleted")),
        ({"over_18": True}, Drop("over_18")),
        ({"created_utc": 1_514_764_799}, None),
        ({"created_utc": 1_514_764_800}, Drop("too_late", "created_utc 1514764800")),
        ({"url": "not a url"}, Drop("bad_url", "no http(s) URL")),
        ({"url": "ftp://a.test/x"}, Drop("bad_url", "no http(s) URL")),
        ({"url": "javascript:alert(1)"}, Drop("bad_url", "no http(s) URL")),
        ({"url": "http://u:p@a.test/"}, Drop("bad_url", "names a user")),
        ({"url": "http://a.test:8081/"}, Drop("bad_url", "port 8081")),
        ({"url": "http://a.test:443/"}, None),
        ({"url": "http://a.test/" + "x" * 200}, Drop("bad_url", "214 characters")),
        ({"url": "http://en.wikipedia.org/wiki/X"}, Drop("wikipedia")),
        ({"url": "https://wikipedia.org/"}, Drop("wikipedia")),
        ({"url": "http://notwikipedia.org/"}, None),
        ({"url": "http://imgur.com/a"}, Drop("blocked_domain", "images")),
        ({"url": "http://I.IMGUR.com./a"}, Drop("blocked_domain", "images")),
        ({"url": "http://myimgur.com/a"}, None),
        ({"url": "http://redd.it/a"}, None),
        ({"url": "http://i.redd.it/a"}, Drop("blocked_domain", "images")),
        ({"url": "http://a.test/b.JPG"}, Drop("blocked_extension", "images")),
        ({"url": "http://a.test/b.jpg?c=d"}, Drop("blocked_extension", "images")),
        ({"url": "http://a.test/b.jpg/c"}, None),
        ({"url": "http://a.test/b?c=d.jpg"}, None),
        ({"url": "http://a.zip/"}, None),
        ({"url": "http://a.test/jpg"}, None),
    ],
)
def test_rule_that_speaks_first_decides(changes: dict[str, Any], expected: Drop | None) -> None:
    entry = parse_submission(line(**changes))
    assert isinstance(entry, Submission)
    assert Rules(CONFIG).judge(entry)[1] == expected


def test_rules_that_are_off_let_everything_pass() -> None:
    config = dataclasses.replace(
        CONFIG,
        until_utc=None,
        drop_deleted=False,
        drop_over_18=False,
        drop_wikipedia=False,
        blocked_domains={},
        blocked_extensions={},
    )
    entry = parse_submission(
        line(
            url="http://en.wikipedia.org/x.jpg",
            author="[deleted]",
            over_18=True,
            created_utc=2**31 - 1,
        )
    )
    assert isinstance(entry, Submission)
    assert Rules(config).judge(entry)[1] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partitions", 0),
        ("max_url_chars", 9),
        ("score_per", "subreddit"),
        ("ports", (0,)),
        ("blocked_domains", {"images": ("Imgur.com",)}),
        ("blocked_extensions", {"images": (".jpg",)}),
    ],
)
def test_config_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name}.* is .*expected"):
        dataclasses.replace(CONFIG, **{name: value})


# ── whole files ──────────────────────────────────────────────────────────────────────────────────


def test_links_hold_one_row_per_url_with_all_its_submissions(
    workspace: Path, inline: Engine
) -> None:
    write(
        workspace,
        "RS_2017-11.ndjson",
        line(
            id="b", url="https://www.a.test/x/?utm_source=r#top", score=9, created_utc=1_509_500_002
        ),
        line(id="a", url="http://a.test/x", score=4, created_utc=1_509_500_001, subreddit="old"),
        line(id="c", url="http://a.test/x", score=1, created_utc=1_509_500_000),
        line(id="d", url="http://b.test/y"),
    )
    figures = run(workspace, inline)
    assert figures["counts"] == {"n_in": 4, "n_out": 2, "dropped": {"low_score": 1, "repeat": 1}}
    (first,) = [row for row in rows(workspace) if row["host"] == "a.test"]
    key = "a.test/x"
    assert first == {
        "doc_id": records.doc_id(key),
        "url": "http://a.test/x",
        "key": key,
        "host": "a.test",
        "domain": "a.test",
        "created_utc": 1_509_500_001,
        "max_score": 9,
        "submissions": [
            {"submission_id": "a", "subreddit": "old", "score": 4, "created_utc": 1_509_500_001},
            {"submission_id": "b", "subreddit": "news", "score": 9, "created_utc": 1_509_500_002},
        ],
    }
    assert {(row["doc_id"], row["reason"], row["detail"]) for row in decisions(workspace)} == {
        (records.doc_id(key), "low_score", "score 1"),
        (records.doc_id(key), "repeat", "b"),
    }


@given(
    st.sampled_from(["http", "https"]),
    st.sampled_from(["", "www.", "www2."]),
    st.sampled_from(
        ["a.test", "b.a.test", "a.co.uk", "co.uk", "a.github.io", "10.0.0.1", "[::1]", "x"]
    ),
    st.sampled_from(["", ".", ":8080"]),
)
def test_urls_with_one_key_have_one_partition(scheme: str, www: str, host: str, tail: str) -> None:
    """The domain must be a function of the key, else a link is two links in two partitions."""
    url = urls.parse(f"{scheme}://{www}{host}{tail}/x")
    if url is None:
        return
    key = urls.canonical_key(url)
    rules = Rules(dataclasses.replace(CONFIG, ports=(80, 443, 8080)))
    row, other = (_row(href, rules) for href in (url.href, f"http://{key}"))
    assert other["key"] == key
    assert row["domain"] == other["domain"]


def _row(href: str, rules: Rules) -> dict[str, Any]:
    row = links.row_of((b"", _submission(href)), rules)
    return dict(zip(grouping.EXCHANGE.names, row, strict=True))


def _submission(url: str) -> Submission:
    found = parse_submission(line(url=url))
    assert isinstance(found, Submission)
    return found


def test_every_line_is_counted_with_its_reason(workspace: Path, inline: Engine) -> None:
    write(
        workspace,
        "RS_x.ndjson",
        *(line(id=str(i), url=f"http://site{i}.test/{i}") for i in range(20)),
        b"",
        b"{",
        b"\xff\xfe",
        line(score=None),
        line(is_self=True),
        line(url="http://imgur.com/x"),
        b"   ",
    )
    counts = run(workspace, inline)["counts"]
    assert counts["n_in"] == 25
    assert counts["n_out"] == 20
    assert counts["dropped"] == {
        "blocked_domain": 1,
        "broken_json": 1,
        "missing_field": 1,
        "not_utf8": 1,
        "self_post": 1,
    }
    assert len(decisions(workspace)) == 5
    (blocked,) = [row for row in decisions(workspace) if row["reason"] == "blocked_domain"]
    assert (blocked["detail"], blocked["excerpt"]) == ("images", "http://imgur.com/x")
    assert blocked["doc_id"] == records.doc_id("imgur.com/x")


def test_partition_of_a_link_is_that_of_its_registered_domain(
    workspace: Path, inline: Engine
) -> None:
    hosts = [f"{sub}.{name}.co.uk" for name in "abcdefgh" for sub in ("www", "news", "m")]
    write(workspace, "urls.txt", *(f"http://{host}/".encode() for host in hosts))
    run(workspace, inline)
    paths = manifest.load(workspace / "links", "links").paths()
    assert len(paths) == CONFIG.partitions
    for index, path in enumerate(paths):
        table = pq.read_table(path)
        assert table.schema.remove_metadata() == records.LINKS
        ids = table["doc_id"].to_pylist()
        assert ids == sorted(ids)
        owners = records.partitions(table["domain"].to_pylist(), CONFIG.partitions)
        assert set(owners.tolist()) <= {index}
    assert len(rows(workspace)) == len(hosts)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("kind", ["ndjson", "txt", "csv"])
def test_file_of_any_form_gives_the_same_links(
    workspace: Path, inline: Engine, kind: str, suffix: str
) -> None:
    addresses = [f"http://a.test/caf\u00e9/{i}" for i in range(50)]
    content = {
        "ndjson": "\n".join(line(url=a, id=a).decode() for a in addresses),
        "txt": "# my links\n\n" + "\r\n".join(addresses),
        "csv": "n,url\n" + "\n".join(f'"1,\n2","{a}"' for a in addresses) + "\n",
    }[kind]
    (workspace / "in").mkdir()
    (workspace / "in" / f"list.{kind}{suffix}").write_bytes(PACKERS[suffix](content.encode()))
    assert run(workspace, inline)["counts"] == {"n_in": 50, "n_out": 50, "dropped": {}}
    assert {row["url"] for row in rows(workspace)} == {
        a.replace("\u00e9", "%C3%A9") for a in addresses
    }


@pytest.mark.parametrize("score_per", ["submission", "url"])
def test_scores_are_judged_alone_or_summed_per_link(
    workspace: Path, inline: Engine, score_per: str
) -> None:
    write(
        workspace,
        "RS_1.ndjson",
        line(id="a", score=2),
        line(id="b", score=-1, url="http://b.test/"),
    )
    write(
        workspace,
        "RS_2.ndjson",
        line(id="c", score=1, url="https://www.a.test/x/"),
        line(id="d", score=3, url="http://b.test/"),
        line(id="e", score=4, url="http://c.test/"),
    )
    figures = run(workspace, inline, dataclasses.replace(CONFIG, score_per=score_per))
    kept = {row["host"]: [s["score"] for s in row["submissions"]] for row in rows(workspace)}
    if score_per == "url":
        assert kept == {"a.test": [2, 1], "c.test": [4]}
        assert figures["counts"]["dropped"] == {"low_score": 2, "repeat": 1}
        details = {row["detail"] for row in decisions(workspace) if row["reason"] == "low_score"}
        assert details == {"score of url 2"}
    else:
        assert kept == {"b.test": [3], "c.test": [4]}
        assert figures["counts"]["dropped"] == {"low_score": 3}


def test_broken_line_is_shown_among_the_decisions(workspace: Path, inline: Engine) -> None:
    write(workspace, "RS_1.ndjson", b"{this is cut", b"\xff" * 500, b"{this is cut")
    run(workspace, inline)
    told = sorted((row["reason"], row["excerpt"]) for row in decisions(workspace))
    assert told == [("broken_json", "{this is cut")] * 2 + [("not_utf8", "\ufffd" * 400)]
    assert len({row["doc_id"] for row in decisions(workspace)}) == 2


def test_parquet_list_and_dump_of_one_link_are_one_row(workspace: Path, inline: Engine) -> None:
    write(workspace, "RS_1.ndjson", line(id="a", url="http://a.test/x", score=7))
    listed = {"url": ["https://a.test/x", "http://imgur.com/x"], "score": [3, 9], "id": ["b", "c"]}
    pq.write_table(pa.table(listed), workspace / "in" / "more.parquet")
    figures = run(workspace, inline)
    assert figures["counts"]["dropped"] == {"blocked_domain": 1, "repeat": 1}
    (row,) = rows(workspace)
    assert [(s["submission_id"], s["score"]) for s in row["submissions"]] == [("a", 7), ("b", 3)]


def test_list_without_scores_is_not_judged_by_them_and_one_with_is(
    workspace: Path, inline: Engine
) -> None:
    write(
        workspace, "a.csv", b"url,score,created_utc,id", b"http://a.test/,2,,", b"http://b.test/,,,"
    )
    write(workspace, "b.csv", b"url,score", b"http://c.test/,x", b"http://d.test/\xff,9", b",5")
    counts = run(workspace, inline)["counts"]
    assert counts["dropped"] == {"bad_url": 1, "low_score": 1, "missing_field": 1, "not_utf8": 1}
    (row,) = rows(workspace)
    assert (row["url"], row["created_utc"], row["max_score"]) == ("http://b.test/", 0, 0)
    assert row["submissions"] == []


def test_csv_without_a_url_column_stops_with_the_remedy(workspace: Path, inline: Engine) -> None:
    write(workspace, "a.csv", b"link,score", b"http://a.test/,2")
    with pytest.raises(ShardError, match="expected one named `url`"):
        run(workspace, inline)


@pytest.mark.parametrize("name", ["manifest.json", "readme.md", "data.arrow"])
def test_folder_without_dumps_names_the_remedy(workspace: Path, inline: Engine, name: str) -> None:
    write(workspace, "x.md")
    (workspace / "in" / "x.md").rename(workspace / "in" / name.replace("manifest", "other"))
    with pytest.raises(FileNotFoundError, match=r"links\.inputs"):
        run(workspace, inline)


# ── compressed dumps ─────────────────────────────────────────────────────────────────────────────


def test_zst_with_a_window_of_2_gib_is_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=31)
    path = tmp_path / "RS_2020-01.zst"
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(packer.compress(line() + b"\n") + packer.flush())
    with pytest.raises(zstandard.ZstdError):
        zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    assert [data for data, _ in sources.read(path)] == [line()]


def test_zst_of_several_frames_is_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "RS_x.zst"
    path.write_bytes(b"".join(zstandard.compress(line(id=str(i)) + b"\n") for i in range(3)))
    assert len(list(sources.read(path))) == 3


@pytest.mark.parametrize("suffix", [".zst", ".xz", ".bz2", ".gz"])
@pytest.mark.parametrize("is_cut", [True, False])
def test_packed_dump_that_is_damaged_stops_with_the_remedy(
    tmp_path: Path, suffix: str, is_cut: bool
) -> None:
    data = PACKERS[suffix](b"\n".join(line(id=str(i)) for i in range(2000)))
    half = len(data) // 2
    path = tmp_path / f"RS_x{suffix}"
    path.write_bytes(data[:half] if is_cut else data[:half] + bytes(40) + data[half + 40 :])
    with pytest.raises(ShardError, match=r"damaged or cut short .*fetch it again"):
        list(sources.read(path))


FAST_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": partial(gzip.compress, compresslevel=1),
    ".bz2": partial(bz2.compress, compresslevel=1),
    ".xz": partial(lzma.compress, preset=0),
    ".zst": zstandard.ZstdCompressor(level=1).compress,
}


@pytest.mark.parametrize("suffix", FAST_PACKERS)
def test_memory_does_not_grow_with_the_dump(tmp_path: Path, suffix: str) -> None:
    """Of the process, decoder included: 64 MB packed or plain, never more than 16 MiB at once."""
    path = tmp_path / f"RS_x{suffix}"
    block = b"".join(line(id=str(i), title="x" * 1800) + b"\n" for i in range(2_000))
    packed_block = FAST_PACKERS[suffix](block)  # each form may be written one after the other
    path.write_bytes(packed_block * 16)
    started, peak, n_lines = _resident_bytes(), 0, 0
    for _ in sources.read(path):
        n_lines += 1
        if n_lines % 500 == 0:
            peak = max(peak, _resident_bytes() - started)
    assert n_lines == 32_000
    assert peak < 16 << 20


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# ── real dumps ───────────────────────────────────────────────────────────────────────────────────

REAL = dataclasses.replace(
    CONFIG, drop_deleted=False, blocked_domains={}, blocked_extensions={}, max_url_chars=2083
)


@pytest.fixture
def real_dumps(real_data: Path, workspace: Path) -> Path:
    """Two months of 2005 in the folder that is read; the folder above it."""
    (workspace / "in").mkdir()
    for name in ("RS_v2_2005-06.xz", "RS_v2_2005-07.xz"):
        (workspace / "in" / name).write_bytes((real_data / "links" / name).read_bytes())
    return workspace


def real_posts(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "in").iterdir())
    return [json.loads(each) for path in paths for each in lzma.open(path)]


def test_real_dumps_are_read_line_by_line(real_dumps: Path, inline: Engine) -> None:
    """Counts as the data's description gives them: 83 of 103 and 757 of 1,079 have 3 karma."""
    counts = run(real_dumps, inline, REAL)["counts"]
    assert counts["n_in"] == 103 + 1079
    assert counts["dropped"]["low_score"] == 103 - 83 + 1079 - 757
    assert "broken_json" not in counts["dropped"]
    kept = 83 + 757 - sum(n for reason, n in counts["dropped"].items() if reason != "low_score")
    assert counts["n_out"] == kept == len(rows(real_dumps))


def test_real_links_hold_every_submission_as_the_dump_tells_it(
    real_dumps: Path, inline: Engine
) -> None:
    """Nothing but the standard library between the dump and what is expected."""
    run(real_dumps, inline, REAL)
    posts = {post["id"]: post for post in real_posts(real_dumps)}
    found = rows(real_dumps)
    for row in found:
        told = [posts[s["submission_id"]] for s in row["submissions"]]
        assert [(p["subreddit"], p["score"], p["created_utc"]) for p in told] == [
            (s["subreddit"], s["score"], s["created_utc"]) for s in row["submissions"]
        ]
        earliest = min(told, key=lambda p: p["created_utc"])
        assert unquote(row["url"].rstrip("/")) == unquote(
            html.unescape(earliest["url"]).rstrip("/")
        )
        assert row["host"] == urlsplit(earliest["url"]).hostname
        assert row["host"].endswith(row["domain"])
        assert (row["created_utc"], row["max_score"]) == (
            earliest["created_utc"],
            max(p["score"] for p in told),
        )
    kept = [s["submission_id"] for row in found for s in row["submissions"]]
    outside = {
        p["id"] for p in posts.values() if p["score"] >= 3 and "wikipedia.org" not in p["domain"]
    }
    assert sorted(kept) == sorted(outside)


def test_real_links_do_not_say_amp(real_dumps: Path, inline: Engine) -> None:
    """One URL in nine of these dumps is escaped as HTML."""
    n_escaped = sum("&amp;" in post["url"] for post in real_posts(real_dumps))
    run(real_dumps, inline, REAL)
    assert n_escaped == 135
    assert not any("&amp;" in row["url"] for row in rows(real_dumps))


def test_real_dumps_summed_per_url_keep_at_least_what_single_posts_keep(
    real_dumps: Path, inline: Engine
) -> None:
    run(real_dumps, inline, REAL)
    alone = {row["key"] for row in rows(real_dumps)}
    figures = run(real_dumps, inline, dataclasses.replace(REAL, score_per="url"))
    assert figures["counts"]["n_in"] == 103 + 1079
    totals: Counter[str] = Counter()
    for post in real_posts(real_dumps):
        parsed = urls.parse(html.unescape(post["url"]))
        if parsed and "wikipedia.org" not in post["domain"]:
            totals[urls.canonical_key(parsed)] += post["score"]
    summed = {row["key"] for row in rows(real_dumps)}
    assert summed == {key for key, total in totals.items() if total >= 3}
    assert len(summed - alone) + len(summed & alone) == figures["counts"]["n_out"]


# ── invariance ───────────────────────────────────────────────────────────────────────────────────


def _digests(folder: Path) -> dict[str, str]:
    files = manifest.load(folder / "links", "links").files
    return {name: info.sha256 for name, info in files.items() if name.endswith(".parquet")}


def _some_lines() -> list[bytes]:
    return [
        line(
            id=f"{i:x}",
            url=f"http://site{i % 7}.test/{i % 13}" if i % 5 else "nowhere",
            score=i % 9,
            created_utc=1_509_494_400 + i * 7919 % 1000,
        )
        for i in range(300)
    ]


def test_links_do_not_depend_on_how_the_lines_are_spread_over_files(
    workspace: Path, inline: Engine
) -> None:
    lines = [*_some_lines(), b"{", b"\xff", line(is_self=True), line(score=None)]
    write(workspace, "RS_1.ndjson", *lines)
    run(workspace, inline)
    whole = _digests(workspace)
    write(workspace, "RS_1.ndjson", *lines[200:])
    write(workspace, "RS_2.ndjson", *reversed(lines[:200]))
    run(workspace, inline)
    assert _digests(workspace) == whole
    decided = {name for name in whole if name.startswith("decisions/")}
    assert len(decided) == CONFIG.partitions


def test_overlapping_dumps_count_a_submission_once_at_its_highest_score(
    workspace: Path, inline: Engine
) -> None:
    write(workspace, "RS_1.ndjson", line(id="a", score=4), line(id="b", score=3))
    write(workspace, "RS_2.ndjson", line(id="a", score=40))
    run(workspace, inline)
    (row,) = rows(workspace)
    assert [(s["submission_id"], s["score"]) for s in row["submissions"]] == [("a", 40), ("b", 3)]
    assert row["max_score"] == 40


def test_one_more_dump_computes_one_more_shard_and_changes_no_other(
    workspace: Path, inline: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _some_lines()
    write(workspace, "RS_1.ndjson", *lines[:200])
    run(workspace, inline)
    stamps = {p: p.stat().st_mtime_ns for p in (workspace / ".shards/scatter").iterdir()}
    write(workspace, "RS_2.ndjson", *lines[200:])
    run(workspace, inline)
    after = {p: p.stat().st_mtime_ns for p in (workspace / ".shards/scatter").iterdir()}
    assert len(stamps) == 1
    assert len(after) == 2
    assert stamps.items() <= after.items()


def test_two_workers_give_the_bytes_of_one_process(
    workspace: Path, inline: Engine, ray_engine: Engine
) -> None:
    lines = _some_lines()
    for number in range(3):
        write(workspace, f"RS_{number}.ndjson", *lines[number::3])
    run(workspace, inline)
    alone = _digests(workspace)
    for path in sorted((workspace / ".shards").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    links.run(workspace / "in", workspace / "links", CONFIG, ray_engine)
    assert _digests(workspace) == alone


def _rows_to_gather(path: Path, keys: Iterable[tuple[str, str]]) -> Path:
    told = dict.fromkeys(grouping.EXCHANGE.names)
    table = [
        {**told, "doc_id": doc_id, "key": key, "url": f"http://{key}", "host": "h", "domain": "d",
         "submission_id": key, "subreddit": "", "score": 5, "created_utc": 1}
        for doc_id, key in keys
    ]  # fmt: skip
    with pa.ipc.new_stream(path, grouping.EXCHANGE) as stream:
        stream.write_table(pa.Table.from_pylist(table, grouping.EXCHANGE))
    return path


def test_two_keys_with_one_id_stop_the_stage_and_name_both(tmp_path: Path) -> None:
    path = _rows_to_gather(tmp_path / "b.arrow", [("00", "a.test/x"), ("00", "b.test/y")])
    with pytest.raises(ShardError, match=r"a\.test/x and b\.test/y"):
        links.gather(CONFIG, (path,), ShardDraft("links", tmp_path / "store"))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.booleans()), max_size=30))
def test_gather_conserves_rows(told: list[tuple[int, int, bool]]) -> None:
    """Without files: the rules on made-up entries, counted by hand."""
    outcome: Counter[str] = Counter()
    seen: set[str] = set()
    rules = Rules(CONFIG)
    for host, score, is_self in told:
        entry = parse_submission(line(url=f"http://h{host}.test/", score=score, is_self=is_self))
        assert isinstance(entry, Submission)
        url, drop = rules.judge(entry)
        assert (url is None) == is_self
        if drop is None:
            key = urls.canonical_key(url)  # type: ignore[arg-type]
            outcome["repeat" if key in seen else "kept"] += 1
            seen.add(key)
        else:
            outcome[drop.reason] += 1
    assert outcome["self_post"] == sum(is_self for _, _, is_self in told)
    assert outcome["low_score"] == sum(s < 3 and not is_self for _, s, is_self in told)
    assert outcome["kept"] == len(seen)
    assert outcome.total() == len(told)
