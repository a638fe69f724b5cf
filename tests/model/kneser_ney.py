"""An n-gram language model with interpolated modified Kneser-Ney smoothing, over token ids.

The reference that the trained model has to beat on the same tokens. numpy only, so that it shares
nothing with the code it judges.

Paper: Chen and Goodman, An Empirical Study of Smoothing Techniques for Language Modeling (1998),
section 3. The highest order uses counts, every lower order the number of distinct tokens that
precede the n-gram; each order has three discounts, and order 1 is interpolated with 1 / n_vocab.
Deviation: where a text is too small to estimate the discounts, all three are .75.

Every n-gram is known by a number: its place among the sorted distinct n-grams of its order, each
written as (number of its first n - 1 tokens) * n_vocab + (last token).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order n of the model; G distinct n-grams, K distinct contexts of n - 1 tokens.

    Attributes:
        keys: (G,) sorted n-grams.
        discounted: (G,) discounted counts.
        totals: (K,) sum of the counts that follow each context.
        backoff: (K,) probability mass left to the next lower order.
    """

    keys: Ints
    discounted: Floats
    totals: Floats
    backoff: Floats


class KneserNey:
    """An n-gram model of one stream of tokens."""

    def __init__(self, tokens: npt.ArrayLike, n_vocab: int, order: int) -> None:
        """Counts all n-grams up to `order` of a stream of ids in [0, n_vocab)."""
        stream = np.asarray(tokens, dtype=np.int64)
        if len(stream) < order:
            raise ValueError(f"{len(stream)} tokens; expected at least order = {order}")
        self.n_vocab = n_vocab
        keys, firsts, numbers, counts = _number_ngrams(stream, n_vocab, order)
        contexts = [1, *(len(k) for k in keys[:-1])]
        self.orders = []
        for n in range(order):
            count = (
                counts if n == order - 1 else _preceding(numbers[n], firsts[n + 1], len(keys[n]))
            )
            self.orders.append(_order(keys[n], count, contexts[n], n_vocab))

    def probability(self, tokens: npt.ArrayLike) -> Floats:
        """Returns P(token | the up to order - 1 tokens before it) for every position."""
        stream = np.asarray(tokens, dtype=np.int64)
        p = np.full(len(stream), 1 / self.n_vocab)
        known = np.zeros(len(stream), dtype=np.int64)  # number of the n-gram ending here, or -1
        for n, order in enumerate(self.orders):
            # The context of position i is the (n)-gram that ends at i - 1.
            context = np.zeros_like(known) if n == 0 else np.concatenate(([-1], known[:-1]))
            known, p = order_probability(order, context, stream, p, self.n_vocab)
        return p

    def nats(self, tokens: npt.ArrayLike) -> float:
        """Returns the total negative log-likelihood of a stream."""
        return float(-np.log(self.probability(tokens)).sum())


def order_probability(
    order: Order, context: Ints, tokens: Ints, lower: Floats, n_vocab: int
) -> tuple[Ints, Floats]:
    """Returns the numbers of the n-grams (-1: unseen) and their interpolated probabilities."""
    key = np.where(context >= 0, context * n_vocab + tokens, -1)
    place = np.searchsorted(order.keys, key).clip(max=len(order.keys) - 1)
    seen = order.keys[place] == key
    total = np.where(context >= 0, order.totals[context], 0.0)
    use = total > 0
    share = np.where(seen, order.discounted[place], 0.0) / np.where(use, total, 1.0)
    p = np.where(use, share + order.backoff[context] * lower, lower)
    return np.where(seen, place, -1), p


def discounts(counts: npt.ArrayLike) -> tuple[float, float, float]:
    """Returns what is taken from a count of 1, of 2, and of 3 or more.

    >>> [round(d, 3) for d in discounts([1, 1, 1, 1, 2, 2, 3, 4])]
    [0.5, 1.25, 1.0]
    >>> discounts([1, 1, 5])
    (0.75, 0.75, 0.75)
    """
    of = np.bincount(np.minimum(np.asarray(counts, dtype=np.int64), 5), minlength=6).tolist()
    if 0 in of[1:5]:
        return 0.75, 0.75, 0.75
    y = of[1] / (of[1] + 2 * of[2])
    return 1 - 2 * y * of[2] / of[1], 2 - 3 * y * of[3] / of[2], 3 - 4 * y * of[4] / of[3]


def _number_ngrams(
    stream: Ints, n_vocab: int, order: int
) -> tuple[list[Ints], list[Ints], list[Ints], Ints]:
    """Returns per order: distinct n-grams, where each first ends, the number at each position.

    The positions of order n start at token n - 1. The last item counts the highest order.
    """
    keys, firsts, numbers = [], [], []
    context = np.zeros(len(stream), dtype=np.int64)
    result: tuple[Any, ...] = ()
    for n in range(order):
        result = np.unique(
            context * n_vocab + stream[n:],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        keys.append(result[0])
        firsts.append(result[1])
        numbers.append(result[2])
        context = result[2][:-1]
    return keys, firsts, numbers, result[3]


def _preceding(numbers: Ints, longer_firsts: Ints, n_keys: int) -> Ints:
    """Returns for each n-gram the number of distinct tokens before it.

    Position j of the order above ends at the same token as position j + 1 of this one.
    """
    return np.bincount(numbers[longer_firsts + 1], minlength=n_keys)


def _order(keys: Ints, counts: Ints, n_contexts: int, n_vocab: int) -> Order:
    context = keys // n_vocab
    totals = np.bincount(context, weights=counts, minlength=n_contexts)
    taken = np.array([0.0, *discounts(counts[counts > 0])])[np.minimum(counts, 3)]
    lost = np.bincount(context, weights=taken, minlength=n_contexts)
    backoff = lost / np.where(totals > 0, totals, 1.0)
    return Order(keys=keys, discounted=counts - taken, totals=totals, backoff=backoff)
