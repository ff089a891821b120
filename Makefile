# Everything here sets itself up: a virtual environment in .venv, packages pinned by hash.
#
#   make run [ARGS=--once]    start Penstock on an example with built-in sinks, and show what happens to the mail
#   make test [ARGS=...]      run the tests
#   make campaign             the long tests: every known mistake of the scheduler must be found (tens of minutes)
#   make fuzz [ARGS=...]      feed spoiled dialogues to both sides of SMTP for ten minutes; --seconds 60, --seed 7
#   make kills [ARGS=...]     kill the server before each of its storage calls, and fail each in every way (up to an hour; needs strace); --seed 7
#   make check                lint, types, layers
#   make bench                benchmarks (minutes; a quiet machine gives better figures)
#   make show K=relay-1       one acceptance check, with its figures; K=list lists them
#   make power-cuts           the acceptance check that needs privileges: root, loop devices, and (once) 'apt-get install xfsprogs'

# A system's own Python is built for speed, which one from elsewhere often is not: Debian's relays a fifth more mail than the same version unoptimized.
PYTHON ?= $(shell for each in /usr/bin/python3 python3; do \
  $$each -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.PHONY: setup run test campaign fuzz kills check bench show power-cuts lock clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Penstock needs Python 3.11 or later; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "This Python cannot make virtual environments: on Debian, run 'apt-get install python3-venv' as root, then try again." >&2; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements/runtime.txt | $(BIN)/pip
	@echo "Installing what Penstock needs to run ..."
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/runtime.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml $(VENV)/runtime.stamp
	@echo "Installing what its tests and checks need ..."
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(VENV)/dev.stamp

run: $(VENV)/runtime.stamp
	@PYTHONPATH=src exec $(BIN)/python -m penstock demo $(ARGS)

test: setup
	@$(BIN)/python -m pytest $(ARGS)

campaign: setup
	@$(BIN)/python -m pytest -m campaign $(ARGS)

fuzz: setup
	@$(BIN)/python -m benchmarks.fuzz $(ARGS)

kills: setup
	@$(BIN)/python -m benchmarks.show spool-3 --whole $(ARGS)

check: setup
	@$(BIN)/ruff check src tests benchmarks
	@$(BIN)/ruff format --check src tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m benchmarks $(ARGS)

show: setup
	@$(BIN)/python -m benchmarks.show $(K)

power-cuts: setup
	@$(BIN)/python -m benchmarks.show spool-2 $(ARGS)

# Needs uv; writes no index address. Run after a change to the dependencies in pyproject.toml.
lock:
	uv pip compile -q --generate-hashes --no-header --python-version 3.11 --universal pyproject.toml -o requirements/runtime.txt
	uv pip compile -q --generate-hashes --no-header --python-version 3.11 --universal --extra dev pyproject.toml \
	  -c requirements/runtime.txt -o requirements/dev.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
