"""The vocabulary: learned from the train part alone, the same everywhere, in the published form."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from pipeline.store.errors import ManifestError
from pipeline.tokens import bpe, codec
from pipeline.tokens.bpe import Config
from pipeline.tokens.bytelevel import ByteLevelCodec

TRAIN = Config(form="gpt2", source="train", files=None, n_vocab=600, min_pair_count=2)
FILES = ("tokenizer.json", "vocab.bpe", "encoder.json")


class MakeCorpus(Protocol):
    def __call__(self, shards: list[tuple[list[str], list[str]]]) -> Path: ...


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def test_merges_of_a_worked_example_are_those_computed_by_hand() -> None:
    # Words: "aab" x 3, " aab" x 2, "ab" x 1, " b" x 1. Pair counts: (a,a) 5, (a,b) 6, (Ġ,a) 2,
    # (Ġ,b) 1. First ab; then (a,ab) 5, (Ġ,a) 2: aab; then (Ġ,aab) 2. (Ġ,b) occurs once only.
    text = ["aab", "aab aab aab", "aab", "ab b"]
    assert bpe.train(iter([text]), 260, 2) == [("a", "b"), ("a", "ab"), ("Ġ", "aab")]


def test_corpus_with_too_few_pairs_names_the_largest_possible_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"bpe\.n_vocab is 261.*expected n_vocab <= 260"):
        bpe.train(iter([["aab", "aab aab aab", "aab", "ab b"]]), 261, 2)


def test_pairs_rarer_than_asked_for_are_not_merged() -> None:
    with pytest.raises(ValueError, match=r"occur 3 times; expected n_vocab <= 259"):
        bpe.train(iter([["aab", "aab aab aab", "aab", "ab b"]]), 260, 3)


def test_merges_do_not_depend_on_how_the_texts_are_batched(prose: list[str]) -> None:
    whole = bpe.train(iter([prose]), 600, 2)
    assert bpe.train(iter([[text] for text in prose]), 600, 2) == whole
    assert bpe.train(iter([prose[::-1]]), 600, 2) == whole


PROGRAM = """
import sys
from pathlib import Path
from pipeline.tokens import bpe
bpe.run(Path(sys.argv[1]), Path(sys.argv[2]),
        bpe.Config(form="gpt2", source="train", files=None, n_vocab=600, min_pair_count=2))
