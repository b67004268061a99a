# What a developer types. `make` alone prints help.
#
# The environment in .venv comes from the hashed pins, before whatever needs it: requirements.txt
# to run the service, requirements-dev.txt, which holds all of the former, to work on it, and
# requirements-procrastinate.txt, which does, too, to run a worker of the engine `procrastinate`.

PYTHON ?= python3
# A path to test, instead of everything: make test T=tests/core
T ?=
# How many processes test at a time, or auto; 0 is this one, for a debugger: make test JOBS=0.
# One more than the cores of a small machine: many tests wait for other processes. A process that
# runs out of tests takes over others', as the long ones lie side by side.
JOBS ?= 3
# How many times as many random examples as usual: make test EXAMPLES=10
EXAMPLES ?=
# The title of a migration: make revision m="add expiry"
m ?=
# Leave the demonstration running, to look at in a browser: make demo KEEP=1
KEEP ?=
# Options for the resolver: make lock UPGRADE=--upgrade, or --upgrade-package=flask
UPGRADE ?=

BIN := .venv/bin
RUN := .venv/.requirements
ENGINE := .venv/.requirements-procrastinate
DEV := .venv/.requirements-dev
NODE := tests/axios/node_modules/.package-lock.json
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
UV := uv==0.13.9
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes $(UPGRADE) \
	--custom-compile-command 'make lock' -o
LOCKS := $(wildcard requirements*.txt) benchmarks/requirements.txt
CODE := $(wildcard service tests benchmarks chaos migrations wsgi.py gunicorn.conf.py)

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
# A half-made environment is made again.
.DELETE_ON_ERROR:
.PHONY: help run worker demo test cover lint types layers fix migrate revision bench chaos pictures lock sure clean

# What would put packages elsewhere than into .venv, or take modules from elsewhere.
export PIP_USER := 0
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON
unexport PIP_CONSTRAINT PIP_REQUIREMENT PIP_EDITABLE PIP_DRY_RUN PIP_NO_DEPS
# Each process that tests would compile all tests for itself.
unexport PYTHONDONTWRITEBYTECODE
export EXAMPLES

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s%s\n", $$1, $$2 }' Makefile

run: $(RUN) ## Serve on 127.0.0.1:$PORT (8000); the first start prints a request to paste
	@$(BIN)/flask --app wsgi welcome
	@exec $(BIN)/gunicorn wsgi:app

worker: $(ENGINE) ## Send what DISPATCH=procrastinate leaves in the queue of a Postgres database
	@exec $(BIN)/flask --app wsgi worker

demo: $(RUN) ## Show a broadcast to its last delivery; KEEP=1 leaves the service and its console up
	@KEEP=$(KEEP) $(BIN)/python -m service.demo

test: $(DEV) $(NODE) ## Test on SQLite and Postgres; T=path for a part
	@$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal $(T)

cover: $(DEV) $(NODE) ## Test, and show the branches of the service that no test takes
	@$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal --cov=service $(T)

lint: $(DEV) ## Check style and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Run make fix to format these:"; \
		$(BIN)/ruff format --check . ; exit 1; }

types: $(DEV) ## Check types
	@$(BIN)/mypy --no-error-summary $(CODE)

layers: $(DEV) ## Check that imports go down only
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }

fix: $(DEV) ## Format, and mend what can be mended without thought
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

migrate: $(RUN) ## Bring the database to the newest migration
	@$(BIN)/flask --app wsgi migrate

revision: $(DEV) ## Write a migration from the models' changes: make revision m="add expiry"
	@test -n "$(m)" || { echo 'Say what it does: make revision m="add expiry"'; exit 1; }
	@DATA_DIR=$$(mktemp -d) DATABASE_URL= && export DATA_DIR DATABASE_URL && \
		trap 'rm -rf "$$DATA_DIR"' EXIT && \
		last=$$(ls migrations/versions | sed -n 's/^\([0-9]\{4\}\)_.*\.py$$/\1/p' | tail -n 1) && \
		name=$$(printf '%04d %s' $$((1$${last:-0000} - 9999)) "$(m)" | \
			tr 'A-Z' 'a-z' | tr -cs 'a-z0-9' '_' | sed 's/_*$$//') && \
		$(BIN)/alembic upgrade head && \
		$(BIN)/alembic revision --autogenerate --message "$(m)" --rev-id "$$name" && \
		$(BIN)/ruff check --quiet --fix --select I "migrations/versions/$$name.py" && \
		$(BIN)/ruff format --quiet "migrations/versions/$$name.py"

