"""One rank in this process, or several on this machine; the same function underneath.

    OUTBOUND_RANKS unset    one rank per GPU, or one on the CPU
    OUTBOUND_RANKS=n        n ranks (environment: where a run computes is no parameter)
    RANK, WORLD_SIZE set    this process is one rank of a launcher that runs already (torchrun,
                            deepspeed), which is also how several machines train

Several ranks are processes of their own, because each needs an interpreter, a device and an OpenMP
of its own. What ends one of them ends all: the first stated failure is raised here again.
"""

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.spawn import ProcessContext, ProcessExitedException, start_processes

from model.config import Architecture
from model.training import train
from model.training.engine import World
from model.training.settings import Config, Places
from model.training.watch import interruptible
from pipeline.store.config import require
from pipeline.store.errors import CheckpointError, ManifestError, ShardError

RANKS = "OUTBOUND_RANKS"
_FIGURES = "figures.json"
# Stated failures by name; a more special kind stands before the one it is a case of.
_STATED: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (
        ManifestError,
        ShardError,
        CheckpointError,
        FileNotFoundError,
        ValueError,
        OSError,
        KeyboardInterrupt,
    )
}


def run(places: Places, architecture: Architecture, config: Config) -> dict[str, Any]:
    """Trains on as many ranks as the environment says and returns the figures.

    Raises:
        ValueError: OUTBOUND_RANKS is not a positive number.
    """
    if RANKS not in os.environ and "RANK" in os.environ:
        return train.run(places, architecture, config, _member())
    n_ranks = wanted_ranks()
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    os.environ["MASTER_PORT"] = str(_free_port())
    if n_ranks == 1:
        return train.run(places, architecture, config, World(0, 0, 1))
    with tempfile.TemporaryDirectory() as mail:
        return _spawn(_Job(places, architecture, config, n_ranks, Path(mail)))


def wanted_ranks() -> int:
    """Returns the number of ranks on this machine."""
    told = os.environ.get(RANKS)
    if told is None:
        return max(1, torch.cuda.device_count())
    require(RANKS, told, told.isdecimal() and int(told) >= 1, "a whole number, 1 or more")
    return int(told)


def _member() -> World:
    """Returns this process's place in a launcher that runs already."""
    rank = int(os.environ["RANK"])
    return World(rank, int(os.environ.get("LOCAL_RANK", rank)), int(os.environ["WORLD_SIZE"]))


class _Job(NamedTuple):
    places: Places
    architecture: Architecture
    config: Config
    n_ranks: int
    mail: Path  # where rank 0 leaves its figures and each rank its stated failure


def _spawn(job: _Job) -> dict[str, Any]:
    threads = max(1, (os.cpu_count() or 1) // job.n_ranks)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when a rank's interpreter starts
    start: Any = start_processes  # untyped in torch
    ranks = start(_rank, (job,), nprocs=job.n_ranks, join=False, start_method="spawn")
    try:
        _wait(ranks)
    except ProcessExitedException:
        _raise_mailed(job.mail)
        raise
    _raise_mailed(job.mail)
    figures: dict[str, Any] = json.loads((job.mail / _FIGURES).read_bytes())
    return figures


def _wait(ranks: ProcessContext) -> None:
    """Waits for all ranks and passes a request to stop on to each, once."""
    with interruptible() as interrupt:
        told = False
        while not ranks.join(timeout=0.2):
            if interrupt.wanted and not told:
                told = True
                for process in ranks.processes:
                    process.terminate()


def _rank(rank: int, job: _Job) -> None:
    """Is one rank's process."""
    os.setsid()  # Ctrl-C reaches only the parent, which tells every rank once
    try:
        world = World(rank, rank, job.n_ranks)
        figures = train.run(job.places, job.architecture, job.config, world)
    except KeyboardInterrupt:
        _mail(job.mail, rank, KeyboardInterrupt())  # no failure: nobody needs to be stopped
    except tuple(_STATED.values()) as error:
        _mail(job.mail, rank, error)
        sys.exit(1)
    else:
        if rank == 0:
            (job.mail / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")


def _mail(folder: Path, rank: int, error: BaseException) -> None:
    kind = next(name for name, stated in _STATED.items() if isinstance(error, stated))
    told = json.dumps({"kind": kind, "message": str(error)})
    (folder / f"failure-{rank:05d}.json").write_text(told, encoding="utf-8")


def _raise_mailed(folder: Path) -> None:
    """Raises the first rank's stated failure, if there is one."""
    for letter in sorted(folder.glob("failure-*.json")):
        told = json.loads(letter.read_bytes())
        raise _STATED[told["kind"]](told["message"])


def _free_port() -> int:
    """Returns a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
