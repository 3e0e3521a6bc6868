# make run    set up and run the default workflow to its report
# make test   set up and run the checks, in about 12 minutes on two idle cores
# make help   the rest, such as a SLURM on this machine to see it run on
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test test-all docs slurm-demo matrix lock

# Any of these may be given: make run CORES=2 CONFIG=configs/ci.yaml TARGET=annotation
PYTHON ?= $(shell command -v python3.11 || echo python3)
LOCK ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
CORES ?= all
CONFIG ?=
TARGET ?=
MATRIX ?=

STAMP := .venv/.stamp-$(LOCK)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:
	@echo "make run [CORES=2] [CONFIG=configs/ci.yaml] [TARGET=annotation]   set up, then run the workflow"
	@echo "make test                set up, then the checks: ruff, snakefmt, hadolint, snakemake --lint, Sphinx, mypy, pytest"
	@echo "make test-all            the same with the tests marked heavy: SLURM's faults, all kills, all stages of ZeRO"
	@echo "make slurm-demo          set up, start a SLURM of two nodes here (Debian, root), run configs/ci.yaml on it, end it"
	@echo "make matrix [MATRIX=--again]   every family of models through all stages: docs/families.md; ~1 hour"
	@echo "make setup [LOCK=gpu]    make .venv from envs/lock-cpu.txt or lock-gpu.txt (here: $(LOCK))"
	@echo "make docs                set up, then make the pages of docs/ as HTML: docs/_build/index.html"
	@echo "make lock                remake both locks from requirements.in"

run: setup
	snakemake $(TARGET) --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG))

test: setup
	scripts/check.sh -m "not heavy"

test-all: setup
	scripts/check.sh

slurm-demo: setup
	python tests/slurm/demo.py

matrix: setup
	PYTHONPATH=tests:tests/matrix:. nice -n 10 python tests/matrix/family_matrix.py $(MATRIX)
	python docs/families_page.py

docs: setup
	sphinx-build -W --keep-going -n docs docs/_build

setup: $(STAMP)

$(STAMP): envs/lock-$(LOCK).txt pyproject.toml scripts/setup.sh
	scripts/setup.sh $(LOCK) $(PYTHON)

lock:
	scripts/lock.sh $(PYTHON)
