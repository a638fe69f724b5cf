"""Measures what the corpus shares with the evaluation sets, and removes it on request.

    data/eval ──1 index──> 8-grams, filter ──┬──────────────────────> 4 table: data/overlap
    data/unique ──2 scan─────────────────────┴──> 3 remove: data/corpus ──┘

Decisions:
- 8-grams of lower-cased alphanumeric words, as in the paper, which measured and did not remove.
  Paper: GPT-2, section 4.
- All counts are of distinct 8-grams, of a set and of a document alike; the paper leaves that open.
- Only training documents count in the table and are ever removed. The validation part passes
  through row by row: some evaluation sets are made of it and would be found in it in full.
- A text of fewer than 8 words has no 8-gram: it is never found and never removed.
- Tokenized sets (PTB, WikiText, plain LAMBADA) are looked for as published: ` n't` and `<unk>` are
  words there, and break 8-grams that running text would share.
- `remove` decides what happens to a document beyond a threshold: nothing, it goes as a whole, or
  its matched spans do. No document beyond a threshold stays, in either way of removal.
- `filter: forward` fills the table as the paper did, from a filter of the corpus. Documents and
  spans come from the scan in any case, whose exact answers check the filter's.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow.parquet as pq

from pipeline.engine.shardmap import shard_map
from pipeline.engine.tasks import Engine
from pipeline.overlap import evalgrams, forward, remove, scan, study, table
from pipeline.overlap.remove import Limits
from pipeline.overlap.spans import Cutting
from pipeline.store import manifest
from pipeline.store.config import require
from pipeline.store.manifest import Manifest
from pipeline.store.shards import Shard, counts_json

TRAIN_FOLDER = "train"  # of data/eval/: the sets' own training parts

_NAME = "decontaminate"
_N_LISTED = 20  # documents with the most overlap, in the metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `decontaminate` of params.yaml.

    Attributes:
        remove: What goes of a contaminated document: nothing, all, or its matched spans.
        max_overlap_frac: Share of a document's 8-grams that may be found in evaluation sets.
        max_matched_ngrams: Distinct 8-grams that a document may share with one example.
        span: For `remove: span`.
        filter: What the table's Bloom filter holds: the evaluation sets (`reverse`: exact, for
            corpora of any size) or the corpus (`forward`: the paper's).
        max_fp: Rate of wrong yes-answers of the filter.
        forward: For `filter: forward`.
    """

    remove: Literal["none", "document", "span"]
    max_overlap_frac: float
    max_matched_ngrams: int
    span: Cutting
    filter: Literal["reverse", "forward"]
    max_fp: float
    forward: forward.Config

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        frac, n = self.max_overlap_frac, self.max_matched_ngrams
        require("max_overlap_frac", frac, 0 <= frac <= 1, "0 <= x <= 1")
        require("max_matched_ngrams", n, n >= 0, "x >= 0")
        require("max_fp", self.max_fp, 1e-15 <= self.max_fp <= 0.5, "1e-15 <= x <= 0.5")

    @property
    def limits(self) -> Limits:
        """What decides about a document."""
        return Limits(
            remove=self.remove,
            max_overlap_frac=self.max_overlap_frac,
            max_matched_ngrams=self.max_matched_ngrams,
            span=self.span,
        )


class Outputs(NamedTuple):
    """The folders to fill: `data/corpus/`, `data/overlap/`."""

    corpus: Path
    overlap: Path


def run(
    inputs: Path, evaluation: Path, outputs: Outputs, config: Config, engine: Engine
) -> dict[str, Any]:
    """Fills the outputs and returns the figures.

    Args:
        inputs: `data/unique/`.
        evaluation: `data/eval/`, one Parquet file per set.
        outputs: Where the corpus and the examples' overlaps go.
        config: Section `decontaminate`.
        engine: Where tasks run.

    Raises:
        ManifestError: If the input is missing or unfinished.
        FileNotFoundError: If there is no folder of evaluation sets.
        ShardError: If a self-test fails.
        ValueError: If the forward filter needs more memory than allowed.
    """
    unique = manifest.load(inputs, "dedup")
    if not evaluation.is_dir():
        raise FileNotFoundError(f"{evaluation} is missing; run `dvc repro evalsets`")
    parts = tuple(zip(unique.paths("train"), unique.paths("valid"), strict=True))
    indexed = study.index(_NAME, sorted(evaluation.glob("*.parquet")), config.max_fp, engine)
    scanned = study.scan_shards(_NAME, parts, indexed, engine)
    corpus = _remove(parts, (indexed, scanned), outputs.corpus, config.limits, engine)
    asked = _ask_forward(unique.paths("train"), indexed, config, engine)
    files = table.Files(
        exact=[shard.path(scan.FOUND) for shard in scanned],
        asked=[asked.path] if asked else [],
        left=corpus.paths(remove.LEFT),
        longest=[shard.path(scan.LONGEST) for shard in scanned],
        own=_own_train(evaluation),
    )
    overlap = study.tabulate(_NAME, files, indexed, outputs.overlap, engine)
    return {
        "counts": counts_json(corpus.counts),
        "tally": {**indexed.tally, **manifest.total(scanned)[1], **corpus.tally, **overlap.tally},
        "filter": config.filter,
        "filter_fp": evalgrams.rate(indexed.path(evalgrams.SHAPE)),
        **({"forward": asked.figures} if asked else {}),
        "sets": table.read(outputs.overlap),
        **summarise([shard.path(scan.TRAIN) for shard in scanned], config.limits),
    }


def _remove(
    parts: study.Parts,
    measured: tuple[Shard, Sequence[Shard]],
    output: Path,
    limits: Limits,
    engine: Engine,
) -> Manifest:
    """Fills the corpus (step 3); `measured` is the index and the scanned shards."""
    indexed, scanned = measured
    names = (scan.TRAIN, scan.VALID, scan.SPANS)
    tasks = [
        (*files, *map(shard.path, names), *map(indexed.path, evalgrams.FILES))
        for files, shard in zip(parts, scanned, strict=True)
    ]
    work = partial(remove.write, limits=limits)
    return shard_map(study.step(_NAME, remove, limits), tasks, work, output, engine)


def _ask_forward(
    train: Sequence[Path], indexed: Shard, config: Config, engine: Engine
) -> forward.Found | None:
    if config.filter == "reverse":
        return None
    hashes = indexed.path(evalgrams.HASHES)
    return forward.run(train, hashes, config.forward, config.max_fp, engine)


def _own_train(evaluation: Path) -> list[Path]:
    """Returns the training parts that lie beside the sets, of those sets that are there."""
    paths = sorted((evaluation / TRAIN_FOLDER).glob("*.parquet"))
    return [path for path in paths if (evaluation / path.name).is_file()]


def summarise(overlaps: Sequence[Path], limits: Limits) -> dict[str, Any]:
    """Returns how overlap is spread over training documents, and the documents with the most."""
    names = [name for name in scan.OVERLAPS.names if name != "found"]
    rows = [row for path in overlaps for row in pq.read_table(path, columns=names).to_pylist()]
    touched = [row for row in rows if row["n_shared"]]
    touched.sort(key=lambda row: (-row["overlap_frac"], row["doc_id"]))
    tenths = Counter(f"{int(row['overlap_frac'] * 10) / 10:.1f}" for row in touched)
    listed = [
        row | {"overlap_frac": round(row["overlap_frac"], 4), "allowed": limits.allows(row)}
        for row in touched[:_N_LISTED]
    ]
    return {"n_touched": len(touched), "overlap_tenths": tenths, "most_overlap": listed}
