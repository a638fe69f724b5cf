"""What a step may ask of an engine, and the engine that runs everything in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs one function over many items."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yields (index of the item, its result) as tasks complete, in any order.

        Args:
            function: A module-level function or a partial of one; it runs in another process.
            items: Small, picklable descriptions of work. Items early in the list start first.
        """
        ...


class InlineEngine:
    """Runs tasks one after the other in this process: for tests and for debuggers."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yields (index, result) in order."""
        for index, item in enumerate(items):
            yield index, function(item)
