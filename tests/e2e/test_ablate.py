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
    project = finished.clone(tmp_path / "ablated")
    file = project.root / "params.yaml"
    text = re.sub(r"(?m)^  rules: \[\].*$", "  rules: [too_short, too_long]", file.read_text())
    text = re.sub(
        r"(?ms)^ablate:(.*?)steps: \d+(.*?)warmup_steps: \d+",
        r"ablate:\1steps: 6\2warmup_steps: 2",
        text,
    )
    file.unlink()
    file.write_text(text)
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
