"""A cluster that `ray up` starts from `deploy/on-prem.yaml`, as its comments tell a user to."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.engine.identity import ROOT
from pipeline.store import shards
from tests.cluster.machines import Machine, Network, number_inside, title, wait_until
from tests.e2e.conftest import Project

HEAD, WORKER, USER, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.10", "192.0.2.3"
STEP = "extract"  # the step that faults are tried on
OUTPUT = "data/pages"

_ALIVE = (
    'import ray; ray.init("auto", log_to_driver=False); '
    'print("alive", *sorted(n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"]))'
)


class Run:
    """A `ray submit` under way."""

    def __init__(self, machine: Machine, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                machine.command(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    def told(self) -> str:
        """Returns what it has said so far."""
        return self._log.read_text(errors="replace")

    def is_under_way(self) -> None:
        """Raises if it has ended."""
        assert self.process.poll() is None, self.told()

    def end(self) -> int:
        """Waits for its end and returns its exit code."""
        return self.process.wait(timeout=600)


class Cluster:
    """The user's machine, the cluster's, and the commands a user gives."""

    def __init__(self, network: Network, shared: Path) -> None:
        self.network, self.shared = network, shared
        self.project = workspace(shared / "project")
        self.store = self.project.root / ".shards" / STEP
        self.user = Machine(network, "user", USER, None)
        self.head = Machine(network, "head", HEAD, shared)
        self.worker = Machine(network, "worker", WORKER, shared)
        self.file = self.write_file("on-prem.yaml", HEAD, WORKER)
        self._n_runs = 0

    def write_file(self, name: str, head: str, worker: str) -> Path:
        """Writes the cluster file with what a user puts in: addresses and a key."""
        told = (ROOT / "deploy" / "on-prem.yaml").read_text()
        for before, after in {
            "head_ip: 192.0.2.1 ": f"head_ip: {head} ",
            "worker_ips: [192.0.2.2, 192.0.2.3]": f"worker_ips: [{worker}]",
            "ssh_user: outbound": f"ssh_user: outbound\n  ssh_private_key: {self.network.key}",
        }.items():
            assert told.count(before) == 1, before
            told = told.replace(before, after)
        file = self.network.folder / name
        file.write_text(told)
        return file

    def ray(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `ray COMMAND on-prem.yaml ...` on the user's machine."""
        return self.user.run(["ray", command, str(self.file), *arguments])

    def submit(self, *arguments: str) -> Run:
        """Starts the graph as the README says."""
        return self._start("submit", str(ROOT / "stages" / "repro.py"), "--", *arguments)

    def execute(self, command: str) -> Run:
        """Starts a command on the head."""
        return self._start("exec", command)

    def _start(self, command: str, *arguments: str) -> Run:
        self._n_runs += 1
        log = self.network.folder / f"run-{self._n_runs}.log"
        return Run(self.user, ["ray", command, str(self.file), *arguments], log)

    def alive(self) -> list[str]:
        """Returns the addresses of the nodes that Ray has."""
        told = self.ray("exec", f"python -c '{_ALIVE}'").stdout
        return next((x.split()[1:] for x in told.splitlines() if x.startswith("alive")), [])

    def wait_for_both(self) -> None:
        """Waits until Ray has head and worker, and no other."""
        wait_until(lambda: self.alive() == [HEAD, WORKER], limit_s=300)

    def extract_anew(self) -> Run:
        """Starts one step with nothing of it finished."""
        shutil.rmtree(self.store)
        return self.submit("--force", "--single-item", STEP)

    def finished_shards(self) -> int:
        """Returns how many shards of the step are in the store."""
        return sum((folder / shards.SIDECAR).is_file() for folder in self.store.glob("[!t]*"))

    def hold(self, machine: Machine, run: Run) -> int:
        """Stops a worker in the middle of a task and waits until all others are done.

        Returns:
            The worker process's number.
        """
        held = wait_until(lambda: self._stop_a_task(machine), run.is_under_way)
        wait_until(lambda: self.finished_shards() == self.n_shards() - 1, run.is_under_way)
        assert held is not None
        return held

    def n_shards(self) -> int:
        """Returns how many shards the step has."""
        return len(list((self.project.root / "data" / "warc").glob("part-*.json")))

    def _stop_a_task(self, machine: Machine) -> int | None:
        for pid, name in machine.processes():
            if name.startswith("ray::_call"):
                os.kill(pid, signal.SIGSTOP)
                draft = list(self.store.glob(f"tmp-{number_inside(pid)}-*"))
                if draft and title(pid).startswith("ray::_call"):
                    return pid
                os.kill(pid, signal.SIGCONT)
        return None


def workspace(root: Path) -> Project:
    """Makes a copy of the project with the tiny preset and the environment of this run.

    The machines cannot reach a package index, so `make setup-cluster` must find nothing to do.
    """
    project = Project(root)
    shutil.copy2(ROOT / "Makefile", root)
    configured = project.python("stages.configure", "size=tiny")
    assert configured.returncode == 0, configured.stderr
    (root / ".venv").symlink_to(sys.prefix)
    installed = (Path(sys.prefix) / "run.installed").stat().st_mtime
    for name in ("lock.txt", "lock-cluster.txt"):
        os.utime(root / "requirements" / name, (installed, installed))
    return project


def digests(root: Path, folder: str) -> dict[str, str]:
    """Returns the digest of every file of an output."""
    return {
        path.relative_to(root).as_posix(): shards.sha256_file(path)
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, up and joined."""
    shared = tmp_path_factory.mktemp("shared")
    with Network(tmp_path_factory.mktemp("machines")) as network:
        made = Cluster(network, shared)
        done = made.ray("up", "--yes")
        assert done.returncode == 0, done.stdout
        made.wait_for_both()
        yield made


@pytest.fixture(scope="session")
def extracted(cluster: Cluster) -> Cluster:
    """The cluster after the graph up to the step that faults are tried on."""
    run = cluster.submit(STEP)
    assert run.end() == 0, run.told()
    return cluster


@pytest.fixture(scope="session")
def finished(cluster: Cluster) -> Cluster:
    """The cluster after the whole graph."""
    run = cluster.submit()
    assert run.end() == 0, run.told()
    return cluster


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same graph on this machine, in one process, one task after the other."""
    project = workspace(tmp_path_factory.mktemp("alone"))
    done = project.python("stages.repro", OUTBOUND_ENGINE="inline")
    assert done.returncode == 0, done.stderr
    return project
