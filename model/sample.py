"""Text from the model: greedy, temperature, top-k, top-p.

Decisions:
- One rule for all methods, in this order: divide the logits by the temperature, keep the `top_k`
  best, keep the fewest of them that hold `top_p` of what is left, draw. Greedy is `top_k: 1`.
- A draw is the inverse of the cumulative distribution over tokens from likely to unlikely, at a
  number that comes from the sequence's own seeded generator, so what is generated beside a sequence
  does not change its draws (the rounding of its logits may depend on the batch).
- A prompt starts like a document: after `<|endoftext|>`.

Paper: top-k, GPT-2 section 3.6 (k = 2) and its released samples (k = 40). Top-p: Holtzman et al.,
The Curious Case of Neural Text Degeneration (2019), section 3.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.gpt import GPT
from pipeline.store.config import require

ALL = 2.0  # a `top_p` that keeps everything whatever the rounding
MAX_ROWS = 64  # sequences that are generated together
MAX_SPREAD = 32  # tokens by which their prompts may differ; the difference is read token by token

Stops = Callable[[Sequence[int]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the next token is chosen.

    Attributes:
        temperature: Divides the logits; 1 leaves the distribution as it is.
        top_k: Tokens that take part, the most likely ones; null for all, 1 for greedy.
        top_p: Probability that those who take part must hold together; null for all.
    """

    temperature: float
    top_k: int | None
    top_p: float | None

    def __post_init__(self) -> None:
        require("temperature", self.temperature, self.temperature > 0, "x > 0")
        require("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "x >= 1 or null")
        require(
            "top_p", self.top_p, self.top_p is None or 0 < self.top_p <= 1, "0 < x <= 1 or null"
        )


GREEDY = Settings(temperature=1.0, top_k=1, top_p=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """One sequence to make: what it continues, how, and its own randomness."""

    prompt: tuple[int, ...]
    settings: Settings
    seed: int


def pick(logits: Tensor, settings: Sequence[Settings], draws: Tensor) -> Tensor:
    """Returns one token id per row.

    Args:
        logits: (B, V).
        settings: B of them.
        draws: (B,) float64 in [0, 1), where each row's cumulative distribution is inverted.
    """
    device = logits.device
    heat = torch.tensor([[s.temperature] for s in settings], device=device)  # (B, 1)
    top_k = torch.tensor([[s.top_k or logits.size(1)] for s in settings], device=device)  # (B, 1)
    top_p = torch.tensor([[s.top_p or ALL] for s in settings], dtype=torch.float64, device=device)
    ordered, ids = _best(logits.float() / heat, int(top_k.max()))  # (B, K)
    rank = torch.arange(ordered.size(1), device=device)
    p = ordered.double().masked_fill(rank >= top_k, -torch.inf).softmax(dim=1)
    better = p.cumsum(dim=1) - p  # what the more likely tokens hold without this one
    cumulative = p.masked_fill(better >= top_p, 0).cumsum(dim=1)
    target = draws.to(device).unsqueeze(1) * cumulative[:, -1:]
    place = (cumulative <= target).sum(dim=1, keepdim=True)  # (B, 1)
    return ids.gather(1, place).squeeze(1)


def _best(values: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Returns at least the `n` largest values of each row and their columns, in stable order.

    A pick among the best 40 of 8,192 takes a tenth of the time that it takes with all sorted. The
    selection is free among equals, so where some of them would be left out, all are sorted.
    """
    if n < values.size(1):
        top, ids = values.topk(n, dim=1)
        if int((values >= top[:, -1:]).sum()) == top.numel():
            ids = ids.sort(dim=1).values
            ordered, order = values.gather(1, ids).sort(dim=1, descending=True, stable=True)
            return ordered, ids.gather(1, order)
    ordered, ids = values.sort(dim=1, descending=True, stable=True)
    return ordered, ids


def never(_new: Sequence[int]) -> bool:
    """Ends no sequence."""
    return False


def generate(
    model: GPT, sequels: Sequence[Sequel], n_new: int, stop_id: int, *, stops: Stops = never
) -> list[list[int]]:
    """Continues prompts, those of similar length together.

    Args:
        model: In evaluation mode.
        sequels: Prompts of at least one token, each with its settings and seed.
        n_new: New tokens per sequence, at most.
        stop_id: The token that ends a sequence; it is not part of the result.
        stops: Tells from a sequence's new ids whether it ends with them (`model.stops.Stops`).

    Returns:
        The new ids of each sequence; fewer than `n_new` where it ended.
    """
    results: list[list[int]] = [[] for _ in sequels]
    waiting = sorted(range(len(sequels)), key=lambda i: len(sequels[i].prompt))
    while waiting:
        longest = len(sequels[waiting[0]].prompt) + MAX_SPREAD
        batch = [i for i in waiting[:MAX_ROWS] if len(sequels[i].prompt) <= longest]
        made = _generate(model, [sequels[i] for i in batch], n_new, stop_id, stops)
        for i, new in zip(batch, made, strict=True):
            results[i] = new[: new.index(stop_id)] if stop_id in new else new
        waiting = waiting[len(batch) :]
    return results


@torch.inference_mode()
def _generate(
    model: GPT, sequels: Sequence[Sequel], n_new: int, stop_id: int, stops: Stops
) -> list[list[int]]:
    """Continues prompts in step: a longer one is still read while a shorter one is continued.

        p p p p n n n n          p prompt, n new; column by column after the shortest prompt
        p p n n n n · ·          a row may run past its end, which is cut off

    Positions are learned, so a full context cannot slide: it starts again from its last half.
    """
    n_ctx, device = model.config.n_ctx, model.wte.weight.device
    prompts = [sequel.prompt[-n_ctx:] for sequel in sequels]
    n_read = [len(prompt) for prompt in prompts]
    stop_at = [n + n_new for n in n_read]  # where each row's new tokens end
    lengths = torch.tensor(n_read, device=device)  # (B,)
    width = max(stop_at)
    rows = [[*prompt, *[0] * (width - len(prompt))] for prompt in prompts]
    tokens = torch.tensor(rows, device=device)  # (B, width)
    draws = torch.stack([_draws(sequel.seed, n_new) for sequel in sequels])  # (B, n_new)
    settings = [sequel.settings for sequel in sequels]
    ended = torch.zeros(len(sequels), dtype=torch.bool, device=device)
    cache, first = model.cache(len(sequels)), 0
    for end in range(min(n_read), width):
        if end - first > n_ctx:
            cache, first = model.cache(len(sequels)), end - max(1, n_ctx // 2)
        state = model.hidden(tokens[:, first + cache.length : end], past=cache)[:, -1]  # (B, C)
        turn = end - lengths  # (B,) number of new tokens before this one; negative in a prompt
        draw = draws.gather(1, turn.clamp(0, n_new - 1).cpu().unsqueeze(1))[:, 0]
        new = pick(functional.linear(state, model.wte.weight), settings, draw)  # (B,)
        tokens[:, end] = torch.where(turn >= 0, new, tokens[:, end])
        for i in () if stops is never else ((turn >= 0) & ~ended).nonzero().flatten().tolist():
            if stops(tokens[i, n_read[i] : end + 1].tolist()):
                ended[i], stop_at[i] = True, end + 1
        ended |= (turn >= 0) & (new == stop_id) | (turn >= n_new - 1)
        if ended.all():
            break
    whole = zip(tokens.tolist(), n_read, stop_at, strict=True)
    return [row[start:stop] for row, start, stop in whole]


def _draws(seed: int, n: int) -> Tensor:
    """Returns a sequence's (n,) random numbers in [0, 1)."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
