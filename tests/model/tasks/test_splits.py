"""Sets that were not at hand: read as `docs/evalsets.md` says they are, and refused otherwise."""

import re

import pytest

from model.tasks import splits
from model.tasks.evalsets import READERS
from model.tasks.registry import SETS, UNKNOWN
from pipeline.engine.identity import ROOT
from tests.model.tasks.published_lines import CLOZE

PAGE = (ROOT / "docs" / "evalsets.md").read_text(encoding="utf-8")
QUOTED = dict(re.findall(r"^## (\w+)\n[^#]*?^```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))

FIRST, SECOND, LAST = QUOTED["cbt"].splitlines()
PUBLISHED = "\n".join([FIRST, SECOND, *(f"{i} They say so ." for i in range(3, 21)), LAST])


def test_page_names_each_set_whose_digest_is_not_known() -> None:
    unknown = {known.name for known in SETS if UNKNOWN in [digest for _, digest in known.files]}
    assert all(f"`{name}`" in PAGE for name in unknown)
    assert PAGE.count("Not run on the real") == len(QUOTED) == 6


def test_published_question_is_read() -> None:
    (example,), n = READERS["cbt"](PUBLISHED + "\n\n")
    assert n == 1
    assert example.fields["candidates"][example.fields["answer"]] == "Baxter"
    assert len(example.fields["context"]) == 20
    assert (
        example.fields["query"] == "She thought that Mr. XXXXX had exaggerated matters a little ."
    )
    assert example.text.endswith("\nShe thought that Mr. Baxter had exaggerated matters a little .")


def test_published_conversation_is_read() -> None:
    (example,), n = READERS["coqa"](QUOTED["coqa"])
    assert n == 2
    assert example.fields["references"] == [["white", "white"], ["in a barn", "in a barn"]]


def test_published_texts_are_read() -> None:
    sentences, n_words = READERS["lines"](QUOTED["one_billion"])
    assert [each.text.split()[0] for each in sentences] == ["The", "Elk", "Don"]
    assert n_words == len(re.findall(r"\S+", QUOTED["one_billion"])) + 3
    (text,), _ = READERS["text8"](QUOTED["text8"].rstrip("\n"))
    assert text.text.startswith(" anarchism")
    (text,), n_bytes = READERS["enwik8"](QUOTED["enwik8"])
    assert n_bytes == len(QUOTED["enwik8"])
    (article,), n_words = READERS["wikitext"](QUOTED["wikitext103"])
    assert article.text == QUOTED["wikitext103"]
    assert n_words == len(article.text.split()) + 4


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


@pytest.mark.parametrize("form", ["ptb", "text8", "enwik8"])
def test_running_text_is_cut_into_blocks_that_join_to_it(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "N_TEST", 30_001)
    words = "the lantern was red and nobody lit it again for a while".split()
    line = " ".join(words) + (" " if form == "text8" else " €\n")
    content = ("<mediawiki>\n" if form == "enwik8" else "") + line * 900
    examples, n_units = READERS[form](content)
    texts = [each.text for each in examples]
    assert all(5000 <= len(text) <= 5000 + len(line) for text in texts[:-1])
    assert content.endswith("".join(texts))
    assert len({each.example_id for each in examples}) == len(texts) > 3
    if form == "enwik8":  # the split begins inside of a character, which is read whole
        assert sum(each.fields["n_bytes"] for each in examples) == n_units == 30_001
        assert sum(len(text.encode()) for text in texts) >= n_units
    if form == "text8":
        assert sum(map(len, texts)) == n_units == 30_001
        assert all(text.startswith(" ") for text in texts[1:])
    if form == "ptb":
        assert "".join(texts) == content
        assert all(text.endswith("\n") for text in texts)


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
