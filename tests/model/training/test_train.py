"""Whole runs: resume to the bit, stop requests, ranks, identity, the exported model."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import hf
from model.training import checkpoint, data, launch
from model.training.engine import Engine
from model.training.settings import (
    ONLY_WATCHING,
    Places,
    micro_seed,
    run_identity,
    split_batch,
)
from pipeline.store import shards
from pipeline.store.errors import CheckpointError, ManifestError
from pipeline.tokens.arrow import open_shards
from tests.model.training.small_runs import (
    CONFIG,
    SHAPE,
    config,
    counting,
    make_places,
    make_tokens,
    places_for,
)

KILLED_AT = 7  # optimizer steps done when the kill comes; the last checkpoint is of step 6


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs")
    make_places(root)
    return root


@pytest.fixture
def places(inputs: Path, workspace: Path) -> Places:
    return places_for(inputs, workspace)


@pytest.fixture(autouse=True)
def one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OUTBOUND_RANKS", "1")


@pytest.fixture(scope="module")
def straight(
    inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Places, dict[str, Any]]]:
    """One run of 12 steps that nobody disturbs."""
    root = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("OUTBOUND_RANKS", "1")
        yield places_for(inputs, root), launch.run(places_for(inputs, root), SHAPE, CONFIG)


def on_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Lets something happen to the process while it does one optimizer step."""
    step = Engine.train_step

    def disturbed(self: Engine, *args: Any) -> Any:
        if self.step_count == number:
            act()
        return step(self, *args)

    monkeypatch.setattr(Engine, "train_step", disturbed)


def digests(places: Places) -> dict[str, str]:
    """Digests of the model and of the newest checkpoint's tensors."""
    (root,) = places.checkpoints.iterdir()
    folder = checkpoint.folder_of(root, CONFIG.steps)
    files = [places.model / "model.safetensors", *sorted(folder.glob("*.safetensors"))]
    return {path.name: shards.sha256_file(path) for path in files}


def curve(places: Places) -> list[dict[str, float]]:
    (root,) = places.checkpoints.iterdir()
    facts = json.loads((checkpoint.folder_of(root, CONFIG.steps) / "checkpoint.json").read_bytes())
    rows: list[dict[str, float]] = facts["curve"]
    return rows


def live_steps(places: Places) -> list[int]:
    lines = (places.curve / "plots" / "metrics" / "train" / "loss.tsv").read_text().splitlines()
    return [int(line.split("\t")[0]) for line in lines[1:]]


