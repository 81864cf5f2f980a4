# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := .venv-demo
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: help demo test check format interop kernels bench clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

demo: $(DEMO)/.ready  ## Segment a made-up volume with the lean runtime alone (no torch)
	$(DEMO)/bin/dmn demo

test: check  ## Run every check and every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -p no:benchmark -q

check: $(VENV)/.ready  ## Lint, format, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready  ## Put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

interop: $(VENV)/.ready  ## Let other tools read what DMN writes, each in its own environment
	tests/interop/run.sh

kernels: $(VENV)/.ready  ## Compile the GPU's kernels for all targets (needs nvcc)
	$(BIN)/python benchmarks/kernels/build.py

bench: $(VENV)/.ready  ## Measure; prints a table and writes benchmarks/results.json
	$(BIN)/python -m pytest benchmarks --benchmark-json=benchmarks/results.json -q

clean:  ## Remove environments and caches
	rm -rf $(VENV) .venv-* demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The whole environment, for training, export and tests.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt pip
	$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable . --group dev
	touch $@

# The lean runtime. Without precompiled files the environment is a fifth smaller and quicker to install.
$(DEMO)/.ready: pyproject.toml constraints.txt $(shell find runtime -name '*.py' -o -name '*.zip')
	$(PYTHON) -m venv --clear $(DEMO)
	$(DEMO)/bin/python -m pip install $(PIP_FLAGS) --no-compile --constraint constraints.txt .
	touch $@
