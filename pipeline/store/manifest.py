"""A folder of shards: written last, verified before use.

A folder without `manifest.json` is unfinished. `load` looks at presence and sizes of all files,
which costs one `stat` each; the SHA-256 of each file is checked by the task that reads it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.store import shards
from pipeline.store.errors import ManifestError
from pipeline.store.shards import Counts, FileInfo, Shard

NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished folder holds."""

    folder: Path
    step: str
    n_shards: int
    counts: Counts
    tally: dict[str, int]
    files: dict[str, FileInfo]
    root: str

    def paths(self, subfolder: str = "") -> tuple[Path, ...]:
        """Returns the data files of one subfolder (`train`, `decisions`, or none) by shard."""
        prefix = f"{subfolder}/part-" if subfolder else "part-"
        names = sorted(n for n in self.files if n.startswith(prefix) and not n.endswith(".json"))
        return tuple(self.folder / name for name in names)


def write(
    folder: Path,
    step: str,
    files: Mapping[str, FileInfo],
    counts: Counts,
    tally: Mapping[str, int],
    n_shards: int,
) -> Manifest:
    """Writes the manifest of a folder whose files are all in place.

    Args:
        folder: The folder.
        step: The step that made it; `dvc repro <step>` mends it.
        files: Every file that belongs to it, by its path in the folder.
        counts: Documents of all shards together.
        tally: The step's own sums.
        n_shards: How many shards it has.

    Raises:
        ShardError: If the counts do not add up.
    """
    counts.check(f"{folder.name} as a whole")
    root = hashlib.sha256()
    for name in sorted(files):
        root.update(f"{name} {files[name].sha256}\n".encode())
    manifest = Manifest(
        folder=folder,
        step=step,
        n_shards=n_shards,
        counts=counts,
        tally=dict(sorted(tally.items())),
        files={name: files[name] for name in sorted(files)},
        root=root.hexdigest(),
    )
    shards.write_atomic(folder / NAME, shards.to_json(_plain(manifest)))
    return manifest


def link_shards(folder: Path, step: str, finished: Sequence[Shard]) -> Manifest:
    """Links finished shards into an output folder, sidecars beside them, and seals it.

    Args:
        folder: The output folder; DVC has emptied it, or an older run of the same step filled it.
        step: The step's name.
        finished: The shards in index order.
    """
    (folder / NAME).unlink(missing_ok=True)
    files: dict[str, FileInfo] = {}
    for index, shard in enumerate(finished):
        for name, info in shard.files.items():
            target = shards.linked_name(name, index)
            shards.link(shard.path(name), folder / target)
            files[target] = info
        sidecar = shards.to_json(shard.sidecar(index))
        target = f"part-{index:05d}.json"
        shards.write_atomic(folder / target, sidecar)
        files[target] = FileInfo(
            n_bytes=len(sidecar), sha256=hashlib.sha256(sidecar).hexdigest(), rows=0
        )
    _remove_others(folder, files)
    counts, tally = total(finished)
    return write(folder, step, files, counts, tally, len(finished))


def total(finished: Sequence[Shard]) -> tuple[Counts, dict[str, int]]:
    """Returns the sums of counts and tallies over shards."""
    dropped: Counter[str] = Counter()
    tally: Counter[str] = Counter()
    for shard in finished:
        dropped.update(shard.counts.dropped)
        tally.update(shard.tally)
    counts = Counts(
        n_in=sum(s.counts.n_in for s in finished),
        n_out=sum(s.counts.n_out for s in finished),
        dropped=dict(sorted(dropped.items())),
    )
    return counts, dict(tally)


def load(folder: Path, step: str) -> Manifest:
    """Opens a folder for reading.

    Args:
        folder: The folder.
        step: The step that makes it, named in the remedy.

    Raises:
        ManifestError: If it is missing, unfinished, of another format, or a file is missing or has
            another size than it was written with.
    """
    remedy = f"run `dvc repro {step}`"
    if not (folder / NAME).is_file():
        state = "is unfinished (no manifest.json)" if folder.is_dir() else "does not exist"
        raise ManifestError(f"{folder} {state}; {remedy}")
    try:
        manifest = _parse(folder, json.loads((folder / NAME).read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{folder / NAME} cannot be read ({error}); {remedy}") from error
    for name, info in manifest.files.items():
        _check_size(folder / name, info, f"remove {folder} and {remedy}")
    return manifest


def _check_size(path: Path, info: FileInfo, remedy: str) -> None:
    size = path.stat().st_size if path.is_file() else -1
    if size != info.n_bytes:
        got = "is missing" if size < 0 else f"has {size} bytes"
        raise ManifestError(f"{path} {got}; {info.n_bytes} were written; {remedy}")


def _parse(folder: Path, told: dict[str, Any]) -> Manifest:
    if told["format"] != shards.FORMAT_VERSION:
        raise ValueError(f"format {told['format']}; expected {shards.FORMAT_VERSION}")
    return Manifest(
        folder=folder,
        step=told["step"],
        n_shards=told["n_shards"],
        counts=Counts(**told["counts"]),
        tally=told["tally"],
        files={name: FileInfo(**info) for name, info in told["files"].items()},
        root=told["root"],
    )


def _plain(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": shards.FORMAT_VERSION,
        "step": manifest.step,
        "made_by": f"dvc repro {manifest.step}",
        "n_shards": manifest.n_shards,
        "counts": shards.counts_json(manifest.counts),
        "tally": manifest.tally,
        "files": {name: shards.info_json(info) for name, info in manifest.files.items()},
        "root": manifest.root,
    }


def _remove_others(folder: Path, files: Mapping[str, FileInfo]) -> None:
    """Removes what an earlier, different run left in the folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in files:
            path.unlink()
