"""Laws of the loss: published figures, and what stands beyond them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training import forecast
from model.training.forecast import CHINCHILLA

SIZES = st.floats(7e7, 1.6e10)
TOKENS = st.floats(5e9, 5e11)
FIT = {"a": 30.0, "alpha": 0.2, "c": 2.0, "n_tokens": 1_000_000, "parameters": "non_embedding"}


@given(SIZES, TOKENS)
def test_published_law_falls_with_size_and_with_tokens(size: float, tokens: float) -> None:
    here = CHINCHILLA.loss(size, tokens)
    assert CHINCHILLA.e < CHINCHILLA.loss(2 * size, tokens) < here
    assert CHINCHILLA.loss(size, 2 * tokens) < here


@given(SIZES)
def test_best_tokens_cannot_be_traded_for_size_at_equal_operations(size: float) -> None:
    """Operations are 6 N D: a little more of either, and less of the other, is worse."""
    tokens = CHINCHILLA.best_tokens(size)
    here = CHINCHILLA.loss(size, tokens)
    for shift in (0.9, 1.1):
        assert CHINCHILLA.loss(size * shift, tokens / shift) > here


@given(st.floats(1e6, 1e12), st.floats(1.0, 1000.0))
def test_tokens_read_again_are_worth_less_each_time(unique: float, epochs: float) -> None:
    told = forecast.worth(unique, unique * epochs)
    assert unique * 0.999 <= told <= unique * epochs * 1.001
    assert told <= unique * (1 + forecast.REPEATS)


def test_a_published_run_is_predicted_to_the_order() -> None:
    """A 124M GPT-2 on 9e9 tokens of OpenWebText, 33 epochs: about 2.85 (nanoGPT); we say 2.73."""
    told = forecast.loss(124_439_808, 295_000_000_000, 9_040_000_000)
    assert told.nats_per_token == pytest.approx(2.85, abs=0.15)


@pytest.mark.parametrize(("size", "tokens"), [(2_900_000, 10**10), (10**9, 10**6)])
def test_loss_out_of_the_law_s_range_is_not_predicted(size: int, tokens: int) -> None:
    told = forecast.loss(size, tokens, None)
    assert told.nats_per_token is None
    assert "out of the range" in told.law


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "scaling.json"
    path.write_text(json.dumps({"fit": {**FIT, **changes}}))
    return path


def test_own_law_counts_for_its_number_of_tokens(tmp_path: Path) -> None:
    told = forecast.own_loss(written(tmp_path), 10**5, 1_000_000)
    assert told is not None
    assert told.nats_per_token == pytest.approx(30 * 10**-1 + 2)
    other = forecast.own_loss(written(tmp_path), 10**5, 2_000_000)
    assert other is not None
    assert other.nats_per_token is None
    assert "of which it says nothing" in other.law
    assert forecast.own_loss(tmp_path / "absent.json", 10**5, 1_000_000) is None


@pytest.mark.parametrize("changes", [{"alpha": None}, {"a": "x"}, {"parameters": "total"}])
def test_own_law_that_is_none_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"scaling.json: fit\.\w+ is not usable"):
        forecast.own_loss(written(tmp_path, **changes), 10**5, 1_000_000)
