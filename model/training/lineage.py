"""Which documents a training step read, and which steps and checkpoints read a document.

    step s ─order─> windows ─documents.parquet─> documents        and the same way back
    window w reads the tokens [w n_ctx, w n_ctx + n_ctx]           the last one as a target only

Decisions:
- A run is what its checkpoint folder says of itself: settings from `checkpoint.json`, documents
  from `documents.parquet`. So checkpoints made before a removal still answer after it.
- The run of the tokens and parameters at hand needs no checkpoint: the order is a pure function.
- Steps count from 0, as in `Windows.ids` and OUTBOUND_WINDOW_LOG. Checkpoint `step-00000100` has
  seen the steps 0 to 99.
- No tensor library is imported: the ledger answers in seconds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from model.training import exposure
from model.training.order import step_of, windows_of
from pipeline.store import manifest, records
from pipeline.store.errors import CheckpointError
from pipeline.tokens.arrow import open_shards

AT_HAND = "params.yaml"  # the name of the run of the tokens and parameters at hand

Losses = Iterable[tuple[int, float]]

_FACTS = "checkpoint.json"
_LOSS = "train/loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What decides, with the documents, which step reads what.

    Attributes:
        tokens_root: The token folder's root digest.
        n_ctx: Tokens per window.
        batch_size: Windows per step.
        seed: Of the order.
        steps: Optimizer steps of the whole run.
    """

    tokens_root: str
    n_ctx: int
    batch_size: int
    seed: int
    steps: int

    def n_epochs(self, n_windows: int) -> int:
        """Returns how many epochs the run begins."""
        return -(-self.steps * self.batch_size // n_windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training run.

    Attributes:
        name: The checkpoint folder's name, or `AT_HAND`.
        plan: Its order.
        documents: `doc_id, start, n_tokens` in stream order; None where nobody wrote it down.
        checkpoints: Steps done at each checkpoint that lies on disk, ascending.
    """

    name: str
    plan: Plan
    documents: pa.Table | None
    checkpoints: tuple[int, ...]

    def documents_of(self, step: int) -> dict[str, int]:
        """Returns how many tokens of each document a step read, in the order of the batch.

        A token that two windows of the step share, as a target and as an input, counts twice.

        Args:
            step: Counted from 0.

        Raises:
            ValueError: If the run has no such step.
        """
        if not 0 <= step < self.plan.steps:
            raise ValueError(
                f"step is {step}; expected 0 <= step < {self.plan.steps}, the steps of run "
                f"{self.name} (they count from 0)"
            )
        plan, documents = self.plan, self._documents()
        *_, ends = self._spans()
        windows = windows_of(step, plan.batch_size, _n_windows(ends, plan), plan.seed)
        return exposure.documents_in(documents, windows, plan.n_ctx)

    def steps_of(self, doc_ids: Sequence[str]) -> dict[str, dict[int, tuple[int, ...]]]:
        """Returns by document, then by epoch, the steps that read it, ascending.

        A document that no step read, or that is not in the stream, is left out.
        """
        ids, starts, ends = self._spans()
        n = _n_windows(ends, self.plan)
        rows = pc.index_in(pa.array(doc_ids, pa.string()), value_set=ids).to_pylist()
        found = {}
        for doc_id, row in zip(doc_ids, rows, strict=True):
            if row is None:
                continue
            first = max(0, -(-int(starts[row]) // self.plan.n_ctx) - 1)
            windows = range(first, min((int(ends[row]) - 1) // self.plan.n_ctx, n - 1) + 1)
            epochs = {e: self._steps(windows, e, n) for e in range(self.plan.n_epochs(n))}
            if any(epochs.values()):
                found[doc_id] = {epoch: steps for epoch, steps in epochs.items() if steps}
        return found

    def all_steps_of(self, doc_ids: Sequence[str]) -> dict[str, list[int]]:
        """Returns by document the steps of all epochs that read it, ascending."""
        told = self.steps_of(doc_ids)
        return {d: sorted({s for steps in told[d].values() for s in steps}) for d in told}

    def _steps(self, windows: Iterable[int], epoch: int, n_windows: int) -> tuple[int, ...]:
        """Returns the steps that read any of some windows in one epoch."""
        plan = self.plan
        told = {step_of(w, epoch, plan.batch_size, n_windows, plan.seed) for w in windows}
        return tuple(sorted(step for step in told if step < plan.steps))

    def checkpoints_after(self, step: int) -> tuple[int, ...]:
        """Returns the checkpoints on disk that have seen a step."""
        return tuple(done for done in self.checkpoints if done > step)

    def _documents(self) -> pa.Table:
        if self.documents is None:
            raise CheckpointError(
                f"run {self.name} has no {exposure.FILE}: it was made before runs wrote one, or "
                "the file was removed; its tokens are not at hand either"
            )
        return self.documents

    def _spans(self) -> tuple[pa.ChunkedArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        table = self._documents()
        starts = table["start"].to_numpy()
        return table["doc_id"], starts, starts + table["n_tokens"].to_numpy()


def _n_windows(ends: npt.NDArray[np.int64], plan: Plan) -> int:
    """Returns the windows of the whole stream."""
    return (int(ends[-1]) - 1) // plan.n_ctx


def runs(tokens: Path, settings: Mapping[str, Any], checkpoints: Path) -> list[Run]:
    """Returns every run that can be told of, the one at hand first.

    Args:
        tokens: `data/tokens/`; absent or unfinished is no error.
        settings: The sections `model` and `train` of params.yaml.
        checkpoints: `models/checkpoints/`; absent is no error.
    """
    at_hand = _at_hand(tokens, settings)
    recorded = [run for folder in sorted(checkpoints.glob("*")) if (run := _recorded(folder))]
    if at_hand is None:
        return recorded
    same = [run for run in recorded if run.plan.tokens_root == at_hand.plan.tokens_root]
    others = [run for run in recorded if run.plan.tokens_root != at_hand.plan.tokens_root]
    known = [_with_documents(run, at_hand) for run in same]
    is_recorded = any(run.plan == at_hand.plan for run in known)
    return [
        *([] if is_recorded else [at_hand]),
        *sorted(known, key=lambda run: run.plan != at_hand.plan),
        *others,
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The run that left a curve: the one whose newest checkpoint holds the same losses.

    Attributes:
        tokens: `data/tokens/`.
        checkpoints: `models/checkpoints/`.
        settings: The sections `model` and `train` of params.yaml.
    """

    tokens: Path
    checkpoints: Path
    settings: Mapping[str, Any]

    def documents_of(self, losses: Losses, steps: Sequence[int]) -> dict[int, dict[str, int]]:
        """Returns tokens by document of steps counted from 0; nothing where nobody knows them.

        Without such a checkpoint (the curve came by `dvc pull`) the run at hand answers.

        Args:
            losses: The curve's `train/loss`: steps done, nats per token.
            steps: Those that the run does not have are left out.
        """
        run = self._run(losses)
        if run is None or run.documents is None:
            return {}
        return {step: run.documents_of(step) for step in steps if 0 <= step < run.plan.steps}

    def left_out(self, losses: Losses) -> dict[int, str] | None:
        """Returns the steps that the guard left out, with its word for why; None if unknown."""
        folder = self._folder(losses)
        if folder is None:
            return None
        skipped = _newest(folder)["guard"]["skipped"]
        return {int(each["step"]): str(each["kind"]) for each in skipped}

    def _run(self, losses: Losses) -> Run | None:
        folder, at_hand = self._folder(losses), _at_hand(self.tokens, self.settings)
        recorded = None if folder is None else _recorded(folder)
        if recorded is None or at_hand is None:
            return recorded or at_hand
        is_same = recorded.plan.tokens_root == at_hand.plan.tokens_root
        return _with_documents(recorded, at_hand) if is_same else recorded

    def _folder(self, losses: Losses) -> Path | None:
        """Returns the run's folder of checkpoints."""
        curve = [(int(step), float(loss)) for step, loss in losses]
        for folder in sorted(self.checkpoints.glob("*")):
            rows = _newest(folder).get("rows", [])
            if curve and [(int(r["step"]), r[_LOSS]) for r in rows if _LOSS in r] == curve:
                return folder
        return None


def _newest(folder: Path) -> dict[str, Any]:
    """Returns what the newest checkpoint of a folder says; nothing without one, or if damaged."""
    found = sorted(folder.glob(f"step-*/{_FACTS}"))
    try:
        told: dict[str, Any] = json.loads(found[-1].read_bytes()) if found else {}
    except ValueError:
        return {}  # training says so, where it matters
    return told


def _at_hand(tokens: Path, settings: Mapping[str, Any]) -> Run | None:
    if not (tokens / manifest.NAME).is_file():
        return None
    told = manifest.load(tokens, "encode")
    documents = open_shards(told.paths("train")).documents()
    plan = _plan(settings, told.root)
    return Run(name=AT_HAND, plan=plan, documents=documents, checkpoints=())


def _recorded(folder: Path) -> Run | None:
    """Returns the run that left a folder of checkpoints; None if there is none in it."""
    found = sorted(path for path in folder.glob("step-*") if (path / _FACTS).is_file())
    if not found:
        return None
    try:
        about = json.loads((found[-1] / _FACTS).read_bytes())["about"]
        plan = _plan(about, about["tokens_root"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{found[-1] / _FACTS} cannot be read ({error!r}); remove {found[-1]}"
        ) from error
    steps = tuple(int(path.name.removeprefix("step-")) for path in found)
    documents = exposure.read(folder)
    return Run(name=folder.name, plan=plan, documents=documents, checkpoints=steps)


def _with_documents(run: Run, at_hand: Run) -> Run:
    documents = at_hand.documents
    return Run(name=run.name, plan=run.plan, documents=documents, checkpoints=run.checkpoints)


def _plan(settings: Mapping[str, Any], tokens_root: str) -> Plan:
    model, train = settings["model"], settings["train"]
    return Plan(
        tokens_root=tokens_root,
        n_ctx=model["n_ctx"],
        batch_size=train["global_batch_tokens"] // model["n_ctx"],
        seed=train["seed"],
        steps=train["steps"],
    )


def exposure_lines(run: Run, doc_ids: Sequence[str]) -> Iterator[str]:
    """Yields what a run saw of some documents: a summary, then each document's steps."""
    if run.documents is None:
        yield f"run {run.name}: nobody wrote down what it read ({exposure.FILE} is missing)"
        return
    seen = run.all_steps_of(doc_ids)
    if not seen:
        yield f"run {run.name}: no step read any of them"
        return
    first = min(mine[0] for mine in seen.values())
    n_steps = len({step for mine in seen.values() for step in mine})
    yield (
        f"run {run.name}: {n_steps} of {run.plan.steps} steps read {len(seen)} of them, first step "
        f"{first}; checkpoints on disk that saw them: {_names(run.checkpoints_after(first))}"
    )
    for doc_id, mine in seen.items():
        yield f"    doc_id {doc_id}: steps {' '.join(map(str, mine))}"


def _names(checkpoints: Iterable[int]) -> str:
    return ", ".join(f"step-{done:08d}" for done in checkpoints) or "none"


def told_steps(run: Run, doc_id: str) -> Iterator[str]:
    """Yields lines on the steps and checkpoints that saw a document."""
    if run.documents is None:
        yield f"run {run.name}: nobody wrote down what it read ({exposure.FILE} is missing)"
        return
    found = run.steps_of([doc_id]).get(doc_id)
    if not found:
        held_out = records.is_validation(doc_id)
        why = "; its id is of the validation part" if held_out else ""
        yield f"run {run.name}: no step read it{why}"
        return
    for epoch, steps in found.items():
        yield f"run {run.name}: epoch {epoch}: steps {' '.join(map(str, steps))}"
    first = min(found[min(found)])
    seen = _names(run.checkpoints_after(first))
    yield f"run {run.name}: first read in step {first}; checkpoints on disk that saw it: {seen}"
