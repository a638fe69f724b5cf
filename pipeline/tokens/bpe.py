"""The vocabulary: BPE trained on the corpus, or adopted from published files, in three forms.

Decisions:
- Trained on the train part of the corpus only, in shard order; the validation split stays unseen.
- `tokenizers` learns the merges. Its own id layout (sorted characters) is replaced by the published
  one, so trained and published vocabularies are read by the same code. `<|endoftext|>` is the last.
- Three files, as the field knows them: `vocab.bpe` and `encoder.json` (OpenAI's form; adopting the
  published GPT-2 files gives these two back byte for byte) and `tokenizer.json`, written last,
  whose digest is the vocabulary's identity.
- Before the files count as made, all readers of them must give equal ids on a sample of the corpus
  and on text that is hard: `pipeline.tokens.codec` by `encode` and by `encode_ended` (the corpus is
  encoded with the latter), and `tokenizers` (what users of the model folder have).

Paper: GPT-2, section 2.2: byte-level BPE that keeps merges inside a category of characters.
Paper: GPT-1, section 4.1: BPE with 40,000 merges (`pipeline.tokens.gpt1`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pipeline.store import manifest, shards
from pipeline.store.config import require
from pipeline.tokens import bytelevel, codec, gpt1
from pipeline.tokens.arrow import END_OF_TEXT
from pipeline.tokens.bytelevel import Merge
from pipeline.tokens.codec import Codec

Form = Literal["gpt2", "gpt1-openai", "gpt1-transformers"]

N_FIXED = 257  # entries of a byte-level vocabulary that are no merge: 256 bytes and <|endoftext|>

_BATCH_ROWS = 256  # documents handed over at once while training
_SAMPLE_ROWS = 8  # documents of each shard that the figures and the comparison are made on
_HEADER = "#version: 0.2"
# Merges and entries, as OpenAI's GPT-2, OpenAI's GPT-1 and `transformers` name them.
_NAMES = (
    ("vocab.bpe", "encoder.json"),
    ("vocab_40000.bpe", "encoder_bpe_40000.json"),
    ("merges.txt", "vocab.json"),
)
# Runs, clitics, marks, digits, scripts, control characters: where readers have disagreed.
_HARD = (
    "a  b\t\tc\n\n d \r\n  ",
    "it's we'll THEY'VE 's",
    "e\u0301 ﬁ ½ ٣ 三 한 ไ",
    "\U0001f469\u200d\U0001f467 \u200b\ufeff\u3000",
    "\x00\x1c\x7f\x85\xa0",
    END_OF_TEXT,
    "=-" * 50 + "a" * 300 + " " * 300,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where the vocabulary comes from.

    Attributes:
        form: What is merged: `gpt2` bytes; `gpt1-openai` and `gpt1-transformers` characters of
            lower-cased words, cut as OpenAI did or as `transformers` does.
        source: `train` learns it from the corpus, `files` adopts `files`.
        files: Folder with merges and entries under their published names, for `source: files`;
            else null.
        n_vocab: Entries, `<|endoftext|>` included.
        min_pair_count: A pair that occurs less often is not merged (`source: train`).
    """

    form: Form
    source: Literal["train", "files"]
    files: str | None
    n_vocab: int
    min_pair_count: int

    def __post_init__(self) -> None:
        forms = ("gpt2", *gpt1.FORMS)
        require("form", self.form, self.form in forms, f"one of {', '.join(forms)}")
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
    make(output, paths, config)
    sample = [text for path in paths for text in next(_texts([path], _SAMPLE_ROWS), [])]
    made = codec.load(output / "tokenizer.json")
    theirs = Tokenizer.from_file(str(output / "tokenizer.json"))
    _compare(made, theirs, [*sample, *_HARD], config.form)
    return {
        "form": config.form,
        "n_vocab": made.vocabulary.n_vocab,
        "tokenizer_sha256": made.vocabulary.tokenizer_sha256,
        "source": config.source,
        "sample": measure(made, sample),
    }


def make(output: Path, paths: Sequence[Path], config: Config) -> None:
    """Writes the vocabulary that a configuration asks for."""
    if config.form == "gpt2":
        if config.files is None:
            merges = train(_texts(paths), config.n_vocab, config.min_pair_count)
        else:
            merges = adopt(Path(config.files), config.n_vocab)
        write(output, merges)
    else:
        if config.files is None:
            entries, merges = gpt1.train(
                config.form, _texts(paths), config.n_vocab, config.min_pair_count
            )
        else:
            entries, merges = adopt_words(Path(config.files), config.n_vocab)
        _write_files(output, entries, merges, gpt1.tokenizer(config.form, entries, merges))


