# What a user types. ARGS passes flags on: `make run ARGS="--configfile config/sample.yaml"`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
NNUNET := .venv-nnunet
BIN := $(VENV)/bin
ARGS ?=
# make's own variables must not reach the jobs' shells.
unexport MAKEFLAGS MFLAGS

.PHONY: env env-nnunet run plan status test test-full lint viewer docs clean help test-env env-export system-packages
.DEFAULT_GOAL := help

help:  ## what each command does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

env: $(VENV)/.installed  ## create .venv and install the pinned packages

run: env  ## run the pipeline on the embedded default; prints the report's path
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/run_workflow.py $(ARGS)

test: test-env system-packages  ## install what tests need, run all but the slow ones
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-full: test-env system-packages  ## every test, the long fault and training tests too
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n 2 --dist loadfile --timeout 3600 $(ARGS)

plan: env  ## what a run will take: jobs, CPU and GPU hours, peak disk
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/plan_run.py $(ARGS)

status: env  ## what is running, waiting, failed, and the expected end
	@$(BIN)/python scripts/show_status.py $(ARGS)

lint: test-env  ## ruff, snakefmt and Snakemake's own linter
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint

viewer: env  ## fetch the viewer that reports carry, where `make env` could not
	@$(BIN)/python scripts/fetch_viewer.py

docs: env  ## write config/README.md from the schemas
	$(BIN)/python scripts/describe_config.py --out-page config/README.md

clean:  ## remove what no rule declares: checkpoints, partial downloads, stale locks
	@[ ! -x $(BIN)/python ] || $(BIN)/python scripts/clean_results.py $(ARGS)
	rm -rf build .pytest_cache .ruff_cache .hypothesis

# A stamp each, made when everything is installed, so that a second call does nothing.
$(VENV)/.installed: envs/requirements.txt envs/constraints.txt | $(BIN)/python
	@echo 'installing the pinned packages (a few minutes)'
	@$(BIN)/python -m pip install -qq -r envs/requirements.txt -c envs/constraints.txt
	@$(BIN)/python scripts/fetch_viewer.py || true
	@touch $@

$(VENV)/.installed-test: envs/requirements-test.txt $(VENV)/.installed
	@echo 'installing what the tests need'
	@$(BIN)/python -m pip install -qq -r envs/requirements-test.txt -c envs/constraints.txt
	@touch $@

$(VENV)/.installed-export: envs/requirements-export.txt $(VENV)/.installed
	@echo 'installing what handing results on needs'
	@$(BIN)/python -m pip install -qq -r envs/requirements-export.txt -c envs/constraints.txt
	@touch $@

test-env: $(VENV)/.installed-test $(VENV)/.installed-export

env-nnunet: $(NNUNET)/.installed  ## create .venv-nnunet for the optional rule train_nnunet

# Without resolving: the file says why.
$(NNUNET)/.installed: envs/requirements-nnunet.txt envs/constraints.txt
	@echo 'installing nnU-Net apart from the other packages (a few minutes)'
	@[ -x $(NNUNET)/bin/python ] || $(PYTHON) -m venv $(NNUNET)
	@$(NNUNET)/bin/python -m pip install -qq \
	  --no-deps -r envs/requirements-nnunet.txt -c envs/constraints.txt
	@touch $@

env-export: $(VENV)/.installed-export  ## install what scripts/export_*.py need besides

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is missing or older than 3.11; expected Python 3.11 or newer;" \
	    "to mend it, install one and run: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "error: $(PYTHON) lacks its module venv; expected Debian's package python3-venv;" \
	    "to mend it, run: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Tests of DICOM files, of the page in a browser and of SLURM skip, with the reason, where these are
# missing.
system-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && \
	    ! { command -v dciodvfy && command -v chromium && command -v slurmdbd && \
	        command -v slurmctld && command -v slurmd && command -v mariadbd; } > /dev/null; then \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -q -y --no-install-recommends dicom3tools chromium munge \
	      slurm-wlm slurmctld slurmd slurmdbd mariadb-server; } > /dev/null || \
	  echo "dicom3tools, chromium or SLURM could not be installed: their tests skip"; \
	fi
