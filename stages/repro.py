"""Reproduce the graph, or the named stages, with one Ray for all of them.

    python -m stages.repro                                   here
    python -m stages.repro train                             up to one stage
    ray submit cluster.yaml stages/repro.py                  on the cluster that `ray up` started
    ray job submit -- python -m stages.repro                 the same, given on the head node

Arguments go to `dvc repro` as they are. Ends with the report's path and three figures.

`ray submit` copies this one file to the head node's home and runs it there, so it imports nothing
of the project: it finds the workspace (OUTBOUND_WORKSPACE, else the folder this file's project lies
in), goes there, and runs `dvc repro` inside `pipeline.engine.session`, which starts or joins Ray.
`ray job submit` outlives the terminal; it needs Ray's dashboard, which `make setup-cluster`
installs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

_QUIET = {"DVC_NO_ANALYTICS": "1"}
_DAMAGED = 9
_READ_LOCK = (
    "import sys\n"
    "from dvc.dvcfile import Lockfile\n"
    "from dvc.repo import Repo\n"
    "from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError\n"
    "try:\n"
    "    Lockfile(Repo(), 'dvc.lock').load()\n"
    "except (YAMLSyntaxError, YAMLValidationError):\n"
    f"    sys.exit({_DAMAGED})\n"
)
_FIGURES = (
    ("documents kept", "metrics/decontaminate.json", ("counts", "n_out")),
    ("validation bits per byte", "metrics/evaluate.json", ("heldout", "bits_per_byte")),
    ("last-word accuracy", "metrics/evaluate.json", ("heldout_lastword", "accuracy")),
)


def workspace() -> Path:
    """Returns the project's root folder.

    Raises:
        FileNotFoundError: If neither OUTBOUND_WORKSPACE nor this file's place is one.
    """
    beside = Path(__file__).resolve().parents[1]
    root = Path(os.environ.get("OUTBOUND_WORKSPACE", beside))
    if not (root / "dvc.yaml").is_file():
        raise FileNotFoundError(f"{root} holds no dvc.yaml; set OUTBOUND_WORKSPACE to the project")
    return root


def environment(root: Path) -> dict[str, str]:
    """Returns the environment in which the graph's commands run."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    joined = {**os.environ, **_QUIET, "PATH": programs, "PYTHONPATH": str(root)}
    if Path(__file__).resolve().parent.parent != root:  # copied to a head node by `ray submit`
        joined.setdefault("RAY_ADDRESS", "auto")
        joined.pop("OMP_NUM_THREADS", None)  # `ray submit` sets it to 1, which slows training down
    return joined


def match_source_control(root: Path) -> None:
    """Tells DVC whether there is a Git repository: an unpacked archive has none."""
    inside = subprocess.run(
        ["git", "rev-parse", "--is-inside-work-tree"], cwd=root, capture_output=True, check=False
    ).returncode
    local = root / ".dvc" / "config.local"
    if inside != 0:
        local.write_text("[core]\n    no_scm = true\n")
    elif local.is_file() and local.read_text() == "[core]\n    no_scm = true\n":
        local.unlink()


def figures(root: Path) -> list[str]:
    """Returns the closing lines: where the report is, and what came out."""
    lines = [f"report: {root / 'report' / 'index.html'}"]
    for name, file, keys in _FIGURES:
        value = json.loads((root / file).read_bytes())
        for key in keys:
            value = value[key]
        lines.append(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    return lines


def run(root: Path, arguments: list[str]) -> int:
    """Runs `dvc repro` inside one Ray and returns its exit code."""
    repro = [sys.executable, "-m", "dvc", "repro", *arguments]
    session = [sys.executable, "-m", "pipeline.engine.session", *repro]
    return subprocess.run(session, cwd=root, env=environment(root), check=False).returncode


def set_damaged_lock_aside(root: Path) -> bool:
    """Renames a dvc.lock that cannot be read, and returns whether there was one.

    DVC writes it in place, so kill -9 may cut it short. Without it every stage counts as changed;
    what has been run before comes from DVC's run cache and the shard store.
    """
    lock = root / "dvc.lock"
    read = [sys.executable, "-c", _READ_LOCK]
    told = subprocess.run(read, cwd=root, env=environment(root), capture_output=True, check=False)
    if told.returncode != _DAMAGED:
        return False
    lock.replace(lock.with_name("dvc.lock.damaged"))
    print(
        "dvc.lock was cut short, by a kill while DVC wrote it; it is made anew (the old one is "
        "dvc.lock.damaged)",
        file=sys.stderr,
    )
    return True


def remove_damaged_rwlock(root: Path) -> None:
    """Removes DVC's list of who reads and writes what, if a kill has cut it short."""
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(rwlock.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        rwlock.unlink()
        print(f"{rwlock} was cut short by a kill; removed", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Runs the graph and returns the exit code of `dvc repro`."""
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    root = workspace()
    match_source_control(root)
    remove_damaged_rwlock(root)
    code = run(root, arguments)
    if code not in (0, 130) and set_damaged_lock_aside(root):
        code = run(root, arguments)
    if code == 0 and not arguments:
        print("\n".join(figures(root)))
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"error: {error}")
