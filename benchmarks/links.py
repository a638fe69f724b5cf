"""A dump to links: this project's links step against a loop as OpenWebText's scripts have it.

Input: a plain dump made by a seed, lines of 2 kB in Pushshift's fields. `--case dump` has the mix
of a real month (42 % self posts, a third on media hosts, more than half below 3 karma); `--case
links` is the worst one, where every line is a link that is kept. Ours does all it does in the
graph, in one process: digests, every line judged and accounted for, exchange, grouping, Parquet,
manifest. The peer is a loop over `json.loads`, or over `orjson.loads`, the faster of the two, and
writes a list of URLs. In the same run: both keep the same URLs, and every line is accounted for.

What a process costs before its first line (imports; the graph starts one for all stages) is told
apart as `start_cpu_s`, and `ours_started` is the rate without it.

Run: python -m benchmarks.links [--small] [--case links]
"""

import argparse
import dataclasses
import html
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import harness
from benchmarks.harness import Check, Comparison, Contender
from crawl import links
from crawl.rules import Config
from pipeline.engine import parallel
from pipeline.store import manifest
from stages import params

_SEED = 20171101
_MB = {"whole": 256, "small": 2}
_LINE_BYTES = 2_048
_TARGET = 1.0  # of the faster loop, which does a part of the work
_TARGET_RATE = 200.0  # MB per second and core
_LIBRARIES = ("json", "orjson")
_OURS = harness.OURS
_N_HOSTS = 5_000
# Shares of a month of 2019 by registered domain (a public count over three million submissions).
_SELF_FRAC, _MEDIA_FRAC, _LOW_FRAC, _QUERY_FRAC, _AGAIN_FRAC = 0.42, 0.35, 0.6, 0.12, 0.08


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="bench-links-") as name:
        folder, empty = Path(name) / "whole", Path(name) / "empty"
        n_lines = make_input(folder, _MB["small" if given.small else "whole"], given.case)
        make_input(empty, 0, given.case)
        peers = [_peer(library, folder) for library in _LIBRARIES]
        runs = harness.rounds([_ours(folder), *peers], 1 if given.small else given.rounds)
        start_s = min(harness.measure(_ours(empty)).cpu_s for _ in range(3))
        checks = {
            "urls_equal": Check(_urls_equal(folder), 1.0),
            "lines_counted": Check(_lines_counted(folder) / n_lines, 1.0),
        }
        comparison = Comparison(
            name="links",
            case=given.case,
            work=f"{n_lines:,} lines of {_LINE_BYTES:,} bytes to links, each once",
            unit="MB per CPU-second",
            amount=_megabytes(folder),
            target=_TARGET,
            inputs=harness.digest([folder / "in" / "RS_x"]),
            n_bytes=1e6 * _megabytes(folder),
        )
        told = harness.result(comparison, runs, _OURS, checks)
        median_s = comparison.amount / told["ours"]
        started = comparison.amount / max(median_s - start_s, 1e-9)
        extra = {
            "versions": harness.versions("orjson"),
            "cost": [[0, round(start_s, 3)], [round(comparison.amount), round(median_s, 3)]],
            "start_cpu_s": round(start_s, 3),
            "ours_started": round(started, 3),
            "further": [
                {
                    "against": f"{_TARGET_RATE:.0f} MB per CPU-second, our start left out",
                    "ratio": round(started / _TARGET_RATE, 4),
                    "spread": None,
                    "target": 1.0,
                }
            ],
        }
        return harness.finish({**told, **extra}, runs, checks, given.results)


def _ours(folder: Path) -> Contender:
    return harness.ours("links", folder, OUTBOUND_ENGINE="inline")


