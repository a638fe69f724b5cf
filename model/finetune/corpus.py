"""Two labelled tasks whose labels the corpus itself gives, so that fine-tuning needs no file.

    site            a passage                              which of the largest sites it is from
    continuation    a passage, and four sentences          which of them follows in the document

    data/unique/train/ ──hash──┬─ 4/5 ─> train      data/unique/valid/ ─> test, which is scored
                               └─ 1/5 ─> dev

Decisions:
- Splits are made by document, and no text stands in two of them: a sentence that occurs twice in
  the corpus is in no example. Pre-training has read the documents of train and dev, and none of
  test: what is scored is new to the model in every way.
- `site`: a passage that holds a part of its site's name (`numpy` of `numpy-guide.test`) would give
  its label away, and is left out. A class has the same number of training examples as any other,
  as far as its documents go.
- `continuation`: the wrong sentences follow passages of other documents, of the same site where it
  has enough, and have about as many words (in a small corpus, as nearly as there are): neither
  topic nor length gives the answer away.
- All of it is chosen by hash of the document's id and the passage's text, so that one more document
  moves few examples.
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from model.finetune.tasks import SPLITS, Example, Kind, Split, Task

SITE = "site"
CONTINUATION = "continuation"

DEV_BUCKETS = 5  # one of so many of the training documents is for dev
MIN_SENTENCE_WORDS = 5
MIN_PASSAGE_WORDS = 8
MIN_LETTERS_FRAC = 0.75  # of a sentence's characters, blanks not counted; code has fewer
MIN_NAME_CHARS = 3  # of a part of a site's name that gives it away
N_ANSWERS = 4
MIN_SITES = 2
MAX_WORDS_APART = 2  # a wrong answer's words beside the right one's
MAX_WORDS_FURTHER = 10  # where a small corpus has too few of them

# From a capital at a line's beginning or after a sentence to a mark in the same line.
_SENTENCE = re.compile(r"(?:^|(?<=[.!?] ))[A-Z][^\n]*?[.!?](?=\s|\Z)", re.MULTILINE)
_NAME_PART = re.compile(r"[a-z]+")

Splits = dict[Split, list[Example]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document of one split; `site` is its domain, "" for none."""

    doc_id: str
    site: str
    split: Split
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many examples are made.

    Attributes:
        n_sites: Classes of `site`, at most.
        per_document: Examples of one document, at most.
        max_train: Training examples, at most.
        max_scored: Examples of dev and of test, at most.
    """

    n_sites: int
    per_document: int
    max_train: int
    max_scored: int

    def of(self, split: Split) -> int:
        """Returns how many examples a split has, at most."""
        return self.max_train if split == "train" else self.max_scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Sentences that follow each other in a document; `then` is the one after them, "" for none."""

    document: Document
    sentences: tuple[str, ...]
    then: str

    @property
    def text(self) -> str:
        """The sentences, joined by blanks."""
        return " ".join(self.sentences)


Pool = dict[tuple[Split, str, int], list[Passage]]


def split_of(doc_id: str) -> Split:
    """Returns the split of a training document."""
    bucket = _hash(f"labelled:{doc_id}") % DEV_BUCKETS
    return "dev" if bucket == 0 else "train"


def runs(text: str) -> list[list[str]]:
    r"""Returns the sentences of a text, those in one list that nothing stands between.

    A sentence begins with a capital and ends with a mark in the same line, and most of it is
    letters.

    >>> runs("It reads one whole file. It returns bytes, or some text.\nf(x) -> y\nSo it goes.")
    [['It reads one whole file.', 'It returns bytes, or some text.']]
    """
    found: list[list[str]] = []
    end = 0
    for match in _SENTENCE.finditer(text):
        if not _is_prose(match[0]):
            continue
        if not found or text[end : match.start()].strip():
            found.append([])
        found[-1].append(match[0])
        end = match.end()
    return found


def passages(documents: Iterable[Document], max_words: int) -> list[Passage]:
    """Returns passages all of whose sentences occur once in the documents, in order of hash.

    Args:
        documents: Of all splits.
        max_words: Of a passage and the sentence that follows it.
    """
    counts: Counter[str] = Counter()
    found: list[Passage] = []
    for document in documents:
        for run in runs(document.text):
            counts.update(run)
            found += _cut(document, run, max_words)
    once = [each for each in found if all(counts[s] <= 1 for s in (*each.sentences, each.then))]
    return sorted(once, key=_rank)


