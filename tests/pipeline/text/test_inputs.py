"""Folders and files that a user names."""

from pathlib import Path

import pytest

from pipeline.engine.tasks import InlineEngine
from pipeline.text.formats import FILES, is_known
from pipeline.text.inputs import find


def names(*inputs: Path) -> list[str]:
    found = find(map(str, inputs), is_known, "documents.inputs", FILES, InlineEngine())
    return [each.name for each in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of all kinds."""
    for name in ("b/1.txt", "b/0.TXT", "a.jsonl.gz", "README.md", ".cache/x.txt", "b/.y.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_find_folder_gives_known_files_by_path_and_nothing_hidden(folder: Path) -> None:
    assert names(folder) == ["a.jsonl.gz", "b/0.TXT", "b/1.txt"]


def test_find_keeps_the_order_of_the_list_and_takes_a_file_once(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "b")
    assert names(folder / "b", folder / "a.jsonl.gz", folder) == ["0.TXT", "1.txt", "a.jsonl.gz"]


def test_find_what_cannot_be_read_is_an_error_with_a_remedy(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"documents.inputs names .*gone, which does not"):
        names(folder / "gone")
    with pytest.raises(FileNotFoundError, match=r"empty, which holds no file; expected .jsonl"):
        names(folder / "empty")
    with pytest.raises(ValueError, match=r"README.md; expected .jsonl"):
        names(folder / "README.md")
