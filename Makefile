# The commands of developers and operators; CI runs the same targets.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo sandbox stories docs test page-test page-pictures fuzz lint types audit format all faults bench quality compose-test ops-check

help:
	@echo "make demo           play a bundled song through the chat in both modes (no account needed)"
	@echo "make sandbox        chat with the bot in a page of the browser until Ctrl-C (no account needed)"
	@echo "make test           run the whole test suite"
	@echo "make page-test      play only the stories of the sandbox's page in Chromium (a minute)"
	@echo "make faults         cause every fault and measure the cost (twenty minutes)"
	@echo "make compose-test   start and break everything in docker-compose.yml (ten minutes, needs Docker)"
	@echo "make fuzz           run the fuzz tests with FUZZ=10 times as many inputs (a few minutes)"
	@echo "make bench          measure speed and cost on this machine (ten minutes)"
	@echo "make quality        measure the separation of songs with known stems (a few minutes)"
	@echo "make stories        play the stories of docs/chat.md and write it"
	@echo "make page-pictures  take the README's pictures of the sandbox's page in Chromium"
	@echo "make docs           write .env.example and the pages on settings, metrics and providers"
	@echo "make ops-check      check the Prometheus rules in ops/ with promtool"
	@echo "make setup | lint | types | audit | format | all"

setup: .venv/.ready

# Installs exactly what the lock names, with every file checked against its hashes, then the project. uv takes seconds
# where pip takes half a minute. Where there is no uv, or it cannot reach what pip can, pip does the same. Of the modules
# only those are compiled that a process imports: all of them took as long again, and 80 MB.
UV := $(shell command -v uv)
USED := sandbox.play.demo, separator.app, separator.light.engine, separator.spleeter.engine, webhook.run, worker.run, av
define install
	@$(PYTHON) -c 'import sys; sys.exit("stemdrop needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing the locked requirements into .venv (a minute the first time) …"
	@if test -n "$(UV)" && { test -x $(BIN)/python || $(UV) venv --quiet --seed --no-project --python $(PYTHON) .venv; } && \
		$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r $< && \
		$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	then :; else \
		{ test -x $(BIN)/pip || $(PYTHON) -m venv .venv; } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r $< && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'from stemdrop import cli; cli.skip_unused_imports(); import $(USED)'
	@touch $@
endef

.venv/.ready: requirements.lock pyproject.toml
	$(install)

# Without what only developers need, such as the browser's driver.
.venv/.sandbox: requirements-sandbox.lock pyproject.toml
	$(install)

demo: .venv/.sandbox
	@$(BIN)/python -m sandbox.play

# Until Ctrl-C, which is no error.
sandbox: .venv/.sandbox
	@$(BIN)/python -m sandbox.play.trained_model
	@$(BIN)/stemdrop sandbox || test $$? -eq 130

stories: setup
	@$(BIN)/python -m tools.generate_chat_docs

# Needs Chromium (Debian: chromium) and fonts-noto-color-emoji.
page-pictures: setup
	@$(BIN)/python -m tools.take_page_pictures

docs: setup
	@$(BIN)/python -m tools.generate_settings_docs

# Eight processes for two cores: much of a journey is waiting for leases, polls and flood limits.
test: setup
	@$(BIN)/python -m pytest -n 8

# An input that fails here becomes an ordinary test.
FUZZ ?= 10
fuzz: setup
	@FUZZ=$(FUZZ) $(BIN)/python -m pytest -n 2 --timeout 3600 \
		tests/stemdrop/provider/sunoapi/test_parsers.py tests/webhook/test_parsers.py tests/webhook/test_api_fuzzing.py

# Plays the stories of the sandbox's page in a browser: about a minute. Needs Chromium (Debian: chromium).
page-test: setup
	@$(BIN)/python -m pytest tests/sandbox/page -n 2

# Builds the images, starts every profile of docker-compose.yml, plays songs and kills containers: about ten minutes.
# Needs Docker with Compose 2.26 or newer, and removes everything that it made.
compose-test: setup
	@docker info >/dev/null && docker compose version
	@COMPOSE_TEST=1 $(BIN)/python -m pytest tests/compose -n 0 --timeout 1800 -v --durations 0

# Causes every fault as often and as long as docs/reliability.md says, and writes the table there: twenty minutes.
# Root and Debian's libfaketime are needed to run all cases.
faults: setup
	@$(BIN)/python -m pytest tests/faults -n 4 --full --timeout 3600 --report docs/reliability.md

# Measures speed and cost beside baselines and writes docs/performance.md: up to ten minutes on an idle machine. Only
# some parts, and only to the terminal: BENCH="callbacks deliveries". Linux only.
bench: setup
	@PYTHONPATH=tests/support $(BIN)/python tests/bench $(BENCH)

# Holds the engines to their figures in docs/separator.md. Downloads Spleeter's and HTDemucs' models once; the weights of
# HTDemucs are for personal and research use only.
quality: setup
	@$(BIN)/python -m pytest -n 0 -s --full --timeout 1800 tests/separator/test_quality.py \
		tests/separator/test_spleeter.py tests/separator/test_htdemucs.py

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@export npm_config_fetch_retries=0 npm_config_fetch_timeout=20000; \
	if npx --yes --package typescript@5.9 tsc --version >/dev/null 2>&1; then \
		npx --yes --package typescript@5.9 tsc --project webhook/mixer/page/jsconfig.json && \
		npx --yes --package typescript@5.9 tsc --project sandbox/page/jsconfig.json; \
	else \
		echo '!!! NOT CHECKED: the types of the pages. There is no npx here, or no TypeScript for it' >&2; \
	fi

types: setup
	@$(BIN)/mypy

# Checks the pinned requirements for known vulnerabilities; says so where no service answers.
audit: setup
	@$(BIN)/python .ci/audit.py requirements.lock

format: setup
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

# Checks ops/ with Prometheus' own tool.
ops-check:
	@if command -v promtool >/dev/null; then \
		cd ops && promtool check config prometheus.yml && promtool test rules alerts_test.yml; \
	else \
		echo '!!! NOT CHECKED: ops/. There is no promtool here (Debian: apt-get install prometheus)' >&2; \
	fi

all: lint types audit ops-check test
