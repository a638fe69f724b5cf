"""Files that a user names in params.yaml: folders and files, in an order that nothing else changes.

A folder is searched with all its subfolders; hidden files and folders are passed over. The order is
that of the list, then of the paths within a folder. A file that is reached twice is taken once.
What an address (s3://, https://) holds is copied first and taken as a folder.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pipeline.engine import elsewhere
from pipeline.engine.tasks import Engine


class Named(NamedTuple):
    """A file and its name: the path below the folder that was given."""

    path: Path
    name: str


def find(
    inputs: Iterable[str],
    is_wanted: Callable[[str], bool],
    setting: str,
    allowed: str,
    engine: Engine,
) -> list[Named]:
    """Returns the wanted files among folders and files.

    Args:
        inputs: Paths, absolute or from the project's root, and addresses.
        is_wanted: Judges a file's name in lower case.
        setting: The key of params.yaml, for messages.
        allowed: The wanted names in words, for messages.
        engine: Where addresses are copied from.

    Raises:
        FileNotFoundError: If a path does not exist, or a folder holds no wanted file.
        ValueError: If a single file is not a wanted one.
        OSError: If an address cannot be read; see `remote.local`.
    """
    found: dict[Path, Named] = {}
    for given in inputs:
        place = elsewhere.place(
            given, lambda name: is_wanted(name.lower()), setting, allowed, engine
        )
        for each in _below(place, is_wanted, setting, allowed):
            found.setdefault(each.path.resolve(), each)
    return list(found.values())


def _below(
    given: Path, is_wanted: Callable[[str], bool], setting: str, allowed: str
) -> list[Named]:
    if given.is_file():
        if not is_wanted(given.name.lower()):
            raise ValueError(f"{setting} names {given}; expected {allowed}")
        return [Named(given, given.name)]
    if not given.is_dir():
        raise FileNotFoundError(f"{setting} names {given}, which does not exist; mend params.yaml")
    names = sorted(path.relative_to(given).as_posix() for path in given.rglob("*"))
    wanted = [
        Named(given / name, name)
        for name in names
        if not any(part.startswith(".") for part in name.split("/"))
        if is_wanted(name.rpartition("/")[2].lower()) and (given / name).is_file()
    ]
    if not wanted:
        raise FileNotFoundError(f"{setting} names {given}, which holds no file; expected {allowed}")
    return wanted
