"""What passes between a rank and its launcher."""

from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from model.training import mail
from pipeline.store.errors import CheckpointError, ManifestError, RetryableError


def failing(error: BaseException) -> Any:
    def work() -> NoReturn:
        raise error

    return work


@pytest.mark.parametrize(
    "error",
    [
        ManifestError("data/tokens is missing"),
        CheckpointError("none"),
        RetryableError("again"),
        FileNotFoundError("no such file"),
        ValueError("lr is 0; expected x > 0"),
    ],
)
def test_stated_failure_is_raised_where_it_is_collected_as_it_was(
    error: Exception, tmp_path: Path
) -> None:
    with pytest.raises(type(error)):
        mail.deliver(tmp_path, 1, failing(error))
    with pytest.raises(type(error), match=str(error)) as caught:
        mail.collect(tmp_path)
    assert type(caught.value) is type(error)


def test_request_to_stop_ends_a_rank_quietly_and_is_raised_at_the_launcher(tmp_path: Path) -> None:
    mail.deliver(tmp_path, 0, failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        mail.collect(tmp_path)


def test_error_of_another_kind_is_no_letter(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        mail.deliver(tmp_path, 0, failing(ZeroDivisionError()))
    assert mail.collect(tmp_path) is None


def test_figures_are_those_of_rank_0_whatever_came_first(tmp_path: Path) -> None:
    for rank in (2, 0, 1):
        mail.deliver(tmp_path, rank, partial(dict, rank=rank, loss=1.5))
    assert mail.collect(tmp_path) == {"rank": 0, "loss": 1.5}


def test_failure_of_the_first_rank_counts(tmp_path: Path) -> None:
    for rank in (3, 1):
        with pytest.raises(ValueError, match=f"rank {rank}"):
            mail.deliver(tmp_path, rank, failing(ValueError(f"rank {rank}")))
    with pytest.raises(ValueError, match="rank 1"):
        mail.collect(tmp_path)
