"""Ranks on the machines of a Ray cluster, by Ray Train: the only file that knows it.

    this process                          worker of rank r (its own process, anywhere)
    ------------                          --------------------------------------------
    Ctrl-C -> writes models/.launch/stop  -> seen at the end of a step: saves, ends
    shows    models/.launch/rank-0.log    <- rank 0's messages
    raises   models/.launch/failure-*     <- a stated failure
    returns  models/.launch/figures.json  <- rank 0's figures

Decisions
- Ray Train places the workers, starts them and makes the process group, which `engine.join` takes
  as it is. Nothing of Ray is in the training loop; a step is the engine's own.
- No checkpoint and no metric goes through Ray. The canonical checkpoints lie in the shared
  workspace, and whoever starts continues from the newest. So `ray.train.report` is never called,
  and ranks need not agree on how often.
- Whether to start again is decided here and not by Ray's FailureConfig, which repeats whatever
  fails: a missing input, and a loss that is not finite too. A stated failure ends the run; a lost
  worker starts the group again, as long as a new checkpoint comes every few attempts.
- Only machines that are up count: an autoscaler that starts GPUs on demand must have done so
  (`min_workers` in cluster.yaml), else the run would go to the CPUs there are.
- A worker runs its rank in a thread, where no signal arrives; hence the file.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from textwrap import shorten
from threading import Thread
from typing import Any, NamedTuple

import ray
import ray.train
from ray.train.torch import TorchTrainer

from model.training import mail
from model.training.engine import World
from model.training.mail import Figures
from model.training.watch import STOP_FILE, interruptible
from pipeline.engine import cluster
from pipeline.store.config import require
from pipeline.store.errors import RetryableError

Work = Callable[[World], Figures]

ATTEMPTS = 3  # in a row without a new checkpoint
# A worker stays in the workspace, and neither workers nor the controller write metrics for Ray.
# Ray gives a group a minute to start, which is too little on a busy machine.
_ENVIRONMENT = {
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
}


class Job(NamedTuple):
    """What every worker is told.

    Attributes:
        work: does a rank's work.
        workspace: the project's root, on every machine.
        folder: for what workers and launcher tell each other.
        environment: the project's own variables.
    """

    work: Work
    workspace: Path
    folder: Path
    environment: Mapping[str, str]


def run(work: Work, n_ranks: int | None, checkpoints: Path) -> Figures:
    """Does the work on the cluster's workers and returns rank 0's figures.

    Args:
        work: does a rank's work; picklable.
        n_ranks: number of ranks; None: one per GPU, or one per machine where there is none.
        checkpoints: folder of the runs' checkpoint folders; a new one there is progress.

    Raises:
        ValueError: the cluster has no room for the ranks.
        RetryableError: workers were lost again and again.
        Exception: the first stated failure of a rank.
    """
    os.environ.update({k: v for k, v in _ENVIRONMENT.items() if k not in os.environ})
    with cluster.connect(_interpreter()), _letters(checkpoints.with_name(".launch")) as folder:
        told = {k: v for k, v in os.environ.items() if k.startswith("OUTBOUND_")}
        told[STOP_FILE] = str(folder / "stop")
        job = Job(work, Path.cwd(), folder, told)
        return _until_done(job, scaling(_nodes(), n_ranks), checkpoints)


def _interpreter() -> str | None:
    """Returns how a shell reads this Python's path where that differs from the path.

    Ray Train's processes have variables of their own, so Ray starts them by `bash -c` and does not
    quote the path (2.60): with a blank in it they fail to start, again and again, without a word.
    """
    quoted = shlex.quote(sys.executable)
    return None if quoted == sys.executable else quoted


def _until_done(job: Job, places: ray.train.ScalingConfig, checkpoints: Path) -> Figures:
    """Starts groups of workers until one has come to an end of its own."""
    failed, before = 0, _saved(checkpoints)
    while True:
        lost = _fit(job, places)
        figures = mail.collect(job.folder)
        if figures is not None:
            return figures
        if (job.folder / "stop").exists():
            raise KeyboardInterrupt
        now = _saved(checkpoints)
        failed, before = (1 if now != before else failed + 1), now
        if failed == ATTEMPTS:
            raise RetryableError(
                f"train: workers were lost {ATTEMPTS} times without a new checkpoint ({lost}); "
                "look at their memory, then run the same command again"
            )
        sys.stderr.write(f"train: lost a worker ({lost}), starts again from what is saved\n")


def _saved(checkpoints: Path) -> set[Path]:
    return set(checkpoints.glob("*/step-*"))


def _fit(job: Job, places: ray.train.ScalingConfig) -> str:
    """Starts a group of workers, waits for its end, and returns what ended it."""
    trainer = TorchTrainer(
        _rank,
        train_loop_config={"job": job},
        scaling_config=places,
        run_config=ray.train.RunConfig(name="ray", storage_path=str(job.folder)),
    )
    ended: list[BaseException] = []
    # Not in this thread: Ray would take SIGINT for itself there.
    thread = Thread(target=partial(_fit_quietly, trainer, ended), daemon=True)
    thread.start()
    _attend(job.folder, thread)
    return _reason(ended[0]) if ended else "no figures were left"


def _fit_quietly(trainer: TorchTrainer, ended: list[BaseException]) -> None:
    try:
        trainer.fit()
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        ended.append(error)


def _attend(folder: Path, thread: Thread) -> None:
    """Shows rank 0's messages and passes a request to stop on until the thread ends."""
    shown = _Tail(folder / "rank-0.log")
    with interruptible() as interrupt:
        while thread.is_alive():
            thread.join(timeout=0.2)
            shown.copy()
            if interrupt.wanted:
                (folder / "stop").touch()
    shown.copy()


