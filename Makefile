# Everything a developer or operator runs; CI runs the same targets.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo stories docs test fuzz lint types audit format all faults bench compose-test ops-check

help:
	@echo "make demo   a bundled song goes through the chat in both modes (no account needed)"
	@echo "make test   the whole test suite"
	@echo "make faults   break everything and measure what that costs (twenty minutes)"
	@echo "make compose-test   what docker-compose.yml describes, brought up and broken (ten minutes, needs an engine)"
	@echo "make fuzz   what strangers send, made up anew (FUZZ=10 times as much as in the suite: a few minutes)"
	@echo "make bench   what each process does on this machine, and what more of them add (some minutes)"
	@echo "make stories   people play what the bot is for; docs/chat.md tells it"
	@echo "make docs   .env.example and docs/settings.md, written from the settings"
	@echo "make ops-check   Prometheus' rules in ops/, tried by its own tool"
	@echo "make setup | lint | types | audit | format | all"

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
	@$(BIN)/python -m sandbox.play.demo

stories: setup
	@$(BIN)/python -m tools.generate_chat_docs

docs: setup
	@$(BIN)/python -m tools.generate_settings_docs

# More than twice as many as two cores: much of a journey is waiting, for leases, polls and flood limits. The order of
# the files is tests/support/order.py's; else those with the fewest tests, all of them journeys, would come last.
test: setup
	@$(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder

# What it finds becomes an ordinary test.
FUZZ ?= 10
fuzz: setup
	@FUZZ=$(FUZZ) $(BIN)/python -m pytest -n 2 --dist load --timeout 3600 \
		tests/stemdrop/test_parsers.py tests/webhook/test_parsers.py tests/webhook/test_doors.py

# Builds the images, brings up what docker-compose.yml describes, plays songs through it and breaks it: some ten
# minutes. Needs an engine with Compose 2.26 or newer, and leaves nothing behind.
compose-test: setup
	@docker info >/dev/null && docker compose version
	@COMPOSE_TEST=1 $(BIN)/python -m pytest tests/compose -n 0 --timeout 1800 -v --durations 0

# Everything is broken, as often and as long as docs/reliability.md says, and its table written: twenty minutes.
# As root, and with Debian's libfaketime, nothing is left out.
faults: setup
	@$(BIN)/python -m pytest tests/faults -n 4 --dist load --full --timeout 3600 --report docs/reliability.md

# What docs/scaling.md tells of; parts of it alone: BENCH="songs failover". Linux only.
bench: setup
	@PYTHONPATH=tests/support $(BIN)/python tests/bench $(BENCH)

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy

# Known vulnerabilities in what is pinned; says so where nobody can be asked.
audit: setup
	@$(BIN)/python .ci/audit.py requirements.lock

format: setup
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

# Prometheus' own tool says whether what lies in ops/ is right.
ops-check:
	@if command -v promtool >/dev/null; then \
		cd ops && promtool check config prometheus.yml && promtool test rules alerts_test.yml; \
	else \
		echo '!!! NOT CHECKED: ops/. There is no promtool here (Debian: apt-get install prometheus)' >&2; \
	fi

all: lint types audit ops-check test
