"""The embedded default, small: it runs, adds up, explains itself, and runs only what changed."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.store import manifest
from tests.e2e.conftest import Project

pytestmark = pytest.mark.e2e

CHAIN = ["links", "crawl", "extract", "clean", "dedup", "decontaminate"]


def metrics(project: Project, stage: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((project.root / "metrics" / f"{stage}.json").read_bytes())
    return told


def test_repro_ends_with_report_and_three_figures(finished: Project) -> None:
    lines = (finished.root / "stdout.txt").read_text().splitlines()[-4:]
    assert lines[0].startswith("report: ")
    assert Path(lines[0].removeprefix("report: ")).is_file()
    assert [line.split(":")[0] for line in lines[1:]] == [
        "documents kept",
        "validation bits per byte",
        "last-word accuracy",
    ]


def test_every_stage_left_one_summary_line(finished: Project) -> None:
    told = (finished.root / "stderr.txt").read_text()
    for stage in CHAIN:
        assert re.search(rf"^{stage}: \d+ in, \d+ out, \d+ dropped", told, re.MULTILINE), stage


def test_flow_from_links_to_tokens_adds_up(finished: Project) -> None:
    before = None
    for stage in CHAIN:
        counts = metrics(finished, stage)["counts"]
        assert counts["n_in"] == counts["n_out"] + sum(counts["dropped"].values()), stage
        if before is not None:
            assert counts["n_in"] == before, stage
        before = counts["n_out"]
    tokens = metrics(finished, "encode")["counts"]
    assert tokens["n_in"] == tokens["n_out"] == before


def test_every_dropped_document_has_one_decision(finished: Project) -> None:
    for stage, folder in [("extract", "pages"), ("clean", "clean"), ("dedup", "unique")]:
        decided = manifest.load(finished.root / "data" / folder, stage).paths("decisions")
        rows = [row for path in decided for row in pq.read_table(path).to_pylist()]
        counts = metrics(finished, stage)["counts"]
        assert len(rows) == sum(counts["dropped"].values()), stage
        assert len({row["doc_id"] for row in rows}) == len(rows), stage


def test_validation_documents_never_reach_the_train_part(finished: Project) -> None:
    corpus = manifest.load(finished.root / "data" / "corpus", "decontaminate")
    ids = {
        part: {i for p in corpus.paths(part) for i in pq.read_table(p)["doc_id"].to_pylist()}
        for part in ("train", "valid")
    }
    assert ids["train"]
    assert ids["valid"]
    assert not ids["train"] & ids["valid"]


def test_second_repro_runs_nothing(finished: Project) -> None:
    again = finished.python("dvc", "repro")
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout
    assert "Data and pipelines are up to date" in again.stdout


@pytest.mark.parametrize(
    ("edit", "runs", "keeps"),
    [
        # a dry run follows recorded outputs, so what lies behind dedup is not in it yet
        ("dedup.threshold", {"dedup", "report"}, {"links", "crawl", "extract", "clean", "sample"}),
        ("sample.seed", {"sample", "report"}, {"links", "clean", "dedup", "train", "evaluate"}),
    ],
)
def test_changed_parameter_reruns_only_what_depends_on_it(
    finished: Project, tmp_path: Path, edit: str, runs: set[str], keeps: set[str]
) -> None:
    project = finished.clone(tmp_path / "copy")
    section, _, key = edit.partition(".")
    file = project.root / "params.yaml"
    text = file.read_text()
    file.unlink()  # a hard link
    value = re.search(rf"^{section}:.*?^  {key}: (\S+)", text, re.MULTILINE | re.DOTALL)
    assert value is not None
    start, end = value.span(1)
    changed = str(float(value[1]) * 0.99) if "." in value[1] else str(int(value[1]) + 1)
    file.write_text(text[:start] + changed + text[end:])
    dry = project.python("dvc", "repro", "--dry").stdout
    ran = set(re.findall(r"Running stage '(\w+)'", dry))
    assert runs <= ran
    assert not keeps & ran


@pytest.mark.parametrize(
    "command", [["dag"], ["metrics", "show"], ["plots", "show"], ["status"], ["params", "diff"]]
)
def test_dvc_commands_work(finished: Project, command: list[str]) -> None:
    done = finished.python("dvc", *command)
    if command[0] == "params":  # compares Git revisions: an archive has none, and DVC says so
        assert "Traceback" not in done.stderr
        return
    assert done.returncode == 0, done.stderr
