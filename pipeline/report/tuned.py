"""The fine-tuning table: what `finetune` measured, beside guessing and the paper; the study.

`labelled` decides what is comparable: it names the paper's figure of a task only where split and
bytes are the paper's. Here all of it is only put into words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report.scores import in_order

Metrics = Mapping[str, Mapping[str, Any]]

_TITLES = {
    "site": "Which site a passage is from",
    "continuation": "Which sentence follows",
    "sst2": "SST-2",
    "cola": "CoLA",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "qqp": "QQP",
    "rte": "RTE",
    "mnli": "MultiNLI",
    "qnli": "QNLI",
    "snli": "SNLI",
    "scitail": "SciTail",
    "sick": "SICK",
    "story_cloze": "Story Cloze",
    "race": "RACE",
    "mctest": "MCTest",
}
_MEASURES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}
_QUESTIONS = {
    "pretraining": "pre-training, with the auxiliary loss",
    "pretraining_without_lm": "pre-training, without it",
    "lm": "the auxiliary loss, after pre-training",
    "lm_without_pretraining": "the auxiliary loss, without pre-training",
    "embeddings": "pre-trained embeddings alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One figure, ready to be shown; `paper` is empty where nothing is comparable."""

    measure: str
    value: str
    guess: str
    paper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The figures of one task."""

    title: str
    protocol: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the study says of one question for one task."""

    task: str
    question: str
    gain: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was measured, what the study shows, and which tasks were absent and why."""

    groups: tuple[Group, ...]
    answers: tuple[Answer, ...]
    absent: tuple[tuple[str, str], ...]


def tuned(metrics: Metrics) -> Tuned:
    """Returns the tables from `metrics/finetune.json`, `labelled.json` and `study.json`."""
    measured = metrics.get("finetune", {}).get("tasks", {})
    labelled = metrics.get("labelled", {})
    order = in_order(measured, _TITLES)
    paper = labelled.get("paper", {})
    return Tuned(
        groups=tuple(_group(name, measured[name], paper.get(name, {})) for name in order),
        answers=tuple(_answers(metrics.get("study", {}).get("tasks", {}))),
        absent=tuple(sorted(labelled.get("absent", {}).items())),
    )


def _group(name: str, told: Mapping[str, Any], paper: Mapping[str, float]) -> Group:
    figures = told["figures"]
    return Group(
        title=_TITLES.get(name, name),
        protocol=" · ".join(_words(told)),
        scores=tuple(
            Score(
                measure=_MEASURES[measure],
                value=_with_interval(figures, measure),
                guess=percent(told["majority"][measure]),
                paper=percent(paper[measure]) if measure in paper else "",
            )
            for measure in _MEASURES
            if measure in figures
        ),
    )


def _words(told: Mapping[str, Any]) -> Iterator[str]:
    n, split = told["n_examples"], told["split"]
    yield f"{n['train']:,} training examples"
    yield f"{n[split]:,} of split {split} scored"
    n_cut = sum(told["n_cut"].values())
    if n_cut:
        yield f"{n_cut:,} too long and cut"


def _answers(studied: Mapping[str, Any]) -> Iterator[Answer]:
    for name in sorted(studied):
        for question, told in studied[name]["questions"].items():
            yield Answer(
                task=_TITLES.get(name, name),
                question=_QUESTIONS.get(question, f"pre-trained {question.replace('_', ' ')}"),
                gain=_with_interval(told, "gain"),
                verdict=told["verdict"],
            )


def _with_interval(figures: Mapping[str, float], name: str) -> str:
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    return f"{percent(figures[name])} ({100 * low:.1f} to {100 * high:.1f})"


def percent(value: float) -> str:
    r"""Returns a fraction or coefficient times 100, as papers print both.

    >>> percent(0.913)
    '91.3'
    """
    return f"{100 * value:.1f}"
