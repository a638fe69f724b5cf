"""Removes duplicates from `data/clean/`: exact ones, then near ones found by MinHash and verified.

    clean   ──1 signatures──> band keys ──2 exchange──> groups of texts that share a band, by unit
    controls  (map shards)                (map ranges)              │
      │                                                             ▼
      ├──────3 shingles of these texts only──────────> 4 verify true Jaccard ──> edges, links
      │          (map shards)                            (map ranges)             │
      │                                                             ┌─────────────┘
      │                                    5 components, in rounds until all are settled
      │                                                             │     (map ranges)
      └──8 keep: train, valid, decisions <──7 verdicts <──6 members of clusters
             (map shards)              (map ranges)       (map ranges)

Decisions:
- Every step is a map over shards or over equal ranges of a hash, exchanged through files; the
  driver sees counts and the figures of the largest clusters. A task's memory is a shard, or what
  falls into one of `partitions` ranges: about 20 bytes per document and band, and the shingles of
  the candidates.
- A document survives by a stated key (earliest, longest, least doc_id), never by arrival, so the
  survivors are the same for any sharding of the input, any order, any number of workers or ranges.
- Shared bands only propose; the true Jaccard similarity of the shingle sets decides, before
  anything is united: chains of mere candidates do not exist.
- Planted controls go through every step of every run but the last (`planted`), and a run refuses to
  remove more than `max_removed_frac`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.engine.identity import Step
from pipeline.engine.progress import progress
from pipeline.engine.shardmap import Work, intermediate, shard_map
from pipeline.engine.tasks import Engine
from pipeline.overlap import (
    columns,
    components,
    exchange,
    keep,
    members,
    minhash,
    planted,
    shingles,
    signatures,
    verdicts,
    verify,
)
from pipeline.store import manifest
from pipeline.store.config import require
from pipeline.store.errors import ManifestError, ShardError
from pipeline.store.shards import Shard, counts_json

_LIBRARIES = ("numpy", "pyarrow", "xxhash")

Tally = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `dedup` of params.yaml.

    Attributes:
        minhash: Which pairs become candidates.
        threshold: Least Jaccard similarity of two near duplicates.
        max_comparisons: Bound on the work in one bucket (`cluster.Verified`).
        max_removed_frac: Share of documents whose removal stops the run.
        partitions: Of the key space; more of them need less memory each.
    """

    minhash: minhash.Config
    threshold: float
    max_comparisons: int
    max_removed_frac: float
    partitions: int

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        require("threshold", self.threshold, 0 < self.threshold <= 1, "0 < x <= 1")
        require("max_comparisons", self.max_comparisons, self.max_comparisons >= 1, "x >= 1")
        require(
            "max_removed_frac",
            self.max_removed_frac,
            0 <= self.max_removed_frac <= 1,
            "0 <= x <= 1",
        )
        require("partitions", self.partitions, 1 <= self.partitions <= 4096, "1 to 4096")


def run(inputs: Path, output: Path, config: Config, engine: Engine) -> dict[str, Any]:
    """Fills `output` with the unique documents of `inputs` and returns the figures.

    Args:
        inputs: `data/clean/`.
        output: `data/unique/`.
        config: Section `dedup`.
        engine: Where tasks run.

    Raises:
        ManifestError: If the input is missing, unfinished or empty.
        ShardError: If the controls are not found as they must be, or more than `max_removed_frac`
            would be removed.
    """
    clean = manifest.load(inputs, "clean").paths()
    if not clean:
        raise ManifestError(f"{inputs} holds no shard; run `dvc repro clean`")
    steps = _Steps(config, engine)
    sources = (_plant(config, engine), *clean)  # planted.CONTROLS is their place
    proposed = steps.propose(sources)
    judged = steps.judge(sources, proposed)
    controls = _examine(sources, proposed, judged, config)
    tally = _without_controls(steps.tally, controls)
    figures = verdicts.merge(json.loads(s.path(verdicts.SUMMARY).read_bytes()) for s in judged)
    _guard(figures, tally["n_documents"], config.max_removed_frac)
    tasks = [
        [path, *_of(judged, verdicts.VERDICTS, source)]
        for source, path in enumerate(sources)
        if source != planted.CONTROLS
    ]
    unique = shard_map(_step("dedup", keep, None), tasks, keep.write, output, engine)
    return {
        "counts": counts_json(unique.counts),
        "tally": {**tally, **unique.tally},
        "controls": controls,
        "expected_recall_at_threshold": round(
            minhash.caught_frac(config.threshold, config.minhash), 4
        ),
        **{name: value for name, value in figures.items() if name != "dropped"},
    }


