"""Where passages stand in the training tokens: an index of sampled 6-grams, mapped from disk.

    stream     a b c d e f g h i j k ...
    6-grams    [a..f] [b..g] [c..h]          of 3 neighbours, the one with the least hash is kept
    places     | places of the kept 6-grams, those with the same first bits of their hash together |
    buckets    | where each group begins |

    query ──its own kept 6-grams──> places ──compared with the tokens──> runs of >= 8 equal tokens

Decisions:
- Equal passages keep the same 6-grams, wherever they stand, and 3 neighbouring 6-grams span 8
  tokens. So a passage of 8 tokens or more that both sides have shares a kept 6-gram: nothing of
  that length is missed, and only every second place is stored.
- Hashes are not stored: what the place holds is compared, so nothing is found that is not there.
- Kept hits of one run follow each other without a gap, so a run is joined from its hits and grown
  by a few tokens at its ends, however long it is.
- A suffix array finds passages of any length, for twice the room (5 bytes per token at WebText's
  size) and a construction that needs the whole corpus in memory. This index takes 2.3 bytes per
  token, is made shard by shard, and is read where a query points, never as a whole.
- Reading all tokens for each query needs no index: measured, 1.5 GB/s per 8-gram with numpy on one
  core, 12 s for WebText's 18 GB, for each of a text's 8-grams again.

Paper: Schleimer, Wilkerson, Aiken, Winnowing: Local Algorithms for Document Fingerprinting (2003),
section 3: the guarantee, and the density 2 / (window + 1) of what is kept.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.engine.identity import Step, fingerprint, identity
from pipeline.engine.shardmap import shard_map
from pipeline.engine.tasks import Engine
from pipeline.store import manifest, shards
from pipeline.store.errors import ShardError
from pipeline.tokens.arrow import Tokens, TokenShards, open_shards

N = 8  # tokens of the shortest passage that is surely found
SEED = 6  # tokens of what is hashed; with fewer, a hash has more places, with more, more are kept
WINDOW = N - SEED + 1
PLACES_PER_BUCKET = 8
MAX_PLACE = 2**32 - 1
_CHUNK = 1 << 20  # tokens that are hashed together: 8 MB per array, near the caches
_MIN_MAPPED_BYTES = 1 << 16  # smaller files are read: an empty one cannot be mapped

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


class Run(NamedTuple):
    """An equal passage: where it begins in the query and in the stream of a shard, its length."""

    query: int
    place: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The longest passage that a query and one training document share.

    Attributes:
        doc_id: The document.
        query: Its first token in the query.
        place: Its first token in the document.
        n: Tokens.
        n_runs: Passages of the document that the query shares, this one included.
        stream: The document's first token in the stream of all shards.
        n_document: Tokens of the document, without its end mark.
    """

    doc_id: str
    query: int
    place: int
    n: int
    n_runs: int
    stream: int
    n_document: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the training tokens hold of a query.

    Attributes:
        covered: Whether each token of the query stands in a shared passage of `N` tokens or more.
        n_runs: Shared passages, each as long as it can be.
        n_documents: Documents that hold any.
        passages: The longest of each document, the longest first, as many as were asked for.
    """

    covered: tuple[bool, ...]
    n_runs: int
    n_documents: int
    passages: tuple[Passage, ...]


def make(tokens: Path, output: Path, engine: Engine) -> manifest.Manifest:
    """Makes `buckets/` and `places/` of the training part, unless they are there.

    Args:
        tokens: Output of `encode`.
        output: Folder to fill.
        engine: Where shards are indexed.
    """
    if is_current(tokens, output):
        return manifest.load(output, "ngrams")
    tasks = [(path,) for path in manifest.load(tokens, "encode").paths("train")]
    return shard_map(_step(), tasks, index_shard, output, engine)


def is_current(tokens: Path, output: Path) -> bool:
    """Tells whether `output` is the finished index of these tokens, from digests written down."""
    if not (output / manifest.NAME).is_file():
        return False
    told, share = manifest.load(tokens, "encode"), identity(_step())
    names = [path.relative_to(tokens).as_posix() for path in told.paths("train")]
    expected = [fingerprint(share, [told.files[name].sha256]) for name in names]
    made = sorted(output.glob("part-*.json"))
    return [json.loads(path.read_bytes())["fingerprint"] for path in made] == expected


def _step() -> Step:
    return Step(name="ngrams", code=__name__, config={}, libraries=("numpy",))


def index_shard(inputs: tuple[Path, ...], draft: shards.ShardDraft) -> None:
    """Indexes one token shard.

    Raises:
        ShardError: If it has too many tokens for the places' 32 bits.
    """
    (path,) = inputs
    opened = open_shards([path])
    if opened.n_tokens > MAX_PLACE:
        raise ShardError(
            f"{path} has {opened.n_tokens:,} tokens; allowed {MAX_PLACE:,}: make more shards"
        )
    values = opened.slice(0, opened.n_tokens)
    places, buckets = build(values)
    np.save(draft.path("places.npy"), places)
    np.save(draft.path("buckets.npy"), buckets)
    draft.count_in(opened.n_documents)
    draft.count_out(opened.n_documents)
    draft.tally("n_tokens", len(values))
    draft.tally("n_places", len(places))


def build(values: Tokens) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Returns the places of kept 6-grams, group by group, and where each group begins.

    Needs 12 bytes per token beside the tokens (measured on 20 and 50 million).

    Returns:
        (n,) places, ascending inside each group, and (2^b + 1,) begins of groups.
    """
    n_bits = _n_bits(len(values))
    packed = _packed(values, n_bits)
    packed.sort()
    is_new = np.ones(len(packed), np.bool_)  # chunks overlap
    is_new[1:] = packed[1:] != packed[:-1]
    packed = packed[is_new]
    begins = np.arange((1 << n_bits) + 1, dtype=np.uint64) << np.uint64(32)
    return packed.astype(np.uint32), np.searchsorted(packed, begins).astype(np.uint32)