def _texts(paths: Sequence[Path], rows: int = _BATCH_ROWS) -> Iterator[list[str]]:
    """Yields the corpus's texts in shard order, `rows` at a time."""
    for path in paths:
        for batch in shards.read_batches(path, ["text"], rows):
            yield batch.column(0).to_pylist()


def train(texts: Iterator[list[str]], n_vocab: int, min_pair_count: int) -> list[Merge]:
    """Learns byte-level merges; the same texts give the same merges for any number of threads.

    Among pairs that occur equally often, `tokenizers` takes the one whose parts came first.

    Raises:
        ValueError: If the texts hold too few pairs for `n_vocab` entries.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab - 1,
        min_frequency=min_pair_count,
        initial_alphabet=sorted(bytelevel.byte_symbols().values()),
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
    """Reads the merges of a published byte-level vocabulary.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the files do not belong together or have another size than `n_vocab`.
    """
    merges_file, entries_file = _published(folder)
    merges = bytelevel.parse_merges(merges_file.read_text(encoding="utf-8"), str(merges_file))
    bytelevel.check(merges, str(merges_file))
    expected = bytelevel.entries(merges)
    _check_size(n_vocab, len(expected), folder)
    if json.loads(entries_file.read_bytes()) != expected:
        raise ValueError(
            f"{folder}: {entries_file.name} and {merges_file.name} do not fit each other; expected "
            f"GPT-2's layout, 256 bytes, {len(merges)} merges in order, {END_OF_TEXT}"
        )
    return merges


def adopt_words(folder: Path, n_vocab: int) -> tuple[dict[str, int], list[Merge]]:
    """Reads a published vocabulary in GPT-1's form; adds `<|endoftext|>` where it has none.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the files do not belong together or have another size than `n_vocab`.
    """
    merges_file, entries_file = _published(folder)
    found: dict[str, int] = json.loads(entries_file.read_bytes())
    entries = dict(sorted(found.items(), key=lambda entry: entry[1]))
    entries.setdefault(END_OF_TEXT, len(entries))
    merges = bytelevel.parse_merges(merges_file.read_text(encoding="utf-8"), str(merges_file))
    gpt1.check(entries, merges, str(folder))
    _check_size(n_vocab, len(entries), folder)
    return entries, merges


def _published(folder: Path) -> tuple[Path, Path]:
    """Returns the files of merges and of entries, whichever published names they have."""
    found = next((names for names in _NAMES if (folder / names[0]).is_file()), _NAMES[0])
    for name in found:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"params.yaml: bpe.files: {folder / name} is missing; bring it beside the other"
            )
    return folder / found[0], folder / found[1]


def _check_size(n_vocab: int, found: int, folder: Path) -> None:
    if found != n_vocab:
        raise ValueError(
            f"params.yaml: bpe.n_vocab is {n_vocab}; expected {found}, as {folder} has, "
            f"{END_OF_TEXT} included"
        )


def write(folder: Path, merges: Sequence[Merge]) -> None:
    """Writes the files of a byte-level vocabulary; the same merges give the same bytes."""
    _write_files(folder, bytelevel.entries(merges), merges, tokenizer(merges))


def _write_files(
    folder: Path, entries: Mapping[str, int], merges: Sequence[Merge], made: Tokenizer
) -> None:
    lines = [_HEADER, *(f"{left} {right}" for left, right in merges)]
    shards.write_atomic(folder / "vocab.bpe", "".join(f"{line}\n" for line in lines).encode())
    shards.write_atomic(folder / "encoder.json", json.dumps(entries).encode())
    shards.write_atomic(folder / "tokenizer.json", made.to_str(pretty=True).encode())


def tokenizer(merges: Sequence[Merge]) -> Tokenizer:
    """Returns the `tokenizers` object for a list of byte-level merges."""
    made = Tokenizer(models.BPE(vocab=bytelevel.entries(merges), merges=list(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return made


def _compare(ours: Codec, theirs: Tokenizer, texts: Sequence[str], form: Form) -> None:
    """Raises ValueError unless all readers of the files encode the texts alike."""
    theirs.encode_special_tokens = True  # the marker inside a document is text
    given = [text if form == "gpt2" else gpt1.prepare(form, text) for text in texts]
    batch = (ours.encode_ended([text.encode()]).ids[:-1] for text in texts)
    for text, fast, other in zip(texts, batch, theirs.encode_batch_fast(given), strict=True):
        if not ours.encode(text).tolist() == fast.tolist() == other.ids:
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
