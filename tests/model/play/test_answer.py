"""Requests as the page sends them, and the answers it gets."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.play.answer import MAX_SEED, Spelling, answer, ask_of, text_of
from model.play.server import Playground
from model.sample import Sequel, generate
from pipeline.tokens import gpt1
from pipeline.tokens.bytelevel import ByteLevelCodec

GOOD = {
    "model": "pretrained",
    "prompt": "The pool",
    "temperature": 1,
    "top_k": 5,
    "top_p": None,
    "seed": 3,
    "n_new": 20,
    "stops": [],
}


def test_request_becomes_settings() -> None:
    ask = ask_of({**GOOD, "top_p": 0.5, "stops": ["\n\n"]}, 20)
    assert (ask.settings.temperature, ask.settings.top_k, ask.settings.top_p) == (1.0, 5, 0.5)
    assert (ask.prompt, ask.seed, ask.n_new, ask.stops) == ("The pool", 3, 20, ("\n\n",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_new": 21}, "n_new is 21; expected 1 <= x <= 20"),
        ({"n_new": 0}, "n_new is 0; expected 1 <= x <= 20"),
        ({"n_new": True}, "n_new is True; expected a whole number"),
        ({"temperature": 0}, "temperature is 0.0; expected x > 0"),
        ({"temperature": "1"}, "temperature is '1'; expected a number"),
        ({"temperature": float("inf")}, "temperature is inf; expected a number"),
        ({"temperature": 10**400}, "expected a number"),
        ({"temperature": 1e-40}, "temperature is 1e-40; expected 0.01 <= x <= 100.0"),
        ({"top_k": 10**30}, f"top_k is {10**30}; expected x <= {2**31 - 1}"),
        ({"top_k": 0}, "top_k is 0; expected x >= 1 or null"),
        ({"top_k": 1.5}, "top_k is 1.5; expected a whole number"),
        ({"top_p": 1.5}, "top_p is 1.5; expected 0 < x <= 1 or null"),
        ({"seed": -1}, f"seed is -1; expected 0 <= x <= {MAX_SEED}"),
        ({"stops": [""]}, "stops is ('',); expected 8 strings, not ''"),
        ({"stops": [1]}, "stops is [1]; expected a list of texts"),
        ({"prompt": None}, "prompt is None; expected text"),
        ({"more": 1}, "more is not known; allowed: model, prompt"),
    ],
)
def test_request_out_of_range_says_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ask_of({**GOOD, **change}, 20)


@pytest.mark.parametrize("name", GOOD)
def test_request_without_a_key_is_refused(name: str) -> None:
    told = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(ValueError, match=f"^{name} is missing; expected "):
        ask_of(told, 20)


@pytest.mark.parametrize("told", [None, [], "x", {"text": 1}, {"text": "a", "b": 1}, {}])
def test_body_that_is_no_text_is_refused(told: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        text_of(told, "text")


def test_answer_holds_the_text_that_generate_gives(playground: Playground) -> None:
    loaded, ask = playground.shelf.get("pretrained"), ask_of(GOOD, 20)
    start, *tokens, end = answer(ask, loaded, 5)
    prompt = [int(i) for i in loaded.coder.encode("The pool")]
    eot = loaded.coder.vocabulary.eot_id
    sequel = Sequel(prompt=(eot, *prompt), settings=ask.settings, seed=3)
    expected = generate(loaded.model, [sequel], 20, eot)[0]
    assert [token["id"] for token in start["prompt"]] == prompt
    assert [token["id"] for token in tokens if not token["is_end"]] == expected
    assert end["text"] == loaded.coder.decode(expected)
    assert (start["kind"], end["kind"]) == ("start", "end")
    assert end["why"] == ("length" if len(expected) == 20 else "end")


def test_answer_stops_at_a_string(playground: Playground) -> None:
    loaded = playground.shelf.get("pretrained")
    *_, whole = answer(ask_of(GOOD, 20), loaded, 2)
    stop = whole["text"][4:6]
    *_, end = answer(ask_of({**GOOD, "stops": [stop]}, 20), loaded, 2)
    assert (end["why"], end["text"]) == ("stop", whole["text"][: whole["text"].index(stop)])


def test_prompt_longer_than_the_context_is_shown_whole(playground: Playground) -> None:
    """What the model did not read is told apart."""
    loaded = playground.shelf.get("pretrained")
    text = "A worker that dies is replaced, and its task is tried again. " * 12
    start, *_ = answer(ask_of({**GOOD, "prompt": text, "n_new": 1}, 20), loaded, 2)
    n = len(loaded.coder.encode(text))
    assert len(start["prompt"]) == loaded.model.config.n_ctx - 1
    assert start["n_lost"] == n + 1 - loaded.model.config.n_ctx
    assert start["lost"] + "".join(token["text"] for token in start["prompt"]) == text


@given(st.text(max_size=20))
def test_spelling_adds_up_to_the_text(text: str) -> None:
    """With single bytes as tokens no character but ASCII is whole at once."""
    coder = ByteLevelCodec([], "")
    spelling = Spelling(coder)
    assert "".join(spelling.add(int(token)) for token in coder.encode(text)) == text


@given(st.lists(st.integers(0, 5), max_size=20))
def test_spelling_puts_a_blank_behind_a_word_once_something_follows(ids: list[int]) -> None:
    """GPT-1's: every prefix is spelt as it is decoded alone."""
    symbols = ["<unk>", "a", "b", "a</w>", "b</w>", "<|endoftext|>"]
    tokenizer = gpt1.tokenizer("gpt1-openai", {each: i for i, each in enumerate(symbols)}, [])
    coder = gpt1.WordCodec("gpt1-openai", tokenizer, "")
    spelling, text = Spelling(coder), ""
    for n, token in enumerate(ids, start=1):
        text += spelling.add(token)
        assert text == coder.decode(ids[:n])
