"""The capacity ladder: models of several sizes on equal tokens, and what size alone buys.

    sizes x seeds ─> train ─> losses by document, every zero-shot score ─> against parameters
                                   │
                 fit of all sizes ─┤   L(N) = a N^-alpha + c, lines in log N
       fit of all but the largest ─┴─> its prediction of the largest, beside the truth

Decisions:
- Equal for all: vocabulary, tokens, windows and their order (they depend on the seed alone),
  schedule, held-out documents. Only shape and learning rate differ, the latter by a stated rule.

Paper: GPT-2, figures 1 and 4. Deviation: there each size's learning rate was tuned by hand on the
held-out text, and the tokens are not stated.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.capacity import figures, ladder
from model.capacity.figures import Grid
from model.capacity.ladder import Bench, Measured, Rung
from model.config import Architecture
from model.tasks.results import rounded
from model.training import settings
from pipeline.store import shards
from pipeline.store.config import require

COUNTS = {"non_embedding": "n_parameters_non_embedding", "total": "n_parameters"}
_MOST_DOCUMENTS = 100_000  # of a split; their losses are kept one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One rung of the ladder; what is not here is as in section `model`."""

    n_layer: int
    n_head: int
    n_embd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `scaling` of params.yaml.

    Attributes:
        sizes: Ascending; the last one is predicted from the others.
        steps: Optimizer steps of each model; its tokens are these times the batch.
        warmup_steps: Of them, until the highest learning rate.
        seeds: Each size is trained once per seed.
        lr_width_power: The learning rate is `train.lr` times (n_embd / model.n_embd) to this power.
        embd_lr_width_power: The same for the tables' rate, `train.lr` x `train.embd_lr_ratio`.
        documents: Of each split, whose loss is measured, at most.
    """

    sizes: tuple[Size, ...]
    steps: int
    warmup_steps: int
    seeds: tuple[int, ...]
    lr_width_power: float
    embd_lr_width_power: float
    documents: int

    def __post_init__(self) -> None:
        blocks = [size.n_layer * size.n_embd**2 for size in self.sizes]
        ascending = len(blocks) >= 3 and all(np.diff(blocks) > 0)
        require("sizes", len(blocks), ascending, "three or more, ascending in n_layer x n_embd^2")
        require("steps", self.steps, self.steps >= 1, "x >= 1")
        require("warmup_steps", self.warmup_steps, 0 <= self.warmup_steps < self.steps, "x < steps")
        require("seeds", self.seeds, len(set(self.seeds)) == len(self.seeds) > 0, "one or more")
        for name in ("lr_width_power", "embd_lr_width_power"):
            require(name, getattr(self, name), abs(getattr(self, name)) <= 2, "-2 <= x <= 2")
        allowed = f"2 <= x <= {_MOST_DOCUMENTS}"
        require("documents", self.documents, 2 <= self.documents <= _MOST_DOCUMENTS, allowed)


def run(
    bench: Bench, architecture: Architecture, train: settings.Config, config: Config
) -> dict[str, Any]:
    """Climbs the ladder and returns its figures (docs/data_format.md, `metrics/scaling.json`).

    Args:
        bench: See `ladder.Bench`.
        architecture: Section `model`: what the sizes leave open, and the width the rule begins at.
        train: Section `train`: likewise.
        config: Section `scaling`.

    Raises:
        ShardError: If a training fails.
    """
    rungs = [
        rung_of(size, seed, architecture, train, config)
        for size in config.sizes
        for seed in config.seeds
    ]
    measured = ladder.climb(rungs, bench)
    tokens = {name: ladder.open_split(bench.root, name) for name in ladder.SPLITS}
    lengths = {name: ladder.lengths_of(each, bench.documents) for name, each in tokens.items()}
    grid = figures.grid_of(measured, lengths, len(config.seeds))
    n_tokens = config.steps * train.global_batch_tokens
    told = {
        "n_tokens": n_tokens,
        "epochs": rounded(n_tokens / tokens["train"].n_tokens),
        "seeds": list(config.seeds),
        "documents": {name: len(each) for name, each in lengths.items()},
        "sizes": _sizes(rungs, measured, grid, len(config.seeds)),
        **figures.figures(grid, n_tokens),
    }
    sys.stderr.writelines(f"{line}\n" for line in _lines(told))
    return told


def rung_of(
    size: Size, seed: int, architecture: Architecture, train: settings.Config, config: Config
) -> Rung:
    """Returns one model's settings: the graph's, but for shape, seed, steps and learning rate.

    Paper: Yang et al. 2022, Tensor Programs V, table 3: under Adam the rate of matrices goes with
    1 / width (power -1) and that of the input table does not change (power 0). Deviation: the
    logits are not scaled, because the output table is the input table.
    """
    ratio = size.n_embd / architecture.n_embd
    power, table_power = config.lr_width_power, config.embd_lr_width_power
    return Rung(
        architecture=replace(architecture, **asdict(size)),
        train=replace(
            train,
            seed=seed,
            steps=config.steps,
            warmup_steps=config.warmup_steps,
            lr=rounded(train.lr * ratio**power),
            embd_lr_ratio=rounded(train.embd_lr_ratio * ratio ** (table_power - power)),
            eval_every_steps=config.steps,
        ),
    )


def _sizes(
    rungs: Sequence[Rung], measured: Sequence[Measured], grid: Grid, n_seeds: int
) -> list[dict[str, Any]]:
    """Returns one entry per size: shape, rate, parameters, losses, mean scores, runs."""
    told = []
    loss = {split: grid.losses(split) for split in ladder.SPLITS}  # (S, K)
    spread = {split: figures.resampled(grid, split) for split in ladder.SPLITS}
    for row, rung in enumerate(rungs[::n_seeds]):
        entry: dict[str, Any] = {"name": rung.name}
        entry |= {
            name: getattr(rung.architecture, name) for name in ("n_layer", "n_head", "n_embd")
        }
        entry |= {"lr": rung.train.lr, "embd_lr": rounded(rung.train.lr * rung.train.embd_lr_ratio)}
        entry |= {key: int(grid.counts[kind][row]) for kind, key in COUNTS.items()}
        for split in ladder.SPLITS:
            entry[f"{split}_loss"] = rounded(loss[split][row].mean())
            entry[f"{split}_loss_interval"] = figures.ends(spread[split][:, row])
        entry["scores"] = {
            protocol: {name: rounded(values[row].mean()) for name, values in each.items()}
            for protocol, each in grid.scores.items()
        }
        mine = range(row * n_seeds, (row + 1) * n_seeds)
        entry["runs"] = [
            {"run": measured[i].run, "seed": rungs[i].train.seed, "scores": measured[i].scores}
            | {f"{split}_loss": rounded(loss[split].flat[i]) for split in ladder.SPLITS}
            for i in mine
        ]
        told.append(entry)
    return told


def write_plots(folder: Path, told: Mapping[str, Any]) -> None:
    """Writes what `dvc plots show` draws: losses with their fit, and one file per score."""
    rows = []
    for size in told["sizes"]:
        row = {"log10_parameters": _log10(size)}
        for name, laws in told["fits"].items():
            law, n = laws["non_embedding"], size[COUNTS["non_embedding"]]
            row[name] = size[name]
            row[f"{name}_fit"] = rounded(law["a"] * n ** -law["alpha"] + law["c"])
        rows.append(row)
    shards.write_atomic(folder / "loss.json", shards.to_json(rows))
    for protocol, scores in told["scores"].items():
        for name in scores:
            points = [
                {"log10_parameters": _log10(size), name: size["scores"][protocol][name]}
                for size in told["sizes"]
            ]
            shards.write_atomic(
                folder / "scores" / f"{protocol}_{name}.json", shards.to_json(points)
            )


def _log10(size: Mapping[str, Any]) -> float:
    return rounded(math.log10(size[COUNTS["non_embedding"]]))


def _lines(told: Mapping[str, Any]) -> list[str]:
    """Returns what people see at the end."""
    lines = [
        f"{size['name']:>8}  {size['n_parameters_non_embedding']:>13,} parameters  "
        f"train {size['train_loss']:.4f}  held out {size['valid_loss']:.4f} nats per token"
        for size in told["sizes"]
    ]
    fit, foretold = told["fit"], told["predictions"]["valid_loss"]["non_embedding"]
    law = f"L(N) = {fit['a']:.4g} N^-{fit['alpha']:.4g} + {fit['c']:.4g}"
    freedom = fit["degrees_of_freedom"]
    tested = f"{freedom} degrees of freedom" if freedom else "through its points: nothing tests it"
    lines.append(f"{law} ({tested})")
    if "absent" in foretold:
        return [*lines, f"no prediction of the largest: {foretold['absent']}"]
    low, high = foretold["predicted_interval"]
    lines.append(
        f"the largest from {foretold['from_sizes']} smaller ones: {foretold['predicted']:.4f} "
        f"({low:.4f} to {high:.4f}), measured {foretold['measured']:.4f}"
    )
    return lines
