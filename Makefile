# make demo and make test are all a fresh machine needs: Linux x86-64, Python 3.11 or newer, make
# and a C++ compiler. Both share one environment, .venv, and reinstall only what has changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt
# Neither another Python environment nor a ROS installation that the shell has sourced may leak
# into ours; use colcon to build against the latter.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
ifdef ROS_DISTRO
unexport LD_LIBRARY_PATH
endif

# What an installation depends on. A stamp carries the hash of its contents, so that fresh
# timestamps (a new clone, another branch and back) don't cause an installation, and changes do.
INPUTS := pyproject.toml constraints.txt setup.py CMakeLists.txt package.xml \
  $(shell find config launch models msg scripts -type f -not -name '*.pyc' 2>/dev/null | sort)
HASH := $(shell sha256sum $(INPUTS) Makefile | sha256sum | cut -c 1-16)
RUNTIME := $(VENV)/.runtime-$(HASH)
DEVELOPMENT := $(VENV)/.development-$(HASH)

OUT ?= out/demo

.PHONY: help demo test test-fast docs lint fmt parameters changelog bench lock clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 11

demo: $(RUNTIME) ## Run the ROS 2 graph on the shipped clip, without a display; results in out/demo
	@$(BIN)/smap-ros demo --out $(OUT)

# A process a core; each takes whole files, one takes all that run graphs (conftest.py). ARGS="-n 0"
# runs them one after the other, for --pdb for example.
PARALLEL := -n auto --dist loadgroup --max-worker-restart=0

test: $(DEVELOPMENT) ## Install everything for development and run all tests (ARGS=... for pytest)
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-fast: $(DEVELOPMENT) ## Run the tests that take no time: a first look, not what a change must pass
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

docs: $(DEVELOPMENT) ## Build the documentation site into docs/_build; broken links fail
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -c docs . docs/_build
	@echo "docs/_build/index.html"

lint: $(DEVELOPMENT) ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

fmt: $(DEVELOPMENT) ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

parameters: $(RUNTIME) ## Write config/pose3d.yaml and docs/parameters.md from the code
	@$(BIN)/smap-ros parameters --yaml --out config/pose3d.yaml
	@$(BIN)/smap-ros parameters --markdown --out docs/parameters.md

changelog: ## Write CHANGELOG.rst, which bloom reads, from CHANGELOG.md; part of a release
	@$(PYTHON) .ci/changelog.py > .changelog.new && mv .changelog.new CHANGELOG.rst

bench: $(DEVELOPMENT) ## Run the benchmarks; each prints a table
	@$(BIN)/smap-ros bench
	@for script in $(filter-out bench/naive_% bench/__init__.py,$(wildcard bench/*.py)); do \
	  echo "== $$script"; $(BIN)/python $$script; done

lock: $(DEVELOPMENT) ## Write the versions installed in .venv to constraints.txt
	@$(BIN)/python .ci/lock.py > .constraints.new && mv .constraints.new constraints.txt

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) build dist install log out docs/_build *.egg-info smap_ros/msg smap_ros/*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make needs Python 3.11 or newer, found: $$($(PYTHON) --version 2>&1);" \
	    "say which with: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) pip setuptools wheel

# What builds the messages, straight from pyproject.toml: the package itself is built without
# isolation, against the ROS that it will run with. (setuptools warns that an editable install is
# one; not worth a line to the user.)
define install_requirements
@$(BIN)/python -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb")); \
  extras = project["project"]["optional-dependencies"]; \
  print(*project["build-system"]["requires"], *project["project"]["dependencies"], \
        *(need for extra in sys.argv[1:] for need in extras[extra]), sep="\n")' $(1) \
  > $(VENV)/requirements.txt
@$(PIP) --requirement $(VENV)/requirements.txt
@PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --no-deps --editable .
endef

# The runtime, without torch.
$(RUNTIME): | $(BIN)/python
	@echo "Installing the runtime (once; some minutes)"
	$(call install_requirements,ros view)
	@rm -f $(VENV)/.runtime-*
	@touch $@

# Everything. It includes the runtime, so that a first `make test` builds the package once.
$(DEVELOPMENT): | $(BIN)/python
	@echo "Installing everything for development (once; some minutes)"
	$(call install_requirements,ros view train dev docs)
	@rm -f $(VENV)/.runtime-* $(VENV)/.development-*
	@touch $(RUNTIME) $@
