"""Lineage of a spike: where the training loss rose, and the documents that these steps read.

    rise = x - median(the N_BEFORE logged losses before x)
    deviation = 1.4826 median(|each of them - the one before it|) / sqrt(2)    sigma, if normal
    spike: rise >= MIN_DEVIATIONS x deviation

Decisions:
- Medians, not mean and standard deviation: an earlier spike among the losses before does not hide
  the next one. Differences of neighbours: how fast the loss falls does not count as noise.
- The largest rise is shown also where it is no spike, and called what it is: one batch has harder
  text than another, and its documents say so.
- Only logged steps are judged. What training itself left out (`train.on_bad_step: skip`) it judged
  at every step, and it is listed beside.
- The curve counts steps done, the ledger from 0: what is logged after step 20 is of `--step 19`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Protocol

from pipeline.report import gallery
from pipeline.report.figures import Curve, Points
from pipeline.store.ledger import Ledger

N_BEFORE = 20  # logged losses that a rise is measured against (choice: the default logs 75)
MIN_DEVIATIONS = 6.0  # choice: normal noise got there once in 5,400 logged losses (simulated)
N_LEFT_OUT = 5  # steps that training left out, shown with their documents
N_DOCUMENTS = 20  # of a step, those with the most tokens

_SIGMA = 1.4826 / math.sqrt(2)  # of normal noise, over the median of its neighbours' differences
_OVERFLOW = "overflow"  # how fp16's loss scale is found: no fault of the text


class Training(Protocol):
    """Who knows what the steps of a training run read."""

    def documents_of(self, losses: Points, steps: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
        """Returns tokens by document for those steps, counted from 0, of which it is known.

        Args:
            losses: The logged training losses, which tell the run.
            steps: Counted from 0.
        """

    def left_out(self, losses: Points) -> Mapping[int, str] | None:
        """Returns the steps that did not change the weights, and why; None if nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """A logged loss above the ones before it.

    Attributes:
        done: Steps done when it was logged.
        loss: Nats per token.
        height: Above the median before it, nats per token.
        deviations: The same, in robust standard deviations of the losses before.
    """

    done: int
    loss: float
    height: float
    deviations: float

    @property
    def is_spike(self) -> bool:
        """Whether it is more than noise."""
        return self.deviations >= MIN_DEVIATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A document that a step read."""

    url: str
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A step, why it is shown, and what it read, the most tokens first.

    Attributes:
        step: Counted from 0, as `stages.ledger --step` does.
        why: In a few words.
        documents: At most `N_DOCUMENTS`; none where nobody knows.
        n_documents: How many it read.
    """

    step: int
    why: str
    documents: tuple[Read, ...]
    n_documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What is told of a training's bad moments.

    Attributes:
        told: Whether there is a spike, in a sentence.
        left_out: What training itself left out, in a sentence; "" for nothing.
        moments: The steps to look at.
    """

    told: str
    left_out: str
    moments: tuple[Moment, ...]


def lineage(
    curves: Mapping[str, Curve], told: Mapping[str, Any], training: Training, opened: Ledger
) -> Lineage | None:
    """Returns the bad moments of a training run, None without its losses.

    Args:
        curves: Of the run, with `train/loss`.
        told: `metrics/train.json`.
        training: Answers what a step read.
        opened: The ledger, for the documents' URLs.
    """
    if "train/loss" not in curves:
        return None
    losses = curves["train/loss"].points
    rise = largest_rise(losses)
    n_left_out = told.get("skipped_steps", 0)
    faults = training.left_out(losses) if n_left_out else {}
    why = dict(_why(rise, faults or {}))
    return Lineage(
        told=_verdict(rise, len(losses)),
        left_out=_left_out(n_left_out, faults),
        moments=_moments(why, training.documents_of(losses, list(why)), opened),
    )


def largest_rise(losses: Points, n_before: int = N_BEFORE) -> Rise | None:
    """Returns the logged loss that lies highest above the median before it, None if none does.

    >>> found = largest_rise(((1, 2.5), (2, 2.0), (3, 2.0), (4, 2.0), (5, 2.5)), n_before=4)
    >>> (found.done, found.height, found.deviations) if found else None
    (5, 0.5, inf)
    """
    rises = [_rise(losses[i - n_before : i], losses[i]) for i in range(n_before, len(losses))]
    upward = [rise for rise in rises if rise.height > 0]
    return max(upward, key=lambda rise: rise.height, default=None)


def _rise(before: Points, now: tuple[int, float]) -> Rise:
    losses = [loss for _, loss in before]
    middle = median(losses)
    deviation = _SIGMA * median(abs(b - a) for a, b in pairwise(losses))
    height = now[1] - middle
    deviations = height / deviation if deviation else math.inf
    return Rise(done=now[0], loss=now[1], height=height, deviations=deviations)


def _verdict(rise: Rise | None, n_logged: int) -> str:
    if n_logged <= N_BEFORE:
        return f"No verdict: {n_logged:,} logged losses; a spike is told from {N_BEFORE} before it."
    if rise is None:
        return f"No spike: no logged loss lies above the median of the {N_BEFORE} before it."
    above = f"{rise.height:.3f} nats above the median of the {N_BEFORE} logged losses before it"
    scatter = f"{rise.deviations:.1f} times their scatter"
    if rise.is_spike:
        return f"A spike: after step {rise.done:,} the loss lay {above}, {scatter}."
    return (
        f"No spike. The largest rise, after step {rise.done:,}, lay {above}: {scatter}, where a "
        f"spike has {MIN_DEVIATIONS:g} or more."
    )


def _left_out(n: int, faults: Mapping[int, str] | None) -> str:
    if not n:
        return ""
    if faults is None:
        return f"Training left out {n:,} steps; its checkpoints, which name them, are gone."
    kinds = list(faults.values())
    counted = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in sorted(set(kinds)))
    return f"Training left out {n:,} steps: {counted}."


def _why(rise: Rise | None, faults: Mapping[int, str]) -> Iterable[tuple[int, str]]:
    """Yields steps counted from 0 with why they are shown."""
    if rise is not None:
        kind = "spike" if rise.is_spike else "largest rise"
        yield rise.done - 1, f"{kind}, loss {rise.loss:.3f}"
    named = [(step, kind) for step, kind in sorted(faults.items()) if kind != _OVERFLOW]
    yield from ((step, f"left out: {kind}") for step, kind in named[:N_LEFT_OUT])


def _moments(
    why: Mapping[int, str], read: Mapping[int, Mapping[str, int]], opened: Ledger
) -> tuple[Moment, ...]:
    ranked = {
        step: sorted(told.items(), key=lambda item: (-item[1], item[0]))
        for step, told in read.items()
    }
    shown = {step: each[:N_DOCUMENTS] for step, each in ranked.items()}
    urls = gallery.urls_of(opened, [doc_id for each in shown.values() for doc_id, _ in each])
    return tuple(
        Moment(
            step=step,
            why=told,
            documents=tuple(_read(doc_id, n, urls) for doc_id, n in shown.get(step, ())),
            n_documents=len(ranked.get(step, ())),
        )
        for step, told in why.items()
    )


def _read(doc_id: str, n_tokens: int, urls: Mapping[str, str]) -> Read:
    named = urls.get(doc_id) or f"document {doc_id}"
    return Read(url=gallery.shorten(named, gallery.LABEL_CHARS), n_tokens=n_tokens)
