"""The engine of this process: Ray, or this process alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.engine.tasks import Engine, InlineEngine


@contextmanager
def engine() -> Iterator[Engine]:
    """Opens the engine of this process: Ray, or this process alone with OUTBOUND_ENGINE=inline.

    OUTBOUND_WORKERS sets the number of worker processes of a Ray started here (default: all CPUs).

    Raises:
        ShardError, ConnectionError: As `cluster.connect` does.
    """
    if os.environ.get("OUTBOUND_ENGINE") == "inline":
        yield InlineEngine()
        return
    from pipeline.engine import cluster  # Ray takes a second to import

    with cluster.connect():
        yield cluster.RayEngine()
