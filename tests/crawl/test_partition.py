"""One partition as a whole: politeness seen by the server, resume after anything, no link twice."""

import asyncio
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator
from warcio.checker import Checker

from crawl import journal, partition, seal
from crawl.journal import Journal
from crawl.partition import by_host, sorted_by_host
from crawl.seal import Sealed
from pipeline.store import warc
from pipeline.store.errors import ManifestError, ShardError
from pipeline.store.warc import Encoded, Exchange, Response
from tests.crawl.site import SETTINGS, Site, crawl_links, job, paced, page, reach, redirect

WARC = "part.warc.gz"
HOSTS = ("a.test", "b.test", "c.test")


def links_of(site: Site, n_per_host: int = 8) -> list[str]:
    """Returns links of three hosts: pages, and one of each kind of trouble."""
    links = [
        site.answer(f"http://{host}/{i}", page(f"<p>{host} {i}</p>".encode() * 20))
        for host in HOSTS
        for i in range(n_per_host)
    ]
    links.append(site.answer("http://a.test/moved", redirect("http://b.test/there")))
    site.answer("http://b.test/there", page(b"<p>moved"))
    links.append(site.answer("http://b.test/image", page(b"x", kind="image/png")))
    return [*links, "http://c.test/missing"]


def outcomes(folder: Path) -> dict[str, str]:
    """Returns the outcome of each URL, and fails on one that stands there twice."""
    rows = pq.read_table(folder / "fetches" / "part-00000.parquet").to_pylist()
    assert len({row["doc_id"] for row in rows}) == len(rows)
    return {row["url"]: row["outcome"] for row in rows}


def answers(folder: Path) -> Counter[str]:
    """Returns how often each link is answered in the WARC, which must be whole."""
    found = list(warc.read_responses(folder / "warc" / "part-00000.warc.gz"))
    assert all(isinstance(each, Response) for each in found)
    return Counter(r.link for r in found if isinstance(r, Response) and r.link is not None)


# ── politeness ───────────────────────────────────────────────────────────────────────────────────


def test_requests_to_one_host_keep_the_delay_and_hosts_go_on_together(
    tmp_path: Path, site: Site
) -> None:
    links = links_of(site, 5)
    crawl_links(tmp_path, site, *links, settings=paced(min_delay_s=0.05))
    for host in HOSTS:
        times = [request.at for request in site.log if request.host == host]
        assert len(times) >= 6  # five pages and robots.txt
        assert min(later - earlier for earlier, later in pairwise(times)) >= 0.05
    firsts = {request.host for request in site.log[:3]}
    assert firsts == set(HOSTS), "hosts are worked on at the same time"


def test_host_answers_one_request_at_a_time_whoever_asks(tmp_path: Path, site: Site) -> None:
    """Redirects from two hosts and links of its own all lead to one slow host."""
    active, most = 0, 0

    async def slow(writer: asyncio.StreamWriter) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.02)
        writer.write(page(b"<p>slow"))
        active -= 1

    own = [site.answer(f"http://c.test/{i}", slow) for i in range(4)]
    to_it = [
        site.answer(f"http://{host}/{i}", redirect(f"http://c.test/{i}"))
        for host in ("a.test", "b.test")
        for i in range(4)
    ]
    crawl_links(tmp_path, site, *own, *to_it)
    assert len(own) * 3 == sum(request.path != "/robots.txt" for request in site.log) - len(to_it)
    assert most == 1


def test_crawl_delay_of_robots_is_kept(tmp_path: Path, site: Site) -> None:
    site.answer("http://a.test/robots.txt", page(b"User-agent: *\nCrawl-delay: 0.15\n"))
    links = [site.answer(f"http://a.test/{i}", page(b"x")) for i in range(3)]
    crawl_links(tmp_path, site, *links)
    times = [request.at for request in site.log]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.15


