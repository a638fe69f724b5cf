"""Leaving a rule out of the tiny graph: what it kept out comes in, and nothing else is written."""

import json
import re
from pathlib import Path

import pytest

from pipeline.store import shards
from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): shards.sha256_file(path) for path in files}


def test_ablate_trains_without_a_rule_and_leaves_the_workspace_alone(
    finished: Project, tmp_path: Path
) -> None:
    """A graph that drops every text of under 3,000 characters, against one that drops none."""
    project = finished.clone(tmp_path / "ablated")
    file = project.root / "params.yaml"
    text = file.read_text()
    for old, new in [
        (r"(?m)^  rules: \[\].*$", "  rules: [too_short, too_long]"),
        (
            r"(?ms)^(ablate:.*?)  steps: \d+(.*?)  warmup_steps: \d+",
            r"\1  steps: 6\2  warmup_steps: 2",
        ),
        (r"(?m)^  seeds: \[1, 2\]", "  seeds: [1]"),
        (r"(?m)^  min_chars: 500\b", "  min_chars: 3000"),
    ]:
        text, n = re.subn(old, new, text, count=1)
        assert n == 1, old
    file.unlink()
    file.write_text(text)
    for stage in ("clean", "dedup", "decontaminate", "encode"):
        assert project.python(f"stages.{stage}", OUTBOUND_ENGINE="inline").returncode == 0, stage
    before = {name: digests(project.root / name) for name in ("data", "models", ".shards")}
    done = project.python("stages.ablate", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr
    assert {name: digests(project.root / name) for name in before} == before
    told = json.loads((project.root / "metrics" / "ablate.json").read_bytes())
    short, long = told["rules"]["too_short"], told["rules"]["too_long"]
    assert short["documents_clean"] > 0
    assert short["train_tokens"] > 0
    assert short["change_low"] <= short["change"] <= short["change_high"]
    assert "change" not in long
    assert told["baseline"]["n_documents"] > 0
