"""What a training run will need, before it is begun: parameters, memory, operations, hours, loss.

Nothing is trained and nothing is allocated. Formulas and their sources stand in
`model.training.footprint` (memory), `model.training.speed` (operations) and
`model.training.forecast` (loss).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from model.config import ModelConfig
from model.training import footprint, forecast
from model.training.device import resolve_dtype
from model.training.footprint import Batch, Footprint, Parameters
from model.training.settings import Config, sequences_per_step, split_batch
from model.training.speed import flops_per_token, peak_flops
from pipeline.store.config import require

GIB = 1 << 30
USABLE = 0.9  # of a device's memory: the rest is for what is not counted (choice)


class Device(NamedTuple):
    """A device by its driver's name, and its memory in GB (10^9 bytes) by its data sheet."""

    name: str
    memory_gb: int


DEVICES = {
    "a100-40": Device("A100", 40),
    "a100": Device("A100", 80),
    "h100": Device("H100", 80),
    "h100-pcie": Device("H100 PCIe", 80),
    "h200": Device("H200", 141),
    "l4": Device("L4", 24),
    "l40s": Device("L40S", 48),
}


class Asked(NamedTuple):
    """What is planned for.

    Attributes:
        hardware: a key of DEVICES, or None.
        n_ranks: number of ranks.
        mfu: share of the device's peak that is reached, 0 < x <= 1.
        tokens_per_second: measured, of all ranks together; counts before `hardware`.
        corpus_tokens: tokens of the training split, or None where it is not known.
        fitted: where the stage `scaling` leaves its law.
        usd_per_rank_hour: price of one rank's device, or None where it is not known.
    """

    hardware: str | None
    n_ranks: int
    mfu: float
    tokens_per_second: float | None
    corpus_tokens: int | None
    fitted: Path
    usd_per_rank_hour: float | None

    def check(self) -> None:
        """Refuses what can't be planned for.

        Raises:
            ValueError: a figure is out of range.
        """
        require("--ranks", self.n_ranks, self.n_ranks >= 1, "x >= 1")
        require("--mfu", self.mfu, 0 < self.mfu <= 1, "0 < x <= 1")
        rate, corpus = self.tokens_per_second, self.corpus_tokens
        require("--tokens-per-second", rate, rate is None or rate > 0, "x > 0")
        require("--tokens", corpus, corpus is None or corpus > 0, "x > 0")


def make(shape: ModelConfig, config: Config, asked: Asked) -> dict[str, Any]:
    """Returns the plan as plain values; bytes, seconds and nats unless a key says otherwise.

    Raises:
        ValueError: the ranks can't share the batch.
    """
    counted = footprint.parameters(shape)
    sequences = sequences_per_step(config, shape)
    micro, accum = split_batch(sequences, asked.n_ranks, config.micro_batch_size)
    dtype = torch.bfloat16 if asked.hardware and config.dtype == "auto" else None
    dtype = dtype or resolve_dtype(config.dtype)
    n_tokens = config.steps * config.global_batch_tokens
    batch = Batch(micro, dtype.itemsize)
    return {
        "parameters": {
            "total": counted.total,
            "without_tables": counted.total - counted.tables,
        },
        "training": {
            "n_ranks": asked.n_ranks,
            "dtype": str(dtype).removeprefix("torch."),
            "steps": config.steps,
            "tokens": n_tokens,
            "corpus_tokens": asked.corpus_tokens,
            "epochs": n_tokens / asked.corpus_tokens if asked.corpus_tokens else None,
            "micro_batch_size": micro,
            "grad_accum_steps": accum,
        },
        "memory": _memory(shape, batch, counted.total, asked),
        "time": _time(shape, counted, n_tokens, dtype, asked),
        "loss": _loss(counted, n_tokens, asked),
    }


def _memory(shape: ModelConfig, batch: Batch, psi: int, asked: Asked) -> dict[str, Any]:
    full = footprint.activations(shape, batch, checkpointing=False)
    less = footprint.activations(shape, batch, checkpointing=True)
    at_loss = footprint.loss_memory(shape, batch)
    device = DEVICES[asked.hardware].memory_gb * 10**9 if asked.hardware else None
    rows = []
    for stage, offload in _ways():
        one = footprint.states(psi, stage, asked.n_ranks, batch.weight_bytes, offload)
        row = {"zero_stage": stage, "offload": offload, **one._asdict()}
        row["peak"], row["peak_checkpointing"] = one.peak(full + at_loss), one.peak(less + at_loss)
        if device is not None:
            row["fits"] = row["peak"] <= USABLE * device
            row["fits_checkpointing"] = row["peak_checkpointing"] <= USABLE * device
        rows.append(row)
    return {
        "activations": full,
        "activations_checkpointing": less,
        "loss": at_loss,
        "device": device,
        "by_stage": rows,
    }


