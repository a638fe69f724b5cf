"""GPT-1's BPE in both forms: equal to OpenAI's encoder and to transformers'."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import OpenAIGPTTokenizer, PreTrainedTokenizerFast

from pipeline.engine.tasks import Engine
from pipeline.tokens import bpe, codec, encode, gpt1, words
from pipeline.tokens.bpe import Config
from pipeline.tokens.gpt1 import Form, Merge, WordCodec

Vocabulary = tuple[dict[str, int], list[Merge]]

# th, the</w>, he</w> are entries; "\n</w>" ends the published part, as OpenAI has it.
SMALL: Vocabulary = (
    {
        symbol: index
        for index, symbol in enumerate(
            ["<unk>", *"the", "t</w>", "h</w>", "e</w>", "th", "the</w>", "\n</w>", "<|endoftext|>"]
        )
    },
    [("t", "h"), ("th", "e</w>")],
)


class MakeCorpus(Protocol):
    def __call__(self, shards: list[tuple[list[str], list[str]]]) -> Path: ...


@pytest.fixture(scope="session")
def published(real_data: Path) -> Vocabulary:
    return bpe.adopt_words(real_data / "tokenizer" / "gpt1", 40_479)


@pytest.fixture(scope="session")
def released(published: Vocabulary) -> dict[str, WordCodec]:
    """Our codec of the published vocabulary, by form."""
    return {form: made(form, published) for form in gpt1.FORMS}


@pytest.fixture(scope="session")
def theirs(published: Vocabulary) -> OpenAIGPTTokenizer:
    """transformers' own, of the published entries alone."""
    entries, merges = published
    alone = {symbol: index for symbol, index in entries.items() if symbol != "<|endoftext|>"}
    return OpenAIGPTTokenizer(vocab=alone, merges=merges)


def made(form: Form, vocabulary: Vocabulary) -> WordCodec:
    return WordCodec(form, gpt1.tokenizer(form, *vocabulary), "00")


def merged(word: str, ranks: dict[Merge, int]) -> list[str]:
    """Applies the merges to one word as the released encoder does: best pair first, everywhere."""
    parts = [*word[:-1], word[-1] + "</w>"]
    while len(parts) > 1:
        best = min(pairwise(parts), key=lambda p: ranks.get(p, len(ranks)))
        if best not in ranks:
            break
        out: list[str] = []
        while parts:
            joined = tuple(parts[:2]) == best
            out.append("".join(parts[:2]) if joined else parts[0])
            parts = parts[2 if joined else 1 :]
        parts = out
    return parts


@pytest.fixture(scope="session")
def ranks(published: Vocabulary) -> dict[Merge, int]:
    return {pair: rank for rank, pair in enumerate(published[1])}


def openai_ids(text: str, entries: dict[str, int], ranks: dict[Merge, int]) -> list[int]:
    pieces = [part for word in words.words(text) for part in merged(word, ranks)]
    return [entries.get(piece, 0) for piece in pieces]


def test_ids_of_worked_examples_are_those_computed_by_hand() -> None:
    openai, hugging = (made(form, SMALL) for form in gpt1.FORMS)
    for each in (openai, hugging):
        assert each.encode("The the-th x").tolist()[:3] == [8, 8, 0]
        assert each.encode("th").tolist() == [1, 5]  # t, h</w>: merges do not cross the mark
        assert each.encode("xx").tolist() == [0, 0]
        assert each.encode("").tolist() == []
        assert each.vocabulary == ("00", 11, 10)
    assert openai.encode("the\n\n the").tolist() == [8, 9, 8]
    assert hugging.encode("the\n\n the").tolist() == [8, 8]
    assert openai.decode([8, 1, 5, 9, 8]) == "the th \n the"


@pytest.mark.parametrize(
    "name", ["text/gutenberg.txt", "eval/wikitext-2/wiki.test.tokens", "text/us_presidents.txt"]
)
def test_openai_form_gives_the_ids_of_the_released_encoder(
    name: str,
    real_data: Path,
    published: Vocabulary,
    released: dict[str, WordCodec],
    ranks: dict[Merge, int],
) -> None:
    text = (real_data / name).read_text()[:60_000]
    found = released["gpt1-openai"].encode(text).tolist()
    assert found == openai_ids(text, published[0], ranks)


