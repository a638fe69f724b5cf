"""The ladder on the tiny graph: killed, continued, and nothing of the graph's own written."""

import json
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import Project
from tests.e2e.test_ablate import digests

pytestmark = pytest.mark.e2e

OWN = ("data", ".shards", "models/pretrained", "metrics/train")


def scaling(project: Project) -> str:
    done = project.python("stages.scaling", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr
    return done.stderr


def figures(project: Project) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((project.root / "metrics" / "scaling.json").read_bytes())
    return told


def own_outputs(project: Project) -> dict[str, dict[str, str]]:
    """Digests of what the graph has made; the answers of the model being measured are not that."""
    found = {name: digests(project.root / name) for name in OWN}
    shards = found[".shards"].items()
    found[".shards"] = {k: v for k, v in shards if not k.startswith("scaling-answers/")}
    return found


def trained(project: Project) -> set[str]:
    """Names of the runs of pre-training."""
    checkpoints = project.root / "models" / "checkpoints"
    return {path.parent.name for path in checkpoints.glob("*/step-*")}


class Climbed(NamedTuple):
    """A ladder that was killed in its third size and run again."""

    project: Project
    before: dict[str, dict[str, str]]  # digests of what is the graph's own
    own_runs: set[str]  # checkpoint folders of the graph's own
    kept: dict[str, str]  # digests of the figures that were kept when it was killed
    stderr: str  # of the second run


@pytest.fixture(scope="module")
def climbed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Climbed:
    project = finished.clone(tmp_path_factory.mktemp("ladder") / "project")
    models = project.root / "models"
    before = own_outputs(project)
    own_runs = trained(project)
    project.kill_at("scaling", "scaling 3/4: 1x32")
    kept = digests(models / "scaling")
    return Climbed(project, before, own_runs, kept, scaling(project))


def test_scaling_run_again_after_a_kill_trains_only_what_is_left(climbed: Climbed) -> None:
    assert [line for line in climbed.stderr.splitlines() if line.endswith("measured before")] == [
        "scaling 1/4: 1x8, seed 1: measured before",
        "scaling 2/4: 1x16, seed 1: measured before",
    ]
    assert len(climbed.kept) == 2
    assert climbed.kept.items() < digests(climbed.project.root / "models" / "scaling").items()
    first = figures(climbed.project)
    assert scaling(climbed.project).count("measured before") == 4
    assert figures(climbed.project) == first


def test_scaling_leaves_the_graphs_own_outputs_alone(climbed: Climbed) -> None:
    assert own_outputs(climbed.project) == climbed.before


def test_scaling_size_of_the_graphs_own_model_is_not_trained_again(climbed: Climbed) -> None:
    """The third size is section `model`, and the steps are those of section `train`."""
    runs = [size["runs"][0]["run"] for size in figures(climbed.project)["sizes"]]
    assert {runs[2]} == climbed.own_runs
    assert trained(climbed.project) == set(runs)


def test_scaling_figures_hold_sizes_scores_fits_and_the_prediction(climbed: Climbed) -> None:
    told, metrics = figures(climbed.project), climbed.project.root / "metrics"
    assert told["n_tokens"] == 20 * 256
    assert [size["name"] for size in told["sizes"]] == ["1x8", "1x16", "1x32", "1x48"]
    for size in told["sizes"]:
        width, n_vocab, n_ctx = size["n_embd"], 512, 32
        assert size["n_parameters"] - size["n_parameters_non_embedding"] == width * (
            n_vocab + n_ctx
        )
        assert size["n_parameters_non_embedding"] == 12 * width**2 + 13 * width + 2 * width
        low, high = size["valid_loss_interval"]
        assert low <= size["valid_loss"] <= high
        assert size["scores"]["heldout"]["bits_per_byte"] > 0
    losses = [size["valid_loss"] for size in told["sizes"]]
    assert losses == sorted(losses, reverse=True)
    assert told["fit"]["degrees_of_freedom"] == 1
    foretold = told["predictions"]["valid_loss"]["non_embedding"]
    assert foretold["from_sizes"] == 3
    assert foretold["measured"] == losses[-1]
    assert set(told["scores"]) == set(json.loads((metrics / "evaluate.json").read_bytes()))
    assert len(json.loads((metrics / "scaling" / "loss.json").read_bytes())) == 4
    assert (metrics / "scaling" / "scores" / "heldout_bits_per_byte.json").is_file()


def test_report_draws_the_ladder_once_it_is_climbed(climbed: Climbed) -> None:
    project = climbed.project
    page = project.root / "report" / "index.html"
    assert "<code>make scaling</code>; it has not run here" in page.read_text()
    done = project.python("stages.report")
    assert done.returncode == 0, done.stderr
    html = page.read_text()
    assert "has not run here. After it" not in html
    foretold = figures(project)["predictions"]["valid_loss"]["non_embedding"]
    assert f"the 3 smaller sizes foretell {foretold['predicted']:.3f} (" in html
    for size in figures(project)["sizes"]:
        assert f"<td>{size['name']}</td>" in html
