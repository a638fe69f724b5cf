"""Inputs that lie elsewhere, s3:// or https://: copied once into `.remote/`, read from there.

    s3://bucket/dumps ── list ──> RS_2017-11.zst (size, ETag) ── ranges ──> parts/RS_2017-11.zst
                                                                                │ whole, unchanged
                                  .remote/<address>/files/RS_2017-11.zst <── rename, task by task

Decisions:
- Files are copied whole before anything reads them: most are read twice, and the end of a packed
  one is checked first. So what follows sees a folder, and makes of it the bytes, fingerprints and
  messages that it makes of a local one. It costs the disk that the inputs take.
- A copy counts while size and ETag (else Last-Modified) are those of its source. What names
  neither is copied again in every run. What left the source leaves the folder.
- A broken transfer goes on where it was, in this run or the next one. An object that changed
  meanwhile is begun anew, never joined of two versions.
- Credentials come from where AWS's own tools look (environment, `~/.aws`, the machine's role), for
  https from `~/.netrc`. In an address they are refused: params.yaml and dvc.lock are committed.
  The query of an address is never shown.
"""

import errno
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
import fsspec

from pipeline.engine.progress import progress
from pipeline.engine.tasks import Engine
from pipeline.store import shards

STORE = Path(".remote")
N_TRIES = 5  # in a row that bring nothing

_STEP_BYTES = 8 << 20  # asked for at a time; at most so much of a broken transfer is lost
_QUERY = re.compile(r"\?[^\s'\")>]*")
_SECRET = re.compile(r"signature|credential|accesskey|token|^sig$|password|secret", re.IGNORECASE)
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"use_listings_cache": False},
    "https": {
        "headers": {"Accept-Encoding": "identity", "User-Agent": "outbound"},
        "client_kwargs": {
            "trust_env": True,  # ~/.netrc, proxies
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60),
        },
    },
}
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_REFUSED, _GONE = (401, 403), (404, 410)
_NO_CREDENTIALS = "NoCredentialsError"  # of botocore, which need not be installed
_TOO_MANY, _SERVER_ERROR = 429, 500

