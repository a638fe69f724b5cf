"""The embedded default: documentation on this machine becomes a small web, a dump and the truth.

Reads installed packages; writes data/web/, data/dump/, data/truth/ and metrics/demo.json.
Parameters: `demo` in params.yaml.
"""

from pathlib import Path
from typing import Any

from crawl import demo
from pipeline.engine import command, parallel
from stages import params

WEB = Path("data/web")
DUMP = Path("data/dump")
TRUTH = Path("data/truth")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("demo", demo.Config)
    with parallel.engine() as engine:
        return demo.run(WEB, DUMP, TRUTH, config, engine)


if __name__ == "__main__":
    command.run_stage("demo", __doc__, main)
