"""The ladder's settings, its rule for the learning rate, and the files that are drawn."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from model.capacity import figures, scaling
from model.capacity.ladder import Measured
from model.capacity.scaling import Config, Size
from tests.model.training.small_runs import CONFIG, SHAPE

SIZES = tuple(Size(n_layer=1, n_head=2, n_embd=width) for width in (16, 32, 64))
LADDER = Config(
    sizes=SIZES,
    steps=9,
    warmup_steps=2,
    seeds=(1, 2),
    lr_width_power=-1.0,
    embd_lr_width_power=0.0,
    documents=10,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": SIZES[:2]}, "sizes is 2; expected three or more"),
        ({"sizes": SIZES[::-1]}, "ascending"),
        ({"sizes": (*SIZES, SIZES[-1])}, "ascending"),
        ({"seeds": ()}, "seeds is"),
        ({"seeds": (1, 1)}, "seeds is"),
        ({"warmup_steps": 9}, "warmup_steps is 9"),
        ({"steps": 0}, "steps is 0"),
        ({"lr_width_power": -3.0}, "lr_width_power is -3.0"),
        ({"documents": 1}, "documents is 1"),
    ],
)
def test_config_out_of_range_is_refused(change: dict[str, object], message: str) -> None:
    values = {name: getattr(LADDER, name) for name in LADDER.__slots__}
    with pytest.raises(ValueError, match=message):
        Config(**{**values, **change})


def test_rung_has_the_graphs_settings_but_for_shape_length_and_rates() -> None:
    rung = scaling.rung_of(SIZES[2], 7, SHAPE, CONFIG, LADDER)
    assert asdict(rung.architecture) == {**asdict(SHAPE), "n_layer": 1, "n_head": 2, "n_embd": 64}
    changed = {"seed": 7, "steps": 9, "warmup_steps": 2, "lr": 5e-3, "embd_lr_ratio": 4.0}
    assert asdict(rung.train) == {**asdict(CONFIG), **changed, "eval_every_steps": 9}


def test_rung_of_the_graphs_own_width_has_its_own_rates() -> None:
    rung = scaling.rung_of(SIZES[1], 1, SHAPE, CONFIG, LADDER)
    assert (rung.train.lr, rung.train.embd_lr_ratio) == (CONFIG.lr, CONFIG.embd_lr_ratio)


def test_rates_follow_the_rule_at_every_width() -> None:
    """muP: lr x width stays, and so does the tables' own rate, lr x ratio."""
    trains = [scaling.rung_of(size, 1, SHAPE, CONFIG, LADDER).train for size in SIZES]
    widths = [size.n_embd for size in SIZES]
    assert np.ptp([t.lr * w for t, w in zip(trains, widths, strict=True)]) < 1e-9
    assert np.ptp([t.lr * t.embd_lr_ratio for t in trains]) < 1e-9


def measured(number: int, *, lacks: str = "") -> Measured:
    """A model whose figures tell its number."""
    scores = {"accuracy": number / 10, "perplexity_word": 10.0 + number, "n": 5}
    scores.pop(lacks, None)
    return Measured(
        run=f"run{number}",
        n_parameters=100 * (1 + number // 2),
        n_non_embedding=10 * (1 + number // 2),
        nats={"train": [1.0 + number, 2.0], "valid": [3.0 + number]},
        scores={"set": scores},
    )


def test_grid_has_seeds_within_sizes_and_scores_that_all_models_have() -> None:
    tokens = {"train": np.array([1.0, 3.0]), "valid": np.array([2.0])}
    models = [measured(number) for number in range(5)]
    grid = figures.grid_of([*models, measured(5, lacks="perplexity_word")], tokens, 2)
    assert grid.counts["total"].tolist() == [100, 200, 300]
    assert grid.counts["non_embedding"].tolist() == [10, 20, 30]
    assert grid.losses("train").tolist() == [[0.75, 1.0], [1.25, 1.5], [1.75, 2.0]]
    assert grid.losses("valid").tolist() == [[1.5, 2.0], [2.5, 3.0], [3.5, 4.0]]
    assert list(grid.scores["set"]) == ["accuracy"]
    assert grid.scores["set"]["accuracy"].tolist() == [[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]]


def test_plots_hold_every_size_with_its_fit_and_every_score(tmp_path: Path) -> None:
    law = {"non_embedding": {"a": 8.0, "alpha": 0.5, "c": 1.0}}
    sizes = [
        {"n_parameters_non_embedding": n, "train_loss": loss, "scores": {"set": {"accuracy": 0.5}}}
        for n, loss in ((16, 3.1), (64, 2.1))
    ]
    told = {"sizes": sizes, "fits": {"train_loss": law}, "scores": {"set": {"accuracy": {}}}}
    scaling.write_plots(tmp_path, told)
    rows = json.loads((tmp_path / "loss.json").read_bytes())
    assert [(row["train_loss"], row["train_loss_fit"]) for row in rows] == [(3.1, 3.0), (2.1, 2.0)]
    (file,) = (tmp_path / "scores").iterdir()
    assert file.name == "set_accuracy.json"
    assert json.loads(file.read_bytes()) == [
        {"log10_parameters": 1.20412, "accuracy": 0.5},
        {"log10_parameters": 1.80618, "accuracy": 0.5},
    ]
