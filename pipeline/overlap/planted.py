"""Dedup's planted controls: pairs of known Jaccard similarity, in every run, through every step.

A probabilistic step that is broken does nothing, or removes nearly everything, without an error (a
filter that was never consulted, 99 % of a source removed: both happened to others). So each run has
one shard more than its input, source 0: texts of words that occur nowhere else, in pairs at stated
similarities, copies, and texts that are like no other. They are signed, exchanged, verified and
judged as all others are; the shards that are written begin at source 1.

What came of them is read from the run's own files. Whether a pair shared a band shows in what the
exchange wanted of source 0; by the curve that is .05 to 1.0 of the pairs at .5 to .9. Whether it
was joined shows in the verdicts: all pairs at or above the threshold that shared a band, no others.

Cost: 1,260 texts, 1.3 MB; 0.3 CPU-seconds a run.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.overlap import columns, minhash
from pipeline.overlap.words import mix, sequence
from pipeline.store import records
from pipeline.store.errors import ShardError
from pipeline.store.shards import ShardDraft

CONTROLS = 0  # their place among the sources
FILE = "part.parquet"

_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_N_PAIRS = 100  # at each level
_N_COPIES = 20  # pairs of texts that differ in white space only
_N_UNION = 120  # shingles of both texts together; every level is a whole number of them
N_DOCUMENTS = 2 * _N_PAIRS * len(_LEVELS) + 3 * _N_COPIES
_SIGMAS = 5  # a sound run fails once in 10^6
_SEED = 20170711

_SCHEMA = pa.schema(
    [(name, records.CLEAN.field(name).type) for name in ("doc_id", "created_utc", "text")]
)


def pair(level: float, number: int, n: int) -> tuple[str, str]:
    """Returns two texts whose sets of n-word shingles have exactly this Jaccard similarity.

    Both begin with the same words and end in words of their own, and all words differ, so the
    shared words make the shared shingles: s of them and t of each text's own, s / (s + 2 t). The
    second is in capitals, so that texts of equal words are not the same text.

    >>> a, b = pair(0.8, 0, 5)
    >>> minhash.jaccard(minhash.shingles(a, 5), minhash.shingles(b, 5))
    0.8
    """
    own = round(_N_UNION * (1 - level) / 2)
    n_shared = _N_UNION - 2 * own + n - 1
    drawn = sequence(_SEED + round(level * _N_UNION) * 1_000_003 + number, n_shared + 2 * own)
    words = [f"{value:016x}"[:9] for value in mix(drawn).tolist()]
    shared, tails = words[:n_shared], (words[n_shared:][:own], words[n_shared:][own:])
    first, second = (" ".join(shared + tail) for tail in tails)
    return first, second.upper()


def texts(shingle_words: int) -> dict[str, str]:
    """Returns the controls by name: `<level>/<number>/<side>`, copies, and texts without a pair."""
    found = {
        f"{level}/{number}/{side}": text
        for level in _LEVELS
        for number in range(_N_PAIRS)
        for side, text in zip("ab", pair(level, number, shingle_words), strict=True)
    }
    for number in range(_N_COPIES):
        found[f"copy/{number}/a"] = pair(0.0, number, shingle_words)[0]
        found[f"copy/{number}/b"] = found[f"copy/{number}/a"].replace(" ", "\n")
        found[f"alone/{number}/a"] = pair(0.0, _N_COPIES + number, shingle_words)[0]
    return found


def doc_id(name: str) -> str:
    """Returns the id reserved for a control; a link's key is never like that."""
    return records.doc_id(f"dedup control {name}")


def write(inputs: tuple[Path, ...], draft: ShardDraft, shingle_words: int) -> None:
    """Writes the controls as a shard like those of `data/clean/`."""
    assert not inputs
    named = sorted((doc_id(name), text) for name, text in texts(shingle_words).items())
    rows = [{"doc_id": d, "created_utc": None, "text": text} for d, text in named]
    draft.write_table(FILE, pa.Table.from_pylist(rows, _SCHEMA))


