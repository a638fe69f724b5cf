"""Heuristics over checkpoints: each step's own weights, step 0 included."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from model import hf
from model.finetune import growth, heuristics, labelled, metrics
from model.finetune.growth import Bench
from model.finetune.labelled import SCHEMA
from model.finetune.tasks import SPLITS
from model.gpt import GPT, init_weights
from model.score import Scorer
from model.training import checkpoint, settings
from model.training.checkpoint import Facts
from model.training.partitions import Kind
from pipeline.store import manifest, records, shards
from pipeline.store.manifest import Counts
from pipeline.tokens import codec
from tests.model.finetune import small_tuning
from tests.model.training import small_runs

N_CHECKPOINTS = 3  # of 12 steps: 4, 8, 12


def never(source: Path, target: Path, changes: Mapping[str, Any]) -> None:
    raise AssertionError(f"all checkpoints are there; {source} is not to be trained with {changes}")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("growth")
    pretrained = small_tuning.make_pretrained(root / "models")
    tokens = root / "data" / "tokens"
    tokens.mkdir(parents=True)
    manifest.write(tokens, "encode", {}, Counts(n_in=0, n_out=0, dropped={}), {}, 1)
    _labelled(root / "data" / "labelled")
    made = Bench(
        root=root,
        override=never,
        architecture=small_runs.SHAPE,
        train=small_runs.CONFIG,
        n_checkpoints=N_CHECKPOINTS,
        tasks=(),
    )
    sealed = manifest.load(tokens, "encode")
    name = settings.run_identity(made.architecture, made.train, sealed.root)
    _, shape = hf.load(pretrained)
    for step in (4, 8, 12):
        model = GPT(shape)
        init_weights(model, torch.Generator().manual_seed(100 + step))
        _save(
            root / "models" / "study" / "pretraining" / name, step, dict(model.named_parameters())
        )
    return made


def _save(root: Path, step: int, weights: Mapping[str, Tensor]) -> None:
    def gather(kind: Kind) -> dict[str, Tensor]:
        return {k: v.detach() * (kind == "weights") for k, v in weights.items()}

    facts = Facts(
        step=step,
        rows=(),
        valid_loss=None,
        guard={"losses": [], "skipped": []},
        loss_scale=None,
        segments=(),
    )
    checkpoint.save(root, facts, gather, {})


def _labelled(folder: Path) -> None:
    """A choice task and one without a heuristic."""
    folder.mkdir()
    tasks = [small_tuning.task(kind) for kind in ("choice", "entailment")]
    for task in tasks:
        rows = [
            {"split": split, "example_id": e.example_id, "texts": list(e.texts), "label": e.label}
            for split, some in small_tuning.examples(task.kind).items()
            for e in some
        ]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"{task.name}.parquet")
    fields = ("name", "kind", "labels", "grades", "metrics", "scored_split", "use", "paper")
    more = ("paper_split", "comparable")
    lines = [{n: getattr(t, n) for n in (*fields, *more)} | {"present": True} for t in tasks]
    shards.write_atomic(folder / labelled.SIDECAR, shards.to_json({"tasks": lines}))
    _winograd(folder.parent / "eval")


def _winograd(folder: Path) -> None:
    """Two schemata."""
    folder.mkdir()
    candidates = ["the film", "a film"]
    rows = [
        {"before": "that is", "candidates": candidates, "after": " lovely", "answer": 0},
        {"before": "that is", "candidates": candidates, "after": " dull", "answer": 1},
    ]
    table = [
        {
            "set": "winograd",
            "split": "",
            "example_id": str(i),
            "text": "",
            "fields": json.dumps(row),
        }
        for i, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(table, records.EVAL), folder / "winograd.parquet")
    listed = {"sets": [{"set": "winograd", "present": True}]}
    shards.write_atomic(folder / "sets.json", shards.to_json(listed))


def test_every_step_is_scored_by_its_own_weights(bench: Bench) -> None:
    found = growth.run(bench)
    assert set(found) == {"small_choice", "winograd"}  # there is no heuristic for entailment
    steps = found["winograd"]["by_step"]
    assert list(steps) == ["0", "4", "8", "12"]
    assert all(told["n"] == 2 and "accuracy_partial" in told for told in steps.values())
    assert list(found["small_choice"]["by_step"]) == ["0", "4", "8", "12"]
    examples = labelled.read(bench.root / "data" / "labelled", "small_choice")
    assert set(examples) <= set(SPLITS)
    labels = [each.label for each in examples["dev"]]
    coder = codec.load(bench.root / "models" / "pretrained" / "tokenizer.json")
    _, shape = hf.load(bench.root / "models" / "pretrained")
    for step, seed in (("0", bench.train.seed), ("8", 108)):
        model = GPT(shape)
        init_weights(model, torch.Generator().manual_seed(seed))
        scorer = Scorer(model.eval(), coder.vocabulary.eot_id)
        task = small_tuning.task("choice")
        said = heuristics.predict(task, examples, scorer, coder)
        value = metrics.value("accuracy", said, labels)
        assert found["small_choice"]["by_step"][step]["accuracy"] == pytest.approx(value, rel=1e-5)
    assert found["small_choice"]["growth"]["verdict"] in ("shown", "not shown", "reversed")


def test_no_checkpoints_asked_for_are_none(bench: Bench) -> None:
    assert growth.run(Bench(**{**_fields(bench), "n_checkpoints": 0})) == {}


def test_steps_are_evenly_spaced_and_end_with_the_last(bench: Bench) -> None:
    assert list(growth.checkpoints(bench)) == [4, 8, 12]


def _fields(bench: Bench) -> dict[str, Any]:
    return {name: getattr(bench, name) for name in Bench.__slots__}
