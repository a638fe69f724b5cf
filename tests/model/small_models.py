"""Models whose answers are known: uniform, unigram, and small random ones with a slow reading."""

import math
from collections.abc import Sequence

import torch

from model.config import ModelConfig
from model.gpt import GPT, init_weights

torch.set_num_threads(1)


def random_model(
    n_vocab: int = 50, n_ctx: int = 32, norm: str = "pre", seed: int = 0, n_layer: int = 2
) -> GPT:
    """A small model with weights large enough for its answers to depend on the context."""
    config = ModelConfig(
        norm=norm,
        n_layer=n_layer,
        n_head=2,
        n_embd=16,
        n_ctx=n_ctx,
        dropout=0.1,
        n_vocab=n_vocab,
    )
    model = GPT(config)
    init_weights(model, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(10)
    return model.eval()


def make_wild(model: GPT) -> None:
    """Fills a model: random gains and biases, weights of spread .2.

    Every parameter then shows in the logits; small initial weights would hide errors.
    """
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mean = 1.0 if ".ln_" in f".{name}" and name.endswith("weight") else 0.0
            parameter.normal_(mean, 0.2, generator=generator)


def unigram(weights: Sequence[float], n_ctx: int = 8) -> GPT:
    """A model that gives token i the probability weights[i] / sum(weights), whatever came before.

    The final norm has gain 0 and bias (1, 0), so every state is (1, 0); token i's row is
    (ln weights[i], 0).
    """
    config = ModelConfig(
        norm="pre", n_layer=1, n_head=1, n_embd=2, n_ctx=n_ctx, dropout=0.0, n_vocab=len(weights)
    )
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        assert model.ln_f is not None
        model.ln_f.bias[0] = 1.0
        model.wte.weight[:, 0] = torch.tensor([math.log(w) for w in weights])
    return model.eval()


@torch.inference_mode()
def slow_logprobs(model: GPT, tokens: Sequence[int], n: int) -> list[float]:
    """Log-probability of each of the last `n` tokens, each from a forward pass of its own."""
    found = []
    for end in range(len(tokens) - n, len(tokens)):
        logits = model(torch.tensor([tokens[:end]]))[0, -1].double()
        found.append(float(torch.log_softmax(logits, 0)[tokens[end]]))
    return found
