"""The default's own tasks: right labels, no leak, nothing that gives the answer away."""

from collections import Counter
from dataclasses import replace

import pytest

from model.finetune import corpus
from model.finetune.corpus import Document, Limits, Splits
from model.finetune.tasks import SPLITS, Task
from tests.model.finetune import sites

LIMITS = Limits(n_sites=4, per_document=3, max_train=60, max_scored=20)
MAX_WORDS = 40


def documents() -> list[Document]:
    train = [
        Document(doc_id=name, site=site, split=corpus.split_of(name), text=text)
        for name, site, text in sites.rows(4, 30)
    ]
    valid = [
        Document(doc_id=name, site=site, split="test", text=text)
        for name, site, text in sites.rows(4, 6, first=500)
    ]
    return train + valid


DOCUMENTS = documents()
# Without the name of a thing, which every text of its site holds.
NEUTRAL = [
    replace(each, site=each.site.replace(each.site.partition("-")[0], "x")) for each in DOCUMENTS
]
TEXTS = {each.doc_id: each.text for each in DOCUMENTS}


def made(name: str) -> tuple[Task, Splits]:
    make = {"site": corpus.site, "continuation": corpus.continuation}[name]
    found = make(corpus.passages(NEUTRAL, MAX_WORDS), LIMITS)
    assert found is not None
    return found


def owner(example_id: str) -> str:
    return example_id.partition("-")[0]


@pytest.mark.parametrize("name", ["site", "continuation"])
def test_no_document_and_no_text_is_in_two_splits(name: str) -> None:
    _, splits = made(name)
    assert all(splits[split] for split in SPLITS)
    known = {each.doc_id: each.split for each in DOCUMENTS}
    for split in SPLITS:
        assert {known[owner(each.example_id)] for each in splits[split]} == {split}
    texts = [{t for each in splits[s] for t in each.texts if t} for s in SPLITS]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]


@pytest.mark.parametrize("name", ["site", "continuation"])
def test_limits_hold(name: str) -> None:
    _, splits = made(name)
    assert len(splits["train"]) <= LIMITS.max_train
    assert max(len(splits["dev"]), len(splits["test"])) <= LIMITS.max_scored
    per_document = Counter(owner(each.example_id) for split in SPLITS for each in splits[split])
    assert max(per_document.values()) == LIMITS.per_document
    ids = [each.example_id for split in SPLITS for each in splits[split]]
    assert len(set(ids)) == len(ids)


def test_right_answer_follows_the_passage_and_the_wrong_ones_do_not() -> None:
    _, splits = made("continuation")
    for split in SPLITS:
        for each in splits[split]:
            passage, question, *answers = each.texts
            text = TEXTS[owner(each.example_id)]
            follows = [f"{passage} {answer}" in text for answer in answers]
            assert question == ""
            assert [i for i, yes in enumerate(follows) if yes] == [each.label]
            assert len(set(answers)) == corpus.N_ANSWERS
            lengths = [len(answer.split()) for answer in answers]
            right = lengths[int(each.label)]
            assert max(abs(n - right) for n in lengths) <= corpus.MAX_WORDS_APART
    assert len({each.label for each in splits["train"]}) == corpus.N_ANSWERS


def test_wrong_answers_are_of_the_same_site_where_it_has_enough() -> None:
    _, splits = made("continuation")
    site_of = {each.doc_id: each.site.partition("-")[0] for each in DOCUMENTS}
    for each in splits["train"]:
        assert all(site_of[owner(each.example_id)] in answer for answer in each.texts[2:])


def test_site_is_the_document_s_and_classes_are_equally_large() -> None:
    task, splits = made("site")
    known = {each.doc_id: each.site for each in NEUTRAL}
    for split in SPLITS:
        for each in splits[split]:
            assert task.labels[int(each.label)] == known[owner(each.example_id)]
    assert list(Counter(each.label for each in splits["train"]).values()) == [15] * 4


def test_passage_that_names_its_site_is_left_out() -> None:
    """Every text here holds the first part of its site's name."""
    assert corpus.site(corpus.passages(DOCUMENTS, MAX_WORDS), LIMITS) is None


def test_sentence_that_occurs_twice_is_in_no_example() -> None:
    again = "The old lamp by the door was lit again."
    twice = [
        Document(doc_id=each.doc_id, site=each.site, split=each.split, text=f"{again} {each.text}")
        for each in DOCUMENTS[:2]
    ]
    found = corpus.passages([*twice, *DOCUMENTS[2:]], MAX_WORDS)
    assert found
    assert not any(again in f"{each.text} {each.then}" for each in found)
    once = corpus.passages([twice[0], *DOCUMENTS[1:]], MAX_WORDS)
    assert any(again in each.text for each in once)


def test_code_and_broken_lines_are_no_sentences() -> None:
    text = "A = B + c(d[0], e[1]) - 12 * (34 + 56) / 78.\nThis line goes on and on\nand ends here."
    assert corpus.runs(text) == []


def test_one_more_document_moves_few_examples() -> None:
    name, site, text = sites.rows(1, 1, first=900)[0]
    more = Document(doc_id=name, site=site, split="test", text=text)
    limits = Limits(n_sites=4, per_document=3, max_train=10_000, max_scored=10_000)
    before, after = (
        corpus.continuation(corpus.passages(some, MAX_WORDS), limits)
        for some in (DOCUMENTS, [*DOCUMENTS, more])
    )
    assert before is not None
    assert after is not None
    ids = [{each.example_id for each in found[1]["test"]} for found in (before, after)]
    assert ids[0] < ids[1]
    assert {owner(each) for each in ids[1] - ids[0]} == {name}
    assert before[1]["train"] == after[1]["train"]


def test_corpus_without_enough_gives_no_task() -> None:
    assert corpus.site([], LIMITS) is None
    assert corpus.continuation([], LIMITS) is None
    train_only = [each for each in DOCUMENTS if each.split == "train"]
    assert corpus.continuation(corpus.passages(train_only, MAX_WORDS), LIMITS) is None
