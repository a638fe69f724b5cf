"""Stage memorize: samples/, data/corpus/ -> data/memorize/, what the model writes word for word."""

from pathlib import Path
from typing import Any

from pipeline.engine import command, parallel
from pipeline.overlap import memorize
from stages import params

SAMPLES = Path("samples")
CORPUS = Path("data/corpus")
OUTPUT = Path("data/memorize")
CDF = Path("metrics/memorize_cdf.json")


def main() -> dict[str, Any]:
    """Runs the stage and returns its figures."""
    config = params.load("memorize", memorize.Config)
    with parallel.engine() as engine:
        found = memorize.run(SAMPLES, CORPUS, OUTPUT, config, engine)
    memorize.write_cdf(CDF, found.cdf)
    return found.figures


if __name__ == "__main__":
    command.run_stage("memorize", __doc__, main)
