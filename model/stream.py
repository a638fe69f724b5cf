"""One token at a time, each with the distribution that it came from.

    prompt     <|endoftext|> a b c          `read`: how likely the model found a, b and c
    new                            x y z    `write`: the same tokens as `model.sample.generate`

Two probabilities are told of every token. `p` is the model's own: its softmax, before any setting.
`share` is what the settings left of it: with `top_k: 1` the likeliest token has share 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.gpt import GPT, linear
from model.sample import Sequel, Settings, shortlist, turns

_ROWS = 64  # positions whose logits are computed together: 13 MB of them for GPT-2's vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A token that could stand at a place.

    Attributes:
        id: The token.
        p: Its probability, the model's own.
        share: Its probability under the settings; None where nothing was drawn.
    """

    id: int
    p: float
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What stands at a place, and what could.

    Attributes:
        token: What stands there.
        rank: How many tokens were likelier.
        others: The likeliest tokens, best first; `token` is among them if it is one of them.
    """

    token: Candidate
    rank: int
    others: tuple[Candidate, ...]


@torch.inference_mode()
def read(model: GPT, ids: Sequence[int], n_others: int) -> list[Choice]:
    """Returns how the model expected each token of a text but the first.

    Args:
        model: In evaluation mode.
        ids: At most n_ctx of them.
        n_others: Likeliest tokens to tell of at each place.
    """
    idx = torch.tensor([list(ids)], device=model.wte.weight.device)  # (1, T)
    states = model.hidden(idx)[0, :-1]  # (T - 1, C)
    found = []
    for start in range(0, len(states), _ROWS):
        logits = linear(states[start : start + _ROWS], model.wte.weight)  # (n, V)
        found += [_choice(row, ids[start + i + 1], n_others) for i, row in enumerate(logits)]
    return found


def write(model: GPT, sequel: Sequel, n_new: int, stop_id: int, n_others: int) -> Iterator[Choice]:
    """Yields at most `n_new` tokens; the last may be `stop_id`, after which nothing follows.

    Args:
        model: In evaluation mode.
        sequel: What to continue, how, and its seed.
        n_new: New tokens, at most.
        stop_id: The token that ends a text.
        n_others: Likeliest tokens to tell of at each place.
    """
    for turn in turns(model, [sequel], n_new):
        yield _choice(turn.logits[0], turn.ids[0], n_others, sequel.settings)
        if turn.ids[0] == stop_id:
            return


@torch.inference_mode()
def _choice(logits: Tensor, token: int, n_others: int, settings: Settings | None = None) -> Choice:
    """Describes what stands at a place from its (V,) logits."""
    p = logits.float().softmax(dim=0)
    best = p.topk(min(n_others, len(p))).indices.tolist()
    shares = None if settings is None else _shares(logits, settings)

    def candidate(i: int) -> Candidate:
        return Candidate(id=i, p=float(p[i]), share=None if shares is None else float(shares[i]))

    return Choice(
        token=candidate(token),
        rank=int((p > p[token]).sum()),
        others=tuple(candidate(i) for i in best),
    )


def _shares(logits: Tensor, settings: Settings) -> Tensor:
    """Returns the (V,) float64 probabilities under the settings; 0 for what takes no part."""
    ids, weights = shortlist(logits.unsqueeze(0), [settings])  # (1, K)
    shares = torch.zeros(len(logits), dtype=weights.dtype, device=logits.device)
    shares[ids[0]] = weights[0] / weights[0].sum()
    return shares
