"""How every command of the project starts and ends.

Exit codes: 0 done, 1 a stated failure (one line on stderr), 2 wrong usage, 130 after Ctrl-C.
"""

import argparse
import errno
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pipeline.engine.progress import summary
from pipeline.store import metrics
from pipeline.store.errors import CheckpointError, ManifestError, RetryableError, ShardError
from pipeline.store.shards import Counts

Main = Callable[[], Mapping[str, Any] | None]

_STATED = (ValueError, OSError, ManifestError, ShardError, CheckpointError, RetryableError)


def run_stage(
    stage: str, description: str | None, main: Main, end: Callable[[int], NoReturn] = sys.exit
) -> NoReturn:
    """Runs one stage of the graph and exits.

    Writes `metrics/<stage>.json` (what `main` returned) and `metrics/timings/<stage>.json`, and
    prints one summary line when the figures hold `counts`.

    Args:
        stage: Its name in dvc.yaml.
        description: The module's docstring, for `--help`.
        main: Does the work and returns the stage's figures, or None where another process of the
            same run returns them.
        end: Ends the process with an exit code.
    """
    argparse.ArgumentParser(prog=f"python -m stages.{stage}", description=description).parse_args()
    end(guarded(lambda: _stage(stage, main)))


def _stage(stage: str, main: Main) -> int:
    start = time.monotonic()
    figures = main()
    if figures is None:
        return 0
    seconds = time.monotonic() - start
    metrics.write(stage, figures)
    metrics.write_timings(stage, {"seconds": round(seconds, 2), "peak_rss_mib": _peak_rss_mib()})
    if "counts" in figures:
        print(summary(stage, Counts(**figures["counts"]), seconds), file=sys.stderr)
    else:
        print(f"{stage}: done, {seconds:.1f} s", file=sys.stderr)
    return 0


def _peak_rss_mib() -> int:
    """Returns the peak memory of this process (not of its workers) in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def guarded(main: Callable[[], int]) -> int:
    """Runs a command and returns its exit code; a stated failure becomes one line on stderr."""
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, the same command continues", file=sys.stderr)
        return 130
    except _STATED as error:
        if os.environ.get("OUTBOUND_TRACEBACK"):
            traceback.print_exc()
        print(f"error: {_message(error)}", file=sys.stderr)
        return 1


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left for {error.filename}; free some and run the same command again"
    return str(error)
