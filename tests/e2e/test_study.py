"""The study on the tiny graph: killed, continued, and nothing of the graph's own written."""

import json
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import Project
from tests.e2e.test_ablate import digests

pytestmark = pytest.mark.e2e

OWN = ("data", ".shards", "models/pretrained", "models/checkpoints", "metrics/train")
WAYS = {"pretrained+lm", "pretrained", "fresh+lm", "fresh", "layers_0+lm"}


class Studied(NamedTuple):
    """A study that was killed after its first way and run again."""

    project: Project
    before: dict[str, dict[str, str]]  # digests of what is the graph's own
    kept: dict[str, str]  # digests of what was kept when it was killed
    told: dict[str, Any]  # metrics/study.json of the second run


@pytest.fixture(scope="module")
def studied(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Studied:
    project = finished.clone(tmp_path_factory.mktemp("study") / "project")
    before = {name: digests(project.root / name) for name in OWN}
    project.kill_at("study", "study ")  # after the first way
    kept = digests(project.root / "models" / "study")
    done = project.python("stages.study", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr
    told = json.loads((project.root / "metrics" / "study.json").read_bytes())
    return Studied(project, before, kept, told)


def test_study_answers_every_question_for_every_task(studied: Studied) -> None:
    assert studied.told["tasks"]
    for told in studied.told["tasks"].values():
        assert set(told["ways"]) == WAYS
        assert set(told["questions"]) == {
            *("pretraining", "pretraining_without_lm", "lm", "lm_without_pretraining"),
            *("embeddings", "layer_1"),
        }
        for question in told["questions"].values():
            assert question["gain_low"] <= question["gain"] <= question["gain_high"]


def test_study_scores_heuristics_along_pre_training(studied: Studied) -> None:
    """Of 20 steps two checkpoints, and the initial weights."""
    assert list(studied.told["heuristics"]["continuation"]["by_step"]) == ["0", "10", "20"]


def test_study_run_again_after_a_kill_keeps_what_was_finished(studied: Studied) -> None:
    finished = {name: digest for name, digest in studied.kept.items() if name.endswith(".json")}
    runs = {name: digest for name, digest in finished.items() if "/" not in name}
    assert runs
    assert runs.items() <= digests(studied.project.root / "models" / "study").items()


def test_study_leaves_the_graph_s_own_outputs_alone(studied: Studied) -> None:
    assert {name: digests(studied.project.root / name) for name in OWN} == studied.before
