"""What goes on around the training loop: stop requests, silence on the other ranks."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

STOP_FILE = "OUTBOUND_STOP_FILE"  # a file whose appearance asks a run to stop, as SIGTERM does


class Interrupt:
    """Whether Ctrl-C or SIGTERM has come, or the file that OUTBOUND_STOP_FILE names."""

    def __init__(self) -> None:
        self.signalled = False
        self._file = os.environ.get(STOP_FILE)

    @property
    def wanted(self) -> bool:
        """Whether somebody wants the run to stop."""
        return self.signalled or (self._file is not None and Path(self._file).exists())


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turns the first SIGINT or SIGTERM into a wish; the second one acts as it always does.

    In another thread than the main one, where no signal can be caught, only the file is looked at.
    """
    interrupt = Interrupt()
    in_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if in_main else ()
    before = {number: signal.getsignal(number) for number in numbers}

    def wish(number: int, _frame: FrameType | None) -> None:
        interrupt.signalled = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, wish)
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Silent:
    """Progress of a rank that shows none."""

    def update(self, n: int = 1) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""
