"""Encoding: equal to the published tokenizer and to an independent reading of its algorithm."""

import json
import random
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import regex
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.store.shards import sha256_file
from pipeline.tokens import bpe, bytelevel, codec
from pipeline.tokens.bytelevel import ByteLevelCodec

GPT2_SPLIT = regex.compile(
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
)

HOSTILE = [
    "",
    " ",
    "\n",
    "\x00",
    "a" * 5000,
    " " * 5000,
    " " * 5000 + "x",
    "\t \n" * 700 + "end",
    "don't we'll they've I'm he'd it's you're 'tis DON'T WE'LL",
    "<|endoftext|>",
    "before<|endoftext|>after <|endoftext|><|endoftext|>",
    "naïve café e\u0301 ﬁ ½ Ⅷ ² ٣٤ 三 ｆｕｌｌ",
    "日本語のテキストと中文文本，한국어",
    "العربية עברית ไทย हिन्दी",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 \U0001f9ff",
    "\u200b\u200d\ufeff\u2028\u2029\x85\xa0\u3000",
    "\ud7ff\ue000\uffff\U0010ffff",
    "=" * 300 + "-=" * 200,
    "0" * 500 + " 3.14159 1,000,000",
    "if (x<=y){\n\treturn\r\n}\r",
    "\x1c\x1d\x1e\x1f \x1c \x0b\x0c",
]


@pytest.fixture(scope="session")
def small(prose: list[str]) -> tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]]:
    """A vocabulary of 1,000 entries learned from prose, and its two readers."""
    merges = bpe.train(iter([prose]), 1000, 2)
    theirs = bpe.tokenizer(merges)
    theirs.encode_special_tokens = True
    return ByteLevelCodec(merges, "00" * 32), theirs, merges


@pytest.fixture(scope="session")
def published(real_data: Path) -> tuple[ByteLevelCodec, tiktoken.Encoding]:
    """The published GPT-2 files, read by us and put into tiktoken without our help."""
    folder = real_data / "tokenizer" / "gpt2"
    names = json.loads((folder / "encoder.json").read_text())
    shown = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    hidden = [b for b in range(256) if b not in shown]
    byte_of = {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}
    end = names.pop("<|endoftext|>")
    theirs = tiktoken.Encoding(
        "gpt2",
        pat_str=GPT2_SPLIT.pattern,
        mergeable_ranks={bytes(byte_of[c] for c in name): rank for name, rank in names.items()},
        special_tokens={"<|endoftext|>": end},
    )
    return ByteLevelCodec(bpe.adopt(folder, 50_257), "00" * 32), theirs


