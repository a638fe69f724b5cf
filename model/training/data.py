"""Windows of the token stream as tensors; `order` says which of them a step reads.

    stream   t t t t t t t t t t t t t          all shards as one stream, documents end with E
    window 0 [-------]                          n_ctx inputs and, one further, n_ctx targets
    window 1         [-------]                  stride n_ctx: each token is a target once
    target 0   [-------]

Decisions
- A rank takes a contiguous part of the step's samples; every rank count that divides the batch sees
  the same global batch.
- For scoring, the stream is read behind one <|endoftext|>, so that each of its tokens is a target
  exactly once and the count of bytes is the whole stream's.
- A window is copied once, from the memory map into the batch's tensor, where its ids become int64;
  inputs and targets are two views of that tensor, which is pinned where there is a GPU.
- The next step's batch is made in a thread while a step runs. It is a function of the step's number
  alone, so nothing that the thread has done ahead is lost by a kill or belongs into a checkpoint.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from model.gpt import IGNORE
from model.training.order import windows_between
from pipeline.store.config import require
from pipeline.store.errors import ManifestError
from pipeline.tokens.arrow import TokenShards, open_shards

T = TypeVar("T")

_BLOCK = 4096  # samples whose windows are found at once
BEYOND = 1 << 40  # a window past the end of any stream: nothing in it is scored


def open_tokens(paths: Sequence[Path], tokenizer_sha256: str) -> TokenShards:
    """Opens token shards that a given tokenizer has made.

    Raises:
        ManifestError: the tokens were made by another tokenizer.
    """
    tokens = open_shards(paths)
    if tokens.tokenizer_sha256 != tokenizer_sha256:
        raise ManifestError(
            f"{paths[0].parent}: tokens of tokenizer {tokens.tokenizer_sha256[:12]}; "
            f"expected {tokenizer_sha256[:12]}; make them again with: dvc repro encode"
        )
    return tokens


class Windows:
    """The training windows of a token stream."""

    def __init__(self, tokens: TokenShards, n_ctx: int, seed: int) -> None:
        """Cuts `tokens` into windows of `n_ctx` inputs; the rest of the stream is not used."""
        self.n_windows = (tokens.n_tokens - 1) // n_ctx
        require("n_ctx", n_ctx, self.n_windows >= 1, f"less than {tokens.n_tokens} tokens")
        self._tokens = tokens
        self._n_ctx = n_ctx
        self._seed = seed
        self._found = 0, windows_between(0, 0, self.n_windows, seed)

    def ids(self, step: int, batch_size: int) -> list[int]:
        """Returns the numbers of the windows that one step reads, in order."""
        first, stop = step * batch_size, (step + 1) * batch_size
        begin, found = self._found
        if not begin <= first <= stop <= begin + len(found):
            begin, end = first, max(stop, first + _BLOCK)
            found = windows_between(begin, end, self.n_windows, self._seed)
            self._found = begin, found
        ids: list[int] = found[first - begin : stop - begin].tolist()
        return ids

    def batch(self, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns inputs and targets, each (B, n_ctx) int64; in pinned memory for a GPU."""
        length = self._n_ctx + 1
        pinned = torch.cuda.is_available()
        joined = torch.empty((len(ids), length), dtype=torch.int64, pin_memory=pinned)
        rows = joined.numpy()  # the same memory
        for row, number in enumerate(ids):
            start = number * self._n_ctx
            rows[row] = self._tokens.slice(start, start + length)
        return joined[:, :-1], joined[:, 1:]


class Ahead(Generic[T]):
    """Makes the next step's batch while the last one is used."""

    def __init__(self, make: Callable[[int], T], stop: int, thread: ThreadPoolExecutor) -> None:
        """Makes batches of the steps below `stop`; errors of `make` are raised by `get`."""
        self._make, self._stop, self._thread = make, stop, thread
        self._waiting: dict[int, Future[T]] = {}

    def get(self, step: int) -> T:
        """Returns the batch of a step and begins with the one after it."""
        now = self._waiting.pop(step, None) or self._thread.submit(self._make, step)
        if step + 1 < self._stop:
            self._waiting = {step + 1: self._thread.submit(self._make, step + 1)}
        return now.result()


@contextmanager
def ahead(make: Callable[[int], T], stop: int) -> Iterator[Ahead[T]]:
    """Gives an `Ahead` whose thread ends with the block."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        yield Ahead(make, stop, thread)
    finally:
        thread.shutdown(cancel_futures=True)


def scoring_batches(
    tokens: TokenShards, n_ctx: int, batch_size: int, windows: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields inputs and targets, each (B, n_ctx) int64, of some windows of a stream.

    Window j scores the tokens [j n_ctx, (j + 1) n_ctx); what lies past the end is `IGNORE`.
    """
    for first in range(0, len(windows), batch_size):
        chosen = windows[first : first + batch_size]
        targets = np.full((len(chosen), n_ctx), IGNORE, dtype=np.int64)
        inputs = np.full_like(targets, tokens.eot_id)
        for row, window in enumerate(chosen):
            start = min(window * n_ctx, tokens.n_tokens)
            stop = min(start + n_ctx, tokens.n_tokens)
            read = tokens.slice(max(start - 1, 0), stop)  # the token before the window leads
            targets[row, : stop - start] = read[len(read) - (stop - start) :]
            inputs[row, start == 0 : stop - start] = read[:-1]
        yield torch.from_numpy(inputs), torch.from_numpy(targets)


def scoring_windows(n_tokens: int, n_ctx: int, most_tokens: int | None) -> list[int]:
    """Returns windows that cover a stream, or evenly spaced ones of at most `most_tokens`.

    >>> scoring_windows(100, 10, None) == list(range(10))
    True
    >>> scoring_windows(100, 10, 30)
    [0, 3, 6]
    """
    n_windows = -(-n_tokens // n_ctx)
    n_chosen = n_windows if most_tokens is None else min(n_windows, -(-most_tokens // n_ctx))
    return [i * n_windows // n_chosen for i in range(n_chosen)]


def share(windows: Sequence[int], rank: int, n_ranks: int) -> list[int]:
    """Returns one rank's windows; all ranks get as many, some of them beyond the stream's end.

    >>> share([0, 3, 6], rank=1, n_ranks=2) == [3, BEYOND]
    True
    """
    padded = [*windows, *[BEYOND] * (-len(windows) % n_ranks)]
    return padded[rank::n_ranks]
