"""What a measured ladder says: laws, the prediction of its largest size, lines through the scores.

Decisions:
- The floor c holds what size cannot buy at this number of tokens: the text's entropy and what too
  few tokens cost. It is no estimate of the entropy alone.
- Intervals of the law: 95 % bootstrap over documents (in pairs: the same ones for all sizes) and,
  where a size has several seeds, over seeds. What the seeds do is pooled over all sizes, because
  two or three seeds of one size say little. How far the law itself is wrong is in no interval:
  that is what the prediction of the largest size is for.
- Scores are lines in log10 N, perplexities after a logarithm; Student's t over all models.

Legend: S sizes, K seeds, D documents, R resamples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.capacity import fits
from model.capacity.fits import Floats
from model.capacity.ladder import SPLITS, Measured
from model.tasks.results import HIGH, LOW, N_RESAMPLES, rounded

_DRAWN = 25  # points of the law that are written down to be drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What was measured, as arrays.

    Attributes:
        counts: By name of `COUNTS` (S,) parameters.
        nats: By split (S, K, D) sums over documents; K seeds.
        tokens: By split (D,) tokens of these documents.
        scores: By protocol and figure (S, K).
    """

    counts: dict[str, Floats]
    nats: dict[str, Floats]
    tokens: dict[str, Floats]
    scores: dict[str, dict[str, Floats]]

    def losses(self, split: str) -> Floats:
        """Returns (S, K) nats per token."""
        found: Floats = self.nats[split].sum(-1) / self.tokens[split].sum()
        return found


def grid_of(measured: Sequence[Measured], tokens: Mapping[str, Floats], n_seeds: int) -> Grid:
    """Returns the models' figures as arrays; scores that a model lacks are left out for all."""
    models = [measured[i : i + n_seeds] for i in range(0, len(measured), n_seeds)]
    first = measured[0].scores
    return Grid(
        counts={
            "non_embedding": np.array([each[0].n_non_embedding for each in models], np.float64),
            "total": np.array([each[0].n_parameters for each in models], np.float64),
        },
        nats={
            split: np.array([[one.nats[split] for one in each] for each in models])
            for split in tokens
        },
        tokens=dict(tokens),
        scores={
            protocol: {
                name: np.array([[one.scores[protocol][name] for one in each] for each in models])
                for name in first[protocol]
                if is_score(name) and all(name in each.scores[protocol] for each in measured)
            }
            for protocol in first
        },
    )


def is_score(name: str) -> bool:
    """Tells a score from a count and from an end of an interval.

    >>> [name for name in ("accuracy", "accuracy_low", "n", "n_tokens") if is_score(name)]
    ['accuracy']
    """
    return name != "n" and not name.startswith("n_") and not name.endswith(("_low", "_high"))


def figures(grid: Grid, n_tokens: int) -> dict[str, Any]:
    """Returns fits, the prediction of the largest size, and lines through the scores."""
    draws = {split: resampled(grid, split) for split in SPLITS}
    laws, predictions = {}, {}
    for split in SPLITS:
        point = grid.losses(split).mean(axis=1)
        about = {"unit": "nats per token", "n_tokens": n_tokens}
        laws[f"{split}_loss"] = {
            kind: {**about, "parameters": kind, **_law(counts, point, draws[split])}
            for kind, counts in grid.counts.items()
        }
        predictions[f"{split}_loss"] = {
            kind: _prediction(counts, point, draws[split]) for kind, counts in grid.counts.items()
        }
    return {
        "interval": _interval(grid),
        "fit": laws["valid_loss"]["non_embedding"],
        "fits": laws,
        "curve": _curve(grid.counts["non_embedding"], grid.losses("valid"), draws["valid"]),
        "predictions": predictions,
        "scores": {
            protocol: {name: _line(grid, name, values) for name, values in each.items()}
            for protocol, each in grid.scores.items()
        },
    }


def resampled(grid: Grid, split: str, n_draws: int = N_RESAMPLES) -> Floats:
    """Returns (R, S) losses as other documents and other seeds would have given them."""
    nats, tokens = grid.nats[split], grid.tokens[split]
    n_sizes, n_seeds, n_documents = nats.shape
    # residuals of K seeds about their mean are too small by sqrt((K - 1) / K)
    left = _residuals(grid.losses(split)) * math.sqrt(n_seeds / max(n_seeds - 1, 1))
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(n_draws):
        picks = np.bincount(rng.integers(n_documents, size=n_documents), minlength=n_documents)
        noise = rng.choice(left.ravel(), (n_sizes, n_seeds)).mean(axis=1)
        rows.append((nats @ picks).mean(axis=1) / (tokens @ picks) + noise)
    return np.stack(rows)


