"""Sets that were not at hand: read as `docs/evalsets.md` says they are, and refused otherwise."""

import pytest

from model.tasks import splits
from model.tasks.evalsets import READERS
from tests.model.tasks.published_lines import CLOZE

# Hill et al. (2016), figure 1, in the file's form; the sentences between are left out there.
OBJECTION = (
    "2 Not , of course , that he had any personal objection to you , but he is set against "
    "female teachers , and when a Cropper is set there is nothing on earth can change him ."
)
NAMES = "Baxter|Cropper|Esther|course|fingers|manner|objection|opinion|right|spite"
PUBLISHED = "\n".join(
    [
        "1 Mr. Cropper was opposed to our hiring you .",
        OBJECTION,
        *(f"{i} He says female teachers ca n't keep order ." for i in range(3, 21)),
        "21 She thought that Mr. XXXXX had exaggerated matters a little .\tBaxter\t\t" + NAMES,
    ]
)


def test_published_question_is_read() -> None:
    (example,), n = READERS["cbt"](PUBLISHED + "\n\n")
    assert n == 1
    assert example.fields["candidates"][example.fields["answer"]] == "Baxter"
    assert len(example.fields["context"]) == 20
    assert (
        example.fields["query"] == "She thought that Mr. XXXXX had exaggerated matters a little ."
    )
    assert example.text.endswith("\nShe thought that Mr. Baxter had exaggerated matters a little .")


def test_questions_are_divided_by_blank_lines() -> None:
    examples, n = READERS["cbt"](PUBLISHED + "\n\n" + CLOZE)
    assert n == 2
    assert [each.example_id for each in examples] == ["00000", "00001"]


@pytest.mark.parametrize(
    "content",
    [
        CLOZE.replace("21 She", "22 She"),
        CLOZE.replace("7 The", "8 The"),
        CLOZE.replace("XXXXX", "he"),
        CLOZE.replace("the lamp", "XXXXX"),
        CLOZE.replace("|Jo", ""),
        CLOZE.replace("\tBob\t", "\tZoe\t"),
        CLOZE.replace("\t\t", "\t"),
        CLOZE.replace("\t\t", "\tnoun\t"),
        "The whole book , line by line .\n",
    ],
)
def test_question_in_another_form_is_refused(content: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - `evalsets` names file and set
        READERS["cbt"](content)


def test_test_split_is_the_end_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "N_TEST", 6)
    (example,), n = READERS["text8"](" anarchism originated")
    assert (example.text, n) == ("inated", 6)
    (example,), n = READERS["enwik8"]("<mediawiki>abc</a>\n")
    assert (example.text, n, example.fields["n_bytes"]) == ("c</a>\n", 6, 6)


def test_split_inside_of_a_character_is_charged_for_the_whole_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splits, "N_TEST", 4)
    (example,), n = READERS["enwik8"]("<mediawiki>€b\n")  # 3 bytes of €, the last two in the split
    assert (example.text, n) == ("€b\n", 4)


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("text8", "Anarchism"),
        ("text8", "a\n"),
        ("enwik8", "anarchism"),
        ("lines", "one\n\ntwo\n"),
        ("lines", "one\ntwo"),
    ],
)
def test_text_in_another_form_is_refused(form: str, content: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - `evalsets` names file and set
        READERS[form](content)


def test_sentences_are_counted_with_their_ends() -> None:
    examples, n = READERS["lines"]("We 're here .\nThe U.S. said so .\n")
    assert [each.text for each in examples] == ["We 're here .\n", "The U.S. said so .\n"]
    assert n == 4 + 5 + 2
