"""Requirements are exact, installable from the public index, and complete."""

import re
from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT

EXACT = re.compile(r"^[A-Za-z0-9._\[\]-]+==[A-Za-z0-9.]+(  # .*)?$")


def lines(name: str) -> list[str]:
    text = (ROOT / "requirements" / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith(("#", "-c"))]


@pytest.mark.parametrize("name", ["run.in", "dev.in", "lock.txt", "lock-dev.txt"])
def test_requirement_is_pinned_exactly_without_local_suffix(name: str) -> None:
    assert [line for line in lines(name) if not EXACT.match(line)] == []


@pytest.mark.parametrize(("asked", "lock"), [("run.in", "lock.txt"), ("dev.in", "lock-dev.txt")])
def test_lock_holds_what_is_asked_for(asked: str, lock: str) -> None:
    def normal(line: str) -> str:
        name, _, version = line.partition("  #")[0].partition("==")
        return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"

    locked = {normal(line) for name in ("lock.txt", lock) for line in lines(name)}
    assert {normal(line) for line in lines(asked)} <= locked


def test_torch_is_locked_without_cpu_suffix() -> None:
    assert "torch==2.13.0" in lines("lock.txt")


def test_dvc_calls_nobody() -> None:
    config = Path(ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config
