"""The bare batch call of a library: texts of Parquet files in, ids dropped.

python bare_encode.py FOLDER KIND, where KIND is gigatoken-each, tokenizers, tiktoken-N (threads),
gigatoken-list or gigatoken-parquet; with -1 behind it, the last two use one thread.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gigatoken
import pyarrow.parquet as pq
import tiktoken
from tokenizers import Tokenizer

# openai/gpt-2, src/encoder.py
_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def tiktoken_of(tokenizer: Path) -> tiktoken.Encoding:
    """Puts a byte-level tokenizer.json into tiktoken."""
    vocabulary = json.loads(tokenizer.read_bytes())["model"]["vocab"]
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    others = [b for b in range(256) if b not in printable]
    byte_of = {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}
    del vocabulary["<|endoftext|>"]
    ranks = {bytes(byte_of[c] for c in symbol): rank for symbol, rank in vocabulary.items()}
    return tiktoken.Encoding("bare", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})


def call(kind: str, tokenizer: Path) -> Callable[[list[str]], Any]:
    """Returns the call that encodes a list of texts."""
    if kind.startswith("gigatoken-list"):
        parallel = None if kind == "gigatoken-list" else False
        return partial(gigatoken.Tokenizer(str(tokenizer)).encode_batch, parallel=parallel)
    if kind == "gigatoken-each":
        encode = gigatoken.Tokenizer(str(tokenizer)).encode
        return lambda texts: [encode(text) for text in texts]
    if kind == "tokenizers":
        return Tokenizer.from_file(str(tokenizer)).encode_batch_fast
    library, n_threads = tiktoken_of(tokenizer), int(kind.removeprefix("tiktoken-"))
    return lambda texts: library.encode_ordinary_batch(texts, num_threads=n_threads)


def main() -> None:
    """Encodes every file of FOLDER/corpus/train."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    tokenizer = folder / "bpe" / "tokenizer.json"
    paths = sorted(folder.glob("corpus/train/*.parquet"))
    if kind.startswith("gigatoken-parquet"):
        parallel = None if kind == "gigatoken-parquet" else False
        source = gigatoken.ParquetFileSource(paths, column="text")
        gigatoken.Tokenizer(str(tokenizer)).encode_files(source, parallel=parallel)
        return
    encode = call(kind, tokenizer)
    for path in paths:
        encode(pq.read_table(path, columns=["text"])["text"].to_pylist())


if __name__ == "__main__":
    main()
