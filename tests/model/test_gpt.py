"""The network: published sizes, causality, the cache, the chunked loss, initial values."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from model import gpt
from model.config import Architecture, ModelConfig
from model.gpt import GPT, IGNORE, init_weights
from tests.model.small_models import random_model

BLOCK_NAMES = [
    f"h.{layer}.{name}.{kind}"
    for layer in range(2)
    for name in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    for kind in ("weight", "bias")
]


def shape(norm: str = "pre", **changes: float) -> ModelConfig:
    given = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_ctx": 8, "dropout": 0.0, "n_vocab": 20}
    return ModelConfig(norm=norm, **{**given, **changes})


def ids(n_rows: int, n_tokens: int, n_vocab: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(n_vocab, (n_rows, n_tokens), generator=torch.Generator().manual_seed(seed))


def test_gpt_parameter_names_are_openai_s() -> None:
    pre = [name for name, _ in GPT(shape("pre")).named_parameters()]
    post = [name for name, _ in GPT(shape("post")).named_parameters()]
    assert pre == ["wte.weight", "wpe.weight", *BLOCK_NAMES, "ln_f.weight", "ln_f.bias"]
    assert post == ["wte.weight", "wpe.weight", *BLOCK_NAMES]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gpt_logits_depend_on_all_earlier_tokens_and_no_later_one(norm: str) -> None:
    model = random_model(norm=norm)
    one = ids(1, 12, 50)
    for changed in range(12):
        other = one.clone()
        other[0, changed] = (other[0, changed] + 1) % 50
        differs = (model(one) != model(other)).any(dim=2)[0]
        assert differs.tolist() == [place >= changed for place in range(12)]


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 31), max_size=4, unique=True).map(sorted),
    norm=st.sampled_from(["pre", "post"]),
)
def test_gpt_with_a_cache_gives_the_same_logits_however_the_text_is_cut(
    cuts: list[int], norm: str
) -> None:
    model = random_model(norm=norm)
    idx = ids(3, 32, 50)
    with torch.no_grad():
        whole = model(idx)
        past = model.cache(3)
        parts = [
            model(idx[:, start:stop], past=past)
            for start, stop in zip([0, *cuts], [*cuts, 32], strict=True)
        ]
    assert past.length == 32
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-4)


def test_gpt_cache_repeated_serves_several_endings_of_one_text() -> None:
    model = random_model()
    context, endings = ids(2, 10, 50), ids(6, 4, 50, seed=1)
    with torch.no_grad():
        past = model.cache(2)
        model(context, past=past)
        got = model(endings, past=past.repeat(3, endings.size(1)))
        whole = model(torch.cat([context.repeat_interleave(3, dim=0), endings], dim=1))
        again = model(endings[::3], past=past)  # the copy left the original as it was
    torch.testing.assert_close(got, whole[:, 10:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again, whole[::3, 10:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gpt_states_of_wanted_positions_are_those_of_all(norm: str) -> None:
    model = random_model(norm=norm)
    idx, wanted = ids(3, 12, 50), ids(3, 12, 50, seed=1) > 30
    with torch.no_grad():
        whole = model.hidden(idx)
        found = model.hidden(idx, wanted=wanted)
        past = model.cache(3)
        model.hidden(idx[:, :5], past=past)
        rest = model.hidden(idx[:, 5:], past=past, wanted=wanted[:, 5:])
    torch.testing.assert_close(found, whole[wanted], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rest, whole[:, 5:][wanted[:, 5:]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gpt_with_a_ragged_cache_reads_each_row_where_it_is(norm: str) -> None:
    """Rows of 3, 9 and 6 tokens, padded, then four more for each: as if each stood alone."""
    model, n_read, wild = random_model(norm=norm), [3, 9, 6], 49
    rows = [ids(1, n + 4, 50, seed=n) for n in n_read]
    with torch.no_grad():
        past = model.ragged_cache(3, 16)
        padded = torch.full((3, 9), wild)
        for i, (row, n) in enumerate(zip(rows, n_read, strict=True)):
            padded[i, :n] = row[0, :n]
        model.hidden(padded, past=past)
        past.lengths -= 9 - torch.tensor(n_read)
        ends = torch.cat([row[:, n:] for row, n in zip(rows, n_read, strict=True)])
        got = torch.cat([model(ends[:, :3], past=past), model(ends[:, 3:], past=past)], dim=1)
        for i, (row, n) in enumerate(zip(rows, n_read, strict=True)):
            torch.testing.assert_close(got[i], model(row)[0, n:], rtol=1e-4, atol=1e-4)
    assert past.lengths.tolist() == [7, 13, 10]


def test_gpt_ragged_rows_begin_with_what_one_row_has_read() -> None:
    model, text = random_model(), ids(1, 12, 50)
    endings = ids(2, 3, 50, seed=1)
    with torch.no_grad():
        once, past = model.cache(1), model.ragged_cache(3, 20)
        model.hidden(text, past=once)
        model.hidden(ids(3, 4, 50, seed=2), past=past)  # row 1 keeps this
        past.fill(torch.tensor([0, 2]), once, torch.tensor([12, 5]))
        ends = torch.stack([endings[0], endings[0], endings[1]])
        got = model(ends, past=past)
        alone = [
            torch.cat([text[0, :12], endings[0]]),
            torch.cat([ids(3, 4, 50, seed=2)[1], endings[0]]),
            torch.cat([text[0, :5], endings[1]]),
        ]
        for row, tokens in zip(got, alone, strict=True):
            torch.testing.assert_close(row, model(tokens[None])[0, -3:], rtol=1e-4, atol=1e-4)


def test_gpt_refuses_more_tokens_than_its_context() -> None:
    model = random_model(n_ctx=8)
    with pytest.raises(ValueError, match="9 tokens; the context holds n_ctx = 8"):
        model(ids(1, 9, 50))
    past = model.cache(1)
    model(ids(1, 6, 50), past=past)
    with pytest.raises(ValueError, match="9 tokens"):
        model(ids(1, 3, 50), past=past)


@pytest.mark.parametrize("block", [16, 8192], ids=["blocks", "one block"])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_gpt_loss_and_gradients_equal_torch_s_cross_entropy(
    chunk: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt, "LOSS_CHUNK", chunk)
    monkeypatch.setattr(gpt, "_BLOCK", block)
    model = random_model().train(mode=False)
    idx, targets = ids(4, 9, 50), ids(4, 9, 50, seed=1)
    targets[0, :5] = IGNORE
    targets[3] = IGNORE
    reference = functional.cross_entropy(
        model(idx).flatten(0, 1), targets.flatten(), ignore_index=IGNORE
    )
    expected = torch.autograd.grad(3 * reference, list(model.parameters()))
    loss = model.loss(idx, targets)
    got = torch.autograd.grad(3 * loss, list(model.parameters()))
    torch.testing.assert_close(loss, reference)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(model.loss(idx, targets), reference)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_gpt_summed_loss_weights_each_position(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt, "LOSS_CHUNK", chunk)
    model = random_model()
    idx, targets = ids(4, 9, 50), ids(4, 9, 50, seed=1)
    targets[0, :5] = IGNORE
    weights = torch.rand(36, generator=torch.Generator().manual_seed(2)) * 9
    weights[:5] = 0
    each = functional.cross_entropy(
        model(idx).flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none"
    )
    reference = (each * weights).sum()
    expected = torch.autograd.grad(reference, list(model.parameters()))
    loss = model.summed_loss(model.hidden(idx).flatten(0, 1), targets.flatten(), weights)
    got = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(loss, reference)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        x = model.hidden(idx).flatten(0, 1)
        torch.testing.assert_close(model.summed_loss(x, targets.flatten(), weights), reference)


def test_gpt_summed_loss_of_no_states_has_no_gradient() -> None:
    model = random_model()
    x = model.hidden(ids(1, 8, 50)).flatten(0, 1)[:0]
    loss = model.summed_loss(x, torch.empty(0, dtype=torch.int64), torch.empty(0))
    (got,) = torch.autograd.grad(loss, [model.wte.weight])
    assert loss == 0
    assert not got.any()


def test_gpt_loss_of_extreme_logits_is_finite() -> None:
    model = random_model()
    with torch.no_grad():
        model.wte.weight.mul_(1e4)
    loss = model.loss(ids(1, 8, 50), ids(1, 8, 50, seed=1))
    loss.backward()
    assert loss.item() > 1000
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("find", [gpt._losses_on_cpu, gpt._losses_on_gpu])
def test_gpt_loss_of_targets_beyond_all_probability_is_exact(
    find: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    """Up to some hundred nats, where a probability is zero in every precision."""
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(64, 8, generator=drawn).to(dtype)
    weight = (20 * torch.randn(50, 8, generator=drawn)).to(dtype)
    logits = functional.linear(x, weight)
    cells = torch.arange(64), ids(1, 64, 50)[0]
    expected = functional.cross_entropy(logits.float(), cells[1], reduction="none")
    assert expected.max() > 100
    assert expected.min() < 5
    got = find(logits, x, weight, cells)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=8 * torch.finfo(dtype).eps)
    torch.testing.assert_close(logits.sum(1).float(), torch.ones(64), rtol=0.02, atol=0)


def test_gpt_loss_without_targets_is_zero() -> None:
    model = random_model()
    loss = model.loss(ids(1, 8, 50), torch.full((1, 8), IGNORE))
    assert loss.item() == 0.0


def test_gpt_dropout_acts_in_training_only() -> None:
    model = random_model()
    idx = ids(2, 8, 50)
    assert torch.equal(model(idx), model(idx))
    model.train()
    assert not torch.equal(model(idx), model(idx))


def test_init_weights_have_the_papers_spread() -> None:
    config = shape(n_layer=8, n_embd=128, n_ctx=256, n_vocab=512)
    model = GPT(config)
    init_weights(model, torch.Generator().manual_seed(0))
    found = {name: p.std().item() for name, p in model.named_parameters() if p.dim() > 1}
    assert found["wte.weight"] == pytest.approx(0.02, rel=0.03)
    assert found["wpe.weight"] == pytest.approx(0.01, rel=0.03)
    assert found["h.3.attn.c_attn.weight"] == pytest.approx(0.02, rel=0.03)
    assert found["h.3.attn.c_proj.weight"] == pytest.approx(0.02 / 4, rel=0.03)
    assert found["h.3.mlp.c_proj.weight"] == pytest.approx(0.02 / 4, rel=0.03)
    assert model.h[0].ln_1.weight.eq(1).all()
    assert model.h[0].mlp.c_fc.bias.eq(0).all()


def test_init_weights_of_gpt_1_are_not_scaled() -> None:
    model = GPT(shape("post", n_layer=8, n_embd=128, n_ctx=256))
    init_weights(model, torch.Generator().manual_seed(0))
    assert model.wpe.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert model.h[3].mlp.c_proj.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_init_weights_are_a_function_of_the_seed() -> None:
    models = [GPT(shape()) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        init_weights(model, torch.Generator().manual_seed(seed))
    one, same, other = (model.wte.weight for model in models)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "rms"}, "norm is 'rms'; expected pre or post"),
        ({"n_head": 3}, "n_head is 3; expected a divisor of n_embd = 16"),
        ({"n_layer": 0}, "n_layer is 0; expected x >= 1"),
        ({"dropout": 1.0}, "dropout is 1.0; expected 0 <= x < 1"),
    ],
)
def test_architecture_refuses_impossible_shapes(changes: dict[str, object], message: str) -> None:
    fields = {"norm": "pre", "n_layer": 2, "n_head": 2, "n_embd": 16, "n_ctx": 8, "dropout": 0.0}
    with pytest.raises(ValueError, match=message):
        Architecture(**{**fields, **changes})


def test_architecture_with_vocab_keeps_every_field() -> None:
    wanted = shape("post", dropout=0.25)
    bare = Architecture(norm="post", n_layer=2, n_head=2, n_embd=16, n_ctx=8, dropout=0.25)
    assert bare.with_vocab(20) == wanted
    with pytest.raises(ValueError, match="n_vocab is 1"):
        bare.with_vocab(1)
