"""Strings that end a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.sample import GREEDY, Sequel, generate
from model.stops import Stops
from pipeline.tokens import bpe, codec
from pipeline.tokens.codec import Codec
from tests.model.small_models import random_model

MERGES = [("a", "b"), ("ab", "c"), ("Ċ", "Ċ"), ("Ã", "¼")]


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    folder = tmp_path_factory.mktemp("bpe")
    bpe.write(folder, MERGES)
    return codec.load(folder / "tokenizer.json")


@given(
    text=st.text("abcü\n", max_size=12),
    strings=st.lists(st.text("abcü\n", min_size=1, max_size=4), max_size=3),
)
def test_text_ends_before_the_first_string_wherever_tokens_begin(
    coder: Codec, text: str, strings: list[str]
) -> None:
    stops = Stops(strings=tuple(strings), coder=coder)
    ids = [int(i) for i in coder.encode(text)]
    ends = [n for n in range(1, len(ids) + 1) if stops(ids[:n])]
    if any(string in text for string in strings):
        made = stops.text(ids[: ends[0]])
        assert text.startswith(made)
        assert not any(string in made for string in strings)
        assert any(text.startswith(made + string) for string in strings)
    else:
        assert not ends
        assert stops.text(ids) == text


def test_empty_string_is_refused(coder: Codec) -> None:
    with pytest.raises(ValueError, match="stop"):
        Stops(strings=("x", ""), coder=coder)


def test_sequence_ends_with_the_token_that_completes_a_string_and_others_go_on(
    coder: Codec,
) -> None:
    model = random_model(n_vocab=coder.vocabulary.n_vocab)
    sequels = [Sequel(prompt=(n, n + 1), settings=GREEDY, seed=0) for n in range(6)]
    free = generate(model, sequels, 40, stop_id=-1)
    pairs = [coder.decode_bytes(row[n : n + 2]) for row in free for n in range(20)]
    string = next(pair.decode() for pair in pairs if pair.isascii())
    stops = Stops(strings=(string,), coder=coder)
    made = generate(model, sequels, 40, stop_id=-1, stops=stops)
    for whole, cut in zip(free, made, strict=True):
        ends = [n for n in range(1, 41) if stops(whole[:n])]
        assert cut == whole[: ends[0] if ends else 40]
    assert min(len(row) for row in made) < 40
