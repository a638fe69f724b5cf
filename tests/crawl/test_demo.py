"""The embedded default: same bytes each time, every case planted as told, prose that comes out."""

import collections
import dataclasses
import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ftfy
import pyarrow.parquet as pq
import pytest
from trafilatura import bare_extraction

from crawl import crawl, demo, dump, links, planted, robots, sites, sources
from crawl.demo import Config
from crawl.docstrings import Block
from crawl.fetch import Limits
from crawl.hosts import Pace
from crawl.planted import Scale, Shown
from crawl.prose import Article
from crawl.rules import Config as LinkRules
from crawl.web import Web, doc_id
from pipeline.engine.tasks import Engine, InlineEngine, Item, Result
from pipeline.store import manifest, records, urls

TINY = Config(
    seed=1,
    packages={"jinja2": 8, "no_such_package": 5, "click": 10, "kombu": 10, "git": 10, "fsspec": 8},
    mirrors=2,
    per_case=1,
    oversized_bytes=100_000,
)
CASES = {
    "binary_as_html", "blocked_domain", "boilerplate_only", "dead_host", "disconnect", "drip",
    "evaluation_passage", "exact_duplicate", "http_404", "http_410", "http_500", "low_score",
    "mojibake", "near_duplicate", "opt_out", "other_language", "oversized", "pdf",
    "private_address", "quoted_evaluation_page", "redirect", "redirect_loop",
    "redirect_to_other_host", "redirect_to_private_address", "robots_disallowed",
    "robots_unreachable", "script_in_text", "slow", "tokenized", "too_many_requests_once",
    "tracking_twin", "wikipedia", "wrong_charset",
}  # fmt: skip
AROUND = (
    "cookie",
    "Subscribe",
    "Sign my guestbook",
    "newsletter",
    "Sponsored",
    "Share this",
    "Login",
)


class Made:
    """A finished demo, read back."""

    def __init__(self, folder: Path, config: Config, engine: Engine) -> None:
        self.folder = folder
        places = (folder / "web", folder / "dump", folder / "truth")
        self.figures = demo.run(*places, config, engine)
        self.answers: dict[str, dict[str, Any]] = {}
        for path in manifest.load(places[0], "demo").paths():
            for row in pq.read_table(path, schema=records.WEB).to_pylist():
                self.answers[f"http://{row['host']}{row['path']}"] = row
        told = manifest.load(places[2], "demo")
        self.truth = pq.read_table(told.paths()[0], schema=records.TRUTH).to_pylist()
        self.gold = {row["doc_id"]: row for row in pq.read_table(told.paths("gold")[0]).to_pylist()}
        self.lines = list(sources.read(places[1] / demo.DUMP))

    def planted(self, case: str) -> list[dict[str, Any]]:
        """Returns the truth about one case."""
        return [row for row in self.truth if row["case"] == case]

    def html(self, url: str) -> str:
        """Returns a page as a browser would see it."""
        row = self.answers[url]
        headers = {pair["name"]: pair["value"] for pair in row["headers"]}
        packed = headers.get("Content-Encoding") == "gzip"
        body = gzip.decompress(row["body"]) if packed else row["body"]
        is_old = b"charset=windows-1252" in body[:500]
        return body.decode("cp1252" if is_old else "utf-8", "replace")


