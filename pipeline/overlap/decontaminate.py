"""Measures what the corpus shares with the evaluation sets, and removes it on request.

    data/eval ──1 index──> 8-grams, filter ──┬──> 3 table: % of each set's 8-grams in the corpus
    data/unique ──2 scan─────────────────────┴──> 4 remove: data/corpus

Decisions:
- 8-grams of lower-cased alphanumeric words, as in the paper, which measured and did not remove.
  Paper: GPT-2, section 4.
- All counts are of distinct 8-grams, of a set and of a document alike; the paper leaves that open.
- Only training documents count in the table and are ever removed. The validation part passes
  through row by row: some evaluation sets are made of it and would be found in it in full.
- A text of fewer than 8 words has no 8-gram: it is never found and never removed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate, shard_map
from pipeline.engine.tasks import Engine
from pipeline.overlap import evalgrams, scan
from pipeline.store import manifest, records
from pipeline.store.config import require
from pipeline.store.records import Drop
from pipeline.store.shards import Shard, ShardDraft, counts_json

CONTAMINATED = "contaminated"

_LIBRARIES = ("numpy", "pyarrow", "xxhash")
_N_LISTED = 20  # documents with the most overlap, in the metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `decontaminate` of params.yaml.

    Attributes:
        remove: Whether contaminated documents are dropped; they are measured in any case.
        max_overlap_frac: Share of a document's 8-grams that may be found in evaluation sets.
        max_matched_ngrams: Distinct 8-grams that a document may share with one example.
        max_fp: Rate of wrong yes-answers of the Bloom filter.
    """

    remove: bool
    max_overlap_frac: float
    max_matched_ngrams: int
    max_fp: float

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        frac = self.max_overlap_frac
        require("max_overlap_frac", frac, 0 <= frac <= 1, "0 <= x <= 1")
        require(
            "max_matched_ngrams", self.max_matched_ngrams, self.max_matched_ngrams >= 0, "x >= 0"
        )
        require("max_fp", self.max_fp, 1e-15 <= self.max_fp <= 0.5, "1e-15 <= x <= 0.5")

    def allows(self, overlap: Mapping[str, Any]) -> bool:
        """Returns whether a document with these figures (a row of `scan`) may stay."""
        n_found, n_ngrams, n_shared = (overlap[k] for k in ("n_found", "n_ngrams", "n_shared"))
        frac = n_found / max(1, n_ngrams)  # not `overlap_frac`, a rounded float32
        return bool(frac <= self.max_overlap_frac and n_shared <= self.max_matched_ngrams)


def run(
    inputs: Path, evaluation: Path, output: Path, config: Config, engine: Engine
) -> dict[str, Any]:
    """Fills `output` with the corpus and returns the figures.

    Args:
        inputs: `data/unique/`.
        evaluation: `data/eval/`, one Parquet file per set.
        output: `data/corpus/`.
        config: Section `decontaminate`.
        engine: Where tasks run.

    Raises:
        ManifestError: If the input is missing or unfinished.
        FileNotFoundError: If there is no folder of evaluation sets.
        ShardError: If a self-test fails.
    """
    unique = manifest.load(inputs, "dedup")
    if not evaluation.is_dir():
        raise FileNotFoundError(f"{evaluation} is missing; run `dvc repro evalsets`")
    parts = tuple(zip(unique.paths("train"), unique.paths("valid"), strict=True))
    indexed = _index(sorted(evaluation.glob("*.parquet")), config.max_fp, engine)
    scanned = _scan(parts, indexed, engine)
    table = _tabulate(indexed, scanned, engine)
    step = Step(name="decontaminate", code=__name__, config=config, libraries=_LIBRARIES)
    tasks = [
        (*files, shard.path(scan.TRAIN), shard.path(scan.VALID))
        for files, shard in zip(parts, scanned, strict=True)
    ]
    corpus = shard_map(step, tasks, partial(write, config=config), output, engine)
    return {
        "counts": counts_json(corpus.counts),
        "tally": {**indexed.tally, **manifest.total(scanned)[1], **corpus.tally},
        "sets": table,
        **summarise([shard.path(scan.TRAIN) for shard in scanned], config),
    }