def test_retry_after_is_waited_for(tmp_path: Path, site: Site) -> None:
    link = site.answer("http://a.test/x", page(b"", 503, "Retry-After: 1"), page(b"<p>now"))
    crawl_links(tmp_path, site, link, settings=paced(max_retry_after_s=0.3))
    first, second = (request.at for request in site.log if request.path == "/x")
    assert second - first >= 0.3
    assert outcomes(tmp_path) == {link: "fetched"}


def test_link_that_fails_goes_to_the_end_of_its_hosts_line(tmp_path: Path, site: Site) -> None:
    """Links are in the order of their ids, so the test sorts its expectation the same way."""
    links = [site.answer(f"http://a.test/{i}", page(b"x")) for i in range(4)]
    order = [row["url"] for row in _rows(job(tmp_path, links).links)]
    site.answer(order[0], page(b"", 500), page(b"x"))
    crawl_links(tmp_path, site, *links)
    asked = [f"http://a.test{r.path}" for r in site.log if r.path != "/robots.txt"]
    assert asked == [*order, order[0]]


def _rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_host_with_errors_in_row_is_left_alone(tmp_path: Path, site: Site) -> None:
    links = [site.answer(f"http://a.test/{i}", page(b"", 500)) for i in range(9)]
    crawl_links(tmp_path, site, *links, settings=paced(park_after=4, max_attempts=1))
    assert Counter(outcomes(tmp_path).values()) == {"http_500": 4, "host_parked": 5}
    assert len(site.log) == 5


def test_hosts_with_most_links_come_first() -> None:
    urls = ["http://a/1", "http://b/1", "http://c/1", "http://c/2", "http://b/2", "http://c/3"]
    links = pa.table({"url": urls, "host": [url[7] for url in urls]})
    found = [host["url"].to_pylist() for host in by_host(sorted_by_host(links))]
    assert [[url[7:] for url in host] for host in found] == [
        ["c/1", "c/2", "c/3"],
        ["b/1", "b/2"],
        ["a/1"],
    ]


# ── resume ───────────────────────────────────────────────────────────────────────────────────────


def test_finished_partition_is_kept_and_nothing_is_asked_again(tmp_path: Path, site: Site) -> None:
    links = links_of(site)
    first = crawl_links(tmp_path, site, *links)
    n_requests = len(site.log)
    second = crawl_links(tmp_path, site, *links, settings=paced(min_delay_s=0.001))
    assert (first.was_kept, second.was_kept) == (False, True)
    assert (second.warc, second.fetches) == (first.warc, first.fetches)
    assert len(site.log) == n_requests


@pytest.mark.parametrize("name", ["warc/part-00000.warc.gz", "fetches/part-00000.parquet"])
def test_finished_partition_with_a_damaged_file_is_mended(
    tmp_path: Path, site: Site, name: str
) -> None:
    links = links_of(site)
    first = crawl_links(tmp_path, site, *links)
    damaged = tmp_path / name
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    again = crawl_links(tmp_path, site, *links)
    assert not again.was_kept
    assert again.warc.counts == first.warc.counts
    assert answers(tmp_path).most_common(1)[0][1] == 1


def test_other_identity_begins_anew(tmp_path: Path, site: Site) -> None:
    links = links_of(site)
    crawl_links(tmp_path, site, *links)
    n_requests = len(site.log)
    one = dataclasses.replace(job(tmp_path, links), identity="another")
    again = partition.crawl(SETTINGS, reach(site, *HOSTS), one)
    assert not again.was_kept
    assert len(site.log) == 2 * n_requests
    assert answers(tmp_path).most_common(1)[0][1] == 1


def test_links_that_were_left_are_taken_up_by_the_next_run(tmp_path: Path, site: Site) -> None:
    links = links_of(site)
    stopped = dataclasses.replace(SETTINGS, stop_after_s=-1.0)
    crawl_links(tmp_path, site, *links, settings=stopped)
    assert set(outcomes(tmp_path).values()) == {"deferred"}
    assert site.log == []
    crawl_links(tmp_path, site, *links)
    assert Counter(outcomes(tmp_path).values()) == {
        "fetched": len(links) - 2,
        "content_type": 1,
        "http_404": 1,
    }


