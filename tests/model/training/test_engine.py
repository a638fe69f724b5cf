"""DeepSpeed does what it is told: the stage, the steps, the numbers, the state."""

import gc
import math
import weakref
from collections.abc import Iterator
from copy import deepcopy

import deepspeed
import pytest
import torch
from torch import Tensor

from model.gpt import GPT, init_weights
from model.training import device, ranks
from model.training import engine as subject
from model.training.engine import Engine, World
from model.training.guard import Fault, Guard
from model.training.optimizer import adamw
from model.training.partitions import KINDS
from model.training.zero import EngineConfig, deepspeed_json
from tests.model.training.plain import LR, in_dtype, micros, new_model
from tests.model.training.small_runs import SHAPE, config

ALONE = World(0, 0, 1)
N_MICROS = 2


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[None]:
    with ranks.alone() as world:
        subject.join(world)
        yield


def settings(**changes: object) -> EngineConfig:
    return config(**changes).engine(2, N_MICROS)


def accept(loss: float, grad_norm: float) -> None:
    """A judge that takes every step."""


def finite(loss: float, grad_norm: float) -> Fault | None:
    return Guard(config().guard(), scaled=False).judge(loss, grad_norm)


@pytest.mark.parametrize(
    ("stage", "wrapper"),
    [
        (0, "GatedAdamW"),
        (1, "DeepSpeedZeroOptimizer"),
        (2, "DeepSpeedZeroOptimizer"),
        (3, "DeepSpeedZeroOptimizer_Stage3"),
    ],
)
def test_engine_runs_the_stage_and_counts_the_steps(stage: int, wrapper: str) -> None:
    engine = Engine(new_model(), settings(zero_stage=stage), ALONE)
    assert engine.zero_stage == stage
    assert type(engine._engine.optimizer).__name__ == wrapper
    assert engine.step_count == 0
    for step in range(3):
        engine.train_step(micros(step), LR, finite)
    assert engine.step_count == 3
    steps = {float(state["step"]) for state in engine._adam.state.values()}
    assert steps == {3.0}


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_closed_engine_is_let_go(stage: int) -> None:
    engine = Engine(new_model(), settings(zero_stage=stage, dtype="bf16"), ALONE)
    engine.train_step(micros(0), LR, finite)
    left = [weakref.ref(vector.key) for vector in engine._vectors]
    assert left
    engine.close()
    del engine
    gc.collect()
    assert [weight() for weight in left] == [None] * len(left)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", in_dtype("fp16", "fp16")])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 2), (3, 3), (2, 1), (1, 2)])
def test_engine_restored_continues_bit_for_bit(before: int, after: int, dtype: str) -> None:
    first = Engine(new_model(), settings(zero_stage=before, dtype=dtype), ALONE)
    for step in range(3):
        first.train_step(micros(step), LR, finite)
    state = {kind: first.gather(kind) for kind in KINDS}
    second = Engine(new_model(), settings(zero_stage=after, dtype=dtype), ALONE)
    second.train_step(micros(9), 10 * LR, finite)  # leaves moments of its own that must vanish
    second.restore(3, 3, state)
    assert same_tensors(second.gather("weights"), state["weights"])
    if before != after and dtype != "fp32":  # stage 1 sums micro-batches in bf16, stage 2 in fp32
        return
    ours = [first.train_step(micros(step), LR, finite) for step in range(3, 6)]
    theirs = [second.train_step(micros(step), LR, finite) for step in range(3, 6)]
    assert ours == theirs
    assert first.step_count == second.step_count == 6
    for kind in KINDS:
        assert same_tensors(first.gather(kind), second.gather(kind)), kind


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_engine_with_bf16_starts_from_the_fp32_weights(stage: int) -> None:
    model = new_model()
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    engine = Engine(model, settings(zero_stage=stage, dtype="bf16"), ALONE)
    assert same_tensors(engine.gather("weights"), expected)
    assert not same_tensors(expected, {n: w.bfloat16().float() for n, w in expected.items()})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_engine_at_a_loss_that_is_not_finite_changes_nothing_but_the_step(stage: int) -> None:
    engine = Engine(new_model(), settings(zero_stage=stage), ALONE)
    engine.train_step(micros(0), LR, finite)
    before = {kind: engine.gather(kind) for kind in KINDS}
    poisoned = deepcopy(before["weights"])
    poisoned["ln_f.bias"][3] = math.nan
    engine.restore(1, 1, {"weights": poisoned})
    result = engine.train_step(micros(1), LR, finite)
    assert result.fault is not None
    assert result.fault.text == "the loss is nan"
    after = engine.gather("weights")
    assert torch.equal(after["wte.weight"], before["weights"]["wte.weight"])
    assert same_tensors(engine.gather("exp_avg"), before["exp_avg"])
    assert engine.step_count == 2


