# `make` alone prints what there is. Everything runs in the environment that
# `make setup` builds in .venv from requirements.lock; nothing is installed
# elsewhere.

SHELL := /bin/bash
PYTHON_BIN := .venv/bin/python
# The tests of everything that must also run on today's JAX and Python, where
# nothing is drawn. Contracts run every objective and learner; what each computes
# in numbers does not change with JAX's version, and is in `make test`.
NEWEST_TESTS = $(filter-out %/draw_test.py %/policy_plots_test.py, \
  $(wildcard $(addprefix tests/objectives/, \
  base_test.py contract_test.py ive_test.py self_consistency_test.py) \
  $(addprefix tests/learners/,base_test.py contract_test.py) \
  tests/networks tests/ops tests/evaluation/*_test.py \
  tests/evaluation/figures/*_test.py tests/acting_test.py))
# What `make test` runs: the pure half, environments, files and flags of runs, and
# one run from end to end for each way to train. `make test-all` also runs all
# the rest: Reverb and Acme, faults, several hosts, pages in a browser, the wheel.
QUICK_TESTS = tests/launch/ways_to_train_test.py \
  $(filter-out tests/packaging_test.py tests/examples_test.py, \
  $(wildcard tests/*_test.py)) tests/envs tests/evaluation tests/learners \
  tests/networks tests/objectives tests/ops tests/launch/cli tests/launch/runs
REST = tests $(addprefix --ignore=,$(QUICK_TESTS))
# All tests but those of Launchpad's programs, which use several cores each, and
# those that watch a clock run side by side. A file stays in one process, where
# its tests share what was compiled. Files keep their order, in which long ones
# come first: xdist's own has the files of few tests last, which take longest.
ALONE = (launchpad or alone)
PARALLEL = -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-rest test-slow test-newest lint format docs lock doctor clean

help: ## Shows this list.
	@echo 'Usage: make TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' \
	  $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'First time: make demo. Needs Linux on x86_64, python3 and pip; finds'
	@echo 'or fetches Python 3.10. NVIDIA GPU: EXTRA=cuda make setup.'

setup: ## Builds .venv from requirements.lock (a few minutes, once).
	@scripts/setup.sh

demo: setup ## Trains DISDAIN in four rooms, anew in runs/demo; pictures.
	@rm -rf runs/demo
	@$(PYTHON_BIN) -m launch.run_local --agent=disdain \
	  --env=grid:disdain_release --output_dir=runs/demo

test: setup ## Runs the pure half's tests, and each way to train once.
	@$(PYTHON_BIN) -m pytest $(PARALLEL) -m 'not slow and not $(ALONE)' \
	  $(QUICK_TESTS)

test-all: test test-rest test-newest ## Runs all tests but the slow ones.

test-rest: setup ## Runs what `make test` leaves out.
	@$(PYTHON_BIN) -m pytest $(PARALLEL) -m 'not slow and not $(ALONE)' $(REST)
	@$(PYTHON_BIN) -m pytest -m 'not slow and $(ALONE)' $(REST)

test-slow: setup ## Runs only the slow tests: learning, long programs.
	@$(PYTHON_BIN) -m pytest -m slow

test-newest: ## Runs the pure half's tests on today's JAX and Python >= 3.12.
	@scripts/setup.sh --newest
	@test -n '$(NEWEST_TESTS)' || { echo 'no tests of the pure half'; exit 1; }
	@.venv-newest/bin/python -m pytest $(PARALLEL) \
	  -o cache_dir=.venv-newest/.pytest_cache $(NEWEST_TESTS)

lint: setup ## Checks format, style, direction of imports and types.
	@.venv/bin/ruff format --check
	@.venv/bin/ruff check
	@.venv/bin/lint-imports
	@.venv/bin/pyrefly check

format: setup ## Formats the code and repairs what ruff can.
	@.venv/bin/ruff check --fix-only --quiet
	@.venv/bin/ruff format

doctor: setup ## Says what is wrong with the installation and how to fix it.
	@$(PYTHON_BIN) -m launch.doctor

docs: .venv-docs/bin/mkdocs ## Builds the site with an API reference in build/site.
	@scripts/docs.sh

.venv-docs/bin/mkdocs: requirements-docs.lock
	@test -x $(PYTHON_BIN) || scripts/setup.sh
	@$(PYTHON_BIN) -m venv --clear .venv-docs
	@.venv-docs/bin/pip install --quiet --no-deps --require-hashes \
	  -r requirements-docs.lock
	@touch $@

lock: ## Resolves the pins again and writes requirements*.lock (needs uv).
	@scripts/lock.sh

clean: ## Removes the environments and caches; keeps runs/.
	rm -rf .venv .venv-newest .venv-docs .uv build dist *.egg-info .pytest_cache \
	  .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