"""


def test_files_are_the_same_bytes_with_one_thread_and_with_two(
    make_corpus: MakeCorpus, prose: list[str], tmp_path: Path
) -> None:
    corpus = make_corpus([(prose[:150], []), (prose[150:], [])])
    found = []
    for n_threads in ("1", "2"):
        output = tmp_path / n_threads
        variables = {"RAYON_NUM_THREADS": n_threads, "PYTHONHASHSEED": n_threads}
        command = [sys.executable, "-c", PROGRAM, str(corpus), str(output)]
        subprocess.run(command, env={**os.environ, **variables}, check=True)
        found.append(digests(output))
    assert found[0] == found[1]


def test_validation_part_has_no_part_in_the_vocabulary(
    make_corpus: MakeCorpus, prose: list[str], tmp_path: Path
) -> None:
    bpe.run(make_corpus([(prose, ["zqzqzq " * 500])]), tmp_path / "a", TRAIN)
    bpe.run(make_corpus([(prose, [])]), tmp_path / "b", TRAIN)
    bpe.run(make_corpus([([*prose, "zqzqzq " * 500], [])]), tmp_path / "c", TRAIN)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_figures_are_those_of_the_sampled_documents(
    make_corpus: MakeCorpus, prose: list[str], tmp_path: Path
) -> None:
    corpus = make_corpus([(prose[:100], []), ([], []), (prose[100:], [])])
    figures = bpe.run(corpus, tmp_path / "bpe", TRAIN)
    sample = [*prose[:8], *prose[100:108]]
    made = Tokenizer.from_file(str(tmp_path / "bpe" / "tokenizer.json"))
    n_tokens = sum(len(made.encode(text).ids) for text in sample)
    n_bytes = sum(len(text.encode()) for text in sample)
    assert figures["sample"] == {
        "n_documents": 16,
        "n_bytes": n_bytes,
        "n_tokens": n_tokens,
        "bytes_per_token": round(n_bytes / n_tokens, 4),
        "tokens_per_word": round(n_tokens / sum(len(text.split()) for text in sample), 4),
    }
    assert figures["tokenizer_sha256"] == digests(tmp_path / "bpe")["tokenizer.json"]
    assert figures["n_vocab"] == 600


def test_measure_counts_bytes_tokens_and_words() -> None:
    made = ByteLevelCodec([("t", "h"), ("th", "e")], "00")
    # "thé the": "th", 2 bytes of é, " ", "the" = 5 tokens, 8 bytes, 2 words.
    figures = bpe.measure(made, ["thé the"])
    assert (figures["n_tokens"], figures["n_bytes"]) == (5, 8)
    assert (figures["bytes_per_token"], figures["tokens_per_word"]) == (1.6, 2.5)
    assert bpe.measure(made, [])["bytes_per_token"] is None


def test_vocabulary_has_exactly_the_size_asked_for(
    make_corpus: MakeCorpus, prose: list[str], tmp_path: Path
) -> None:
    bpe.run(make_corpus([(prose, [])]), tmp_path / "bpe", replace(TRAIN, n_vocab=777))
    made = Tokenizer.from_file(str(tmp_path / "bpe" / "tokenizer.json"))
    assert made.get_vocab_size(with_added_tokens=True) == 777
    assert made.token_to_id("<|endoftext|>") == 776
    assert sorted(made.get_vocab().values()) == list(range(777))


def test_published_files_are_adopted_byte_for_byte(
    make_corpus: MakeCorpus, real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "tokenizer" / "gpt2"
    config = Config(
        form="gpt2", source="files", files=str(folder), n_vocab=50_257, min_pair_count=2
    )
    figures = bpe.run(make_corpus([(["Hello world"], [])]), tmp_path / "bpe", config)
    for name in ("vocab.bpe", "encoder.json"):
        assert (tmp_path / "bpe" / name).read_bytes() == (folder / name).read_bytes()
    assert figures["sample"]["n_tokens"] == 2
    made = codec.load(tmp_path / "bpe" / "tokenizer.json")
    assert made.encode("Hello world").tolist() == [15496, 995]


def test_transformers_reads_tokenizer_json_and_gives_equal_ids(
    prose: list[str], tmp_path: Path
) -> None:
    bpe.write(tmp_path, bpe.train(iter([prose]), 600, 2))
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    ours = codec.load(tmp_path / "tokenizer.json")
    for text in prose[::20]:
        assert theirs(text)["input_ids"] == ours.encode(text).tolist()
        assert theirs.decode(ours.encode(text), clean_up_tokenization_spaces=False) == text


def test_readers_that_disagree_stop_the_stage(prose: list[str]) -> None:
    merges = bpe.train(iter([prose]), 600, 2)
    other = bpe.tokenizer(merges[:-40])
    with pytest.raises(ValueError, match="differently"):
        bpe._compare(ByteLevelCodec(merges, "00"), other, prose, "gpt2")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["#version: 0.2", "t h", "h e", "th e x"], "no merge"),
        (["#version: 0.2", "t h", "the", ""], "no merge"),
        (["#version: 0.2", "t h", "he e"], "merge 1 `he e` joins an unknown symbol"),
        (["#version: 0.2", "t h", "t h"], "merge 1 `t h` was made before"),
    ],
)
def test_broken_merges_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    (tmp_path / "vocab.bpe").write_text("\n".join(lines))
    (tmp_path / "encoder.json").write_text("{}")
    with pytest.raises(ValueError, match=message):
        bpe.adopt(tmp_path, 259)


def test_adopted_files_must_exist_belong_together_and_have_the_size(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"bpe\.files.*vocab\.bpe"):
        bpe.adopt(tmp_path, 259)
    bpe.write(tmp_path, [("t", "h"), ("th", "e")])
    assert bpe.adopt(tmp_path, 259) == [("t", "h"), ("th", "e")]
    with pytest.raises(ValueError, match=r"bpe\.n_vocab is 300; expected 259, as"):
        bpe.adopt(tmp_path, 300)
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nt h\nh e\n")
    with pytest.raises(ValueError, match="do not fit each other"):
        bpe.adopt(tmp_path, 259)


def test_unfinished_corpus_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(ManifestError, match="dvc repro decontaminate"):
        bpe.run(tmp_path / "corpus", tmp_path / "bpe", TRAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_vocab": 257}, "n_vocab is 257; expected x > 257"),
        ({"min_pair_count": 0}, "min_pair_count is 0"),
        ({"files": "folder"}, "files is 'folder'"),
        ({"source": "files"}, "files is None"),
    ],
)
def test_config_out_of_range_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TRAIN, **change)