class _Tail:
    """Copies to stderr what a file has grown by."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = path.stat().st_size if path.exists() else 0

    def copy(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as log:
            log.seek(self._done)
            new = log.read()
        self._done += len(new)
        sys.stderr.write(new.decode(errors="replace"))


def _rank(told: dict[str, Job]) -> None:
    """Is one rank, in a thread of its worker."""
    job = told["job"]
    os.chdir(job.workspace)
    os.environ.update(job.environment)
    place = ray.train.get_context()
    world = World(place.get_world_rank(), place.get_local_rank(), place.get_world_size())
    with (job.folder / f"rank-{world.rank}.log").open("a", 1) as log, redirect_stderr(log):
        mail.deliver(job.folder, world.rank, partial(job.work, world))


@contextmanager
def _letters(folder: Path) -> Iterator[Path]:
    """Yields an empty folder of the workspace and removes it afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder.absolute()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _nodes() -> list[dict[str, float]]:
    """Returns the resources of each machine."""
    nodes: list[dict[str, Any]] = ray.nodes()
    return [node["Resources"] for node in nodes if node["Alive"]]


def scaling(nodes: list[dict[str, float]], n_ranks: int | None) -> ray.train.ScalingConfig:
    """Returns how many workers to start and what each is given.

    A rank has a GPU, or an equal share of its machine's CPUs where the cluster has no GPU.

    Raises:
        ValueError: there is no room for so many.
    """
    on_gpu = any(node.get("GPU") for node in nodes)
    room = int(sum(node.get("GPU" if on_gpu else "CPU", 0) for node in nodes))
    wanted = n_ranks or (room if on_gpu else len(nodes))
    require("OUTBOUND_RANKS", wanted, wanted <= room, f"at most the cluster's {room}")
    if on_gpu:
        return ray.train.ScalingConfig(num_workers=wanted, use_gpu=True)
    per_node = -(-wanted // len(nodes))
    share = max(1, int(min(node.get("CPU", 1) for node in nodes)) // per_node)
    return ray.train.ScalingConfig(num_workers=wanted, resources_per_worker={"CPU": share})


def _reason(error: BaseException) -> str:
    """Returns the end of an error that Ray wraps in its own, as part of a line."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    dead = [e for e in failures.values() if isinstance(e, ray.exceptions.RayActorError)]
    first = dead[0] if dead else next(iter(failures.values()))
    return shorten(f"{type(first).__name__}: {str(first).strip().splitlines()[-1]}", 160)
