"""The evaluation sets in one schema: published files from a mirror folder, and the default's own.

    mirror/lambada/lambada_test.jsonl ──┐
    mirror/ptb/ptb.test.txt ────────────┼──> data/eval/<set>.parquet (set, split, example_id,
    data/unique/valid/ ─> heldout* ─────┤                             text, fields)
    extra/trivia.jsonl ─────────────────┘    data/eval/train/<set>.parquet
                                             data/eval/sets.json

Decisions:
- A file that is absent is listed with the reason and stops nothing. A file whose bytes are not the
  published ones stops the stage, unless `accept` names its set: scores of other bytes may be used,
  and are never shown beside the paper's.
- `text` is what decontamination looks for: a passage, a schema with its answer in place, an
  article. The rows of a running text, joined, are the file.
- `heldout`: documents of the validation split, chosen by hash of their ids.
- `heldout_lastword`: passages from these documents in LAMBADA's form; see `lastword`.
- A user's own sets (`extra`) are studied for overlap, not scored; their training parts lie apart.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from model.tasks import answers, extra, forms, lastword, splits
from model.tasks.forms import Example
from model.tasks.registry import HELDOUT, LASTWORD, SETS, EvalSet, Form
from pipeline.store import manifest, records, shards
from pipeline.store.config import require

READERS: dict[Form, Callable[..., tuple[list[Example], int]]] = (
    forms.READERS | answers.READERS | splits.READERS
)
SIDECAR = "sets.json"
TRAIN_FOLDER = "train"  # training parts of sets, which decontamination compares these with


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Which sets are made.

    Attributes:
        mirror: Folder of published files, laid out as in `registry`; null for none.
        extra: Folder of a user's own sets, laid out as in `extra.py`; null for none.
        accept: Names of sets whose file may differ from the published bytes.
        heldout_documents: At most so many documents of the validation split.
        lastword_per_document: At most so many last-word passages from one of them.
        lastword_min_words: Words of a passage before its last sentence, at least.
    """

    mirror: str | None
    extra: str | None
    accept: tuple[str, ...]
    heldout_documents: int
    lastword_per_document: int
    lastword_min_words: int

    def __post_init__(self) -> None:
        known = sorted(each.name for each in SETS)
        require("accept", self.accept, set(self.accept) <= set(known), f"some of {known}")
        for name in ("heldout_documents", "lastword_per_document", "lastword_min_words"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")


def run(unique: Path, output: Path, config: Config) -> dict[str, Any]:
    """Fills `data/eval/`.

    Args:
        unique: Output of `dedup`; its validation part is read.
        output: Folder to fill.
        config: Section `evalsets` of params.yaml.

    Returns:
        The stage's figures.

    Raises:
        FileNotFoundError: If `mirror` or `extra` is named and is no folder.
        ValueError: If a file has other bytes than the published one, or is not in its form.
    """
    for name, folder in (("mirror", config.mirror), ("extra", config.extra)):
        if folder is not None and not Path(folder).is_dir():
            raise FileNotFoundError(
                f"params.yaml: evalsets.{name}: {folder} is no folder; expected one, laid out as "
                "docs/evalsets.md says, or null"
            )
    paths = manifest.load(unique, "dedup").paths("valid")
    for old in [output / SIDECAR, *output.rglob("*.parquet")]:
        old.unlink(missing_ok=True)
    documents = _documents(paths, config.heldout_documents)
    listed = [_heldout(documents, output), _lastword(documents, output, config)]
    listed += [_published(each, output, config) for each in SETS]
    listed += _brought(output, config)
    shards.write_atomic(output / SIDECAR, shards.to_json({"sets": listed}))
    present = {each["set"]: each["n_examples"] for each in listed if each["present"]}
    return {"n_examples": present, "n_absent": len(listed) - len(present)}


def read(folder: Path, name: str) -> list[Example]:
    """Returns the examples of a set that is present."""
    rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return [
        Example(example_id=row["example_id"], text=row["text"], fields=json.loads(row["fields"]))
        for row in rows
    ]


def listing(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what `sets.json` says of each known set, by name.

    Raises:
        FileNotFoundError: If the stage has not run.
    """
    if not (folder / SIDECAR).is_file():
        raise FileNotFoundError(f"{folder / SIDECAR} is missing; make it with: dvc repro evalsets")
    return {each["set"]: each for each in json.loads((folder / SIDECAR).read_bytes())["sets"]}


def digest(texts: Iterable[str]) -> str:
    """Returns the SHA-256 of texts joined; for a running text in rows, that of the text."""
    made = sha256()
    for text in texts:
        made.update(text.encode())
    return made.hexdigest()


def _documents(paths: Sequence[Path], n: int) -> list[tuple[str, str]]:
    """Returns (doc_id, text) of `n` documents that only their ids choose, sorted by id."""
    ids = [
        name for path in paths for name in pq.read_table(path, columns=["doc_id"])[0].to_pylist()
    ]
    chosen = set(
        sorted(ids, key=lambda name: xxhash.xxh3_64_intdigest(f"eval:{name}".encode()))[:n]
    )
    found = []
    for path in paths:
        table = pq.read_table(path, columns=["doc_id", "text"])
        found += [
            (row["doc_id"], row["text"]) for row in table.to_pylist() if row["doc_id"] in chosen
        ]
    return sorted(found)


def _heldout(documents: Sequence[tuple[str, str]], output: Path) -> dict[str, Any]:
    examples = [Example(example_id=name, text=text, fields={}) for name, text in documents]
    use = "bits per byte and perplexity of unseen documents"
    return _write(HELDOUT, "valid", examples, output) | _made(use, examples)


def _lastword(documents: Sequence[tuple[str, str]], output: Path, config: Config) -> dict[str, Any]:
    examples = [
        Example(
            example_id=f"{name}-{passage.start}",
            text=passage.text,
            fields={"target": passage.target},
        )
        for name, text in documents
        for passage in lastword.passages(name, text, config.lastword_min_words)[
            : config.lastword_per_document
        ]
    ]
    use = "LAMBADA's form: accuracy and perplexity of a passage's last word"
    return _write(LASTWORD, "valid", examples, output) | _made(use, examples)


def _made(use: str, examples: Sequence[Example]) -> dict[str, Any]:
    return {
        "present": bool(examples),
        "reason": "" if examples else "the validation split holds no such text",
        "use": use,
        "file": "",
        "url": "",
        "licence": "that of the crawled pages",
        "sha256": digest(each.text for each in examples),
        "digest_known": False,
    }


def _published(known: EvalSet, output: Path, config: Config) -> dict[str, Any]:
    told = {key: getattr(known, key) for key in ("use", "file", "url", "licence")}
    paths = [Path(config.mirror or "") / name for name, _ in known.files]
    if config.mirror is None or not all(path.is_file() for path in paths):
        reason = (
            "no mirror folder is named" if config.mirror is None else "not in the mirror folder"
        )
        absent = {"present": False, "reason": reason, "sha256": "", "digest_known": False}
        return {"set": known.name, "split": known.split, "n_examples": 0, **told, **absent}
    published = [_is_published(known, path, config) for path in paths]
    is_known = all(published)
    examples = _read_form(known, paths, is_known=is_known)
    found = shards.sha256_file(paths[0]) if len(paths) == 1 else _sha256_files(paths)
    present = {"present": True, "reason": "", "sha256": found, "digest_known": is_known}
    return _write(known.name, known.split, examples, output) | told | present


def _is_published(known: EvalSet, path: Path, config: Config) -> bool:
    """Tells whether a file is the published one; others must be accepted."""
    (expected,) = (digest for name, digest in known.files if path.match(name))
    found = shards.sha256_file(path)
    if found != expected and known.name not in config.accept:
        wanted = (
            f"that of the published {known.name}, {expected[:16]}…"
            if expected
            else f"{known.name}'s published digest, which is not known here (docs/evalsets.md)"
        )
        raise ValueError(
            f"{path} has SHA-256 {found[:16]}…; expected {wanted}; "
            f"remove it, or accept it with evalsets.accept: [{known.name}]"
        )
    return found == expected


def _read_form(known: EvalSet, paths: Sequence[Path], *, is_known: bool) -> list[Example]:
    where = " and ".join(map(str, paths))
    try:
        contents = [path.read_bytes().decode("utf-8") for path in paths]
        examples, n_units = READERS[known.form](*contents)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{where} is not in the form of {known.name}: {error}; expected the published "
            "file, or none"
        ) from error
    if is_known and n_units != known.n_units:
        raise ValueError(f"{where}: {n_units} {known.unit}; expected {known.n_units}")
    return examples


def _sha256_files(paths: Sequence[Path]) -> str:
    """Returns the SHA-256 of files joined."""
    made = sha256()
    for path in paths:
        made.update(path.read_bytes())
    return made.hexdigest()


def _brought(output: Path, config: Config) -> list[dict[str, Any]]:
    """Writes a user's own sets and training parts, and returns the sets' lines in `sets.json`."""
    if config.extra is None:
        return []
    known = [each.name for each in SETS]
    brought = extra.read(Path(config.extra), [HELDOUT, LASTWORD, *known])
    for name, examples in brought.train.items():
        _write(name, "train", examples, output / TRAIN_FOLDER)
    use = "overlap with the corpus; not scored"
    told = {"licence": "the user's", "reason": "the file holds no example"}
    return [
        _write(name, "extra", examples, output)
        | _made(use, examples)
        | (told if not examples else told | {"reason": ""})
        for name, examples in brought.sets.items()
    ]


def _write(name: str, split: str, examples: Sequence[Example], output: Path) -> dict[str, Any]:
    """Writes a set unless it is empty, and returns the beginning of its line in `sets.json`."""
    path = output / f"{name}.parquet"
    rows = [
        {
            "set": name,
            "split": split,
            "example_id": each.example_id,
            "text": each.text,
            "fields": json.dumps(each.fields, sort_keys=True, ensure_ascii=False),
        }
        for each in examples
    ]
    output.mkdir(parents=True, exist_ok=True)
    if rows:
        shards.write_table(path, pa.Table.from_pylist(rows, records.EVAL))
    return {"set": name, "split": split, "n_examples": len(rows)}
