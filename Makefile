# Everything a newcomer or CI needs. `make demo` and `make test` prepare the machine themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
# Debian packages: what the product needs to start, and what the tests drive as independent peers.
SYSTEM_RUN := python3-venv
SYSTEM_TEST := mbpoll mosquitto strace
ARGS ?=

.PHONY: help demo test check bench deep lock clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

demo: $(VENV)/.installed ## a simulated SMP, six simulated sites and the gateway in one terminal (ARGS=--once ends by itself)
	@$(BIN)/smp-gateway demo $(ARGS)

test: $(VENV)/.installed-dev $(VENV)/.peers $(VENV)/.peers-npm ## every test, with the minutes per suite
	@$(BIN)/python tests/run.py $(ARGS)

check: $(VENV)/.installed-dev ## style, types, architecture, generated files
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy
	@$(BIN)/smp-gateway check config/gateway.yaml

bench: $(VENV)/.installed-dev ## added latency beside the floor, measured in one run
	@$(BIN)/python -m tests.bench $(ARGS)

deep: $(VENV)/.installed-dev $(VENV)/.peers ## the promises of docs/assurance.md, tried for long; resumable (P=P1 MINUTES=20)
	@$(BIN)/python -m tests.deep $(if $(P),--promise $(P)) $(if $(MINUTES),--minutes $(MINUTES))

lock: $(VENV)/.installed-dev ## resolve requirements*.lock anew from pyproject.toml
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra dev pyproject.toml -o requirements-dev.lock

clean: ## forget everything that was installed or generated
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install python3 (Debian, Ubuntu: apt-get install python3 python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory packages WANTED="$(SYSTEM_RUN)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/pip
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/pip
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(VENV)/.installed $@

$(VENV)/.peers: | $(VENV)/bin/pip
	@for p in $(SYSTEM_TEST); do PATH=$$PATH:/usr/sbin command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then $(MAKE) --no-print-directory packages WANTED="$$missing" || { [ -z "$$REQUIRE_PEERS" ] || exit 1; }; fi
	@touch $@

.PHONY: packages
packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing:$(WANTED)"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(WANTED) >/dev/null; \
	else echo "please install first: apt-get install$(WANTED)"; exit 1; fi

$(VENV)/.peers-npm: tests/peers/package-lock.json | $(VENV)/bin/pip
	@{ command -v npm >/dev/null && (cd tests/peers && npm ci --silent); } || [ -z "$$REQUIRE_PEERS" ] || { echo "npm, and Node.js 20 or newer, are needed for tests/peers"; exit 1; }
	@touch $@
