r"""How published labelled files are read: one function per form, from contents to examples.

    sst2         heading sentence, label                       text
    cola         source <tab> 0|1 <tab> mark <tab> sentence    text
    mrpc         heading Quality, #1 ID, ..., BOM              similarity
    stsb         genre, file, year, id, score, one, other      similarity, graded 0 to 5
    rte          {"premise", "hypothesis", "label", "idx"}     entailment
    sick         heading pair_ID, sentence_A, ...              entailment
    story_cloze  CSV, heading InputStoryid, ...                choice of 2
    mctest       a story and four questions per line, answers beside, letters    choice of 4
    snli         {"gold_label", "sentence1", "sentence2", "pairID", ...}         entailment
    mnli, qqp, qnli, scitail    tab-separated, no quoting
    race         {"article", "questions", "options", "answers", "id"}            choice of 4

Decisions:
- What differs from the published form stops the stage: a file that is half understood would be
  trained on without a word.
- Fields keep their text, stripped of white space at both ends; nothing is detokenized (MRPC, RTE
  and SICK are not tokenized, SST-2 is: so is its test set).
- Several files of one split are one list, in the order of the files.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence

from model.finetune.published import PAIR, TRIPLE, Form
from model.finetune.tasks import Example

MAX_SCORE = 5.0  # of STS-B
N_STORY_QUESTIONS = 4  # of MCTest
LETTERS = "ABCD"

_BINARY = {"0": 0, "1": 1}
_PAIR = {name: i for i, name in enumerate(PAIR)}
_TRIPLE = {name: i for i, name in enumerate(TRIPLE)}
_SCITAIL = {"neutral": 0, "entails": 1}
_STORY = [
    "InputStoryid",
    *(f"InputSentence{i}" for i in (1, 2, 3, 4)),
    "RandomFifthSentenceQuiz1",
    "RandomFifthSentenceQuiz2",
    "AnswerRightEnding",
]
_ESCAPES = ((r"\newline", "\n"), (r"\tab", "\t"))  # of MCTest


def read(form: Form, contents: Sequence[str]) -> list[Example]:
    """Returns the examples of a split's files, whose ids are unique.

    Args:
        form: Of the task.
        contents: Of the files.

    Raises:
        ValueError: If a file is not in the form, or a text is empty.
    """
    if form == "mctest":  # two files are one part
        pairs = zip(contents[::2], contents[1::2], strict=True)
        found = [each for stories, answers in pairs for each in _mctest(stories, answers)]
    else:
        found = [each for content in contents for each in _READERS[form](content)]
    names = {each.example_id for each in found}
    if len(names) < len(found):  # parts that count from 0 each
        found = [_renamed(each, i) for i, each in enumerate(found)]
    return found


def _renamed(example: Example, index: int) -> Example:
    return Example(example_id=f"{index:06d}", texts=example.texts, label=example.label)


def _example(name: object, texts: Sequence[str], label: float, may_lack: int = -1) -> Example:
    """Returns an example whose texts are stripped; only the one at `may_lack` may be empty."""
    clean = tuple(text.strip() for text in texts)
    empty = [i for i, text in enumerate(clean) if not text and i != may_lack]
    if empty:
        raise ValueError(f"example {name}: text {empty[0]} is empty")
    return Example(example_id=str(name), texts=clean, label=label)


def _lines(content: str) -> list[str]:
    """Returns the lines of a file, which may end as in DOS and begin with a byte order mark."""
    lines = content.removeprefix("\ufeff").split("\n")
    return [line.removesuffix("\r") for line in (lines[:-1] if not lines[-1] else lines)]


def _class(label: str, classes: dict[str, int], name: object) -> int:
    if label not in classes:
        raise ValueError(f"example {name}: label {label!r}; expected one of {list(classes)}")
    return classes[label]


def _rows(content: str, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields (number, the named columns) of a tab-separated file with a heading; no quoting."""
    heading, *lines = _lines(content)
    names = heading.split("\t")
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(f"columns {names}; expected {list(columns)} among them")
    places = [names.index(name) for name in columns]
    for i, line in enumerate(lines):
        fields = line.split("\t")
        if len(fields) != len(names):
            raise ValueError(f"line {i + 2}: {len(fields)} columns; expected {len(names)}")
        yield f"{i:06d}", [fields[place] for place in places]


def _sst2(content: str) -> Iterator[Example]:
    for i, (text, label) in _rows(content, ("sentence", "label")):
        yield _example(i, [text], _class(label, _BINARY, i))


def _cola(content: str) -> Iterator[Example]:
    for i, line in enumerate(_lines(content)):
        fields = line.split("\t")
        if len(fields) != 4:
            raise ValueError(f"line {i + 1}: {len(fields)} columns; expected 4")
        yield _example(f"{i:06d}", [fields[3]], _class(fields[1], _BINARY, i))


def _mrpc(content: str) -> Iterator[Example]:
    columns = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    for i, (label, one, other, *texts) in _rows(content, columns):
        yield _example(f"{i}-{one}-{other}", texts, _class(label, _BINARY, i))


