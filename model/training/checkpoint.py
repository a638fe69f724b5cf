"""Checkpoints in one canonical form, whatever the ZeRO stage and the number of ranks.

    models/checkpoints/<identity>/
    ├── step-00000100/  weights.safetensors  adam_exp_avg.safetensors  adam_exp_avg_sq.safetensors
    │                   checkpoint.json      step, digests of the three, configuration, curve,
    │                                        guard, loss scale, what it was computed with
    └── .step-00000200.tmp/                  being written, or left by a kill

Decisions
- fp32 tensors by parameter name: the optimizer's weights, not the module's bf16 copies.
- A checkpoint is written beside, synced, read back and compared, then renamed. One rename makes it
  count; nothing points to it that could be newer or older than it.
- What is not finite is never written: the last checkpoint is always one to continue from.
- A damaged checkpoint is reported and the one before it is used.
- Old ones are removed only after a newer one is in place. The best one, by the validation loss of
  its own step, is never removed.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.training.curve import Row
from model.training.partitions import KINDS, Kind
from pipeline.store import shards
from pipeline.store.errors import CheckpointError

FORMAT_VERSION = 2
RESUME = "OUTBOUND_RESUME"  # "required": no checkpoint to continue from is an error
FACTS = "checkpoint.json"
FILES: dict[Kind, str] = {
    "weights": "weights.safetensors",
    "exp_avg": "adam_exp_avg.safetensors",
    "exp_avg_sq": "adam_exp_avg_sq.safetensors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a run must know to go on, beside the tensors.

    Attributes:
        step: optimizer steps done.
        rows: the curve up to it.
        valid_loss: nats per token on the validation windows that every validation reads; None if
            this step was not validated.
        guard: `Guard.state()`.
        loss_scale: `LossScale.state()`; None without fp16.
        segments: what the run was computed with, each from a step `from_step` on.
    """

    step: int
    rows: tuple[Row, ...]
    valid_loss: float | None
    guard: Mapping[str, Any]
    loss_scale: Mapping[str, Any] | None
    segments: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One verified checkpoint.

    Attributes:
        folder: where it lies.
        facts: what stands beside the tensors.
    """

    folder: Path
    facts: Facts

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.facts.step

    def tensors(self, kind: Kind) -> dict[str, Tensor]:
        """Returns fp32 tensors by parameter name."""
        loaded: dict[str, Tensor] = load_file(self.folder / FILES[kind])
        return loaded


def save(
    root: Path,
    facts: Facts,
    gather: Callable[[Kind], Mapping[str, Tensor]],
    about: Mapping[str, Any],
) -> Path:
    """Writes a checkpoint and returns its folder; one that is in place already is replaced.

    Args:
        root: the folder of this run's identity.
        facts: how far the run is.
        gather: returns the whole tensors of one kind; called once per kind, in the order of KINDS.
        about: what else a reader may want: configuration, digests. No run reads it back.

    Raises:
        CheckpointError: a tensor is not finite, or does not read back as it was written.
    """
    folder = folder_of(root, facts.step)
    draft = root / f".{folder.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    digests = {FILES[kind]: _write(draft / FILES[kind], gather(kind)) for kind in KINDS}
    told = {"format": FORMAT_VERSION, "files": digests, **asdict(facts), "about": dict(about)}
    shards.write_atomic(draft / FACTS, shards.to_json(told))
    shards.sync(draft)
    if folder.exists():  # the same step again: after a resume from an older, undamaged one
        shutil.rmtree(folder)
    draft.rename(folder)
    shards.sync(root)
    return folder


def folder_of(root: Path, step: int) -> Path:
    """Returns the folder of the checkpoint after `step` optimizer steps."""
    return root / f"step-{step:08d}"


def is_demanded() -> bool:
    """Tells whether the environment demands a checkpoint to continue from."""
    return os.environ.get(RESUME) == "required"


def newest(root: Path, *, demanded: bool = False) -> Checkpoint | None:
    """Returns the newest checkpoint that is whole, or None; reports the damaged ones on stderr.

    Raises:
        CheckpointError: there is none and one is demanded.
    """
    for folder in _folders(root):
        try:
            return read(folder)
        except CheckpointError as error:
            sys.stderr.write(f"{error}; trying the one before it\n")
    if demanded:
        raise CheckpointError(
            f"{root} holds no usable checkpoint; start anew by unsetting {RESUME}"
        )
    return None


def read(folder: Path) -> Checkpoint:
    """Verifies one checkpoint.

    Raises:
        CheckpointError: a file is missing or its bytes are not those that were written.
    """
    try:
        told = json.loads((folder / FACTS).read_bytes())
        digests = told["files"]
        wrong = [name for name in digests if shards.sha256_file(folder / name) != digests[name]]
        known = told["format"] == FORMAT_VERSION and set(digests) == set(FILES.values())
        facts = _facts(told) if known else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {error!r}; remove it") from error
    if wrong or facts is None:
        what = f"digest of {wrong[0]} differs" if wrong else "unknown format"
        raise CheckpointError(f"checkpoint {folder} is damaged: {what}; remove it")
    return Checkpoint(folder=folder, facts=facts)


def _facts(told: Mapping[str, Any]) -> Facts:
    return Facts(
        step=int(told["step"]),
        rows=tuple(told["rows"]),
        valid_loss=told["valid_loss"],
        guard=dict(told["guard"]),
        loss_scale=told["loss_scale"],
        segments=tuple(told["segments"]),
    )


def best(root: Path) -> Checkpoint | None:
    """Returns the checkpoint with the lowest validation loss that is whole, or None.

    Damaged ones are reported on stderr.
    """
    for folder in _by_valid_loss(root):
        try:
            return read(folder)
        except CheckpointError as error:
            sys.stderr.write(f"{error}; trying the next best one\n")
    return None


def prune(root: Path, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints and the best one.

    What killed runs left half written goes too.
    """
    spared = {*_folders(root)[:keep], *_by_valid_loss(root)[:1]}
    for folder in [*_folders(root), *root.glob(".step-*.tmp")]:
        if folder not in spared:
            shutil.rmtree(folder)


def _by_valid_loss(root: Path) -> list[Path]:
    """Returns the checkpoints of validated steps, the lowest loss first, of equals the newest."""
    losses = {}
    for folder in _folders(root):
        try:
            loss = json.loads((folder / FACTS).read_bytes())["valid_loss"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged; `read` says so where it matters
        if isinstance(loss, float):
            losses[folder] = loss
    return sorted(losses, key=losses.__getitem__)


def _folders(root: Path) -> list[Path]:
    """Returns the checkpoints, newest first."""
    return sorted(root.glob("step-*"), reverse=True)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes tensors so that they last, compares what is read back, returns the file's digest."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path.name}: {name} is not finite; nothing was saved: lower lr")
    save_file(dict(tensors), path)
    shards.sync(path)
    back = load_file(path)
    same = back.keys() == tensors.keys() and all(torch.equal(back[n], tensors[n]) for n in back)
    if not same:
        raise CheckpointError(f"{path} does not read back as it was written; check the disk")
    return shards.sha256_file(path)
