"""How long a run takes and how good it gets, before it is begun.

Two laws can say the loss:

    the run's own    L(N) = a N^-alpha + c, fitted by the stage `scaling` on this corpus and
                     tokenizer, for the number of tokens that it was fitted with
    published        L(N, D) = E + A / N^alpha + B / D^beta

Paper: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", section 3.3, with the
constants of Besiroglu et al. 2024, "Chinchilla Scaling: A replication attempt", who fitted the
same points again and found the published ones not to fit them. It holds for their web text and
their tokenizer, so it is an order and no promise; outside of the sizes that it was fitted on it
says nothing (the default's 2.9 million parameters would "reach" 16 nats of a vocabulary worth 9).
Paper: Muennighoff et al. 2023, "Scaling Data-Constrained Language Models", section 3.1, for tokens
that are read again: U (1 + R* (1 - exp(-R / R*))) tokens' worth for U tokens repeated R times,
R* = 15.39.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

REPEATS = 15.39  # R*
# What the published law was fitted on (Hoffmann et al. 2022, section 3): parameters, tokens.
SIZES = (70e6, 16e9)
TOKENS = (5e9, 500e9)


class Law(NamedTuple):
    """Constants of the published law; L in nats per token."""

    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, n_parameters: float, n_tokens: float) -> float:
        """Returns nats per token.

        >>> round(CHINCHILLA.loss(70e9, 1.4e12), 2)
        1.97
        """
        by_size: float = self.a / n_parameters**self.alpha
        by_tokens: float = self.b / n_tokens**self.beta
        return self.e + by_size + by_tokens

    def best_tokens(self, n_parameters: float) -> float:
        """Returns the tokens at which more of them help as much as a larger model would.

        Paper: Hoffmann et al. 2022, equation 4, solved for the tokens.

        >>> round(CHINCHILLA.best_tokens(70e9) / 70e9)
        18
        """
        gain = self.alpha * self.a / n_parameters**self.alpha
        return float((self.beta * self.b / gain) ** (1 / self.beta))


CHINCHILLA = Law(e=1.8172, a=482.01, alpha=0.3478, b=2085.43, beta=0.3658)


def worth(n_unique: float, n_tokens: float) -> float:
    """Returns how many new tokens' worth the tokens of a run are that reads a corpus again.

    >>> worth(1e9, 5e8)
    500000000.0
    >>> round(worth(1e9, 4e9) / 1e9, 2), round(worth(1e9, 1e11) / 1e9, 2)
    (3.73, 16.37)
    """
    if n_tokens <= n_unique:
        return float(n_tokens)
    repeats = n_tokens / n_unique - 1
    return n_unique * (1 + REPEATS * (1 - math.exp(-repeats / REPEATS)))


class Forecast(NamedTuple):
    """A predicted loss.

    Attributes:
        nats_per_token: None where no law holds.
        law: which, and for what.
    """

    nats_per_token: float | None
    law: str


def loss(n_parameters: int, n_tokens: int, n_unique: int | None) -> Forecast:
    """Returns what the published law says.

    Args:
        n_parameters: all of them.
        n_tokens: that are read.
        n_unique: tokens of the corpus; None: none is read twice.
    """
    counted = worth(n_unique or n_tokens, n_tokens)
    told = "Hoffmann et al. 2022, constants of Besiroglu et al. 2024; for their text and tokenizer"
    if not (SIZES[0] <= n_parameters <= SIZES[1] and TOKENS[0] <= counted <= TOKENS[1]):
        return Forecast(None, f"out of the range of the published law ({told}); the stage scaling")
    return Forecast(CHINCHILLA.loss(n_parameters, counted), told)


def own_loss(fitted: Path, n_parameters: int, n_tokens: int) -> Forecast | None:
    """Returns what the law that the stage `scaling` fitted says, or None where there is none.

    Args:
        fitted: `metrics/scaling.json`.
        n_parameters: without the tables, which the law is a function of.
        n_tokens: that are read.

    Raises:
        ValueError: the file holds no such law.
    """
    if not fitted.is_file():
        return None
    fit: dict[str, Any] = json.loads(fitted.read_bytes()).get("fit", {})
    wrong = [key for key in ("a", "alpha", "c", "n_tokens") if not _is_number(fit.get(key))]
    if wrong or fit.get("parameters") != "non_embedding":
        raise ValueError(
            f"{fitted}: fit.{wrong[0] if wrong else 'parameters'} is not usable; expected a number "
            "(`parameters`: non_embedding); run the stage scaling again"
        )
    told = f"{fitted}, fitted with {fit['n_tokens']:,} tokens"
    if not 0.9 <= n_tokens / fit["n_tokens"] <= 1.1:
        told += f"; this run reads {n_tokens:,}, of which it says nothing"
        return Forecast(None, told)
    return Forecast(fit["a"] * n_parameters ** -fit["alpha"] + fit["c"], told)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
