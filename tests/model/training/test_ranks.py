"""One and two ranks at every ZeRO stage, dtype and offload, against torch alone.

The two ranks are started once, work through all cases, and leave what they have found in files.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from model.training import engine as subject
from model.training import ranks
from model.training.engine import Engine, StepResult, World
from model.training.guard import Fault, Guard
from model.training.partitions import KINDS
from tests.model.training.plain import (
    LR,
    can_train_in,
    distance,
    in_dtype,
    micros,
    new_model,
    plain_training,
)
from tests.model.training.small_runs import config

N_STEPS = 20
N_MICROS = 4  # of a step, over all ranks
POISONED = 3  # the step at which rank 1 alone has a loss that is not finite
BASE = {"zero_stage": 0, "offload": "none", "dtype": "fp32", "activation_checkpointing": False}

CASES = {
    **{f"stage-{s}": {"zero_stage": s} for s in range(4)},
    **{f"stage-{s}-{d}": {"zero_stage": s, "dtype": d} for s in range(4) for d in ("bf16", "fp16")},
    "stage-1-optimizer": {"zero_stage": 1, "offload": "optimizer"},
    "stage-2-optimizer": {
        "zero_stage": 2,
        "offload": "optimizer",
        "activation_checkpointing": True,
    },
    "stage-3-parameters": {
        "zero_stage": 3,
        "offload": "parameters",
        "activation_checkpointing": True,
    },
}
ABLE = [name for name, case in CASES.items() if can_train_in(case.get("dtype", "fp32"))]
IN_FP32 = [name for name, case in CASES.items() if "dtype" not in case]
RESUMED = [f"stage-{stage}" for stage in range(4)]
# Largest relative difference of a loss, and of the weights as a share of how far they have moved.
# Measured: fp32 8e-8 and 4e-7, bf16 4e-4 and 2e-2, fp16 6e-5 and 6e-3; norms 13 times the losses'.
TOLERANCE = {"fp32": (1e-6, 1e-5), "bf16": (2e-3, 0.05), "fp16": (3e-4, 0.02)}


def shown(name: str, *more: int) -> Any:
    return in_dtype(CASES[name].get("dtype", "fp32"), name, *more)


def engine_for(case: dict[str, Any], world: World) -> Engine:
    """An engine whose ranks do the same four micro-batches together."""
    told = config(**{**BASE, **case}).engine(2, N_MICROS // world.size)
    engine = Engine(new_model(n_layer=1), told, world)
    if engine.loss_scale is not None:
        engine.loss_scale.value = 1024.0  # the first scales overflow, and skip what torch does not
    return engine


def judge(loss: float, grad_norm: float) -> Fault | None:
    return Guard(config().guard(), scaled=False).judge(loss, grad_norm)


def one_step(engine: Engine, step: int, world: World) -> StepResult:
    share = N_MICROS // world.size
    mine = micros(step, N_MICROS)[world.rank * share :][:share]
    return engine.train_step(mine, LR, judge)


def trained(case: dict[str, Any], world: World) -> dict[str, Any]:
    """20 steps; the state after 10 of them, and at the end."""
    engine = engine_for(case, world)
    results, middle = [], {}
    for step in range(N_STEPS):
        if step == N_STEPS // 2:
            middle = {kind: engine.gather(kind) for kind in KINDS}
        results.append(one_step(engine, step, world))
    told = {"losses": [r.loss for r in results], "norms": [r.grad_norm for r in results]}
    return {**told, "middle": middle, "weights": engine.gather("weights")}


def continued(case: dict[str, Any], world: World, middle: dict[Any, Any]) -> list[float]:
    """The losses of the second half, from a state that any engine has left."""
    engine = engine_for(case, world)
    engine.restore(N_STEPS // 2, N_STEPS // 2, middle)
    return [one_step(engine, step, world).loss for step in range(N_STEPS // 2, N_STEPS)]


def poisoned(case: dict[str, Any], world: World) -> list[tuple[str | None, float]]:
    """What each step's fault is where one rank alone has a bad loss, and the last weights' sum."""
    engine = engine_for(case, world)
    found: list[tuple[str | None, float]] = []
    for step in range(POISONED + 2):
        hook = None
        if step == POISONED and world.rank == 1:
            module = engine._engine.module
            hook = module.register_forward_hook(lambda *_: _[2] * math.nan)
        fault = one_step(engine, step, world).fault
        if hook is not None:
            hook.remove()
        found.append((fault and fault.kind, float(sum(map(torch.sum, moments(engine))))))
    return found


def moments(engine: Engine) -> list[torch.Tensor]:
    return [engine._adam.state[vector.key]["exp_avg"] for vector in engine._vectors]


def _rank(rank: int, folder: Path) -> None:
    """Is one of two ranks: works through all cases."""
    torch.set_num_threads(1)
    world = World(rank, rank, 2)
    subject.join(world)
    alone = torch.load(folder / "alone.pt")
    told = {
        "trained": {name: trained(CASES[name], world) for name in ABLE},
        "continued": {
            name: continued(CASES[name], world, alone[name]["middle"]) for name in RESUMED
        },
        "poisoned": {s: poisoned({"zero_stage": s}, world) for s in range(4)},
        "losses": _gathered(world),
    }
    torch.save(told, folder / f"rank-{rank}.pt")


def _gathered(world: World) -> list[float]:
    engine = engine_for({}, world)
    return engine.gather_losses((1.0, math.nan) if world.rank else (3.0, 4.0))


@pytest.fixture(scope="module")
def alone() -> Iterator[dict[str, Any]]:
    """What one rank finds; test_engine has one rank in the other dtypes."""
    with ranks.alone() as world:
        subject.join(world)
        yield {name: trained(CASES[name], world) for name in IN_FP32}


@pytest.fixture(scope="module")
def together(
    alone: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What each of two ranks finds in each case."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(alone, folder / "alone.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASTER_ADDR", "127.0.0.1")
        patch.setenv("MASTER_PORT", str(ranks._free_port()))
        patch.setenv("OMP_NUM_THREADS", "1")
        start_processes(_rank, (folder,), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def plain() -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """The same in fp32 and torch alone."""
    batches = [micros(step, N_MICROS) for step in range(N_STEPS)]
    told = config(**BASE).engine(2, N_MICROS)
    losses, norms, model = plain_training(new_model(n_layer=1), told, batches)
    return losses, norms, {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("name", "n_ranks"), [*(shown(name, 2) for name in CASES), *((name, 1) for name in IN_FP32)]
)
def test_twenty_steps_equal_plain_torch(
    name: str,
    n_ranks: int,
    alone: dict[str, Any],
    together: list[dict[str, Any]],
    plain: tuple[list[float], list[float], dict[str, torch.Tensor]],
) -> None:
    """Dropout, accumulation, clipping in some steps, decay by group."""
    losses, norms, weights = plain
    assert min(norms) < config().max_grad_norm < max(norms)
    got = alone[name] if n_ranks == 1 else together[0]["trained"][name]
    of_loss, of_weights = TOLERANCE[CASES[name].get("dtype", "fp32")]
    start = {n: p.detach() for n, p in new_model(n_layer=1).named_parameters()}
    assert got["losses"] == pytest.approx(losses, rel=of_loss)
    assert got["norms"] == pytest.approx(norms, rel=30 * of_loss)
    assert distance(got["weights"], weights, start) < of_weights


@pytest.mark.parametrize("name", [shown(name) for name in CASES])
def test_both_ranks_see_the_same_losses_and_norms(
    name: str, together: list[dict[str, Any]]
) -> None:
    """To the bit: what is judged by them is judged alike."""
    one, other = (told["trained"][name] for told in together)
    assert one["losses"] == other["losses"]
    assert one["norms"] == other["norms"]
    assert other["weights"] == {}


@pytest.mark.parametrize("name", RESUMED)
def test_two_ranks_continue_what_one_began(
    name: str, alone: dict[str, Any], together: list[dict[str, Any]]
) -> None:
    expected = alone[name]["losses"][N_STEPS // 2 :]
    assert together[0]["continued"][name] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", RESUMED)
def test_one_rank_at_another_stage_continues_what_two_began(
    name: str, alone: dict[str, Any], together: list[dict[str, Any]]
) -> None:
    began = together[0]["trained"][name]
    other = CASES[f"stage-{(CASES[name]['zero_stage'] + 1) % 4}"]
    got = continued(other, World(0, 0, 1), began["middle"])
    assert got == pytest.approx(began["losses"][N_STEPS // 2 :], rel=1e-5)


@pytest.mark.parametrize("stage", range(4))
def test_a_bad_loss_on_one_rank_leaves_the_step_out_on_both(
    stage: int, together: list[dict[str, Any]]
) -> None:
    for told in together:
        found = told["poisoned"][stage]
        assert [kind for kind, _ in found] == [None, None, None, "loss", None]
        sums = [value for _, value in found]
        assert sums[POISONED] == sums[POISONED - 1]
        assert sums[POISONED + 1] != sums[POISONED]


def test_gathered_losses_stand_in_the_order_of_the_batch(together: list[dict[str, Any]]) -> None:
    for told in together:
        assert told["losses"][:3] == [3.0, 4.0, 1.0]
        assert math.isnan(told["losses"][3])