def _stsb(content: str) -> Iterator[Example]:
    """Two more columns on some lines name the texts' sources."""
    for i, line in enumerate(_lines(content)):
        fields = line.split("\t")
        if len(fields) not in (7, 9):
            raise ValueError(f"line {i + 1}: {len(fields)} columns; expected 7 or 9")
        score = float(fields[4])
        if not 0 <= score <= MAX_SCORE:
            raise ValueError(f"line {i + 1}: score {score}; expected 0 to {MAX_SCORE}")
        yield _example(f"{i:06d}", fields[5:7], score)


def _rte(content: str) -> Iterator[Example]:
    for line in _lines(content):
        row = json.loads(line)
        texts = [row["premise"], row["hypothesis"]]
        yield _example(row["idx"], texts, _class(row["label"], _PAIR, row["idx"]))


def _sick(content: str) -> Iterator[Example]:
    columns = ("pair_ID", "sentence_A", "sentence_B", "entailment_judgment")
    for _, (name, *texts, label) in _rows(content, columns):
        yield _example(name, texts, _class(label.lower(), _TRIPLE, name))


def _story_cloze(content: str) -> Iterator[Example]:
    """The four sentences are one document, as in the released code; there is no question."""
    heading, *rows = csv.reader(io.StringIO(content))
    if heading != _STORY:
        raise ValueError(f"columns {heading}; expected {_STORY}")
    for name, *sentences, one, other, right in rows:
        if right not in ("1", "2"):
            raise ValueError(f"story {name}: right ending {right!r}; expected 1 or 2")
        texts = [" ".join(each.strip() for each in sentences), "", one, other]
        yield _example(name, texts, int(right) - 1, may_lack=1)


def _mctest(stories: str, answers: str) -> Iterator[Example]:
    """A question's `one:` or `multiple:` says how many sentences its answer needs; it goes."""
    for line, letters in zip(_lines(stories), _lines(answers), strict=True):
        name, _, story, *rest = map(_unescaped, line.split("\t"))
        right = letters.split("\t")
        if len(rest) != 5 * N_STORY_QUESTIONS or len(right) != N_STORY_QUESTIONS:
            raise ValueError(
                f"{name}: {len(rest)} columns of questions; expected 20, and 4 answers"
            )
        for i, letter in enumerate(right):
            kind, _, question = rest[5 * i].partition(": ")
            if kind not in ("one", "multiple") or letter not in LETTERS:
                raise ValueError(f"{name}, question {i}: {rest[5 * i]!r}, answer {letter!r}")
            texts = [story, question, *rest[5 * i + 1 : 5 * i + 5]]
            yield _example(f"{name}-{i}", texts, LETTERS.index(letter))


def _unescaped(field: str) -> str:
    for old, new in _ESCAPES:
        field = field.replace(old, new)
    return field


def _snli(content: str) -> Iterator[Example]:
    """Pairs on which the annotators did not agree have the label `-` and are left out."""
    for line in _lines(content):
        row = json.loads(line)
        name, label = row["pairID"], row["gold_label"]
        if label != "-":
            texts = [row["sentence1"], row["sentence2"]]
            yield _example(name, texts, _class(label, _TRIPLE, name))


def _mnli(content: str) -> Iterator[Example]:
    columns = ("sentence1", "sentence2", "gold_label")
    for i, (*texts, label) in _rows(content, columns):
        yield _example(i, texts, _class(label, _TRIPLE, i))


def _qqp(content: str) -> Iterator[Example]:
    """Lines that lack columns are broken in the published file; every public reader skips them."""
    heading, *lines = _lines(content)
    n_columns = len(heading.split("\t"))
    whole = [line for line in lines if len(line.split("\t")) == n_columns]
    columns = ("question1", "question2", "is_duplicate")
    for i, (*texts, label) in _rows("\n".join([heading, *whole]), columns):
        yield _example(i, texts, _class(label, _BINARY, i))


def _qnli(content: str) -> Iterator[Example]:
    for i, (*texts, label) in _rows(content, ("question", "sentence", "label")):
        yield _example(i, texts, _class(label, _PAIR, i))


def _scitail(content: str) -> Iterator[Example]:
    for i, line in enumerate(_lines(content)):
        fields = line.split("\t")
        if len(fields) != 3:
            raise ValueError(f"line {i + 1}: {len(fields)} columns; expected 3")
        yield _example(f"{i:06d}", fields[:2], _class(fields[2], _SCITAIL, i))


def _race(content: str) -> Iterator[Example]:
    for line in _lines(content):
        row = json.loads(line)
        columns = (row["questions"], row["options"], row["answers"])
        for i, (question, options, letter) in enumerate(zip(*columns, strict=True)):
            if len(options) != len(LETTERS) or letter not in LETTERS:
                raise ValueError(f"{row['id']}, question {i}: {len(options)} options, {letter!r}")
            texts = [row["article"], question, *options]
            yield _example(f"{row['id']}-{i}", texts, LETTERS.index(letter))


_READERS: dict[Form, Callable[[str], Iterator[Example]]] = {
    "sst2": _sst2,
    "cola": _cola,
    "mrpc": _mrpc,
    "stsb": _stsb,
    "rte": _rte,
    "sick": _sick,
    "story_cloze": _story_cloze,
    "snli": _snli,
    "mnli": _mnli,
    "qqp": _qqp,
    "qnli": _qnli,
    "scitail": _scitail,
    "race": _race,
}
