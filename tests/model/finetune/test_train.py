"""Whole runs: they learn, they leave what they say, the same on any stage and any rank."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from model import hf
from model.finetune import inputs, settings, train, transfer
from model.finetune.head import HeadConfig
from model.finetune.settings import Config
from model.finetune.tasks import Kind
from model.finetune.train import PREDICTIONS
from model.training import checkpoint, ranks
from model.training.optimizer import kind_of
from pipeline.tokens import codec
from tests.model.finetune.small_tuning import config, examples, make_pretrained, pairs, places, task
from tests.model.finetune.tunings import tuned
from tests.model.training.plain import distance

LONG = config(epochs=4, batch_size=4, lm_coef=0.1, dropout=0.0, checkpoint_every_steps=None)
N_LONG = 160


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pretrained")
    make_pretrained(root)
    return root


@pytest.fixture(scope="module")
def choice(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    outputs = tmp_path_factory.mktemp("choice")
    return outputs, tuned(pretrained, outputs, "choice", LONG, n=N_LONG)


def model_of(outputs: Path) -> Path:
    return outputs / "models" / "finetuned" / "small"


def weights_of(outputs: Path) -> dict[str, torch.Tensor]:
    return load_file(model_of(outputs) / "model.safetensors")


@pytest.mark.parametrize("kind", ["text", "entailment", "similarity"])
def test_run_learns_what_can_be_learnt(kind: Kind, pretrained: Path, tmp_path: Path) -> None:
    told = tuned(pretrained, tmp_path, kind, LONG, n=N_LONG)
    losses = [told["epochs"][str(epoch)]["loss"] for epoch in (1, 4)]
    assert losses[1] < losses[0] / 2
    assert told["scored"]["dev"]["accuracy"] >= 0.9


def test_choice_run_learns_and_tells_what_it_did(choice: tuple[Path, Any]) -> None:
    _, told = choice
    assert told["steps"] == told["exported_step"] == 160
    assert told["n_examples"] == {"train": 160, "dev": 13}
    assert told["n_cut"] == {"train": 0, "dev": 0}
    assert list(told["epochs"]) == ["1", "2", "3", "4"]
    assert told["epochs"]["4"]["loss"] == pytest.approx(told["scored"]["dev"]["loss"], rel=1e-5)
    assert told["scored"]["dev"]["loss"] < math.log(3)
    json.dumps(told, allow_nan=False)


def test_predictions_are_those_of_the_folder_and_give_the_figures(
    choice: tuple[Path, Any],
) -> None:
    outputs, told = choice
    model = transfer.load(model_of(outputs))
    coder = codec.load(model_of(outputs) / "tokenizer.json")
    shape = replace(model.config, n_vocab=coder.vocabulary.n_vocab)
    dev = examples("choice")["dev"]
    encoded = inputs.encode(task("choice"), dev, coder, shape)
    with torch.no_grad():
        scores = model.scores(*inputs.collate(encoded, range(len(dev)))[:2])
    rows = pq.read_table(model_of(outputs) / PREDICTIONS).to_pylist()
    assert [row["example_id"] for row in rows] == [each.example_id for each in dev]
    assert {row["split"] for row in rows} == {"dev"}
    got = np.array([row["scores"] for row in rows])
    np.testing.assert_allclose(got, scores.numpy(), rtol=1e-4, atol=1e-4)
    assert [row["predicted"] for row in rows] == got.argmax(axis=1).tolist()
    hits = [row["predicted"] == row["label"] for row in rows]
    assert told["scored"]["dev"]["accuracy"] == pytest.approx(np.mean(hits))


def test_run_again_without_outputs_makes_the_same_from_its_checkpoint(
    choice: tuple[Path, Any], pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, told = choice
    before = {path.name: path.read_bytes() for path in model_of(outputs).iterdir()}
    for path in model_of(outputs).iterdir():
        path.unlink()
    monkeypatch.setattr(train.Engine, "train_step", None)  # nothing is left to train
    assert tuned(pretrained, outputs, "choice", LONG, n=N_LONG) == told
    assert {path.name: path.read_bytes() for path in model_of(outputs).iterdir()} == before


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_run_equals_plain_torch(norm: str, tmp_path: Path) -> None:
    """Accumulation, clipping, decay by group, the schedule; fp32, no dropout."""
    make_pretrained(tmp_path, norm=norm)
    cfg = config(dropout=0.0, head_dropout=0.0, zero_stage=2, epochs=2, weight_decay=0.1)
    tuned(tmp_path, tmp_path, "text", cfg)
    got = transfer.load(model_of(tmp_path))
    base, shape = hf.load(tmp_path / "pretrained")
    head = HeadConfig.of(task("text"), dropout=0.0, lm_coef=0.5)
    model = transfer.start(base, head, cfg.transfer(), cfg.seed, 0.0).train()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = [
        {"params": [p], "weight_decay": 0.0 if kind_of(name) == "vector" else 0.1}
        for name, p in model.named_parameters()
    ]
    assert kind_of("head.weight") == "matrix"
    assert kind_of("head.bias") == "vector"
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-8)
    coder = codec.load(tmp_path / "pretrained" / "tokenizer.json")
    train_set = inputs.encode(task("text"), examples("text")["train"], coder, shape)
    for step in range(10):
        for group in adam.param_groups:
            group["lr"] = settings.learning_rate(step, cfg, 10)
        adam.zero_grad()
        numbers = train.Batches(train_set, 8, 8, train.World(0, 0, 1), 1).examples(step)
        for half in (numbers[:4], numbers[4:]):
            (model.objective(*inputs.collate(train_set, half)) / 2).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    ours = {name: p.detach() for name, p in got.named_parameters()}
    theirs = {name: p.detach() for name, p in model.named_parameters()}
    assert distance(ours, theirs, start) < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"zero_stage": 0},
        {"zero_stage": 2, "offload": "optimizer"},
        {"zero_stage": 3, "activation_checkpointing": True},
        {"zero_stage": 3, "offload": "parameters"},
    ],
    ids=str,
)
def test_run_on_any_zero_stage_gives_the_same_model(
    changes: dict[str, Any], pretrained: Path, tmp_path: Path
) -> None:
    found = []
    for more in ({}, changes):
        outputs = tmp_path / str(len(more))
        told = tuned(pretrained, outputs, "similarity", config(epochs=1, **more))
        found.append((weights_of(outputs), told["scored"]["dev"]["loss"]))
    start = {name: torch.zeros_like(weight) for name, weight in found[0][0].items()}
    assert distance(found[0][0], found[1][0], start) < 1e-5
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)


def test_run_on_two_ranks_gives_the_model_of_one(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """13 dev examples in one batch: one rank has none of its own."""
    cfg = config(epochs=2, micro_batch_size=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = [tuned(pretrained, tmp_path / str(n), "choice", cfg, n) for n in (1, 2)]
    one, two = (weights_of(tmp_path / str(n)) for n in (1, 2))
    for each in (one, two):  # moves all answers' scores alike: its gradient is rounding alone
        del each["transformer.head.bias"]
    start = {name: torch.zeros_like(weight) for name, weight in one.items()}
    assert distance(one, two, start) < 1e-4
    for epoch in ("1", "2"):
        losses = [each["epochs"][epoch]["loss"] for each in told]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert told[0].keys() == told[1].keys()


def test_run_with_export_best_writes_the_epoch_with_the_lowest_dev_loss(
    pretrained: Path, tmp_path: Path
) -> None:
    """Dev's labels are turned round: the better train is learnt, the worse for dev."""
    cfg = replace(LONG, epochs=3, lr=5e-3, export="best")
    given = examples("text", n=120)
    given["dev"] = [replace(each, label=1 - each.label) for each in given["dev"]]
    with ranks.alone() as world:
        told = train.run(task("text"), given, places(pretrained, tmp_path), cfg, world)
    losses = {int(epoch): each["loss"] for epoch, each in told["epochs"].items()}
    best = min(losses, key=losses.__getitem__)
    assert best < 3, losses
    assert told["exported_step"] == 30 * best
    assert told["scored"]["dev"]["loss"] == pytest.approx(losses[best], rel=1e-5)
    (root,) = (tmp_path / "models" / "checkpoints").iterdir()
    found = checkpoint.read(checkpoint.folder_of(root, 30 * best)).tensors("weights")
    exported = dict(transfer.load(model_of(tmp_path)).named_parameters())
    assert all(torch.equal(exported[name], found[name]) for name in found)


