"""The vocabulary: byte-level BPE trained on the corpus, or adopted from published files.

Decisions:
- Trained on the train part of the corpus only, in shard order; the validation split stays unseen.
- `tokenizers` learns the merges. Its own id layout (sorted characters) is replaced by GPT-2's, so
  trained and published vocabularies are read by the same code. `<|endoftext|>` is the last id.
- Three files, as the field knows them: `vocab.bpe` and `encoder.json` (OpenAI's form; adopting the
  published GPT-2 files gives these two back byte for byte) and `tokenizer.json`, written last,
  whose digest is the vocabulary's identity.
- Before the files count as made, both readers of them, `pipeline.tokens.codec` (what the corpus is
  encoded with) and `tokenizers` (what users of the model folder have), must give equal ids on a
  sample of the corpus.

Paper: GPT-2, section 2.2: byte-level BPE that keeps merges inside a category of characters.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pipeline.store import manifest, shards
from pipeline.store.config import require
from pipeline.tokens import codec
from pipeline.tokens.codec import END_OF_TEXT, Codec, Merge

N_FIXED = 257  # entries that are no merge: 256 bytes and <|endoftext|>

_BATCH_ROWS = 256  # documents handed over at once while training
_SAMPLE_ROWS = 8  # documents of each shard that the figures and the comparison are made on
_HEADER = "#version: 0.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where the vocabulary comes from.

    Attributes:
        source: `train` learns it from the corpus, `files` adopts `files`.
        files: Folder with `vocab.bpe` and `encoder.json`, for `source: files`; else null.
        n_vocab: Entries, `<|endoftext|>` included.
        min_pair_count: A pair that occurs less often is not merged (`source: train`).
    """

    source: Literal["train", "files"]
    files: str | None
    n_vocab: int
    min_pair_count: int

    def __post_init__(self) -> None:
        require("n_vocab", self.n_vocab, self.n_vocab > N_FIXED, f"x > {N_FIXED}")
        require("min_pair_count", self.min_pair_count, self.min_pair_count >= 1, "x >= 1")
        named = (self.files is not None) == (self.source == "files")
        require(
            "files", self.files, named, "a folder for `source: files`, null for `source: train`"
        )


def run(corpus: Path, output: Path, config: Config) -> dict[str, Any]:
    """Makes the vocabulary and measures it on a sample of the train part.

    Args:
        corpus: Output of `decontaminate`.
        output: Folder for `tokenizer.json`, `vocab.bpe`, `encoder.json`.
        config: Section `bpe` of params.yaml.

    Returns:
        The stage's figures.

    Raises:
        FileNotFoundError: If a file to adopt is missing.
        ValueError: If the corpus is too small for `n_vocab`, or adopted files do not fit.
    """
    paths = manifest.load(corpus, "decontaminate").paths("train")
    if config.files is None:
        merges = train(_texts(paths), config.n_vocab, config.min_pair_count)
    else:
        merges = adopt(Path(config.files), config.n_vocab)
    write(output, merges)
    sample = [text for path in paths for text in next(_texts([path], _SAMPLE_ROWS), [])]
    made = codec.load(output / "tokenizer.json")
    _compare(made, Tokenizer.from_file(str(output / "tokenizer.json")), sample)
    return {
        "n_vocab": made.vocabulary.n_vocab,
        "tokenizer_sha256": made.vocabulary.tokenizer_sha256,
        "source": config.source,
        "sample": measure(made, sample),
    }


