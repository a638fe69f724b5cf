"""Variables of the environment that libraries insist on, for as long as they are read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def variables(**values: object) -> Iterator[None]:
    """Sets variables and puts back what stood there: a later run in this process finds no trace."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