bench: $(DEV) ## Measure speed beside the usual ways, and print the table
	@$(BIN)/python -m benchmarks

chaos: $(DEV) ## Kill, freeze and starve a running service, and count what was lost
	@$(BIN)/python -m chaos

pictures: $(DEV) ## Take the pictures of the console that the documentation shows
	@$(BIN)/python -m tests.console.pictures

lock: | $(BIN)/python ## Pin the requirements anew; UPGRADE=--upgrade takes the newest of all
	@$(PIP) $(UV)
	@$(COMPILE) requirements.txt pyproject.toml
	@$(COMPILE) requirements-dev.txt pyproject.toml --group dev -c requirements.txt
	@$(COMPILE) requirements-apprise.txt pyproject.toml --extra apprise -c requirements-dev.txt
	@$(COMPILE) requirements-smpp.txt pyproject.toml --extra smpp -c requirements-dev.txt
	@$(COMPILE) requirements-procrastinate.txt pyproject.toml --extra procrastinate \
		-c requirements-dev.txt
	@$(COMPILE) benchmarks/requirements.txt benchmarks/requirements.in
	@! grep -n '://' $(LOCKS)
	@for folder in . benchmarks; do \
		sed -n 's/^\([a-z].*==.*[^ ]\) \\$$/\1/p' $$folder/requirements*.txt | LC_ALL=C sort -u \
			> $$folder/constraints.txt; \
	done
	@for lock in $(LOCKS); do \
		{ echo '-c constraints.txt'; cat $$lock; } > $$lock.new && mv $$lock.new $$lock; \
	done

sure: lint types layers test ## Run all that CI runs

clean: ## Remove .venv and what the tools left; never what the service keeps
	@rm -rf .venv .coverage .coverage.* htmlcov .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache .schemathesis tests/axios/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installing the developers' packages installs the service's too.
$(DEV): requirements-dev.txt tests/pips.txt | $(BIN)/python
	@echo 'Installing $< into .venv'
	@$(PIP) --require-hashes --requirement $<
	@sed -n '/^pip==/p' tests/pips.txt | while read -r pin; do echo "$$pin" > .venv/pip.txt && \
		$(BIN)/python -m pip download -qq --disable-pip-version-check --no-input --no-deps \
			--require-hashes --requirement .venv/pip.txt --dest .venv/pips || exit 1; done
	@touch $(RUN) $(ENGINE) $@

# npm is a program of the developers' packages. Without its registry the tests that need it skip.
$(NODE): tests/axios/package-lock.json | $(DEV)
	@echo 'Installing $< beside it'
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix $(<D) --no-audit --no-fund --loglevel=error \
		> /dev/null || echo 'That failed: tests with axios are skipped.'

$(ENGINE): requirements-procrastinate.txt | $(BIN)/python
	@echo 'Installing $< into .venv'
	@$(PIP) --require-hashes --requirement $<
	@touch $(RUN) $@

$(RUN): requirements.txt | $(BIN)/python
	@echo 'Installing $< into .venv'
	@$(PIP) --require-hashes --requirement $<
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Crier needs Python 3.11 or newer, and $(PYTHON) is none: make PYTHON=... names one.'; \
		exit 1; }
	@$(PYTHON) -m venv .venv
	@[ "$$(id -u)" != 0 ] || case $$(readlink -f $@) in /root/*) \
		echo 'Only root can run the Python of this .venv. For a service that has a user of its own,'; \
		echo 'remove .venv and choose another one: make PYTHON=/usr/bin/python3 ...';; esac
