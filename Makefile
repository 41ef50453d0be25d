# `make help` lists the targets. Everything runs in .venv, made from requirements.lock when missing.
.DEFAULT_GOAL := help
.PHONY: help setup demo fakemodal test check format lock wheel clean

PYTHON ?= $(firstword $(foreach v,python3.11 python3.12 python3.13 python3,$(shell command -v $(v) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the locked dependencies

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"bgb needs Python 3.11 to 3.13, $(PYTHON) is {v[0]}.{v[1]}; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@

demo: setup ## synthetic corpus -> cache -> detector -> scores on patients it never saw
	$(BIN)/python -m bgb.train

fakemodal: setup ## a Modal on this machine: prints what to export, then shows what a sweep does
	$(BIN)/python -m tests.fakemodal

test: setup ## run every test
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

check: setup ## formatting, lint, types, stripped notebooks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: setup ## format the code, mend what lint can, strip the notebooks
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout notebooks/*.ipynb

lock: ## write requirements.lock anew from pyproject.toml, in a fresh environment
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 '.[dev]'
	build/lock/bin/python -m pip freeze --exclude bgb | sed 's/+cpu$$//; /^bgb @/d' > requirements.lock

wheel: setup ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove what the tools made, never data or runs
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
