#!/bin/sh
# Usage: sh requirements/lock.sh python3.11   (from the project's root)
# Writes lock.txt (what runs the graph), lock-cluster.txt and lock-dev.txt (what clusters and checks add), exact
# versions only: no hashes and no local version suffix, so that all install from the public index too.
set -eu
python=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
freeze() {
    "$work/venv/bin/python" -m pip freeze --exclude pip --exclude setuptools | sed -E 's/(==[^+]*)\+[A-Za-z0-9.]+$/\1/'
}
install() { "$work/venv/bin/python" -m pip install -q "$@"; }
head_of() { echo "# Made by \`make lock\` from $1; edit that file instead."; }
install torch==$(sed -n 's/^torch==//p' requirements/run.in)
install -r requirements/run.in
{ head_of run.in; freeze; } > requirements/lock.txt
install -r requirements/lock.txt -r requirements/cluster.in
freeze | grep -vxFf requirements/lock.txt > "$work/cluster.txt"
{ head_of cluster.in; echo '-c lock.txt'; cat "$work/cluster.txt"; } > requirements/lock-cluster.txt
install -r requirements/lock.txt -r requirements/lock-cluster.txt -r requirements/dev.in
freeze | grep -vxFf requirements/lock.txt | grep -vxFf requirements/lock-cluster.txt > "$work/dev.txt"
{ head_of dev.in; echo '-c lock.txt'; echo '-r lock-cluster.txt'; cat "$work/dev.txt"; } > requirements/lock-dev.txt
