# Everything runs from .venv, which the targets make and keep up to date by themselves.

PYTHON ?= $(shell .ci/find-python)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Touched after an installation; older than pyproject.toml or the lock: install again.
RUN_STAMP := .venv/installed-to-run
DEV_STAMP := .venv/installed-to-develop

# How often `make chaos` treats the system badly: tests/chaos/loops.py says what each of them counts.
KILLS := 48
RUNS := 200
SEEDS := 100
ROUNDS := 10
FROZEN_SECS := 10
LOOPS = --kills $(KILLS) --runs $(RUNS) --seeds $(SEEDS) --rounds $(ROUNDS) --frozen-secs $(FROZEN_SECS)

# Three at a time, however few the cores: much of the suite waits for others' deaths. Tests of a group (tests/conftest.py) stay together, in order.
AT_ONCE := -n 4 --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo up test chaos closed broker compox lint bench build lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

demo: $(RUN_STAMP) ## run two ready-made algorithms on micrographs, or on yours: make demo DATA=stack.tif
	@$(BIN)/python -m benchmarks.demo $(if $(DATA),--data "$$DATA") $(if $(DATASET),--dataset "$$DATASET")

up: $(RUN_STAMP) ## start the server; flags in ARGS: make up ARGS="--port 6000"
	@$(BIN)/voxloom up $(ARGS)

test: $(DEV_STAMP) broker compox ## run the tests; pytest's flags in ARGS: make test ARGS="-k client"
	@$(BIN)/python -m pytest $(AT_ONCE) $(ARGS)

chaos: $(DEV_STAMP) broker ## kills, freezes, lost disks, storms in long loops: make chaos KILLS=200 RUNS=500 SEEDS=200 ROUNDS=20
	@$(BIN)/python -m pytest tests/chaos $(LOOPS) --durations 20 $(ARGS)

closed: $(DEV_STAMP) broker compox ## the tests of the whole system, on servers that ask who people are
	@$(BIN)/python -m pytest $(AT_ONCE) tests/acceptance --closed $(ARGS)

broker: ## RabbitMQ, which the tests start for themselves (Debian's package; as root)
	@.ci/install-broker

lint: $(DEV_STAMP) ## what must hold before a commit: style, types, imports, generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m voxloom.client._generate --check
	$(BIN)/python -m services.gateway.reference --check

compox: $(DEV_STAMP) # Compox's wheel, of which the tests use the models of its answers; in a folder of its own
	@$(BIN)/python -m tests.compoxmodels

bench: $(DEV_STAMP) ## measure
	@$(BIN)/python -m benchmarks $(ARGS)

build: $(DEV_STAMP) ## wheel and sdist into dist/
	@$(BIN)/python -m build --outdir dist .

lock: $(DEV_STAMP) ## write requirements.lock anew; newest versions: make lock ARGS=--upgrade
	@$(BIN)/uv pip compile pyproject.toml --output-file requirements.lock --universal --python-version 3.11 \
		--all-extras --no-emit-index-url --no-annotate --custom-compile-command "make lock" --quiet $(ARGS)

clean: ## remove what make has made: .venv, dist, demo-output, caches
	rm -rf .venv dist demo-output .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(RUN_STAMP): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing Voxloom into .venv ..."
	@$(PIP) install -c requirements.lock -e '.[algorithms,bundles]'
	@touch $@

$(DEV_STAMP): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing Voxloom and its development tools into .venv ..."
	@$(PIP) install -c requirements.lock -e '.[algorithms,cluster,dev]'
	@touch $(RUN_STAMP) $@