def test_second_crawler_on_the_same_folder_gets_a_clear_error(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE_S", 0.2)
    one = job(tmp_path, links_of(site))
    with (
        journal.locked(one.work),
        pytest.raises(ShardError, match=rf"crawled by another process \(pid {os.getpid()}\)"),
    ):
        partition.crawl(SETTINGS, reach(site, *HOSTS), one)
    assert site.log == []


def test_links_that_changed_since_their_manifest_stop_the_partition(
    tmp_path: Path, site: Site
) -> None:
    one = dataclasses.replace(job(tmp_path, links_of(site)), links_sha256="0" * 64)
    with pytest.raises(ManifestError, match="dvc repro links"):
        partition.crawl(SETTINGS, reach(site, *HOSTS), one)


def _interrupted(folder: Path, n_warc: float, n_journal: float) -> None:
    """Puts a finished partition back into the state of one that was killed on the way.

    Args:
        folder: The partition's folder.
        n_warc: Share of the WARC that was written.
        n_journal: Share of the journal that was written.
    """
    work = folder / "warc" / ".journal" / "part-00000"
    (folder / "warc" / "part-00000.warc.gz").rename(work / WARC)
    for path in [*(folder / "warc").glob("part*"), *(folder / "fetches").rglob("part*")]:
        path.unlink()
    for path, share in ((work / WARC, n_warc), (work / "journal.jsonl", n_journal)):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("n_warc", "n_journal"),
    [
        pytest.param(1.0, 1.0, id="at the end"),
        pytest.param(1.0, 0.999, id="in the last line"),
        pytest.param(0.61, 0.6, id="records without a line"),
        pytest.param(0.5, 0.77, id="lines without records, after a power cut"),
        pytest.param(1.0, 0.0, id="no journal"),
        pytest.param(0.0, 1.0, id="no WARC"),
        pytest.param(0.005, 0.01, id="at the beginning"),
    ],
)
def test_partition_that_was_cut_anywhere_ends_as_if_it_was_not(
    tmp_path: Path, site: Site, n_warc: float, n_journal: float
) -> None:
    links = links_of(site)
    crawl_links(tmp_path, site, *links)
    expected, expected_answers = outcomes(tmp_path), answers(tmp_path)
    _interrupted(tmp_path, n_warc, n_journal)
    crawl_links(tmp_path, site, *links)
    assert outcomes(tmp_path) == expected
    assert answers(tmp_path) == expected_answers
    assert set(expected_answers.values()) == {1}


def test_partition_killed_between_rename_and_sidecar_asks_nothing_again(
    tmp_path: Path, site: Site
) -> None:
    links = links_of(site)
    crawl_links(tmp_path, site, *links)
    n_requests, expected = len(site.log), answers(tmp_path)
    (tmp_path / "warc" / "part-00000.json").unlink()
    crawl_links(tmp_path, site, *links)
    assert len(site.log) == n_requests
    assert answers(tmp_path) == expected


_CHILD = """
import sys
from pathlib import Path
from tests.crawl.site import SETTINGS, job, reach, Site
from crawl import partition
folder, port, links = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split()
site = Site(port=port)
partition.crawl(SETTINGS, reach(site, "a.test", "b.test", "c.test"), job(folder, links))
"""


