"""Run one command inside one Ray: `python -m pipeline.engine.session COMMAND [ARG ...]`.

Starts Ray, or joins the cluster that RAY_ADDRESS names, and passes its address to the command, so
that every stage of a graph joins it instead of paying ten seconds for its own. Exits with the
command's exit code; 130 after Ctrl-C.
"""

import os
import subprocess
import sys

from pipeline.engine import command


def main() -> int:
    """Runs the command line's command and returns its exit code."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    if os.environ.get("OUTBOUND_ENGINE") == "inline":
        return subprocess.run(sys.argv[1:], check=False).returncode
    from pipeline.engine import cluster  # Ray takes a second to import

    with cluster.connect() as address:
        child = {**os.environ, "RAY_ADDRESS": address}
        with subprocess.Popen(sys.argv[1:], env=child) as process:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the child got it too: let it finish its own way
                process.wait()
                raise


if __name__ == "__main__":
    sys.exit(command.guarded(main))
