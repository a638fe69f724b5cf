"""Machines that are namespaces: own addresses, processes, names and /tmp; one kernel, one disk.

    user        192.0.2.10 ─┐
    head        192.0.2.1  ─┼─ bridge, 192.0.2.254      mount: /mnt/outbound on those that have it
    worker      192.0.2.2  ─┘

Nothing has a name outside: network interfaces, mounts and processes are within namespaces that
live as long as their first process, which the kernel kills with this one. So nothing can collide,
and nothing stays, however the tests end.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pipeline.engine.identity import ROOT

Found = TypeVar("Found")

GATEWAY = "192.0.2.254"
MOUNT = "/mnt/outbound"
USER = "outbound"

_ISOLATED = ["setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child=KILL"]
_SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "sshd"
_SSHD_CONFIG = """
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
MaxStartups 100
"""
# /tmp is the machine's own; what lies there of the project or of its environment is put back.
_START = """
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/before {mount}
mount --rbind / /mnt/before
for own in /tmp /run /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs $own; done
mkdir /run/sshd
for kept in {kept}; do
    test -e "$kept" || {{ mkdir -p "$kept"; mount --rbind "/mnt/before$kept" "$kept"; }}
done
{shared}
umount --lazy /mnt/before
rmdir /mnt/before
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/hosts /etc/hosts
hostname {name}
{sshd} -D -f {folder}/sshd_config -E {folder}/sshd.log &
touch {folder}/started
wait
"""


class Network:
    """A switch without machines yet; use as `with`."""

    def __init__(self, folder: Path) -> None:
        """Makes an SSH key for the machines' user.

        Args:
            folder: A throw-away folder for keys, logs and homes.
        """
        self.folder = folder
        self.key = folder / "key"
        self.machines: list[Machine] = []
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)])
        self._switch = subprocess.Popen([*_ISOLATED, "--net", "sleep", "infinity"])
        self._pid = str(self._switch.pid)
        wait_until(lambda: namespace(self._switch.pid, "net") != namespace(os.getpid(), "net"))
        self.ip("link", "add", "bridge", "type", "bridge")
        self.ip("addr", "add", f"{GATEWAY}/24", "dev", "bridge")
        self.ip("link", "set", "bridge", "up")

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_error: object) -> None:
        for machine in self.machines:
            machine.lose()
        self._switch.kill()
        self._switch.wait()

    def ip(self, *arguments: str) -> None:
        """Runs `ip` where the switch is."""
        run(["nsenter", "-t", self._pid, "-n", "ip", *arguments])

    def join(self, machine: "Machine") -> None:
        """Plugs a machine in."""
        port = f"port{len(self.machines)}"
        machine.port = port
        self.machines.append(machine)
        self.ip(
            *("link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", str(machine.pid)),
        )
        self.ip("link", "set", port, "master", "bridge", "up")
        for told in (
            "link set lo up",
            f"addr add {machine.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {GATEWAY}",
        ):
            run(["nsenter", "-t", str(machine.pid), "-n", "ip", *told.split()])

    def cut(self, machine: "Machine") -> None:
        """Pulls a machine's plug."""
        self.ip("link", "set", machine.port, "down")

    def mend(self, machine: "Machine") -> None:
        """Puts it in again."""
        self.ip("link", "set", machine.port, "up")


class Machine:
    """One machine with an SSH server; `shared` is what it mounts at /mnt/outbound."""

    port = ""

    def __init__(self, network: Network, name: str, address: str, shared: Path | None) -> None:
        self.name, self.address = name, address
        self.folder = network.folder / name
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self._write_settings(network.key)
        script = _START.format(
            mount=MOUNT if shared else "",
            kept=" ".join(shlex.quote(str(p)) for p in kept(network.folder)),
            shared=f"mount --bind /mnt/before{shlex.quote(str(shared))} {MOUNT}" if shared else "",
            folder=shlex.quote(str(self.folder)),
            name=name,
            sshd=_SSHD,
        )
        spaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--mount-proc"]
        with (self.folder / "start.log").open("wb") as log:
            self._holder = subprocess.Popen(
                [*_ISOLATED, *spaces, "bash", "-c", script], stdout=log, stderr=log
            )
        wait_until((self.folder / "started").exists, self._is_up)
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.pid = int(children.read_text())
        self._space = namespace(self.pid, "pid")
        network.join(self)

    def _is_up(self) -> None:
        if self._holder.poll() is not None:
            raise OSError(f"{self.name} did not start: {(self.folder / 'start.log').read_text()}")

    def _write_settings(self, key: Path) -> None:
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        user = f"{USER}:x:0:0::{self.home}:/bin/bash\n"
        (self.folder / "passwd").write_text(user + Path("/etc/passwd").read_text())
        (self.folder / "sshd_config").write_text(_SSHD_CONFIG.format(folder=self.folder))
        (self.folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        host_key = str(self.folder / "host_key")
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key])

    def command(self, arguments: list[str]) -> list[str]:
        """Returns a command that runs another one there, as the machines' user."""
        programs = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        settings = [f"HOME={self.home}", f"USER={USER}", f"PATH={programs}", "LC_ALL=C.UTF-8"]
        entered = ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-i", "-p", f"--wd={ROOT}"]
        return [*entered, "env", "-i", *settings, *arguments]

    def run(self, arguments: list[str], timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """Runs a command there and returns what it printed, both streams in one."""
        return subprocess.run(
            self.command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
        )

    def processes(self) -> Iterator[tuple[int, str]]:
        """Yields the number, as it is here, and the title of each process of this machine."""
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and namespace(int(folder.name), "pid") == self._space:
                yield int(folder.name), title(int(folder.name))

    def lose(self) -> None:
        """Kills it with all its processes: its namespaces end with the first one."""
        self._holder.kill()
        self._holder.wait()


def kept(folder: Path) -> list[Path]:
    """Returns the folders that every machine sees where they are: code, libraries, throw-away."""
    return [ROOT, Path(sys.prefix).resolve(), folder]


def number_inside(pid: int) -> int:
    """Returns a process's number as its own machine has it.

    Raises:
        OSError: If it is gone.
    """
    told = Path(f"/proc/{pid}/status").read_text()
    return int(next(x for x in told.splitlines() if x.startswith("NSpid:")).split()[-1])


def title(pid: int) -> str:
    """Returns a process's command line, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def namespace(pid: int, kind: str) -> str:
    """Returns which namespace a process is in, empty if it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""


def run(command: list[str]) -> None:
    """Runs a command here; raises with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{shlex.join(command)}: {done.stderr.strip()}")


def wait_until(
    look: Callable[[], Found], still: Callable[[], None] = lambda: None, limit_s: float = 120
) -> Found:
    """Waits for something that another process brings about, and returns it.

    Args:
        look: Returns what has come about, or something false.
        still: Raises when it cannot come about any more.
        limit_s: When to give up.
    """
    end = time.monotonic() + limit_s
    while not (found := look()):
        still()
        assert time.monotonic() < end, f"{found} after {limit_s} s"
        time.sleep(0.02)
    return found
