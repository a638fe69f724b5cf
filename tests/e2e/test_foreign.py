"""The graph without links: a corpus of archives and documents that somebody brings."""

import gzip
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.report.flow import flow
from pipeline.store import ledger, manifest
from tests.e2e.conftest import Project, without_network
from tests.pipeline.text.configs import PROSE
from tests.pipeline.text.warcs import response, write

pytestmark = pytest.mark.e2e

_STAGES = ("links", "crawl", "extract", "documents", "clean")


def _page(number: int) -> bytes:
    told = f"<p>{PROSE}</p><p>All this was written down by keeper number {number}.</p>"
    return f"<html><head><title>{number}</title></head><body>{told}</body></html>".encode()


def _bring(folder: Path) -> None:
    """Fills a folder with archives and a collection; both hold one address, twice."""
    pages = [response(f"http://a.test/{i}", _page(i), link=False) for i in range(4)]
    write(folder / "archives" / "one.warc.gz", *pages[:3], pages[3][:-50])
    write(folder / "archives" / "two.warc.gz", response("http://a.test/0", _page(9), link=False))
    rows = [
        {"text": f"{PROSE}\nIt was told in {i} ways.", "url": f"http://a.test/{i}"} for i in (0, 7)
    ]
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode(), mtime=0)
    (folder / "documents").mkdir()
    (folder / "documents" / "mine.jsonl.gz").write_bytes(packed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The graph up to `clean` on nothing but what was brought, without a network."""
    project = Project(tmp_path_factory.mktemp("foreign"))
    assert project.python("stages.configure", "size=tiny", "corpus=files").returncode == 0
    _bring(project.root / "brought")
    params = (project.root / "params.yaml").read_text()
    extract, documents = (params.index(f"\n{name}:") for name in ("extract", "documents"))
    params = (
        params[:extract]
        + params[extract:documents].replace("inputs: []", "inputs: [brought/archives]")
        + params[documents:].replace("inputs: []", "inputs: [brought/documents]")
    )
    (project.root / "params.yaml").write_text(params)
    (project.root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    repro = [*without_network(), *_repro()]
    done = project.run(repro, OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return project


def _repro() -> list[str]:
    return [sys.executable, "-m", "dvc", "repro", "clean"]


def test_foreign_graph_cleans_what_was_brought_and_nothing_else(made: Project) -> None:
    shards = manifest.load(made.root / "data" / "clean", "clean").paths()
    rows = [row for path in shards for row in pq.read_table(path).to_pylist()]
    assert sorted(row["url"] for row in rows) == [f"http://a.test/{i}" for i in (0, 1, 2, 7)]


def test_foreign_graph_adds_up_and_every_document_has_a_fate(made: Project) -> None:
    metrics = made.root / "metrics"
    told = {name: json.loads((metrics / f"{name}.json").read_bytes()) for name in _STAGES}
    assert flow(told).problems == ()
    dropped = {name: told[name]["counts"]["dropped"] for name in _STAGES}
    assert dropped["links"] == dropped["crawl"] == {}
    assert dropped["extract"] == {"superseded": 1, "damaged_record": 1}
    assert dropped["documents"] == {"superseded": 1}
    fates = [f for t in ledger.load(made.root / "data").fates() for f in t.to_pylist()]
    assert sorted(fate["reason"] for fate in fates) == ["damaged_record", *["kept"] * 4]


def test_foreign_graph_has_nothing_to_do_the_second_time(made: Project) -> None:
    done = made.run(_repro(), OUTBOUND_ENGINE="inline")
    assert done.returncode == 0
    assert "Running stage" not in done.stdout
