"""Decontamination, step 1 (one task): the 8-grams of all evaluation sets, ready to be looked up.

Writes three arrays (hash, example it is in, offset of its first occurrence there; sorted),
`examples.parquet` (set, example_id, text), and a Bloom filter of the hashes. The sets are small
beside a corpus, so the filter is built of them and streamed over the corpus (8 MB for a million
8-grams), not the other way round as in the paper (38 bits for each 8-gram of the corpus). Every hit
is then confirmed word by word, so the answers are those of an exact look-up.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import bloom, words
from pipeline.overlap.bloom import Bloom
from pipeline.overlap.words import Hashes
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft, to_json

NGRAM_WORDS = 8  # Paper: GPT-2, section 4
HASHES = "hashes.npy"
SHAPE = "bloom.json"
FILES = (HASHES, "owners.npy", "offsets.npy", "bloom.npy", SHAPE, "examples.parquet")

_EXAMPLE_COLUMNS = ["set", "example_id", "text"]
_EXAMPLES = pa.schema([(name, pa.string()) for name in _EXAMPLE_COLUMNS])
_N_CONTROLS = 50


class Grams(NamedTuple):
    """The distinct 8-grams of each example as rows, sorted by hash, then example.

    Attributes:
        hashes: (n,) uint64.
        owners: (n,) int32, the example's row.
        offsets: (n,) int32, the first word of its first occurrence in the example.
    """

    hashes: Hashes
    owners: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What a text shares with the evaluation sets.

    Attributes:
        n_ngrams: Distinct 8-grams of the text.
        found: (n,) uint64, those found in a set, confirmed, ascending.
        places: (n,) int64, the word of the text at which each of them first begins.
        hashes: (n_words - 7,) uint64, the 8-grams of the text in order.
        example: The example that shares the most of them, as its row; None if none does.
        n_shared: How many that example shares.
        n_false: Yes-answers of the filter that turned out wrong.
    """

    n_ngrams: int
    found: Hashes
    places: npt.NDArray[np.int64]
    hashes: Hashes
    example: int | None
    n_shared: int
    n_false: int

    @property
    def frac(self) -> float:
        """Share of the text's distinct 8-grams that are found; 0 for a text without any."""
        return len(self.found) / self.n_ngrams if self.n_ngrams else 0.0

    @property
    def is_found(self) -> npt.NDArray[np.bool_]:
        """(n_words - 7,) bool, for each word of the text: the 8-gram that begins there is found."""
        return np.isin(self.hashes, self.found)


