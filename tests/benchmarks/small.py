"""What benchmark tests share: a run from the command line, as a user starts it, and an input."""

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks import harness
from crawl.docstrings import Block

NO_PEERS = {"OUTBOUND_BENCH_PYTHON": "/no/such"}
PARAGRAPHS = [
    Block(
        "paragraph", (f"The ship of {n} sails had a crew that knew {n} songs by heart, and sang.",)
    )
    for n in range(300)
]


def run(module: str, *options: str, **environment: str) -> dict[str, Any]:
    """Returns what a benchmark tells in its last line.

    Args:
        module: The benchmark, e.g. "clean".
        options: Of its command line.
        environment: Added to ours.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *options],
        cwd=harness.ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