def _ways() -> Iterator[tuple[int, str]]:
    """Yields what DeepSpeed can do: stages, each with what of it can go to the host's memory."""
    for stage in range(4):
        yield stage, "none"
        if stage >= 1:
            yield stage, "optimizer"
    yield 3, "parameters"


def _time(
    shape: ModelConfig, counted: Parameters, n_tokens: int, dtype: torch.dtype, asked: Asked
) -> dict[str, Any]:
    per_token = flops_per_token(shape, counted.total)
    rate, source = asked.tokens_per_second, "as given"
    if rate is None and asked.hardware:
        peak = peak_flops(DEVICES[asked.hardware].name, dtype)
        require("train.dtype", str(dtype), peak is not None, "bf16, or --tokens-per-second given")
        assert peak is not None
        rate = peak * asked.mfu * asked.n_ranks / per_token
        source = f"{asked.n_ranks} x {peak / 1e12:.0f} TFLOP/s at {asked.mfu:.0%}"
    hours = n_tokens / rate / 3600 if rate else None
    rank_hours = hours * asked.n_ranks if hours else None
    price = asked.usd_per_rank_hour
    return {
        "flops_per_token": per_token,
        "flops": per_token * n_tokens,
        "tokens_per_second": rate,
        "source": source if rate else None,
        "hours": hours,
        "rank_hours": rank_hours,
        "usd": rank_hours * price if rank_hours and price is not None else None,
    }


def _loss(counted: Parameters, n_tokens: int, asked: Asked) -> dict[str, Any]:
    inner = counted.total - counted.tables
    told = forecast.own_loss(asked.fitted, inner, n_tokens)
    told = told or forecast.loss(counted.total, n_tokens, asked.corpus_tokens)
    return {
        "nats_per_token": told.nats_per_token,
        "law": told.law,
        "chinchilla_tokens": round(forecast.CHINCHILLA.best_tokens(counted.total)),
    }


def table(plan: dict[str, Any], stage: int, offload: str) -> Iterator[str]:
    """Yields the plan's lines for people; the configured ZeRO stage and offload are marked."""
    counted, run, time, loss = (plan[key] for key in ("parameters", "training", "time", "loss"))
    yield f"parameters    {counted['total']:,}; {counted['without_tables']:,} without the tables"
    epochs = "" if run["epochs"] is None else f" = {run['epochs']:.2f} epochs of the corpus"
    yield f"tokens        {run['tokens']:,} in {run['steps']:,} steps{epochs}"
    batches = f"{run['micro_batch_size']} sequences x {run['grad_accum_steps']} micro-batches"
    yield f"per rank      {batches}, {run['dtype']}, {run['n_ranks']} rank" + (
        "s" if run["n_ranks"] > 1 else ""
    )
    yield f"operations    {time['flops']:.3g} FLOP, {time['flops_per_token']:.3g} per token"
    yield f"time          {_hours(time)}"
    nats = loss["nats_per_token"]
    yield f"loss          {'no prediction' if nats is None else f'{nats:.3f} nats per token'}"
    yield f"              ({loss['law']})"
    best = loss["chinchilla_tokens"]
    yield f"              compute-optimal for this size: {best:.3g} tokens (Hoffmann et al. 2022)"
    yield ""
    yield from _memory_table(plan["memory"], (stage, offload))


def _hours(time: dict[str, Any]) -> str:
    if time["hours"] is None:
        return "not known: give --hardware or --tokens-per-second"
    rate = f"{time['tokens_per_second']:,.0f} tokens/s, {time['source']}"
    money = "" if time["usd"] is None else f", {time['usd']:,.0f} USD"
    return f"{time['hours']:,.2f} hours, {time['rank_hours']:,.1f} of one device{money} ({rate})"


def _memory_table(memory: dict[str, Any], configured: tuple[int, str]) -> Iterator[str]:
    yield "memory of a rank in GiB (* as configured; + fits the device, - does not)"
    names = ("weights", "gradients", "optimizer", "buffers", "host", "peak", "checkpointed")
    yield "  ZeRO  offload     " + "".join(f"{name:>13}" for name in names)
    for row in memory["by_stage"]:
        one = Footprint(*(row[name] for name in Footprint._fields))
        held = (one.weights, one.gradients, one.optimizer, one.bucket + one.gathered, one.host)
        cells = [f"{value / GIB:.3f}" for value in held]
        for name in ("", "_checkpointing"):
            fits = {None: "", True: " +", False: " -"}[row.get(f"fits{name}")]
            cells.append(f"{row[f'peak{name}'] / GIB:.3f}{fits}")
        mark = "*" if (row["zero_stage"], row["offload"]) == configured else " "
        told = "".join(f"{cell:>13}" for cell in cells)
        yield f"{mark} {row['zero_stage']:<6}{row['offload']:<12}{told}"
    yield (
        f"  activations {memory['activations'] / GIB:.3f}, checkpointed "
        f"{memory['activations_checkpointing'] / GIB:.3f}; loss {memory['loss'] / GIB:.3f}; "
        "not counted: the device's context, the allocator's waste"
    )