def merged(piece: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Applies merges as the paper's code does: the best pair everywhere, then the next best."""
    while len(piece) > 1:
        best = min(pairwise(piece), key=lambda p: ranks.get(p, len(ranks)))
        if best not in ranks:
            break
        out: list[str] = []
        while piece:
            pair = tuple(piece[:2])
            out.append("".join(pair) if pair == best else piece[0])
            piece = piece[2:] if pair == best else piece[1:]
        piece = out
    return piece


def reference(text: str, merges: list[tuple[str, str]]) -> list[int]:
    """Encodes slowly, from `vocab.bpe` alone."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    ids, symbols = bytelevel.entries(merges), bytelevel.byte_symbols()
    pieces = ([symbols[b] for b in piece.encode()] for piece in GPT2_SPLIT.findall(text))
    return [ids[symbol] for piece in pieces for symbol in merged(piece, ranks)]


def test_layout_starts_with_the_bytes_and_ends_with_end_of_text() -> None:
    entries = bytelevel.entries([("Ġ", "t"), ("Ġt", "h")])
    assert list(entries)[:3] == ["!", '"', "#"]
    assert list(entries)[187:190] == ["ÿ", "Ā", "ā"]
    assert list(entries)[256:] == ["Ġt", "Ġth", "<|endoftext|>"]
    assert list(entries.values()) == list(range(259))


def test_ids_of_one_worked_example_are_those_computed_by_hand() -> None:
    # "the then": pieces "the" and " then". Merges in order: th, the, " the".
    made = ByteLevelCodec([("t", "h"), ("th", "e"), ("Ġ", "the")], "00")
    n = ord("n") - ord("!")
    assert made.encode("the then").tolist() == [257, 258, n]
    assert made.encode("eth").tolist() == [ord("e") - ord("!"), 256]
    assert made.vocabulary == ("00", 260, 259)


def test_published_vocabulary_gives_the_known_ids(
    published: tuple[ByteLevelCodec, tiktoken.Encoding],
) -> None:
    assert published[0].encode("Hello world").tolist() == [15496, 995]
    assert published[0].vocabulary.eot_id == 50_256


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_encoded_as_tiktoken_and_tokenizers_do(
    published: tuple[ByteLevelCodec, tiktoken.Encoding],
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]],
    text: str,
) -> None:
    assert published[0].encode(text).tolist() == published[1].encode_ordinary(text)
    assert small[0].encode(text).tolist() == small[1].encode(text).ids
    for each in (published[0], small[0]):
        assert fast(each, text) == each.encode(text).tolist()


def fast(coder: ByteLevelCodec, text: str) -> list[int]:
    (ids,) = coder.encode_all([text.encode()])
    return ids.tolist()


def alone(coder: ByteLevelCodec, texts: list[str]) -> list[int]:
    """Ids of texts, each encoded by itself, and the mark after each."""
    eot_id = coder.vocabulary.eot_id
    return [i for text in texts for i in (*coder.encode(text).tolist(), eot_id)]


def together(coder: ByteLevelCodec, texts: list[str]) -> list[int]:
    ids, stops = coder.encode_ended([text.encode() for text in texts])
    assert len(stops) == len(texts)
    assert [coder.vocabulary.eot_id] * len(texts) == ids[stops - 1].tolist()
    return ids.tolist()


def test_texts_encoded_by_one_call_do_not_touch_each_other(
    published: tuple[ByteLevelCodec, tiktoken.Encoding],
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]],
) -> None:
    plain = [text for text in HOSTILE if "<|endoftext|>" not in text]
    pairs = [text for pair in product(plain, plain) for text in pair]
    for coder in (published[0], small[0]):
        assert together(coder, pairs) == alone(coder, pairs)
        assert together(coder, HOSTILE) == alone(coder, HOSTILE)
        assert together(coder, []) == []


@settings(max_examples=300, deadline=None)
@given(
    texts=st.lists(
        st.lists(
            st.sampled_from(["<|endoftext", "<|", "|>", ">", "<", "end", " ", "\n", "é", "\u088f"])
        ).map("".join)
    )
)
@example(texts=["<|endoftext", "|>", "a<|endoftext|>"])
@example(texts=["\u088f", "a "])
def test_parts_of_the_mark_and_newer_letters_are_encoded_by_one_call_as_alone(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]], texts: list[str]
) -> None:
    assert together(small[0], texts) == alone(small[0], texts)


def test_every_code_point_is_encoded_alike_by_both_libraries(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]],
) -> None:
    points = [*range(0xD800), *range(0xE000, 0x40000), *range(0x40000, 0x110000, 97)]
    frames = ["a{0}a's{0}'s={0}=1{0}1 ".format(chr(point)) for point in points]
    for start in range(0, len(frames), 4096):
        text = "\n".join(frames[start : start + 4096])
        assert fast(small[0], text) == small[0].encode(text).tolist()
        # The same without tiktoken wherever it is said to be needless.
        known = bytelevel._NEWER.sub("", text)
        assert np.array_equal(small[0]._fast.encode(known), small[0].encode(known))
        lone = [chr(p) for p in points[start : start + 4096] if not bytelevel._NEWER.match(chr(p))]
        assert together(small[0], lone) == alone(small[0], lone)


@pytest.mark.parametrize("letter", ["a", "1", "=", "三", "ab", "\u00a0", " \n"])
def test_a_megabyte_of_one_letter_is_encoded_alike_by_both_libraries(
    published: tuple[ByteLevelCodec, tiktoken.Encoding], letter: str
) -> None:
    text = letter * (1_000_000 // len(letter.encode()))
    assert fast(published[0], text) == published[0].encode(text).tolist()


def test_all_256_bytes_are_entries_and_come_back(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]],
) -> None:
    assert small[0].decode_bytes(range(256)) == bytes(
        ord(s) if ord(s) < 256 else b
        for s, b in ((s, b) for b, s in bytelevel.byte_symbols().items())
    )


def test_real_text_is_encoded_as_tiktoken_does(
    published: tuple[ByteLevelCodec, tiktoken.Encoding], real_data: Path
) -> None:
    names = [
        "text/us_presidents.txt",
        "eval/wikitext-2/wiki.test.tokens",
        "eval/lambada/lambada_test.jsonl",
    ]
    for name in names:
        text = (real_data / name).read_text()[:400_000]
        assert published[0].encode(text).tolist() == published[1].encode_ordinary(text)
        assert fast(published[0], text) == published[1].encode_ordinary(text)


def test_prose_is_encoded_as_the_algorithm_says(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]], prose: list[str]
) -> None:
    ours, theirs, merges = small
    for text in prose[::8]:
        assert ours.encode(text).tolist() == reference(text, merges) == theirs.encode(text).ids


# Letters, blanks, clitics and what lies between: where the pattern decides.
PIECES = st.sampled_from([*"ab1 .'\n\t\u00a0\x1c\u0301", "'s", "'ll", "é", "三", "👍", "\u3000"])


@settings(max_examples=200)
@given(st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=40)))
@example("<|endoftext|>")
def test_any_text_is_encoded_as_the_algorithm_says_and_comes_back(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]], text: str
) -> None:
    ours, theirs, merges = small
    ids = ours.encode(text).tolist()
    assert ids == reference(text, merges) == theirs.encode(text).ids == fast(ours, text)
    assert ours.decode(ids) == text
    assert ours.vocabulary.eot_id not in ids


@settings(max_examples=200)
@given(st.lists(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=5), min_size=1))
def test_parts_of_a_text_have_the_ids_of_the_whole_each_where_it_begins(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]], texts: list[str]
) -> None:
    ours = small[0]
    parts = ours.encode_parts(texts)
    assert np.concatenate(parts).tolist() == ours.encode("".join(texts)).tolist()
    n_read, n_given = 0, 0
    for part, text in zip(parts, texts, strict=True):
        if len(part):  # its first token begins in it, and so does its last
            assert n_given <= n_read
            assert n_read + len(ours.decode_bytes(part[:-1])) < n_given + len(text.encode())
        n_read += len(ours.decode_bytes(part))
        n_given += len(text.encode())


def test_every_code_point_comes_back(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]],
) -> None:
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    assert small[0].decode(small[0].encode(text)) == text


@pytest.mark.parametrize("blank", [" ", " \n"])
@pytest.mark.parametrize("after", ["", "x", "\x1cx"])
def test_millions_of_blanks_are_encoded_as_the_pattern_says(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]], blank: str, after: str
) -> None:
    ours = small[0]
    run = blank * (1_200_000 // len(blank))
    ids = ours.encode("a" + run + after).tolist()
    # The same text with the run shortened has the same ends: only the middle repeats.
    short = ours.encode("a" + blank * (2_000 // len(blank)) + after).tolist()
    assert ids[:100] == short[:100]
    assert ids[-100:] == short[-100:]
    assert ours.decode(ids) == "a" + run + after


def test_long_runs_are_cut_where_nothing_changes(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [random.Random(seed).choices("   \n\t\u00a0\x1cab.", k=40) for seed in range(300)]
    expected = [small[0].encode("".join(text)).tolist() for text in texts]
    monkeypatch.setattr(bytelevel, "_MAX_BLANKS", 2)
    monkeypatch.setattr(bytelevel, "_LONG_RUN", regex.compile(bytelevel._BLANK + "{2,}"))
    assert [small[0].encode("".join(text)).tolist() for text in texts] == expected


def test_decode_shows_half_a_character_as_a_replacement(
    small: tuple[ByteLevelCodec, Tokenizer, list[tuple[str, str]]],
) -> None:
    ids = small[0].encode("三")[:2]
    assert small[0].decode(ids) == "\ufffd"
    assert small[0].decode_bytes(ids) == "三".encode()[:2]
    assert small[0].decode([small[0].vocabulary.eot_id]) == "<|endoftext|>"


def published_form(merges: list[tuple[str, str]]) -> dict[str, object]:
    """tokenizer.json as it lies beside GPT-2's weights: merges as text, few keys, its own order."""
    entries = bytelevel.entries(merges)
    end = {"id": entries["<|endoftext|>"], "content": "<|endoftext|>", "special": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end | flags],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        "model": {
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "vocab": dict(sorted(entries.items())),
            "merges": [" ".join(merge) for merge in merges],
        },
    }


