"""Labelled tasks in one schema: published files from a mirror folder, and the default's own two.

    mirror/sst2/train.tsv ... ────┬─> data/labelled/<task>.parquet (split, example_id, texts, label)
    data/unique/{train,valid}/ ───┘   data/labelled/tasks.json

Decisions:
- A file that is absent is listed with the reason and stops nothing. A file whose bytes are not the
  published ones stops the stage, unless `accept` names its task; the paper's figure is then never
  shown beside its scores. With `accept`, a split's further files may be missing (GLUE's own
  `train.tsv` of SST-2 and CoLA is one whole file).
- A task is there when all of its splits are.
- Every task has train and dev. Where none is published, dev is drawn from train by the permutation
  that the paper's code draws Story Cloze's with: of scikit-learn's `train_test_split`, which is
  numpy's legacy generator's. Deviation: for MRPC, GLUE's dev pairs are others, as many.
- How many scored examples have a text of the training split is counted, and shown.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from model.finetune import corpus, readers
from model.finetune.corpus import Document, Limits
from model.finetune.published import TASKS, Part, Published
from model.finetune.tasks import SPLITS, Example, Split, Task
from pipeline.store import manifest, shards
from pipeline.store.config import require

SIDECAR = "tasks.json"
SPLIT_SEED = 3_535_999_445  # released code, datasets.py
SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("texts", pa.list_(pa.string()), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
    ]
)

Splits = dict[Split, list[Example]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Which tasks are made.

    Attributes:
        mirror: Folder of published files, laid out as in `published`; null for none.
        accept: Names of tasks whose files may differ from the published bytes.
        max_documents: Documents of each part of the corpus that are looked at, chosen by hash.
        n_sites: Classes of the default's own classification task, at most.
        per_document: Examples that one document gives to one of the default's own tasks, at most.
        max_words: Words of such an example: of a passage, with `continuation` of it and its answer.
        max_train: Training examples of such a task, at most.
        max_scored: Examples of its dev and of its test split, at most.
    """

    mirror: str | None
    accept: tuple[str, ...]
    max_documents: int
    n_sites: int
    per_document: int
    max_words: int
    max_train: int
    max_scored: int

    def __post_init__(self) -> None:
        known = sorted(each.task.name for each in TASKS)
        require("accept", self.accept, set(self.accept) <= set(known), f"some of {known}")
        require("n_sites", self.n_sites, self.n_sites >= corpus.MIN_SITES, "x >= 2")
        least = corpus.MIN_PASSAGE_WORDS + corpus.MIN_SENTENCE_WORDS
        require("max_words", self.max_words, self.max_words >= least, f"x >= {least}")
        for name in ("max_documents", "per_document", "max_train", "max_scored"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")


def run(unique: Path, output: Path, config: Config) -> dict[str, Any]:
    """Fills `data/labelled/`.

    Args:
        unique: Output of `dedup`.
        output: Folder to fill.
        config: Section `labelled` of params.yaml.

    Returns:
        The examples of each task, the paper's figures where they may stand beside ours, and what
        is absent.

    Raises:
        FileNotFoundError: If `mirror` is named and is no folder.
        ValueError: If a file has other bytes than the published one, or is not in its form.
    """
    if config.mirror is not None and not Path(config.mirror).is_dir():
        raise FileNotFoundError(
            f"params.yaml: labelled.mirror: {config.mirror} is no folder; expected one, laid out "
            "as docs/evalsets.md says, or null"
        )
    passages = corpus.passages(_documents(unique, config.max_documents), config.max_words)
    for old in [output / SIDECAR, *output.glob("*.parquet")]:
        old.unlink(missing_ok=True)
    limits = Limits(
        **{each.name: getattr(config, each.name) for each in fields(Limits)}  # same names
    )
    listed = [
        _made(corpus.SITE, corpus.site(passages, limits), output),
        _made(corpus.CONTINUATION, corpus.continuation(passages, limits), output),
        *(_published(each, output, config) for each in TASKS),
    ]
    shards.write_atomic(output / SIDECAR, shards.to_json({"tasks": listed}))
    present = [each for each in listed if each["present"]]
    return {
        "n_examples": {each["name"]: each["n_examples"] for each in present},
        "paper": {
            each["name"]: each["paper"]
            for each in present
            if each["comparable"] and each["digest_known"]
        },
        "absent": {each["name"]: each["reason"] for each in listed if not each["present"]},
    }


def read(folder: Path, name: str) -> Splits:
    """Returns the examples of a task that is present, by split."""
    found: Splits = {}
    for row in pq.read_table(folder / f"{name}.parquet").to_pylist():
        example = Example(
            example_id=row["example_id"], texts=tuple(row["texts"]), label=row["label"]
        )
        found.setdefault(row["split"], []).append(example)
    return found


def listing(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what `tasks.json` says of each known task, by name.

    Raises:
        FileNotFoundError: If the stage has not run.
    """
    if not (folder / SIDECAR).is_file():
        raise FileNotFoundError(f"{folder / SIDECAR} is missing; make it with: dvc repro labelled")
    return {each["name"]: each for each in json.loads((folder / SIDECAR).read_bytes())["tasks"]}


def task(told: Mapping[str, Any]) -> Task:
    """Returns the task of a line of `tasks.json` that is present."""
    values = {each.name: told[each.name] for each in fields(Task)}
    for name in ("labels", "metrics"):
        values[name] = tuple(values[name])
    return Task(**values)


def drawn(n: int, n_dev: int) -> tuple[list[int], list[int]]:
    """Returns the indices of train and dev that scikit-learn's `train_test_split` draws.

    >>> drawn(5, 2)
    ([3, 2, 4], [0, 1])
    """
    order = np.random.RandomState(SPLIT_SEED).permutation(n).tolist()
    return order[n_dev:], order[:n_dev]


def _documents(unique: Path, n: int) -> list[Document]:
    """Returns documents of both parts of the corpus that only their ids choose, sorted by id."""
    sealed = manifest.load(unique, "dedup")
    found = []
    for part in ("train", "valid"):
        paths = sealed.paths(part)
        ids = [
            name
            for path in paths
            for name in pq.read_table(path, columns=["doc_id"])[0].to_pylist()
        ]
        chosen = set(
            sorted(ids, key=lambda name: xxhash.xxh3_64_intdigest(f"labelled:{name}".encode()))[:n]
        )
        for path in paths:
            table = pq.read_table(path, columns=["doc_id", "domain", "text"])
            found += [
                Document(
                    doc_id=row["doc_id"],
                    site=row["domain"],
                    split="test" if part == "valid" else corpus.split_of(row["doc_id"]),
                    text=row["text"],
                )
                for row in table.to_pylist()
                if row["doc_id"] in chosen
            ]
    return sorted(found, key=lambda each: each.doc_id)


def _made(name: str, made: tuple[Task, Splits] | None, output: Path) -> dict[str, Any]:
    """Writes a task that the corpus gives, and returns its line of `tasks.json`."""
    if made is None:
        return _absent(name, "the corpus gives too few examples")
    told = {"url": "", "licence": "that of the crawled pages", "digest_known": True, "files": {}}
    return _write(made[0], made[1], output) | told


def _published(known: Published, output: Path, config: Config) -> dict[str, Any]:
    name = known.task.name
    told = {"url": known.url, "licence": known.licence}
    if config.mirror is None:
        return _absent(name, "no mirror folder is named") | told
    mirror = Path(config.mirror)
    files = {
        split: _files(mirror, part, accepted=name in config.accept)
        for split, part in known.parts.items()
    }
    if not all(files.values()):
        return _absent(name, "not in the mirror folder") | told
    digests = {
        split: {path: _digest(mirror / path) for path in paths} for split, paths in files.items()
    }
    is_known = _check(known, digests, mirror, accepted=name in config.accept)
    examples = {
        split: _read_part(known, split, mirror, paths, is_known=is_known)
        for split, paths in files.items()
    }
    if known.n_dev:
        whole = examples["train"]
        train, dev = drawn(len(whole), min(known.n_dev, len(whole) // 2))
        examples |= {"train": [whole[i] for i in train], "dev": [whole[i] for i in dev]}
    return (
        _write(known.task, examples, output) | told | {"digest_known": is_known, "files": digests}
    )


def _files(mirror: Path, part: Part, *, accepted: bool) -> list[str]:
    """Returns a split's files as far as they are there; none if it cannot be read."""
    there = [path for path, _ in part.files if (mirror / path).exists()]
    is_whole = len(there) == len(part.files)
    return there if is_whole or (accepted and part.files[0][0] in there) else []


def _digest(path: Path) -> str:
    """Returns the SHA-256 of a file; "" of a folder, which none is known of."""
    return shards.sha256_file(path) if path.is_file() else ""


def _check(
    known: Published, digests: Mapping[Split, Mapping[str, str]], mirror: Path, *, accepted: bool
) -> bool:
    """Tells whether all files are the published ones; others must be accepted."""
    is_known = True
    for split, part in known.parts.items():
        for path, expected in part.files:
            found = digests[split].get(path, "")
            if found == expected != "":
                continue
            is_known = False
            if not accepted:
                wanted = (
                    f"that of the published one, {expected[:16]}…"
                    if expected
                    else "the published one's, which is not known here (docs/evalsets.md)"
                )
                raise ValueError(
                    f"{mirror / path} has SHA-256 {found[:16]}…; expected {wanted}; "
                    f"remove it, or accept it with labelled.accept: [{known.task.name}]"
                )
    return is_known


def _read_part(
    known: Published, split: Split, mirror: Path, paths: Sequence[str], *, is_known: bool
) -> list[Example]:
    where = " and ".join(str(mirror / path) for path in paths)
    try:
        found = readers.read(known.form, [_content(mirror / path) for path in paths])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{where} is not in the form of {known.task.name}: {error}; expected the published "
            "file, or none"
        ) from error
    if is_known and len(found) != known.parts[split].n:
        raise ValueError(f"{where}: {len(found)} examples; expected {known.parts[split].n}")
    return found


def _content(path: Path) -> str:
    """Returns a file's text; of a folder its `*.txt` in order of names, a line each."""
    if path.is_file():
        return path.read_bytes().decode("utf-8")
    files = sorted(path.glob("*.txt"), key=lambda file: (len(file.name), file.name))
    return "".join(file.read_bytes().decode("utf-8").strip() + "\n" for file in files)


def _absent(name: str, reason: str) -> dict[str, Any]:
    return {"name": name, "present": False, "reason": reason, "n_examples": {}}


def _write(task: Task, splits: Splits, output: Path) -> dict[str, Any]:
    """Writes a task, and returns the beginning of its line in `tasks.json`."""
    rows = [
        {"split": split, "example_id": e.example_id, "texts": list(e.texts), "label": e.label}
        for split in SPLITS
        for e in splits.get(split, [])
    ]
    output.mkdir(parents=True, exist_ok=True)
    shards.write_table(output / f"{task.name}.parquet", pa.Table.from_pylist(rows, SCHEMA))
    trained = {text for each in splits["train"] for text in each.texts}
    return {
        **{each.name: getattr(task, each.name) for each in fields(Task)},
        "present": True,
        "reason": "",
        "n_examples": {split: len(found) for split, found in splits.items()},
        "n_by_label": _by_label(task, splits),
        "n_scored_with_trained_text": sum(
            bool(trained.intersection(each.texts) - {""}) for each in splits[task.scored_split]
        ),
    }


def _by_label(task: Task, splits: Splits) -> dict[str, dict[str, int]]:
    """Returns how many examples of each split have each label; nothing for graded tasks."""
    if task.grades is not None:
        return {}
    names = dict(enumerate(task.labels))
    return {
        split: {
            names.get(int(label), str(int(label))): n
            for label, n in sorted(Counter(each.label for each in found).items())
        }
        for split, found in splits.items()
    }