Result = TypeVar("Result")
Pause = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One object or file elsewhere.

    Attributes:
        address: Where it is.
        name: Its path below the address that was given.
        n_bytes: Its size, None where the server does not tell.
        mark: What names this version of it: ETag, else Last-Modified, else "".
    """

    address: str
    name: str
    n_bytes: int | None
    mark: str


def local(
    given: str,
    is_wanted: Callable[[str], bool],
    setting: str,
    allowed: str,
    engine: Engine,
    pause: Pause = time.sleep,
) -> Path:
    """Copies what an address holds, as far as it changed, and returns the folder of the copies.

    Args:
        given: `s3://bucket/prefix` or `s3://bucket/object`, or the `https://` address of one file.
        is_wanted: Judges a file's name.
        setting: The key of params.yaml that names it, for messages.
        allowed: The wanted names in words, for messages.
        engine: Where transfers run, one task each.
        pause: Waits for so many seconds before an address is tried again.

    Raises:
        ValueError: If the address holds a credential, or a name there is no path.
        FileNotFoundError: If there is nothing, or nothing that is wanted.
        OSError: If it is refused, or transfers break again and again.
    """
    _check(given, setting)
    sources = _listed(given, setting, pause)
    wanted = [s for s in sources if is_wanted(PurePosixPath(s.name).name)]
    if not wanted:
        raise FileNotFoundError(
            f"{setting} names {shown(given)}, which holds no file; expected {allowed}"
        )
    folder = STORE.absolute() / hashlib.sha256(given.encode()).hexdigest()[:12]
    missing = [source for source in wanted if not _is_there(source, folder)]
    missing.sort(key=lambda source: -(source.n_bytes or 0))
    _remove_others({source.name for source in wanted}, folder / "files")
    with progress("fetch", len(missing)) as bar:
        for _ in engine.map(partial(fetch, folder, pause=pause), missing):
            bar.update()
    return folder / "files"


def copy(address: str, folder: Path, max_bytes: int, pause: Pause = time.sleep) -> Path:
    """Copies the one file behind an address into a folder of its own, and returns its path.

    Args:
        address: `s3://bucket/object`, or an `https://` or `http://` one.
        folder: The address's own; a transfer that broke is there and goes on.
        max_bytes: A larger file is refused before it is copied, if the server tells its size.
        pause: Waits for so many seconds before an address is tried again.

    Raises:
        ValueError: If the file is larger than allowed.
        OSError: If it is not one file, is refused, or transfers break again and again.
    """
    sources = _listed(address, "the command", pause)
    if len(sources) != 1:
        raise FileNotFoundError(f"{shown(address)} is {len(sources)} files; expected one")
    (source,) = sources
    if source.n_bytes is not None and source.n_bytes > max_bytes:
        raise ValueError(
            f"{shown(address)} has {source.n_bytes:,} bytes; expected {max_bytes:,} at most"
        )
    if not _is_there(source, folder):
        fetch(folder, source, pause=pause)
    return folder / "files" / source.name


def shown(address: str) -> str:
    """Returns an address as messages may show it.

    >>> shown("https://a.test/x.zst?key=1")
    'https://a.test/x.zst?...'
    """
    return _QUERY.sub("?...", address)


def _check(given: str, setting: str) -> None:
    parts = urlsplit(given)
    secret = next((name for name, _ in parse_qsl(parts.query) if _SECRET.search(name)), None)
    if secret or "@" in parts.netloc:
        what = f"the parameter {secret}" if secret else "a user or password"
        raise ValueError(
            f"{setting} names {parts.scheme}://{parts.hostname}{parts.path} with {what}; "
            "remove it from params.yaml: ~/.netrc is the place for https, AWS's own for s3"
        )


# ── what is there ────────────────────────────────────────────────────────────────────────────────


def _listed(given: str, setting: str, pause: Pause) -> list[Source]:
    """Returns the files below an address, in the order of their names."""
    try:
        return _patiently(given, lambda: list(_list(given)), lambda: 0, pause)
    except ImportError as error:
        raise OSError(
            f"{setting} names {shown(given)}, which needs s3fs; `make setup-cluster` installs it"
        ) from error


def _list(given: str) -> Iterator[Source]:
    system = _system(given)
    if not given.startswith("s3:"):
        info = system.info(given)
        name = unquote(PurePosixPath(urlsplit(given).path).name) or "file"
        yield _source(given, name, info)
        return
    root = given.removeprefix("s3://").rstrip("/")
    for key, info in sorted(system.find(root, detail=True).items()):
        name = key.removeprefix(root).lstrip("/") or PurePosixPath(key).name
        if not key.endswith("/") and not any(p.startswith(".") for p in name.split("/")):
            yield _source(f"s3://{key}", name, info)


def _source(address: str, name: str, info: dict[str, Any]) -> Source:
    if {"", ".", ".."} & set(name.split("/")) or "\\" in name or "\0" in name:
        raise ValueError(f"{shown(address)} has a name that is no path; rename it")
    mark = info.get("ETag") or info.get("Last-Modified") or info.get("LastModified") or ""
    return Source(address=address, name=name, n_bytes=info.get("size"), mark=str(mark))


def _system(address: str) -> Any:
    scheme = address.partition("://")[0]
    options = _OPTIONS["s3" if scheme == "s3" else "https"]
    return fsspec.filesystem(scheme, **options)  # one of each kind for a process: it takes a while


def _is_there(source: Source, folder: Path) -> bool:
    path, mark = folder / "files" / source.name, folder / "marks" / source.name
    return bool(source.mark) and path.is_file() and _read(mark) == _mark(source)


def _mark(source: Source) -> str:
    return f"{source.n_bytes} {source.mark}"


def _read(mark: Path) -> str:
    return mark.read_text() if mark.is_file() else ""


def _remove_others(names: set[str], files: Path) -> None:
    """Removes copies of what is not there any more."""
    for path in sorted(files.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(files).as_posix() not in names:
            path.unlink()


# ── transfer ─────────────────────────────────────────────────────────────────────────────────────


def fetch(folder: Path, source: Source, *, pause: Pause = time.sleep) -> None:
    """Copies one file; goes on with what is there of the same version.

    Args:
        folder: The address's own; the copy is `files/<name>`.
        source: What to copy.
        pause: Waits for so many seconds.

    Raises:
        OSError: If it is refused, changes all the time, or breaks `N_TRIES` times without a byte.
    """
    path, part, mark = (folder / kind / source.name for kind in ("files", "parts", "marks"))
    for parent in (path.parent, part.parent):
        parent.mkdir(parents=True, exist_ok=True)
    if not source.mark or _read(mark) != _mark(source):
        part.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    shards.write_atomic(mark, _mark(source).encode())
    _patiently(source.address, lambda: _transfer(source, part), lambda: _size(part), pause)
    shards.sync(part)
    part.rename(path)
    shards.sync(path.parent)


def _transfer(source: Source, part: Path) -> None:
    """Reads from where a part ends to the end.

    Raises:
        _ChangedError: If it is not what was listed; the part is gone then.
        OSError: If less or more came than there is.
    """
    system = _system(source.address)
    start = _size(part) if source.n_bytes is not None else 0
    if start == 0 or start != source.n_bytes:
        try:
            _copy(system, source, part, start)
        except ValueError:  # a server without ranges
            _copy(system, source, part, 0, block_size=0)
    if _source(source.address, source.name, system.info(source.address)).mark != source.mark:
        part.unlink()
        raise _ChangedError("it changed while it was read; run the same command again")
    if source.n_bytes is not None and (n_bytes := _size(part)) != source.n_bytes:
        if n_bytes > source.n_bytes:
            part.unlink()
        raise OSError(f"{n_bytes} of {source.n_bytes} bytes came")


def _copy(
    system: Any, source: Source, part: Path, start: int, block_size: int = _STEP_BYTES
) -> None:
    streamed = {"cache_type": "none"} if block_size else {}
    with (
        system.open(source.address, "rb", block_size=block_size, **streamed) as stream,
        part.open("r+b" if start else "wb") as file,
    ):
        file.seek(start)
        file.truncate()
        if start:
            stream.seek(start)
        while piece := stream.read(_STEP_BYTES):
            file.write(piece)
            file.flush()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


class _ChangedError(PermissionError):
    """Another version than the one that was listed; the next run lists anew."""


def _patiently(
    address: str, call: Callable[[], Result], progress: Callable[[], int], pause: Pause
) -> Result:
    """Returns what a call returns; tries again after errors that may pass.

    Args:
        address: What it asks, for messages.
        call: What to do.
        progress: Tells how much of it is done; more than before a try sets the count back.
        pause: Waits for so many seconds.

    Raises:
        OSError: If it is refused, or fails `N_TRIES` times in a row.
    """
    failures = 0
    while True:
        before = progress()
        try:
            return call()
        except (ImportError, ValueError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            failures = 0 if progress() > before else failures + 1
            if failures == N_TRIES or _is_permanent(error):
                raise _told(address, error) from error
        pause(2.0**failures if failures else 0.0)


def _root(error: Exception) -> Exception:
    """Returns why fsspec says that something is not there; it says so of a dead server, too."""
    cause = error.__cause__
    is_hidden = isinstance(error, FileNotFoundError) and isinstance(cause, aiohttp.ClientError)
    return cause if is_hidden and isinstance(cause, Exception) else error


def _status(error: Exception) -> int:
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0


def _is_permanent(error: Exception) -> bool:
    root = _root(error)
    if status := _status(root):
        return status < _SERVER_ERROR and status != _TOO_MANY
    return isinstance(root, _PERMANENT) or type(root).__name__ == _NO_CREDENTIALS


def _told(address: str, error: Exception) -> OSError:
    """Returns an error that says what to do about another one, without anything secret in it."""
    root = _root(error)
    why = f"{shown(address)}: {_QUERY.sub('?...', str(root)) or type(root).__name__}"
    if isinstance(root, FileNotFoundError) or _status(root) in _GONE:
        return FileNotFoundError(f"{shown(address)} does not exist; mend the address")
    is_refused = isinstance(root, PermissionError) or type(root).__name__ == _NO_CREDENTIALS
    if isinstance(root, _ChangedError):
        return OSError(why)
    if is_refused or _status(root) in _REFUSED:
        where = "AWS_PROFILE or AWS_ACCESS_KEY_ID, ~/.aws, or the machine's role"
        if not address.startswith("s3:"):
            where = "~/.netrc"
        return PermissionError(f"{why}; give credentials by {where}")
    return OSError(f"{why}; the same command continues")
