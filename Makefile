# Needs Python 3.11+, pip and make; everything else is installed into .venv from constraints.txt.
PYTHON ?= python3
PIP_ARGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
# The CPU build of torch serves simulations and tests; set TORCH= to install another one by hand.
TORCH ?= torch==2.13.0
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help install simulate test test-all lint types contracts figures clean

help:
	@echo "make simulate   install and run the built-in marketplace: report in runs/first/report.html"
	@echo "make test       lint, types, import contracts and the fast tests"
	@echo "make test-all   the slow tests too (soak, scale, full MovieLens-1M)"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt pip
	$(if $(TORCH),$(BIN)/python -m pip install -q $(PIP_ARGS) '$(TORCH)')
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	touch $@

simulate: install
	$(BIN)/fedcart simulate --out runs/first

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

test: lint types contracts
	$(BIN)/pytest -n auto

test-all: lint types contracts
	$(BIN)/pytest -n auto
	$(BIN)/pytest -m slow

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
