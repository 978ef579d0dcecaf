# GNU make. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_WORKERS ?= 2
COVERAGE_AT_LEAST ?= 85
# Rules of accessibility for the tests of the report (Deque, MPL-2.0); not part of the package.
AXE := axe-core@4.14.1
AXE_SHA256 := 29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
AXE_FILE := .axe/node_modules/axe-core/axe.min.js

# More threads than cores make small matrices slower, not faster; the tests run several workers.
export OMP_NUM_THREADS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
export HF_HUB_OFFLINE ?= 1
export MLFLOW_DISABLE_TELEMETRY ?= true
export DO_NOT_TRACK ?= 1
export GX_ANALYTICS_ENABLED ?= false

.PHONY: help install demo test lint format bench axe ui clean clean-store

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with the locked versions (about 4 minutes, needs the network)

# The stamp is written last, so that a broken installation is made again.
$(INSTALLED): requirements.lock pyproject.toml
	@test -x $(BIN)/python || command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the PATH; install Python 3.11 or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# PyTorch alone brings its needs: its usual build wants CUDA packages that a CPU build has not.
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c requirements.lock torch
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

demo: $(INSTALLED) ## Run the whole pipeline on the built-in simulated study
	$(BIN)/genellm demo

test: export OMP_NUM_THREADS := 1
test: $(INSTALLED) ## Run the tests and measure their coverage
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --cov --cov-report=term --cov-fail-under=$(COVERAGE_AT_LEAST)

axe: $(AXE_FILE) ## Fetch axe-core, with which the tests check the report (needs npm and the network)

$(AXE_FILE): Makefile
	npm install --prefix .axe --no-save --no-audit --no-fund --ignore-scripts --silent $(AXE)
	echo "$(AXE_SHA256)  $@" | sha256sum --check --quiet
	@touch $@

lint: $(INSTALLED) ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(INSTALLED) ## Mend style and format where a program can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Run every benchmark of benchmarks/
	@found=0; for script in benchmarks/bench_*.py; do \
		test -e "$$script" || continue; found=1; echo "== $$script"; $(BIN)/python "$$script"; \
	done; test $$found = 1 || echo "no benchmarks/bench_*.py yet"

ui: $(INSTALLED) ## Start the Dagster and MLflow interfaces on localhost
	$(BIN)/genellm ui

clean: ## Remove build outputs and caches; data/store and .venv stay
	rm -rf build dist *.egg-info htmlcov .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -f .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './.git/*' -prune -exec rm -rf {} +

clean-store: ## Remove data/store, all results in it (asks for CONFIRM=yes)
	@test "$(CONFIRM)" = yes || { echo "this removes every result in data/store; say make clean-store CONFIRM=yes" >&2; exit 1; }
	rm -rf data/store