class EvalGrams:
    """The evaluation sets' 8-grams."""

    def __init__(self, grams: Grams, examples: pa.Table, filter_: Bloom) -> None:
        """Wraps what `write` has written.

        Args:
            grams: Their rows.
            examples: Rows (set, example_id, text).
            filter_: Holds every hash.
        """
        self.examples = examples
        self.grams = grams
        self._filter = filter_
        self.words = lru_cache(maxsize=1000)(self._split_example)

    def overlap(self, text: str) -> Overlap:
        """Compares a text with all evaluation sets."""
        mine = words.split(text)
        hashes = words.ngrams(words.hash_words(mine), NGRAM_WORDS)
        places = np.flatnonzero(self._filter.contains(hashes))
        hits, firsts = np.unique(hashes[places], return_index=True)
        firsts = places[firsts]
        sure = self._confirm(hits, firsts, mine)
        example, n_shared, _ = self.closest(hits[sure])
        return Overlap(
            n_ngrams=len(words.distinct(hashes)),
            found=hits[sure],
            places=firsts[sure],
            hashes=hashes,
            example=example,
            n_shared=n_shared,
            n_false=len(hits) - int(sure.sum()),
        )

    def _confirm(
        self, hashes: Hashes, firsts: npt.NDArray[np.int64], mine: Sequence[bytes]
    ) -> npt.NDArray[np.bool_]:
        """Returns (n,) bool: which of the text's 8-grams are in an example, word by word.

        Args:
            hashes: (n,) uint64, 8-grams that the filter says yes to.
            firsts: (n,) int64, the first word of each in the text.
            mine: The words of the text.
        """
        known, owners, offsets = self.grams
        rows = np.searchsorted(known, hashes)
        sure = rows < len(known)
        places = (firsts[sure].tolist(), owners[rows[sure]].tolist(), offsets[rows[sure]].tolist())
        sure[sure] = [
            mine[first : first + NGRAM_WORDS] == self.words(owner)[offset : offset + NGRAM_WORDS]
            for first, owner, offset in zip(*places, strict=True)
        ]
        return sure

    def _split_example(self, example: int) -> list[bytes]:
        return words.split(self.examples["text"][example].as_py())

    def rows(self, found: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns all rows of `grams` that hold these hashes, and the hash's place in `found`."""
        starts, counts = self.count(found)
        which = np.repeat(np.arange(len(found)), counts)
        before = np.cumsum(counts) - counts
        return starts[which] + np.arange(len(which)) - before[which], which

    def count(self, found: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns the first row of `grams` that holds each hash, and how many rows do."""
        starts = np.searchsorted(self.grams.hashes, found, "left")
        return starts, np.searchsorted(self.grams.hashes, found, "right") - starts

    def closest(self, found: Hashes) -> tuple[int | None, int, int]:
        """Returns the example with the most of these 8-grams (the first of equals).

        Args:
            found: (n,) uint64, distinct hashes.

        Returns:
            Its row, how many of them it has, and its first word that begins one.
        """
        if not len(found):
            return None, 0, 0
        rows, _ = self.rows(found)
        examples, counts = np.unique(self.grams.owners[rows], return_counts=True)
        best = int(np.argmax(counts))
        mine = self.grams.owners[rows] == examples[best]
        return int(examples[best]), int(counts[best]), int(self.grams.offsets[rows][mine].min())


def write(inputs: tuple[Path, ...], draft: ShardDraft, max_fp: float) -> None:
    """Writes the index of all evaluation sets.

    Args:
        inputs: The Parquet files of `data/eval/`.
        draft: Where to write.
        max_fp: Rate of wrong yes-answers of the filter.

    Raises:
        ShardError: If the filter or the index fails its self-test.
    """
    tables = [pq.read_table(path, columns=_EXAMPLE_COLUMNS).cast(_EXAMPLES) for path in inputs]
    examples = pa.concat_tables([*tables, _EXAMPLES.empty_table()]).combine_chunks()
    grams = collect(examples["text"])
    keys = words.distinct(grams.hashes)
    filter_ = bloom.build(keys, max_fp)
    strangers = bloom.random_ngrams(bloom.N_RANDOM, NGRAM_WORDS)
    n_false = bloom.check(filter_, keys, strangers, max_fp)
    check(EvalGrams(grams, examples, filter_))
    _write_files(grams, examples, filter_, draft)
    draft.tally("n_filter_keys", len(keys))
    draft.tally("n_filter_bits", len(filter_.bits) * 64)
    draft.tally("n_filter_bits_set", filter_.n_set)
    draft.tally("n_filter_hashes", filter_.n_hashes)
    draft.tally("n_random_keys", bloom.N_RANDOM)
    draft.tally("n_random_keys_found", n_false)


def collect(texts: pa.ChunkedArray) -> Grams:
    """Returns the distinct 8-grams of each text."""
    parts = [_distinct(text.as_py()) for text in texts]
    hashes = np.concatenate([np.empty(0, np.uint64), *(hashes for hashes, _ in parts)])
    offsets = np.concatenate([np.empty(0, np.int32), *(firsts for _, firsts in parts)])
    sizes = [len(hashes) for hashes, _ in parts]
    owners = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    order = np.lexsort((owners, hashes))
    return Grams(hashes[order], owners[order], offsets[order])


def _distinct(text: str) -> tuple[Hashes, npt.NDArray[np.int32]]:
    grams = words.ngrams(words.hash_words(words.split(text)), NGRAM_WORDS)
    hashes, firsts = np.unique(grams, return_index=True)
    return hashes, firsts.astype(np.int32)


def check(grams: EvalGrams) -> None:
    """Raises ShardError unless evaluation texts, taken as documents, are found in full."""
    n = grams.examples.num_rows
    for row in range(0, n, max(1, n // _N_CONTROLS)):
        seen = grams.overlap(grams.examples["text"][row].as_py())
        if len(seen.found) != seen.n_ngrams:
            raise ShardError(
                f"decontaminate self-test: only {len(seen.found)} of {seen.n_ngrams} 8-grams of "
                f"example {grams.examples['example_id'][row]} of {grams.examples['set'][row]} are "
                "found in their own index"
            )


def _write_files(grams: Grams, examples: pa.Table, filter_: Bloom, draft: ShardDraft) -> None:
    *names, shape, texts = FILES
    arrays: list[npt.NDArray[Any]] = [*grams, filter_.bits]
    for name, array in zip(names, arrays, strict=True):
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        draft.write_bytes(name, content.getvalue())
    draft.write_bytes(shape, to_json({"n_hashes": filter_.n_hashes, "fp": filter_.fp}))
    draft.write_table(texts, examples)


def rate(shape: Path) -> float:
    """Returns the filter's rate of wrong yes-answers, from the file `SHAPE`."""
    return float(json.loads(shape.read_bytes())["fp"])


def read(paths: Sequence[Path]) -> EvalGrams:
    """Opens an index from its files, in the order of `FILES`; the arrays stay on disk."""
    *arrays, shape, texts = paths
    # Plain views of the maps: indexing a memmap object costs more than the look-up itself.
    loaded = [np.asarray(np.load(p, mmap_mode="r", allow_pickle=False)) for p in arrays]
    n_hashes = json.loads(shape.read_bytes())["n_hashes"]
    filter_ = Bloom(bits=loaded[3], n_hashes=n_hashes)
    return EvalGrams(Grams(*loaded[:3]), pq.read_table(texts).combine_chunks(), filter_)