def _texts(paths: Sequence[Path], rows: int = _BATCH_ROWS) -> Iterator[list[str]]:
    """Yields the corpus's texts in shard order, `rows` at a time."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=["text"]):
                yield batch.column(0).to_pylist()


def train(texts: Iterator[list[str]], n_vocab: int, min_pair_count: int) -> list[Merge]:
    """Learns merges; the same texts give the same merges for any number of threads.

    Among pairs that occur equally often, `tokenizers` takes the one whose parts came first.

    Raises:
        ValueError: If the texts hold too few pairs for `n_vocab` entries.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab - 1,
        min_frequency=min_pair_count,
        initial_alphabet=sorted(codec.byte_symbols().values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    merges: dict[str, Merge] = {}
    for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
        # Two pairs may spell the same entry; GPT-2's layout has one merge per entry, the first.
        merges.setdefault(left + right, (left, right))
    if len(merges) != n_vocab - N_FIXED:
        raise ValueError(
            f"params.yaml: bpe.n_vocab is {n_vocab}; this corpus has only {len(merges)} pairs that "
            f"occur {min_pair_count} times; expected n_vocab <= {len(merges) + N_FIXED}"
        )
    return list(merges.values())


def adopt(folder: Path, n_vocab: int) -> list[Merge]:
    """Reads published `vocab.bpe` and `encoder.json`.

    Raises:
        FileNotFoundError: If one is missing.
        ValueError: If they do not belong together or have another size than `n_vocab`.
    """
    for name in ("vocab.bpe", "encoder.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"params.yaml: bpe.files: {folder / name} is missing")
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")
    merges = [_merge(line, folder) for line in lines if line and not line.startswith("#version")]
    codec.check(merges, str(folder / "vocab.bpe"))
    expected = codec.entries(merges)
    if len(expected) != n_vocab:
        raise ValueError(f"params.yaml: bpe.n_vocab is {n_vocab}; {folder} has {len(expected)}")
    if json.loads((folder / "encoder.json").read_bytes()) != expected:
        raise ValueError(
            f"{folder}: encoder.json and vocab.bpe do not fit each other; expected GPT-2's layout, "
            f"256 bytes, {len(merges)} merges in order, {END_OF_TEXT}"
        )
    return merges


def _merge(line: str, folder: Path) -> Merge:
    left, blank, right = line.partition(" ")
    if not (left and blank and right) or " " in right:
        raise ValueError(f"{folder / 'vocab.bpe'}: `{line}` is no merge; expected two symbols")
    return left, right


def write(folder: Path, merges: Sequence[Merge]) -> None:
    """Writes the three files; the same merges give the same bytes."""
    lines = [_HEADER, *(f"{left} {right}" for left, right in merges)]
    shards.write_atomic(folder / "vocab.bpe", "".join(f"{line}\n" for line in lines).encode())
    shards.write_atomic(folder / "encoder.json", json.dumps(codec.entries(merges)).encode())
    shards.write_atomic(folder / "tokenizer.json", tokenizer(merges).to_str(pretty=True).encode())


def tokenizer(merges: Sequence[Merge]) -> Tokenizer:
    """Returns the `tokenizers` object for a list of merges."""
    made = Tokenizer(models.BPE(vocab=codec.entries(merges), merges=list(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return made


def _compare(ours: Codec, theirs: Tokenizer, texts: Sequence[str]) -> None:
    """Raises ValueError unless both readers of the files encode the texts alike."""
    theirs.encode_special_tokens = True  # the marker inside a document is text
    for text, other in zip(texts, theirs.encode_batch_fast(list(texts)), strict=True):
        if ours.encode(text).tolist() != other.ids:
            raise ValueError(
                f"codec and tokenizer.json encode `{text[:60]}…` differently; "
                "this vocabulary cannot be used: change bpe.n_vocab or bpe.min_pair_count"
            )


def measure(made: Codec, texts: Sequence[str]) -> dict[str, Any]:
    """Returns how tightly a vocabulary packs texts; figures are null without any text.

    `bytes_per_token` counts UTF-8 bytes; `tokens_per_word` (fertility) counts words between blanks.
    """
    n_tokens = sum(len(made.encode(text)) for text in texts)
    n_bytes = sum(len(text.encode()) for text in texts)
    n_words = sum(len(text.split()) for text in texts)
    return {
        "n_documents": len(texts),
        "n_bytes": n_bytes,
        "n_tokens": n_tokens,
        "bytes_per_token": round(n_bytes / n_tokens, 4) if n_tokens else None,
        "tokens_per_word": round(n_tokens / n_words, 4) if n_words else None,
    }
