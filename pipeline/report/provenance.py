"""Where a run's results came from: source, parameters, versions, digests of what it left."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.store import manifest

# What decides bytes or numbers; the lock file has the rest.
PACKAGES = (
    "deepspeed",
    "dvc",
    "ftfy",
    "numpy",
    "py3langid",
    "pyarrow",
    "ray",
    "publicsuffixlist",
    "tokenizers",
    "torch",
    "trafilatura",
    "warcio",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A finished folder of shards."""

    path: str
    made_by: str
    n_shards: int
    n_bytes: int
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a reader needs to make the same results again."""

    commit: str
    is_changed: bool
    params_sha256: str
    params: str
    versions: tuple[tuple[str, str], ...]
    folders: tuple[Folder, ...]


def provenance(data: Path, params: Path) -> Provenance:
    """Returns where the results in a data folder came from.

    Args:
        data: Holds the folders of shards.
        params: The parameter file; its folder is the project's root.
    """
    content = params.read_bytes()
    commit, is_changed = _source(params.absolute().parent)
    return Provenance(
        commit=commit,
        is_changed=is_changed,
        params_sha256=hashlib.sha256(content).hexdigest(),
        params=content.decode(errors="replace"),
        versions=(("Python", platform.python_version()), *_versions(PACKAGES)),
        folders=tuple(_folder(path, data) for path in sorted(data.rglob(manifest.NAME))),
    )


def _versions(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields name and version of those packages that are installed."""
    for name in packages:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _source(root: Path) -> tuple[str, bool]:
    """Returns the commit (empty without one) and whether files that git knows differ from it.

    A repository around the project's folder (an unpacked archive inside one) is not its source.
    """
    is_top = _git(root, "rev-parse", "--show-toplevel") == str(root.resolve())
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD") if is_top else ""
    changed = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else ""
    return commit, bool(changed)


def _git(root: Path, *arguments: str) -> str:
    """Returns a git command's output; empty where git or a repository is absent."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _folder(path: Path, data: Path) -> Folder:
    told = json.loads(path.read_bytes())
    opened = manifest.load(path.parent, told["step"])
    return Folder(
        path=f"{data.name}/{path.parent.relative_to(data).as_posix()}",
        made_by=told["made_by"],
        n_shards=opened.n_shards,
        n_bytes=sum(info.n_bytes for info in opened.files.values()),
        root=opened.root,
    )
