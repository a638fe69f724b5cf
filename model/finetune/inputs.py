"""Examples as rows of tokens, one input transformation per kind of task.

    text         start text extract
    entailment   start premise delimiter hypothesis extract
    similarity   start one delimiter other extract            and the other order: two rows
    choice       start document question delimiter answer extract    one row per answer

Paper: GPT-1, section 3.3 and figure 1. Document and question are joined by one blank.

Decisions
- start, delimiter and extract are three ids behind the vocabulary, as in the released code. The
  `<|endoftext|>` of pre-training is none of them.
- What is too long for the context loses its end: the document of a choice, by as much as the
  longest answer needs, so that all answers see the same document; else the longer text. How many
  examples were cut is counted. Deviation: the released code cuts each segment at n_ctx / 2 - 2
  tokens, whether or not the other one needs the room.
- Rows are padded on the right to the longest of their micro-batch. Attention is causal, so nothing
  that is read depends on the padding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig
from model.finetune.tasks import Example, Kind, Task
from pipeline.store.config import require
from pipeline.tokens.codec import Codec

Ids = npt.NDArray[np.int32]

ABSENT = -1  # where the extract token of an answer would be that an example lacks
_MOST_MARKS = 3  # start, delimiter, extract


class Marks(NamedTuple):
    """The ids of the three tokens that fine-tuning adds.

    >>> Marks.behind(50257)
    Marks(start=50257, delimiter=50258, extract=50259)
    """

    start: int
    delimiter: int
    extract: int

    @staticmethod
    def behind(n_vocab: int) -> "Marks":
        """Returns the first three ids behind a vocabulary."""
        return Marks(n_vocab, n_vocab + 1, n_vocab + 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Examples as the model reads them.

    Attributes:
        ids: `example_id` of each.
        rows: Of each example its rows of token ids, marks included.
        labels: (n,) float64; class, right answer or score.
        grades: Of a graded task, how many whole scores there are; else None.
        n_cut: Examples that were too long.
    """

    ids: tuple[str, ...]
    rows: tuple[tuple[Ids, ...], ...]
    labels: npt.NDArray[np.float64]
    grades: int | None
    n_cut: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Rows of the example that has most."""
        return max(map(len, self.rows))

    def longest(self, index: int) -> int:
        """Returns the tokens of an example's longest row."""
        return max(map(len, self.rows[index]))


class Batch(NamedTuple):
    """Some examples as tensors.

    Attributes:
        idx: (B, K, T) int64; K rows each, of T tokens.
        last: (B, K) int64; where the extract token is, `ABSENT` where there is no such row.
        targets: (B,) int64 classes, or (B, grades) fp32 distributions.
    """

    idx: Tensor
    last: Tensor
    targets: Tensor


def encode(task: Task, examples: Sequence[Example], coder: Codec, shape: ModelConfig) -> Encoded:
    """Returns examples as rows of at most `n_ctx` tokens.

    Args:
        task: What they are examples of.
        examples: One or more.
        coder: The language model's vocabulary.
        shape: The language model's shape; the marks' ids are those behind its vocabulary.

    Raises:
        ValueError: There are none, one has texts or a label that its task can't have, or the
            context holds no text beside the marks.
    """
    require(f"{task.name}: examples", len(examples), len(examples) > 0, "one or more")
    room = shape.n_ctx > _MOST_MARKS
    require("n_ctx", shape.n_ctx, room, f"x > {_MOST_MARKS}, the marks of a row")
    for example in examples:
        _check(task, example)
    marks = Marks.behind(shape.n_vocab)
    texts = _segments(task.kind, examples, coder)
    found = [_rows(task.kind, parts, marks, shape.n_ctx) for parts in texts]
    return Encoded(
        ids=tuple(each.example_id for each in examples),
        rows=tuple(rows for rows, _ in found),
        labels=np.array([each.label for each in examples], np.float64),
        grades=task.grades,
        n_cut=sum(cut for _, cut in found),
    )


def _check(task: Task, example: Example) -> None:
    where, n = f"{task.name}, example {example.example_id}: ", len(example.texts)
    expected = {"text": n == 1, "entailment": n == 2, "similarity": n == 2, "choice": n >= 4}
    wanted = "as many as its kind has, two answers or more"
    require(f"{where}number of texts", n, expected[task.kind], f"{wanted} ({task.kind})")
    if task.grades is not None:
        top = task.grades - 1
        require(f"{where}score", example.label, 0 <= example.label <= top, f"0 <= x <= {top}")
        return
    classes = n - 2 if task.kind == "choice" else len(task.labels)
    known = example.label in range(classes)
    require(f"{where}label", example.label, known, f"a whole number, 0 <= x < {classes}")


