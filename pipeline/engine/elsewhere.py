"""Where an input lies: on this file system, or behind an address."""

from collections.abc import Callable
from pathlib import Path

from pipeline.engine.tasks import Engine

SCHEMES = ("s3", "https", "http")


def is_remote(given: str) -> bool:
    """Returns whether an input is an address instead of a path.

    >>> [is_remote(given) for given in ("s3://b/dumps", "https://a.test/x.warc.gz", "data/dump")]
    [True, True, False]
    """
    return given.partition("://")[0] in SCHEMES


def place(
    given: str, is_wanted: Callable[[str], bool], setting: str, allowed: str, engine: Engine
) -> Path:
    """Returns the path of an input; what an address holds is copied first, as `remote.local` says.

    Args:
        given: A path, `s3://bucket/prefix`, `s3://bucket/object`, or the `https://` address of one
            file.
        is_wanted: Judges a file's name behind an address.
        setting: The key of params.yaml that names it, for messages.
        allowed: The wanted names in words, for messages.
        engine: Where copies are made, a task each.

    Raises:
        ValueError: If an address holds a credential.
        OSError: If there is nothing, it is refused, or transfers break again and again.
    """
    if not is_remote(given):
        return Path(given)
    from pipeline.engine import remote  # what it needs takes a quarter of a second to import

    return remote.local(given, is_wanted, setting, allowed, engine)
