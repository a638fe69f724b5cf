r"""Readers of the sets whose answers are generated: translation, questions, summaries, talk.

    wmt              <seg id="1">...</seg> of a source and a reference, document by document
    nq_open          {"question": "who ...", "answer": ["...", "..."]}, one per line
    cnn_dailymail    id,article,highlights, a CSV with a heading; one highlight per line
    coqa             {"data": [{"id", "story", "questions", "answers", "additional_answers"}]}

Decisions:
- What differs from the published form stops the stage: a file that is half understood would be
  scored without a word.
- `text` is what decontamination looks for: the source sentence and its translation, the question,
  the article, the story.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

from model.tasks.forms import Example
from model.tasks.registry import Form

csv.field_size_limit(1 << 24)  # an article in one field: 131,072 by default

_PIECE = re.compile(r'<doc\b[^>]*\bdocid="([^"]+)"|<seg id="(\d+)">(.*?)</seg>')
_COLUMNS = ["id", "article", "highlights"]


def _wmt(source: str, reference: str) -> tuple[list[Example], int]:
    """Segments of both files, which must come in the same order.

    Some `&` are escaped in WMT's files and some are not; `unescape` leaves the latter alone.
    """
    sides = _segments(source), _segments(reference)
    if [name for name, _ in sides[0]] != [name for name, _ in sides[1]] or not sides[0]:
        raise ValueError("source and reference have other segments")
    examples = [
        Example(
            example_id=name,
            text=f"{text}\n{translation}",
            fields={"source": text, "reference": translation},
        )
        for (name, text), (_, translation) in zip(*sides, strict=True)
    ]
    return examples, len(examples)


def _segments(content: str) -> list[tuple[str, str]]:
    """Returns (document and number, text) of each segment."""
    found, document = [], ""
    for name, number, text in _PIECE.findall(content):
        if name:
            document = name
        else:
            found.append((f"{document}/{number}", unescape(text).strip()))
    if len(found) != content.count("<seg"):
        raise ValueError(f"{content.count('<seg')} segments, of which {len(found)} are understood")
    return found


def _nq_open(content: str) -> tuple[list[Example], int]:
    examples = []
    for i, line in enumerate(content.splitlines()):
        row = json.loads(line)
        question, answers = row["question"], row["answer"]
        if not isinstance(question, str) or not _is_texts(answers):
            raise ValueError(f"line {i + 1}: expected a question and a list of answers")
        fields = {"question": question, "answers": answers}
        examples.append(Example(example_id=f"{i:05d}", text=question, fields=fields))
    return examples, len(examples)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _cnn_dailymail(content: str) -> tuple[list[Example], int]:
    """A first column without a name, which some copies have, is left out."""
    heading, *rows = csv.reader(io.StringIO(content))
    skip = int(heading[:1] == [""])
    if heading[skip:] != _COLUMNS:
        raise ValueError(f"columns {heading}; expected {_COLUMNS}")
    examples = []
    for name, article, highlights in (row[skip:] for row in rows):
        lines = [line.strip() for line in highlights.split("\n") if line.strip()]
        if not article.strip() or not lines:
            raise ValueError(f"{name}: an article or its highlights are empty")
        examples.append(Example(example_id=name, text=article, fields={"highlights": lines}))
    return examples, len(examples)


def _coqa(content: str) -> tuple[list[Example], int]:
    """One example per conversation; what is counted are its questions."""
    examples = [_conversation(row) for row in json.loads(content)["data"]]
    return examples, sum(len(each.fields["questions"]) for each in examples)


def _conversation(row: Mapping[str, Any]) -> Example:
    columns = [row["questions"], row["answers"], *row.get("additional_answers", {}).values()]
    turns = [each["turn_id"] for each in row["questions"]]
    if turns != list(range(1, len(turns) + 1)):
        raise ValueError(f"{row['id']}: questions have the turns {turns}")
    if any([each["turn_id"] for each in column] != turns for column in columns):
        raise ValueError(f"{row['id']}: answers have other turns than questions")
    texts = [[str(each["input_text"]).strip() for each in column] for column in columns]
    fields = {
        "questions": texts[0],
        "answers": texts[1],  # the conversation's own, which make its history
        "references": [list(answers) for answers in zip(*texts[1:], strict=True)],
    }
    return Example(example_id=row["id"], text=row["story"], fields=fields)


READERS: dict[Form, Callable[..., tuple[list[Example], int]]] = {
    "wmt": _wmt,
    "nq_open": _nq_open,
    "cnn_dailymail": _cnn_dailymail,
    "coqa": _coqa,
}
"""By form: the examples of the contents of a set's files, and what `EvalSet.n_units` counts."""
