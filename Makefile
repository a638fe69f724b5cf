# Two commands: `make repro` runs the graph, `make test` runs every check. Both set up first.
PYTHON ?= python3.11
PY := .venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: repro test check lint types tests test-cluster setup setup-cluster setup-dev bench bench-env lock golden verify ablate scaling study play clean-shards

repro: .venv/run.installed
	$(PY) -m stages.repro

test: check

check: lint types tests

lint: .venv/dev.installed
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

types: .venv/dev.installed
	$(PY) -m mypy

# Ray's workers are nice to others (15) by default; here the others are tests that do not wait for them.
tests: .venv/dev.installed
	OMP_NUM_THREADS=1 RAY_worker_niceness=0 $(PY) -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# deploy/on-prem.yaml on machines that are network namespaces; root only. Debian starts the SSH server
# that it installs here, if it is not there yet.
test-cluster: .venv/dev.installed
	@test "$$(id -u)" = 0 || { echo "error - make test-cluster makes network namespaces: run it as root" >&2; exit 1; }
	PATH="$$PATH:/usr/sbin" && for program in ip:iproute2 sshd:openssh-server rsync:rsync; do \
	  command -v $${program%:*} >/dev/null || apt-get install -y $${program#*:} || exit 1; done
	$(PY) -m pytest -m cluster tests/cluster

setup: .venv/run.installed
setup-cluster: .venv/cluster.installed
setup-dev: .venv/dev.installed

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.installed: requirements/lock.txt | .venv/bin/python
	$(PY) -m pip install -q -r requirements/lock.txt
	touch $@

.venv/cluster.installed: requirements/lock-cluster.txt .venv/run.installed
	$(PY) -m pip install -q -r requirements/lock-cluster.txt
	touch $@

.venv/dev.installed: requirements/lock-dev.txt .venv/cluster.installed
	$(PY) -m pip install -q -r requirements/lock-dev.txt
	touch $@

# Peers live in an environment of their own.
bench-env: .venv-bench/installed
.venv-bench/installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q pip==26.3  # 23.2 takes html-clean and html_clean for two
	.venv-bench/bin/python -m pip install -q -r benchmarks/requirements-peers.txt
	.venv-bench/bin/python -m pip install -q --no-deps text-dedup==0.4.0  # asks for urllib3 < 2, Spark
	touch $@

# Every comparison, after `make repro`: hours of a quiet machine, then docs/performance.md.
bench: .venv/dev.installed .venv-bench/installed
	$(PY) -m benchmarks.links
	$(PY) -m benchmarks.links --case links
	$(PY) -m benchmarks.extract
	$(PY) -m benchmarks.clean
	$(PY) -m benchmarks.dedup
	$(PY) -m benchmarks.decontaminate
	$(PY) -m benchmarks.encode
	$(PY) -m benchmarks.load
	$(PY) -m benchmarks.crawl
	$(PY) -m benchmarks.crawl --tls
	$(PY) -m benchmarks.train_cpu
	$(PY) -m benchmarks.evaluate --model models/pretrained
	$(PY) -m benchmarks.evaluate --case cloze
	$(PY) -m benchmarks.chain
	$(PY) -m benchmarks.graph
	$(PY) -m benchmarks.scoreboard

# Resolves requirements/*.in anew. A local build of torch has a suffix nobody else can install.
lock:
	sh requirements/lock.sh $(PYTHON)

# Records what tests/rules/test_golden.py (fingerprints and digests) and test_small_warc.py (the root
# of the WARC file that we ship) compare with.
golden: .venv/dev.installed
	$(PY) -m tests.rules.test_golden $$(mktemp -d)
	$(PY) -m tests.rules.test_small_warc record $$(mktemp -d)

# Re-runs a share of the shards of each data stage and compares their bytes (params.yaml: verify).
verify: .venv/run.installed
	$(PY) -m stages.repro verify/dvc.yaml

# Small models with one cleaning rule left out at a time (params.yaml: ablate); took 40 minutes
# beside other work.
ablate: .venv/run.installed
	$(PY) -m stages.repro ablate/dvc.yaml

# Models of several sizes on equal tokens (params.yaml: scaling); takes a quarter of an hour.
scaling: .venv/run.installed
	$(PY) -m stages.repro scaling/dvc.yaml

# What fine-tuning owes to pre-training and its parts (params.yaml: study); took 35 minutes beside
# other work.
study: .venv/run.installed
	$(PY) -m stages.repro study/dvc.yaml

# A page on this machine that asks the models, and what they have read (docs/playground.md).
play: .venv/run.installed
	$(PY) -m stages.play $(MODELS)

clean-shards:
	rm -rf .shards
