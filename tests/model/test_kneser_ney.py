"""The n-gram reference against probabilities worked out by hand."""

import numpy as np
import pytest

from tests.model.kneser_ney import KneserNey, discounts


def test_kneser_ney_bigram_matches_hand_computation() -> None:
    """Text a b a b a c, order 2; all discounts .75 for want of counts of counts.

    Bigrams: ab 2, ba 2, ac 1. Predecessors: a {b} 1, b {a} 1, c {a} 1; total 3.
    P1(w) = (1 - .75) / 3 + (3 * .75 / 3) / 3 = 1/12 + 1/4 = 1/3 for each w.
    P(b | a) = (2 - .75) / 3 + (2 * .75 / 3) / 3 = 5/12 + 1/6 = 7/12.
    P(c | a) = .25 / 3 + 1/6 = 1/4, P(a | a) = 1/6, P(a | b) = 1.25 / 2 + .375 / 3 = 3/4.
    c was never followed by anything: P(a | c) = P1(a) = 1/3.
    """
    model = KneserNey([0, 1, 0, 1, 0, 2], n_vocab=3, order=2)
    got = model.probability([0, 1, 0, 0, 2, 0])
    np.testing.assert_allclose(got, [1 / 3, 7 / 12, 3 / 4, 1 / 6, 1 / 4, 1 / 3], rtol=1e-12)
    assert model.nats([0, 1]) == pytest.approx(np.log(3) + np.log(12 / 7))


def test_kneser_ney_lower_order_uses_predecessors_not_counts() -> None:
    """In 0 1 0 1 0 1 2 3 the token 1 is frequent but always follows 0."""
    model = KneserNey([0, 1, 0, 1, 0, 1, 2, 3], n_vocab=4, order=2)
    after_unseen = model.probability([3, 1])[1], model.probability([3, 2])[1]
    assert after_unseen[0] == pytest.approx(after_unseen[1])


def test_kneser_ney_discounts_match_hand_computation() -> None:
    """n1..n4 = 4, 2, 1, 1: Y = 4/8; D = 1 - 2/2 * 1/2, 2 - 3/2 * 1/2, 3 - 4/2."""
    assert discounts([1, 1, 1, 1, 2, 2, 3, 4]) == pytest.approx((0.5, 1.25, 1.0))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_probabilities_sum_to_one_after_any_context(order: int) -> None:
    rng = np.random.default_rng(3)
    n_vocab = 7
    model = KneserNey(rng.zipf(1.5, 4000).clip(max=n_vocab) - 1, n_vocab, order)
    for context in (*rng.integers(0, n_vocab, (20, 4)), [6, 6, 6, 6]):
        total = sum(model.probability([*context, token])[-1] for token in range(n_vocab))
        assert total == pytest.approx(1.0)
