"""Sampling: the right tokens take part, in the right proportions, the same every time."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from model import hf, sample
from model.gpt import GPT
from model.sample import GREEDY, Sequel, Settings, generate, pick
from pipeline.tokens import bpe
from tests.model.small_models import random_model, unigram

PLAIN = Settings(temperature=1.0, top_k=None, top_p=None)


def shares(logits: list[float], how: Settings, n: int = 1000) -> dict[int, float]:
    """Share of each token when the whole of [0, 1) is drawn from evenly: no chance involved."""
    draws = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    rows = torch.tensor([logits]).expand(n, -1)
    counts = Counter(pick(rows, [how] * n, draws).tolist())
    return {token: count / n for token, count in sorted(counts.items())}


def log(*p: float) -> list[float]:
    return torch.tensor(p).log().tolist()


def test_plain_draws_have_the_model_s_proportions() -> None:
    found = shares(log(0.05, 0.5, 0.3, 0.15), PLAIN)
    assert found == pytest.approx({0: 0.05, 1: 0.5, 2: 0.3, 3: 0.15}, abs=0.0011)


def test_temperature_raises_probabilities_to_its_inverse() -> None:
    # p^2 of (.1, .3, .6) is (.01, .09, .36) / .46
    found = shares(log(0.1, 0.3, 0.6), replace(PLAIN, temperature=0.5))
    assert found == pytest.approx({0: 0.01 / 0.46, 1: 0.09 / 0.46, 2: 0.36 / 0.46}, abs=0.0011)


def test_top_k_keeps_the_best_and_their_proportions() -> None:
    found = shares(log(0.05, 0.5, 0.3, 0.15), replace(PLAIN, top_k=2))
    assert found == pytest.approx({1: 0.5 / 0.8, 2: 0.3 / 0.8}, abs=0.0011)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.01, [1]), (0.49, [1]), (0.6, [1, 2]), (0.81, [1, 2, 3]), (1.0, [0, 1, 2, 3])],
)
def test_top_p_keeps_the_fewest_that_hold_it(top_p: float, kept: list[int]) -> None:
    p = [0.05, 0.5, 0.3, 0.15]
    found = shares(log(*p), replace(PLAIN, top_p=top_p))
    total = sum(p[i] for i in kept)
    assert found == pytest.approx({i: p[i] / total for i in kept}, abs=0.0011)


def test_top_p_counts_what_top_k_has_left() -> None:
    # Of (.5, .3) the first holds .625: below .7, so both stay. Of all four it holds .5.
    found = shares(log(0.05, 0.5, 0.3, 0.15), Settings(temperature=1.0, top_k=2, top_p=0.62))
    assert list(found) == [1]
    found = shares(log(0.05, 0.5, 0.3, 0.15), Settings(temperature=1.0, top_k=2, top_p=0.63))
    assert list(found) == [1, 2]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), top_k=st.integers(1, 30), n=st.sampled_from([1, 5, 40]))
def test_top_k_of_many_equals_that_of_all_sorted(data: st.DataObject, top_k: int, n: int) -> None:
    """Selected without sorting all, equal values in the order of their ids all the same."""
    some = st.sampled_from([0.0, 1.0, 1.5]) | st.floats(-5, 5, width=32)
    logits = torch.tensor([data.draw(st.lists(some, min_size=n, max_size=n))] * 50)
    draws = torch.linspace(0, 0.99, 50, dtype=torch.float64)
    how = replace(PLAIN, top_k=top_k)
    # A row without a limit beside them has all values sorted.
    beside = pick(
        torch.cat([logits, logits[:1]]), [how] * 50 + [PLAIN], torch.cat([draws, draws[:1]])
    )
    assert pick(logits, [how] * 50, draws).tolist() == beside[:50].tolist()


def test_greedy_takes_the_best_and_the_lowest_id_among_equals() -> None:
    assert shares([1.0, 3.0, 2.0, 3.0], GREEDY) == {1: 1.0}
    assert shares([0.0] * 5, GREEDY) == {0: 1.0}


def test_rows_keep_their_own_settings() -> None:
    logits = torch.tensor([log(0.1, 0.2, 0.7)] * 4)
    how = [GREEDY, PLAIN, replace(PLAIN, top_k=2), replace(PLAIN, top_p=0.5)]
    draws = torch.full((4,), 0.95, dtype=torch.float64)
    assert pick(logits, how, draws).tolist() == [2, 0, 1, 2]


@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=20),
    draw=st.floats(0, 1, exclude_max=True),
    top_k=st.none() | st.integers(1, 30),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_picked_token_is_always_one_that_may_take_part(
    logits: list[float], draw: float, top_k: int | None, top_p: float | None
) -> None:
    how = Settings(temperature=1.0, top_k=top_k, top_p=top_p)
    token = int(pick(torch.tensor([logits]), [how], torch.tensor([draw], dtype=torch.float64)))
    better = [x for x in logits if x > logits[token]]
    p = torch.tensor(logits, dtype=torch.float64).softmax(0)
    assert len(better) < (top_k or len(logits))
    assert top_p is None or float(p[torch.tensor(logits) > logits[token]].sum()) < top_p + 1e-9


def slow_greedy(model: GPT, prompt: list[int], n_new: int) -> list[int]:
    """Greedy continuation without a cache; a full context starts again from its last half."""
    n_ctx = model.config.n_ctx
    tokens, first = list(prompt[-n_ctx:]), 0
    for _ in range(n_new):
        if len(tokens) - first > n_ctx:
            first = len(tokens) - n_ctx // 2
        tokens.append(int(model(torch.tensor([tokens[first:]]))[0, -1].argmax()))
    return tokens[-n_new:]


@pytest.mark.parametrize("n_prompt", [1, 5, 31, 32, 50])
def test_greedy_equals_decoding_without_a_cache_beyond_the_context(n_prompt: int) -> None:
    model = random_model()
    prompt = torch.randint(0, 49, (n_prompt,), generator=torch.Generator().manual_seed(3)).tolist()
    sequel = Sequel(prompt=tuple(prompt), settings=GREEDY, seed=0)
    assert generate(model, [sequel], 70, stop_id=-1) == [slow_greedy(model, prompt, 70)]


def conversation(n_ctx: int = 128) -> list[list[int]]:
    """Prompts of which each begins with the one before, and one that turns off on the way."""
    tokens = torch.randint(0, 49, (n_ctx,), generator=torch.Generator().manual_seed(1)).tolist()
    return [*(tokens[:n] for n in (40, 47, 61, 90, 120)), [*tokens[:70], *tokens[:9]]]


def test_turns_of_a_conversation_are_continued_as_each_alone() -> None:
    model = random_model(n_ctx=128)
    turns = [*conversation(), [5, 6, 7], *conversation()[1:3]]
    assert max(map(len, sample.batches([tuple(turn) for turn in turns]))) == len(turns) - 1
    sequels = [Sequel(prompt=tuple(turn), settings=GREEDY, seed=0) for turn in turns]
    made = generate(model, sequels, 30, stop_id=-1)  # 120 + 30 tokens: one starts again
    assert made == [slow_greedy(model, turn, 30) for turn in turns]


def test_shared_beginnings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, turns = random_model(n_ctx=128), conversation()
    n_read = [0, 0]
    hidden = model.hidden

    def counted(idx: torch.Tensor, **options: Any) -> torch.Tensor:
        n_read[-1] += idx.numel()
        return hidden(idx, **options)

    monkeypatch.setattr(model, "hidden", counted)
    sequels = [Sequel(prompt=tuple(turn), settings=GREEDY, seed=0) for turn in turns]
    made = generate(model, sequels, 5, stop_id=-1)
    n_read.append(0)
    assert made == [generate(model, [sequel], 5, stop_id=-1)[0] for sequel in sequels]
    n_new = 5 * len(turns)
    assert n_read[-1] == sum(map(len, turns)) - len(turns) + n_new
    # The longest turn's tokens, what the other has after 70 of them (padded for all), and the new.
    assert sum(n_read[:-1]) == 119 + 8 * len(turns) + n_new


PROMPTS = st.lists(st.lists(st.integers(0, 2), max_size=80).map(tuple), max_size=90)


@given(PROMPTS)
def test_every_prompt_is_in_one_batch_of_a_size_that_fits(prompts: list[tuple[int, ...]]) -> None:
    found = sample.batches(prompts)
    assert sorted(i for batch in found for i in batch) == list(range(len(prompts)))
    assert all(0 < len(batch) <= sample.MAX_ROWS for batch in found)


def test_greedy_equals_transformers(tmp_path: Path) -> None:
    bpe.write(tmp_path / "bpe", [(letter, letter) for letter in "abcdefghijklmnopqrstuvwx"])
    model = random_model(n_vocab=281)
    hf.save(tmp_path / "model", model, tmp_path / "bpe", 280)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    prompt = [280, 5, 17, 260]
    expected = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, 4),
        do_sample=False,
        max_new_tokens=24,
        eos_token_id=None,
        pad_token_id=0,
    )
    sequel = Sequel(prompt=tuple(prompt), settings=GREEDY, seed=0)
    assert generate(model, [sequel], 24, stop_id=-1)[0] == expected[0, 4:].tolist()


SEQUELS = st.lists(
    st.builds(
        Sequel,
        prompt=st.lists(st.integers(0, 48), min_size=1, max_size=45).map(tuple),
        settings=st.sampled_from([GREEDY, PLAIN, replace(PLAIN, top_k=5)]),
        seed=st.integers(0, 1 << 53),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=12, deadline=None)
@given(SEQUELS)
def test_sequence_is_the_same_alone_and_in_company(sequels: list[Sequel]) -> None:
    model = random_model()
    together = generate(model, sequels, 6, stop_id=48)
    for sequel, new in zip(sequels, together, strict=True):
        assert generate(model, [sequel], 6, stop_id=48) == [new]


def test_sequence_ends_before_the_stop_token_and_others_go_on() -> None:
    model = unigram([1, 1, 2])  # greedy gives token 2 at once
    stopping = Sequel(prompt=(0,), settings=GREEDY, seed=0)
    going = Sequel(prompt=(0, 1), settings=PLAIN, seed=5)
    made = generate(model, [going, stopping], 6, stop_id=2)
    assert made[1] == []
    assert 2 not in made[0]
    assert generate(model, [stopping], 6, stop_id=1) == [[2] * 6]


def test_unigram_model_s_sequences_have_its_proportions() -> None:
    model = unigram([1, 2, 5, 8])
    sequels = [Sequel(prompt=(0,), settings=PLAIN, seed=seed) for seed in range(60)]
    counts = Counter(t for new in generate(model, sequels, 40, stop_id=-1) for t in new)
    for token, p in enumerate([1 / 16, 2 / 16, 5 / 16, 8 / 16]):
        assert counts[token] / 2400 == pytest.approx(p, abs=4 * (p * (1 - p) / 2400) ** 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; expected x > 0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)
