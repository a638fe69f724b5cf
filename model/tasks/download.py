"""Fetches published evaluation sets into a mirror folder: on request, resumed, checked.

    address ── `remote`: ranges ──> mirror/.downloads/<address>/ ── whole ──> file or archive
                                                                              │ the named files only
    mirror/<set>/<file>  <── rename ── SHA-256 as registered, or told ────────┘

Decisions:
- Nothing of the graph calls this. A user names sets; a set that others may not pass on, or that is
  not published as a file, is refused with its address.
- A broken transfer goes on where it was, in this run or the next one, as every input's that lies
  elsewhere (`pipeline.engine.remote`).
- Known digests are those of the files that are read, not of archives. A file with another digest is
  not kept. Where none is known the digest is reported; `evalsets` refuses the file all the same
  until it is accepted or registered.
- Archives are never unpacked as a whole: members are found by the last part of their names and
  copied, so that no path in an archive decides where anything is written.
"""

import hashlib
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from model.tasks.registry import BROUGHT, SETS, EvalSet
from pipeline.engine import elsewhere, remote
from pipeline.store import shards

DOWNLOADS = ".downloads"
MAX_BYTES = 8 << 30  # of a transfer, and of what is taken out of an archive; the largest has 1.8 GB

_STEP_BYTES = 64 << 10
_TAR = (".tgz", ".tar.gz", ".tar")
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that is in its place.

    Attributes:
        known: Its set.
        path: Where it is.
        sha256: Of its bytes.
        is_published: Whether that is the registered digest; None where none is known.
    """

    known: EvalSet
    path: Path
    sha256: str
    is_published: bool | None


def chosen(names: Sequence[str]) -> list[EvalSet]:
    """Returns known sets that can be fetched.

    Raises:
        ValueError: If a name is not known, or its files must be brought.
    """
    by_name = {known.name: known for known in SETS}
    for name in names:
        if name not in by_name:
            raise ValueError(f"{name} is no known set; expected some of {', '.join(by_name)}")
        if by_name[name].fetch == BROUGHT:
            raise ValueError(
                f"{name} cannot be fetched ({by_name[name].licence}); "
                f"bring {by_name[name].file} from {by_name[name].url}"
            )
    return [by_name[name] for name in names]


def fetch(
    sets: Sequence[EvalSet], mirror: Path, url: str | None = None, pause: remote.Pause = time.sleep
) -> Iterator[Fetched]:
    """Fetches what is missing of some sets; an archive that several need is fetched once.

    Args:
        sets: What to fetch.
        mirror: Folder to fill, laid out as in `registry`.
        url: Another address of the same file or archive; None for the registered ones.
        pause: Waits for so many seconds.

    Raises:
        ValueError: If a file is not the published one, or not in its archive.
        OSError: If the server cannot be reached, or its transfers break again and again.
    """
    for address in dict.fromkeys(url or known.fetch for known in sets):
        mine = [known for known in sets if (url or known.fetch) == address]
        missing = [known for known in mine if not all(_there(known, mirror))]
        for known in mine:
            if known not in missing:
                yield from (_described(known, mirror, name) for name, _ in known.files)
        if missing:
            folder = mirror / DOWNLOADS / hashlib.sha256(address.encode()).hexdigest()[:12]
            whole = _whole(address, folder, pause)
            try:
                for known in missing:
                    yield from _placed(known, whole, mirror)
            except ValueError:  # another file than the one that was meant
                shutil.rmtree(folder)
                raise
            shutil.rmtree(folder)


def _there(known: EvalSet, mirror: Path) -> Iterator[bool]:
    """Yields for each file whether it is in its place, with its digest where that is known."""
    for name, digest in known.files:
        path = mirror / name
        yield path.is_file() and digest in ("", shards.sha256_file(path))


def _described(known: EvalSet, mirror: Path, name: str) -> Fetched:
    (expected,) = (digest for file, digest in known.files if file == name)
    found = shards.sha256_file(mirror / name)
    is_published = found == expected if expected else None
    return Fetched(known=known, path=mirror / name, sha256=found, is_published=is_published)


def _whole(address: str, folder: Path, pause: remote.Pause) -> Path:
    """Returns a copy of an address in a folder; goes on with what is there of it."""
    if not elsewhere.is_remote(address):
        raise ValueError(f"{address} is no address to fetch; expected https, http or s3")
    try:
        return remote.copy(address, folder, MAX_BYTES, pause)
    except OSError as error:
        if error.errno is not None:
            raise  # the disk, not the address
        raise OSError(f"{error}, or try another --url") from error


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def _placed(known: EvalSet, whole: Path, mirror: Path) -> Iterator[Fetched]:
    """Moves a set's files to their places, those whose digest is right or not known."""
    for name, expected in known.files:
        path = mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        try:
            with _opened(whole, path.name) as source, temporary.open("wb") as file:
                _copy(source, file, MAX_BYTES, f"{path.name} in {whole.name}")
            found = shards.sha256_file(temporary)
            if expected and found != expected:
                raise ValueError(f"{path.name} has SHA-256 {found}; expected {expected}")
            shards.sync(temporary)
            temporary.replace(path)
        except (*_BROKEN, ValueError) as error:
            raise ValueError(
                f"{known.name}: what was fetched is not kept: {error}; "
                "try again, or another address with --url"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        yield _described(known, mirror, name)


@contextmanager
def _opened(whole: Path, name: str) -> Iterator[IO[bytes]]:
    """Yields the bytes of a file, or of the one member of an archive that has its name."""
    if whole.suffix == ".zip":
        with zipfile.ZipFile(whole) as archive:
            names = [each.filename for each in archive.infolist() if not each.is_dir()]
            with archive.open(_only(names, name, whole)) as source:
                yield source
    elif whole.name.endswith(_TAR):
        with tarfile.open(whole) as packed:
            members = [each.name for each in packed.getmembers() if each.isfile()]
            extracted = packed.extractfile(_only(members, name, whole))
            assert extracted is not None  # it is a file
            with extracted as source:
                yield source
    else:
        with whole.open("rb") as source:
            yield source


def _only(members: Sequence[str], name: str, whole: Path) -> str:
    """Returns the member with a name, whatever folder it is in."""
    found = [member for member in members if PurePosixPath(member).name == name]
    if len(found) != 1:
        raise ValueError(f"{whole} holds {len(found)} files named {name}; expected one")
    return found[0]


def _copy(source: IO[bytes], target: IO[bytes], max_bytes: int, where: str) -> int:
    """Copies all bytes and returns how many."""
    n_bytes = 0
    while chunk := source.read(_STEP_BYTES):
        n_bytes += len(chunk)
        if n_bytes > max_bytes:
            raise ValueError(
                f"{where} is larger than the allowed {MAX_BYTES:,} bytes; try another --url"
            )
        target.write(chunk)
    return n_bytes


def clear(mirror: Path) -> None:
    """Removes the folder of transfers when nothing is left in it that could go on."""
    folder = mirror / DOWNLOADS
    if folder.is_dir() and not any(folder.iterdir()):
        shutil.rmtree(folder)


def lines(found: Fetched) -> list[str]:
    """Returns what a user is told of a file."""
    verdict = {
        True: "as published",
        False: "NOT the published bytes",
        None: "digest not known here: compare it, then evalsets.accept (docs/evalsets.md)",
    }[found.is_published]
    return [
        f"{found.known.name}: {found.path}",
        f"  sha256 {found.sha256}  {verdict}",
        f"  licence: {found.known.licence}",
    ]
