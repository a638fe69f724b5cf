"""Text from the model: greedy, temperature, top-k, top-p.

Decisions:
- One rule for all methods, in this order: divide the logits by the temperature, keep the `top_k`
  best, keep the fewest of them that hold `top_p` of what is left, draw. Greedy is `top_k: 1`.
- A draw is the inverse of the cumulative distribution over tokens from likely to unlikely, at a
  number that comes from the sequence's own seeded generator, so what is generated beside a sequence
  does not change its draws (the rounding of its logits may depend on the batch).
- A prompt starts like a document: after `<|endoftext|>`.
- What prompts have in common at their beginnings is read once: a conversation, whose later turns
  begin with the earlier ones, or example pairs before each question.

Paper: top-k, GPT-2 section 3.6 (k = 2) and its released samples (k = 40). Top-p: Holtzman et al.,
The Curious Case of Neural Text Degeneration (2019), section 3.1.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from model.gpt import GPT, RaggedCache, linear
from pipeline.store.config import require

ALL = 2.0  # a `top_p` that keeps everything whatever the rounding
MAX_ROWS = 64  # sequences that are generated together
MAX_SPREAD = 32  # tokens by which the lengths of prompts that are read together may differ
# Tokens at least that a prompt must share with its neighbour to be read with it, and half of it.
# Measured (48 prompts with 12 to 17 tokens of their own): as fast as alone at 8, 1.2 times at 16,
# 1.4 at 32, 2.2 at 70.
MIN_SHARED = 16

Ids = Sequence[int]
Stops = Callable[[Ids], bool]


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
    ids, p = shortlist(logits, settings)  # (B, K)
    cumulative = p.cumsum(dim=1)
    target = draws.to(p.device).unsqueeze(1) * cumulative[:, -1:]
    place = (cumulative <= target).sum(dim=1, keepdim=True)  # (B, 1)
    return ids.gather(1, place).squeeze(1)


def shortlist(logits: Tensor, settings: Sequence[Settings]) -> tuple[Tensor, Tensor]:
    """Returns the tokens among which is drawn, from likely to unlikely.

    Args:
        logits: (B, V).
        settings: B of them.

    Returns:
        (B, K) ids and their (B, K) float64 weights, which sum to at most 1; 0 takes no part.
    """
    device = logits.device
    heat = torch.tensor([[s.temperature] for s in settings], device=device)  # (B, 1)
    top_k = torch.tensor([[s.top_k or logits.size(1)] for s in settings], device=device)  # (B, 1)
    top_p = torch.tensor([[s.top_p or ALL] for s in settings], dtype=torch.float64, device=device)
    ordered, ids = _best(logits.float() / heat, int(top_k.max()))  # (B, K)
    rank = torch.arange(ordered.size(1), device=device)
    p = ordered.double().masked_fill(rank >= top_k, -torch.inf).softmax(dim=1)
    better = p.cumsum(dim=1) - p  # what the more likely tokens hold without this one
    return ids, p.masked_fill(better >= top_p, 0)


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
    """Continues prompts, those that share a beginning or are of similar length together.

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
    for batch in batches([sequel.prompt[-model.config.n_ctx :] for sequel in sequels]):
        made = together(model, [sequels[i] for i in batch], n_new, stop_id, stops=stops)
        for i, new in zip(batch, made, strict=True):
            results[i] = new
    return results


def batches(prompts: Sequence[Ids]) -> list[list[int]]:
    """Returns the indices of prompts that are continued together, at most `MAX_ROWS` at a time.

    In alphabetical order, a prompt stands right before those that begin with it.

    >>> turns = [tuple(range(n)) for n in (40, 50, 60)]
    >>> batches([turns[2], (7, 8), turns[0], (7,), turns[1]])
    [[2, 4, 0], [3, 1]]
    """
    order = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]))
    families = [order[:1]] if order else []
    for before, i in pairwise(order):
        n_shared = _n_shared(prompts[before], prompts[i])
        if n_shared >= max(MIN_SHARED, len(prompts[i]) // 2):
            families[-1].append(i)
        else:
            families.append([i])
    found = [part for family in families if len(family) > 1 for part in _parts(family, prompts)]
    alone = [family[0] for family in families if len(family) == 1]
    alone.sort(key=lambda i: (len(prompts[i]), i))
    while alone:
        longest = len(prompts[alone[0]]) + MAX_SPREAD
        batch = [i for i in alone[:MAX_ROWS] if len(prompts[i]) <= longest]
        found.append(batch)
        alone = alone[len(batch) :]
    return found


def _parts(family: Sequence[int], prompts: Sequence[Ids]) -> list[list[int]]:
    """Cuts a family into parts of `MAX_ROWS` prompts of similar length."""
    order = sorted(family, key=lambda i: len(prompts[i]))
    return [order[start : start + MAX_ROWS] for start in range(0, len(order), MAX_ROWS)]


def _n_shared(a: Ids, b: Ids) -> int:
    """Returns how many tokens two prompts have in common at their beginnings.

    >>> _n_shared((1, 2, 3), (1, 2, 4, 5)), _n_shared((1,), (1, 2)), _n_shared((), (1,))
    (2, 1, 0)
    """
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)