def site(found: Sequence[Passage], limits: Limits) -> tuple[Task, Splits] | None:
    """Returns the classification task and its examples; None where fewer than two sites have some.

    Args:
        found: Passages of all splits.
        limits: How many examples are made.
    """
    fair = [each for each in found if each.document.site and not _tells_site(each)]
    by_class: dict[tuple[str, Split], list[Passage]] = defaultdict(list)
    for passage in _per_document(fair, limits.per_document):
        by_class[passage.document.site, passage.document.split].append(passage)
    names = _largest(by_class, limits.n_sites)
    if len(names) < MIN_SITES:
        return None
    made: Splits = {
        split: [
            _example(passage, (passage.text,), label)
            for label, name in enumerate(names)
            for passage in by_class[name, split][: max(1, limits.of(split) // len(names))]
        ]
        for split in SPLITS
    }
    return _task(SITE, "text", tuple(names)), _sorted(made)


def continuation(found: Sequence[Passage], limits: Limits) -> tuple[Task, Splits] | None:
    """Returns the multiple-choice task and its examples; None where a split has none.

    Args:
        found: Passages of all splits.
        limits: How many examples are made.
    """
    followed = [each for each in found if each.then]
    pool = _pool(followed)
    made: Splits = {split: [] for split in SPLITS}
    for passage in _per_document(followed, limits.per_document):
        split = passage.document.split
        if len(made[split]) == limits.of(split):
            continue
        wrong = _wrong(passage, pool)
        if len(wrong) == N_ANSWERS - 1:
            made[split].append(_choice(passage, wrong))
    if not all(made.values()):
        return None
    return _task(CONTINUATION, "choice", ()), _sorted(made)


def _is_prose(sentence: str) -> bool:
    solid = re.sub(r"\s", "", sentence)
    n_letters = sum(map(str.isalpha, solid))
    return _n_words(sentence) >= MIN_SENTENCE_WORDS and n_letters >= MIN_LETTERS_FRAC * len(solid)


def _n_words(text: str) -> int:
    return len(text.split())


def _cut(document: Document, run: Sequence[str], max_words: int) -> Iterator[Passage]:
    """Yields passages of a run, no sentence twice: as many as fit together with the next one."""
    start = 0
    while start < len(run):
        stop = start + 1
        while stop + 1 < len(run) and _n_words(" ".join(run[start : stop + 2])) <= max_words:
            stop += 1
        then = run[stop] if stop < len(run) else ""
        passage = Passage(document=document, sentences=tuple(run[start:stop]), then=then)
        if _fits(passage, max_words):
            yield passage
        start = stop + 1


def _fits(passage: Passage, max_words: int) -> bool:
    n_words = _n_words(passage.text)
    return n_words >= MIN_PASSAGE_WORDS and n_words + _n_words(passage.then) <= max_words


def _rank(passage: Passage) -> tuple[int, str]:
    key = f"{passage.document.doc_id}:{passage.text}"
    return _hash(key), key


def _per_document(found: Iterable[Passage], n: int) -> list[Passage]:
    """Returns the first `n` passages of each document."""
    seen: Counter[str] = Counter()
    kept = []
    for passage in found:
        if seen[passage.document.doc_id] < n:
            kept.append(passage)
        seen[passage.document.doc_id] += 1
    return kept


def _tells_site(passage: Passage) -> bool:
    """Tells whether a passage holds a part of its site's name."""
    parts = _NAME_PART.findall(passage.document.site.rpartition(".")[0])
    text = passage.text.lower()
    return any(part in text for part in parts if len(part) >= MIN_NAME_CHARS)


def _largest(by_class: Mapping[tuple[str, Split], list[Passage]], n: int) -> list[str]:
    """Returns the names of the sites with most training passages that have some in every split."""
    names = {name for name, _ in by_class}
    whole = [name for name in names if all((name, split) in by_class for split in SPLITS)]
    return sorted(sorted(whole, key=lambda name: (-len(by_class[name, "train"]), name))[:n])


def _pool(followed: Sequence[Passage]) -> Pool:
    """Returns passages by split, site ("" for all of them) and number of words that follow."""
    made: Pool = defaultdict(list)
    for passage in followed:
        document = passage.document
        for name in {document.site, ""}:
            made[document.split, name, _n_words(passage.then)].append(passage)
    return made


def _wrong(passage: Passage, pool: Pool) -> list[str]:
    """Returns what follows passages of other documents: of the same site if it has enough."""
    n_words, document, key = _n_words(passage.then), passage.document, passage.text
    near = range(MAX_WORDS_APART + 1)
    further = [(range(apart, apart + 1), "") for apart in range(len(near), MAX_WORDS_FURTHER + 1)]
    chosen: list[str] = []
    for reach, name in [(near, document.site), (near, ""), *further]:
        fit = {
            other.then
            for n in {n_words + sign * apart for apart in reach for sign in (-1, 1)}
            for other in pool.get((document.split, name, n), [])
            if other.document.doc_id != document.doc_id
        }
        ranked = ((_hash(f"{key}:{then}"), then) for then in fit.difference(chosen))
        more = heapq.nsmallest(N_ANSWERS - 1 - len(chosen), ranked)
        chosen += [then for _, then in more]
        if len(chosen) == N_ANSWERS - 1:
            break
    return chosen


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def _choice(passage: Passage, wrong: Sequence[str]) -> Example:
    """Puts the right answer where a hash says."""
    place = _hash(f"place:{passage.text}") % N_ANSWERS
    answers = [*wrong[:place], passage.then, *wrong[place:]]
    return _example(passage, (passage.text, "", *answers), place)


def _example(passage: Passage, texts: tuple[str, ...], label: int) -> Example:
    digest = xxhash.xxh3_64_hexdigest(passage.text.encode())
    name = f"{passage.document.doc_id}-{digest}"
    return Example(example_id=name, texts=texts, label=label)


def _sorted(made: Splits) -> Splits:
    """Examples of one class must not follow each other: they are sorted by id, which is a hash."""
    return {
        split: sorted(examples, key=lambda each: each.example_id)
        for split, examples in made.items()
    }


def _task(name: str, kind: Kind, labels: tuple[str, ...]) -> Task:
    return Task(
        name=name,
        kind=kind,
        labels=labels,
        grades=None,
        metrics=("accuracy",),
        scored_split="test",
        use="the default's own: labels that the corpus gives",
        paper={},
        paper_split="",
        comparable=False,
    )