def examine(
    controls: Path,
    documents: Path,
    wanted: Sequence[Path],
    verdicts: Sequence[Path],
    config: minhash.Config,
    threshold: float,
) -> list[dict[str, Any]]:
    """Returns, per level of similarity, how many pairs were caught, expected and joined.

    Args:
        controls: Their shard.
        documents: Its `documents.arrow`.
        wanted: What each partition of the exchange wanted of source 0.
        verdicts: What each partition decided about source 0.
        config: Shape of the signatures.
        threshold: Of the verification.

    Raises:
        ShardError: If a level's count is not what the curve says, a text without a pair was found
            like another, or a pair is joined below the threshold or not joined above it.
    """
    ids = pq.read_table(controls, columns=["doc_id"])["doc_id"].to_pylist()
    contents = columns.read([documents])["content"].to_pylist()
    content = dict(zip(ids, contents, strict=True))
    caught = set(columns.read(wanted)["content"].to_pylist())
    told = {columns.to_doc_id(row["doc"]): row for row in columns.read(verdicts).to_pylist()}
    found = _Found(caught={d for d in ids if content[d] in caught}, verdicts=told)
    found.check_alone()
    return [found.check_level(level, config, threshold) for level in _LEVELS]


def describe(levels: Iterable[Mapping[str, Any]]) -> str:
    """Returns one line for people: how many pairs of each level were caught.

    >>> describe([{"jaccard": 0.8, "n_pairs": 100, "n_caught": 88, "expected_frac": 0.9235}])
    'planted pairs that share a band (expected): .8: 88 (92) of 100'
    """
    told = (
        f"{level['jaccard']:.1f}".lstrip("0")
        + f": {level['n_caught']} ({level['expected_frac'] * level['n_pairs']:.0f})"
        for level in levels
    )
    return f"planted pairs that share a band (expected): {', '.join(told)} of {_N_PAIRS}"


class _Found:
    """What became of the controls.

    Attributes:
        caught: Ids of those that share a band with another text.
        verdicts: Verdicts by id.
    """

    def __init__(self, caught: set[str], verdicts: Mapping[str, Mapping[str, Any]]) -> None:
        self.caught = caught
        self.verdicts = verdicts

    def check_alone(self) -> None:
        """Raises ShardError if a text without a pair has one, or a copy was not found."""
        alone = [doc_id(f"alone/{n}/a") for n in range(_N_COPIES)]
        if self.caught.intersection(alone) or set(alone) & self.verdicts.keys():
            raise ShardError(
                "dedup control: texts without a common word were found alike; the candidate search "
                "or the verification is broken"
            )
        n_found = sum(self._is_joined(f"copy/{n}") for n in range(_N_COPIES))
        if n_found < _N_COPIES:
            raise ShardError(
                f"dedup control: {n_found} of {_N_COPIES} planted copies were found; "
                "the exact matching is broken"
            )

    def check_level(self, level: float, config: minhash.Config, threshold: float) -> dict[str, Any]:
        """Returns the figures of one level; raises ShardError unless they are as they must be."""
        names = [f"{level}/{number}" for number in range(_N_PAIRS)]
        caught = [name for name in names if doc_id(f"{name}/a") in self.caught]
        joined = [name for name in names if self._is_joined(name)]
        expected = minhash.caught_frac(level, config)
        margin = _SIGMAS * sqrt(expected * (1 - expected) / _N_PAIRS) + 2 / _N_PAIRS
        if abs(len(caught) / _N_PAIRS - expected) > margin:
            raise ShardError(
                f"dedup control: {len(caught)} of {_N_PAIRS} planted pairs of Jaccard {level} "
                f"share a band; expected {expected * _N_PAIRS:.0f} +- {margin * _N_PAIRS:.0f}; "
                "the candidate search is broken"
            )
        if joined != (caught if level >= threshold else []):
            raise ShardError(
                f"dedup control: {len(joined)} planted pairs of Jaccard {level} were joined at "
                f"threshold {threshold}, {len(caught)} were candidates; the verification is broken"
            )
        self._check_similarities(joined, level)
        return {
            "jaccard": level,
            "n_pairs": _N_PAIRS,
            "n_caught": len(caught),
            "n_joined": len(joined),
            "expected_frac": round(expected, 4),
        }

    def _check_similarities(self, joined: Iterable[str], level: float) -> None:
        for name in joined:
            told = [self.verdicts[doc_id(f"{name}/{side}")]["jaccard"] for side in "ab"]
            if abs(min(told) - level) > 1e-9:
                raise ShardError(
                    f"dedup control: a planted pair of Jaccard {level} measures {min(told)}; "
                    "the verification is broken"
                )

    def _is_joined(self, name: str) -> bool:
        clusters = {self.verdicts.get(doc_id(f"{name}/{side}"), {}).get("cluster") for side in "ab"}
        return len(clusters) == 1 and None not in clusters
