"""From documents to token shards: one task per corpus shard, train and validation part together.

    data/corpus/train/part-00003.parquet ─┐
    data/corpus/valid/part-00003.parquet ─┼─> data/tokens/{train,valid}/part-00003.arrow
    data/bpe/tokenizer.json ──────────────┘

Every document ends with `<|endoftext|>` and nothing else is added: no padding, no start marker, no
cut at the context length. With a byte-level vocabulary, decoding a document's ids without the last
one gives its text back.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import shard_map
from pipeline.engine.tasks import Engine
from pipeline.store import manifest
from pipeline.store.shards import ShardDraft, read_batches
from pipeline.tokens import codec
from pipeline.tokens.arrow import narrow, open_shards, write_values
from pipeline.tokens.codec import Codec

SPLITS = ("train", "valid")

_BATCH_ROWS = 128  # documents at once: their text and ids stay in the processor's cache
_LIBRARIES = ("ftfy", "gigatoken", "numpy", "pyarrow", "regex", "tiktoken", "tokenizers")


def run(corpus: Path, bpe: Path, output: Path, engine: Engine) -> dict[str, Any]:
    """Encodes the corpus.

    Args:
        corpus: Output of `decontaminate`.
        bpe: Output of `bpe`.
        output: Folder for `train/part-*.arrow` and `valid/part-*.arrow`.
        engine: Where shards are encoded.

    Returns:
        The stage's figures.
    """
    tokenizer = bpe / "tokenizer.json"
    vocabulary = codec.load(tokenizer).vocabulary
    found = manifest.load(corpus, "decontaminate")
    parts = zip(found.paths("train"), found.paths("valid"), strict=True)
    tasks = [(train, valid, tokenizer) for train, valid in parts]
    # Nothing can be set: the vocabulary is an input, and the number of workers decides no byte.
    step = Step(name="encode", code=__name__, config={}, libraries=_LIBRARIES)
    made = shard_map(step, tasks, encode_shard, output, engine)
    return {
        "counts": {"n_in": made.counts.n_in, "n_out": made.counts.n_out, "dropped": {}},
        "tokenizer_sha256": vocabulary.tokenizer_sha256,
        "n_vocab": vocabulary.n_vocab,
        **{split: _figures(made.tally, split) for split in SPLITS},
    }


def encode_shard(inputs: tuple[Path, ...], draft: ShardDraft) -> None:
    """Encodes one shard: its train part, its validation part, the vocabulary."""
    *parts, tokenizer = inputs
    made = codec.load(tokenizer)
    for split, path in zip(SPLITS, parts, strict=True):
        _encode_part(split, path, made, draft)


def _encode_part(split: str, path: Path, made: Codec, draft: ShardDraft) -> None:
    """Encodes one file; no text is decoded, and few texts and wide ids are in memory at a time."""
    vocabulary = made.vocabulary
    doc_ids, n_tokens, n_bytes, values = [], [], [], [np.empty(0, vocabulary.dtype)]
    for batch in read_batches(path, ["doc_id", "text"], _BATCH_ROWS):
        text = batch.column("text").cast(pa.binary())
        ids, stops = made.encode_ended(text.to_pylist())
        doc_ids.append(batch.column("doc_id"))
        n_tokens.append(pa.array(np.diff(stops, prepend=0), pa.int64()))
        n_bytes.append(pc.binary_length(text).cast(pa.int64()))
        values.append(narrow(ids, vocabulary))
    columns = zip((pa.string(), pa.int64(), pa.int64()), (doc_ids, n_tokens, n_bytes), strict=True)
    names, lengths, sizes = (pa.chunked_array(c, of).combine_chunks() for of, c in columns)
    write_values(
        draft.path(f"{split}.arrow"),
        names,
        lengths,
        np.concatenate(values),
        sizes,
        vocabulary,
    )
    draft.count_in(len(names))
    draft.count_out(len(names))
    draft.tally(f"{split}_documents", len(names))
    draft.tally(f"{split}_tokens", pc.sum(lengths).as_py() or 0)
    draft.tally(f"{split}_bytes", pc.sum(sizes).as_py() or 0)


def read_texts(tokenizer: Path, path: Path) -> Iterator[tuple[str, str]]:
    """Yields id and decoded text of each document of a token shard."""
    made, shard = codec.load(tokenizer), open_shards([path])
    rows = shard.documents().to_pylist()
    for row in rows:
        ids = shard.slice(row["start"], row["start"] + row["n_tokens"] - 1)  # without the end mark
        yield row["doc_id"], made.decode(ids)


def _figures(tally: Mapping[str, int], split: str) -> dict[str, Any]:
    """Returns one split's sums; `bytes_per_token` leaves `<|endoftext|>` out: it has no bytes."""
    n_documents, n_tokens = tally[f"{split}_documents"], tally[f"{split}_tokens"]
    n_bytes, n_text = tally[f"{split}_bytes"], n_tokens - n_documents
    return {
        "n_documents": n_documents,
        "n_tokens": n_tokens,
        "n_bytes": n_bytes,
        "bytes_per_token": round(n_bytes / n_text, 4) if n_text else None,
    }
