"""Token shards: one Arrow IPC file per corpus shard, read as one long array of ids.

Decisions:
- One uncompressed record batch per file, so the values buffer of `tokens` lies in the file as it
  lies in memory: a memory map of it is the token stream and nothing is copied to read a window.
- What a shard was encoded with (tokenizer digest, vocabulary size, id of `<|endoftext|>`) is in the
  file itself. Shards of two tokenizers are never joined: their ids mean different things.
- Any Arrow reader opens the files; `doc_id` leads from every token back to its link.

    file 0   values | t t t E t t E |      document = its tokens and one <|endoftext|> (E)
    file 1   values | t E t t t t E |
    stream           t t t E t t E t E t t t t E        slice(5, 9) copies, slice(0, 7) does not
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.errors import ShardError

FORMAT_VERSION = 1  # of the layout described here; stands in every file
END_OF_TEXT = "<|endoftext|>"  # the entry that ends every document
MAX_UINT16_VOCAB = 65_535  # entries; larger vocabularies are stored as uint32

Tokens = npt.NDArray[np.uint16 | np.uint32]


class Vocabulary(NamedTuple):
    """What ids mean: sha256 of tokenizer.json, number of entries, id of `<|endoftext|>`."""

    tokenizer_sha256: str
    n_vocab: int
    eot_id: int

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The narrowest stored type that holds every id."""
        return np.uint16 if self.n_vocab <= MAX_UINT16_VOCAB else np.uint32


def write_shard(
    path: Path,
    doc_ids: Sequence[str],
    tokens: Sequence[npt.ArrayLike],
    n_bytes: Sequence[int],
    vocabulary: Vocabulary,
) -> None:
    """Writes one shard; the same documents give the same bytes.

    Args:
        path: The file to make.
        doc_ids: One per document.
        tokens: The ids of each document, its closing `<|endoftext|>` included.
        n_bytes: UTF-8 bytes of each document's text.
        vocabulary: What the ids mean.

    Raises:
        ValueError: If an id is outside the vocabulary.
    """
    arrays = [np.asarray(ids) for ids in tokens]
    joined = np.concatenate(arrays) if arrays else np.empty(0, vocabulary.dtype)
    try:
        values = narrow(joined, vocabulary)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; remake the tokenizer: dvc repro bpe") from error
    write_values(path, doc_ids, [len(ids) for ids in arrays], values, n_bytes, vocabulary)


class Ended(NamedTuple):
    """Ids of documents in a row, `<|endoftext|>` after each, and the index behind each document."""

    ids: npt.NDArray[np.uint32]
    stops: npt.NDArray[np.int64]


def ended(
    documents: Iterable[npt.NDArray[np.uint32]], vocabulary: Vocabulary
) -> npt.NDArray[np.uint32]:
    """Returns the ids of documents in a row, `<|endoftext|>` after each."""
    end = np.array([vocabulary.eot_id], np.uint32)
    return np.concatenate([end[:0], *(part for ids in documents for part in (ids, end))])


def narrow(values: npt.NDArray[Any], vocabulary: Vocabulary) -> Tokens:
    """Returns ids in the type in which they are stored.

    Raises:
        ValueError: If an id is outside the vocabulary.
    """
    negative = values.dtype.kind != "u" and values.size and values.min() < 0
    if values.size and (negative or values.max() >= vocabulary.n_vocab):
        raise ValueError(
            f"ids {values.min()}..{values.max()}; expected 0 <= id < {vocabulary.n_vocab}"
        )
    return values.astype(vocabulary.dtype)


def write_values(
    path: Path,
    doc_ids: Sequence[str] | pa.Array,
    n_tokens: Sequence[int] | pa.Array,
    values: Tokens,
    n_bytes: Sequence[int] | pa.Array,
    vocabulary: Vocabulary,
) -> None:
    """Writes one shard whose ids are one array already, without copying it.

    Args:
        path: The file to make.
        doc_ids: One per document.
        n_tokens: Ids of each document.
        values: The ids of all documents, as `narrow` returns them.
        n_bytes: UTF-8 bytes of each document's text.
        vocabulary: What the ids mean.
    """
    schema = _schema(vocabulary)
    offsets = np.zeros(len(n_tokens) + 1, np.int64)
    np.cumsum(n_tokens, out=offsets[1:])
    columns = [
        pa.array(doc_ids, pa.string()),
        pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values), schema.field(1).type),
        pa.array(n_bytes, pa.int64()),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch)


