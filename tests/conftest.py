"""Fixtures that several test modules share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.engine import parallel
from pipeline.engine.tasks import Engine, InlineEngine

_DATA = "OUTBOUND_TEST_DATA"

settings.register_profile("patient", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("patient")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real public test sets (`eval/`, `links/`, `warc/`, ...); the project ships none."""
    folder = Path(os.environ.get(_DATA, ""))
    if not os.environ.get(_DATA) or not folder.is_dir():
        pytest.skip(f"real data absent: set {_DATA} to a folder that holds eval/, warc/, links/")
    return folder


@pytest.fixture(autouse=True)
def no_rank_left_behind() -> Iterator[None]:
    """A test that left RANK behind would turn the next one's training into a launcher's rank."""
    before = os.environ.get("RANK")
    yield
    assert os.environ.get("RANK") == before


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one, as a stage sees the project's root."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def inline() -> Engine:
    """An engine that runs tasks in this process."""
    return InlineEngine()


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    """One Ray with two workers for the whole session; starting one costs about ten seconds."""
    os.environ["OUTBOUND_WORKERS"] = "2"
    with parallel.engine() as engine:
        yield engine
