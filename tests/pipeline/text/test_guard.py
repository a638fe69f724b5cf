"""The share of documents that one reason may remove."""

from pathlib import Path

import pytest

from pipeline.store.shards import Counts
from pipeline.text import guard

CONFIG = guard.Config(min_documents=100, max_removed_frac=0.3, by_reason={"language": 0.8})


def _counts(n_in: int, **dropped: int) -> Counts:
    return Counts(n_in=n_in, n_out=n_in - sum(dropped.values()), dropped=dropped)


@pytest.mark.parametrize(
    ("counts", "reasons"),
    [
        (_counts(100, too_short=30), []),
        (_counts(100, too_short=31), ["too_short"]),
        (_counts(100, language=80), []),
        (_counts(100, language=81), ["language"]),
        (_counts(200, too_short=61, empty=62), ["empty", "too_short"]),
        (_counts(99, too_short=99), []),
    ],
)
def test_excessive_shares_over_the_limit_are_named_worst_first(
    counts: Counts, reasons: list[str]
) -> None:
    assert guard.excessive(counts, CONFIG) == reasons


def test_refusal_of_a_reason_with_its_own_limit_names_that_key() -> None:
    error = guard.refusal("clean", "language", _counts(100, language=90), CONFIG, Path("d"))
    assert "clean.guard.by_reason.language allows 80.0%" in str(error)


def test_config_share_out_of_range_names_the_reason() -> None:
    with pytest.raises(ValueError, match=r"empty is 1.5; expected 0 <= x <= 1"):
        guard.Config(min_documents=1, max_removed_frac=1.0, by_reason={"empty": 1.5})
