"""The forward filter, as the paper did it: the corpus's 8-grams, queried by the test sets.

    shard 0 ─ distinct 8-grams ┐ by range of   ┌ range 0: count ─> filter ─ query ─┐
    shard 1 ─ distinct 8-grams ┼ the hash      ┼ range 1: count ─> filter ─ query ─┼─> 8-grams found
    ...                        ┘ (top bits)    └ ...                               ┘

The corpus is read once. A set that is added later asks the filters again and reads no document.
Each range of the hash space has a filter of its own, so a task holds one of them, and the memory of
all is known from the counts before the first is built.
The answers carry the filters' rate of false positives: one of `n` absent 8-grams is wrongly found
with a probability of at most (set bits / bits)^k, plus n_keys / 2^64 for equal hashes.
Paper: GPT-2, section 4.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate
from pipeline.engine.tasks import Engine
from pipeline.overlap import bloom, columns, words
from pipeline.overlap.bloom import Bloom
from pipeline.overlap.evalgrams import NGRAM_WORDS
from pipeline.overlap.scan import FOUND, documents
from pipeline.overlap.words import Hashes, distinct
from pipeline.store import manifest
from pipeline.store.config import require
from pipeline.store.shards import Shard, ShardDraft, to_json

KEYS = "keys.npy"
COUNT = "count.json"
BITS = "bloom.npy"
SHAPE = "bloom.json"

_MERGE_AT = 1 << 22  # hashes of a shard that are held before equal ones are thrown away


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `decontaminate.forward` of params.yaml.

    Attributes:
        partitions: Ranges of the hash space, one filter and one task each.
        max_bytes: Memory that all filters together may take.
    """

    partitions: int
    max_bytes: int

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        require("partitions", self.partitions, 1 <= self.partitions <= 4096, "1 to 4096")
        require("max_bytes", self.max_bytes, self.max_bytes >= 1, "x >= 1")


def grams_name(partition: int) -> str:
    """Returns the file of a range of the hash space in a shard's folder."""
    return f"grams-{partition:05d}.npy"


def collect(inputs: tuple[Path, ...], draft: ShardDraft, partitions: int) -> None:
    """Writes the distinct 8-grams of one shard's training part, one file per range."""
    held, n_held = [np.empty(0, np.uint64)], 0
    for _, text in documents(inputs[0]):
        held.append(words.ngrams(words.hash_words(words.split(text)), NGRAM_WORDS))
        n_held += len(held[-1])
        if n_held > _MERGE_AT:
            held = [distinct(np.concatenate(held))]
            n_held = 0
    mine = distinct(np.concatenate(held))
    for partition, part in enumerate(np.split(mine, _cuts(mine, partitions))):
        _save(draft, grams_name(partition), part)
    draft.tally("n_shard_8grams", len(mine))


