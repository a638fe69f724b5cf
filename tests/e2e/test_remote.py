"""Stores and inputs elsewhere: DVC's remote in a folder, on S3, behind HTTP; dumps there, too."""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pipeline.store import manifest
from tests import served, served_s3
from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e

BUCKET = "outbound-e2e"
MADE = {"data/links": "links", "data/warc": "crawl", "data/corpus": "decontaminate"}
MADE |= {"data/tokens": "encode"}


@pytest.fixture(scope="module", autouse=True)
def s3() -> Iterator[Any]:
    """A client of an S3 server with one bucket; DVC and the stages find it as they find AWS."""
    with served_s3.s3(BUCKET) as client:
        yield client


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, each file with an ETag as real servers have it."""

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}-{path.stat().st_size:x}"')
        super().end_headers()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A folder, and the address under which a web server shows it."""
    folder = tmp_path / "site"
    folder.mkdir()
    with served.http(partial(_Quiet, directory=str(folder))) as address:
        yield address, folder


def dvc(project: Project, *arguments: str) -> str:
    done = project.python("dvc", *arguments, OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def second(finished: Project, root: Path) -> Project:
    """Returns a project as its files in Git are: no outputs, no cache, the lock of the first."""
    clone = Project(root)
    for name in ("params.yaml", "dvc.lock", ".dvc/config", ".dvc/config.local"):
        if (finished.root / name).exists():
            shutil.copy(finished.root / name, root / name)
    return clone


@pytest.mark.parametrize("kind", ["folder", "s3", "http"])
def test_a_second_clone_pulls_and_runs_nothing(
    finished: Project, tmp_path: Path, site: tuple[str, Path], kind: str
) -> None:
    address, shown = site
    url = {"folder": str(tmp_path / "store"), "s3": f"s3://{BUCKET}/store", "http": str(shown)}
    first = finished.clone(tmp_path / "first")
    dvc(first, "remote", "add", "--default", "store", url[kind])
    told = dvc(first, "push")
    other = second(first, tmp_path / "other")
    if kind == "http":  # who pulls has the address only
        dvc(other, "remote", "modify", "store", "url", address)
    told += dvc(other, "pull")
    told += dvc(other, "repro")
    assert "Data and pipelines are up to date." in told
    assert "Running stage" not in told
    assert served_s3.SECRET not in told
    for folder, maker in MADE.items():
        ours, theirs = (manifest.load(p.root / folder, maker) for p in (other, finished))
        assert ours.root == theirs.root


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_dumps_elsewhere_give_the_links_of_dumps_here(
    finished: Project, tmp_path: Path, site: tuple[str, Path], kind: str, s3: Any
) -> None:
    address, shown = site
    project = finished.clone(tmp_path / "project")
    (dump,) = (project.root / "data" / "dump").glob("RS_*")
    expected = manifest.load(project.root / "data" / "links", "links").root
    if kind == "s3":
        given, upload = f"s3://{BUCKET}/{dump.parent.name}", s3.upload_file
        upload(str(dump), BUCKET, f"dump/{dump.name}")
    else:
        given = f"{address}/{dump.name}"
        shutil.copy(dump, shown / dump.name)
    params = project.root / "params.yaml"
    text, n = re.subn(
        r"(?m)^(links:\n(?:  .*\n)*?  inputs: )\S+", rf"\g<1>{given}", params.read_text()
    )
    assert n == 1
    params.write_text(text)
    told = dvc(project, "repro", "links")
    assert "Running stage 'links'" in told
    assert manifest.load(project.root / "data" / "links", "links").root == expected
    assert "up to date" in dvc(project, "repro", "links")
    assert served_s3.SECRET not in told + (project.root / "dvc.lock").read_text()
    # Another version there is another dependency: the stage runs again, and reads the new one.
    (tmp_path / "RS_new").write_bytes(b"")
    if kind == "s3":
        upload(str(tmp_path / "RS_new"), BUCKET, "dump/RS_new.ndjson")
    else:
        shutil.copy(finished.root / "data" / "dump" / dump.name, shown / "new")
        with (shown / "new").open("ab") as file:
            file.write((shown / dump.name).read_bytes())
        (shown / "new").replace(shown / dump.name)
    again = dvc(project, "repro", "links")
    assert "Running stage 'links'" in again
