"""Several ranks on this machine, each a process of its own.

Each needs an interpreter, a device and an OpenMP of its own. What ends one of them ends all: the
first stated failure is raised here again, and a rank that was killed is named.

Decision: torch's process starter and not DeepSpeed's launcher or torchrun, which both work too (see
`model.training.launch`). Two ranks, tried side by side with the same faults:

                          here                     deepspeed                torchrun
    Ctrl-C                saves, exit 130          saves within 30 s,       saves within 30 s,
                                                   dies of the signal       exit 1, a traceback
    a stated failure      one line, exit 1         a line per rank          a line per rank,
                                                   and a log                and a traceback
    kill -9 of a rank     one line, exit 1         exit 247, a traceback    exit 1, a traceback
    kill -9 of the        the ranks save and       the ranks go on          the ranks go on
    launcher              end
    two runs at a time    a free port each         port 29500 is taken      port 29500 is taken
"""

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    start_processes,
)

from model.training import mail
from model.training.engine import World, leave
from model.training.environment import variables
from model.training.mail import Figures
from model.training.watch import interruptible
from pipeline.store.errors import RetryableError

Work = Callable[[World], Figures]


def run(work: Work, n_ranks: int) -> Figures:
    """Does the work on `n_ranks` ranks and returns rank 0's figures.

    Raises:
        RetryableError: a rank was killed.
        Exception: the first stated failure of a rank.
    """
    if n_ranks == 1:
        with alone() as world:
            return work(world)
    share = max(1, (os.cpu_count() or 1) // n_ranks)
    threads = os.environ.get("OMP_NUM_THREADS", share)  # read when a rank's interpreter starts
    place = variables(MASTER_ADDR="127.0.0.1", MASTER_PORT=_free_port(), OMP_NUM_THREADS=threads)
    with place, tempfile.TemporaryDirectory() as folder:
        return _spawn(work, n_ranks, Path(folder))


@contextmanager
def alone() -> Iterator[World]:
    """Makes this process the only rank; at the end what `join` did is undone."""
    world = World(0, 0, 1)
    address = variables(MASTER_ADDR="127.0.0.1", MASTER_PORT=_free_port())
    with address, variables(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1):
        try:
            yield world
        finally:
            leave()


def last(work: Work, world: World) -> Figures:
    """Does a rank's work in a process that `end` ends after it."""
    figures = work(world)
    leave()
    return figures


def end(code: int) -> NoReturn:
    """Ends a rank's process, and does not take its interpreter apart.

    gloo's threads outlive the process group (`leave`) and let go of their last tensors when they
    get to it. One that finds no interpreter to do it with aborts the process: 5 of 138 ranks that
    torch alone ended on a busy machine (2.13).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _spawn(work: Work, n_ranks: int, folder: Path) -> Figures:
    start: Any = start_processes  # untyped in torch
    ranks = start(_rank, (work, n_ranks, folder), nprocs=n_ranks, join=False, start_method="spawn")
    try:
        _wait(ranks)
    except ProcessRaisedException:
        mail.collect(folder)
        raise
    except ProcessExitedException as error:
        mail.collect(folder)
        how = error.signal_name or f"exit code {error.exit_code}"
        raise RetryableError(
            f"train: rank {error.error_index} of {n_ranks} was ended from outside ({how}; the "
            "system does so when memory runs out); look at memory, then run the same command again:"
            " it continues from the newest checkpoint"
        ) from error
    figures = mail.collect(folder)
    assert figures is not None
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


def _rank(rank: int, work: Work, n_ranks: int, folder: Path) -> None:
    """Is one rank's process; torch lets it get SIGINT when the launcher dies."""
    os.setsid()  # Ctrl-C reaches only the launcher, which tells every rank once
    mail.deliver(folder, rank, partial(last, work, World(rank, rank, n_ranks)))
    end(0)


def _free_port() -> int:
    """Returns a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
