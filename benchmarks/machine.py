"""The machine of a benchmark: its name, its parts, and what they allow at most.

Decisions
- A name says what a figure depends on first: processor, how many of them, GPU. Two machines of one
  name share a file of results; what else differs (memory, system) stands in it.
- A limit is measured, not read from a data sheet: by the plainest call that does nothing else, the
  best of several tries. So a share of it is what is left to gain on this machine.
"""

import os
import platform
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_COPIED_BYTES = 256 << 20  # larger than the caches
_SENT_BYTES = 512 << 20
_PIECE_BYTES = 1 << 20
_TRIES = 5
# Words of a processor's name that say nothing.
_NOISE = re.compile(r"\((?:r|tm)\)|@.*|\b(?:cpu|processor|\d+-core)\b", re.IGNORECASE)


class Limit(NamedTuple):
    """What a part of the machine allows, and how much of it was used.

    Attributes:
        of: The part, e.g. "memory bandwidth".
        most: The most that it gives.
        reached: What the benchmark's own side took of it, in the same unit.
        unit: Of both.
    """

    of: str
    most: float
    reached: float
    unit: str

    def told(self) -> dict[str, Any]:
        """Returns it as it stands in a result, with the share that was reached."""
        rounded = {key: float(f"{getattr(self, key):.4g}") for key in ("most", "reached")}
        share = float(f"{self.reached / self.most:.3g}")
        return {"of": self.of, **rounded, "unit": self.unit, "share": share}


def describe() -> dict[str, Any]:
    """Returns the machine's name and parts."""
    cpu, gpu, cores = processor(), _gpu(), len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "name": name(cpu, cores, gpu),
        "processor": cpu,
        "cores": cores,
        "gpu": gpu,
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def name(cpu: str, cores: int, gpu: str | None) -> str:
    """Returns a short name that can be a file's.

    >>> name("Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz", 2, None)
    'intel-xeon-platinum-8488c-2-cores'
    >>> name("AMD EPYC 9R14 96-Core Processor", 16, "NVIDIA H200")
    'amd-epyc-9r14-16-cores-nvidia-h200'
    """
    parts = (_NOISE.sub(" ", cpu), f"{cores} cores", gpu or "")
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")


def processor() -> str:
    """Returns what the kernel calls the processor."""
    told = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return told[1] if told else platform.machine()


def _gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    names = told.stdout.split("\n")[0].strip()
    return names if told.returncode == 0 and names else None


def bandwidth(reached: float) -> Limit:
    """Returns the limit that memory sets, for `reached` bytes read and written per CPU-second."""
    return Limit("memory bandwidth (copy)", copy_bytes_per_s(), reached, "bytes per CPU-second")


def copy_bytes_per_s() -> float:
    """Returns bytes that one core reads and writes per CPU-second when it copies memory."""
    source = np.ones(_COPIED_BYTES, np.uint8)
    target = np.zeros_like(source)  # touched, so that no page is made in the measurement
    best = 0.0
    for _ in range(_TRIES):
        start = time.process_time()
        np.copyto(target, source)
        best = max(best, 2 * _COPIED_BYTES / (time.process_time() - start))
    return best


def loopback_bytes_per_s() -> float:
    """Returns bytes per second that one process sends and another thread drops over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return max(_sent(server) for _ in range(_TRIES))


def _sent(server: socket.socket) -> float:
    piece = bytes(_PIECE_BYTES)

    def send() -> None:
        with socket.create_connection(server.getsockname()) as sender:
            for _ in range(_SENT_BYTES // _PIECE_BYTES):
                sender.sendall(piece)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    taken, buffer = 0, bytearray(_PIECE_BYTES)
    receiver, _ = server.accept()
    start = time.perf_counter()
    with receiver:
        while got := receiver.recv_into(buffer):
            taken += got
    thread.join()
    return taken / (time.perf_counter() - start)
