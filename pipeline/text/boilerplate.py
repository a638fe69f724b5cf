"""Clean, steps 2 and 3: lines that recur across the pages of a host.

    texts ──2 send──> (host, line, n) by hash of the host ──3 decide──> one list for each shard

Decisions:
- A line is boilerplate of a host when at least `min_documents` of its documents have it, and at
  least `min_host_frac` of them. Equal documents count as one: a page under ten addresses is a
  duplicate, and dedup must find it whole.
- Pages of one host also share what belongs to them: headings ("Parameters"), code (`import numpy as
  np`), entries of lists. So single words, code and list entries are never candidates, and a line
  shorter than a sentence is removed only in a run of such lines at the beginning or the end of a
  document, where headers and footers stand. On 1,552 pages of documentation the lines that recur
  in 30 % of a host's pages are all headings and imports (measured); none is removed.
- Lines are compared in lower case, digits as one 0: "Page 2 of 9", "(c) 2017".
- A host's own number stands as a line that each of its documents has, so documents are counted
  like lines. A key holds its host, so equal keys are equal lines of one host.
- A partition's task holds 24 bytes for each candidate of each of its documents, and no text. Each
  input shard gets a list of its own lines only, so a new shard changes the list of another one
  only where it changes what is boilerplate there.

Paper: CCNet (Wenzek et al. 2020) removes paragraphs that occur elsewhere in its snapshot.
Deviation: here the host decides, with a share and places, because a line that is text on one host
    is a footer on another.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import intermediate
from pipeline.engine.tasks import Engine
from pipeline.store import shards
from pipeline.store.config import require
from pipeline.store.shards import Shard, ShardDraft

TOP = "top.parquet"
N_TOP = 20

_SENT = pa.schema([(name, pa.uint64()) for name in ("host", "line", "content")])
_REMOVED = pa.schema([("line", pa.uint64())])
_TOP = pa.schema([("line", pa.uint64()), ("n_documents", pa.int64()), ("n_host", pa.int64())])

_DIGITS, _ZEROS = re.compile(r"\d+"), re.compile(r"00+")
_ZERO_FOR_DIGIT = str.maketrans("123456789", "000000000")
# Prompts, list entries and table rows; imports; signs that code needs and prose does not.
_CODE_START = re.compile(r">>>|\.\.\.|[$#@/*+|•-]|import \w|from \S+ import ")
# Each choice begins with a character, so that the search skips all others.
_CODE = re.compile(r"\{|\}|=|\\|`|\[|\]|;$|<\w|\((?<=\w\()|_(?<=\w_)\w|::|->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Which lines are looked at.

    Attributes:
        min_chars: Shortest line.
        max_chars: Longest line; what is longer is text.
        min_words: Fewest words; headings have one or two.
        sentence_words: What has so many is removed wherever it stands, the rest at the edges.
    """

    min_chars: int
    max_chars: int
    min_words: int
    sentence_words: int

    def __post_init__(self) -> None:
        require("min_chars", self.min_chars, self.min_chars >= 1, "x >= 1")
        require("max_chars", self.max_chars, self.max_chars >= self.min_chars, "x >= min_chars")
        require("min_words", self.min_words, self.min_words >= 1, "x >= 1")
        require("sentence_words", self.sentence_words, self.sentence_words >= 1, "x >= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """When a line is boilerplate.

    Attributes:
        min_documents: Documents of a host that must have the line; 0 turns the step off.
        min_host_frac: Their share of the host's documents.
        candidates: Which lines are looked at.
        partitions: Of the hosts; more of them need less memory each.
    """

    min_documents: int
    min_host_frac: float
    candidates: Candidates
    partitions: int

    def __post_init__(self) -> None:
        n, frac = self.min_documents, self.min_host_frac
        require("min_documents", n, n == 0 or n >= 2, "0 or x >= 2")
        require("min_host_frac", frac, 0 < frac <= 1, "0 < x <= 1")
        require("partitions", self.partitions, 1 <= self.partitions <= 4096, "1 to 4096")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is boilerplate: for each input shard the files that list it, and the top lists."""

    lists: tuple[tuple[Path, ...], ...]
    tops: tuple[Path, ...]


def find(texts: Sequence[Shard], part: str, config: Config, engine: Engine) -> Found:
    """Finds the lines that recur, for each of the shards of texts.

    Args:
        texts: Shards of regular texts with their hosts.
        part: The file of a shard that holds them.
        config: When a line is boilerplate.
        engine: Where tasks run.
    """
    if not config.min_documents:
        return Found(lists=tuple(() for _ in texts), tops=())
    n, code = config.partitions, __name__
    sending = {"candidates": asdict(config.candidates), "partitions": n}
    sent = intermediate(
        Step(name="clean-lines", code=code, config=sending, libraries=("xxhash",)),
        [(shard.path(part),) for shard in texts],
        partial(send, candidates=config.candidates, partitions=n),
        engine,
    ).shards
    limits = {"min_documents": config.min_documents, "min_host_frac": config.min_host_frac}
    decided = intermediate(
        Step(name="clean-boilerplate", code=code, config=limits, libraries=("numpy",)),
        [[shard.path(_lines_name(p)) for shard in sent] for p in range(n)],
        partial(decide, min_documents=config.min_documents, min_host_frac=config.min_host_frac),
        engine,
    ).shards
    return Found(
        lists=tuple(tuple(s.path(_list_name(i)) for s in decided) for i in range(len(texts))),
        tops=tuple(shard.path(TOP) for shard in decided),
    )


def _lines_name(partition: int) -> str:
    return f"lines-{partition:05d}.parquet"


def _list_name(shard: int) -> str:
    return f"list-{shard:05d}.parquet"


def send(
    inputs: tuple[Path, ...], draft: ShardDraft, candidates: Candidates, partitions: int
) -> None:
    """Writes which line stands in which document of a host, one file per partition of hosts."""
    found: dict[tuple[int, int], set[int]] = {}
    for name, text in _rows(inputs[0]):
        host = number(name)
        document = (host, number(name, text))
        if document not in found:
            found[document] = {host, *keyed_lines(text, name, candidates).values()}
    by_partition: list[list[tuple[int, int, int]]] = [[] for _ in range(partitions)]
    for (host, content), lines in found.items():
        by_partition[host % partitions].extend((host, line, content) for line in lines)
    for partition, rows in enumerate(by_partition):
        columns = np.array(sorted(rows), np.uint64).reshape(-1, len(_SENT)).T
        table = pa.table(list(columns), schema=_SENT)
        draft.write_table(_lines_name(partition), table)


def number(host: str, text: str = "") -> int:
    """Returns the 64-bit number of a text on a host, or of the host."""
    return xxhash.xxh3_64_intdigest(f"{host}\n{text}".encode())


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    yield from shards.read_rows(path, ["host", "text"])


def keyed_lines(text: str, host: str, candidates: Candidates) -> dict[int, int]:
    """Returns the candidates among a text's lines: index of the line to its key on that host."""
    same = _without_digits(text.lower()).split("\n")
    return {
        index: number(host, " ".join(same[index].split()))
        for index, line in enumerate(text.split("\n"))
        if is_candidate(line, candidates)
    }


def _without_digits(text: str) -> str:
    """Returns a text with one 0 for each number."""
    if text.isascii():  # five times as fast
        return _ZEROS.sub("0", text.translate(_ZERO_FOR_DIGIT))
    return _DIGITS.sub("0", text)


def is_candidate(line: str, candidates: Candidates) -> bool:
    """Returns whether a line may be boilerplate at all.

    >>> some = Candidates(min_chars=15, max_chars=300, min_words=3, sentence_words=8)
    >>> [is_candidate(line, some) for line in ("Sign up for our newsletter", "Other Parameters",
    ...     ">>> import numpy as np", "- axis (int, optional)", "plt.show() # the whole figure")]
    [True, False, False, False, False]
    """
    if not candidates.min_chars <= len(line) <= candidates.max_chars:
        return False
    line = line.strip()
    enough = len(line.split(None, candidates.min_words - 1)) >= candidates.min_words
    return enough and not _CODE_START.match(line) and not _CODE.search(line)


def decide(
    inputs: tuple[Path, ...], draft: ShardDraft, min_documents: int, min_host_frac: float
) -> None:
    """Writes the boilerplate of one partition: a list for each shard, and the most frequent."""
    tables = [pq.read_table(path, partitioning=None) for path in inputs]
    host, line, content = (_column(tables, name) for name in _SENT.names)
    order = np.lexsort((content, line))
    fresh = np.ones(len(order), bool)  # not the same document as the row before, from another shard
    fresh[1:] = np.any(np.diff([line[order], content[order]]) != 0, axis=0)
    keys, first, n_documents = np.unique(line[order[fresh]], return_index=True, return_counts=True)
    own = host[order[fresh]][first]
    n_host = n_documents[np.searchsorted(keys, own)]
    enough = (n_documents >= min_documents) & (n_documents >= min_host_frac * n_host)
    found = np.flatnonzero(enough & (keys != own))
    for shard, table in enumerate(tables):
        lines = np.intersect1d(table["line"].to_numpy(), keys[found])
        draft.write_table(_list_name(shard), pa.table([lines], schema=_REMOVED))
    top = found[np.lexsort((keys[found], -n_documents[found]))][:N_TOP]
    columns = [keys[top], n_documents[top], n_host[top]]
    draft.write_table(TOP, pa.table(columns, schema=_TOP))
    draft.tally("lines", len(found))


def _column(tables: Sequence[pa.Table], name: str) -> npt.NDArray[np.uint64]:
    return np.concatenate([table.column(name).to_numpy() for table in tables])


def load(paths: Sequence[Path]) -> frozenset[int]:
    """Returns the keys of a shard's boilerplate."""
    return frozenset(key for path in paths for key in pq.read_table(path)["line"].to_pylist())


def removed(text: str, host: str, known: frozenset[int], candidates: Candidates) -> dict[int, int]:
    """Returns the lines of a text that are boilerplate: index to key.

    Args:
        text: Regular.
        host: Where it comes from.
        known: Keys of the boilerplate.
        candidates: Which lines are looked at.
    """
    if not known:
        return {}
    keyed = keyed_lines(text, host, candidates)
    found = {index: key for index, key in keyed.items() if key in known}
    if not found:
        return {}
    lines = text.split("\n")
    filled = [index for index, line in enumerate(lines) if line.strip()]
    edges = {*_run(filled, found), *_run(filled[::-1], found)}
    return {
        index: key
        for index, key in found.items()
        if index in edges or len(lines[index].split()) >= candidates.sentence_words
    }


def _run(indexes: Sequence[int], found: Mapping[int, int]) -> Iterator[int]:
    """Yields the indexes up to the first that is not boilerplate."""
    return takewhile(found.__contains__, indexes)