def run_killed(inputs: Path, outputs: Path) -> int:
    """A run in another process that is killed while it does step 7; returns its exit code."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "import pytest\n"
        "from model.training import launch\n"
        "from tests.model.training import small_runs, test_train\n"
        "patch = pytest.MonkeyPatch()\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "test_train.on_step(patch, test_train.KILLED_AT, kill)\n"
        "places = small_runs.places_for(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "launch.run(places, small_runs.SHAPE, small_runs.CONFIG)\n"
    )
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-c", program, str(inputs), str(outputs)],
        cwd=outputs,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
    ).returncode


def test_run_killed_and_resumed_equals_one_that_was_not(
    straight: tuple[Places, dict[str, Any]], places: Places, inputs: Path, workspace: Path
) -> None:
    """Dropout and two micro-batches are on; the kill comes between two checkpoints."""
    assert run_killed(inputs, workspace) == -signal.SIGKILL
    assert not places.model.exists()
    (root,) = places.checkpoints.iterdir()
    assert [p.name for p in sorted(root.glob("step-*"))] == ["step-00000003", "step-00000006"]
    figures = launch.run(places, SHAPE, CONFIG)
    assert figures == straight[1]
    assert digests(places) == digests(straight[0])
    assert curve(places) == curve(straight[0])
    assert live_steps(places) == list(range(1, 13))


def test_run_resumes_before_a_damaged_checkpoint(
    straight: tuple[Places, dict[str, Any]],
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        on_step(patch, KILLED_AT, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            launch.run(places, SHAPE, CONFIG)
    (root,) = places.checkpoints.iterdir()
    victim = checkpoint.folder_of(root, 8) / "weights.safetensors"
    victim.write_bytes(victim.read_bytes()[:-1])
    launch.run(places, SHAPE, CONFIG)
    assert "step-00000008 is damaged" in capsys.readouterr().err
    assert digests(places) == digests(straight[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_asked_to_stop_finishes_the_step_saves_and_continues_later(
    number: signal.Signals,
    straight: tuple[Places, dict[str, Any]],
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        on_step(patch, 4, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            launch.run(places, SHAPE, CONFIG)
    assert signal.getsignal(number) is before
    (root,) = places.checkpoints.iterdir()
    found = checkpoint.newest(root)
    assert found is not None
    assert found.step == 5
    launch.run(places, SHAPE, CONFIG)
    assert digests(places) == digests(straight[0])
    assert live_steps(places) == list(range(1, 13))


def test_run_that_is_finished_exports_again_without_training(
    straight: tuple[Places, dict[str, Any]], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = replace(places, checkpoints=straight[0].checkpoints)
    monkeypatch.delattr(Engine, "train_step")
    assert launch.run(places, SHAPE, CONFIG) == straight[1]
    assert digests(places) == digests(straight[0])


def test_run_learns_and_reports_it(straight: tuple[Places, dict[str, Any]]) -> None:
    _, figures = straight
    rows = curve(straight[0])
    assert rows[0]["train/loss"] == pytest.approx(math.log(300), rel=0.02)
    assert figures["train_loss"] == rows[-1]["train/loss"] < rows[0]["train/loss"] - 0.5
    assert figures["tokens"] == 12 * 128
    assert figures["steps"] == 12
    assert figures["zero_stage"] == 2
    assert figures["n_parameters"] == 300 * 32 + 16 * 32 + 2 * (12 * 32**2 + 13 * 32) + 2 * 32


def test_run_s_validation_figures_are_those_of_the_exported_model(
    straight: tuple[Places, dict[str, Any]],
) -> None:
    """Every token of the split once, in windows of n_ctx, behind its predecessor."""
    places, figures = straight
    model, _ = hf.load(places.model)
    valid = open_shards(sorted((places.tokens / "valid").glob("*.arrow")))
    stream = [299, *valid.slice(0, valid.n_tokens).tolist()]
    nats = 0.0
    with torch.no_grad():
        for start in range(0, valid.n_tokens, SHAPE.n_ctx):
            window = torch.tensor([stream[start : start + SHAPE.n_ctx + 1]])
            nats += model.loss(window[:, :-1], window[:, 1:]).item() * (window.numel() - 1)
    assert figures["valid_tokens"] == valid.n_tokens == 9 * 21
    assert figures["valid_loss"] == pytest.approx(nats / valid.n_tokens, rel=1e-5)
    bits = nats / math.log(2) / (3 * valid.n_tokens)
    assert figures["valid_bits_per_byte"] == pytest.approx(bits, rel=1e-5)


def test_run_curve_has_the_evaluations_and_rates(
    straight: tuple[Places, dict[str, Any]],
) -> None:
    rows = curve(straight[0])
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if "valid/loss" in row] == [5, 10, 12]
    assert max(row["train/lr"] for row in rows) == CONFIG.lr
    assert all(row["train/grad_norm"] > 0 for row in rows)


def test_run_keeps_the_newest_checkpoints_only(
    straight: tuple[Places, dict[str, Any]],
) -> None:
    (root,) = straight[0].checkpoints.iterdir()
    assert [p.name for p in sorted(root.glob("step-*"))] == ["step-00000009", "step-00000012"]


def test_run_with_other_watching_ends_with_the_same_weights(
    straight: tuple[Places, dict[str, Any]], places: Places
) -> None:
    other = config(
        eval_every_steps=12,
        eval_tokens=7,
        checkpoint_every_steps=5,
        log_every_steps=4,
        keep_checkpoints=1,
    )
    launch.run(places, SHAPE, other)
    assert digests(places) == digests(straight[0])


def test_run_on_two_ranks_reads_the_same_windows_and_learns_the_same(
    straight: tuple[Places, dict[str, Any]],
    places: Places,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two processes; without dropout of their own seeds they differ by rounding alone."""
    monkeypatch.setenv("OUTBOUND_RANKS", "2")
    monkeypatch.setenv("OUTBOUND_WINDOW_LOG", str(workspace / "windows.jsonl"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    figures = launch.run(places, SHAPE, CONFIG)
    lines = [json.loads(line) for line in (workspace / "windows.jsonl").read_text().splitlines()]
    read = {(line["step"], line["rank"]): line["windows"] for line in lines}
    windows = data.Windows(
        open_shards(sorted((places.tokens / "train").glob("*.arrow"))), SHAPE.n_ctx, CONFIG.seed
    )
    for step in range(12):
        assert read[step, 0] + read[step, 1] == windows.ids(step, 8)
    ours, theirs = curve(places), curve(straight[0])
    assert [row["train/loss"] for row in ours] == pytest.approx(
        [row["train/loss"] for row in theirs], rel=1e-4
    )
    assert figures["valid_loss"] == pytest.approx(straight[1]["valid_loss"], rel=1e-4)
    continued_alone(places, straight[0], monkeypatch)


def continued_alone(places: Places, straight: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank continues what two began: the checkpoint knows nothing of ranks."""
    (root,) = places.checkpoints.iterdir()
    for path in checkpoint.folder_of(root, 12).iterdir():
        path.unlink()
    checkpoint.folder_of(root, 12).rmdir()
    monkeypatch.setenv("OUTBOUND_RANKS", "1")
    launch.run(places, SHAPE, CONFIG)
    ours, theirs = curve(places), curve(straight)
    assert ours[-1]["train/loss"] == pytest.approx(theirs[-1]["train/loss"], rel=1e-4)


def test_run_on_two_ranks_raises_a_rank_s_stated_failure_here(
    inputs: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOUND_RANKS", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    absent = replace(places_for(inputs, workspace), tokens=workspace / "absent")
    with pytest.raises(ManifestError, match="dvc repro encode"):
        launch.run(absent, SHAPE, CONFIG)


def test_run_whose_loss_explodes_stops_with_a_clear_message(places: Places) -> None:
    wild = config(lr=1e18, max_grad_norm=1e18, warmup_steps=0, zero_stage=0)
    with pytest.raises(ValueError, match=r"step \d+ .*lower train.lr"):
        launch.run(places, SHAPE, wild)


def test_run_demanded_to_resume_refuses_to_start_anew(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOUND_RESUME", "required")
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        launch.run(places, SHAPE, CONFIG)


def test_run_refuses_tokens_of_another_tokenizer(
    inputs: Path, workspace: Path, places: Places
) -> None:
    other = workspace / "bpe"
    other.mkdir()
    (other / "tokenizer.json").write_bytes((inputs / "bpe/tokenizer.json").read_bytes() + b"\n")
    with pytest.raises(ManifestError, match="dvc repro encode"):
        launch.run(replace(places, bpe=other), SHAPE, CONFIG)


def test_run_without_validation_tokens_has_no_validation_figures(
    inputs: Path, workspace: Path, places: Places
) -> None:
    documents = {"train": counting(20, seed=1), "valid": [[], []]}
    tokens = make_tokens(workspace / "tokens", inputs / "bpe", documents)
    figures = launch.run(replace(places, tokens=tokens), SHAPE, config(steps=4))
    assert figures["valid_loss"] is None
    assert figures["train_loss"] > 0


def test_identity_changes_with_what_decides_bytes_and_with_nothing_else() -> None:
    base = run_identity(SHAPE, CONFIG, "root")
    for name, value in asdict(CONFIG).items():
        if name in ("dtype", "compile", "zero_stage"):
            continue
        other = replace(CONFIG, **{name: value + 1 if isinstance(value, int) else value * 0.9})
        same = run_identity(SHAPE, other, "root") == base
        assert same == (name in ONLY_WATCHING), name
    assert run_identity(SHAPE, config(dtype="bf16"), "root") != base
    assert run_identity(replace(SHAPE, n_layer=3), CONFIG, "root") != base
    assert run_identity(SHAPE, CONFIG, "other tokens") != base


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 40))
def test_split_batch_gives_every_rank_all_of_its_share(
    sequences: int, ranks: int, most: int
) -> None:
    if sequences % ranks:
        with pytest.raises(ValueError, match="expected a multiple of the"):
            split_batch(sequences, ranks, most)
        return
    micro, accum = split_batch(sequences, ranks, most)
    assert micro * accum * ranks == sequences
    assert 1 <= micro <= most


def test_micro_seeds_differ_in_every_argument() -> None:
    seeds = {micro_seed(a, b, c) for a in range(3) for b in range(30) for c in range(30)}
    assert len(seeds) == 3 * 30 * 30
    assert max(seeds) < 2**63


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zero_stage": 4}, "zero_stage is 4; expected 0, 1, 2 or 3"),
        ({"dtype": "fp16"}, "dtype is 'fp16'; expected auto, fp32 or bf16"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0"),
        ({"beta2": 1.0}, "beta2 is 1.0"),
        ({"warmup_steps": 12}, "warmup_steps is 12; expected 0 <= x < steps = 12"),
    ],
)
def test_config_refuses_impossible_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_run_refuses_a_batch_that_is_no_multiple_of_the_context(places: Places) -> None:
    with pytest.raises(ValueError, match="global_batch_tokens is 100; expected a multiple of"):
        launch.run(places, SHAPE, config(global_batch_tokens=100))