def test_graded_run_scores_expectations(pretrained: Path, tmp_path: Path) -> None:
    graded = task("similarity", labels=(), grades=4, metrics=("pearson", "spearman"))
    given = {"train": pairs(40, 1, grades=4), "dev": pairs(13, 101, grades=4)}
    with ranks.alone() as world:
        told = train.run(graded, given, places(pretrained, tmp_path), config(), world)
    rows = pq.read_table(model_of(tmp_path) / PREDICTIONS).to_pylist()
    assert {len(row["scores"]) for row in rows} == {4}
    for row in rows:
        shares = np.exp(row["scores"]) / np.exp(row["scores"]).sum()
        assert row["predicted"] == pytest.approx(float(shares @ np.arange(4)))
    expected = np.corrcoef([r["predicted"] for r in rows], [r["label"] for r in rows])[0, 1]
    assert told["scored"]["dev"]["pearson"] == pytest.approx(expected)


def test_run_s_checkpoints_belong_to_what_is_learnt_from_what(
    pretrained: Path, tmp_path: Path
) -> None:
    """Every setting that decides weights starts anew; the others do not."""
    other = tmp_path / "other"
    make_pretrained(other, n_ctx=24)

    def identity(cfg: Config, kind: Kind = "text", root: Path = pretrained) -> str:
        tuner = train.Tuner(
            task(kind), examples(kind), places(root, tmp_path), cfg, train.World(0, 0, 1)
        )
        return tuner._root.name

    usual = identity(config())
    for same in (
        config(zero_stage=3),
        config(micro_batch_size=2),
        config(export="best"),
        config(keep_checkpoints=5, checkpoint_every_steps=None),
        config(tasks=("small_text",)),
    ):
        assert identity(same) == usual
    others = {
        identity(config(lr=1e-4)),
        identity(config(seed=2)),
        identity(config(lm_coef=0.0)),
        identity(config(transfer_layers=1)),
        identity(config(pretrained=False)),
        identity(config(), kind="entailment"),
        identity(config(), root=other),
    }
    assert len(others | {usual}) == 8