@pytest.mark.parametrize("kill_at", [3, 17])
def test_crawl_killed_in_the_middle_goes_on_and_ends_the_same(
    tmp_path: Path, site: Site, kill_at: int
) -> None:
    links = links_of(site)
    crawl_links(tmp_path / "whole", site, *links)
    site.log.clear()
    child: list[subprocess.Popen[bytes]] = []

    def deadly(answer: bytes) -> Callable[[asyncio.StreamWriter], Any]:
        async def write(writer: asyncio.StreamWriter) -> None:
            if len(site.log) >= kill_at:
                os.kill(child[0].pid, signal.SIGKILL)
            writer.write(answer)

        return write

    plain = {key: list(found) for key, found in site.routes.items()}
    for key, found in plain.items():
        site.routes[key] = [deadly(found[0])]  # type: ignore[arg-type]
    told = [sys.executable, "-c", _CHILD, str(tmp_path / "cut"), str(site.port), " ".join(links)]
    child.append(subprocess.Popen(told, cwd=Path(__file__).parents[2]))
    assert child[0].wait() == -signal.SIGKILL
    site.routes |= plain
    assert not (tmp_path / "cut" / "warc" / "part-00000.json").exists()
    done = _done(tmp_path / "cut")
    asked = {link: site.asked(link) for link in done}
    assert len(done) >= kill_at - 10  # of three hosts with robots.txt, redirects and one in flight

    crawl_links(tmp_path / "cut", site, *links)
    assert outcomes(tmp_path / "cut") == outcomes(tmp_path / "whole")
    assert answers(tmp_path / "cut") == answers(tmp_path / "whole")
    assert {link: site.asked(link) for link in done} == asked
    assert _done(tmp_path / "cut") == set(links)


def _done(folder: Path) -> set[str]:
    """Returns the links that a journal has."""
    lines = (folder / "warc/.journal/part-00000/journal.jsonl").read_text().splitlines()[1:]
    return {json.loads(line)["row"]["url"] for line in lines}


def _open(folder: Path, max_bytes: int = 1 << 30) -> Journal:
    return journal.resume(folder, "one", "part-00000", _head, max_bytes)


def _head(name: str) -> bytes:
    return warc.encode_info(name, "2017-12-01T00:00:00Z", [("software", name)])


def _records(number: int) -> list[Encoded]:
    exchange = Exchange(
        url=f"http://a.test/{number}",
        date="2017-12-01T00:00:00Z",
        address="",
        request=b"GET / HTTP/1.1\r\n\r\n",
        status_line="HTTP/1.1 200 OK",
        headers=(),
        body=f"page {number}".encode() * 20,
        truncated="",
    )
    return [warc.encode_exchange(exchange, str(number), None)]


def _row(number: int, outcome: str = "fetched") -> dict[str, Any]:
    return {"doc_id": str(number), "outcome": outcome, "detail": "é"}


def test_journal_line_with_a_torn_character_is_not_the_end_of_the_journal(tmp_path: Path) -> None:
    opened = _open(tmp_path)
    sizes = []
    for number in range(3):
        opened.add(_row(number), _records(number))
        sizes.append((tmp_path / WARC).stat().st_size)
    opened.close()
    file = tmp_path / "journal.jsonl"
    torn = file.read_bytes().rindex("é".encode()) + 1
    file.write_bytes(file.read_bytes()[:torn])
    again = _open(tmp_path)
    again.close()
    assert [entry.row["doc_id"] for entry in again.entries()] == ["0", "1"]
    assert again.done == {"0", "1"}
    assert (tmp_path / WARC).stat().st_size == sizes[1]


def test_journal_after_a_power_cut_that_left_zeros_undoes_what_is_not_whole(tmp_path: Path) -> None:
    opened = _open(tmp_path)
    for number in range(4):
        opened.add(_row(number), _records(number))
    opened.close()
    stretches = [(entry.begin, entry.end) for entry in opened.entries()]
    data = bytearray((tmp_path / WARC).read_bytes())
    data[stretches[2][0] + 40 :] = bytes(len(data) - stretches[2][0] - 40)
    (tmp_path / WARC).write_bytes(data)
    again = _open(tmp_path)
    again.close()
    assert again.done == {"0", "1"}
    assert (tmp_path / WARC).stat().st_size == stretches[1][1]


