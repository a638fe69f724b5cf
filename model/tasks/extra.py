"""Test sets that a user brings, to be studied for overlap: a folder with one entry per set.

    trivia.jsonl          one example per line: {"text": ..., "id": ...}, the id may be left out
    proverbs.txt          one example per line, blank lines left out
    stories/*.txt         one example per file
    trivia.train.jsonl    a set's own training part, in the first two forms; also of a known set,
    ptb.train.txt         as ptb.train.txt

Decisions:
- What is in none of these forms stops the stage: a set that was brought and not looked for would
  seem to be clean.
- A training part is never looked for in the corpus; the set's share in it stands in the table, as
  in the paper's. A plain one is one running text.

Paper: GPT-2, table 6, first line.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.tasks.forms import Example

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # JSON can escape one half; UTF-8 has none
_FORMS = "NAME.jsonl, NAME.txt, NAME/*.txt, NAME.train.jsonl or NAME.train.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What a user's folder holds.

    Attributes:
        sets: Examples by name of the set.
        train: Training parts by name of their set.
    """

    sets: dict[str, list[Example]]
    train: dict[str, list[Example]]


def read(folder: Path, known: Sequence[str]) -> Brought:
    """Reads a user's folder.

    Args:
        folder: The folder; hidden entries are left alone.
        known: Names that its sets must not have, and whose training parts it may hold.

    Raises:
        ValueError: If an entry is in no known form, or its name is taken.
    """
    sets: dict[str, list[Example]] = {}
    train: dict[str, list[Example]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name, is_train = _name(path)
        if not is_train and name in (*known, *sets):
            raise ValueError(f"{path}: a set named {name} is there already; give it another name")
        if is_train and name in train:
            raise ValueError(f"{path}: {name} has a training part already; remove one")
        (train if is_train else sets)[name] = _examples(path, is_train=is_train)
    for name in train:
        if name not in (*known, *sets):
            raise ValueError(
                f"{folder}: there is a training part of {name}, but no such set; bring {name} too, "
                "or remove it"
            )
    return Brought(sets=sets, train=train)


def _name(path: Path) -> tuple[str, bool]:
    """Returns a set's name, and whether the entry is its training part."""
    stem = path.name if path.is_dir() else path.stem
    name = stem.removesuffix(".train")
    is_form = path.is_dir() or path.suffix in (".jsonl", ".txt")
    if not is_form or not _NAME.fullmatch(name) or (path.is_dir() and stem != name):
        raise ValueError(f"{path} is no set of examples; allowed: {_FORMS}")
    return name, stem != name


def _examples(path: Path, *, is_train: bool) -> list[Example]:
    if path.is_dir():
        files = sorted(path.iterdir())
        wrong = [file.name for file in files if file.suffix != ".txt" or not file.is_file()]
        if wrong:
            raise ValueError(f"{path} holds {wrong[0]}; allowed: files that end in .txt")
        return _unique(path, ((file.stem, _text(file)) for file in files))
    if path.suffix == ".jsonl":
        return _unique(path, _json_lines(path))
    if is_train:
        return _unique(path, [("0", _text(path))])
    lines = enumerate(_text(path).split("\n"), 1)
    return _unique(path, ((f"{number:05d}", line) for number, line in lines if line.strip()))


def _json_lines(path: Path) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            text, name = row["text"], row.get("id", f"{number:05d}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: expected an object with `text`") from error
        if not isinstance(text, str) or not isinstance(name, str | int):
            raise ValueError(
                f"{path}, line {number}: `text` must be text, `id` text or a number; mend it"
            )
        if _SURROGATE.search(f"{name}{text}"):
            raise ValueError(f"{path}, line {number}: half of a surrogate pair is no text; mend it")
        yield str(name), text


def _unique(path: Path, rows: Iterable[tuple[str, str]]) -> list[Example]:
    examples = [Example(example_id=name, text=text, fields={}) for name, text in rows]
    seen: set[str] = set()
    for each in examples:
        if each.example_id in seen:
            raise ValueError(f"{path}: two examples have the id {each.example_id}; mend it")
        seen.add(each.example_id)
    return examples


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error}); write it as UTF-8") from error
