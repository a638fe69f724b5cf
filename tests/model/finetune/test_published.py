"""The registry: the paper's twelve tasks and two stand-ins, each whole."""

import re
from typing import get_args

import pytest

from model.finetune import readers
from model.finetune.published import TASKS, UNKNOWN, Form, Published

TWELVE = {
    *("snli", "mnli", "qnli", "scitail", "rte", "race", "story_cloze"),
    *("mrpc", "qqp", "stsb", "sst2", "cola"),
}


def test_the_paper_s_twelve_tasks_and_two_stand_ins_are_known() -> None:
    names = [each.task.name for each in TASKS]
    assert len(names) == len(set(names))
    assert set(names) == {*TWELVE, "sick", "mctest"}
    assert {each.task.name for each in TASKS if each.task.paper} == TWELVE
    forms = set(get_args(Form))
    assert {each.form for each in TASKS} == forms == {*readers._READERS, "mctest"}


@pytest.mark.parametrize("known", TASKS, ids=lambda known: known.task.name)
def test_task_is_whole(known: Published) -> None:
    splits = {*known.parts, *(["dev"] if known.n_dev else [])}
    assert {"train", "dev", known.task.scored_split} <= splits
    assert known.task.scored_split != "train"
    assert set(known.task.paper) <= {known.task.metrics[0]}
    assert all(0 < value < 1 for value in known.task.paper.values())
    assert known.url.startswith("https://")
    assert known.licence
    for part in known.parts.values():
        assert part.n > 0
        for path, digest in part.files:
            assert digest == UNKNOWN or re.fullmatch("[0-9a-f]{64}", digest)
            assert not path.startswith("/")


def test_figure_of_a_hidden_split_is_never_comparable() -> None:
    for each in TASKS:
        assert each.task.comparable == (each.task.paper_split == "test" and bool(each.task.paper))
