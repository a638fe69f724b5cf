"""Inputs behind addresses: a web server that misbehaves, and an S3 server, both on loopback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from crawl import links, sources
from pipeline.engine import elsewhere, remote
from pipeline.engine.tasks import Engine, InlineEngine
from pipeline.text import inputs
from tests import served, served_s3
from tests.served import Site

CONTENT = os.urandom(1 << 20)
STEP_BYTES = 100_000
BUCKET = "outbound-test"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "_STEP_BYTES", STEP_BYTES)
    with served.site() as told:
        told.body, told.url = CONTENT, f"{told.url}/RS_x.zst"
        yield told


@pytest.fixture(autouse=True)
def found_anew() -> None:
    """Settings of the environment are read when a process asks for the first time."""
    for kind in ("http", "s3"):
        fsspec.get_filesystem_class(kind).clear_instance_cache()


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 server with one bucket; everything else finds it as it finds AWS."""
    with served_s3.s3(BUCKET) as client:
        yield client


def put(client: Any, name: str, data: bytes) -> None:
    client.put_object(Bucket=BUCKET, Key=name, Body=data)


def copied(given: str, engine: Engine | None = None, pauses: list[float] | None = None) -> Path:
    noted = [] if pauses is None else pauses
    engine = engine or InlineEngine()
    return remote.local(given, lambda _: True, "links.inputs", "dumps", engine, noted.append)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# ── https ────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_read_in_ranges_and_kept(site: Site, workspace: Path) -> None:
    folder = copied(site.url)
    assert (folder / "RS_x.zst").read_bytes() == CONTENT
    assert folder.is_relative_to(workspace / ".remote")
    ranges = site.gets()
    assert len(ranges) == 11
    assert ranges[0] == f"bytes=0-{STEP_BYTES - 1}"
    site.requests.clear()
    assert copied(site.url) == folder
    assert {method for method, *_ in site.requests} == {"HEAD"}


def test_a_broken_transfer_goes_on_where_it_was(site: Site, workspace: Path) -> None:
    del workspace
    site.cuts = [STEP_BYTES, 10, 0]
    pauses: list[float] = []
    folder = copied(site.url, pauses=pauses)
    assert (folder / "RS_x.zst").read_bytes() == CONTENT
    gets = site.gets()
    assert gets.count(f"bytes=0-{STEP_BYTES - 1}") == 1
    assert pauses == [0.0, 2.0]  # the first try brought something, the second nothing


def test_errors_that_may_pass_are_tried_again(site: Site, workspace: Path) -> None:
    del workspace
    site.statuses = [503, 503, 429, 429]  # the question what is there asks twice each time
    pauses: list[float] = []
    assert (copied(site.url, pauses=pauses) / "RS_x.zst").read_bytes() == CONTENT
    assert pauses == [2.0, 4.0]


