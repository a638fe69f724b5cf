"""The rungs of the capacity ladder: each trained by the graph's own stage, measured, and kept.

    params.yaml, other settings ─> stages.train, in a workspace of links ─> models/pretrained
                                        │ resumes from                            │
                          models/checkpoints/<run identity>/         losses by document, every score
                                                                                  │
                                                   models/scaling/<identity>.json <┘

Decisions
- Checkpoints lie where those of `train` lie, by the same identity. So a killed ladder continues in
  the middle of a size, a size equal to the graph's own model is not trained again, and the ledger
  tells of these models, too, which documents they saw.
- What was measured is kept by its own identity (run, evaluation, sets, code): a finished size costs
  nothing, one whose evaluation changed is measured again from its last checkpoint.
- Losses are by document, after `<|endoftext|>`, each token once in windows side by side. The same
  documents for all sizes, so that sizes can be compared in pairs.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model import hf
from model.config import Architecture, ModelConfig
from model.score import Scorer, device
from model.tasks import evalsets, evaluate
from model.training import settings
from pipeline.engine import identity, workspace
from pipeline.store import manifest, shards
from pipeline.tokens.arrow import TokenShards, open_shards

Floats = npt.NDArray[np.float64]
Override = Callable[[Path, Path, Mapping[str, Any]], None]

SPLITS = ("train", "valid")
_KEPT = Path("models/scaling")
_CHECKPOINTS = Path("models/checkpoints")
_APART = ("params.yaml", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all rungs share.

    Attributes:
        root: The workspace of the finished graph.
        override: Writes a parameter file with other settings: source, target, changes.
        answers: Store of the answers of the model that is being measured.
        evaluate: How texts are scored.
        documents: How many of each split have their loss measured, at most.
    """

    root: Path
    override: Override
    answers: Path
    evaluate: evaluate.Config
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One model: its shape and how it is trained."""

    architecture: Architecture
    train: settings.Config

    @property
    def name(self) -> str:
        """Returns what people call it: blocks x width."""
        return f"{self.architecture.n_layer}x{self.architecture.n_embd}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of one rung.

    Attributes:
        run: Identity of the training run.
        n_parameters: All of them; the tied output table counts once.
        n_non_embedding: Without the token and position tables.
        nats: By split (documents,) sums over a document's tokens.
        scores: Figures by protocol, as `metrics/evaluate.json` has them.
    """

    run: str
    n_parameters: int
    n_non_embedding: int
    nats: dict[str, list[float]]
    scores: dict[str, dict[str, float]]


def climb(rungs: Sequence[Rung], bench: Bench) -> list[Measured]:
    """Trains and measures each rung that no earlier run has finished.

    Raises:
        ManifestError: If tokens or overlaps are missing.
        ShardError: If a training fails.
    """
    found = []
    with workspace.linked(bench.root, "scaling", _APART) as scratch:
        for number, rung in enumerate(rungs, 1):
            label = f"scaling {number}/{len(rungs)}: {rung.name}, seed {rung.train.seed}"
            found.append(_one(rung, bench, scratch, label))
    return found


def _one(rung: Rung, bench: Bench, scratch: Path, label: str) -> Measured:
    """Returns what is kept of a rung, or makes it."""
    tokens = manifest.load(bench.root / "data" / "tokens", "encode")
    run = settings.run_identity(rung.architecture, rung.train, tokens.root)
    kept = bench.root / _KEPT / f"{_identity(run, bench)}.json"
    if kept.is_file():
        sys.stderr.write(f"{label}: measured before\n")
        return Measured(**json.loads(kept.read_bytes()))
    sys.stderr.write(f"{label}\n")
    _train(rung, bench, scratch)
    measured = _measure(run, scratch, bench)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shards.write_atomic(kept, shards.to_json(asdict(measured)))
    return measured


def _identity(run: str, bench: Bench) -> str:
    """Returns the name of a rung's kept figures: what decides them."""
    step = identity.Step(
        name="scaling",
        code="model.capacity.ladder",
        config={"evaluate": asdict(bench.evaluate), "documents": bench.documents},
        libraries=("torch",),
    )
    data = bench.root / "data"
    sets = shards.sha256_file(data / "eval" / evalsets.SIDECAR)
    overlap = manifest.load(data / "overlap", "decontaminate").root
    return identity.fingerprint(identity.identity(step), [run, sets, overlap])[:16]


def _train(rung: Rung, bench: Bench, scratch: Path) -> None:
    """Runs the stage `train`; its checkpoints are the workspace's own."""
    place = scratch / _CHECKPOINTS
    if not place.is_symlink():
        place.parent.mkdir()
        (bench.root / _CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        place.symlink_to((bench.root / _CHECKPOINTS).absolute())
    changes = {
        f"{section}.{key}": value
        for section, values in (("model", rung.architecture), ("train", rung.train))
        for key, value in asdict(values).items()
    }
    bench.override(bench.root / "params.yaml", scratch / "params.yaml", changes)
    workspace.run_stage("train", scratch, f"scaling {rung.name}", shown=True)


def _measure(run: str, scratch: Path, bench: Bench) -> Measured:
    """Returns the figures of the model that was just trained."""
    pretrained, data = scratch / "models" / "pretrained", scratch / "data"
    found = evaluate.run(pretrained, data / "eval", data / "overlap", bench.answers, bench.evaluate)
    network, shape = hf.load(pretrained)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    tokens = {split: open_split(bench.root, split) for split in SPLITS}
    scorer = Scorer(network.to(device()), tokens["train"].eot_id)
    measured = Measured(
        run=run,
        n_parameters=n_parameters,
        n_non_embedding=n_parameters - _n_embedding(shape),
        nats={name: losses(scorer, each, bench.documents) for name, each in tokens.items()},
        scores=found.figures,
    )
    del network, scorer
    torch.cuda.empty_cache()  # the next size trains in a process of its own, on the same device
    return measured


def _n_embedding(shape: ModelConfig) -> int:
    """Returns the parameters of both tables. Paper: left out by Kaplan et al. 2020, section 1.3."""
    return (shape.n_vocab + shape.n_ctx) * shape.n_embd


def open_split(root: Path, split: str) -> TokenShards:
    """Opens the token shards of one split."""
    return open_shards(manifest.load(root / "data" / "tokens", "encode").paths(split))


def losses(scorer: Scorer, tokens: TokenShards, most: int) -> list[float]:
    """Returns (documents,) nats of the chosen documents, their end marker not charged."""
    starts, lengths = _spans(tokens, most)
    texts = [tokens.slice(s, s + n).tolist() for s, n in zip(starts, lengths, strict=True)]
    return [-float(values.sum()) for values in scorer.rolling(texts, scorer.n_ctx)]


def lengths_of(tokens: TokenShards, most: int) -> Floats:
    """Returns (documents,) how many tokens `losses` sums up."""
    return np.array(_spans(tokens, most)[1], np.float64)


def _spans(tokens: TokenShards, most: int) -> tuple[list[int], list[int]]:
    """Returns start and length of at most `most` documents, evenly spaced over the stream."""
    documents = tokens.documents()
    n = min(most, documents.num_rows)
    rows = [number * documents.num_rows // n for number in range(n)]
    starts, sizes = (documents[name].take(rows).to_pylist() for name in ("start", "n_tokens"))
    return starts, [size - 1 for size in sizes]
