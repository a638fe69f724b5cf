"""pyarrow without pandas: its first array would import it, 0.4 s in each process of the graph.

pandas is installed because `ray.train` imports it. Nothing in this project makes or takes its
objects; who imports it all the same can, only pyarrow's own conversions to it are gone.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec

import pyarrow as pa

_NAME = "pandas"


class _Absent:
    """Finds no pandas."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Is asked first; None lets the others look."""
        if name == _NAME:
            raise ModuleNotFoundError(f"no {name} here", name=name)
        return None


@contextmanager
def without_pandas() -> Iterator[None]:
    """Lets libraries that can do without pandas be imported without it."""
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


with without_pandas():
    pa.array([0])  # pyarrow looks once