def test_it_gives_up_after_some_tries(site: Site, workspace: Path) -> None:
    del workspace
    site.statuses = [500] * 1000
    pauses: list[float] = []
    with pytest.raises(OSError, match=r"RS_x\.zst: 500.*the same command continues"):
        copied(site.url, pauses=pauses)
    assert pauses == [2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_not_asked_again(site: Site, workspace: Path, status: int) -> None:
    del workspace
    site.statuses = [status] * 1000
    with pytest.raises(FileNotFoundError, match=r"RS_x\.zst does not exist; mend the address"):
        copied(site.url)
    assert len(site.requests) == 2


def test_a_dead_server_is_told_from_a_missing_file(workspace: Path) -> None:
    del workspace
    with pytest.raises(OSError, match="Cannot connect to host"):
        copied("http://127.0.0.1:9/RS_x.zst")


def test_a_server_without_ranges_is_read_from_the_beginning(site: Site, workspace: Path) -> None:
    del workspace
    site.has_ranges = False
    site.cuts = [300_000]
    assert (copied(site.url) / "RS_x.zst").read_bytes() == CONTENT


def test_a_server_that_does_not_tell_the_size(site: Site, workspace: Path) -> None:
    del workspace
    site.has_ranges = site.tells_size = False
    assert (copied(site.url) / "RS_x.zst").read_bytes() == CONTENT


def test_what_names_no_version_is_copied_again(site: Site, workspace: Path) -> None:
    del workspace
    site.etag = None
    copied(site.url)
    site.body = CONTENT[::-1]
    assert (copied(site.url) / "RS_x.zst").read_bytes() == CONTENT[::-1]


def test_a_new_version_replaces_the_old_one(site: Site, workspace: Path) -> None:
    del workspace
    copied(site.url)
    site.body, site.etag = b"new", '"two"'
    assert (copied(site.url) / "RS_x.zst").read_bytes() == b"new"


def test_two_versions_are_never_joined(site: Site, workspace: Path) -> None:
    del workspace
    site.change_after = 5
    with pytest.raises(OSError, match="it changed while it was read"):
        copied(site.url)
    assert names(Path(".remote")) == [next(n for n in names(Path(".remote")) if "/marks/" in n)]
    assert (copied(site.url) / "RS_x.zst").read_bytes() == CONTENT[::-1]


def test_an_old_part_is_not_continued_with_a_new_version(site: Site, workspace: Path) -> None:
    del workspace
    site.cuts = [STEP_BYTES] * 3 + [0] * 1000
    with pytest.raises(OSError, match="the same command continues"):
        copied(site.url)
    site.cuts, site.body, site.etag = [], CONTENT[::-1], '"two"'
    assert (copied(site.url) / "RS_x.zst").read_bytes() == CONTENT[::-1]


def test_a_kill_loses_at_most_one_range(site: Site, workspace: Path) -> None:
    site.wait_s = 0.05
    script = (
        "from pipeline.engine import remote\n"
        "from pipeline.engine.tasks import InlineEngine\n"
        f"remote._STEP_BYTES = {STEP_BYTES}\n"
        f"remote.local({site.url!r}, lambda _: True, 'x', 'y', InlineEngine())\n"
    )
    code = {**os.environ, "PYTHONPATH": str(Path(remote.__file__).parents[2])}
    child = subprocess.Popen([sys.executable, "-c", script], cwd=workspace, env=code)
    while len(site.gets()) < 5:
        time.sleep(0.01)
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    (part,) = (path for path in (workspace / ".remote").rglob("*") if path.parent.name == "parts")
    n_bytes = part.stat().st_size
    assert n_bytes >= 3 * STEP_BYTES
    site.requests.clear()
    assert (copied(site.url) / "RS_x.zst").read_bytes() == CONTENT
    first = site.gets()[0]
    assert first is not None
    assert first.startswith(f"bytes={n_bytes}-")


def test_a_full_disk_is_named_and_not_tried_again(
    site: Site, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del workspace

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "parts/RS_x.zst")

    monkeypatch.setattr(remote, "_copy", full)
    pauses: list[float] = []
    with pytest.raises(OSError, match="No space left"):
        copied(site.url, pauses=pauses)
    assert pauses == []


# ── credentials ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "address",
    [
        "https://me:hunter2@a.test/RS_x.zst",
        "https://a.test/RS_x.zst?X-Amz-Signature=hunter2",
        "https://a.test/RS_x.zst?sv=1&sig=hunter2",
        "https://a.test/RS_x.zst?access_token=hunter2",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ValueError, match=r"~/\.netrc") as told:
        copied(address)
    assert "hunter2" not in str(told.value)


def test_queries_are_not_shown(site: Site, workspace: Path) -> None:
    del workspace
    site.statuses = [403] * 10
    with pytest.raises(PermissionError, match=r"give credentials by ~/\.netrc") as told:
        copied(f"{site.url}?key=hunter2")
    assert "hunter2" not in str(told.value)


def test_netrc_is_used(site: Site, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.auth = "Basic bWU6aHVudGVyMg=="
    (workspace / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(workspace / "netrc"))
    assert (copied(site.url) / "RS_x.zst").read_bytes() == CONTENT


def test_without_credentials_s3_says_where_they_belong(
    s3: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del s3
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(workspace))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PermissionError, match="AWS_PROFILE or AWS_ACCESS_KEY_ID"):
        copied(f"s3://{BUCKET}/dumps")


def test_without_s3fs_the_command_that_installs_it_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del workspace
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(OSError, match=r"needs s3fs; `make setup-cluster` installs it"):
        copied(f"s3://{BUCKET}/dumps")


# ── s3 ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_prefix_is_copied_as_a_folder(
    s3: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_STEP_BYTES", STEP_BYTES)
    del workspace
    put(s3, "tree/a.txt", CONTENT)
    put(s3, "tree/deep/b.txt", b"b")
    put(s3, "tree/deep/.hidden", b"")
    put(s3, "tree/deep/", b"")
    put(s3, "treetop/c.txt", b"another prefix")
    put(s3, "tree/empty.txt", b"")
    folder = copied(f"s3://{BUCKET}/tree/")
    assert names(folder) == ["a.txt", "deep/b.txt", "empty.txt"]
    assert (folder / "a.txt").read_bytes() == CONTENT
    s3.delete_object(Bucket=BUCKET, Key="tree/deep/b.txt")
    put(s3, "tree/a.txt", b"new")
    before = (folder / "empty.txt").stat().st_mtime_ns
    assert copied(f"s3://{BUCKET}/tree/") == folder
    assert names(folder) == ["a.txt", "empty.txt"]
    assert (folder / "a.txt").read_bytes() == b"new"
    assert (folder / "empty.txt").stat().st_mtime_ns == before


def test_a_prefix_of_more_objects_than_one_answer_holds(s3: Any) -> None:
    for i in range(1_050):
        put(s3, f"many/{i:04d}.txt", b"%d" % i)
    found = list(remote._list(f"s3://{BUCKET}/many"))
    assert [source.name for source in found] == [f"{i:04d}.txt" for i in range(1_050)]
    assert found[-1].n_bytes == 4


def test_one_object(s3: Any, workspace: Path) -> None:
    del workspace
    put(s3, "one/RS_y.zst", b"y")
    assert names(copied(f"s3://{BUCKET}/one/RS_y.zst")) == ["RS_y.zst"]


def test_names_that_lead_elsewhere(
    s3: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "evil/ok.txt", b"b")
    real = remote._system("s3://")
    found = {f"{BUCKET}/evil/{name}": {"size": 1, "ETag": "1"} for name in ("../out.txt", "a//b")}

    class Listing:
        def find(self, root: str, *, detail: bool) -> dict[str, Any]:
            return {**found, **real.find(root, detail=detail)}

    monkeypatch.setattr(remote, "_system", lambda _: Listing())
    with pytest.raises(ValueError, match="evil/a//b has a name that is no path; rename it"):
        copied(f"s3://{BUCKET}/evil")
    del found[f"{BUCKET}/evil/a//b"]
    found_names = [source.name for source in remote._list(f"s3://{BUCKET}/evil")]
    assert found_names == ["ok.txt"]  # what begins with a dot is hidden, `..` too
    assert not list(workspace.rglob("out.txt"))


def test_nothing_there_is_told(s3: Any, workspace: Path) -> None:
    del s3, workspace
    with pytest.raises(FileNotFoundError, match="holds no file; expected dumps"):
        copied(f"s3://{BUCKET}/nothing")
    with pytest.raises(FileNotFoundError, match="no-such-bucket/x does not exist"):
        copied("s3://no-such-bucket/x")


def test_ray_workers_copy(s3: Any, workspace: Path, ray_engine: Engine, site: Site) -> None:
    del s3, workspace  # workers began before the S3 server did, so they ask the other one
    assert (copied(site.url, ray_engine) / "RS_x.zst").read_bytes() == CONTENT


# ── who reads them ───────────────────────────────────────────────────────────────────────────────


def test_links_take_dumps_and_lists_only(s3: Any, workspace: Path, inline: Engine) -> None:
    put(s3, "dumps/RS_2017-10", b"{}")
    put(s3, "dumps/urls.txt", b"http://a.test/")
    put(s3, "dumps/README.md", b"")
    folder = links.folder(f"s3://{BUCKET}/dumps", inline)
    assert names(folder) == ["RS_2017-10", "urls.txt"]
    assert all(sources.is_input(folder / name) for name in names(folder))
    assert links.folder("data/dump", inline) == Path("data/dump")
    assert not (workspace / "data").exists()


def test_named_inputs_mix_paths_and_addresses(s3: Any, workspace: Path, inline: Engine) -> None:
    put(s3, "docs/deep/A.TXT", b"a")
    put(s3, "docs/skipped.bin", b"a")
    (workspace / "own.txt").write_text("own")
    found = inputs.find(
        ["own.txt", f"s3://{BUCKET}/docs"], lambda n: n.endswith(".txt"), "x", "texts", inline
    )
    assert [each.name for each in found] == ["own.txt", "deep/A.TXT"]
    assert found[1].path.read_bytes() == b"a"


def test_what_is_an_address() -> None:
    assert elsewhere.is_remote("s3://b/x")
    assert not elsewhere.is_remote("/data/s3:/x")
