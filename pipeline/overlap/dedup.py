"""Removes duplicates from `data/clean/`: exact ones, then near ones found by MinHash and verified.

    clean ──1 signatures──> band keys ──2 exchange──> groups ──3 plan──> who meets where
      │                                                                        │
      ├──────────────────────4 send shingles of candidates <───────────────────┤
      │                                    │                                   │
      │                                    └──> 5 verify true Jaccard <────────┘
      │                                                  │
      └──7 keep: train, valid, decisions <──6 verdicts <─┘

Decisions:
- One key partition, shard or verification partition is one task; all but 3 and 6 run in parallel,
  and those two see 40 bytes per document, never a text.
- A document survives by a stated key (earliest, longest, least doc_id), never by arrival, so the
  survivors are the same for any sharding of the input, any order and any number of workers.
- Shared bands only propose; the true Jaccard similarity of the shingle sets decides.
- A run tests itself on planted pairs first, and refuses to remove more than `max_removed_frac`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate, shard_map
from pipeline.engine.tasks import Engine
from pipeline.overlap import (
    candidates,
    exchange,
    keep,
    minhash,
    planted,
    signatures,
    verdicts,
    verify,
)
from pipeline.store import manifest
from pipeline.store.config import require
from pipeline.store.errors import ManifestError, ShardError
from pipeline.store.shards import Shard, counts_json

_LIBRARIES = ("numpy", "pyarrow", "xxhash")


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
        ShardError: If the self-test fails, or more than `max_removed_frac` would be removed.
    """
    self_test = planted.examine(config.minhash, config.threshold)
    clean = manifest.load(inputs, "clean").paths()
    if not clean:
        raise ManifestError(f"{inputs} holds no shard; run `dvc repro clean`")
    proposed = _propose(clean, config, engine)
    decided = _decide(clean, proposed, config, engine)
    summary = json.loads(decided.verdicts.path(verdicts.SUMMARY).read_bytes())
    _guard(summary, config.max_removed_frac)
    tasks = [(p, decided.verdicts.path(verdicts.verdicts_name(i))) for i, p in enumerate(clean)]
    unique = shard_map(_step("dedup", keep, None), tasks, keep.write, output, engine)
    return {
        "counts": counts_json(unique.counts),
        "tally": {**proposed.tally, **decided.tally, **unique.tally},
        "self_test": self_test,
        "expected_recall_at_threshold": round(
            minhash.caught_frac(config.threshold, config.minhash), 4
        ),
        **{name: summary[name] for name in verdicts.REPORTED},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proposed:
    """What steps 1 to 3 found: documents by shard, and the plan of the verification."""

    documents: tuple[Path, ...]
    plan: Shard
    tally: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What steps 4 to 6 found: the verdicts by shard."""

    verdicts: Shard
    tally: dict[str, int]


def _propose(clean: Sequence[Path], config: Config, engine: Engine) -> _Proposed:
    """Finds the texts that share a band (steps 1 to 3)."""
    n = config.partitions
    signing = signatures.Config(minhash=config.minhash, partitions=n)
    signed = intermediate(
        _step("dedup-signatures", signatures, signing),
        [(path,) for path in clean],
        partial(signatures.write, config=signing),
        engine,
    ).shards
    grouped = intermediate(
        _step("dedup-exchange", exchange, None),
        [[shard.path(signatures.bands_name(p)) for shard in signed] for p in range(n)],
        exchange.write,
        engine,
    ).shards
    documents = tuple(shard.path(signatures.DOCUMENTS) for shard in signed)
    planned = intermediate(
        _step("dedup-plan", candidates, {"partitions": n}),
        [[*documents, *(shard.path(exchange.GROUPS) for shard in grouped)]],
        partial(candidates.plan, partitions=n),
        engine,
    ).shards
    tally = _sum(signed, grouped, planned)
    return _Proposed(documents=documents, plan=planned[0], tally=tally)


def _decide(clean: Sequence[Path], proposed: _Proposed, config: Config, engine: Engine) -> _Decided:
    """Verifies the candidates and judges every document (steps 4 to 6)."""
    n, plan = config.partitions, proposed.plan
    sending = candidates.Sending(shingle_words=config.minhash.shingle_words, partitions=n)
    sent = intermediate(
        _step("dedup-shingles", candidates, sending),
        [(path, plan.path(candidates.members_name(i))) for i, path in enumerate(clean)],
        partial(candidates.send, config=sending),
        engine,
    ).shards
    checking = verify.Config(threshold=config.threshold, max_comparisons=config.max_comparisons)
    verified = intermediate(
        _step("dedup-verify", verify, checking),
        [
            [
                plan.path(candidates.groups_name(q)),
                *(s.path(candidates.shingles_name(q)) for s in sent),
            ]
            for q in range(n)
        ],
        partial(verify.write, config=checking),
        engine,
    ).shards
    judged = intermediate(
        _step("dedup-verdicts", verdicts, None),
        [[*proposed.documents, *(shard.path(verify.CLUSTERS) for shard in verified)]],
        verdicts.write,
        engine,
    ).shards
    return _Decided(verdicts=judged[0], tally=_sum(verified))


def _step(name: str, module: ModuleType, config: object) -> Step:
    return Step(name=name, code=module.__name__, config=config, libraries=_LIBRARIES)


def _sum(*groups: Sequence[Shard]) -> dict[str, int]:
    return manifest.total([shard for group in groups for shard in group])[1]


def _guard(summary: Mapping[str, Any], max_removed_frac: float) -> None:
    """Raises ShardError if more than the allowed share would be removed."""
    removed, n = sum(summary["dropped"].values()), summary["n_documents"]
    if removed > max_removed_frac * n:
        largest = summary["largest_clusters"][0]
        raise ShardError(
            f"dedup would remove {removed} of {n} documents ({removed / n:.1%}), "
            f"{largest['size'] - 1} of them as duplicates of {largest['cluster_id']}; "
            f"params.yaml: dedup.max_removed_frac allows {max_removed_frac:.1%}; "
            "look at these documents, then raise it or clean them"
        )
