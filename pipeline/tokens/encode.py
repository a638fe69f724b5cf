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
import pyarrow.parquet as pq

from pipeline.engine.identity import Step
from pipeline.engine.shardmap import shard_map
from pipeline.engine.tasks import Engine
from pipeline.store import manifest
from pipeline.store.shards import ShardDraft
from pipeline.tokens import codec
from pipeline.tokens.arrow import Tokens, narrow, open_shards, write_values
from pipeline.tokens.codec import Codec

SPLITS = ("train", "valid")

_BATCH_ROWS = 2_048  # documents whose ids are in memory as uint32 at once
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
    table = pq.read_table(path, columns=["doc_id", "text"])
    ids = table["doc_id"].combine_chunks()
    n_bytes = pc.binary_length(table["text"]).combine_chunks().cast(pa.int64())
    n_tokens, values = _encode_texts(table["text"], made)
    write_values(draft.path(f"{split}.arrow"), ids, n_tokens, values, n_bytes, made.vocabulary)
    draft.count_in(len(ids))
    draft.count_out(len(ids))
    draft.tally(f"{split}_documents", len(ids))
    draft.tally(f"{split}_tokens", len(values))
    draft.tally(f"{split}_bytes", pc.sum(n_bytes).as_py() or 0)


def _encode_texts(texts: pa.ChunkedArray, made: Codec) -> tuple[list[int], Tokens]:
    """Returns how many ids each text has, its `<|endoftext|>` included, and all ids in a row.

    Texts go to the codec as the bytes that they are in the file, and ids are narrowed some thousand
    texts at a time: no text is decoded, and the wide ids of a whole shard never exist at once.
    """
    end = np.array([made.vocabulary.eot_id], np.uint32)
    n_tokens: list[int] = []
    parts = [np.empty(0, made.vocabulary.dtype)]
    for start in range(0, len(texts), _BATCH_ROWS):
        batch = texts.slice(start, _BATCH_ROWS).cast(pa.binary())
        found = list(made.encode_all(batch.to_pylist()))
        n_tokens.extend(len(ids) + 1 for ids in found)
        wide = np.concatenate([each for ids in found for each in (ids, end)])
        parts.append(narrow(wide, made.vocabulary))
    return n_tokens, np.concatenate(parts)


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