class Backwards:
    """Runs the last task first."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        for index in reversed(range(len(items))):
            yield index, function(items[index])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Made(folder, TINY, InlineEngine())


def digests(folder: Path) -> dict[str, str]:
    return {name: manifest.load(folder / name, "demo").root for name in ("web", "dump", "truth")}


# --------------------------------------------------------------------------------------- identity


def test_run_twice_in_another_order_makes_the_same_bytes(made: Made, workspace: Path) -> None:
    Made(workspace, TINY, Backwards())
    assert digests(workspace) == digests(made.folder)


def test_run_another_seed_makes_another_web(made: Made, workspace: Path) -> None:
    other = Made(workspace, dataclasses.replace(TINY, seed=2), InlineEngine())
    assert {*other.answers} != {*made.answers}
    assert {row["case"] for row in other.truth} == {row["case"] for row in made.truth}


def test_run_leaves_only_prose_in_the_store(made: Made) -> None:
    left = sorted(path.name for path in (made.folder / ".shards").iterdir())
    assert left == ["demo-prose", "demo-requests"]


def test_run_absent_package_is_named(made: Made) -> None:
    assert made.figures["absent_packages"] == ["no_such_package"]
    assert set(made.figures["articles"]) == set(TINY.packages) - {"no_such_package"}


def test_run_too_little_prose_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(TINY, packages={"jinja2": 3, "no_such_package": 99})
    with pytest.raises(ValueError, match=r"demo\.packages give \d+ articles .* need \d+"):
        Made(workspace, config, InlineEngine())
    assert capsys.readouterr().err.count("left out: no_such_package") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"packages": {"jinja2": 0}},
        {"mirrors": 0},
        {"per_case": 0},
        {"oversized_bytes": 0},
    ],
)
def test_config_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(TINY, **change)


# ------------------------------------------------------------------------------------------ truth


def test_truth_holds_every_case_and_ids_of_canonical_keys(made: Made) -> None:
    assert {row["case"] for row in made.truth} == CASES
    for row in made.truth:
        parsed = urls.parse(row["url"])
        assert parsed is not None
        assert row["doc_id"] == records.doc_id(urls.canonical_key(parsed))


def test_truth_of_a_page_is_told_once_unless_it_has_two_parts(made: Made) -> None:
    told = collections.Counter((row["doc_id"], row["case"]) for row in made.truth)
    assert set(told.values()) == {1}
    groups = collections.Counter(row["group"] for row in made.truth if row["group"])
    assert set(groups.values()) == {2}


@pytest.mark.parametrize("per_case", [1, 2, 3, 6])
def test_plant_takes_exactly_the_articles_that_were_set_aside(per_case: int) -> None:
    scale = Scale(mirrors=2, per_case=per_case, oversized_bytes=1000)
    blocks = (Block("paragraph", ("The harbour was quiet, and nobody spoke of the storm. " * 60,)),)
    articles = [
        Article("thing", f"a{i}", f"Title {i}", blocks) for i in range(planted.n_articles(scale))
    ]
    hosts = [sites.site(name, number) for number, name in enumerate(("one", "two", "three"))]
    web = Web(1, hosts, articles)
    ordinary = [
        Shown(hosts[n % 3], sites.page(hosts[n % 3], n, articles[n % len(articles)], 1))
        for n in range(2 + per_case)
    ]
    for shown in ordinary:
        web.show(*shown)
    planted.plant(web, scale, ordinary)
    with pytest.raises(ValueError, match="name more packages"):
        web.take()


def test_robots_forbid_what_is_planted_and_nothing_else(made: Made) -> None:
    forbidden = {row["url"] for row in made.planted("robots_disallowed")}
    assert forbidden
    for url, row in made.answers.items():
        parsed = urls.parse(url)
        rules = made.answers.get(f"http://{row['host']}/robots.txt")
        if parsed is None or rules is None or row["path"] == "/robots.txt":
            continue
        told = robots.judge(rules["status"], rules["body"], "OutboundBot")
        is_closed = row["host"] == "overloaded-server.test"
        assert told.allows(parsed.href) == (url not in forbidden and not is_closed), url
        assert (told.crawl_delay_s or 0) <= 0.05


def test_dump_holds_every_planted_link_with_its_karma(made: Made) -> None:
    scores = collections.defaultdict(list)
    for _, entry in made.lines:
        if isinstance(entry, dump.Submission) and not entry.is_self:
            scores[doc_id(entry.url)].append(entry.score)
    for row in made.truth:
        is_low = row["case"] == "low_score"
        assert (max(scores[row["doc_id"]]) < 3) == is_low, row["url"]


def test_dump_is_as_untidy_as_a_real_one(made: Made) -> None:
    kinds = collections.Counter(
        entry.reason if not isinstance(entry, dump.Submission) else "link"
        for _, entry in made.lines
    )
    entries = [entry for _, entry in made.lines if isinstance(entry, dump.Submission)]
    assert set(kinds) == {"link", "broken_json", "missing_field", "not_utf8"}
    assert sum(entry.is_self for entry in entries) > len(entries) / 20
    assert any(entry.is_deleted and not entry.is_self for entry in entries)
    assert any(entry.is_over_18 for entry in entries)
    assert len({entry.url for entry in entries if not entry.is_self}) < len(entries) * 0.8
    names = [entry.submission_id for entry in entries if not entry.is_self]
    assert len(set(names)) == len(names)


def test_dump_names_no_host_that_could_be_reached(made: Made) -> None:
    for _, entry in made.lines:
        if isinstance(entry, dump.Submission) and not entry.is_self:
            host = urls.parse(entry.url).host  # type: ignore[union-attr]
            dropped = host.endswith(("wikipedia.org", "imgur.com", "youtube.com"))
            is_address = bool(re.fullmatch(r"[\d.]+|\[::1\]", host))
            assert host.endswith(".test") or dropped or is_address, host


def test_quoted_page_is_held_out_and_quoting_page_is_not(made: Made) -> None:
    (quoted,) = made.planted("quoted_evaluation_page")
    (quoting,) = made.planted("evaluation_passage")
    assert records.is_validation(quoted["doc_id"])
    assert not records.is_validation(quoting["doc_id"])
    shared = ngrams(made.html(quoting["url"]), 8) & ngrams(made.html(quoted["url"]), 8)
    assert len(shared) > 60


def text_of(html: str) -> str:
    found = bare_extraction(html, deduplicate=False, include_comments=False)
    assert found is not None
    assert found.text
    return str(found.text)


def ngrams(html: str, n: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text_of(html).lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_mirrors_are_near_and_not_equal(made: Made) -> None:
    pairs = collections.defaultdict(list)
    for row in made.planted("near_duplicate"):
        pairs[row["group"]].append(row["url"])
    for one, other in pairs.values():
        assert one.split("/")[2] != other.split("/")[2]
        a, b = ngrams(made.html(one), 5), ngrams(made.html(other), 5)
        assert 0.8 < len(a & b) / len(a | b) < 1, one


def test_damage_is_there_and_can_be_mended(made: Made) -> None:
    (broken,) = made.planted("mojibake")
    html = made.html(broken["url"])
    assert "â€™" in html or "Â" in html
    assert "â€" not in "".join(ftfy.fix_encoding(line) for line in html.split("\n"))
    (tokens,) = made.planted("tokenized")
    assert re.search(r"\w ,", made.html(tokens["url"]))
    (attack,) = made.planted("script_in_text")
    assert "<script>alert" not in made.html(attack["url"])
    assert "&lt;script&gt;alert" in made.html(attack["url"])


def test_pages_of_the_wrong_kind_are_what_they_are(made: Made) -> None:
    (large,) = made.planted("oversized")
    assert len(made.answers[large["url"]]["body"]) > TINY.oversized_bytes
    (binary,) = made.planted("binary_as_html")
    row = made.answers[binary["url"]]
    assert row["body"].startswith(b"%PDF")
    assert "text/html" in row["headers"][0]["value"]


# ------------------------------------------------------------------------------------------ prose


def f1(found: str, wanted: str) -> float:
    a, b = (collections.Counter(re.findall(r"\w+", text)) for text in (found, wanted))
    return 2 * sum((a & b).values()) / (sum(a.values()) + sum(b.values()))


def test_text_comes_out_of_every_template_without_what_surrounds_it(made: Made) -> None:
    scores = collections.defaultdict(list)
    for url, row in made.answers.items():
        gold = made.gold.get(doc_id(url))
        if gold is None or row["status"] != 200:
            continue
        text = text_of(made.html(url))
        assert not [word for word in AROUND if word in text and word not in gold["text"]], url
        scores[gold["template"]].append((f1(text, gold["text"]), url))
    assert set(scores) == {"blog", "docs", "portal", "table", "magazine"}
    assert [worst for worst in map(min, scores.values()) if worst[0] < 0.95] == []


# ------------------------------------------------------------------------------- links and crawl

LINKS = LinkRules(
    inputs="dump",
    partitions=2,
    min_score=3,
    until_utc=1_514_764_800,
    drop_deleted=True,
    score_per="submission",
    drop_over_18=False,
    drop_wikipedia=True,
    max_url_chars=2083,
    ports=(80, 443),
    blocked_domains={"media": ("imgur.com", "youtube.com")},
    blocked_extensions={"media": ("png", "jpg", "zip")},
)
CRAWL = crawl.Config(
    source="demo",
    contact=None,
    product="OutboundBot",
    captured_at="2017-12-01T00:00:00Z",
    stop_after_s=None,
    max_warc_bytes=1 << 30,
    ports=(80, 443),
    content_types=("text/html", "application/xhtml+xml", "text/plain"),
    enforced_opt_outs=("noai", "train-ai=n", "ai-train=no"),
    max_redirects=5,
    max_url_chars=2083,
    pace=Pace(
        hosts=64,
        per_address=64,
        address_delay_s=0.0,
        concurrency=64, min_delay_s=0.0, max_crawl_delay_s=5.0, backoff_s=0.01, max_backoff_s=0.1,
        max_retry_after_s=0.1, max_attempts=3, park_after=8,
    ),
    limits=Limits(
        connect_s=5.0, read_s=5.0, total_s=10.0, min_bytes_per_s=500.0, min_speed_after_s=0.5,
        max_wire_bytes=90_000, max_decoded_bytes=1_000_000, max_header_bytes=65_536,
    ),
)  # fmt: skip


def test_links_and_crawl_end_every_planted_case_as_told(
    made: Made, inline: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.folder
    monkeypatch.chdir(folder)
    links.run(folder / "dump", folder / "links", LINKS, inline)
    crawl.run(
        (folder / "links", folder / "web"), (folder / "warc", folder / "fetches"), CRAWL, inline
    )
    ends = collections.defaultdict(set)
    for name, step in (("links", "links"), ("fetches", "crawl")):
        for path in manifest.load(folder / name, step).paths("decisions"):
            for row in pq.read_table(path, partitioning=None).to_pylist():
                ends[row["doc_id"]].add((row["stage"], row["reason"]))
    fetched = {
        row["doc_id"]
        for path in manifest.load(folder / "fetches", "crawl").paths()
        for row in pq.read_table(path, partitioning=None).to_pylist()
        if row["outcome"] == "fetched"
    }
    for row in made.truth:
        if row["expect_stage"] in ("links", "crawl"):
            assert (row["expect_stage"], row["expect_reason"]) in ends[row["doc_id"]], row
        else:
            assert row["doc_id"] in fetched, (row, ends[row["doc_id"]])


def test_run_without_packages_makes_an_empty_web_and_a_dump_without_lines(
    workspace: Path, inline: Engine
) -> None:
    made = Made(workspace, dataclasses.replace(TINY, packages={}), inline)
    assert (made.answers, made.truth, made.lines) == ({}, [], [])
    assert made.figures["counts"]["n_in"] == 0
