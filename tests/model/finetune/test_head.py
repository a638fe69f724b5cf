"""The head: parity with transformers, and that nothing depends on padding or neighbours."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    OpenAIGPTConfig,
    OpenAIGPTDoubleHeadsModel,
)

from model import hf
from model.config import ModelConfig
from model.finetune.head import Classifier, HeadConfig
from model.finetune.inputs import ABSENT
from model.finetune.tasks import Kind
from tests.model.small_models import make_wild

N_VOCAB = 63
ROWS: dict[Kind, int] = {"text": 1, "entailment": 1, "similarity": 2, "choice": 3}


def head_for(kind: Kind, **changes: Any) -> HeadConfig:
    usual = {"n_outputs": 1 if kind == "choice" else 3, "dropout": 0.0, "lm_coef": 0.5}
    return HeadConfig(kind=kind, **{**usual, **changes})


def wild(kind: Kind, norm: str = "pre", dropout: float = 0.0, **changes: Any) -> Classifier:
    """Random gains and biases, weights of spread .2: every parameter shows."""
    shape = ModelConfig(
        norm=norm, n_layer=2, n_head=4, n_embd=32, n_ctx=24, dropout=dropout, n_vocab=N_VOCAB
    )
    model = Classifier(shape, head_for(kind, **changes)).eval()
    make_wild(model)
    return model


def batch(kind: Kind, n: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of several lengths, padded with 0."""
    generator = torch.Generator().manual_seed(seed)
    rows = ROWS[kind]
    last = torch.randint(3, 20, (n, rows), generator=generator)
    last[0, 0] = 19
    idx = torch.randint(1, N_VOCAB, (n, rows, 20), generator=generator)
    idx[torch.arange(20) > last.unsqueeze(2)] = 0
    return idx, last, torch.randint(3, (n,), generator=generator)


def grads(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def plain_lm_loss(model: Classifier, idx: Tensor, last: Tensor) -> Tensor:
    """Row by row, with all logits: mean of the means."""
    losses = [
        functional.cross_entropy(model(row[None, :end])[0], row[1 : end + 1])
        for row, end in zip(idx.flatten(0, 1), last.flatten().tolist(), strict=True)
        if end != ABSENT
    ]
    return torch.stack(losses).mean()


def test_choice_equals_transformers_double_heads_model() -> None:
    """Scores, language model logits, both losses, and the gradient of their sum by lambda.

    transformers' language model loss is the mean over all tokens: rows of equal length here.
    """
    model = wild("choice", "post")
    theirs = OpenAIGPTDoubleHeadsModel(
        OpenAIGPTConfig(
            vocab_size=N_VOCAB,
            n_positions=24,
            n_embd=32,
            n_layer=2,
            n_head=4,
            afn="gelu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            summary_first_dropout=0.0,
            summary_type="cls_index",
            summary_use_proj=True,
            summary_proj_to_labels=True,
            num_labels=1,
        )
    ).eval()
    published = {hf.PREFIX + n: w for n, w in hf.to_published(model).items() if "head" not in n}
    published["lm_head.weight"] = model.wte.weight.detach()
    published["multiple_choice_head.summary.weight"] = model.head.weight.detach()
    published["multiple_choice_head.summary.bias"] = model.head.bias.detach()
    missing, unexpected = theirs.load_state_dict(published, strict=False)
    assert not unexpected
    assert not [name for name in missing if not name.endswith(("attn.bias", "position_ids"))]
    idx, last, targets = batch("choice")
    told = theirs(idx, mc_token_ids=last, mc_labels=targets)
    scores = model.scores(idx, last)
    assert scores.detach().std() > 0.5
    torch.testing.assert_close(scores, told.mc_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(idx.flatten(0, 1)).view_as(told.logits), told.logits)

    whole = torch.full_like(last, 19)
    idx = torch.randint(1, N_VOCAB, idx.shape, generator=torch.Generator().manual_seed(9))
    told = theirs(idx, mc_token_ids=whole, labels=idx, mc_labels=targets)
    expected = grads(theirs, told.mc_loss + 0.5 * told.loss)
    loss = model.objective(idx, whole, targets)
    torch.testing.assert_close(loss, told.mc_loss + 0.5 * told.loss)
    got = grads(model, loss)
    names = hf.POST_NAMES
    for name, grad in got.items():
        if name.startswith("head."):
            other = expected[name.replace("head.", "multiple_choice_head.summary.")]
        else:
            other = expected[hf.PREFIX + names.get(name, name)]
        other = other.T if name.endswith(hf.TRANSPOSED) else other
        torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-6, msg=name)