def _schema(vocabulary: Vocabulary) -> pa.Schema:
    value = pa.field("item", pa.from_numpy_dtype(vocabulary.dtype), nullable=False)
    fields = [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("tokens", pa.large_list(value), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
    ]
    facts = {"format_version": FORMAT_VERSION, **vocabulary._asdict()}
    return pa.schema(fields, metadata={key: str(value) for key, value in facts.items()})


def open_shards(paths: Sequence[Path]) -> "TokenShards":
    """Memory-maps shards in the order given.

    Raises:
        FileNotFoundError: If a file is absent, or none is given.
        ShardError: If a file is no token shard, or two shards come from different tokenizers.
    """
    if not paths:
        raise FileNotFoundError("data/tokens holds no shard; make them with: dvc repro encode")
    return TokenShards([_Shard(Path(path)) for path in paths])


class _Shard:
    """One mapped file. `values` is a view of the map, which it keeps open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; make it with: dvc repro encode")
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self.vocabulary = _vocabulary(reader.schema)
            batch = reader.get_batch(0) if reader.num_record_batches == 1 else None
        except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
            raise ShardError(
                f"{path} is no token shard: {error}; remake: dvc repro encode"
            ) from error
        if batch is None or batch.schema != _schema(self.vocabulary):
            raise ShardError(
                f"{path} has {reader.num_record_batches} record batches of {reader.schema.names}; "
                "expected one of doc_id, tokens, n_bytes; remake: dvc repro encode"
            )
        self.documents = batch
        self.values: Tokens = batch.column("tokens").flatten().to_numpy(zero_copy_only=True)
        self.n_bytes = int(np.sum(batch.column("n_bytes").to_numpy()))


def _vocabulary(schema: pa.Schema) -> Vocabulary:
    """Reads what the schema's metadata says; KeyError or ValueError when it does not."""
    facts = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    if facts["format_version"] != str(FORMAT_VERSION):
        raise ValueError(f"format_version is {facts['format_version']}; expected {FORMAT_VERSION}")
    return Vocabulary(facts["tokenizer_sha256"], int(facts["n_vocab"]), int(facts["eot_id"]))


class TokenShards:
    """Several shards as one stream of `n_tokens` ids that stand for `n_bytes` bytes of text."""

    def __init__(self, shards: Sequence[_Shard]) -> None:
        first = shards[0]
        for other in shards[1:]:
            if other.vocabulary != first.vocabulary:
                raise ShardError(
                    f"{other.path} was encoded with {other.vocabulary}, {first.path} with "
                    f"{first.vocabulary}; expected one tokenizer; remake both: dvc repro encode"
                )
        self._shards = shards
        self._starts = [0, *accumulate(len(shard.values) for shard in shards)]
        self.vocabulary = first.vocabulary
        self.n_tokens = self._starts[-1]
        self.n_bytes = sum(shard.n_bytes for shard in shards)
        self.n_documents = sum(shard.documents.num_rows for shard in shards)

    @property
    def tokenizer_sha256(self) -> str:
        """Digest of the tokenizer.json that made the ids."""
        return self.vocabulary.tokenizer_sha256

    @property
    def n_vocab(self) -> int:
        """Number of entries; every id is below it."""
        return self.vocabulary.n_vocab

    @property
    def eot_id(self) -> int:
        """Id of `<|endoftext|>`, the last token of each document."""
        return self.vocabulary.eot_id

    def documents(self) -> pa.Table:
        """Returns `doc_id string, start int64, n_tokens int64` of each document, in stream order.

        `start` is the place of its first token in the stream.
        """
        batches = [shard.documents for shard in self._shards]
        ids = pa.chunked_array([batch.column("doc_id") for batch in batches])
        lengths = [pc.list_value_length(batch.column("tokens")).to_numpy() for batch in batches]
        n_tokens = np.concatenate(lengths)
        starts = np.cumsum(n_tokens) - n_tokens
        return pa.table({"doc_id": ids, "start": starts, "n_tokens": n_tokens})

    def shards(self) -> Iterator[tuple[Tokens, npt.NDArray[np.int64]]]:
        """Yields each shard's ids and the number of ids of each of its documents, as views."""
        for shard in self._shards:
            yield shard.values, np.diff(shard.documents.column("tokens").offsets.to_numpy())

    def slice(self, start: int, stop: int) -> Tokens:
        """Returns ids [start, stop) of the stream, uint16 or uint32, read-only where not copied.

        Raises:
            IndexError: Unless 0 <= start <= stop <= n_tokens; nothing is clipped.
        """
        if not 0 <= start <= stop <= self.n_tokens:
            raise IndexError(f"slice({start}, {stop}) of a stream of {self.n_tokens} tokens")
        index = bisect_right(self._starts, start, hi=len(self._shards)) - 1
        parts = [self._part(index, start, stop)]
        while self._starts[index + 1] < stop:
            index += 1
            parts.append(self._part(index, start, stop))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _part(self, index: int, start: int, stop: int) -> Tokens:
        """Returns the view of shard `index` that lies in [start, stop) of the stream."""
        begin = self._starts[index]
        return self._shards[index].values[max(start - begin, 0) : stop - begin]
