"""The command `stages.plan` as people run it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "costs.json", tmp_path / "benchmarks")
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.plan", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plan_prints_json_without_any_data(project: Path) -> None:
    done = run(project, "--train", "--json", "--tokens", "768000")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["parameters"]["total"] == 2_903_808
    assert told["training"]["epochs"] == 2.0
    assert [row["zero_stage"] for row in told["memory"]["by_stage"]] == [0, 1, 1, 2, 2, 3, 3, 3]


def test_plan_states_failures_and_refuses_wrong_usage(project: Path) -> None:
    wrong = run(project, "--train", "--mfu", "2")
    assert wrong.returncode == 2
    assert "--mfu is 2.0; expected 0 < x <= 1" in wrong.stderr
    for arguments in ((), ("--links", "10", "--train")):
        neither = run(project, *arguments)
        assert neither.returncode == 2
        assert "expected one of --links N and --train" in neither.stderr
    both = run(project, "--links", "10", "--tokens", "10")
    assert both.returncode == 2
    assert "--tokens belongs to --train" in both.stderr
    failed = run(project, "--train", "--ranks", "3")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: train.global_batch_tokens is 16 sequences")
    assert len(failed.stderr.splitlines()) == 1


WEBTEXT = ("--links", "45000000", "corpus=webtext-paper", "model=gpt2-small")


def test_chain_is_planned_from_links_to_loss(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    done = run(project, *WEBTEXT, "--gpu-node", "p5.48xlarge", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    volumes, training = told["data"]["volumes"], told["training"]
    assert volumes["documents"] == pytest.approx(8e6, rel=0.01)  # GPT-2 paper, section 2.1
    assert volumes["text_mb"] == pytest.approx(40_000, rel=0.01)
    assert volumes["warc_files"] % 64 == 0  # partitions of the preset
    stages = told["data"]["stages"]
    assert next(iter(stages)) == "crawl"
    assert all(one["cpu_s"] > 0 for one in stages.values())
    assert stages["crawl"]["bounds_s"]["largest host"] == pytest.approx(45e6 * 0.0343 * 2.0)
    assert training["training"]["corpus_tokens"] == volumes["train_tokens"]
    assert training["parameters"]["total"] == 124_439_808
    assert training["time"]["rank_hours"] == 8 * training["time"]["hours"]
    assert training["time"]["usd"] == pytest.approx(training["time"]["hours"] * 39.33)
    assert 2.5 < training["loss"]["nats_per_token"] < 4
    assert (project / "params.yaml").read_bytes() == before


def test_chain_refuses_what_it_has_no_figures_for(project: Path) -> None:
    for arguments, told in (
        (("--links", "10"), "corpus=NAME is None; known: webtext-paper"),
        (("--links", "10", "corpus=books"), "corpus=NAME is 'books'; known: webtext-paper"),
        (("--links", "0", "corpus=webtext-paper"), "--links is 0; expected x >= 1"),
        ((*WEBTEXT, "--node", "abacus"), "--node is 'abacus'; known: m7i.2xlarge"),
        ((*WEBTEXT, "--gpu-node", "c7i.8xlarge"), "expected a machine with GPUs"),
    ):
        wrong = run(project, *arguments)
        assert wrong.returncode == 2, arguments
        assert told in wrong.stderr
    unknown = run(project, "--links", "10", "corpus=no-such")
    assert unknown.returncode == 1
    assert "preset 'corpus=no-such' does not exist" in unknown.stderr
    (project / "benchmarks" / "costs.json").unlink()
    missing = run(project, *WEBTEXT)
    assert missing.returncode == 1
    assert "run from the project's root" in missing.stderr
