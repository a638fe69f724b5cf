"""Every recipe of docs/recipes.md, followed to the letter on the tiny graph; then its result."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.identity import ROOT
from pipeline.store import manifest
from tests.e2e.conftest import Project
from tests.e2e.recipes import RECIPES, Done, follow

pytestmark = pytest.mark.e2e


class Recipe(NamedTuple):
    """What must lie there before, what must be there afterwards, and how the commands end.

    Attributes:
        bring: Prepares the project.
        check: Looks at what came out.
        code: The last command's exit code.
    """

    bring: Callable[[Project], None]
    check: Callable[[Project, Done], None]
    code: int = 0


def rows(project: Project, stage: str, folder: str) -> list[dict[str, Any]]:
    paths = manifest.load(project.root / "data" / folder, stage).paths()
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def figures(project: Project, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((project.root / "metrics" / f"{name}.json").read_bytes())
    return told


def nothing(project: Project) -> None:
    """All is there."""


def archives(project: Project) -> None:
    shutil.copytree(project.root / "data" / "warc", project.root / "archives")


def same_corpus(project: Project, done: Done) -> None:
    """The crawl's own archives, brought by hand, are the pages that the crawl gave."""
    assert figures(project, "links")["counts"]["n_out"] == 0
    assert len(rows(project, "clean", "clean")) == figures(project, "clean")["counts"]["n_out"] > 40


def lists(project: Project) -> None:
    (project.root / "lists").mkdir()
    (project.root / "lists" / "mine.txt").write_text("http://localhost/a\nhttp://localhost/b\n")


def refused(project: Project, done: Done) -> None:
    """The guard keeps a list of this machine's own addresses from being fetched."""
    told = {row["url"]: row["outcome"] for row in rows(project, "crawl", "fetches")}
    assert told == dict.fromkeys(["http://localhost/a", "http://localhost/b"], "address_refused")


def german(project: Project, done: Done) -> None:
    kept = rows(project, "clean", "clean")
    assert kept
    assert {row["language"] for row in kept} == {"de"}


def other_tokens(project: Project, done: Done) -> None:
    assert figures(project, "train")["steps"] == 20
    config = json.loads((project.root / "models" / "pretrained" / "config.json").read_bytes())
    vocabulary = json.loads((project.root / "data" / "bpe" / "encoder.json").read_bytes())
    assert config["vocab_size"] == len(vocabulary)
    assert "the</w>" in vocabulary


def repository(project: Project) -> None:
    (project.root / ".dvc" / "config.local").unlink()
    for name in (".gitignore", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, project.root / name)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "before"]):
        assert project.run(["git", *command]).returncode == 0, command


def experiment(project: Project, done: Done) -> None:
    shown, _, compared = done.stdout.partition("Path")
    assert "looser" in shown
    assert "valid_bits_per_byte" in shown
    assert re.search(r"metrics/train.json +valid_bits_per_byte +[\d.]+ +[\d.]+", compared)
    assert re.search(r"params.yaml +dedup.threshold +0.75 +0.95", compared)
    assert "Stage 'crawl' didn't change, skipping" in done.stdout


def stopped(project: Project) -> None:
    """A training that has not come further than its first checkpoint."""
    shutil.rmtree(project.root / "models" / "pretrained")
    (newest,) = (project.root / "models" / "checkpoints").glob("*/step-00000020")
    shutil.rmtree(newest)


def continued(project: Project, done: Done) -> None:
    assert "continues after step 10 with micro_batch_size 8 -> 4, zero_stage 1 -> 2" in done.stderr
    assert figures(project, "train")["steps"] == 20


def model(project: Project) -> None:
    shutil.copytree(project.root / "models" / "pretrained", project.root / "gpt2")


def none_to_judge(project: Project, done: Done) -> None:
    assert done.stdout.endswith("no figure of the paper stands beside these sets\n"), done.stderr


def exported(project: Project, done: Done) -> None:
    """The ids of the Arrow shards, document after document."""
    for split, name in (("train", "train.bin"), ("valid", "val.bin")):
        shards = manifest.load(project.root / "data" / "tokens", "encode").paths(split)
        tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in shards]
        ids = [np.asarray(part.values) for t in tables for part in t["tokens"].chunks]
        found = np.fromfile(project.root / "exported" / name, np.uint16)
        assert np.array_equal(found, np.concatenate(ids))


def shared(project: Project, done: Done) -> None:
    assert "Running stage" not in done.stdout
    assert "Data and pipelines are up to date." in done.stdout
    copy = project.root.parent / "copy"
    assert (copy / "report" / "index.html").read_bytes() == (
        project.root / "report" / "index.html"
    ).read_bytes()


FOLLOWED = {
    "Use your own WARC files": Recipe(archives, same_corpus),
    "Crawl your own list of URLs": Recipe(lists, refused),
    "Take another language": Recipe(nothing, german),
    "Train another tokenizer": Recipe(nothing, other_tokens),
    "Change a threshold and train again": Recipe(repository, experiment),
    "Continue a training that was stopped": Recipe(stopped, continued),
    "Evaluate a published model": Recipe(model, none_to_judge, code=1),
    "Take the tokens elsewhere": Recipe(nothing, exported),
    "Share a run": Recipe(repository, shared),
}


ELSEWHERE = ["Take a domain out again"]  # tests/e2e/test_ledger.py


def test_every_recipe_is_followed() -> None:
    assert sorted(RECIPES) == sorted([*FOLLOWED, *ELSEWHERE])


@pytest.mark.parametrize("title", FOLLOWED)
def test_recipe_does_what_it_says(title: str, finished: Project, tmp_path: Path) -> None:
    project, recipe = finished.clone(tmp_path / "project"), FOLLOWED[title]
    recipe.bring(project)
    done = follow(project, title)
    assert done.returncode == recipe.code, done.stdout[-2000:] + done.stderr[-4000:]
    recipe.check(project, done)
