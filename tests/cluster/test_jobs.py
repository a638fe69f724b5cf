"""`ray job submit` to a head of our own on loopback, with a token: what runs, and how it ends."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Project

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_PORTS = range(20_000, 30_000)  # below those that the system gives to connections

RAY = str(Path(sys.executable).parent / "ray")


def free_port() -> int:
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class Head:
    """A cluster of one node, as `ray start --head` makes it, and its job server's address."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        self.address = f"http://127.0.0.1:{free_port()}"
        self.settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OUTBOUND_WORKSPACE": str(project.root),
        }
        command = [
            *(RAY, "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"),
            *("--node-ip-address=127.0.0.1", f"--port={free_port()}", f"--temp-dir={folder}"),
            *("--include-dashboard=true", "--dashboard-host=127.0.0.1"),
            f"--dashboard-port={self.address.rpartition(':')[2]}",
            *(f"--dashboard-agent-listen-port={free_port()}", "--object-store-memory=100000000"),
            f"--ray-client-server-port={free_port()}",
        ]
        self.told = folder / "head.txt"
        with self.told.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=project.environment(**self.settings),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def submit(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [RAY, "job", "submit", "--address", self.address, "--", *arguments]
        done = self.project.run(command, **{**self.settings, **more})
        assert self.process.poll() is None, self.told.read_text()
        return done

    def wait(self) -> None:
        until = time.monotonic() + 120
        asked = [RAY, "job", "list", "--address", self.address]
        while self.project.run(asked, **self.settings).returncode != 0:
            assert time.monotonic() < until, self.told.read_text()
            assert self.process.poll() is None, self.told.read_text()
            time.sleep(1)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    project = Project(tmp_path_factory.mktemp("a project"))
    assert project.python("stages.configure", "size=tiny").returncode == 0
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # sockets have short paths
    found = Head(project, folder)
    try:
        found.wait()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_job_runs_the_graph_on_the_cluster(head: Head) -> None:
    done = head.submit("python", str(head.project.root / "stages" / "repro.py"), "links")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Running stage 'links'" in done.stdout
    assert "succeeded" in done.stdout
    assert (head.project.root / "data" / "links" / "manifest.json").is_file()
    assert re.search(r"links: [\d,]+ in", done.stdout)


def test_a_job_whose_stage_fails_fails(head: Head) -> None:
    file = head.project.root / "params.yaml"
    before = file.read_text()
    file.write_text(re.sub(r"(?m)^(links:\n(?:  .*\n)*?  partitions: )\d+", r"\g<1>0", before))
    done = head.submit("python", str(head.project.root / "stages" / "repro.py"), "links")
    file.write_text(before)
    assert done.returncode != 0
    assert "error: params.yaml: links.partitions is 0; expected" in done.stdout


def test_who_has_not_the_token_submits_nothing(head: Head) -> None:
    done = head.submit("true", RAY_AUTH_TOKEN="f" * 64)
    assert done.returncode != 0
