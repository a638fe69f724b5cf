"""The first screen: one sentence, a few figures, and what the page checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report import scores
from pipeline.report.flow import Flow
from pipeline.report.planted import Planted

Metrics = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure with what it counts and one line of context."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A sentence that holds, or does not."""

    holds: bool
    text: str


def title(flowed: Flow, metrics: Metrics) -> str:
    """Returns the run in one sentence."""
    if not flowed.rows:
        return "Nothing has run yet"
    first, last = flowed.rows[0], flowed.rows[-1]
    start = f"{first.n_out:,} {first.stage.leaves}"
    if len(flowed.rows) == 1:
        return f"{start} so far"
    if "encode" not in metrics:
        return f"{start} became {last.n_out:,} {last.stage.leaves}"
    model = " and a language model" if "train" in metrics else ""
    comma = "," if model else " and"
    return (
        f"{start} became {last.n_out:,} documents{comma} {short(n_tokens(metrics))} tokens{model}"
    )


def n_tokens(metrics: Metrics) -> int:
    """Returns the tokens of both splits, 0 before `encode`."""
    told = metrics.get("encode", {})
    return sum(told[split]["n_tokens"] for split in ("train", "valid") if split in told)


def short(n: int) -> str:
    """Returns a large number in few characters.

    >>> short(999), short(2_345_678), short(9_000_000_000)
    ('999', '2.35 million', '9.00 billion')
    """
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if n >= size:
            return f"{n / size:.2f} {name}"
    return f"{n:,}"


def headline(flowed: Flow, metrics: Metrics, seconds: Mapping[str, float]) -> tuple[Figure, ...]:
    """Returns the figures that exist so far."""
    figures = [*_documents(flowed), *_tokens(metrics), *scores.headline(metrics), *_time(seconds)]
    return tuple(Figure(label=label, value=value, note=note) for label, value, note in figures)


def summary(metrics: Metrics) -> dict[str, float]:
    """Returns the few figures that tell one run from another: a row of `dvc exp show`.

    Those of stages that have not run are left out.
    """
    held = metrics.get("evaluate", {})
    told = {
        "n_links": metrics.get("links", {}).get("counts", {}).get("n_out"),
        "n_pages": metrics.get("extract", {}).get("counts", {}).get("n_out"),
        "n_documents": metrics.get("decontaminate", {}).get("counts", {}).get("n_out"),
        "n_tokens": n_tokens(metrics) or None,
        "heldout_bits_per_byte": held.get("heldout", {}).get("bits_per_byte"),
        "heldout_lastword_accuracy": held.get("heldout_lastword", {}).get("accuracy"),
        **_finetuned(metrics.get("finetune", {}).get("tasks", {})),
    }
    return {name: value for name, value in told.items() if value is not None}


def _finetuned(tasks: Mapping[str, Any]) -> dict[str, float]:
    """Returns each task's figures, without the ends of their intervals."""
    return {
        f"{task}_{name}": value
        for task, told in tasks.items()
        for name, value in told["figures"].items()
        if not name.endswith(("_low", "_high"))
    }


def _documents(flowed: Flow) -> list[tuple[str, str, str]]:
    if not flowed.rows:
        return []
    last, first = flowed.rows[-1], flowed.rows[0]
    share = last.n_out / first.n_out if first.n_out else 0
    return [
        (
            "documents kept",
            f"{last.n_out:,}",
            f"{share:.0%} of {first.n_out:,} {first.stage.leaves}",
        )
    ]


def _tokens(metrics: Metrics) -> list[tuple[str, str, str]]:
    told = metrics.get("encode")
    if told is None:
        return []
    per_token = told["train"]["bytes_per_token"]
    note = f"{per_token:.2f} bytes each" if per_token else ""
    return [("tokens", f"{n_tokens(metrics):,}", note)]


def _time(seconds: Mapping[str, float]) -> list[tuple[str, str, str]]:
    if not seconds:
        return []
    slowest = max(seconds, key=lambda stage: seconds[stage])
    note = f"most of it, {seconds[slowest]:,.0f} s, in {slowest}"
    return [("seconds in all stages", f"{sum(seconds.values()):,.0f}", note)]


def checks(
    flowed: Flow, found: Planted | None, n_fates: int, n_unaccounted: int
) -> tuple[Check, ...]:
    """Returns what was checked while the page was made, good or bad."""
    made = [_flow_check(flowed), _ledger_check(n_fates, n_unaccounted)]
    if found is not None:
        text = f"{found.n_caught:,} of {found.n:,} planted cases ended where they must."
        made.append(Check(holds=not found.missed, text=text))
    return tuple(made)


def _flow_check(flowed: Flow) -> Check:
    if flowed.problems:
        return Check(holds=False, text=f"The flow does not add up: {'; '.join(flowed.problems)}.")
    return Check(
        holds=True,
        text="The flow adds up: in every stage, what came in went on or was dropped.",
    )


def _ledger_check(n_fates: int, n_unaccounted: int) -> Check:
    if n_unaccounted:
        text = f"{n_unaccounted:,} of {n_fates:,} documents have no fate: a stage lost them."
        return Check(holds=False, text=text)
    text = f"Each of {n_fates:,} documents in the ledger has exactly one fate."
    return Check(holds=True, text=text)


def sea(metrics: Metrics) -> Figure:
    """Returns what the stream ends in."""
    told = metrics.get("encode")
    if told is None:
        return Figure(label="tokens", value="–", note="encode has not run")
    note = f"{told['train']['n_tokens']:,} to train on, {told['valid']['n_tokens']:,} held out"
    return Figure(label="tokens", value=f"{n_tokens(metrics):,}", note=note)