def test_text_equals_transformers_sequence_classification() -> None:
    """Scores, loss and gradients; transformers has no bias and takes the last unpadded token."""
    model = wild("text", "pre", lm_coef=0.0)
    theirs = GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=N_VOCAB,
            n_positions=24,
            n_embd=32,
            n_layer=2,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            num_labels=3,
            pad_token_id=0,
        )
    ).eval()
    with torch.no_grad():
        model.head.bias.zero_()
    published = {hf.PREFIX + n: w for n, w in hf.to_published(model).items() if "head" not in n}
    published["score.weight"] = model.head.weight.detach()
    missing, unexpected = theirs.load_state_dict(published, strict=False)
    assert not unexpected
    assert not [name for name in missing if not name.endswith("attn.bias")]
    idx, last, targets = batch("text")
    told = theirs(idx.squeeze(1), labels=targets)
    torch.testing.assert_close(model.scores(idx, last), told.logits, rtol=1e-5, atol=1e-5)
    loss = model.objective(idx, last, targets)
    torch.testing.assert_close(loss, told.loss)
    expected, got = grads(theirs, told.loss), grads(model, loss)
    for name, grad in got.items():
        if name == "head.bias":
            continue
        other = expected["score.weight" if name == "head.weight" else hf.PREFIX + name]
        other = other.T if name.endswith(hf.TRANSPOSED) else other
        torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("kind", ["text", "entailment", "similarity", "choice"])
def test_nothing_depends_on_the_padding(kind: Kind, norm: str) -> None:
    model = wild(kind, norm)
    idx, last, targets = batch(kind)
    other = functional.pad(idx, (0, 3))
    other[torch.arange(23) > last.unsqueeze(2)] = 7  # another token, and more of it
    found = []
    for rows in (idx, other):
        loss = model.objective(rows, last, targets)
        found.append((model.scores(rows, last), loss, grads(model, loss)))
    torch.testing.assert_close(found[0][:2], found[1][:2], rtol=1e-5, atol=1e-5)
    for name, grad in found[0][2].items():
        torch.testing.assert_close(grad, found[1][2][name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", ["text", "entailment", "similarity", "choice"])
def test_language_model_loss_is_the_mean_of_the_rows_means(kind: Kind) -> None:
    model = wild(kind)
    idx, last, targets = batch(kind)
    for with_gradient in (False, True):
        with torch.set_grad_enabled(with_gradient):
            both = model.objective(idx, last, targets)
            classes = functional.cross_entropy(model.scores(idx, last), targets)
            expected = classes + 0.5 * plain_lm_loss(model, idx, last)
        torch.testing.assert_close(both, expected, rtol=1e-5, atol=1e-5)
    got, wanted = grads(model, both), grads(model, expected)
    for name, grad in got.items():
        torch.testing.assert_close(grad, wanted[name], rtol=1e-4, atol=1e-6, msg=name)


def test_similarity_is_the_same_in_either_order() -> None:
    model = wild("similarity")
    idx, last, _ = batch("similarity")
    torch.testing.assert_close(model.scores(idx, last), model.scores(idx.flip(1), last.flip(1)))


def test_absent_answers_change_nothing() -> None:
    model = wild("choice")
    idx, last, targets = batch("choice", n=2)
    targets = targets.clamp(max=1)
    loss = model.objective(idx[:, :2], last[:, :2], targets)
    expected = grads(model, loss)
    last[:, 2] = ABSENT
    idx[:, 2] = 0
    assert model.scores(idx, last)[:, 2].tolist() == [-torch.inf] * 2
    other = model.objective(idx, last, targets)
    torch.testing.assert_close(other, loss)
    for name, grad in grads(model, other).items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_graded_loss_is_the_cross_entropy_of_distributions() -> None:
    model = wild("similarity", lm_coef=0.0)
    idx, last, _ = batch("similarity", n=2)
    targets = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    expected = -(torch.log_softmax(model.scores(idx, last), 1) * targets).sum(1).mean()
    torch.testing.assert_close(model.objective(idx, last, targets), expected)


def test_head_s_dropout_has_one_mask_for_an_example_s_rows() -> None:
    """Equal rows score alike in training, under any mask; two draws differ."""
    model = wild("choice", dropout=0.0)
    model.head_config = head_for("choice", dropout=0.5)
    model.train()
    idx, last, _ = batch("choice")
    idx, last = idx[:, :1].expand(-1, 3, -1), last[:, :1].expand(-1, 3)
    drawn = [model.scores(idx, last) for _ in range(2)]
    torch.testing.assert_close(drawn[0][:, 0], drawn[0][:, 2])
    assert not torch.allclose(drawn[0], drawn[1])


def test_scores_are_fp32_in_a_bf16_module() -> None:
    model = wild("text").to(torch.bfloat16)
    idx, last, targets = batch("text")
    assert model.scores(idx, last).dtype == torch.float32
    assert model.objective(idx, last, targets).dtype == torch.float32
