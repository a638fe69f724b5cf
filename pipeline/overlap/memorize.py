"""How much of what a model writes stands in its training text, beside what people wrote.

    samples/texts.parquet ──index──> 8-grams ──scan── data/corpus ──table──> share of each text
                                                                             longest verbatim run

The measure is that of decontamination: of each text, the share of its distinct 8-grams that occur
in any training document; confirmed word by word, so exact. The distribution of `generated` stands
beside that of `held_out`, texts of the same places and lengths by people.

Decisions:
- A text of fewer than 8 words has no 8-gram: it is counted in `n_too_short` and is in no share.
- The corpus is read as it was trained on, after decontamination.

Paper: GPT-2, section 4 and figure 5: most samples have less than 1 % overlap, over 30 % of them
none; the median of the test set is 2.6 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline.engine.tasks import Engine
from pipeline.overlap import scan, study, table
from pipeline.store import manifest, records, shards
from pipeline.store.config import require

TEXTS = "texts.parquet"
COMPARED = ("generated", "held_out")

_NAME = "memorize"
_TEXT_CHARS = 600  # of a run that is listed
_QUANTILES = {"median": 0.5, "p90": 0.9, "max": 1.0}

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `memorize` of params.yaml.

    Attributes:
        max_fp: Rate of wrong yes-answers of the Bloom filter, before they are looked up.
        n_longest: Longest verbatim runs that are listed with their documents.
    """

    max_fp: float
    n_longest: int

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        require("max_fp", self.max_fp, 1e-15 <= self.max_fp <= 0.5, "1e-15 <= x <= 0.5")
        require("n_longest", self.n_longest, self.n_longest >= 0, "x >= 0")


class Memorized(NamedTuple):
    """The figures, and the distributions as rows for a plot."""

    figures: dict[str, Any]
    cdf: list[dict[str, float]]


def run(samples: Path, corpus: Path, output: Path, config: Config, engine: Engine) -> Memorized:
    """Measures texts against the training part of the corpus.

    Args:
        samples: Output of `sample`.
        corpus: `data/corpus/`.
        output: Folder to fill with one row per text.
        config: Section `memorize`.
        engine: Where tasks run.

    Raises:
        ManifestError: If the corpus is missing or unfinished.
        FileNotFoundError: If there are no texts.
        ShardError: If a self-test fails.
    """
    opened = manifest.load(corpus, "decontaminate")
    texts = samples / TEXTS
    if not texts.is_file():
        raise FileNotFoundError(f"{texts} is missing; run `dvc repro sample`")
    parts = tuple(zip(opened.paths("train"), opened.paths("valid"), strict=True))
    indexed = study.index(_NAME, [texts], config.max_fp, engine)
    scanned = study.scan_shards(_NAME, parts, indexed, engine)
    found = [shard.path(scan.FOUND) for shard in scanned]
    longest = [shard.path(scan.LONGEST) for shard in scanned]
    files = table.Files(exact=found, asked=[], left=found, longest=longest, own=[])
    (path,) = study.tabulate(_NAME, files, indexed, output, engine).paths()
    rows = pq.read_table(path, schema=records.EXAMPLES).to_pylist()
    by_set = {name: _shares(rows, name) for name in sorted({row["set"] for row in rows})}
    figures = {
        "sets": {name: summarise(shares, rows, name) for name, shares in by_set.items()},
        "longest": _longest(rows, opened.paths("train"), config.n_longest),
    }
    return Memorized(figures=figures, cdf=cdf({n: by_set.get(n, np.empty(0)) for n in COMPARED}))


def _shares(rows: Sequence[Mapping[str, Any]], name: str) -> Shares:
    """Returns the share of each text's 8-grams that is found, texts without any left out."""
    mine = [row for row in rows if row["set"] == name and row["n_8grams"]]
    return np.array([row["n_found"] / row["n_8grams"] for row in mine], np.float64)


def summarise(shares: Shares, rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Returns the figures of one set of texts."""
    mine = [row for row in rows if row["set"] == name]
    told: dict[str, Any] = {
        "n_texts": len(mine),
        "n_too_short": len(mine) - len(shares),
        "n_8grams": sum(row["n_8grams"] for row in mine),
        "n_found": sum(row["n_found"] for row in mine),
        "longest_words": max(row["n_words"] for row in mine),
    }
    if len(shares):
        told["mean_percent"] = round(100 * float(shares.mean()), 4)
        for key, q in _QUANTILES.items():
            told[f"{key}_percent"] = round(100 * float(np.quantile(shares, q)), 4)
        told["none_frac"] = round(float((shares == 0).mean()), 4)
        told["below_1_percent_frac"] = round(float((shares < 0.01).mean()), 4)
    return told


def cdf(by_set: Mapping[str, Shares]) -> list[dict[str, float]]:
    """Returns the distributions at every share that occurs: the part of the texts at or below it.

    >>> cdf({"generated": np.array([0.0, 0.5]), "held_out": np.array([0.25])})[1]
    {'overlap_percent': 25.0, 'generated': 0.5, 'held_out': 1.0}
    """
    steps = np.unique(np.concatenate([np.array([0.0, 1.0]), *by_set.values()]))
    at_or_below = {
        name: np.searchsorted(np.sort(shares), steps, "right") / len(shares)
        for name, shares in by_set.items()
        if len(shares)
    }
    return [
        {
            "overlap_percent": round(100 * float(step), 4),
            **{name: round(float(values[i]), 6) for name, values in at_or_below.items()},
        }
        for i, step in enumerate(steps)
    ]


def _longest(
    rows: Sequence[Mapping[str, Any]], train: Sequence[Path], n: int
) -> list[dict[str, Any]]:
    """Returns the longest verbatim runs of generated texts, with the documents that have them."""
    made = [row for row in rows if row["set"] != COMPARED[1] and row["n_words"]]
    made.sort(key=lambda row: (-row["n_words"], row["set"], row["example_id"]))
    told = made[:n]
    urls = _urls(train, {row["doc_id"] for row in told})
    names = ("set", "example_id", "n_words", "doc_id", "doc_word", "example_word")
    return [
        {name: row[name] for name in names}
        | {"url": urls[row["doc_id"]], "text": row["text"][:_TEXT_CHARS]}
        for row in told
    ]


def _urls(train: Sequence[Path], wanted: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in train:
        columns = pq.read_table(path, columns=["doc_id", "url"])
        pairs = zip(columns["doc_id"].to_pylist(), columns["url"].to_pylist(), strict=True)
        found |= {doc_id: url for doc_id, url in pairs if doc_id in wanted}
    return found


def write_cdf(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes the distributions as a plot reads them."""
    shards.write_atomic(path, shards.to_json(list(rows)))
