"""Decontamination, last step (one task): the paper's table, and what each example shares.

    8-grams of the sets ──┬── found in the training text   ─> n_found, percent
                          ├── left in it after removal     ─> n_left, percent_left
                          └── found in their own training part ─> percent_own_train

All counts are of distinct 8-grams. An example of fewer than 8 words has none: it is counted in
`n_too_short`, adds nothing to its set's share, and is never found.
Paper: GPT-2, section 4 and table 6.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import columns, evalgrams
from pipeline.overlap.evalgrams import FILES, EvalGrams
from pipeline.overlap.verbatim import SCHEMA
from pipeline.overlap.words import Hashes, distinct
from pipeline.store import records
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft, linked_name, to_json

EXAMPLES = "part.parquet"
TABLE = "table.json"

# Paper: GPT-2, table 6: % of test 8-grams found in WebText, and in the set's own training part.
PAPER_PERCENT = {
    "ptb": (0.88, 2.67),
    "wikitext2": (1.63, 0.66),
    "enwik8": (6.31, 7.50),
    "text8": (3.94, 2.34),
    "wikitext103": (2.42, 9.09),
    "1bw": (3.75, 13.19),
}

Mask = npt.NDArray[np.bool_]

_NONE = np.empty(0, np.uint64)


class Files(NamedTuple):
    """What the table is made of; one file per shard and kind.

    Attributes:
        exact: 8-grams that the scan found.
        asked: 8-grams that a forward filter found; they count instead where there are any files.
        left: 8-grams left after removal.
        longest: The longest run of each example.
        own: The sets' own training parts, named like their sets.
    """

    exact: Sequence[Path]
    asked: Sequence[Path]
    left: Sequence[Path]
    longest: Sequence[Path]
    own: Sequence[Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many input files there are of each kind of `Files`, in its order."""

    counts: tuple[int, ...]

    @classmethod
    def of(cls, files: Files) -> Self:
        """Returns the layout of these files."""
        return cls(counts=tuple(map(len, files)))

    def split(self, paths: Sequence[Path]) -> Files:
        """Returns the files by kind."""
        ends = np.cumsum([0, *self.counts]).tolist()
        return Files(*(paths[a:b] for a, b in pairwise(ends)))


def write(inputs: tuple[Path, ...], draft: ShardDraft, layout: Layout) -> None:
    """Writes the examples' overlaps (`records.EXAMPLES`) and the table of sets.

    Args:
        inputs: The index's files, then those of `Files`.
        draft: Where to write.
        layout: How many there are of each.

    Raises:
        ShardError: If a forward filter lacks an 8-gram that the scan found.
    """
    grams = evalgrams.read(inputs[: len(FILES)])
    files = layout.split(inputs[len(FILES) :])
    hashes = grams.grams.hashes
    is_found = np.isin(hashes, _hashes(files.exact))
    if files.asked:
        is_found = _believe(np.isin(hashes, _hashes(files.asked)), is_found, hashes, draft)
    is_left = np.isin(hashes, _hashes(files.left))
    examples = _examples(grams, is_found, is_left)
    names = np.array(examples["set"].to_pylist(), np.str_)
    train = {path.stem: _own_train(path) for path in files.own}
    table = {}
    for name in sorted(set(names.tolist())):
        mine = (names == name)[grams.grams.owners]
        sizes = examples["n_8grams"].to_numpy()[names == name]
        table[name] = {
            "n_examples": len(sizes),
            "n_too_short": int((sizes == 0).sum()),
            **_shares(hashes, mine, is_found, is_left),
            **_paper(name),
        }
        if name in train:
            table[name] |= _share("own_train", hashes[mine], np.isin(hashes[mine], train[name]))
    draft.write_table(EXAMPLES, _with_longest(examples, files.longest))
    draft.write_bytes(TABLE, to_json(table))


def _believe(asked: Mask, exact: Mask, hashes: Hashes, draft: ShardDraft) -> Mask:
    """Returns a forward filter's answers, after a look at the exact ones."""
    if (exact & ~asked).any():
        raise ShardError("decontaminate self-test: the forward filter lacks 8-grams of the corpus")
    draft.tally("n_filter_false", len(distinct(hashes[asked & ~exact])))
    return asked


def _hashes(paths: Sequence[Path]) -> Hashes:
    found: Hashes = distinct(columns.read(paths)["hash"].to_numpy()) if paths else _NONE
    return found


def _own_train(path: Path) -> Hashes:
    return distinct(evalgrams.collect(pq.read_table(path)["text"]).hashes)


def _examples(grams: EvalGrams, is_found: Mask, is_left: Mask) -> pa.Table:
    """Returns set, example_id and the three counts of each example."""
    n, owners = grams.examples.num_rows, grams.grams.owners
    counts = {
        "n_8grams": np.bincount(owners, minlength=n),
        "n_found": np.bincount(owners[is_found], minlength=n),
        "n_left": np.bincount(owners[is_left], minlength=n),
    }
    names = grams.examples.select(["set", "example_id"])
    return pa.table({**{c: names[c] for c in names.column_names}, **counts})


def _shares(hashes: Hashes, mine: Mask, is_found: Mask, is_left: Mask) -> dict[str, Any]:
    found = _share("found", hashes[mine], is_found[mine])
    left = _share("left", hashes[mine], is_left[mine])
    n_8grams = len(distinct(hashes[mine]))
    percent = found.pop("percent_found")
    return {"n_8grams": n_8grams, **found, "percent": percent, **left}


def _share(what: str, hashes: Hashes, is_there: Mask) -> dict[str, Any]:
    """Returns how many of the distinct hashes are there, and how many per cent that is."""
    n, n_there = len(distinct(hashes)), len(distinct(hashes[is_there]))
    percent = round(100 * n_there / n, 4) if n else 0.0
    return {f"n_{what}": n_there, f"percent_{what}": percent}


def _paper(name: str) -> dict[str, float]:
    """Returns what the paper found for a set of that name, in WebText and in its own train part.

    >>> _paper("WikiText-2")
    {'paper_percent': 1.63, 'paper_percent_own_train': 0.66}
    """
    known = PAPER_PERCENT.get("".join(filter(str.isalnum, name.lower())))
    return dict(zip(("paper_percent", "paper_percent_own_train"), known or (), strict=False))


def _with_longest(examples: pa.Table, paths: Sequence[Path]) -> pa.Table:
    """Returns the examples with the longest run of each over all shards, the first id of equals."""
    rows = columns.read(paths).to_pylist() if paths else []
    rows.sort(key=lambda row: (-row["n_words"], row["doc_id"]))
    best: dict[int, dict[str, Any]] = {}
    for row in rows:
        best.setdefault(row["example"], row)
    absent = dict.fromkeys(SCHEMA.names) | {"n_words": 0, "text": ""}
    told = [best.get(example, absent) for example in range(examples.num_rows)]
    added = {name: [row[name] for row in told] for name in SCHEMA.names if name != "example"}
    return pa.table({**{c: examples[c] for c in examples.column_names}, **added}).cast(
        records.EXAMPLES
    )


def read(folder: Path) -> dict[str, Any]:
    """Returns the table of sets of a folder that `write` has filled."""
    table: dict[str, Any] = json.loads((folder / linked_name(TABLE, 0)).read_bytes())
    return table
