"""Published files: each form is read as it is, and counted."""

import json
from pathlib import Path

import pytest

from model.tasks import forms
from model.tasks.evalsets import READERS
from model.tasks.registry import SETS, EvalSet
from pipeline.store.shards import sha256_file


@pytest.mark.parametrize("known", SETS, ids=[each.name for each in SETS])
def test_real_file_has_the_registered_bytes_and_count(real_data: Path, known: EvalSet) -> None:
    paths = [real_data / "eval" / name for name, _ in known.files]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"{known.file} is absent")
    assert [sha256_file(path) for path in paths] == [digest for _, digest in known.files]
    contents = [path.read_bytes().decode("utf-8") for path in paths]
    examples, n_units = READERS[known.form](*contents)
    assert n_units == known.n_units
    assert len({each.example_id for each in examples}) == len(examples)


@pytest.mark.parametrize(
    ("form", "file"), [("ptb", "ptb/ptb.test.txt"), ("wikitext", "wikitext-2/wiki.test.tokens")]
)
def test_rows_of_a_real_running_text_join_to_the_file(
    real_data: Path, form: str, file: str
) -> None:
    content = (real_data / "eval" / file).read_text(encoding="utf-8")
    examples, _ = READERS[form](content)
    assert "".join(each.text for each in examples) == content


def test_wikitext_is_cut_before_each_article_and_not_before_sections(real_data: Path) -> None:
    path = real_data / "eval" / "wikitext-2" / "wiki.test.tokens"
    examples, _ = READERS["wikitext"](path.read_text(encoding="utf-8"))
    assert len(examples) == 60  # articles of the test split; Merity et al. (2016), table 1
    assert examples[0].text.startswith(" \n = Robert <unk> = \n")
    assert examples[1].text.startswith(" = Du Fu = \n")


WIKI = " \n = One = \n \n text = 1 \n = 2 \n \n = = Part = = \n \n more \n \n = Two = \n \n end \n"


def test_wikitext_form_counts_words_and_line_ends() -> None:
    examples, n_units = READERS["wikitext"](WIKI)
    assert [each.text for each in examples] == [
        WIKI[: WIKI.index(" = Two")],
        " = Two = \n \n end \n",
    ]
    assert n_units == len(WIKI.split()) + 13


def test_lambada_targets_follow_the_last_blank() -> None:
    lines = [json.dumps({"text": 'He said\n"No'}), json.dumps({"text": "a b\nc d-e"})]
    examples, n = READERS["lambada_json"]("\n".join(lines) + "\n")
    assert n == 2
    assert [each.fields["target"] for each in examples] == ['said\n"No', "d-e"]
    examples, n = READERS["lambada_plain"]("one two\nthree four five\n")
    assert n == 2
    assert [(e.text, e.fields["target"]) for e in examples] == [
        ("one two", "two"),
        ("three four five", "five"),
    ]


SCHEMA = """It fell because  [MASK]  was old.
[MASK]
 The shelf , Ann
 The shelf

The cat ran. [MASK] hid.
[MASK]
the cat ,the dog
the dog

"""


def test_winograd_candidates_are_written_as_they_stand_in_the_sentence() -> None:
    first, second = READERS["winograd"](SCHEMA)[0]
    assert first.fields == {
        "before": "It fell because",
        "after": " was old.",
        "candidates": ["the shelf", "Ann"],
        "answer": 0,
    }
    assert first.text == "It fell because the shelf was old."
    assert second.fields["candidates"] == ["The cat", "The dog"]
    assert second.text == "The cat ran. The dog hid."


def test_winograd_candidate_at_the_beginning_gets_a_capital() -> None:
    (found,), _ = READERS["winograd"]("[MASK] hid.\n[MASK]\nthe cat ,ann\nthe cat\n")
    assert found.fields["candidates"] == ["The cat", "Ann"]
    assert (found.fields["before"], found.text) == ("", "The cat hid.")


def test_real_winograd_sentences_read_well(real_data: Path) -> None:
    path = real_data / "eval" / "winograd" / "wsc273.txt"
    examples, _ = READERS["winograd"](path.read_text(encoding="utf-8"))
    texts = [each.text for each in examples]
    assert texts[0].endswith("a permit because the city councilmen feared violence.")
    assert texts[228] == "Bill passed the gameboy to John because Bill's turn was over."
    assert texts[263].endswith("although Emma saw that she was open.")
    assert all("[MASK]" not in text and "  " not in text and " ." not in text for text in texts)
    assert all(len(set(each.fields["candidates"])) == 2 for each in examples)
    assert sum("'s" in each.fields["candidates"][0] for each in examples) >= 26


BROKEN = {
    "cut_record": "winograd\nIt fell because [MASK] was old.\n[MASK]\n",
    "two_masks": "winograd\n[MASK] saw [MASK].\n[MASK]\nA ,B\nA\n\n",
    "third_candidate": "winograd\nI saw [MASK].\n[MASK]\nA ,B ,C\nA\n\n",
    "foreign_answer": "winograd\nI saw [MASK].\n[MASK]\nA ,B\nC\n\n",
    "no_json": "lambada_json\n{oops\n",
    "no_text": 'lambada_json\n{"txt": "a b"}\n',
    "one_word": "lambada_plain\nword\n",
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_broken_content_raises_an_error_that_evalsets_names(case: str) -> None:
    form, _, content = case.partition("\n")
    with pytest.raises((ValueError, KeyError, TypeError, IndexError)):
        READERS[form](content)


def test_words_are_counted_with_one_end_for_each_line() -> None:
    assert forms.n_words("a b\n\nc") == 5
    assert forms.n_words("") == 0
