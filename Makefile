# The two commands of the README are `make up` and `make test`; `make check` is what a review asks for.
PYTHON ?= python3
STACK ?= dev
VENV := .venv
BIN := $(VENV)/bin
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
# Some images say so: every process of a test run would compile again whatever it imports.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help up down status example check test scan bench lock docs clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

# The environment of the program and its host: what `pulumi install` would make, plus this package.
$(VENV)/host: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 up" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# What checks, tests and the example need on top; uv came with the host's requirements.
$(VENV)/dev: $(VENV)/host requirements-dev.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@touch $@

# The scanner in an environment of its own: its pins clash with Pulumi's.
$(VENV)/checkov/made: $(VENV)/host requirements-checkov.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/checkov
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(VENV)/checkov/bin/python --require-hashes -r requirements-checkov.txt
	@touch $@

up: $(VENV)/host ## run the stack here: make up STACK=prod
	@$(BIN)/trackstack up --stack $(STACK)

down: $(VENV)/host ## stop it; its data is kept
	@$(BIN)/trackstack down --stack $(STACK)

status: $(VENV)/host ## check server, database and artifact store
	@$(BIN)/trackstack status --stack $(STACK)

example: $(VENV)/dev ## train a model that logs into the stack
	@eval "$$($(BIN)/trackstack env --stack $(STACK))" && $(BIN)/python examples/train.py

check: $(VENV)/dev ## format, lint, types, layers, generated reference
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m cogapp --check README.md docs/*.md

test: $(VENV)/dev $(VENV)/checkov/made ## every test; PYTEST="-k name" for some
	@$(BIN)/python -m pytest -n 3 --dist loadgroup $(PYTEST)

scan: $(VENV)/dev $(VENV)/checkov/made ## what checkov says of each stack, with the reasons for what stays
	@$(BIN)/python -m tests.scanner

bench: $(VENV)/dev ## ours beside stock, in one run
	@$(BIN)/python -m tests.bench $(BENCH)

docs: $(VENV)/dev ## write the generated parts of README and docs
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m cogapp -r README.md docs/*.md

lock: $(VENV)/dev ## resolve the four lock files anew
	@$(BIN)/uv pip compile $(LOCK) requirements.in -o requirements.txt
	@$(BIN)/uv pip compile $(LOCK) requirements-dev.in -o requirements-dev.txt
	@$(BIN)/uv pip compile $(LOCK) requirements-checkov.in -o requirements-checkov.txt
	@$(BIN)/uv pip compile $(LOCK) trackstack/server/requirements.in --excludes trackstack/server/requirements.excludes.txt -o trackstack/server/requirements.txt

clean: ## remove what was made here; stacks and their data stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
