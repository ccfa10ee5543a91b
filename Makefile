# Everything a developer or operator runs; CI runs the same targets.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types format all

help:
	@echo "make demo   a bundled song goes through the chat in both modes (no account needed)"
	@echo "make test   the whole test suite"
	@echo "make setup | lint | types | format | all"

setup: .venv/.ready

# pip checks every file against the hashes of the lock; the project itself is installed without dependencies.
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("stemdrop needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the locked requirements into .venv (a minute the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/python -m sandbox.demo

# Twice as many as two cores: much of a journey is waiting, for leases and polls.
test: setup
	@$(BIN)/python -m pytest -n 4 --dist loadfile

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

all: lint types test