def _packed(values: Tokens, n_bits: int) -> Hashes:
    """Returns the group of each kept 6-gram in the upper half, its place in the lower one."""
    parts = [np.empty(0, np.uint64)]
    for start in range(0, max(0, len(values) - N + 1), _CHUNK):
        places, keys = kept(values[start : start + _CHUNK + N - 1])
        parts.append(_groups(keys, n_bits) << np.uint64(32) | (places + start).astype(np.uint64))
    return np.concatenate(parts)


def _n_bits(n_tokens: int) -> int:
    return max(1, (n_tokens // 2 // PLACES_PER_BUCKET).bit_length())


def _groups(keys: Hashes, n_bits: int) -> Hashes:
    return keys >> np.uint64(64 - n_bits)


def kept(values: Tokens) -> tuple[Places, Hashes]:
    """Returns the places and hashes of the 6-grams that are the least of any 3 neighbours.

    Of equal ones all are kept, so what is kept depends on those 3 alone.

    >>> places, _ = kept(np.arange(100, dtype=np.uint16))
    >>> bool((np.diff(places) <= WINDOW).all()), int(places[0]) < WINDOW, len(places) < 70
    (True, True, True)
    """
    keys = _hashes(values)
    n = len(keys) - WINDOW + 1
    if n < 1:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    least = np.minimum.reduce([keys[i : i + n] for i in range(WINDOW)])
    chosen = np.zeros(len(keys), np.bool_)
    for i in range(WINDOW):
        chosen[i : i + n] |= keys[i : i + n] == least
    places = np.flatnonzero(chosen)
    return places, keys[places]


def _hashes(values: Tokens) -> Hashes:
    """Returns the hash of each 6-gram: ids in a row, mixed by a product and a shift per token."""
    n = max(0, len(values) - SEED + 1)
    mixed = np.zeros(n, np.uint64)
    for i in range(SEED):
        mixed ^= values[i : i + n]
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ mixed >> np.uint64(32)


class Index:
    """The index of a token folder, opened; nothing is read before it is asked for."""

    def __init__(self, tokens: Path, folder: Path) -> None:
        """Maps tokens and index.

        Raises:
            ManifestError: If either is missing or unfinished.
        """
        paths = manifest.load(tokens, "encode").paths("train")
        told = manifest.load(folder, "ngrams")
        self.tokens: TokenShards = open_shards(paths)
        self.documents = self.tokens.documents()
        self._starts = self.documents["start"].to_numpy()
        self._lengths = self.documents["n_tokens"].to_numpy()
        self._shards = [values for values, _ in self.tokens.shards()]
        self._places = [_open(path) for path in told.paths("places")]
        self._buckets = [_open(path) for path in told.paths("buckets")]

    def find(self, ids: Sequence[int], n_most: int) -> Found:
        """Returns what the training tokens share with a query.

        Args:
            ids: The query; what is shorter than `N` tokens is never found.
            n_most: Documents to tell of.

        Raises:
            ValueError: If the end mark of documents is in it: a passage lies in one document.
        """
        query = np.asarray(ids, np.uint32)
        if (query == self.tokens.eot_id).any():
            raise ValueError(f"the query holds id {self.tokens.eot_id}, which ends a document")
        covered = np.zeros(len(query), np.bool_)
        by_document: dict[int, list[Run]] = defaultdict(list)
        for found in self._runs(query):
            covered[found.query : found.query + found.n] = True
            row = int(np.searchsorted(self._starts, found.place, side="right")) - 1
            by_document[row].append(found)
        told = [self._passage(row, runs) for row, runs in by_document.items()]
        told.sort(key=lambda each: (-each.n, each.stream))
        return Found(
            covered=tuple(covered.tolist()),
            n_runs=sum(map(len, by_document.values())),
            n_documents=len(by_document),
            passages=tuple(told[:n_most]),
        )

    def _runs(self, query: Tokens) -> Iterator[Run]:
        """Yields every shared passage, with its place in the stream of all shards."""
        begin = 0
        for values, places, buckets in zip(self._shards, self._places, self._buckets, strict=True):
            for found in runs(query, values, places, buckets):
                yield found._replace(place=found.place + begin)
            begin += len(values)

    def _passage(self, row: int, found: list[Run]) -> Passage:
        longest = min(found, key=lambda each: (-each.n, each.place, each.query))
        start = int(self._starts[row])
        return Passage(
            doc_id=self.documents["doc_id"][row].as_py(),
            query=longest.query,
            place=longest.place - start,
            n=longest.n,
            n_runs=len(found),
            stream=start,
            n_document=int(self._lengths[row]) - 1,
        )


def _open(path: Path) -> npt.NDArray[np.uint32]:
    mode: Any = "r" if path.stat().st_size > _MIN_MAPPED_BYTES else None
    opened: npt.NDArray[np.uint32] = np.load(path, mmap_mode=mode)
    return opened


def runs(
    query: Tokens,
    values: Tokens,
    places: npt.NDArray[np.uint32],
    buckets: npt.NDArray[np.uint32],
) -> list[Run]:
    """Returns the passages of `N` tokens or more that a query and one shard share, all of them.

    A passage is as long as it can be; several may overlap in the query.
    """
    starts, keys = kept(query)
    groups = _groups(keys, (len(buckets) - 1).bit_length() - 1).astype(np.int64)
    candidates = [places[buckets[g] : buckets[g + 1]].astype(np.int64) for g in groups]
    hits = [_equal(query, values, q, at) for q, at in zip(starts, candidates, strict=True)]
    rank = np.repeat(np.arange(len(hits)), list(map(len, hits)))  # (H,) places in `starts`
    at = np.concatenate([np.empty(0, np.int64), *hits])  # (H,) places in the shard
    if not len(rank):
        return []
    order = np.lexsort((rank, at - starts[rank]))
    rank, at = rank[order], at[order]
    shift = at - starts[rank]  # the same for all hits of a run
    new = np.flatnonzero((np.diff(shift) != 0) | (np.diff(rank) != 1)) + 1
    first = np.concatenate([[0], new])
    last = np.concatenate([new, [len(rank)]]) - 1
    left = _grown(query, values, starts[rank[first]] - 1, at[first] - 1, -1)
    right = _grown(query, values, starts[rank[last]] + SEED, at[last] + SEED, 1)
    lengths = starts[rank[last]] + SEED - starts[rank[first]] + left + right
    begins = starts[rank[first]] - left
    return [
        Run(query=int(q), place=int(q + d), n=int(n))
        for q, d, n in zip(begins, shift[first], lengths, strict=True)
        if n >= N
    ]


def _equal(query: Tokens, values: Tokens, start: int, at: Places) -> Places:
    """Returns those places where the query's 6-gram stands."""
    for i in range(SEED):
        at = at[values[at + i] == query[start + i]]
    return at


def _grown(query: Tokens, values: Tokens, q: Places, at: Places, step: int) -> Places:
    """Returns by how many tokens each run goes on from (q, at), one way; never more than `N`."""
    grown = np.zeros(len(q), np.int64)
    alive = np.arange(len(q))
    for i in range(N):
        here, there = q[alive] + i * step, at[alive] + i * step
        inside = (here >= 0) & (here < len(query)) & (there >= 0) & (there < len(values))
        alive, here, there = alive[inside], here[inside], there[inside]
        alive = alive[values[there] == query[here]]
        grown[alive] += 1
    return grown
