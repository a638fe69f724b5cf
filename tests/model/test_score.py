"""The three questions: equal to a slow reading of the model, whatever the batches."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import score
from model.gpt import GPT
from model.sample import GREEDY
from model.score import Request, Scorer, windows
from tests.model.small_models import random_model, slow_logprobs, unigram

EOT = 49


@pytest.fixture(scope="module")
def model() -> GPT:
    return random_model()


@pytest.fixture(scope="module")
def scorer(model: GPT) -> Scorer:
    return Scorer(model, EOT)


def ids(n: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, 49, n).tolist()


def test_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    scorer = Scorer(unigram([1.0] * 37, n_ctx=16), 36)
    for n, stride in ((1, 16), (16, 16), (17, 1), (100, 7)):
        (values,) = scorer.rolling([[i % 37 for i in range(n)]], stride)
        assert math.exp(-values.mean()) == pytest.approx(37, rel=1e-6)
    request = Request(context=[1, 2], continuations=[[3], [4, 5, 6]])
    (one, three) = scorer.loglikelihood([request])[0]
    assert one.total == pytest.approx(-math.log(37), rel=1e-6)
    assert three.total == pytest.approx(-3 * math.log(37), rel=1e-6)


def test_unigram_model_gives_the_probabilities_computed_by_hand() -> None:
    scorer = Scorer(unigram([1, 2, 5, 8]), 0)  # P = 1/16, 2/16, 5/16, 8/16
    (values,) = scorer.rolling([[3, 1, 2, 0]], 8)
    assert np.exp(values) == pytest.approx([8 / 16, 2 / 16, 5 / 16, 1 / 16], rel=1e-6)
    found = scorer.loglikelihood([Request(context=[1], continuations=[[3, 3], [3, 2]])])[0]
    assert np.exp([each.total for each in found]) == pytest.approx([1 / 4, 5 / 32], rel=1e-6)
    assert [each.is_greedy for each in found] == [True, False]
    assert found[1].greedy.tolist() == [True, False]


def test_muted_tokens_do_not_compete_for_the_first_place_and_keep_their_probability() -> None:
    scorer = Scorer(unigram([1, 2, 5, 8]), 0)
    request = Request(context=[0], continuations=[[2, 2], [3, 3], [1]])
    plain = scorer.loglikelihood([request])[0]
    muted = scorer.loglikelihood([request], muted=[3])[0]
    assert [each.leads for each in plain] == [False, True, False]
    assert [each.leads for each in muted] == [True, False, False]
    for a, b in zip(plain, muted, strict=True):
        assert a.logprobs.tolist() == b.logprobs.tolist()
        assert a.greedy.tolist() == b.greedy.tolist()


@given(n=st.integers(0, 200), n_ctx=st.integers(1, 20), data=st.data())
def test_windows_score_each_token_once_with_as_much_context_as_promised(
    n: int, n_ctx: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, n_ctx))
    found = windows(n, n_ctx, stride)
    scored = [target for _, end, k in found for target in range(end - k + 1, end + 1)]
    assert scored == list(range(1, n + 1))
    for start, end, k in found:
        assert end - start == min(n_ctx, end)
        for target in range(end - k + 1, end + 1):
            assert target - start >= min(target, n_ctx - stride + 1)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("stride", [1, 5, 32])
def test_rolling_equals_a_slow_reading_of_each_window(norm: str, stride: int) -> None:
    model = random_model(norm=norm)
    texts = [ids(70, 1), ids(31, 2), [], ids(32, 3), ids(33, 4), [7]]
    found = Scorer(model, EOT).rolling(texts, stride)
    for text, values in zip(texts, found, strict=True):
        stream = [EOT, *text]
        expected = []
        for start, end, n in windows(len(text), 32, stride):
            expected += slow_logprobs(model, stream[start : end + 1], n)
        assert values == pytest.approx(expected, abs=2e-5)
        assert len(values) == len(text)


def test_rolling_reads_a_text_that_fits_in_one_piece(model: GPT, scorer: Scorer) -> None:
    text = ids(20)
    assert scorer.rolling([text], 3)[0] == pytest.approx(
        slow_logprobs(model, [EOT, *text], 20), abs=2e-5
    )


def slow_request(model: GPT, request: Request) -> list[list[float]]:
    """Scores each continuation alone; the context is cut by hand to leave room for the longest."""
    room = model.config.n_ctx + 1 - max(map(len, request.continuations))
    context = [EOT, *request.context][-room:]
    return [slow_logprobs(model, [*context, *c], len(c)) for c in request.continuations]


@pytest.mark.parametrize("n_context", [0, 1, 20, 27, 28, 60])
def test_loglikelihood_equals_a_slow_reading(model: GPT, scorer: Scorer, n_context: int) -> None:
    request = Request(context=ids(n_context), continuations=[ids(5, 9), ids(1, 8), ids(3, 7)])
    found = scorer.loglikelihood([request])[0]
    for scored, expected in zip(found, slow_request(model, request), strict=True):
        assert scored.logprobs == pytest.approx(expected, abs=2e-5)
        assert scored.total == pytest.approx(sum(expected), abs=5e-5)


@pytest.mark.parametrize("n_context", [0, 1, 40, 100, 122, 123, 200])
def test_context_that_is_read_once_gives_what_separate_readings_give(
    monkeypatch: pytest.MonkeyPatch, n_context: int
) -> None:
    monkeypatch.setattr(score, "MIN_SAVED", 1)
    scorer = Scorer(random_model(n_ctx=128), EOT)
    context = ids(n_context)[-(128 - 5) :]
    continuations = [ids(5, 1), ids(2, 2), ids(1, 3), ids(5, 4)]
    together = scorer.loglikelihood([Request(context=context, continuations=continuations)])[0]
    for scored, continuation in zip(together, continuations, strict=True):
        alone = scorer.loglikelihood([Request(context=context, continuations=[continuation])])[0][0]
        assert scored.logprobs == pytest.approx(alone.logprobs, abs=2e-5)
        assert scored.greedy.tolist() == alone.greedy.tolist()
        assert scored.leads == alone.leads


def test_answers_do_not_depend_on_order_or_company(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [
        Request(context=ids(i % 40, i), continuations=[ids(1 + i % 4, 100 + i)]) for i in range(60)
    ]
    plain = scorer.loglikelihood(requests)
    backwards = scorer.loglikelihood(requests[::-1])[::-1]
    monkeypatch.setattr(score, "N_POSITIONS", 1)
    monkeypatch.setattr(score, "N_LOGITS", 1)
    monkeypatch.setattr(score, "MIN_ROWS", 1)
    alone = scorer.loglikelihood(requests)
    for a, b, c in zip(plain, backwards, alone, strict=True):
        assert a[0].logprobs == pytest.approx(b[0].logprobs, abs=2e-5)
        assert a[0].logprobs == pytest.approx(c[0].logprobs, abs=2e-5)


def test_greedy_continuation_is_called_greedy_and_a_changed_one_is_not(scorer: Scorer) -> None:
    prompts = [ids(5, seed) for seed in range(6)]
    made = scorer.generate(prompts, GREEDY, 4, seed=0)
    requests = [
        Request(context=prompt, continuations=[new])
        for prompt, new in zip(prompts, made, strict=True)
    ]
    assert all(found[0].is_greedy for found in scorer.loglikelihood(requests))
    for request, new in zip(requests, made, strict=True):
        changed = Request(context=request.context, continuations=[[*new[:-1], (new[-1] + 1) % 49]])
        assert scorer.loglikelihood([changed])[0][0].greedy.tolist() == [True, True, True, False]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 48), max_size=80), max_size=4), st.integers(1, 32))
def test_rolling_returns_one_value_per_token(texts: Sequence[Sequence[int]], stride: int) -> None:
    found = Scorer(random_model(), EOT).rolling(texts, stride)
    assert [len(values) for values in found] == [len(text) for text in texts]
    assert all((values < 0).all() for values in found)


@pytest.mark.parametrize("continuations", [[], [[]], [[1], []], [[1] * 33]])
def test_continuation_that_cannot_be_scored_is_refused(
    scorer: Scorer, continuations: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match="expected 1 <= x <= 32"):
        scorer.loglikelihood([Request(context=[1], continuations=continuations)])


def test_longest_possible_continuation_leaves_one_token_of_context(
    model: GPT, scorer: Scorer
) -> None:
    request = Request(context=ids(3), continuations=[ids(32, 5)])
    found = scorer.loglikelihood([request])[0][0]
    assert found.logprobs == pytest.approx(slow_request(model, request)[0], abs=2e-5)


def test_scoring_leaves_no_gradient_and_no_trace_on_the_model(scorer: Scorer, model: GPT) -> None:
    before = torch.cat([p.flatten() for p in model.parameters()]).clone()
    scorer.rolling([ids(50)], 8)
    assert torch.equal(before, torch.cat([p.flatten() for p in model.parameters()]))
    assert all(p.grad is None for p in model.parameters())
