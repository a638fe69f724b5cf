"""Progress for people: a live bar on a terminal, a plain line every few seconds elsewhere.

Everything goes to stderr; nothing here is read by a program.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from pipeline.store.shards import Counts

_EVERY_S = 5.0


class PlainProgress:
    """Lines such as `extract  3/8 shards  37 %  0.4 shards/s  12 s left`, at most one per 5 s."""

    def __init__(self, label: str, total: int, unit: str, clock: Callable[[], float]) -> None:
        """Starts counting.

        Args:
            label: What is going on.
            total: Units of work altogether.
            unit: Plural noun.
            clock: Seconds, monotonic.
        """
        self._label, self._total, self._unit, self._clock = label, total, unit, clock
        self._done = 0
        self._start = self._told = clock()

    def update(self, n: int = 1) -> None:
        """Counts n more units."""
        self._done += n
        now = self._clock()
        if now - self._told >= _EVERY_S:
            self._told = now
            print(self.line(now), file=sys.stderr, flush=True)

    def line(self, now: float) -> str:
        """Returns the line of this moment."""
        rate = self._done / max(now - self._start, 1e-9)
        left = (self._total - self._done) / rate if rate else float("inf")
        share = 100 * self._done / max(self._total, 1)
        return (
            f"{self._label}  {self._done}/{self._total} {self._unit}  {share:.0f} %  "
            f"{rate:.3g} {self._unit}/s  {left:.0f} s left"
        )

    def note(self, text: str) -> None:
        """Prints a line between the progress lines."""
        print(text, file=sys.stderr, flush=True)


class LiveProgress:
    """The same as a bar that redraws itself."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        """Draws an empty bar; arguments as for PlainProgress."""
        self._bar = tqdm(total=total, desc=label, unit=f" {unit}", file=sys.stderr, leave=False)

    def update(self, n: int = 1) -> None:
        """Counts n more units."""
        self._bar.update(n)

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


Progress = PlainProgress | LiveProgress


@contextmanager
def progress(
    label: str, total: int, unit: str = "shards"
) -> Iterator[PlainProgress | LiveProgress]:
    """Shows how far some work is while the context is open."""
    if not sys.stderr.isatty():
        yield PlainProgress(label, total, unit, time.monotonic)
        return
    bar = LiveProgress(label, total, unit)
    try:
        yield bar
    finally:
        bar.close()


def summary(stage: str, counts: Counts, seconds: float) -> str:
    """Returns the one line a stage leaves behind.

    >>> summary("clean", Counts(n_in=10, n_out=7, dropped={"language": 2, "too_short": 1}), 1.25)
    'clean: 10 in, 7 out, 3 dropped (language 2, too_short 1), 1.2 s'
    """
    dropped = sum(counts.dropped.values())
    reasons = f" ({_by_size(counts.dropped)})" if dropped else ""
    flow = f"{counts.n_in} in, {counts.n_out} out, {dropped} dropped{reasons}"
    return f"{stage}: {flow}, {seconds:.1f} s"


def _by_size(dropped: Mapping[str, int]) -> str:
    ordered = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {n}" for reason, n in ordered)