def test_bad_step_stops_the_run_and_names_the_examples(pretrained: Path, tmp_path: Path) -> None:
    wild = config(lr=1e18, max_grad_norm=1e18, zero_stage=0)
    with pytest.raises(
        ValueError, match=r"finetune small_text: step \d+: .*; examples \d+ "
    ) as told:
        tuned(pretrained, tmp_path, "text", wild)
    assert "finetune.lr" in str(told.value)
    assert "finetune.on_bad_step: skip" in str(told.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_frac": 1.0}, "warmup_frac is 1.0; expected 0 <= x < 1"),
        ({"epochs": 0}, "epochs is 0; expected x >= 1"),
        ({"lm_coef": -0.5}, "lm_coef is -0.5; expected x >= 0"),
        ({"pretrained": False, "transfer_layers": 1}, "transfer_layers is 1; expected null, or"),
        ({"checkpoint_every_steps": 0}, "checkpoint_every_steps is 0; expected null or x >= 1"),
        ({"export": "first"}, "export is 'first'; expected last or best"),
        ({"zero_stage": 4}, "zero_stage is 4"),
    ],
)
def test_config_refuses_what_is_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_run_refuses_splits_that_do_not_serve(pretrained: Path, tmp_path: Path) -> None:
    usual = examples("text")
    where = places(pretrained, tmp_path)
    world = train.World(0, 0, 1)
    with pytest.raises(ValueError, match=r"splits is \['train'\]; expected one is dev"):
        train.Tuner(task("text"), {"train": usual["train"]}, where, config(), world)
    scored = task("text", scored_split="test")
    given = {"train": usual["train"], "test": usual["dev"]}
    with pytest.raises(ValueError, match="export is 'best'; expected last: small_text has no dev"):
        train.Tuner(scored, given, where, config(export="best"), world)


def test_figures_hold_no_nan(choice: tuple[Path, Any]) -> None:
    told = choice[1]["scored"]["dev"]
    assert all(math.isfinite(value) for value in told.values())
