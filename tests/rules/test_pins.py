"""Requirements are exact, installable from the public index, and complete."""

import re
from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT

EXACT = re.compile(r"^[A-Za-z0-9._\[\]-]+==[A-Za-z0-9.]+(  # .*)?$")

KINDS = {"run": "lock.txt", "cluster": "lock-cluster.txt", "dev": "lock-dev.txt"}


def lines(name: str) -> list[str]:
    text = (ROOT / "requirements" / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith(("#", "-c", "-r"))]


@pytest.mark.parametrize("name", [*(f"{kind}.in" for kind in KINDS), *KINDS.values()])
def test_requirement_is_pinned_exactly_without_local_suffix(name: str) -> None:
    assert [line for line in lines(name) if not EXACT.match(line)] == []


def normal(line: str) -> str:
    name, _, version = line.partition("  #")[0].partition("==")
    return f"{re.sub(r'[-_.]+', '-', name.partition('[')[0]).lower()}=={version}"


@pytest.mark.parametrize("kind", KINDS)
def test_lock_holds_what_is_asked_for(kind: str) -> None:
    locked = {normal(line) for name in ("lock.txt", KINDS[kind]) for line in lines(name)}
    assert {normal(line) for line in lines(f"{kind}.in")} <= locked


def test_no_package_is_locked_twice() -> None:
    names = [normal(line).partition("==")[0] for name in KINDS.values() for line in lines(name)]
    assert sorted(names) == sorted(set(names))


def test_torch_is_locked_without_cpu_suffix() -> None:
    assert "torch==2.13.0" in lines("lock.txt")


def test_dvc_calls_nobody() -> None:
    config = Path(ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config
