"""Re-runs a share of the shards of each data stage and compares their bytes with what is recorded.

    .shards/<step>/<fingerprint>/  ──hard links──>  tmp-verify/.shards/   all but the chosen ones
    data/*, params.yaml, code      ──symlinks────>  tmp-verify/           all but one stage's output
                                                        │
             python -m stages.<stage>  in tmp-verify/ ──┘  finds all shards but the chosen ones,
                                                           and makes those anew

Decisions:
- The stage's own command runs in a workspace of links: nothing here knows what a stage reads or
  how, nothing of the real workspace is written, and its inputs' digests are checked as always.
- Which shards are chosen follows from seed, step and fingerprint; at least one of every step.
- A shard is compared with the one in the store, an output besides with the files in `data/`, whose
  bytes are read again. What is not in the store any more is made anew as well.
- A stage whose code, settings or libraries changed since cannot be compared: that is said, and it
  is a failure.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.engine.shardmap import STORE
from pipeline.engine.workspace import linked, run_stage
from pipeline.store import manifest, shards
from pipeline.store.config import require
from pipeline.store.errors import ShardError
from pipeline.store.manifest import Manifest

_N_NAMED = 10  # differences in the message


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Section `verify` of params.yaml.

    Attributes:
        share: Of the shards of each step.
        seed: Chooses which.
    """

    share: float
    seed: int

    def __post_init__(self) -> None:
        require("share", self.share, 0 < self.share <= 1, "0 < x <= 1")


def run(
    root: Path, outputs: Mapping[str, Sequence[str]], config: Config
) -> dict[str, dict[str, int]]:
    """Verifies stages one after the other; returns `n_checked` and `n_equal` of each.

    Args:
        root: The workspace.
        outputs: The folders under `data/` that each stage fills, by stage.
        config: Which shards.

    Raises:
        ManifestError: If an output is missing or unfinished.
        ShardError: If anything differs, or a stage was changed since; the message names it.
    """
    figures, wrong = {}, []
    with linked(root, "verify", choose=partial(_unchosen, config=config)) as scratch:
        for stage, folders in outputs.items():
            recorded = [manifest.load(root / "data" / folder, stage) for folder in folders]
            checked = _verify(stage, recorded, scratch)
            n_equal = sum(not told for told in checked.values())
            figures[stage] = {"n_checked": len(checked), "n_equal": n_equal}
            wrong += [told for told in checked.values() if told]
            sys.stderr.write(f"{stage}: {n_equal} of {len(checked)} shards equal\n")
    if wrong:
        more = f"; and {len(wrong) - _N_NAMED} more" if len(wrong) > _N_NAMED else ""
        raise ShardError(
            f"verify: {'; '.join(wrong[:_N_NAMED])}{more}; run `dvc repro`, and where the code is "
            "the same, look at what else differs: packages, versions, machine"
        )
    return figures


def _unchosen(found: list[Path], config: Config) -> list[Path]:
    """Returns the finished shards of one step that are not made anew."""
    draws = sorted((_draw(config.seed, path.parent.name, path.name), path) for path in found)
    n_chosen = sum(draw < config.share for draw, _ in draws)
    return [path for _, path in draws[max(1, n_chosen) :]]


def _draw(seed: int, step: str, fingerprint: str) -> float:
    """Returns a number in [0, 1) that these three decide."""
    digest = hashlib.sha256(f"verify {seed} {step} {fingerprint}".encode()).digest()
    return int.from_bytes(digest[:7]) / (1 << 56)


def _verify(stage: str, recorded: Sequence[Manifest], scratch: Path) -> dict[str, str]:
    """Runs one stage; returns what is wrong, "" if nothing, with each shard that was made anew."""
    outputs = [scratch / "data" / told.folder.name for told in recorded]
    for output in outputs:
        output.unlink()
    there = _shards_in(scratch)
    run_stage(stage, scratch, "verify")
    anew = _shards_in(scratch) - there
    checked: dict[str, str] = {}
    for told, output in zip(recorded, outputs, strict=True):
        checked |= _compare_outputs(told, manifest.load(output, stage), anew)
        shutil.rmtree(output)
        output.symlink_to(told.folder.absolute())
    checked |= _compare_stores(recorded[0].folder.parent.parent, scratch, anew, checked)
    return checked


def _compare_stores(
    root: Path, scratch: Path, anew: set[str], checked: Mapping[str, str]
) -> dict[str, str]:
    """Returns what is wrong with each shard made anew that the real store has too."""
    found = {}
    for name in sorted(anew):
        before = shards.load(root / STORE / name)
        if before is not None and before.sidecar() != _sidecar(scratch / STORE / name):
            found[name] = f"{STORE / name} is not what is made of the same inputs"
        elif before is not None and name not in checked:
            found[name] = ""
    return found


def _shards_in(scratch: Path) -> set[str]:
    """Returns `<step>/<fingerprint>` of all finished shards in the workspace's store."""
    store = scratch / STORE
    return {
        path.parent.relative_to(store).as_posix() for path in store.glob(f"*/*/{shards.SIDECAR}")
    }


def _sidecar(shard: Path) -> object:
    return json.loads((shard / shards.SIDECAR).read_bytes())


def _compare_outputs(recorded: Manifest, again: Manifest, anew: set[str]) -> dict[str, str]:
    """Returns what is wrong with each output shard that was made anew, or that is another one."""
    checked = {}
    for index in range(max(recorded.n_shards, again.n_shards)):
        name = f"part-{index:05d}.json"
        marks = [_fingerprint(each, name) for each in (recorded, again)]
        key = f"{recorded.step}/{marks[1]}"
        if marks[0] != marks[1]:
            checked[key] = (
                f"{recorded.folder / name}: made from other inputs, code, settings or libraries "
                f"than are here now; run `dvc repro {recorded.step}`"
            )
        elif key in anew:
            checked[key] = _differing_files(recorded, again, f"part-{index:05d}.")
    return checked


def _fingerprint(told: Manifest, sidecar: str) -> str:
    if sidecar not in told.files:
        return ""
    return str(json.loads((told.folder / sidecar).read_bytes())["fingerprint"])


def _differing_files(recorded: Manifest, again: Manifest, prefix: str) -> str:
    """Returns what is wrong with the files of one shard in an output folder."""
    mine = {
        name for name in {**recorded.files, **again.files} if Path(name).name.startswith(prefix)
    }
    wrong = []
    for name in sorted(mine):
        told, made = recorded.files.get(name), again.files.get(name)
        if told is None or made is None or told.sha256 != made.sha256:
            wrong.append(f"{recorded.folder / name} is not what {recorded.step} makes")
        elif shards.sha256_file(recorded.folder / name) != told.sha256:
            wrong.append(f"{recorded.folder / name} has other bytes than were written")
    return ", ".join(wrong)