@given(
    cuts=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=4), n=st.integers(0, 9)
)
@tried(max_examples=60)
def test_journal_cut_anywhere_keeps_whole_links_only_and_ends_with_each_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, float]], n: int
) -> None:
    """Cuts the journal and any of its WARC files at random offsets, then goes on, twice."""
    folder = tmp_path_factory.mktemp("cut")
    opened = _open(folder, max_bytes=900)
    for number in range(n):
        opened.add(_row(number, "deferred" if number % 4 == 3 else "fetched"), _records(number))
    opened.close()
    for place, share in cuts:
        files = [folder / "journal.jsonl", *opened.volumes()]
        file = files[place % len(files)]
        os.truncate(file, int(file.stat().st_size * share))
    opened = _open(folder, max_bytes=900)
    assert opened.done <= {str(number) for number in range(n) if number % 4 != 3}
    for left in sorted({str(number) for number in range(9)} - opened.done):
        opened.add(_row(int(left)), _records(int(left)))
    opened.close()
    found = [read for path in opened.volumes() for read in warc.read_responses(path)]
    assert all(isinstance(each, Response) for each in found)
    assert sorted(r.url for r in found) == [f"http://a.test/{i}" for i in range(9)]  # type: ignore[union-attr]
    assert sorted(e.row["doc_id"] for e in opened.entries()) == [str(i) for i in range(9)]
    for entry in opened.entries():
        told = json.loads(entry.index[0].split(" ", 2)[2])
        path = folder / told["filename"].replace("part-00000", "part")
        offsets = {r.url: r.offset for r in warc.read_responses(path)}  # type: ignore[union-attr]
        assert offsets[told["url"]] == int(told["offset"])


def test_journal_whose_warc_was_taken_away_begins_anew(tmp_path: Path) -> None:
    opened = _open(tmp_path, max_bytes=400)
    for number in range(5):
        opened.add(_row(number), _records(number))
    opened.close()
    assert opened.n_volumes > 2
    opened.volumes()[0].unlink()
    again = _open(tmp_path, max_bytes=400)
    again.close()
    assert (again.done, again.n_volumes) == (set(), 1)
    assert [path.name for path in tmp_path.glob("*.gz")] == [WARC]


# ── files ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def finished(tmp_path: Path, site: Site) -> Sealed:
    return crawl_links(tmp_path, site, *links_of(site))


def test_index_points_at_the_records(tmp_path: Path, finished: Sealed) -> None:
    lines = (tmp_path / "warc" / "part-00000.cdxj").read_text().splitlines()
    assert lines == sorted(lines)
    assert finished.warc.files["part-00000.cdxj"].rows == len(lines)
    found = warc.read_responses(tmp_path / "warc" / "part-00000.warc.gz")
    by_offset = {r.offset: r for r in found if isinstance(r, Response)}
    assert len(lines) == len(by_offset)
    for line in lines:
        told = json.loads(line.split(" ", 2)[2])
        response = by_offset[int(told["offset"])]
        assert (told["url"], told["status"]) == (response.url, str(response.http_status))
        assert told["filename"] == "part-00000.warc.gz"