class Turn(NamedTuple):
    """One new token of every sequence: the (B, V) logits that it was drawn from, and B ids."""

    logits: Tensor
    ids: list[int]


def together(
    model: GPT, sequels: Sequence[Sequel], n_new: int, stop_id: int, *, stops: Stops = never
) -> list[list[int]]:
    """Continues prompts in step; arguments as for `generate`."""
    results: list[list[int]] = [[] for _ in sequels]
    ended = [False] * len(sequels)
    for turn in turns(model, sequels, n_new):
        for i, token in enumerate(turn.ids):
            if not ended[i]:
                if token != stop_id:
                    results[i].append(token)
                ended[i] = token == stop_id or stops(results[i])
        if all(ended):
            break
    return results


@torch.inference_mode()
def turns(model: GPT, sequels: Sequence[Sequel], n_new: int) -> Iterator[Turn]:
    """Yields `n_new` tokens of each sequence one after the other, whatever they are.

        p p p p│n n n n          p read before, n new; a row's tokens lie side by side in its cache
        p p│n n n n

    Positions are learned, so a full context cannot slide: it starts again from its last half.

    Args:
        model: In evaluation mode.
        sequels: Prompts of at least one token, each with its settings and seed.
        n_new: New tokens per sequence.
    """
    n_ctx, device = model.config.n_ctx, model.wte.weight.device
    rows = [list(sequel.prompt[-n_ctx:]) for sequel in sequels]
    cache = _read(model, rows, n_new)
    draws = torch.stack([_draws(sequel.seed, n_new) for sequel in sequels])  # (B, n_new)
    settings = [sequel.settings for sequel in sequels]
    for turn in range(n_new):
        _start_again(model, rows, cache)
        last = torch.tensor([row[-1:] for row in rows], device=device)  # (B, 1)
        state = model.hidden(last, past=cache)[:, -1]  # (B, C)
        logits = linear(state, model.wte.weight)  # (B, V)
        ids = pick(logits, settings, draws[:, turn]).tolist()
        for row, token in zip(rows, ids, strict=True):
            row.append(token)
        yield Turn(logits, ids)


def _read(model: GPT, rows: Sequence[Ids], n_new: int) -> RaggedCache:
    """Returns a cache that holds each row but its last token; what they share is read once."""
    n_ctx, device = model.config.n_ctx, model.wte.weight.device
    trunk = max(rows, key=len)
    shared = [min(_n_shared(row, trunk), len(row) - 1) for row in rows]
    if len(rows) == 1 or min(shared) < MIN_SHARED:
        shared = [0] * len(rows)
    rests = [row[n:-1] for row, n in zip(rows, shared, strict=True)]
    width = min(n_ctx, len(trunk) + n_new) + max(map(len, rests))
    cache = model.ragged_cache(len(rows), width)
    if max(shared):
        once = model.cache(1)
        model.hidden(torch.tensor([trunk[: max(shared)]], device=device), past=once)
        everyone = torch.arange(len(rows), device=device)
        cache.fill(everyone, once, torch.tensor(shared, device=device))
    _read_padded(model, rests, cache)
    return cache


def _read_padded(model: GPT, rests: Sequence[Ids], cache: RaggedCache) -> None:
    """Reads what each row goes on with, which may be nothing."""
    longest, device = max(map(len, rests)), cache.lengths.device
    if longest:
        padded = [[*rest, *[0] * (longest - len(rest))] for rest in rests]
        model.hidden(torch.tensor(padded, device=device), past=cache)
        cache.lengths -= torch.tensor([longest - len(rest) for rest in rests], device=device)


def _start_again(model: GPT, rows: Sequence[Ids], cache: RaggedCache) -> None:
    """Lets rows whose context is full begin it with their last half, but for their last token."""
    n_ctx = model.config.n_ctx
    full = (cache.lengths == n_ctx).nonzero().flatten()
    if len(full):
        n_kept = max(1, n_ctx // 2) - 1
        again = model.ragged_cache(len(full), max(1, n_kept))
        _read_padded(model, [rows[i][-n_kept - 1 : -1] for i in full.tolist()], again)
        cache.fill(full, again, again.lengths)


def _draws(seed: int, n: int) -> Tensor:
    """Returns a sequence's (n,) random numbers in [0, 1)."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
