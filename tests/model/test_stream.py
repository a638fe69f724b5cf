"""Tokens one at a time: the same as all at once, with the probabilities of a plain forward pass."""

import pytest
import torch

from model import stream
from model.sample import GREEDY, Sequel, Settings, generate
from tests.model.small_models import random_model, unigram

WARM = Settings(temperature=0.7, top_k=7, top_p=0.9)


@pytest.mark.parametrize("settings", [GREEDY, WARM])
def test_write_yields_what_generate_returns(settings: Settings) -> None:
    """Past the end of the context, too, where it starts again."""
    model = random_model(n_ctx=16)
    sequel = Sequel(prompt=(1, 2, 3), settings=settings, seed=4)
    written = [choice.token.id for choice in stream.write(model, sequel, 40, -1, 3)]
    assert written == generate(model, [sequel], 40, -1)[0]


def test_probabilities_are_those_of_a_forward_pass() -> None:
    model = random_model()
    sequel = Sequel(prompt=(1, 2, 3), settings=WARM, seed=4)
    made = list(stream.write(model, sequel, 10, -1, 4))
    ids = [1, 2, 3, *(choice.token.id for choice in made)]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).softmax(2)[0]
    for place, choice in enumerate(made, start=2):
        assert choice.token.p == pytest.approx(float(expected[place, ids[place + 1]]), rel=1e-4)
        best = expected[place].topk(4)
        assert [other.id for other in choice.others] == best.indices.tolist()
        assert choice.rank == int((expected[place] > expected[place, ids[place + 1]]).sum())


def test_read_tells_how_each_token_of_a_text_was_expected() -> None:
    model, ids = random_model(), [5, 9, 9, 2, 7]
    with torch.no_grad():
        expected = model(torch.tensor([ids])).softmax(2)[0]
    found = stream.read(model, ids, 3)
    assert [choice.token.id for choice in found] == ids[1:]
    for place, choice in enumerate(found):
        assert choice.token.p == pytest.approx(float(expected[place, ids[place + 1]]), rel=1e-4)
        assert choice.token.share is None


def test_read_in_parts_equals_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = random_model(), list(range(30))
    whole = stream.read(model, ids, 3)
    monkeypatch.setattr(stream, "_ROWS", 7)
    for some, all_ in zip(stream.read(model, ids, 3), whole, strict=True):
        assert some.token.p == pytest.approx(all_.token.p, rel=1e-4)
        assert some.rank == all_.rank


def test_shares_are_what_the_settings_leave() -> None:
    # top_k keeps .5 and .3; their squares are .25 and .09
    model = unigram([0.05, 0.5, 0.3, 0.15])
    settings = Settings(temperature=0.5, top_k=2, top_p=None)
    (choice,) = stream.write(model, Sequel(prompt=(0,), settings=settings, seed=1), 1, -1, 4)
    told = {other.id: (other.p, other.share) for other in choice.others}
    assert told[1] == pytest.approx((0.5, 0.25 / 0.34), abs=1e-5)
    assert told[2] == pytest.approx((0.3, 0.09 / 0.34), abs=1e-5)
    assert told[3] == pytest.approx((0.15, 0.0), abs=1e-5)


def test_write_ends_with_the_token_that_ends_a_text() -> None:
    model = unigram([0.0001, 0.9998, 0.0001])
    made = list(stream.write(model, Sequel(prompt=(0,), settings=GREEDY, seed=1), 9, 1, 2))
    assert [choice.token.id for choice in made] == [1]
