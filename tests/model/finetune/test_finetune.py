"""The step over all tasks: what it chooses, writes and removes, and figures from predictions."""

import json
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.finetune import finetune, labelled, metrics
from model.finetune.finetune import Folders
from model.finetune.settings import Config
from model.finetune.train import PREDICTIONS
from model.training import ranks
from pipeline.store import shards
from tests.model.finetune.small_tuning import config, examples, make_pretrained, task

CONFIG = config(epochs=1, max_train_examples=24)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A text and a choice task that are present, and one that is absent."""
    root = tmp_path_factory.mktemp("step")
    listed = [
        labelled._write(task(kind), examples(kind), root / "labelled")
        for kind in ("text", "choice")
    ]
    listed.append(labelled._absent("snli", "not in the mirror folder"))
    shards.write_atomic(root / "labelled" / labelled.SIDECAR, shards.to_json({"tasks": listed}))
    return Folders(
        labelled=root / "labelled",
        pretrained=make_pretrained(root),
        checkpoints=root / "checkpoints",
        models=root / "finetuned",
    )


def step(folders: Folders, cfg: Config) -> Any:
    return ranks.run(partial(finetune.run, folders, cfg), 1)


@pytest.fixture(scope="module")
def told(folders: Folders) -> dict[str, Any]:
    (folders.models / "gone").mkdir(parents=True)  # of a task that is not chosen any more
    found: dict[str, Any] = step(folders, CONFIG)["tasks"]
    return found


def test_step_tunes_every_task_that_is_present(folders: Folders, told: dict[str, Any]) -> None:
    assert list(told) == ["small_choice", "small_text"]
    assert {folder.name for folder in folders.models.iterdir()} == set(told)
    for name, found in told.items():
        assert found["n_examples"] == {"train": 24, "dev": 13}
        assert found["steps"] == 3
        assert found["split"] == "dev"
        assert (folders.models / name / "config.json").is_file()
    json.dumps(told, allow_nan=False)


def test_figures_are_those_of_the_predictions(folders: Folders, told: dict[str, Any]) -> None:
    for name, found in told.items():
        rows = pq.read_table(folders.models / name / PREDICTIONS).to_pylist()
        hits = [row["predicted"] == row["label"] for row in rows]
        figures = found["figures"]
        assert figures["accuracy"] == pytest.approx(np.mean(hits), rel=1e-5)
        assert figures["accuracy_low"] <= figures["accuracy"] <= figures["accuracy_high"]
        assert found["scored"]["dev"]["accuracy"] == pytest.approx(np.mean(hits))


def test_majority_is_of_the_examples_that_were_learnt(
    folders: Folders, told: dict[str, Any]
) -> None:
    learnt = finetune.limited(labelled.read(folders.labelled, "small_text"), 24)
    labels = [each.label for each in learnt["train"]]
    said = max(sorted(set(labels)), key=labels.count)
    dev = [each.label for each in learnt["dev"]]
    expected = metrics.value("accuracy", [said] * len(dev), dev)
    assert told["small_text"]["majority"]["accuracy"] == pytest.approx(expected, rel=1e-5)


def test_step_with_fewer_tasks_removes_the_others_models(
    folders: Folders, told: dict[str, Any]
) -> None:
    """The one that stays is not trained again, and ends with the same figures."""
    again = step(folders, config(epochs=1, max_train_examples=24, tasks=("small_text",)))
    assert again["tasks"] == {"small_text": told["small_text"]}
    assert [folder.name for folder in folders.models.iterdir()] == ["small_text"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sst3", "finetune.tasks is 'sst3'; expected some of small_choice, small_text, snli"),
        ("snli", r"finetune.tasks is 'snli'; expected a task that is present \(not in the mirror"),
    ],
)
def test_chosen_refuses_what_is_not_there(folders: Folders, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        finetune.chosen(labelled.listing(folders.labelled), (name,))


def test_limited_examples_are_chosen_by_their_ids_alone() -> None:
    usual = examples("text", n=50)
    few = finetune.limited(usual, 20)
    assert few["dev"] == usual["dev"]
    ids = [each.example_id for each in few["train"]]
    assert len(ids) == 20
    assert ids != [each.example_id for each in usual["train"][:20]]
    backwards = {**usual, "train": usual["train"][::-1]}
    assert {each.example_id for each in finetune.limited(backwards, 20)["train"]} == set(ids)
    for most in (None, 50, 99):
        assert finetune.limited(usual, most) == usual
