"""Training on a GPU: GPT-2 124M and 355M, bf16, 1,024 context, against nanoGPT and the chip itself.

Same initial weights, sequences, optimizer and clipping; both sides compiled, at the best of a
printed sweep (micro-batch; nanoGPT also with its table padded to 50,304 rows, as it does itself).
The yardstick of utilisation is no datasheet: it is the fastest large bf16 matrix product that is
found in the same run. A token costs 6 (N - positions) + 12 n_layer n_embd n_ctx operations.

The figures go to RESULTS/<machine>.json with hardware and versions. Targets: 1.1 times nanoGPT,
half of the measured peak. Without a GPU nothing is claimed: --small runs tiny shapes on the CPU, to
see that the script works.

Needs, beside torch with CUDA: deepspeed, safetensors, numpy, a C compiler for Triton; neither Ray
nor pyarrow. A machine without a network gets them as wheels, made on one that has it:

    pip wheel --no-deps --no-build-isolation -w wheels deepspeed==VERSION    (pure Python)
    pip download --only-binary=:all: --python-version 3.12 -d wheels hjson msgpack ninja numpy
        psutil py-cpuinfo pydantic einops tqdm safetensors packaging
    pip install --no-index --find-links wheels deepspeed safetensors         (there)

Run: OUTBOUND_NANOGPT=CHECKOUT python -m benchmarks.train_gpu [--small] [--results FOLDER]
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness, machine, training
from benchmarks.harness import Check, Comparison, Run
from benchmarks.machine import Limit
from benchmarks.trainees import Settings
from benchmarks.training import Axes, Case, case

_TARGET, _MFU_TARGET = 1.1, 0.5
_SMALL = case("tiny", (2, 2, 32, 16, 300), batch=4, n_steps=2)
CASES = (
    case("gpt2-124m", (12, 12, 768, 1024, 50257), batch=64, n_steps=10),
    case("gpt2-355m", (24, 16, 1024, 1024, 50257), batch=32, n_steps=5),
)
_HALVES = (1, 2, 4)  # a micro-batch that does not fit is told and passed over
_AXES: dict[str, Axes] = {
    "outbound": {"compile": (True,), "halves": _HALVES},
    "nanogpt": {"compile": (True,), "pad_vocab": (True, False), "halves": _HALVES},
}
_SIDES = (4096, 8192, 16384)  # of the square matrices


def main(given: argparse.Namespace) -> int:
    """Runs the benchmark and returns its exit status."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not given.small:
        print("no GPU here; expected one, or --small for tiny shapes on the CPU", file=sys.stderr)
        return 1
    told: dict[str, Any] = {}
    status = 0
    peak = training.matrix_peak(device, (256,) if given.small else _SIDES)
    with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
        for of in [_SMALL] if given.small else CASES:
            told[of.name], runs, checks = _compare(of, Path(name), given, device, peak)
            status |= training.finish(told, runs, checks, given.results)
    return status


def _compare(
    of: Case, folder: Path, given: argparse.Namespace, device: str, peak: float
) -> tuple[dict[str, Any], dict[str, list[Run]], dict[str, Check]]:
    """Sweeps both sides' settings, then lets the best two of each take turns."""
    base = training.prepare(of, folder, training.drawn(of), device=device)
    finalists: dict[str, Settings] = {}
    swept: dict[str, float] = {}
    for who in training.with_nanogpt():
        precision = "bf16" if who == "outbound" else "autocast"
        start = replace(base, who=who, precision=precision)
        costs = training.sweep(of, start, {} if given.small else _AXES[who])
        finalists |= training.finalists(costs)
        swept |= training.rates(of, costs)
    every, close = training.take_turns(of, folder, finalists, 1 if given.small else given.rounds)
    runs = training.fastest(every, finalists, clock=True)
    comparison = Comparison(
        name="train_gpu",
        case=of.name,
        work=training.work(of),
        unit="tokens per second",
        amount=of.n_steps * of.tokens_per_step,
        target=_TARGET,
        inputs=harness.digest([base.weights, base.sequences]),
    )
    checks = {"bf16_close": close}
    clock = training.by_clock(runs)
    told = harness.result(comparison, clock, next(iter(runs)), checks)
    rates = {"ours": told["ours"], **told["peers"]}
    each = training.operations_per_token(of.shape)
    told["mfu"] = {name: round(rate * each / peak, 8) for name, rate in rates.items()}
    told |= {
        "swept": swept,
        "versions": training.versions("torch", "deepspeed", "numpy"),
        "hardware": describe_machine(device),
    }
    told["limit"] = Limit("bf16 product", peak, told["ours"] * each, "FLOP/s").told()
    peak_told = {"against": "the fastest bf16 product", "ratio": told["mfu"]["ours"]}
    told["further"] = [{**peak_told, "spread": None, "target": _MFU_TARGET}]
    return told, clock, checks


# ── machine ──────────────────────────────────────────────────────────────────────────────────────


def describe_machine(device: str) -> dict[str, Any]:
    """Returns the hardware and its driver."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else machine.processor(),
        "driver": _driver() if device == "cuda" else None,
        "cuda": torch.version.cuda,
        "memory_bytes": torch.cuda.mem_get_info()[1] if device == "cuda" else None,
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return told.strip().partition("\n")[0]


if __name__ == "__main__":
    harness.main(main, harness.parser(__doc__))
