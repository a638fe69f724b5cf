"""Out of memory: what counts as it, and what is advised."""

import pytest
import torch

from model.training import memory
from tests.model.training.small_runs import config


def test_torch_s_cpu_allocator_s_error_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert memory.is_exhausted(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
        (MemoryError(), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_other_errors_are_told_apart(error: BaseException, expected: bool) -> None:
    assert memory.is_exhausted(error) == expected


def test_remedies_leave_out_what_is_exhausted() -> None:
    most = {"micro_batch_size": 1, "activation_checkpointing": True, "zero_stage": 3}
    told = memory.remedies(config(**most))
    assert told == "set train.offload: optimizer (train.zero_stage 1 or more, on a GPU)"
    assert "train.offload: parameters" in memory.remedies(config(**most, offload="optimizer"))
    last = memory.remedies(config(**most, offload="parameters"))
    assert last == "use a smaller model or more ranks"
