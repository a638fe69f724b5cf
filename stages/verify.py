"""Stage verify: re-runs a share of the shards of each data stage and compares their bytes.

Beside the default path, in verify/dvc.yaml: `make verify`, or `dvc repro verify/dvc.yaml`.
"""

from pathlib import Path
from typing import Any

from pipeline.engine import command, verify
from stages import params

OUTPUTS = {
    "links": ["links"],
    "extract": ["pages"],
    "documents": ["documents"],
    "clean": ["clean"],
    "dedup": ["unique"],
    "decontaminate": ["corpus", "overlap"],
    "encode": ["tokens"],
}


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    return verify.run(Path(), OUTPUTS, params.load("verify", verify.Config))


if __name__ == "__main__":
    command.run_stage("verify", __doc__, main)