@pytest.mark.parametrize(
    "name",
    ["text/gutenberg.txt", "text/us_presidents.txt", "eval/wmt14/newstest2014-fren-ref.fr.sgm"],
)
def test_transformers_form_gives_the_ids_of_transformers(
    name: str, real_data: Path, released: dict[str, WordCodec], theirs: OpenAIGPTTokenizer
) -> None:
    text = (real_data / name).read_text()[:300_000]
    ours = released["gpt1-transformers"]
    assert ours.encode(text).tolist() == theirs(text)["input_ids"]


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from([*"aZ1.'\n -é三", "'s", "\x00", "\u0301", "👍", "<|endoftext|>"])).map(
        "".join
    ),
)


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE)
def test_both_forms_take_any_text(
    published: Vocabulary,
    released: dict[str, WordCodec],
    theirs: OpenAIGPTTokenizer,
    ranks: dict[Merge, int],
    text: str,
) -> None:
    expected = {
        "gpt1-openai": openai_ids(text, published[0], ranks),
        "gpt1-transformers": theirs(text)["input_ids"],
    }
    for form, each in released.items():
        assert each.encode(text).tolist() == expected[form]
        assert [ids.tolist() for ids in each.encode_all([text.encode()])] == [expected[form]]
        end = each.vocabulary.eot_id
        ids, stops = each.encode_ended([text.encode(), b"a"])
        assert ids.tolist() == [*expected[form], end, *each.encode("a").tolist(), end]
        assert stops.tolist() == [len(expected[form]) + 1, len(ids)]
        assert each.vocabulary.eot_id not in expected[form]


@pytest.mark.parametrize("form", gpt1.FORMS)
def test_markers_in_a_text_are_text(form: Form, released: dict[str, WordCodec]) -> None:
    ours = released[form]
    for marker in ("<|endoftext|>", "<unk>"):
        ids = ours.encode(f"a {marker} b").tolist()
        assert not {0, 40_478} & set(ids)
        assert ours.decode(ids).replace(" ", "") == f"a{marker}b"


@pytest.mark.parametrize("form", gpt1.FORMS)
def test_a_million_times_one_letter_is_encoded(form: Form, released: dict[str, WordCodec]) -> None:
    ids = released[form].encode("a" * 1_000_000)
    assert released[form].decode(ids) == "a" * 1_000_000


def test_published_files_are_adopted_with_their_ids(real_data: Path, published: Vocabulary) -> None:
    entries, merges = published
    folder = real_data / "tokenizer" / "gpt1"
    released = json.loads((folder / "encoder_bpe_40000.json").read_text())
    assert len(released) == 40_478
    assert entries == released | {"<|endoftext|>": 40_478}
    assert len(merges) == 40_000
    assert (merges[0], merges[2]) == (("t", "h"), ("e", "d</w>"))
    with pytest.raises(
        ValueError, match=r"bpe\.n_vocab is 40478; expected 40479, as .* has, .* included"
    ):
        bpe.adopt_words(folder, 40_478)


@pytest.mark.parametrize("form", gpt1.FORMS)
def test_stages_make_and_use_a_vocabulary_of_each_form(
    form: Form, make_corpus: MakeCorpus, prose: list[str], workspace: Path, inline: Engine
) -> None:
    corpus = make_corpus([(prose[::4], prose[:3])])
    config = Config(form=form, source="train", files=None, n_vocab=700, min_pair_count=2)
    figures = bpe.run(corpus, workspace / "bpe", config)
    assert (figures["form"], figures["n_vocab"]) == (form, 700)
    encode.run(corpus, workspace / "bpe", workspace / "tokens", inline)
    coder = codec.load(workspace / "bpe" / "tokenizer.json")
    assert isinstance(coder, WordCodec)
    rows = pa.ipc.open_file(workspace / "tokens" / "train" / "part-00000.arrow").read_all()
    found = rows["tokens"].to_pylist()
    assert found == [[*coder.encode(text).tolist(), 699] for text in prose[::4]]
    assert sum(0 in ids for ids in found) < 0.02 * len(found)  # hardly a character is unknown


@pytest.mark.parametrize("form", gpt1.FORMS)
def test_transformers_reads_tokenizer_json_and_gives_equal_ids(
    form: Form, prose: list[str], tmp_path: Path
) -> None:
    vocabulary = gpt1.train(form, [prose], 700, 2)
    gpt1.tokenizer(form, *vocabulary).save(str(tmp_path / "tokenizer.json"))
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    ours = codec.load(tmp_path / "tokenizer.json")
    for text in prose[::20]:
        assert fast(gpt1.prepare(form, text))["input_ids"] == ours.encode(text).tolist()


