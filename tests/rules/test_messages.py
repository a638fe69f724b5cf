"""The table of messages: whatever a user's input, files or machine can raise, read from the code.

Each says what is wrong and where (a value, a path, a parameter) and what is allowed or what to do.
Errors of a reader that another module turns into such a message are listed with that module.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.engine.identity import ROOT

PACKAGES = ("pipeline", "crawl", "model", "stages")
KINDS = ("ValueError", "FileNotFoundError", "PermissionError", "ShardError", "ManifestError",
         "CheckpointError")  # fmt: skip
# Says what is allowed, or what to do next.
HELPS = re.compile(
    r"expected|allow|known:|at most|bring |change |check |choose |install |lower |look at|make "
    r"|mend|mount |name |raise |remake|remedy|remove|run `|run dvc|run from|run the|set |try again"
    r"|unset|wait|write it"
)
# The program itself is wrong, and says so: nothing that a user could do.
BUG = re.compile(r"this is a bug|is broken|self-test")
# A value, a file, or a parameter by its name.
WHERE = re.compile(r"\{|params\.yaml|[a-z]+\.[a-z_]+|data/|--[a-z]|body:")

# Its errors tell what is wrong with a text; the other module adds which file and what to do.
TOLD_BY = {
    "model/finetune/readers.py": "model/finetune/labelled.py",
    "model/tasks/answers.py": "model/tasks/evalsets.py",
    "model/tasks/forms.py": "model/tasks/evalsets.py",
    "model/tasks/splits.py": "model/tasks/evalsets.py",
    "pipeline/tokens/gpt1.py": "pipeline/tokens/codec.py",
}
# Texts that are put together elsewhere, and where that is tested.
ELSEWHERE = {
    "_explain(task, error)": "tests/pipeline/engine/test_shardmap.py",
    "memory.advice(error, trainer.shape, config)": "tests/model/training/test_memory.py",
    "told": "tests/model/finetune/test_train.py",
}
# `pipeline.store.config.require` has said what is expected.
REQUIRED = "{where}.{error}"
# Wrong calls of a function, which no input of a user leads to.
CALLS = {
    "frame of ", "frame is not a JSON object", "predictions of", "two ways are compared",
    "predictions are not in the order", "the query holds id", "an empty context has nothing",
    "tokens; the context holds", "no Bloom filter of",
}  # fmt: skip


class Message(NamedTuple):
    """One `raise` with the text it may give; values stand in braces."""

    kind: str
    path: str
    line: int
    text: str


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (
            str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        )
        return "".join(parts)
    return f"<{ast.unparse(node)}>"


def _table() -> list[Message]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                    continue
                kind = ast.unparse(node.exc.func)
                if kind in KINDS and node.exc.args:
                    place = path.relative_to(ROOT).as_posix()
                    found.append(Message(kind, place, node.lineno, _text(node.exc.args[0])))
    return found


TABLE = _table()


@pytest.mark.parametrize("message", TABLE, ids=lambda m: f"{m.path}:{m.line}")
def test_message_says_where_and_what_to_do(message: Message) -> None:
    text = message.text
    if text.startswith("<"):
        assert text.strip("<>") in ELSEWHERE, text
        return
    if message.path in TOLD_BY or BUG.search(text) or any(call in text for call in CALLS):
        return
    if text == REQUIRED:
        return
    assert WHERE.search(text), f"{message.path}:{message.line}: names nothing: {text}"
    assert HELPS.search(text), f"{message.path}:{message.line}: no remedy: {text}"


@pytest.mark.parametrize("reader", sorted(TOLD_BY))
def test_error_of_a_reader_gets_its_file_and_a_remedy_from_who_calls_it(reader: str) -> None:
    texts = [m.text for m in TABLE if m.path == TOLD_BY[reader] and "{error}" in m.text]
    assert any(HELPS.search(text) and "{" in text.split("{error}")[0] for text in texts), texts


def test_lists_of_exceptions_hold_nothing_old() -> None:
    texts = "\n".join(message.text for message in TABLE)
    assert [call for call in sorted(CALLS) if call not in texts] == []
    assert [path for path in TOLD_BY if not any(m.path == path for m in TABLE)] == []
    assert [text for text in ELSEWHERE if f"<{text}>" not in texts] == []
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).is_file()] == []


def test_table_is_not_empty() -> None:
    assert len(TABLE) > 150
    assert {Path(message.path).parts[0] for message in TABLE} == set(PACKAGES)
