"""Stage ablate: trains small models with one cleaning rule left out at a time.

Beside the default path, in ablate/dvc.yaml: `make ablate`, or `dvc repro ablate/dvc.yaml`.
"""

from pathlib import Path
from typing import Any

from model import ablation
from pipeline.engine import command
from pipeline.text import clean, switches
from stages import params


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    off = switches.switches(params.load("clean", clean.Config))
    return ablation.run(Path(), off, params.load("ablate", ablation.Config), params.override)


if __name__ == "__main__":
    command.run_stage("ablate", __doc__, main)
