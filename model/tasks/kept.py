"""What a model has answered so far: an evaluation that was killed goes on where it was.

    shard of requests ──> key ──┐
    weights, code, torch ───────┴─> .shards/evaluate/<fingerprint>/part.npy ──> answers, bit by bit

Decisions:
- A shard's key is all that it depends on: the ids to read, which of them are scored, what competes.
  So the set, its text, the vocabulary, the stride and how a prompt is written are in it by what
  they do, and what makes figures of answers (bootstrap, filters, rounding) is not: a changed
  metric costs no reading.
- The model's share is one step's identity: digests of weights and configuration, code of the
  scorer, torch's version, kind of device. The number of threads is not in it, as nowhere else.
- The store is the one of the data stages: written beside, synced, renamed, checked when read. What
  a finished evaluation did not ask for is removed.
"""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model.score import Floats
from pipeline.engine.identity import Step, fingerprint, identity
from pipeline.store import shards
from pipeline.store.shards import ShardDraft

STEP = "evaluate"
_FILE = "part.npy"


class Answers:
    """A folder of answers of one model; an instance is a `model.score.Recall`.

    Attributes:
        n_found: Shards that were there before.
        n_made: Shards that were computed.
    """

    def __init__(self, folder: Path, pretrained: Path, device: torch.device) -> None:
        """Opens the folder for a model.

        Args:
            folder: Made if needed.
            pretrained: Where its weights are.
            device: Where it answers.
        """
        names = ("config.json", "model.safetensors")
        config = {name: shards.sha256_file(pretrained / name) for name in names}
        step = Step(
            name=STEP,
            code="model.score",
            config=config | {"device": device.type},
            libraries=("torch",),
        )
        self._folder = folder
        self._identity = identity(step)
        self._asked: set[str] = set()
        self.n_found = self.n_made = 0
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, key: str, compute: Callable[[], Floats]) -> Floats:
        """Returns what is kept under a key, or computes and keeps it."""
        mark = fingerprint(self._identity, [key])
        self._asked.add(mark)
        found = shards.load(self._folder / mark)
        if found is None:
            self.n_made += 1
            return self._keep(mark, compute())
        self.n_found += 1
        values: Floats = np.load(found.path(_FILE), allow_pickle=False)
        return values

    def prune(self) -> None:
        """Removes what was not asked for; call it when all is done."""
        for folder in self._folder.iterdir():
            if folder.name not in self._asked:
                shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, mark: str, values: Floats) -> Floats:
        draft = ShardDraft(STEP, self._folder)
        content = io.BytesIO()
        np.save(content, values, allow_pickle=False)
        draft.write_bytes(_FILE, content.getvalue())
        draft.count_in(len(values))
        draft.count_out(len(values))
        draft.commit(mark, ())
        return values
