"""A map over shards: one task per shard, resumed by fingerprint, conserved, sealed.

    inputs ──> task 0 ──> .shards/clean/<fingerprint 0>/ ──┐
           ──> task 1 ──> .shards/clean/<fingerprint 1>/ ──┼──> data/clean/ + manifest.json
           ──> ...                                         ┘

A task reads its inputs' digests, and so its fingerprint, before anything else: a shard that is in
the store already is verified and reused. An exchange is a map whose tasks write one file per
partition (`output=None`: the files stay in the store), followed by a map whose task p reads file p
of every shard.
"""

import errno
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.engine.identity import Step, fingerprint, identity
from pipeline.engine.progress import progress
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, shards
from pipeline.store.errors import ManifestError, ShardError
from pipeline.store.manifest import Manifest
from pipeline.store.shards import Shard, ShardDraft

STORE = Path(".shards")

Work = Callable[[tuple[Path, ...], ShardDraft], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One shard to make: its inputs, their recorded digests, and where it goes.

    Attributes:
        index: Place among its siblings; decides its name in the output.
        inputs: Absolute paths.
        recorded: SHA-256 of each input as its maker wrote it down; empty where nobody did.
        store: Absolute folder of the step in the shard store.
        name: The step's name.
        identity: The step's share of the fingerprint.
    """

    index: int
    inputs: tuple[Path, ...]
    recorded: tuple[str, ...]
    store: Path
    name: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What a map left: its shards in index order, and how many of them were there before."""

    shards: tuple[Shard, ...]
    n_reused: int


def shard_map(
    step: Step, tasks: Sequence[Sequence[Path]], work: Work, output: Path, engine: Engine
) -> Manifest:
    """Makes one output shard per task and seals the output folder.

    Args:
        step: What does the work.
        tasks: The input files of each shard, in the order of the output.
        work: Module-level function (or partial of one) that reads the inputs and fills the draft.
        output: The folder to fill.
        engine: Where tasks run.

    Returns:
        The output's manifest.

    Raises:
        ManifestError: If an input's bytes are not those its maker wrote.
        ShardError: If a shard cannot be made; finished shards are kept for the next run.
    """
    made = intermediate(step, tasks, work, engine)
    return manifest.link_shards(output, step.name, made.shards)


def intermediate(step: Step, tasks: Sequence[Sequence[Path]], work: Work, engine: Engine) -> Mapped:
    """Makes one shard per task and leaves it in the store; arguments as for `shard_map`."""
    store = (STORE / step.name).absolute()
    store.mkdir(parents=True, exist_ok=True)
    share = identity(step)
    prepared = [_task(i, paths, store, step.name, share) for i, paths in enumerate(tasks)]
    order = sorted(prepared, key=lambda task: (-_n_bytes(task.inputs), task.index))
    made: dict[int, tuple[Shard, bool]] = {}
    with progress(step.name, len(order)) as shown:
        for position, result in engine.map(partial(make_shard, work), order):
            made[order[position].index] = result
            shown.update()
        new = {shard.fingerprint for shard, reused in made.values() if not reused}
        n_reused = sum(r and s.fingerprint not in new for s, r in made.values())
        if n_reused:
            shown.note(f"{step.name}: {n_reused} of {len(order)} shards kept from an earlier run")
    finished = tuple(made[index][0] for index in range(len(tasks)))
    _prune(store, {shard.fingerprint for shard in finished})
    return Mapped(shards=finished, n_reused=n_reused)


def make_shard(work: Work, task: Task) -> tuple[Shard, bool]:
    """Makes one shard in a worker, or finds it in the store.

    Returns:
        The shard, and whether it was there before.
    """
    digests = tuple(shards.sha256_file(path) for path in task.inputs)
    _check_inputs(task, digests)
    mark = fingerprint(task.identity, digests)
    found = shards.load(task.store / mark)
    if found is not None:
        return found, True
    draft = ShardDraft(task.name, task.store)
    try:
        work(task.inputs, draft)
        return draft.commit(mark, digests), False
    except Exception as error:  # the one place: adds the shard's name, then goes on up
        raise ShardError(_explain(task, error)) from error
    finally:
        draft.abandon()


def _explain(task: Task, error: Exception) -> str:
    source = task.inputs[0].name if task.inputs else "no input"
    where = f"{task.name} shard {task.index} ({source})"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = f"{where}: no space left on the disk of {task.store}"
        return f"{full}; free some and run the same command again, finished shards are kept"
    if isinstance(error, (ShardError, ValueError, OSError)):
        return f"{where}: {error}"
    return f"{where}: {type(error).__name__}: {error}; OUTBOUND_TRACEBACK=1 shows where"


def _check_inputs(task: Task, digests: tuple[str, ...]) -> None:
    for path, digest, recorded in zip(task.inputs, digests, task.recorded, strict=True):
        if recorded and digest != recorded:
            raise ManifestError(
                f"{path} has SHA-256 {digest[:16]}…; {recorded[:16]}… was written; "
                "remove its folder and run the same command again"
            )


def _task(index: int, paths: Sequence[Path], store: Path, name: str, share: str) -> Task:
    return Task(
        index=index,
        inputs=tuple(path.absolute() for path in paths),
        recorded=tuple(_recorded(path) for path in paths),
        store=store,
        name=name,
        identity=share,
    )


def _recorded(path: Path) -> str:
    """Returns the digest that a file's maker wrote down in the manifest or sidecar above it."""
    for folder in (path.parent, path.parent.parent):
        for name in (manifest.NAME, shards.SIDECAR):
            if (folder / name).is_file():
                files = _described_files(folder / name, (folder / name).stat().st_mtime_ns)
                return files.get(path.relative_to(folder).as_posix(), "")
    return ""


_described: dict[tuple[Path, int], dict[str, str]] = {}


def _described_files(path: Path, modified_ns: int) -> dict[str, str]:
    key = (path.absolute(), modified_ns)
    if key not in _described:
        files = json.loads(path.read_bytes())["files"]
        _described[key] = {name: info["sha256"] for name, info in files.items()}
    return _described[key]


def _n_bytes(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _prune(store: Path, keep: set[str]) -> None:
    """Removes shards of earlier inputs or settings; DVC's run cache holds their outputs."""
    for folder in store.iterdir():
        if folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)