def _residuals(losses: Floats) -> Floats:
    """Returns (S, K) how far each seed is from its size's mean."""
    left: Floats = losses - losses.mean(axis=1, keepdims=True)
    return left


def _interval(grid: Grid) -> dict[str, Any]:
    """Returns what the intervals of laws and predictions hold, and how far one seed moves a loss.

    A `max_relative_error` of a law, times the loss, far above `seed_noise` says that the law itself
    is wrong.
    """
    n_sizes, n_seeds = grid.losses("valid").shape
    level = rounded(HIGH - LOW)
    if n_seeds == 1:
        return {
            "level": level,
            "method": "bootstrap over documents; one seed: its noise is unknown",
        }
    noise = {
        f"{split}_loss": rounded(
            math.sqrt((_residuals(grid.losses(split)) ** 2).sum() / n_sizes / (n_seeds - 1))
        )
        for split in SPLITS
    }
    return {"level": level, "method": "bootstrap over documents and seeds", "seed_noise": noise}


def _law(counts: Floats, losses: Floats, draws: Floats) -> dict[str, Any]:
    """Returns the law through losses with its intervals, and how well it goes through them."""
    best, spread = fits.laws(counts, losses[np.newaxis]), fits.laws(counts, draws)
    told: dict[str, Any] = {
        name: rounded(value[0]) for name, value in zip(best._fields, best, strict=True)
    }
    fitted = np.array([best.at(n)[0] for n in counts])
    told["interval"] = {
        name: ends(value) for name, value in zip(spread._fields, spread, strict=True)
    }
    told["max_relative_error"] = rounded(np.abs(fitted / losses - 1).max())
    told["degrees_of_freedom"] = len(counts) - fits.N_PARAMETERS
    told["at_bound"] = [
        name
        for name, bound in (("c", best.c[0] == 0), ("alpha", _at_bound(best.alpha[0])))
        if bound
    ]
    return told


def _curve(counts: Floats, losses: Floats, draws: Floats) -> list[dict[str, Any]]:
    """Returns the law of `fit` from the smallest size to the largest, with its interval at each."""
    best = fits.laws(counts, losses.mean(axis=1)[np.newaxis])
    spread = fits.laws(counts, draws)
    return [
        {"n_parameters": n, "loss": rounded(best.at(n)[0]), "interval": ends(spread.at(n))}
        for n in map(round, np.geomspace(counts[0], counts[-1], _DRAWN).tolist())
    ]


def _at_bound(alpha: float) -> bool:
    return bool(np.isclose(alpha, fits.ALPHAS).any())


def _prediction(counts: Floats, losses: Floats, draws: Floats) -> dict[str, Any]:
    """Returns the largest size's loss as the others foretell it, beside the truth."""
    n_left = len(counts) - 1
    if n_left < fits.N_PARAMETERS:
        return {"absent": f"{n_left} smaller sizes; a law of 3 parameters takes 3 or more"}
    foretold = fits.laws(counts[:-1], losses[np.newaxis, :-1]).at(counts[-1])[0]
    spread = fits.laws(counts[:-1], draws[:, :-1]).at(counts[-1])
    errors = ends(spread - draws[:, -1])
    return {
        "n_parameters": int(counts[-1]),
        "from_sizes": n_left,
        "degrees_of_freedom": n_left - fits.N_PARAMETERS,
        "predicted": rounded(foretold),
        "predicted_interval": ends(spread),
        "measured": rounded(losses[-1]),
        "measured_interval": ends(draws[:, -1]),
        "error": rounded(foretold - losses[-1]),
        "error_interval": errors,
        "within": errors[0] <= 0 <= errors[1],
    }


def _line(grid: Grid, name: str, values: Floats) -> dict[str, Any]:
    """Returns a score's line in log10 of each count of parameters."""
    scale = "ln" if name.startswith("perplexity") else "linear"
    y = (np.log(values) if scale == "ln" else values).ravel()
    told: dict[str, Any] = {"scale": scale}
    for kind, counts in grid.counts.items():
        line = fits.line(np.repeat(np.log10(counts), values.shape[1]), y)
        told[kind] = {
            "per_decade": rounded(line.slope),
            "interval": [rounded(line.slope_low), rounded(line.slope_high)],
            "at_largest": rounded(line.intercept + line.slope * math.log10(counts[-1])),
        }
    return told


def ends(values: Floats) -> list[float]:
    """Returns the 95 % interval of (R,) resampled figures."""
    return [rounded(end) for end in np.quantile(values, [LOW, HIGH])]
