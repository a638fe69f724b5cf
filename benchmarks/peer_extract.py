"""datatrove's way from WARC files to text, run by the interpreter of `.venv-bench`.

python peer_extract.py WARC_FOLDER OUTPUT_FOLDER N_TASKS precision|balanced dedup|plain full|fast
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers import JsonlWriter

_TIMEOUT_S = (
    60  # datatrove's default of one second of wall-clock time loses pages on a busy machine
)


def main() -> None:
    """Runs reader, extractor and writer with datatrove's local executor."""
    warcs, output, n_tasks, focus, dedup, effort = sys.argv[1:]
    extractor = Trafilatura(
        favour_precision=focus == "precision",
        deduplicate=dedup == "dedup",
        timeout=_TIMEOUT_S,
        fast=effort == "fast",
    )
    executor = LocalPipelineExecutor(
        [
            WarcReader(warcs, glob_pattern="*.warc.gz"),
            extractor,
            JsonlWriter(output, compression=None),
        ],
        tasks=int(n_tasks),
        workers=2,
        logging_dir=str(Path(output) / "logs"),
        skip_completed=False,
    )
    executor.run()


if __name__ == "__main__":
    main()