def _peer(library: str, folder: Path) -> Contender:
    script = str(harness.ROOT / "benchmarks" / "peer_links.py")
    command = (sys.executable, script, str(folder), library)
    return Contender(name=f"{library}.loads per line", command=command)


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def make_input(folder: Path, n_megabytes: int, case: str) -> int:
    """Writes a plain dump, and the rules' lists for the peer; returns the number of lines.

    Args:
        folder: Where `in/RS_x` and `blocked.json` go.
        n_megabytes: About how large; 0 gives one line.
        case: "dump" or "links".
    """
    (folder / "in").mkdir(parents=True)
    rules = _config()
    lists = {
        "min_score": rules.min_score,
        "domains": ["wikipedia.org", *(d for of in rules.blocked_domains.values() for d in of)],
        "extensions": [e for of in rules.blocked_extensions.values() for e in of],
    }
    (folder / "blocked.json").write_text(json.dumps(lists))
    n_lines = max(1, n_megabytes * 1_000_000 // _LINE_BYTES)
    with (folder / "in" / "RS_x").open("wb") as file:
        for post in _posts(n_lines, case):
            file.write(json.dumps(post, separators=(",", ":")).replace("/", "\\/").encode() + b"\n")
    return n_lines


def _posts(n: int, case: str) -> Iterator[dict[str, Any]]:
    """Yields submissions with the fields of 2018, filled up to the length of a line."""
    drawn = random.Random(_SEED)
    is_worst = case == "links"
    filler = [" ".join(drawn.choices(_WORDS, k=80)) for _ in range(50)]
    for number in range(n):
        is_self = not is_worst and drawn.random() < _SELF_FRAC
        is_media = not is_worst and drawn.random() < _MEDIA_FRAC
        low = not is_worst and drawn.random() < _LOW_FRAC
        again = drawn.random() < _AGAIN_FRAC
        url = _url(drawn.randrange(number + 1) if again else number, drawn, is_media=is_media)
        post = {
            **_REST,
            "author": f"user_{drawn.randrange(10**6)}",
            "created_utc": 1_509_494_400 + number % 2_592_000,
            "domain": "self.news" if is_self else url.split("/")[2],
            "id": f"7{number:06x}",
            "is_self": is_self,
            "num_comments": drawn.randrange(200),
            "over_18": not is_worst and drawn.random() < 0.05,
            "permalink": f"/r/news/comments/7{number:06x}/some_title_of_a_post/",
            "score": drawn.randrange(3) if low else 3 + drawn.randrange(500),
            "selftext": drawn.choice(filler) if is_self else "",
            "title": drawn.choice(filler)[: drawn.randrange(20, 120)],
            "url": html.escape(url, quote=False),
        }
        missing = _LINE_BYTES - len(json.dumps(post)) - 40
        post["preview"] = {"images": [{"id": drawn.choice(filler)[:43], "alt": "x" * missing}]}
        yield post


def _url(number: int, drawn: random.Random, *, is_media: bool) -> str:
    if is_media:
        return f"https://{drawn.choice(_MEDIA)}/{number:x}{drawn.choice(['', '.jpg'])}"
    host = f"www.site{int(_N_HOSTS * (number * 0.6180339 % 1) ** 3)}.{_ENDS[number % len(_ENDS)]}"
    path = f"2017/11/{number % 28 + 1:02d}/{_WORDS[number % len(_WORDS)]}-{number}"
    is_query = number % 100 < 100 * _QUERY_FRAC
    query = f"?article={number}&page={number % 7}" if is_query else ""
    return f"{'https' if number % 3 else 'http'}://{host}/{path}{query}"


_WORDS = "the of market election science people after new report why says world game city".split()
_MEDIA = ("i.redd.it", "imgur.com", "i.imgur.com", "www.youtube.com", "youtu.be", "twitter.com")
_ENDS = ("com", "org", "co.uk", "net", "de")
_NONE = (
    "author_flair_css_class author_flair_text distinguished approved_at_utc banned_at_utc "
    "link_flair_css_class link_flair_text media secure_media suggested_sort thumbnail_height "
    "thumbnail_width view_count whitelist_status parent_whitelist_status post_hint"
)
_FALSE = (
    "archived brand_safe can_gild contest_mode edited hidden hide_score is_crosspostable "
    "is_reddit_media_domain is_video locked no_follow pinned send_replies spoiler stickied"
)
_REST: dict[str, Any] = {
    **dict.fromkeys(_NONE.split()),
    **dict.fromkeys(_FALSE.split(), False),
    "gilded": 0,
    "media_embed": {},
    "num_crossposts": 0,
    "retrieved_on": 1_514_764_800,
    "rte_mode": "markdown",
    "secure_media_embed": {},
    "subreddit": "news",
    "subreddit_id": "t5_2qh3l",
    "subreddit_type": "public",
    "thumbnail": "default",
}


def _megabytes(folder: Path) -> float:
    return (folder / "in" / "RS_x").stat().st_size / 1e6


# ── work ─────────────────────────────────────────────────────────────────────────────────────────


def _config() -> Config:
    """Returns the rules that the peer has, too: score, mark, hosts, endings."""
    known = params.load("links", Config, harness.ROOT / "params.yaml")
    return dataclasses.replace(known, until_utc=None, drop_deleted=False, drop_over_18=True)


def work(folder: Path) -> None:
    """Does our side's work once, from scratch."""
    for name in ("links", ".shards"):
        shutil.rmtree(folder / name, ignore_errors=True)
    os.chdir(folder)
    with parallel.engine() as engine:
        links.run(Path("in"), Path("links"), _config(), engine)


def _urls_equal(folder: Path) -> float:
    """Returns 1 if our links and the lists of the loops name the same URLs."""
    paths = manifest.load(folder / "links", "links").paths()
    ours = {url for path in paths for url in pq.read_table(path)["url"].to_pylist()}
    lists = [(folder / f"peer-{library}.txt").read_text().split() for library in _LIBRARIES]
    return float(all({html.unescape(url) for url in found} == ours for found in lists))


def _lines_counted(folder: Path) -> int:
    counts = manifest.load(folder / "links", "links").counts
    return counts.n_out + sum(counts.dropped.values())


def _parser() -> argparse.ArgumentParser:
    found = harness.parser(__doc__)
    found.add_argument("--case", choices=("dump", "links"), default="dump", help="what is read")
    return found


if __name__ == "__main__":
    harness.main(main, _parser(), work)
