"""What goes on around the training loop: stop requests, speed, silence on the other ranks."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C or SIGTERM has come."""

    def __init__(self) -> None:
        self.wanted = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turns the first SIGINT or SIGTERM into a wish; the second one acts as it always does.

    Must be entered in the main thread.
    """
    interrupt = Interrupt()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def wish(number: int, _frame: FrameType | None) -> None:
        interrupt.wanted = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, wish)
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Speed:
    """Tokens per second of the steps alone, without validation and checkpoints."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._tokens = 0

    @contextmanager
    def timed(self, n_tokens: int) -> Iterator[None]:
        """Counts the time of a block that trains on `n_tokens`."""
        start = time.monotonic()
        yield
        self._seconds += time.monotonic() - start
        self._tokens += n_tokens

    def figures(self) -> dict[str, float]:
        """Returns tokens, seconds and their quotient."""
        rate = self._tokens / self._seconds if self._seconds else 0.0
        return {
            "tokens": self._tokens,
            "seconds": round(self._seconds, 2),
            "tokens_per_second": round(rate, 1),
        }


class Silent:
    """Progress of a rank that shows none."""

    def update(self, n: int = 1) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""