def _cuts(ordered: Hashes, partitions: int) -> list[int]:
    """Returns where ascending hashes pass from one equal range to the next."""
    bounds = [(2**64 * p + partitions - 1) // partitions for p in range(1, partitions)]
    return [int(cut) for cut in np.searchsorted(ordered, np.array(bounds, np.uint64), "left")]


def merge(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes the distinct 8-grams of one range over all shards, and how many they are."""
    keys = distinct(np.concatenate([np.empty(0, np.uint64), *map(_load, inputs)]))
    _save(draft, KEYS, keys)
    draft.write_bytes(COUNT, to_json({"n_keys": len(keys)}))
    draft.tally("n_corpus_8grams", len(keys))


def n_bytes(counts: Sequence[int], max_fp: float) -> int:
    """Returns the bytes of filters for ranges of so many keys.

    >>> n_bytes([1_000_000, 1_000_000], 1e-8)
    16777216
    """
    return sum(2 ** bloom.shape(n, max_fp)[0] // 8 for n in counts)


def build(inputs: tuple[Path, ...], draft: ShardDraft, max_fp: float) -> None:
    """Writes the filter of one range.

    Raises:
        ShardError: If the filter fails its self-test.
    """
    keys = _load(inputs[0])
    filled = bloom.build(keys, max_fp)
    strangers = bloom.random_ngrams(bloom.N_RANDOM, NGRAM_WORDS)
    n_false = bloom.check(filled, keys, strangers, max_fp)
    _save(draft, BITS, filled.bits)
    rate = filled.fp + len(keys) / 2**64
    draft.write_bytes(SHAPE, to_json({"n_hashes": filled.n_hashes, "fp": rate}))
    draft.tally("n_bits", 64 * len(filled.bits))
    draft.tally("n_bits_set", filled.n_set)
    draft.tally("n_random_keys", len(strangers))
    draft.tally("n_random_keys_found", n_false)


def query(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Writes which 8-grams of the evaluation sets the filters say yes to, one filter at a time.

    Args:
        inputs: The index's hashes, then bits and shape of each range's filter.
        draft: Where to write.
    """
    asked = distinct(_load(inputs[0]))
    filters = list(zip(inputs[1::2], inputs[2::2], strict=True))
    found = [np.empty(0, np.uint64)]
    for mine, (bits, shape) in zip(
        np.split(asked, _cuts(asked, len(filters))), filters, strict=True
    ):
        n_hashes = json.loads(shape.read_bytes())["n_hashes"]
        found.append(mine[Bloom(bits=_load(bits), n_hashes=n_hashes).contains(mine)])
    draft.write_table(FOUND, pa.table({"hash": pa.array(np.concatenate(found), columns.HASH)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the filters say: a file of hashes, and the figures of the filters."""

    path: Path
    figures: dict[str, Any]


def run(
    train: Sequence[Path], hashes: Path, config: Config, max_fp: float, engine: Engine
) -> Found:
    """Asks the corpus's filters for the 8-grams of an index.

    Args:
        train: Training files, one per shard.
        hashes: The index's hashes.
        config: Section `decontaminate.forward`.
        max_fp: Rate of wrong yes-answers of each filter.
        engine: Where tasks run.

    Raises:
        ValueError: If the filters need more memory than allowed.
        ShardError: If a filter fails its self-test.
    """
    n = config.partitions
    collected = _map("collect", {"partitions": n}, [[path] for path in train], engine)
    ranges = [[shard.path(grams_name(p)) for shard in collected] for p in range(n)]
    merged = _map("merge", None, ranges, engine)
    counts = [json.loads(shard.path(COUNT).read_bytes())["n_keys"] for shard in merged]
    _afford(counts, max_fp, config)
    built = _map("build", {"max_fp": max_fp}, [[shard.path(KEYS)] for shard in merged], engine)
    files = [shard.path(name) for shard in built for name in (BITS, SHAPE)]
    (asked,) = _map("query", None, [[hashes, *files]], engine)
    rates = [json.loads(shard.path(SHAPE).read_bytes())["fp"] for shard in built]
    figures = {
        "n_corpus_8grams": sum(counts),
        "n_bytes": n_bytes(counts, max_fp),
        "max_fp": max(rates),
        **manifest.total(built)[1],
    }
    return Found(path=asked.path(FOUND), figures=figures)


def _afford(counts: Sequence[int], max_fp: float, config: Config) -> None:
    """Raises ValueError if filters of so many 8-grams exceed the budget."""
    needed = n_bytes(counts, max_fp)
    if needed > config.max_bytes:
        raise ValueError(
            f"the corpus holds {sum(counts)} distinct 8-grams, whose filters at a rate of "
            f"{max_fp:g} take {needed} bytes; params.yaml: decontaminate.forward.max_bytes allows "
            f"{config.max_bytes}; raise it, or set decontaminate.filter: reverse, whose memory "
            "depends on the evaluation sets alone"
        )


_WORKS: dict[str, Callable[..., None]] = {
    "collect": collect,
    "merge": merge,
    "build": build,
    "query": query,
}


def _map(
    name: str, settings: dict[str, Any] | None, tasks: Sequence[Sequence[Path]], engine: Engine
) -> tuple[Shard, ...]:
    step = Step(
        name=f"decontaminate-{name}",
        code=__name__,
        config=settings,
        libraries=("numpy", "pyarrow", "xxhash"),
    )
    return intermediate(step, tasks, partial(_WORKS[name], **(settings or {})), engine).shards


def _save(draft: ShardDraft, name: str, array: Hashes) -> None:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    draft.write_bytes(name, content.getvalue())


def _load(path: Path) -> Hashes:
    # A plain view of the map: indexing a memmap object costs more than the look-up itself.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
