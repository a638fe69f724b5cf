"""Published labelled files: as they are read, as `docs/evalsets.md` quotes them, and refused."""

import re
from pathlib import Path

import pytest

from model.finetune import readers
from model.finetune.published import TASKS, UNKNOWN, Form
from model.finetune.tasks import MIN_CHOICE_SEGMENTS, SEGMENTS
from pipeline.engine.identity import ROOT

PAGE = (ROOT / "docs" / "evalsets.md").read_text(encoding="utf-8")
QUOTED = dict(re.findall(r"^### (\w+)\n[^#]*?^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
NOT_AT_HAND = {
    each.task.name for each in TASKS if UNKNOWN in dict(each.parts["train"].files).values()
}

MRPC = (
    "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    '1\t12\t34\tHe said "no".\t"No", he said.\r\n'
)
STSB = "main-news\tMSRpar\t2012test\t0001\t3.800\tA lamp is lit.\tHe lit a lamp.\n"
STORY = (
    "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,"
    "RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2,AnswerRightEnding\n"
    'a-1,It rained.,"The river, of course, rose.",They ran.,They got home.,'
    "They dried.,They fell.,2\n"
)
STORIES = "\t".join(
    ["mc.0", "Author: 1", r"Ann lit a lamp.\newlineIt was\tabred."]
    + [cell for i in range(4) for cell in (f"one: What {i}?", "A a.", "B b.", "C c.", "D d.")]
)


def test_page_quotes_three_lines_of_each_task_that_was_not_at_hand() -> None:
    assert set(QUOTED) == NOT_AT_HAND
    assert all(len(quoted.splitlines()) == 3 for quoted in QUOTED.values())
    assert all(f"{name}: not run on the" in PAGE for name in ("MNLI", "QQP", "QNLI", "SNLI"))


@pytest.mark.parametrize(
    ("form", "texts", "labels"),
    [
        ("mnli", "Conceptually cream skimming", [1, 0]),
        ("qqp", "Why are African-Americans so beautiful?", [0, 1]),
        ("qnli", "When did the third Digimon series begin?", [1, 1]),
        ("snli", "A person on a horse jumps", [1, 1]),
        ("scitail", "Pluto rotates once on its axis", [0, 1, 1]),
        ("race", "My husband is a born shopper.", [2, 0, 3]),
    ],
)
def test_quoted_lines_are_read(form: Form, texts: str, labels: list[int]) -> None:
    found = readers.read(form, [QUOTED[form]])
    assert found[0].texts[0].startswith(texts)
    assert [each.label for each in found] == labels
    (known,) = (each.task for each in TASKS if each.form == form)
    n_texts = SEGMENTS.get(known.kind, MIN_CHOICE_SEGMENTS + 2)
    assert all(len(each.texts) == n_texts for each in found)


def test_byte_order_mark_and_quotation_marks_are_no_part_of_the_format() -> None:
    (example,) = readers.read("mrpc", [MRPC])
    assert example.texts == ('He said "no".', '"No", he said.')
    assert (example.label, example.example_id) == (1, "000000-12-34")


def test_story_is_one_document_without_a_question() -> None:
    (example,) = readers.read("story_cloze", [STORY])
    assert example.texts == (
        "It rained. The river, of course, rose. They ran. They got home.",
        "",
        "They dried.",
        "They fell.",
    )
    assert example.label == 1


def test_statements_and_answers_are_joined() -> None:
    found = readers.read("mctest", [STORIES + "\r\n", "A\tD\tB\tC\r\n"] * 2)
    assert [each.label for each in found] == [0, 3, 1, 2] * 2
    assert found[0].texts == (
        "Ann lit a lamp.\nIt was\tred.",
        "What 0?",
        "A a.",
        "B b.",
        "C c.",
        "D d.",
    )
    assert len({each.example_id for each in found}) == 8  # both parts name their stories alike


def test_parts_of_a_split_are_one_list() -> None:
    found = readers.read("cola", ["gj04\t1\t\tHe ran.\n", "gj04\t0\t*\tHe run\n"])
    assert [(each.example_id, each.label) for each in found] == [("000000", 1), ("000001", 0)]


def test_pairs_without_agreement_and_broken_lines_are_left_out() -> None:
    assert len(readers.read("snli", [QUOTED["snli"]])) == 2
    assert len(readers.read("qqp", [QUOTED["qqp"] + "12\t3\t4\tWhat is broken\n"])) == 2


@pytest.mark.parametrize(
    ("form", "contents"),
    [
        ("sst2", ["sentence\tlabel\nfine \t2\n"]),
        ("sst2", ["text\tlabel\nfine\t1\n"]),
        ("sst2", ["sentence\tlabel\n \t1\n"]),
        ("sst2", ["sentence\tlabel\nfine\t1\textra\n"]),
        ("cola", ["gj04\t1\tHe ran.\n"]),
        ("mrpc", [MRPC.replace("#1 String", "String")]),
        ("stsb", [STSB.replace("3.800", "5.200")]),
        ("stsb", [STSB.replace("3.800", "high")]),
        ("stsb", [STSB.replace("\tA lamp is lit.", "")]),
        ("rte", ['{"premise": "A", "hypothesis": "B", "label": "neutral", "idx": 0}\n']),
        ("rte", ['{"premise": "A", "label": "entailment", "idx": 0}\n']),
        ("sick", ["pair_ID\tsentence_A\tsentence_B\tentailment_judgment\n1\tA\tB\tMAYBE\n"]),
        ("story_cloze", [STORY.replace(",2\n", ",3\n")]),
        ("story_cloze", [STORY.replace("InputStoryid", "Id")]),
        ("mctest", [STORIES, "A\tB\tC\n"]),
        ("mctest", [STORIES, "A\tB\tC\tE\n"]),
        ("mctest", [STORIES.replace("one: What 2", "What 2"), "A\tB\tC\tD\n"]),
        ("mctest", [STORIES]),
        ("mnli", [QUOTED["mnli"].replace("\tneutral\n", "\tmaybe\n")]),
        ("mnli", [QUOTED["mnli"].replace("\tgovernment", "")]),
        ("qnli", [QUOTED["qnli"].replace("not_entailment", "no")]),
        ("snli", [QUOTED["snli"].replace('"gold_label": "-"', '"gold_label": ""')]),
        ("scitail", ["premise\thypothesis\tlabel\n"]),
        ("race", [QUOTED["race"].replace('"C"', '"E"')]),
        ("race", [QUOTED["race"].replace('"he likes the shops.", ', "")]),
        ("race", [QUOTED["race"].replace('["C"]', '["C", "A"]')]),
    ],
)
def test_what_is_in_another_form_is_refused(form: Form, contents: list[str]) -> None:
    with pytest.raises((ValueError, KeyError)):
        readers.read(form, contents)


def test_real_files_have_the_published_counts(real_data: Path) -> None:
    seen = []
    for known in TASKS:
        for split, part in known.parts.items():
            paths = [real_data / "finetune" / path for path, _ in part.files]
            if all(path.is_file() for path in paths):
                contents = [path.read_bytes().decode() for path in paths]
                found = readers.read(known.form, contents)
                assert len(found) == part.n, (known.task.name, split)
                assert len({each.example_id for each in found}) == part.n
                n_classes = known.task.grades or len(known.task.labels) or len(found[0].texts) - 2
                assert all(0 <= each.label < n_classes for each in found)
                seen.append(known.task.name)
    assert set(seen) == {each.task.name for each in TASKS} - NOT_AT_HAND
