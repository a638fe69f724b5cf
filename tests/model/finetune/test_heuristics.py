"""Zero-shot heuristics: beside a slow reading of every sentence, and blind to scored labels."""

from dataclasses import replace

import numpy as np
import pytest

from model.finetune import heuristics
from model.finetune.published import TASKS
from model.finetune.tasks import Example, Split, Task
from model.score import Scorer
from pipeline.tokens.bytelevel import ByteLevelCodec
from tests.model.finetune import small_tuning
from tests.model.small_models import random_model, slow_logprobs

CODER = ByteLevelCodec([], "00")
N_VOCAB = 257
EOT = 256
MODEL = random_model(n_vocab=N_VOCAB, n_ctx=64)
SCORER = Scorer(MODEL, EOT)
BY_NAME = {each.task.name: each.task for each in TASKS}


def slow(context: str, continuation: str) -> list[float]:
    ids = CODER.encode(continuation)
    tokens = [EOT, *CODER.encode(context).tolist(), *ids.tolist()]
    return slow_logprobs(MODEL, tokens, len(ids))


def predict(task: Task, examples: dict[Split, list[Example]]) -> list[float]:
    return heuristics.predict(task, examples, SCORER, CODER).tolist()


def test_answer_with_the_highest_mean_is_chosen() -> None:
    task = small_tuning.task("choice")
    examples = small_tuning.examples("choice", n=2, n_dev=12)
    expected = []
    for each in examples["dev"]:
        document, question, *answers = each.texts
        means = [np.mean(slow(f"{document} {question}", f" {answer}")) for answer in answers]
        expected.append(float(np.argmax(means)))
    assert predict(task, examples) == expected
    assert len(set(expected)) > 1


def test_length_of_an_answer_does_not_count_against_it() -> None:
    """A sum would choose the shortest answer of a model that finds all bytes alike."""
    example = Example(example_id="0", texts=("It is", "", "a", "a" * 9, "a" * 5), label=0)
    means = [np.mean(slow("It is", f" {answer}")) for answer in example.texts[2:]]
    totals = [np.sum(slow("It is", f" {answer}")) for answer in example.texts[2:]]
    found = predict(small_tuning.task("choice"), {"dev": [example]})
    assert found == [np.argmax(means)]
    assert np.argmax(totals) != np.argmax(means)


def test_feelings_follow_the_text_and_very() -> None:
    examples: dict[Split, list[Example]] = {"dev": small_tuning.opinions(12, seed=3)}
    expected = [
        float(np.sum(slow(f"{each.texts[0]} very", " positive")))
        > float(np.sum(slow(f"{each.texts[0]} very", " negative")))
        for each in examples["dev"]
    ]
    assert predict(BY_NAME["sst2"], examples) == [float(each) for each in expected]


def test_sentences_are_judged_by_a_threshold_of_the_training_split() -> None:
    examples: dict[Split, list[Example]] = {
        "train": small_tuning.opinions(30, seed=1),
        "dev": small_tuning.opinions(20, seed=2),
    }
    values = [np.mean(slow("", each.texts[0])) for each in examples["train"]]
    limit = heuristics.threshold(values, [each.label for each in examples["train"]])
    expected = [float(np.mean(slow("", each.texts[0])) > limit) for each in examples["dev"]]
    assert predict(BY_NAME["cola"], examples) == expected
    turned = [replace(each, label=1 - each.label) for each in examples["dev"]]
    assert predict(BY_NAME["cola"], {**examples, "dev": turned}) == expected


def test_threshold_separates_what_can_be_separated() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=3000)  # more than are tried
    labels = (values > 0.3).astype(float)
    assert heuristics.threshold(values, labels) == pytest.approx(0.3, abs=0.02)
    assert heuristics.threshold([1.0, 1.0], [0, 1]) == 1.0


def test_answer_longer_than_the_window_loses_its_end() -> None:
    example = Example(example_id="0", texts=("It is", "", "a" * 200, "bc"), label=0)
    assert len(predict(small_tuning.task("choice"), {"dev": [example]})) == 1


def test_tasks_without_a_heuristic_are_known() -> None:
    known = {name for name, task in BY_NAME.items() if heuristics.is_known(task)}
    assert known == {"sst2", "cola", "race", "story_cloze", "mctest"}
