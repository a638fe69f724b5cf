"""The whole graph in a copy of the project, as somebody who unpacked an archive runs it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT

_PARTS = [
    *("pipeline", "crawl", "model", "stages", "presets"),
    *("verify", "requirements", "dvc.yaml", "params.yaml", "removal.txt", "cluster.yaml"),
    *(".dvcignore", ".dvc/config"),
]


class Project:
    """A copy of the project in its own folder, and how to run its commands there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in _PARTS:
            source, target = ROOT / part, root / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def environment(self, **more: str) -> dict[str, str]:
        # Ray's token of this session stays: processes that join its cluster need it.
        kept = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "OUTBOUND_WORKERS")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        return {**kept, "PATH": programs, "PYTHONPATH": str(self.root), **more}

    def run(self, command: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the project's root and returns what it printed."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def python(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, "-m", *arguments], **more)

    def kill_at(self, stage: str, line: str) -> None:
        """Starts a stage and kills it, and all that it started, once it says such a line."""
        with subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=self.root,
            env=self.environment(OUTBOUND_ENGINE="inline"),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stderr is not None
            seen = any(told.startswith(line) for told in process.stderr)
            os.killpg(process.pid, signal.SIGKILL)
        assert seen, line

    def clone(self, root: Path) -> "Project":
        """Copies outputs and shard store too: these by hard links, what is edited in place not."""

        def copy(source: str, target: str) -> None:
            folder = Path(source).parent
            is_edited = folder in (self.root, self.root / ".dvc", self.root / ".dvc" / "tmp")
            (shutil.copy2 if is_edited else os.link)(source, target)

        shutil.copytree(self.root, root, copy_function=copy)
        copied = object.__new__(Project)
        copied.root = root
        return copied


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny graph, run to its end without network from a path with blanks and an umlaut."""
    project = Project(tmp_path_factory.mktemp("an archive, entpackt für alle"))
    configured = project.python("stages.configure", "size=tiny")
    assert configured.returncode == 0, configured.stderr
    repro = [sys.executable, "-m", "stages.repro"]
    done = project.run([*without_network(), *repro], OUTBOUND_WORKERS="2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    (project.root / "stdout.txt").write_text(done.stdout)
    (project.root / "stderr.txt").write_text(done.stderr)
    return project


_LOOPBACK_UP = (
    "import fcntl, os, socket, struct, sys\n"
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x49))\n"  # SIOCSIFFLAGS: up, running
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


def without_network() -> list[str]:
    """Returns a prefix that leaves a command loopback only; empty where that cannot be had."""
    prefix = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare"):
        return []
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        return []
    return [*prefix, sys.executable, "-c", _LOOPBACK_UP]
