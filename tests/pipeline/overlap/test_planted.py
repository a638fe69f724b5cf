"""The self-test passes as built and refuses to run with each part broken in turn."""

import numpy as np
import pytest

from pipeline.overlap import cluster, minhash, planted
from pipeline.overlap.minhash import Config
from pipeline.store.errors import ShardError

_CONFIG = Config(shingle_words=5, bands=14, rows=8, seed=1)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("bands", "rows", "n"), [(14, 8, 5), (25, 10, 3), (2, 2, 1)])
def test_examine_sound_build_follows_the_curve(bands: int, rows: int, n: int, seed: int) -> None:
    config = Config(shingle_words=n, bands=bands, rows=rows, seed=seed)
    for level in planted.examine(config, 0.75):
        expected = 1 - (1 - level["jaccard"] ** rows) ** bands
        assert level["expected_frac"] == pytest.approx(expected, abs=1e-4)
        assert abs(level["found_frac"] - expected) < 0.27  # five deviations at worst, and 2 pairs


@pytest.mark.parametrize("level", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 5])
def test_pair_has_exactly_the_planted_similarity(level: float, n: int) -> None:
    first, second = (set(_grams(text, n)) for text in planted.pair(level, 3, n))
    assert len(first & second) / len(first | second) == level


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    split = text.split()
    return [tuple(split[i : i + n]) for i in range(len(split) - n + 1)]


def test_examine_constant_signature_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minhash, "signature", lambda _, c: np.zeros(c.bands * c.rows, np.uint64))
    with pytest.raises(ShardError, match="without a common word share a band"):
        planted.examine(_CONFIG, 0.75)


def test_examine_signature_that_looks_at_the_order_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = minhash.signature
    monkeypatch.setattr(minhash, "signature", lambda h, c: sound(h[-1:], c))
    with pytest.raises(ShardError, match=r"0 of 100 planted pairs of Jaccard 0\.\d share a band"):
        planted.examine(_CONFIG, 0.75)


def test_examine_verification_that_joins_everything_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "jaccard", lambda _a, _b: 1.0)
    with pytest.raises(ShardError, match=r"measures 0\.5 and is joined at threshold 0\.75"):
        planted.examine(_CONFIG, 0.75)


def test_examine_verification_that_joins_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "jaccard", lambda _a, _b: 0.0)
    with pytest.raises(ShardError, match="is not joined at threshold"):
        planted.examine(_CONFIG, 0.75)