def test_published_folders_of_each_kind_give_tiktoken_s_ids(
    published: tuple[ByteLevelCodec, tiktoken.Encoding], real_data: Path, tmp_path: Path
) -> None:
    source, theirs = real_data / "tokenizer" / "gpt2", published[1]
    form = published_form(bpe.adopt(source, 50_257))
    for names in (("merges.txt", "vocab.json"), ("vocab.bpe", "encoder.json"), ("tokenizer.json",)):
        folder = tmp_path / names[0]
        folder.mkdir()
        if names == ("tokenizer.json",):
            (folder / "tokenizer.json").write_text(json.dumps(form))
        else:
            for name, original in zip(names, ("vocab.bpe", "encoder.json"), strict=True):
                (folder / name).write_bytes((source / original).read_bytes())
        ours = codec.load(folder / "tokenizer.json")
        assert (ours.vocabulary.n_vocab, ours.vocabulary.eot_id) == (50_257, 50_256)
        for text in HOSTILE:
            assert ours.encode(text).tolist() == theirs.encode_ordinary(text)
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode("Hello world").ids == [
        15496, 995,
    ]  # fmt: skip


def test_published_files_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    (tmp_path / "vocab.json").write_text(json.dumps(bytelevel.entries([("t", "h")])))
    with pytest.raises(ValueError, match=r"merges\.txt and the entries beside it"):
        codec.load(tmp_path / "tokenizer.json")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h e\n")
    with pytest.raises(ValueError, match="is no merge"):
        codec.load(tmp_path / "tokenizer.json")


