"""Stage evaluate: models/pretrained/, data/eval/ -> metrics/, zero-shot scores, protocols."""

from pathlib import Path

from model.tasks import evaluate
from pipeline.engine import command
from pipeline.store import metrics
from stages import params

PRETRAINED = Path("models/pretrained")
EVALUATION = Path("data/eval")
OVERLAP = Path("data/overlap")
STORE = Path(".shards/evaluate")


def main() -> dict[str, dict[str, float]]:
    """Runs the stage and returns its figures."""
    config = params.load("evaluate", evaluate.Config)
    found = evaluate.run(PRETRAINED, EVALUATION, OVERLAP, STORE, config)
    metrics.write("evaluate_protocols", found.protocols)
    metrics.write("evaluate_without_overlap", found.without_overlap)
    return found.figures


if __name__ == "__main__":
    command.run_stage("evaluate", __doc__, main)
