"""Fixtures of the report's tests: a small finished run."""

import shutil
from pathlib import Path

import pytest

from pipeline.report.page import Config
from tests.pipeline.report.world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A finished run that tests only read."""
    return make_world(tmp_path_factory.mktemp("run"))


@pytest.fixture
def own_world(world: World, tmp_path: Path) -> World:
    """A copy of it that a test may damage."""
    shutil.copytree(world.root, tmp_path / "run")
    return World(root=tmp_path / "run", documents=world.documents)


@pytest.fixture(scope="session")
def config() -> Config:
    """What the default shows."""
    return Config(n_kept=6, n_dropped=3, n_pairs=3, n_generated=8, n_bars=10, excerpt_chars=600)
