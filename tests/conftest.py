"""Fixtures that several test modules share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler.loadscope import LoadScopeScheduling

from pipeline.engine import parallel
from pipeline.engine.tasks import Engine, InlineEngine

_DATA = "OUTBOUND_TEST_DATA"
_FOLDER = Path.cwd()

settings.register_profile("patient", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it does not wait for
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no child could get Ctrl-C


class OneProcessPerFile(LoadScopeScheduling):
    """Keeps a file's tests on one process, and those of all files that share the finished graph."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return "tests/e2e" if path.startswith("tests/e2e/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneProcessPerFile:
    """Is asked by pytest-xdist who gets which tests."""
    return OneProcessPerFile(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real public test sets (`eval/`, `links/`, `warc/`, ...); the project ships none."""
    folder = Path(os.environ.get(_DATA, ""))
    if not os.environ.get(_DATA) or not folder.is_dir():
        pytest.skip(f"real data absent: set {_DATA} to a folder that holds eval/, warc/, links/")
    return folder


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Another RANK would make the next training a launcher's rank, another folder lose the code.

    Asks when a file is done: its own fixtures may keep a folder for as long.
    """
    before = os.environ.get("RANK")
    yield
    assert os.environ.get("RANK") == before
    assert Path.cwd() == _FOLDER


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
