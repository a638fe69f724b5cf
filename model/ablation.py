"""Which cleaning rules earn their keep: small models of equal tokens, one rule left out at a time.

    rule off ─> clean ─> dedup ─> decontaminate ─> encode ─> train ─> bits per byte of the documents
                                                               │      that the default holds out
    no rule off ───────────────────────────────────────────────┘

Decisions:
- The graph's own commands run, in a workspace of links (`pipeline.engine.workspace`): a rule is
  judged after dedup and decontamination, as it acts in the graph.
- Equal for all: vocabulary, architecture, tokens, seeds, and the held-out documents, whose scores
  are compared one by one.
- The change is the mean over the seeds; its interval is a paired bootstrap over documents. What the
  seeds alone do to the score is shown beside it (`seed_noise`): a smaller change says nothing.
- A rule without which the tokens are the same is not trained: its change is 0 by construction.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model import hf
from model.score import Scorer, device
from model.tasks import evalsets
from model.tasks.registry import HELDOUT
from model.tasks.results import HIGH, LOW, N_RESAMPLES, rounded
from pipeline.engine import workspace
from pipeline.store import manifest
from pipeline.store.config import require
from pipeline.tokens import codec

Floats = npt.NDArray[np.float64]
Settings = Mapping[str, Any]  # dotted keys of params.yaml to values
Override = Callable[[Path, Path, Settings], None]

_STAGES = ("clean", "dedup", "decontaminate", "encode")
_FOLDERS = ("data/clean", "data/unique", "data/corpus", "data/overlap", "data/tokens")
_APART = ("params.yaml", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `ablate` of params.yaml.

    Attributes:
        steps: Optimizer steps of each small model; its tokens are these times the batch.
        warmup_steps: Of them, until the highest learning rate.
        seeds: Each rule is judged by one model per seed.
        rules: Names of rules that are left out; an empty list takes all.
    """

    steps: int
    warmup_steps: int
    seeds: tuple[int, ...]
    rules: tuple[str, ...]

    def __post_init__(self) -> None:
        require("steps", self.steps, self.steps >= 1, "x >= 1")
        require("warmup_steps", self.warmup_steps, 0 <= self.warmup_steps < self.steps, "x < steps")
        require("seeds", self.seeds, len(set(self.seeds)) == len(self.seeds) > 0, "one or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all variants share.

    Attributes:
        root: The workspace of the finished graph.
        config: How large the models are.
        override: Writes a parameter file with other settings: source, target, changes.
        texts: The held-out documents.
    """

    root: Path
    config: Config
    override: Override
    texts: tuple[str, ...]

    @property
    def n_bytes(self) -> Floats:
        """Returns (documents,) sizes in UTF-8 bytes."""
        return np.array([len(text.encode()) for text in self.texts], np.float64)


def run(
    root: Path, switches: Mapping[str, Settings], config: Config, override: Override
) -> dict[str, Any]:
    """Trains the default's small models and those of every rule left out.

    Args:
        root: The workspace of a finished graph.
        switches: By rule the settings that turn it off.
        config: Section `ablate`.
        override: See `Bench`.

    Returns:
        `baseline` and `rules`; a negative change means that the model is better without the rule.

    Raises:
        ValueError: If `config.rules` names an unknown rule.
        ShardError: If a stage fails on a variant's settings.
    """
    unknown = sorted(set(config.rules) - set(switches))
    require("rules", unknown, not unknown, f"some of {', '.join(switches)}")
    texts = tuple(each.text for each in evalsets.read(root / "data" / "eval", HELDOUT))
    bench = Bench(root=root, config=config, override=override, texts=texts)
    with workspace.linked(root, "ablate", _APART) as scratch:
        base = _train(scratch, {}, bench)
    told = {}
    for name in config.rules or switches:
        told[name] = _leave_out(name, switches[name], base, bench)
        sys.stderr.write(f"{_line(name, told[name])}\n")
    return {"baseline": _baseline(base, bench), "rules": told}


def _leave_out(name: str, off: Settings, base: Floats, bench: Bench) -> dict[str, Any]:
    """Returns the figures of one rule."""
    with workspace.linked(bench.root, "ablate", (*_APART, *_FOLDERS)) as scratch:
        bench.override(bench.root / "params.yaml", scratch / "params.yaml", off)
        for stage in _STAGES:
            workspace.run_stage(stage, scratch, f"ablate {name}")
        counts = _counts(scratch, bench.root)
        if _tokens(scratch).root == _tokens(bench.root).root:
            return counts
        return counts | change(_train(scratch, off, bench), base, bench.n_bytes)


def _counts(scratch: Path, root: Path) -> dict[str, Any]:
    """Returns what the rule keeps out: documents after cleaning and at the end, train tokens."""
    figures = {}
    for name, folder, stage in (
        ("documents_clean", "clean", "clean"),
        ("documents_corpus", "corpus", "decontaminate"),
    ):
        kept = [
            manifest.load(each / "data" / folder, stage).counts.n_out for each in (scratch, root)
        ]
        figures[name] = kept[0] - kept[1]
    tokens = [_tokens(each).tally.get("train_tokens", 0) for each in (scratch, root)]
    return {**figures, "train_tokens": tokens[0] - tokens[1]}


def _tokens(root: Path) -> manifest.Manifest:
    return manifest.load(root / "data" / "tokens", "encode")


def _train(scratch: Path, off: Settings, bench: Bench) -> Floats:
    """Returns (seeds, documents) nats of the held-out documents under models of these settings."""
    config, scores = bench.config, []
    for seed in config.seeds:
        settings = {
            "train.seed": seed,
            "train.steps": config.steps,
            "train.warmup_steps": config.warmup_steps,
            "train.eval_every_steps": config.steps,
            "train.checkpoint_every_steps": config.steps,
        }
        target = scratch / "params.yaml"
        bench.override(bench.root / "params.yaml", target, {**off, **settings})
        workspace.run_stage("train", scratch, "ablate")
        scores.append(_score(scratch / "models" / "pretrained", bench.texts))
    return np.stack(scores)


def _score(pretrained: Path, texts: Sequence[str]) -> Floats:
    """Returns (documents,) nats."""
    network, shape = hf.load(pretrained)
    coder = codec.load(pretrained / "tokenizer.json")
    scorer = Scorer(network.to(device()), coder.vocabulary.eot_id)
    scored = scorer.rolling([coder.encode(text) for text in texts], shape.n_ctx)
    return np.array([-float(values.sum()) for values in scored])


def change(variant: Floats, base: Floats, n_bytes: Floats) -> dict[str, float]:
    """Returns the change in bits per byte with its 95 % interval.

    Args:
        variant: (seeds, documents) nats without the rule.
        base: (seeds, documents) nats with it, of the same seeds.
        n_bytes: (documents,) sizes.

    >>> told = change(np.full((1, 3), 2.0), np.full((1, 3), 1.0), np.full(3, 1 / np.log(2)))
    >>> told["change"], told["change_low"], told["change_high"]
    (1.0, 1.0, 1.0)
    """
    gained = (variant - base).mean(axis=0)  # (documents,)
    picks = np.random.default_rng(0).integers(len(gained), size=(N_RESAMPLES, len(gained)))
    resampled = gained[picks].sum(axis=1) / n_bytes[picks].sum(axis=1)
    low, high = np.quantile(resampled, [LOW, HIGH])
    names = {"change": gained.sum() / n_bytes.sum(), "change_low": low, "change_high": high}
    return {name: rounded(value / np.log(2)) for name, value in names.items()}


def _baseline(base: Floats, bench: Bench) -> dict[str, float]:
    """Returns the score with all rules, and how far the seeds alone move it."""
    each = base.sum(axis=1) / bench.n_bytes.sum() / np.log(2)  # (seeds,)
    told = {"bits_per_byte": rounded(each.mean()), "n_documents": len(bench.texts)}
    if len(each) > 1:
        told["seed_noise"] = rounded(each.std(ddof=1) / np.sqrt(len(each)))
    return told


def _line(name: str, told: Mapping[str, float]) -> str:
    documents = f"{told['documents_corpus']:+d} documents"
    if "change" not in told:
        return f"{name:<44}{documents:>18}   tokens unchanged"
    interval = f"{told['change_low']:+.4f} to {told['change_high']:+.4f}"
    return f"{name:<44}{documents:>18}   {told['change']:+.4f} bits per byte ({interval})"
