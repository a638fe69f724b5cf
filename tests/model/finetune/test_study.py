"""The study: equal tuning for every way, predictions kept, questions answered from them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from model import hf
from model.finetune import study
from model.finetune.study import BASE, Bench, Config, Examples, Kept
from model.finetune.tasks import Task
from tests.model.finetune import small_tuning

CONFIG = Config(tasks=(), seeds=(1, 2, 3), tuning_seed=9, lrs=(1e-3, 3e-3), checkpoints=0)
N_LAYER = 2


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("study")
    places = small_tuning.make_pretrained(root / "models")
    _, shape = hf.load(places)
    tuning = small_tuning.config(epochs=1, checkpoint_every_steps=None)
    return Bench(root=root, finetune=tuning, config=CONFIG, shape=shape)


def example_task() -> tuple[Task, Examples]:
    task = replace(small_tuning.task("text"), scored_split="dev")
    examples: Examples = {
        "train": small_tuning.opinions(40, 1),
        "dev": small_tuning.opinions(30, 2),
    }
    return study.prepared(task, examples, None)


def kept(root: Path) -> Iterator[Path]:
    yield from (root / "models" / "study").glob("*.json")


def test_ways_differ_in_what_is_asked_and_in_nothing_else() -> None:
    found = study.ways(small_tuning.CONFIG, N_LAYER)
    base = asdict(found[BASE])
    changed = {
        name: {key for key, value in asdict(way).items() if value != base[key]}
        for name, way in found.items()
    }
    assert changed == {
        BASE: set(),
        "pretrained": {"lm_coef"},
        "fresh+lm": {"pretrained"},
        "fresh": {"pretrained", "lm_coef"},
        "layers_0+lm": {"transfer_layers"},
        "layers_1+lm": {"transfer_layers"},
    }
    asked = study.questions(N_LAYER)
    assert asked["layer_1"] == ("layers_1+lm", "layers_0+lm")
    assert asked["layer_2"] == (BASE, "layers_1+lm")
    assert {name for pair in asked.values() for name in pair} <= set(found)


def test_scored_split_is_never_the_one_that_tunes() -> None:
    task, examples = example_task()
    assert task.scored_split == "test"
    assert {split: len(some) for split, some in examples.items()} == {
        "train": 36,
        "dev": 4,
        "test": 30,
    }
    texts = [{each.example_id for each in examples[split]} for split in ("train", "dev")]
    assert not texts[0] & texts[1]
    with_test = {**examples, "test": examples["test"][:5]}
    again = study.prepared(task, with_test, 20)[1]
    assert {split: len(some) for split, some in again.items()} == {"train": 20, "dev": 4, "test": 5}


def test_run_is_kept_and_not_computed_again(bench: Bench) -> None:
    task, examples = example_task()
    config = replace(study.ways(bench.finetune, N_LAYER)[BASE], seed=1)
    found = study._once(task, examples, config, bench)
    assert set(found.predicted) <= {0.0, 1.0}
    assert len(found.predicted) == 30
    assert {"loss", "accuracy"} <= set(found.dev)
    (path,) = kept(bench.root)
    assert not (bench.root / "models" / "study" / "runs" / path.stem).exists()
    path.write_text(json.dumps(asdict(replace(found, predicted=[5.0] * 30))))
    assert study._once(task, examples, config, bench).predicted == [5.0] * 30
    path.unlink()
    assert study._once(task, examples, config, bench) == found  # bit for bit


def test_study_tunes_every_way_and_answers_from_the_kept_predictions(bench: Bench) -> None:
    """Runs are written here as if they had been done: what counts is what is made of them."""
    task, examples = example_task()
    labels = np.array([each.label for each in examples["test"]])
    rng = np.random.default_rng(3)
    for name, way in study.ways(bench.finetune, N_LAYER).items():
        skill = 0.9 if name.startswith("pre") else 0.55
        for lr in CONFIG.lrs:
            for seed in (*CONFIG.seeds, CONFIG.tuning_seed):
                config = replace(way, lr=lr, seed=seed)
                right = rng.random(len(labels)) < (skill if lr == CONFIG.lrs[1] else 0.5)
                dev = {"accuracy": 0.8 if lr == CONFIG.lrs[1] else 0.7, "loss": 0.5}
                told = Kept(dev=dev, predicted=np.where(right, labels, 1 - labels).tolist())
                path = study._identity(task, examples, config, bench)
                place = bench.root / "models" / "study" / f"{path}.json"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(asdict(told)))
    n_kept = len(list(kept(bench.root)))
    told = study._study(task, examples, bench)
    assert len(list(kept(bench.root))) == n_kept
    assert {way["lr"] for way in told["ways"].values()} == {CONFIG.lrs[1]}
    assert all(len(way["by_seed"]) == 3 for way in told["ways"].values())
    assert told["questions"]["pretraining"]["verdict"] == "shown"
    assert told["questions"]["lm"]["verdict"] == "not shown"
    gain = told["questions"]["pretraining"]["gain"]
    ways = told["ways"]
    assert gain == pytest.approx(ways[BASE]["mean"] - ways["fresh+lm"]["mean"], abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"tuning_seed": 2},
        {"lrs": ()},
        {"lrs": (1e-3, 0.0)},
        {"checkpoints": -1},
    ],
)
def test_setting_out_of_range_is_named(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(CONFIG, **changes)


def test_study_without_an_auxiliary_loss_to_study_is_refused() -> None:
    with pytest.raises(ValueError, match="lm_coef"):
        study.ways(small_tuning.config(lm_coef=0.0), N_LAYER)
