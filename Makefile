# Two commands: `make demo` and `make test`. Both set everything up first; the second run starts in seconds.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Each has a Kafka and a PostgreSQL of its own, and mostly waits.
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit check bench lock clean

help:  ## This list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## The environment, from hash-locked wheels; leaves the command at .venv/bin/chaintrue

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; ok = (3, 11) <= v <= (3, 14); sys.exit(0 if ok else "chaintrue needs Python 3.11 to 3.14 and found %d.%d: name another one, as in make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup  ## Kafka, PostgreSQL and a chain on this machine; drift found, repaired, proven (ARGS=--keep leaves it running)
	@$(BIN)/chaintrue demo $(ARGS)

test: setup  ## All tests, on real Kafka and PostgreSQL (ARGS: what pytest is to run instead)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile tests/unit tests/integration tests/acceptance tests/hostile
	@$(BIN)/python -m pytest tests/simulation  # promises times, so nothing runs beside it
endif

unit: setup  ## The pure tests alone: seconds, nothing is started
	@$(BIN)/python -m pytest tests/unit $(ARGS)

check: setup  ## Linters, strict types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup  ## Benchmarks: ratios against a peer or a bound, measured in the same run
	@$(BIN)/python -m tests.benchmarks $(ARGS)

lock:  ## Lock the dependencies anew (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --all-extras --no-annotate --no-header --no-emit-index-url --quiet --output-file requirements.lock pyproject.toml

clean:  ## Remove the environment
	rm -rf $(VENV)