@pytest.mark.parametrize("dtype", ["fp32", "bf16", in_dtype("fp16", "fp16")])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_engine_at_a_refused_step_keeps_weights_and_moments_and_goes_on(
    stage: int, dtype: str
) -> None:
    """Refused by the norm, which is known only in the middle of DeepSpeed's own step."""
    told: list[tuple[float, float]] = []

    def refuse(loss: float, grad_norm: float) -> Fault | None:
        told.append((loss, grad_norm))
        return Fault("gradient_spike", "")

    cfg = settings(zero_stage=stage, dtype=dtype)
    engine, other = Engine(new_model(), cfg, ALONE), Engine(new_model(), cfg, ALONE)
    engine.train_step(micros(0), LR, accept)
    before = {kind: engine.gather(kind) for kind in KINDS}
    refused = engine.train_step(micros(1), LR, refuse)
    assert len(set(told)) == 1
    assert told[0] == (refused.loss, refused.grad_norm)
    for kind in KINDS:
        assert same_tensors(engine.gather(kind), before[kind])
    other.restore(2, 1, before)
    for step in (2, 3):
        ours, theirs = (e.train_step(micros(step), LR, accept) for e in (engine, other))
        assert ours == theirs
    for kind in KINDS:
        assert same_tensors(engine.gather(kind), other.gather(kind)), kind


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_engine_at_a_gradient_that_is_not_finite_changes_nothing(stage: int, dtype: str) -> None:
    engine = Engine(new_model(), settings(zero_stage=stage, dtype=dtype), ALONE)
    before = engine.gather("weights")
    parameter = next(
        p for n, p in engine._engine.module.named_parameters() if n.endswith("wpe.weight")
    )
    hook = parameter.register_hook(lambda grad: grad * math.inf)
    result = engine.train_step(micros(0), LR, finite)
    assert result.fault is not None
    assert result.fault.kind == "gradient"
    assert same_tensors(engine.gather("weights"), before)
    hook.remove()
    assert engine.train_step(micros(1), LR, finite).fault is None


@pytest.mark.parametrize("stage", [in_dtype("fp16", stage) for stage in range(4)])
def test_engine_in_fp16_lowers_the_scale_at_an_overflow_and_leaves_the_step_out(stage: int) -> None:
    engine = Engine(new_model(), settings(zero_stage=stage, dtype="fp16"), ALONE)
    assert engine.loss_scale is not None
    engine.loss_scale.value = 2.0**24
    before = engine.gather("weights")
    result = engine.train_step(micros(0), LR, finite)
    assert math.isinf(result.grad_norm)
    assert math.isfinite(result.loss)
    assert engine.loss_scale.value == 2.0**23
    assert same_tensors(engine.gather("weights"), before)
    engine.loss_scale.value = 256.0
    assert engine.train_step(micros(0), LR, finite).fault is None
    assert not same_tensors(engine.gather("weights"), before)


@pytest.mark.parametrize("scale", [16.0, 4096.0])
@pytest.mark.parametrize("stage", [in_dtype("fp16", stage) for stage in range(4)])
def test_engine_in_fp16_has_the_same_gradient_norm_at_any_scale(stage: int, scale: float) -> None:
    cfg = settings(zero_stage=stage, dtype="fp16")
    plain = Engine(new_model(), settings(zero_stage=stage), ALONE)
    engine = Engine(new_model(), cfg, ALONE)
    assert engine.loss_scale is not None
    engine.loss_scale.value = scale
    ours, theirs = (e.train_step(micros(0), LR, finite) for e in (engine, plain))
    assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=2e-3)
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-3)


def test_engine_scores_as_the_model_does_without_dropout() -> None:
    model = new_model()
    batches = [(idx, targets.clone()) for idx, targets in (micro.tensors for micro in micros(0))]
    batches[1][1][0, :10] = -1
    with torch.no_grad():
        idx, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
        expected = model.loss(idx, targets).item()
    engine = Engine(model, settings(), ALONE)
    assert engine.evaluate(batches) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("stage", [0, 3])
