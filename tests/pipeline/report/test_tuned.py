"""The fine-tuning table: figures beside guessing, the paper's only where `labelled` names it."""

from typing import Any

from pipeline.report import tuned

FIGURES = {"f1": 0.81234, "f1_low": 0.79, "f1_high": 0.83}
TASK: dict[str, Any] = {
    "figures": FIGURES | {"accuracy": 0.7, "accuracy_low": 0.65, "accuracy_high": 0.75},
    "majority": {"f1": 0.799, "accuracy": 0.665},
    "n_examples": {"train": 3668, "dev": 408, "test": 1725},
    "n_cut": {"train": 3, "dev": 0, "test": 1},
    "split": "test",
}
GAIN = {"gain": 0.051, "gain_low": -0.02, "gain_high": 0.122, "verdict": "not shown"}


def told(paper: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {
        "finetune": {"tasks": {"mrpc": TASK}},
        "labelled": {"paper": paper, "absent": {"race": "no mirror folder is named"}},
    }


def test_figures_stand_beside_guessing_and_the_paper() -> None:
    (group,) = tuned.tuned(told({"mrpc": {"f1": 0.823}})).groups
    assert group.title == "MRPC"
    assert group.protocol == (
        "3,668 training examples · 1,725 of split test scored · 4 too long and cut"
    )
    rows = [(each.measure, each.value, each.guess, each.paper) for each in group.scores]
    assert rows == [
        ("accuracy", "70.0 (65.0 to 75.0)", "66.5", ""),
        ("F1", "81.2 (79.0 to 83.0)", "79.9", "82.3"),
    ]


def test_paper_s_figure_is_absent_where_nothing_is_comparable() -> None:
    (group,) = tuned.tuned(told({})).groups
    assert all(each.paper == "" for each in group.scores)


def test_answers_carry_their_verdict() -> None:
    study = {"tasks": {"site": {"questions": {"pretraining": GAIN, "layer_1": GAIN}}}}
    found = tuned.tuned({"study": study}).answers
    assert [(a.task, a.question, a.gain, a.verdict) for a in found] == [
        (
            "Which site a passage is from",
            question,
            "5.1 (-2.0 to 12.2)",
            "not shown",
        )
        for question in ("pre-training, with the auxiliary loss", "pre-trained layer 1")
    ]


def test_before_any_run_all_is_empty_and_absent_tasks_have_reasons() -> None:
    assert tuned.tuned({}) == tuned.Tuned(groups=(), answers=(), absent=())
    assert tuned.tuned(told({})).absent == (("race", "no mirror folder is named"),)