def _plant(config: Config, engine: Engine) -> Path:
    """Returns the shard of planted controls."""
    n = config.minhash.shingle_words
    step = _step("dedup-controls", planted, {"shingle_words": n})
    made = intermediate(step, [[]], partial(planted.write, shingle_words=n), engine)
    return made.shards[0].path(planted.FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proposed:
    """What steps 1 and 2 found, by source and by range."""

    signed: tuple[Shard, ...]
    grouped: tuple[Shard, ...]

    @property
    def documents(self) -> list[Path]:
        """Documents by source."""
        return [shard.path(signatures.DOCUMENTS) for shard in self.signed]

    def wanted(self, source: int) -> list[Path]:
        """What the exchange wants of one source."""
        return _of(self.grouped, exchange.WANTED, source)


def _examine(
    sources: Sequence[Path], proposed: _Proposed, judged: Sequence[Shard], config: Config
) -> list[dict[str, Any]]:
    """Returns what became of the planted controls, and tells it."""
    with progress("dedup-examine", 1) as shown:
        controls = planted.examine(
            sources[planted.CONTROLS],
            proposed.documents[planted.CONTROLS],
            proposed.wanted(planted.CONTROLS),
            _of(judged, verdicts.VERDICTS, planted.CONTROLS),
            config.minhash,
            config.threshold,
        )
        shown.note(f"dedup: {planted.describe(controls)}")
    return controls


class _Steps:
    """The steps between the input and the verdicts; `tally` adds up what they count."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self.tally: Tally = {}
        self._config = config
        self._engine = engine

    def propose(self, sources: Sequence[Path]) -> _Proposed:
        """Finds the texts that share a band (steps 1 and 2)."""
        ranges = self._config.partitions
        signing = signatures.Config(minhash=self._config.minhash, partitions=ranges)
        work = partial(signatures.write, config=signing)
        step = _step("dedup-signatures", signatures, signing)
        signed = self._run(step, [[path] for path in sources], work)
        grouped = self._ranges(
            "dedup-exchange",
            exchange,
            [
                [*_of(signed, signatures.IDS, p), *_of(signed, signatures.BANDS, p)]
                for p in range(ranges)
            ],
        )
        return _Proposed(signed=signed, grouped=grouped)

    def judge(self, sources: Sequence[Path], proposed: _Proposed) -> tuple[Shard, ...]:
        """Verifies the candidates and judges every document (steps 3 to 7)."""
        ranges, threshold = self._config.partitions, self._config.threshold
        verified = self._verify(sources, proposed)
        settled = self._settle(verified)
        gathered = self._ranges(
            "dedup-members",
            members,
            [
                [
                    *_of(proposed.signed, signatures.TEXTS, p),
                    *_of(settled, verify.EDGES, p),
                    *_of(verified, verify.LINKS, p),
                ]
                for p in range(ranges)
            ],
        )
        judging = verdicts.Config(threshold=threshold, n_sources=len(sources))
        inputs = [
            [*_of(gathered, members.MEMBERS, p), *_of(gathered, members.NEAR, p)]
            for p in range(ranges)
        ]
        work = partial(verdicts.write, config=judging)
        return self._run(_step("dedup-verdicts", verdicts, judging), inputs, work)

    def _verify(self, sources: Sequence[Path], proposed: _Proposed) -> tuple[Shard, ...]:
        ranges = self._config.partitions
        sending = shingles.Config(
            shingle_words=self._config.minhash.shingle_words, partitions=ranges
        )
        inputs = [
            [path, proposed.documents[source], *proposed.wanted(source)]
            for source, path in enumerate(sources)
        ]
        work = partial(shingles.write, config=sending)
        sent = self._run(_step("dedup-shingles", shingles, sending), inputs, work)
        checking = verify.Config(
            threshold=self._config.threshold,
            max_comparisons=self._config.max_comparisons,
            partitions=ranges,
        )
        inputs = [
            [*_of(proposed.grouped, exchange.GROUPS, q), *_of(sent, shingles.SHINGLES, q)]
            for q in range(ranges)
        ]
        work = partial(verify.write, config=checking)
        return self._run(_step("dedup-verify", verify, checking), inputs, work)

    def _settle(self, edges: tuple[Shard, ...]) -> tuple[Shard, ...]:
        """Runs rounds of step 5 until every cluster is a star around its least text."""
        for round_ in range(1, 1000):
            inputs = [_of(edges, verify.EDGES, p) for p in range(self._config.partitions)]
            edges = self._ranges(f"dedup-components-{round_}", components, inputs)
            if not self.tally.pop(components.UNSETTLED):
                self.tally["n_rounds"] = round_
                return edges
        raise ShardError("dedup: clusters are not settled after 999 rounds; this is a bug")

    def _ranges(
        self, name: str, module: Any, inputs: Sequence[Sequence[Path]]
    ) -> tuple[Shard, ...]:
        """Runs a step whose only setting is the number of ranges."""
        ranges = self._config.partitions
        step = _step(name, module, {"partitions": ranges})
        return self._run(step, inputs, partial(module.write, partitions=ranges))

    def _run(self, step: Step, inputs: Sequence[Sequence[Path]], work: Work) -> tuple[Shard, ...]:
        made = intermediate(step, inputs, work, self._engine).shards
        for name, n in manifest.total(made)[1].items():
            self.tally[name] = self.tally.get(name, 0) + n
        return made


def _of(shards: Sequence[Shard], prefix: str, owner: int) -> list[Path]:
    """Returns the files that belong to one range or source."""
    return [shard.path(columns.owned(prefix, owner)) for shard in shards]


def _step(name: str, module: ModuleType, config: object) -> Step:
    return Step(name=name, code=module.__name__, config=config, libraries=_LIBRARIES)


def _without_controls(tally: Tally, controls: Sequence[Mapping[str, int]]) -> Tally:
    """Returns the tally of the real documents; each control pair is one group, compared once."""
    n_caught = sum(level["n_caught"] for level in controls)
    theirs = {
        "n_documents": planted.N_DOCUMENTS,
        "n_candidate_groups": n_caught,
        "n_candidate_texts": 2 * n_caught,
        "n_pairs_compared": n_caught,
        "n_pairs_similar": sum(level["n_joined"] for level in controls),
    }
    return {name: n - theirs.get(name, 0) for name, n in tally.items()}


def _guard(figures: Mapping[str, Any], n: int, max_removed_frac: float) -> None:
    """Raises ShardError if more than the allowed share would be removed."""
    removed = sum(figures["dropped"].values())
    if removed > max_removed_frac * n:
        largest = figures["largest_clusters"][0]
        raise ShardError(
            f"dedup would remove {removed} of {n} documents ({removed / n:.1%}), "
            f"{largest['size'] - 1} of them as duplicates of {largest['cluster_id']}; "
            f"params.yaml: dedup.max_removed_frac allows {max_removed_frac:.1%}; "
            "look at these documents, then raise it or clean them"
        )