@pytest.mark.parametrize("form", gpt1.FORMS)
def test_parts_that_end_with_lines_have_the_ids_of_the_whole(form: Form, prose: list[str]) -> None:
    coder = made(form, gpt1.train(form, [prose], 700, 2))
    lines = [f"{line}\n" for text in prose[:12] for line in text.split("\n") if line.strip()]
    parts = coder.encode_parts(lines)
    joined = [each for part in parts for each in part.tolist()]
    assert joined == coder.encode("".join(lines)).tolist()
    n_read = 0
    for i, part in enumerate(parts):
        assert len(coder.encode("".join(lines[:i]) + " a")) - 1 == n_read
        n_read += len(part)


def test_trained_layout_is_the_published_one(prose: list[str]) -> None:
    entries, merges = gpt1.train("gpt1-openai", [prose], 700, 2)
    symbols = list(entries)
    n = (symbols.index("th") - 1) // 2 if "th" in symbols else 0
    assert symbols[0] == "<unk>"
    assert [s + "</w>" for s in symbols[1 : n + 1]] == symbols[n + 1 : 2 * n + 1]
    assert all(len(s) == 1 for s in symbols[1 : n + 1])
    assert [a + b for a, b in merges] == symbols[2 * n + 1 : -1]
    assert (symbols[-1], len(symbols)) == ("<|endoftext|>", 700)


def test_merges_of_a_worked_example_are_those_computed_by_hand() -> None:
    # Words: abb x 3, ab x 1. Pairs: (a,b) 3, (b,b</w>) 3, (a,b</w>) 1: ab first, as a is the lesser
    # number; then (ab,b</w>) 3.
    entries, merges = gpt1.train("gpt1-transformers", [["abb abb"], ["ABB ab"]], 8, 2)
    assert merges == [("a", "b"), ("ab", "b</w>")] or merges == [("b", "b</w>"), ("a", "bb</w>")]
    assert list(entries)[:5] == ["<unk>", "b", "a", "b</w>", "a</w>"]
    with pytest.raises(ValueError, match=r"bpe\.n_vocab is 9.*expected n_vocab <= 8"):
        gpt1.train("gpt1-transformers", [["abb abb"], ["ABB ab"]], 9, 2)


PROGRAM = """
import json, sys
from pipeline.tokens import gpt1
texts = json.load(sys.stdin)
print(json.dumps(gpt1.train(sys.argv[1], [texts], 700, 2)))
"""


def test_training_does_not_depend_on_threads_hashes_or_batches(prose: list[str]) -> None:
    expected = gpt1.train("gpt1-transformers", [[text] for text in prose], 700, 2)
    for n in ("1", "3"):
        environment = os.environ | {"RAYON_NUM_THREADS": n, "PYTHONHASHSEED": n}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "gpt1-transformers"],
            input=json.dumps(prose[::-1]),
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        entries, merges = json.loads(done.stdout)
        assert (list(entries), [tuple(m) for m in merges]) == (list(expected[0]), expected[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": {"<unk>": 0, "<|endoftext|>": 2}}, "ids are not"),
        ({"entries": {"a": 0, "<|endoftext|>": 1}}, "expected an entry <unk>"),
        ({"entries": {"<|endoftext|>": 0, "<unk>": 1}}, "as the last one"),
        ({"merges": [("h", "x")]}, "merge 0 `h x` needs an entry that is absent"),
    ],
)
def test_broken_vocabulary_is_refused(change: dict[str, object], message: str) -> None:
    given = {"entries": SMALL[0], "merges": SMALL[1]} | change
    with pytest.raises(ValueError, match=message):
        gpt1.check(given["entries"], given["merges"], "folder")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["decoder", "normalizer", "post_processor"])
def test_tokenizer_json_that_does_something_else_is_refused(tmp_path: Path, key: str) -> None:
    content = json.loads(gpt1.tokenizer("gpt1-openai", *SMALL).to_str())
    content[key] = {"type": "ByteLevel"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="in none of GPT-1's two forms"):
        codec.load(tmp_path / "tokenizer.json")


def test_readers_that_disagree_stop_the_stage(prose: list[str]) -> None:
    vocabulary = gpt1.train("gpt1-transformers", [prose], 700, 2)
    other = Tokenizer.from_str(gpt1.tokenizer("gpt1-openai", *vocabulary).to_str())
    with pytest.raises(ValueError, match="differently"):
        bpe._compare(made("gpt1-transformers", vocabulary), other, prose, "gpt1-transformers")