def test_engine_gives_what_any_method_of_the_model_returns_without_dropout(stage: int) -> None:
    model = new_model()
    batches = [micro.tensors[:1] for micro in micros(0)]
    with torch.no_grad():
        expected = [model.hidden(*batch) for batch in batches]
    engine = Engine(model, settings(zero_stage=stage), ALONE)
    engine.train_step(micros(0), 0.0, accept)
    for got, wanted in zip(engine.outputs("hidden", batches), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_optimizer_groups_hold_every_parameter_once_by_kind() -> None:
    model = new_model()
    adam = adamw(model, weight_decay=0.3, embd_lr_ratio=5.0, betas=(0.9, 0.95))
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = [
        ({names[p] for p in group["params"]}, group["weight_decay"], group["lr_ratio"])
        for group in adam.param_groups
    ]
    tables = {"wte.weight", "wpe.weight"}
    vectors = {name for p, name in names.items() if p.dim() == 1}
    matrices = set(names.values()) - tables - vectors
    assert found == [(tables, 0.3, 5.0), (matrices, 0.3, 1.0), (vectors, 0.0, 1.0)]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activation_checkpointing_gives_the_same_losses_and_gradients(dropout: float) -> None:
    """To the bit: the second forward pass draws the same dropout."""
    found = []
    for again in (False, True):
        model = new_model(dropout).train()
        model.activation_checkpointing = again
        torch.manual_seed(3)
        loss = model.loss(*micros(0)[0].tensors)
        loss.backward()
        after = torch.rand(3)
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((loss.item(), after.tolist(), grads))
    assert found[0][:2] == found[1][:2]
    assert same_tensors(found[0][2], found[1][2])


def test_activation_checkpointing_keeps_one_block_s_activations() -> None:
    """Counted, not timed: bytes that the graph holds on to for the backward pass."""
    held = []
    for again in (False, True):
        model = new_model(n_layer=8).train()
        model.activation_checkpointing = again
        kept: list[int] = []

        def keep(tensor: Tensor, kept: list[int] = kept) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.hidden(micros(0)[0].tensors[0])
        held.append(sum(kept))
    assert held[1] < held[0] / 10


def test_deepspeed_json_holds_the_settings() -> None:
    told = deepspeed_json(settings(zero_stage=3, dtype="bf16", max_grad_norm=0.7), 1000)
    assert told["zero_optimization"]["stage"] == 3
    assert told["bf16"] == {"enabled": True, "check_grad_overflow": False}
    assert told["gradient_clipping"] == 0.7
    assert told["train_micro_batch_size_per_gpu"] == 2
    assert told["gradient_accumulation_steps"] == N_MICROS


def test_deepspeed_json_has_even_buckets() -> None:
    for n in (1000, 1001):
        told = deepspeed_json(settings(zero_stage=1), n)["zero_optimization"]
        assert told["allgather_bucket_size"] % 2 == 0
        assert n <= told["allgather_bucket_size"] <= n + 1


def test_auto_dtype_is_one_that_the_machine_has() -> None:
    expected = torch.bfloat16 if device.has_fast_bf16() else torch.float32
    assert device.resolve_dtype("auto") == expected
    assert device.resolve_dtype("fp32") == torch.float32


def test_dtype_that_deepspeed_has_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = type(deepspeed.accelerator.get_accelerator())
    monkeypatch.setattr(processor, "supported_dtypes", lambda _: [torch.float32, torch.bfloat16])
    with pytest.raises(ValueError, match=r"dtype is fp16, .* expected auto, bf16 or fp32 here"):
        Engine(new_model(), settings(dtype="fp16"), ALONE)


def test_compile_without_a_compiler_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    model = new_model()
    device.compile_model(model)
    assert "no no-such-compiler here" in capsys.readouterr().err
    assert model.h[0]._compiled_call_impl is None


def test_initial_weights_do_not_depend_on_torch_s_global_seed() -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = GPT(SHAPE.with_vocab(60))
        init_weights(model, torch.Generator().manual_seed(7))
        found.append(dict(model.named_parameters()))
    assert same_tensors(*found)


def same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