def _segments(kind: Kind, examples: Sequence[Example], coder: Codec) -> Iterator[list[Ids]]:
    """Yields the token ids of each example's texts; a question's begin with the joining blank."""
    texts = (text.encode() for each in examples for text in _texts(kind, each))
    encoded = coder.encode_all(texts)
    for example in examples:
        yield [next(encoded).astype(np.int32) for _ in example.texts]


def _texts(kind: Kind, example: Example) -> tuple[str, ...]:
    if kind != "choice" or not example.texts[1]:
        return example.texts
    document, question, *answers = example.texts
    return (document, f" {question}" if document else question, *answers)


def _rows(kind: Kind, parts: list[Ids], marks: Marks, n_ctx: int) -> tuple[tuple[Ids, ...], bool]:
    """Returns an example's rows, and whether any of its texts was cut."""
    if kind == "choice":
        return _choice_rows(parts, marks, n_ctx)
    if kind == "text":
        (text,) = parts
        kept = text[: n_ctx - 2]
        return (_joined(marks.start, kept, marks.extract),), len(kept) < len(text)
    lengths = fit([len(part) for part in parts], n_ctx - _MOST_MARKS)
    one, other = (part[:length] for part, length in zip(parts, lengths, strict=True))
    row = _joined(marks.start, one, marks.delimiter, other, marks.extract)
    cut = len(row) < sum(map(len, parts)) + _MOST_MARKS
    if kind == "entailment":
        return (row,), cut
    return (row, _joined(marks.start, other, marks.delimiter, one, marks.extract)), cut


def _choice_rows(parts: list[Ids], marks: Marks, n_ctx: int) -> tuple[tuple[Ids, ...], bool]:
    document, question, *answers = parts
    room = n_ctx - _MOST_MARKS
    longest = max(map(len, answers))
    asked, answered = fit([len(question), longest], room)
    kept = document[: room - asked - answered]
    rows = tuple(
        _joined(
            marks.start, kept, question[:asked], marks.delimiter, answer[:answered], marks.extract
        )
        for answer in answers
    )
    return rows, len(kept) + asked + answered < len(document) + len(question) + longest


def _joined(*parts: int | Ids) -> Ids:
    return np.concatenate([np.atleast_1d(part) for part in parts], dtype=np.int32)


def fit(lengths: Sequence[int], most: int) -> tuple[int, int]:
    """Returns what is left of two lengths whose sum is limited; the longer one gives first.

    >>> fit([10, 3], 8), fit([3, 4], 8), fit([9, 8], 7)
    ((5, 3), (3, 4), (4, 3))
    """
    one, other = lengths
    if one + other <= most:
        return one, other
    share = most // 2
    if one <= share:
        return one, most - one
    if other <= share:
        return most - other, other
    return most - share, share


def collate(encoded: Encoded, chosen: Sequence[int]) -> Batch:
    """Returns some examples as tensors, padded to the longest row; in pinned memory for a GPU."""
    rows = [encoded.rows[i] for i in chosen]
    width = max(map(len, rows))
    length = max(encoded.longest(i) for i in chosen)
    idx = np.zeros((len(rows), width, length), np.int64)
    last = np.full((len(rows), width), ABSENT, np.int64)
    for b, each in enumerate(rows):
        for k, row in enumerate(each):
            idx[b, k, : len(row)] = row
            last[b, k] = len(row) - 1
    made = Batch(torch.from_numpy(idx), torch.from_numpy(last), targets(encoded, chosen))
    return Batch(*(t.pin_memory() for t in made)) if torch.cuda.is_available() else made


def targets(encoded: Encoded, chosen: Sequence[int]) -> Tensor:
    """Returns (B,) int64 classes, or (B, grades) fp32 distributions over whole scores."""
    labels = torch.from_numpy(encoded.labels[list(chosen)])  # (B,)
    if encoded.grades is None:
        return labels.long()
    return spread(labels, encoded.grades)


def spread(scores: Tensor, grades: int) -> Tensor:
    """Returns (B, grades) fp32 distributions over whole scores, whose expectations are `scores`.

    Paper: Tai et al. 2015, section 4.2, from 0 on instead of from 1.

    >>> spread(torch.tensor([2.25, 3.0]), 4)
    tensor([[0.0000, 0.0000, 0.7500, 0.2500],
            [0.0000, 0.0000, 0.0000, 1.0000]])
    """
    apart = (scores.unsqueeze(1) - torch.arange(grades)).abs()  # (B, grades)
    return (1 - apart).clamp(min=0).float()