def written(folder: Path, change: Callable[[dict[str, object]], object]) -> Path:
    bpe.write(folder, [("t", "h"), ("th", "e")])
    path = folder / "tokenizer.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_written_tokenizer_is_read_back_with_its_digest(tmp_path: Path) -> None:
    bpe.write(tmp_path, [("t", "h"), ("th", "e")])
    made = codec.load(tmp_path / "tokenizer.json")
    assert made.vocabulary == (sha256_file(tmp_path / "tokenizer.json"), 259, 258)
    assert made.encode("the").tolist() == [257]


CHANGES: dict[str, Callable[[dict[str, object]], object]] = {
    "prefix_space": lambda c: c["pre_tokenizer"].update(add_prefix_space=True),
    "normalizer": lambda c: c.update(normalizer={"type": "NFC"}),
    "other_kind": lambda c: c["model"].update(merges=[["t", "h"], ["h", "e"]]),
    "swapped_ids": lambda c: c["model"]["vocab"].update({"th": 257, "the": 256}),
    "second_special": lambda c: c["added_tokens"].append({"content": "<pad>", "id": 259}),
    "no_special": lambda c: c["added_tokens"].clear(),
    "no_model": lambda c: c.pop("model"),
    "dropout": lambda c: c["model"].update(dropout=0.1),
    "ignored_merges": lambda c: c["model"].update(ignore_merges=True),
    "adds_tokens": lambda c: c.update(post_processor={"type": "TemplateProcessing"}),
    "broken_merges": lambda c: c["model"].update(merges=["t h", "th e x"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_tokenizer_that_encodes_otherwise_is_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        codec.load(written(tmp_path, change))


def test_missing_tokenizer_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dvc repro bpe"):
        codec.load(tmp_path / "tokenizer.json")
