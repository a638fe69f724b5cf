"""A user's own test sets: every form is read, and nothing that was brought is passed over."""

from pathlib import Path

import pytest

from model.tasks import extra
from model.tasks.extra import Brought


def _read(folder: Path, files: dict[str, str], known: tuple[str, ...] = ("ptb",)) -> Brought:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return extra.read(folder, known)


def _texts(brought: Brought, name: str) -> list[tuple[str, str]]:
    return [(each.example_id, each.text) for each in brought.sets[name]]


def test_read_every_form_gives_its_examples(tmp_path: Path) -> None:
    brought = _read(
        tmp_path,
        {
            "trivia.jsonl": '{"text": "a b", "id": 7}\n\n{"text": "c\\nd"}\n',
            "proverbs.txt": "early bird\n\n  \nlate worm\u2028still the same line",
            "stories/one.txt": "once\nupon",
            "stories/two.txt": "",
            ".hidden": "not read",
        },
    )
    assert _texts(brought, "trivia") == [("7", "a b"), ("00003", "c\nd")]
    assert _texts(brought, "proverbs") == [
        ("00001", "early bird"),
        ("00004", "late worm\u2028still the same line"),
    ]
    assert _texts(brought, "stories") == [("one", "once\nupon"), ("two", "")]
    assert brought.train == {}


def test_read_training_parts_belong_to_brought_or_known_sets(tmp_path: Path) -> None:
    brought = _read(
        tmp_path,
        {
            "ptb.train.txt": "one\ntext",
            "q.jsonl": '{"text": "x"}',
            "q.train.jsonl": '{"text": "y"}',
        },
    )
    assert {name: [e.text for e in part] for name, part in brought.train.items()} == {
        "ptb": ["one\ntext"],
        "q": ["y"],
    }
    assert list(brought.sets) == ["q"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": "x"}, r"a\.csv is no set of examples; allowed: NAME\.jsonl"),
        ({"two words.txt": "x"}, "two words.txt is no set"),
        ({"s/one.md": "x"}, r"s holds one\.md; allowed: files that end in \.txt"),
        ({"ptb.txt": "x"}, "a set named ptb is there already"),
        ({"a.txt": "x", "a.jsonl": '{"text": "x"}'}, "a set named a is there already"),
        ({"b.train.txt": "x"}, "a training part of b, but no such set"),
        ({"a.jsonl": '{"text": "x"}\n{oops'}, r"a\.jsonl, line 2: expected an object with `text`"),
        ({"a.jsonl": "[1]"}, "line 1: expected an object"),
        ({"a.jsonl": '{"txt": "x"}'}, "line 1: expected an object"),
        ({"a.jsonl": '{"text": "\\ud800"}'}, "line 1: half of a surrogate pair"),
        ({"a.jsonl": '{"text": 3}'}, "line 1: `text` must be text"),
        ({"a.jsonl": '{"text": "x", "id": "1"}\n{"text": "y", "id": 1}'}, "two examples have the"),
    ],
)
def test_read_what_is_no_set_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, files)


def test_read_bytes_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.txt is no UTF-8 text"):
        extra.read(tmp_path, ())
