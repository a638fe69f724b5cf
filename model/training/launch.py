"""One function, four ways to start it.

    OUTBOUND_RANKS unset    one rank per GPU, or one on the CPU
    OUTBOUND_RANKS=n        n ranks on this machine; n = 1: in this process
    OUTBOUND_LAUNCH=ray     by Ray Train on the cluster that RAY_ADDRESS names, else on a Ray of
                            this machine; OUTBOUND_RANKS unset: one rank per GPU or per machine
    RANK, WORLD_SIZE set    this process is one rank of a launcher that runs already:
                            deepspeed --num_accelerators 2 --no_local_rank --module stages.train
                            torchrun --standalone --nproc-per-node 2 -m stages.train

Where a run computes is environment and no parameter: the windows of each step are the same for all.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch

from model.config import Architecture
from model.training import ranks, train
from model.training.engine import World
from model.training.mail import Figures
from model.training.settings import Config, Places
from pipeline.store.config import require

RANKS = "OUTBOUND_RANKS"
LAUNCH = "OUTBOUND_LAUNCH"


def run(places: Places, architecture: Architecture, config: Config) -> Figures | None:
    """Trains on as many ranks as the environment says.

    Returns:
        The figures; None in a process that is not the first of its launcher's.

    Raises:
        ValueError: a variable of the environment is out of range, or contradicts another.
    """
    return start(partial(train.run, places, architecture, config), places.checkpoints)


def start(work: ranks.Work, checkpoints: Path) -> Figures | None:
    """Does any work of ranks, as `run` does.

    Args:
        work: does a rank's work.
        checkpoints: folder of the runs' checkpoint folders; a new one there is progress.
    """
    how = os.environ.get(LAUNCH)
    require(LAUNCH, how, how in (None, "ray"), "ray, or unset")
    if _is_member():
        world = _member()
        figures = ranks.last(work, world)
        return figures if world.rank == 0 else None
    if how == "ray":
        from model.training import cluster  # Ray Train: half of what a training would import

        return cluster.run(work, wanted_ranks(), checkpoints)
    return ranks.run(work, wanted_ranks() or max(1, torch.cuda.device_count()))


def end(code: int) -> NoReturn:
    """Ends a stage that trains with an exit code, as a rank where a launcher started it."""
    if "RANK" in os.environ:
        ranks.end(code)
    sys.exit(code)


def wanted_ranks() -> int | None:
    """Returns the number of ranks that is asked for, if one is."""
    told = os.environ.get(RANKS)
    if told is None:
        return None
    require(RANKS, told, told.isdecimal() and int(told) >= 1, "a whole number, 1 or more")
    return int(told)


def _is_member() -> bool:
    """Tells whether a launcher started this process as one of its ranks."""
    if "RANK" not in os.environ:
        return False
    for name in (RANKS, LAUNCH):
        told, rank = os.environ.get(name), os.environ["RANK"]
        require(name, told, told is None, f"unset in a launcher's rank (RANK is {rank})")
    return True


def _member() -> World:
    """Returns this process's place in the launcher that runs already."""
    for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        require(name, os.environ.get(name), name in os.environ, "set, as RANK is")
    rank = int(os.environ["RANK"])
    return World(rank, int(os.environ.get("LOCAL_RANK", rank)), int(os.environ["WORLD_SIZE"]))
