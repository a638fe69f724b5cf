"""Checkpoints in one canonical form, whatever the ZeRO stage and the number of ranks.

    models/checkpoints/<identity>/
    ├── step-00000100/  weights.safetensors  adam_exp_avg.safetensors  adam_exp_avg_sq.safetensors
    │                   checkpoint.json      step, digests of the three, configuration, curve
    └── .step-00000200.tmp/                  being written, or left by a kill

Decisions
- fp32 tensors by parameter name: the optimizer's weights, not the module's bf16 copies.
- A checkpoint is written beside, synced, read back and compared, then renamed. One rename makes it
  count; nothing points to it that could be newer or older than it.
- What is not finite is never written: the last checkpoint is always one to continue from.
- A damaged checkpoint is reported and the one before it is used.
- Old ones are removed only after a newer one is in place.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.training.curve import Row
from model.training.partitions import KINDS, Kind
from pipeline.store import shards
from pipeline.store.errors import CheckpointError

FORMAT_VERSION = 1
FACTS = "checkpoint.json"
FILES: dict[Kind, str] = {
    "weights": "weights.safetensors",
    "exp_avg": "adam_exp_avg.safetensors",
    "exp_avg_sq": "adam_exp_avg_sq.safetensors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One verified checkpoint.

    Attributes:
        folder: where it lies.
        step: optimizer steps done.
        rows: the curve up to it.
    """

    folder: Path
    step: int
    rows: tuple[Row, ...]

    def tensors(self, kind: Kind) -> dict[str, Tensor]:
        """Returns fp32 tensors by parameter name."""
        loaded: dict[str, Tensor] = load_file(self.folder / FILES[kind])
        return loaded


def save(
    root: Path,
    step: int,
    gather: Callable[[Kind], Mapping[str, Tensor]],
    rows: Sequence[Row],
    about: Mapping[str, Any],
) -> Path:
    """Writes a checkpoint and returns its folder; one that is in place already is kept.

    Args:
        root: the folder of this run's identity.
        step: optimizer steps done.
        gather: returns the whole tensors of one kind; called once per kind, in the order of KINDS.
        rows: the curve so far.
        about: what else a reader may want: configuration, seed, digests. Nothing reads it back.

    Raises:
        CheckpointError: a tensor is not finite, or does not read back as it was written.
    """
    folder = folder_of(root, step)
    draft = root / f".{folder.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    digests = {FILES[kind]: _write(draft / FILES[kind], gather(kind)) for kind in KINDS}
    facts = {
        "format": FORMAT_VERSION,
        "step": step,
        "files": digests,
        "curve": list(rows),
        "about": dict(about),
    }
    shards.write_atomic(draft / FACTS, shards.to_json(facts))
    shards.sync(draft)
    if folder.exists():  # the same step again: after a resume from an older, undamaged one
        shutil.rmtree(folder)
    draft.rename(folder)
    shards.sync(root)
    return folder


def folder_of(root: Path, step: int) -> Path:
    """Returns the folder of the checkpoint after `step` optimizer steps."""
    return root / f"step-{step:08d}"


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
            f"{root} holds no usable checkpoint; start anew by unsetting OUTBOUND_RESUME"
        )
    return None


def read(folder: Path) -> Checkpoint:
    """Verifies one checkpoint.

    Raises:
        CheckpointError: a file is missing or its bytes are not those that were written.
    """
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        wrong = [
            name
            for name, digest in facts["files"].items()
            if shards.sha256_file(folder / name) != digest
        ]
        known = facts["format"] == FORMAT_VERSION and set(facts["files"]) == set(FILES.values())
        step, rows = int(facts["step"]), tuple(facts["curve"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {error!r}") from error
    if wrong or not known:
        what = f"digest of {wrong[0]} differs" if wrong else "unknown format"
        raise CheckpointError(f"checkpoint {folder} is damaged: {what}")
    return Checkpoint(folder=folder, step=step, rows=rows)


def prune(root: Path, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints, and what killed runs left half written."""
    for folder in [*_folders(root)[keep:], *root.glob(".step-*.tmp")]:
        shutil.rmtree(folder)


def _folders(root: Path) -> list[Path]:
    """Returns the checkpoints, newest first."""
    return sorted(root.glob("step-*"), reverse=True)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes tensors so that they last, compares what is read back, returns the file's digest."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path.name}: {name} is not finite; nothing was saved")
    save_file(dict(tensors), path)
    shards.sync(path)
    back = load_file(path)
    same = back.keys() == tensors.keys() and all(torch.equal(back[n], tensors[n]) for n in back)
    if not same:
        raise CheckpointError(f"{path} does not read back as it was written; check the disk")
    return shards.sha256_file(path)
