"""Whole runs: resume to the bit, stop requests, ranks, identity, the exported model."""

import json
import math
import os
import signal
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
    ONLY_HOW,
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

STOPPED_AT = 7  # optimizer steps done when the request comes; the last checkpoint is of step 6


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


def facts(places: Places) -> dict[str, Any]:
    """What the last checkpoint says."""
    (root,) = places.checkpoints.iterdir()
    path = checkpoint.folder_of(root, CONFIG.steps) / "checkpoint.json"
    told: dict[str, Any] = json.loads(path.read_bytes())
    return told


def curve(places: Places) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = facts(places)["rows"]
    return rows


def live_steps(places: Places) -> list[int]:
    lines = (places.curve / "plots" / "metrics" / "train" / "loss.tsv").read_text().splitlines()
    return [int(line.split("\t")[0]) for line in lines[1:]]


def test_run_leaves_the_environment_as_it_was(places: Places) -> None:
    """Else what this process starts next would take itself for one of a launcher's ranks."""
    before = dict(os.environ)
    launch.run(places, SHAPE, CONFIG)
    assert dict(os.environ) == before


def test_run_resumes_before_a_damaged_checkpoint(
    straight: tuple[Places, dict[str, Any]],
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        on_step(patch, STOPPED_AT, lambda: os.kill(os.getpid(), signal.SIGTERM))
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
    again = config(zero_stage=3, offload="parameters", activation_checkpointing=True)
    launch.run(places, SHAPE, again)
    ours, theirs = curve(places), curve(straight)
    for one, other in zip(ours, theirs, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-5)
    told = facts(places)["segments"]
    assert [(each["from_step"], each["n_ranks"], each["zero_stage"]) for each in told] == [
        (0, 2, 2),
        (9, 1, 3),
    ]


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
    with pytest.raises(ValueError, match=r"step \d+: the loss is .*windows \d+ .*doc_ids 0.*lower"):
        launch.run(places, SHAPE, wild)


def test_run_out_of_memory_says_what_was_tried_and_what_to_change(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's allocator is really asked for more than any machine has."""
    on_step(monkeypatch, 4, lambda: torch.empty(1 << 60))
    with pytest.raises(ValueError, match="train: out of memory") as caught:
        launch.run(places, SHAPE, CONFIG)
    told = str(caught.value)
    assert "tried: 35,584 parameters, n_layer 2, n_ctx 16, train.micro_batch_size 2" in told
    assert "lower train.micro_batch_size to 1 (the same global batch)" in told
    assert "train.activation_checkpointing: true" in told
    assert "train.zero_stage: 3" in told


def test_run_with_export_best_exports_the_lowest_validation_loss(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    """The learning rate rises until the model is ruined: the best weights are not the last."""
    rising = config(
        lr=3.0,
        warmup_steps=11,
        eval_every_steps=3,
        keep_checkpoints=1,
        export="best",
        eval_tokens=80,
    )
    launch.run(places, SHAPE, rising)
    (root,) = places.checkpoints.iterdir()
    kept = {folder.name: checkpoint.read(folder) for folder in root.glob("step-*")}
    losses = {name: found.facts.valid_loss for name, found in kept.items()}
    assert len(kept) == 2
    assert "step-00000012" in kept
    best = min(losses, key=lambda name: losses[name] or math.inf)
    assert best != "step-00000012"
    exported, _ = hf.load(places.model)
    expected = kept[best].tensors("weights")
    assert all(torch.equal(p, expected[n]) for n, p in exported.named_parameters())
    assert f"step {kept[best].step}, the best" in capsys.readouterr().err


def test_run_with_export_best_refuses_to_be_without_validation_tokens(
    inputs: Path, workspace: Path, places: Places
) -> None:
    documents = {"train": counting(20, seed=1), "valid": [[], []]}
    tokens = make_tokens(workspace / "tokens", inputs / "bpe", documents)
    with pytest.raises(ValueError, match=r"train\.export is 'best'; expected last"):
        launch.run(replace(places, tokens=tokens), SHAPE, config(export="best"))


def test_run_s_timings_have_tokens_per_second_and_no_mfu_where_the_peak_is_unknown(
    straight: tuple[Places, dict[str, Any]],
) -> None:
    root = straight[0].curve.parents[1]
    told = json.loads((root / "metrics/timings/train_speed.json").read_bytes())
    assert told["tokens"] == 12 * 128
    assert told["tokens_per_second"] > 0
    assert told["peak_memory_mib"] > 0
    assert told["n_ranks"] == 1
    if not torch.cuda.is_available():
        assert told["device"] == "cpu"
        assert "mfu" not in told


def test_run_at_stage_0_in_fp32_has_the_gradient_norms_of_stage_2(
    straight: tuple[Places, dict[str, Any]], places: Places
) -> None:
    launch.run(places, SHAPE, config(zero_stage=0))
    norms = [row["train/grad_norm"] for row in curve(places)]
    expected = [row["train/grad_norm"] for row in curve(straight[0])]
    assert norms == pytest.approx(expected, rel=1e-4)


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


OTHER: dict[str, Any] = {
    "dtype": "bf16",
    "offload": "optimizer",
    "on_bad_step": "skip",
    "export": "best",
    "max_spike_zscore": 5.0,
    "zero_stage": 3,
    "compile": True,
    "activation_checkpointing": True,
}


def test_identity_changes_with_what_is_trained_and_with_nothing_else() -> None:
    base = run_identity(SHAPE, CONFIG, "root")
    for name, value in asdict(CONFIG).items():
        if name not in OTHER:
            OTHER[name] = value * 0.9 if isinstance(value, float) else value + 1
        other = replace(CONFIG, **{name: OTHER[name]})
        same = run_identity(SHAPE, other, "root") == base
        assert same == (name in (*ONLY_WATCHING, *ONLY_HOW)), name
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
        ({"dtype": "fp8"}, "dtype is 'fp8'; expected auto, fp32, bf16 or fp16"),
        ({"offload": "disk"}, "offload is 'disk'; expected none, optimizer or parameters"),
        ({"offload": "parameters"}, "offload is 'parameters'; .* zero_stage 3 or more .it is 2"),
        ({"offload": "optimizer", "zero_stage": 0}, "zero_stage 1 or more .it is 0"),
        ({"on_bad_step": "ignore"}, "on_bad_step is 'ignore'; expected stop or skip"),
        ({"max_spike_zscore": 0.0}, "max_spike_zscore is 0.0; expected null or x > 0"),
        ({"spike_window": 1}, "spike_window is 1; expected x >= 2"),
        ({"max_skipped_steps": 0}, "max_skipped_steps is 0"),
        ({"export": "first"}, "export is 'first'; expected last or best"),
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
