"""Keyed draws: choices that look random and depend on a seed and names alone.

No generator is carried along, so adding a page changes nothing about the others.
"""

from collections.abc import Sequence
from typing import TypeVar

import xxhash

Item = TypeVar("Item")


def draw(seed: int, *names: str | int) -> int:
    """Returns 64 bits for a seed and names.

    >>> draw(1, "numpy", 3) == draw(1, "numpy", 3) != draw(2, "numpy", 3)
    True
    """
    return xxhash.xxh3_64_intdigest("\0".join(map(str, (seed, *names))).encode())


def pick(items: Sequence[Item], seed: int, *names: str | int) -> Item:
    """Returns one of several items.

    >>> pick("abc", 1, "x") in "abc"
    True
    """
    return items[draw(seed, *names) % len(items)]


def between(low: int, high: int, seed: int, *names: str | int) -> int:
    """Returns a whole number in low..high, both included.

    >>> 3 <= between(3, 5, 1, "x") <= 5
    True
    """
    return low + draw(seed, *names) % (high - low + 1)


def shuffled(items: Sequence[Item], seed: int, name: str) -> list[Item]:
    """Returns the items in a keyed order.

    >>> sorted(shuffled(range(5), 1, "x"))
    [0, 1, 2, 3, 4]
    """
    order = sorted(range(len(items)), key=lambda index: draw(seed, name, index))
    return [items[index] for index in order]
