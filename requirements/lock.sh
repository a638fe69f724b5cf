#!/bin/sh
# Usage: sh requirements/lock.sh python3.11   (from the project's root)
# Writes lock.txt (what runs the graph) and lock-dev.txt (what the checks add), exact versions only:
# no hashes and no local version suffix, so that both install from the public index too.
set -eu
python=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
freeze() {
    echo "# Made by \`make lock\` from $1; edit that file instead."
    "$work/venv/bin/python" -m pip freeze --exclude pip --exclude setuptools | sed -E 's/(==[^+]*)\+[A-Za-z0-9.]+$/\1/'
}
"$work/venv/bin/python" -m pip install -q torch==$(sed -n 's/^torch==//p' requirements/run.in)
"$work/venv/bin/python" -m pip install -q -r requirements/run.in
freeze run.in > requirements/lock.txt
"$work/venv/bin/python" -m pip install -q -r requirements/lock.txt -r requirements/dev.in
freeze dev.in > "$work/dev.txt"
grep -vxFf requirements/lock.txt "$work/dev.txt" > "$work/only-dev.txt" || true
{ echo '-c lock.txt'; cat "$work/only-dev.txt"; } > requirements/lock-dev.txt