def test_index_of_many_runs_is_the_index_of_one(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = links_of(site)
    crawl_links(tmp_path / "one", site, *links)
    monkeypatch.setattr(seal, "_BATCH", 2)
    monkeypatch.setattr(seal, "_RUN_LINES", 3)
    sealed = crawl_links(tmp_path / "many", site, *links)
    told = [(tmp_path / name / "warc/part-00000.cdxj").read_text() for name in ("one", "many")]
    places = [[line.split(" ")[:2] for line in text.splitlines()] for text in told]
    assert places[0] == places[1]
    lines = told[1].splitlines()
    assert lines == sorted(lines)
    assert sealed.warc.files["part-00000.cdxj"].rows == len(lines) > 9
    assert not list((tmp_path / "many/warc/.journal/part-00000").glob("index*"))


def test_rotated_files_are_whole_for_other_readers_and_hold_what_one_file_does(
    tmp_path: Path, site: Site
) -> None:
    links = links_of(site)
    crawl_links(tmp_path / "one", site, *links)
    settings = dataclasses.replace(SETTINGS, max_warc_bytes=4000)
    sealed = crawl_links(tmp_path / "many", site, *links, settings=settings)
    files = sorted((tmp_path / "many/warc").glob("*.warc.gz"))
    assert len(files) > 3
    assert {path.name for path in files} <= set(sealed.warc.files)
    found: list[Response] = []
    for path in files:
        with path.open("rb") as stream:
            kinds = [record.rec_type for record in ArchiveIterator(stream)]
        with path.open("rb") as stream:
            assert len(list(FastIterator(stream))) == len(kinds)
        assert (kinds[0], kinds.count("warcinfo")) == ("warcinfo", 1)
        checker = Checker(type("Arguments", (), {"inputs": [str(path)], "verbose": False})())
        checker.process_all()
        assert checker.exit_value == 0
        found += [r for r in warc.read_responses(path) if isinstance(r, Response)]
        assert path.stat().st_size < 4000 + 2000, "one exchange beyond the size at most"
    assert Counter(r.link for r in found if r.link) == answers(tmp_path / "one")
    for line in (tmp_path / "many/warc/part-00000.cdxj").read_text().splitlines():
        told = json.loads(line.split(" ", 2)[2])
        responses = warc.read_responses(tmp_path / "many/warc" / told["filename"])
        at = {r.offset: r.url for r in responses if isinstance(r, Response)}
        assert at[int(told["offset"])] == told["url"]


def test_rotated_partition_that_was_cut_asks_only_for_what_is_lost(
    tmp_path: Path, site: Site
) -> None:
    links = links_of(site)
    settings = dataclasses.replace(SETTINGS, max_warc_bytes=4000)
    crawl_links(tmp_path, site, *links, settings=settings)
    n_asked, work = len(site.log), tmp_path / "warc/.journal/part-00000"
    for path in sorted((tmp_path / "warc").glob("*.warc.gz")):
        path.rename(work / path.name.replace("part-00000", "part"))
    last = max(work.glob("part.*.warc.gz"))
    os.truncate(last, last.stat().st_size - 5)
    for path in (tmp_path / "warc").glob("part*"):
        path.unlink()
    crawl_links(tmp_path, site, *links, settings=settings)
    assert 1 <= len(site.log) - n_asked <= 4, "the link of the last record, with its robots.txt"
    assert Counter(outcomes(tmp_path).values())["fetched"] == len(links) - 2


def test_decisions_hold_every_link_that_was_not_fetched(tmp_path: Path, finished: Sealed) -> None:
    decisions = pq.read_table(tmp_path / "fetches/decisions/part-00000.parquet").to_pylist()
    assert Counter(row["reason"] for row in decisions) == finished.fetches.counts.dropped
    assert {row["stage"] for row in decisions} == {"crawl"}
    finished.fetches.counts.check("the partition")


def test_fixed_instant_makes_equal_records_whatever_the_day(tmp_path: Path, site: Site) -> None:
    link = site.answer("http://a.test/x", page(b"<p>same"))
    for name in ("first", "second"):
        crawl_links(tmp_path / name, site, link)
    first, second = (
        tmp_path / name / "warc" / "part-00000.warc.gz" for name in ("first", "second")
    )
    assert first.read_bytes() == second.read_bytes()


def test_real_clock_dates_records_by_their_request(tmp_path: Path, site: Site) -> None:
    link = site.answer("http://a.test/x", page(b"<p>now"))
    settings = dataclasses.replace(SETTINGS, captured_at="", stop_after_s=math.inf)
    crawl_links(tmp_path, site, link, settings=settings)
    (response,) = warc.read_responses(tmp_path / "warc" / "part-00000.warc.gz")
    assert isinstance(response, Response)
    assert response.warc_date > "2025-01-01T00:00:00Z"
