"""The choice of engine: one process needs no Ray."""

import os
import subprocess
import sys

from pipeline.engine.identity import ROOT

ALONE = """
import sys
from pipeline.engine import parallel
with parallel.engine() as engine:
    print(list(engine.map(str, [1, 2])), "ray" in sys.modules)
"""


def test_engine_inline_runs_here_and_does_not_import_ray() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=ROOT,
        env={**os.environ, "OUTBOUND_ENGINE": "inline"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "[(0, '1'), (1, '2')] False\n", done.stderr
