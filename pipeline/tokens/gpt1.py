r"""GPT-1's BPE: lower-cased words, cut into characters, the last of a word marked `</w>`.

    "The U.S. won."  ->  the u.s. won .  ->  the</w> u.s.</w> won</w> .</w>

Two forms, as published; they share vocabulary and merges and differ in what a word is:

    gpt1-openai        ftfy, OpenAI's text rules, spaCy's words (`pipeline.tokens.words`)
    gpt1-transformers  BERT's words: white space, and every punctuation character by itself

Decisions:
- Layout of the 40,478 published entries: `<unk>`, 238 characters, the same 238 with `</w>`, one
  entry per merge (40,000), `\n</w>`. A trained vocabulary has the same layout.
- `<|endoftext|>` is added after them, as OpenAI added its own special entries when fine-tuning.
  It never comes out of a text. Deviation: the published vocabulary cannot end a document.
- The `tokenizers` library does the BPE in both forms, and all of the second.
- tokenizer.json can't say what `gpt1-openai` does to a text. For that form it takes words that are
  joined by blanks, as `prepare` returns them.
- Nothing here round-trips: case, kind of white space and unknown characters are lost.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from pipeline.tokens import words
from pipeline.tokens.arrow import END_OF_TEXT, Ended, Vocabulary, ended

Form = Literal["gpt1-openai", "gpt1-transformers"]
Merge = tuple[str, str]

FORMS: tuple[Form, ...] = get_args(Form)
UNKNOWN = "<unk>"
END_OF_WORD = "</w>"
N_CHARACTERS = 238  # of the published vocabulary; rarer ones are unknown in a trained one, too

_BLANK = " "  # between the words that tokenizer.json takes in form gpt1-openai
_BATCH_WORDS = 10_000  # handed over at once while training


def tokenizer(form: Form, entries: Mapping[str, int], merges: Sequence[Merge]) -> Tokenizer:
    """Returns the `tokenizers` object of a vocabulary whose last entry is `<|endoftext|>`."""
    made = Tokenizer(
        models.BPE(
            vocab=dict(entries),
            merges=list(merges),
            unk_token=UNKNOWN,
            end_of_word_suffix=END_OF_WORD,
        )
    )
    if form == "gpt1-openai":
        made.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_BLANK)
    else:
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
    made.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return made


def prepare(form: Form, text: str) -> str:
    """Returns what a form's tokenizer.json takes for a text.

    >>> prepare("gpt1-openai", "(I'd go)"), prepare("gpt1-transformers", "(I'd go)")
    ("( i 'd go )", "(I'd go)")
    """
    return _BLANK.join(words.words(text)) if form == "gpt1-openai" else text


def form_of(content: Mapping[str, Any]) -> Form | None:
    """Returns the form that a tokenizer.json is in, None if it is in neither.

    Raises:
        KeyError: If it lacks a part.
    """
    kinds: dict[str, Form] = {
        "CharDelimiterSplit": "gpt1-openai",
        "BertPreTokenizer": "gpt1-transformers",
    }
    return kinds.get((content["pre_tokenizer"] or {"type": ""})["type"])


def check(entries: Mapping[str, int], merges: Sequence[Merge], where: str) -> None:
    """Refuses a vocabulary that is not in GPT-1's form.

    Raises:
        ValueError: If ids have gaps, `<unk>` is missing, `<|endoftext|>` is not the last entry, or
            a merge joins or makes what is no entry.
    """
    if list(entries.values()) != list(range(len(entries))):
        raise ValueError(f"{where}: ids are not 0..{len(entries) - 1} in order")
    if UNKNOWN not in entries or entries.get(END_OF_TEXT) != len(entries) - 1:
        raise ValueError(f"{where}: expected an entry {UNKNOWN} and {END_OF_TEXT} as the last one")
    for rank, (left, right) in enumerate(merges):
        if not {left, right, left + right} <= entries.keys():
            raise ValueError(
                f"{where}: merge {rank} `{left} {right}` needs an entry that is absent; "
                "expected GPT-1's form"
            )


class WordCodec:
    """One vocabulary in one of the two forms, ready to encode and decode.

    Attributes:
        vocabulary: Digest, size and end-of-text id, as token shards carry them.
    """

    def __init__(self, form: Form, tokenizer: Tokenizer, tokenizer_sha256: str) -> None:
        """Takes a tokenizer over: the marker inside a text becomes text.

        Args:
            form: How texts become words.
            tokenizer: As `tokenizer` made it.
            tokenizer_sha256: Digest of its tokenizer.json.
        """
        n_vocab = tokenizer.get_vocab_size()
        self.vocabulary = Vocabulary(tokenizer_sha256, n_vocab, n_vocab - 1)
        self._form = form
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Returns the ids of a text."""
        found = self._tokenizer.encode(prepare(self._form, text), add_special_tokens=False)
        return np.array(found.ids, np.uint32)

    def encode_all(self, texts: Iterable[bytes]) -> Iterator[npt.NDArray[np.uint32]]:
        """Yields the ids of each text, given in UTF-8."""
        for text in texts:
            yield self.encode(text.decode())

    def encode_ended(self, texts: Sequence[bytes]) -> Ended:
        """Returns the ids of texts in UTF-8, all in a row, `<|endoftext|>` after each."""
        ids = ended(self.encode_all(texts), self.vocabulary)
        return Ended(ids, np.flatnonzero(ids == self.vocabulary.eot_id) + 1)

    def encode_parts(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        """Returns the ids of the texts joined, in parts.

        Words have lost their places, so they are counted part by part, each before a further word,
        which keeps a line's end. Where lines of blanks meet, a cut may be a token beside its place.
        """
        whole, one_more = self.encode("".join(texts)), len(self.encode("a"))
        sizes = [len(self.encode(f"{text} a")) - one_more for text in texts[:-1]]
        ends = np.cumsum([*sizes, len(self.encode(texts[-1]))])
        cuts = np.round(ends[:-1] * len(whole) / max(1, ends[-1])).astype(np.int64)
        return np.split(whole, cuts)

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the words of ids with a blank after each but the last."""
        return str(self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Returns `decode` in UTF-8."""
        return self.decode(ids).encode()


# ── learning ─────────────────────────────────────────────────────────────────────────────────────


def train(
    form: Form, texts: Iterable[Sequence[str]], n_vocab: int, min_pair_count: int
) -> tuple[dict[str, int], list[Merge]]:
    """Learns entries and merges; the same texts give the same ones, however they are batched.

    Raises:
        ValueError: If the texts hold too few pairs for `n_vocab` entries.
    """
    counts = _count_words(form, texts)
    characters = _characters(counts)
    fixed = [UNKNOWN, *characters, *(c + END_OF_WORD for c in characters)]
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learner.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_BLANK)
    # The library numbers `x</w>` in the order of a hash table, and ties are broken by number.
    # Entries given as special ones have their numbers before it looks at any word.
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab - 1,
        min_frequency=min_pair_count,
        special_tokens=fixed,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    learner.train_from_iterator(_repeated(counts), trainer)
    merges: dict[str, Merge] = {}
    for left, right in json.loads(learner.to_str())["model"]["merges"]:
        merges.setdefault(left + right, (left, right))
    symbols = [*fixed, *merges, END_OF_TEXT]
    if len(symbols) != n_vocab:
        raise ValueError(
            f"params.yaml: bpe.n_vocab is {n_vocab}; this corpus has only {len(merges)} pairs that "
            f"occur {min_pair_count} times; expected n_vocab <= {len(symbols)}"
        )
    return {symbol: index for index, symbol in enumerate(symbols)}, list(merges.values())


def _count_words(form: Form, texts: Iterable[Sequence[str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in (text for batch in texts for text in batch):
        counts.update(_words(form, text))
    return counts


def _words(form: Form, text: str) -> list[str]:
    if form == "gpt1-openai":
        return words.words(text)
    clean = normalizers.BertNormalizer(lowercase=True).normalize_str(text)
    return [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(clean)]


def _characters(counts: Counter[str]) -> list[str]:
    """Returns the most frequent characters of words; among equally frequent ones the smallest."""
    found: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            found[character] += count
    return sorted(found, key=lambda c: (-found[c], c))[:N_CHARACTERS]


def _repeated(counts: Counter[str]) -> Iterator[str]:
    """Yields every word as often as it occurs, in batches, in an order of its own."""
    for word in sorted(counts):
        for start in range(0, counts[word], _BATCH_WORDS):
            yield _BLANK.join([word] * min(_BATCH_WORDS, counts[word] - start))