def _index(sets: Sequence[Path], max_fp: float, engine: Engine) -> Shard:
    step = Step(
        name="decontaminate-index",
        code=evalgrams.__name__,
        config={"max_fp": max_fp},
        libraries=_LIBRARIES,
    )
    return intermediate(step, [sets], partial(evalgrams.write, max_fp=max_fp), engine).shards[0]


def _scan(parts: Sequence[tuple[Path, Path]], indexed: Shard, engine: Engine) -> tuple[Shard, ...]:
    step = Step(name="decontaminate-scan", code=scan.__name__, config=None, libraries=_LIBRARIES)
    tasks = [(*files, *map(indexed.path, evalgrams.FILES)) for files in parts]
    return intermediate(step, tasks, scan.write, engine).shards


def _tabulate(indexed: Shard, scanned: Sequence[Shard], engine: Engine) -> dict[str, Any]:
    step = Step(name="decontaminate-table", code=scan.__name__, config=None, libraries=_LIBRARIES)
    task = [*map(indexed.path, evalgrams.FILES), *(shard.path(scan.FOUND) for shard in scanned)]
    made = intermediate(step, [task], scan.tabulate, engine).shards[0]
    return scan.read_table(made.path(scan.TABLE))


def write(inputs: tuple[Path, ...], draft: ShardDraft, config: Config) -> None:
    """Writes one shard of the corpus (step 4).

    Args:
        inputs: Training and validation file of `data/unique/`, then their overlaps.
        draft: Where to write.
        config: Thresholds.
    """
    train, valid = (pq.read_table(path, schema=records.UNIQUE) for path in inputs[:2])
    train_overlaps, valid_overlaps = (pq.read_table(path) for path in inputs[2:])
    draft.count_in(train.num_rows + valid.num_rows)
    is_kept = []
    for row, overlap in enumerate(train_overlaps.to_pylist()):
        allowed = config.allows(overlap)
        draft.tally("n_contaminated", int(not allowed))
        is_kept.append(allowed or not config.remove)
        if not is_kept[-1]:
            drop = Drop(CONTAMINATED, _detail(overlap))
            draft.drop(overlap["doc_id"], drop, train["text"][row].as_py())
    kept = _with_overlap(train, train_overlaps).filter(pa.array(is_kept, pa.bool_()))
    draft.write_table("train.parquet", kept)
    draft.write_table("valid.parquet", _with_overlap(valid, valid_overlaps))
    draft.count_out(kept.num_rows + valid.num_rows)
    draft.tally("n_train", kept.num_rows)
    draft.tally("n_valid", valid.num_rows)


def _detail(overlap: Mapping[str, Any]) -> str:
    return (
        f"set={overlap['set']} example_id={overlap['example_id']} "
        f"8grams={overlap['n_shared']} overlap_frac={overlap['overlap_frac']:.4f}"
    )


def _with_overlap(documents: pa.Table, overlaps: pa.Table) -> pa.Table:
    field = records.CORPUS.field("overlap_frac")
    return documents.append_column(field, overlaps["overlap_frac"])


def summarise(overlaps: Sequence[Path], config: Config) -> dict[str, Any]:
    """Returns how overlap is spread over training documents, and the documents with the most."""
    rows = [row for path in overlaps for row in pq.read_table(path).to_pylist()]
    touched = [row for row in rows if row["n_shared"]]
    touched.sort(key=lambda row: (-row["overlap_frac"], row["doc_id"]))
    tenths = Counter(f"{int(row['overlap_frac'] * 10) / 10:.1f}" for row in touched)
    listed = [
        row | {"overlap_frac": round(row["overlap_frac"], 4), "allowed": config.allows(row)}
        for row in touched[:_N_LISTED]
    ]
    return {"n_touched": len(touched), "overlap_tenths": tenths, "most_overlap": listed}
