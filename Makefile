# `make demo` and `make test`: each makes .venv, installs what it needs once, and runs. A second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
# One thread a test process: two of them share two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --jaxtyping-packages=mcdist,beartype.beartype

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-slurm chaos chaos-ci fuzz lint format types imports docs coverage clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo-installed ## generate data, build shards, train, evaluate, report: runs/demo/report.html
	$(BIN)/mcdist demo

test: lint types imports ## everything a change must pass: style, types, import contracts, tests
	$(PYTEST) -m "not slow and not slurm"

test-slow: $(VENV)/.test-installed ## the tests that take longer
	$(PYTEST) -m "slow and not slurm"

test-slurm: $(VENV)/.test-installed ## the tests on a SLURM cluster of their own, which they install (Debian, root) and end
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --jaxtyping-packages=mcdist,beartype.beartype -m slurm

chaos: $(VENV)/.test-installed ## 500 faults at random: processes killed, disks full, shards damaged (docs/reliability.md); SEED=0
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos --faults 500 --seed $(or $(SEED),0)

chaos-ci: $(VENV)/.test-installed ## the same with 40 faults
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos --faults 40 --small --seed $(or $(SEED),0)

fuzz: $(VENV)/.test-installed ## broken and hostile files for every reader, 60 seconds each; SEED=0
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --seconds 60 --seed $(or $(SEED),0)

lint: $(VENV)/.test-installed ## style and format, as they are
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test-installed ## put the format right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.test-installed ## mypy
	$(BIN)/mypy

imports: $(VENV)/.test-installed ## the import contracts of setup.cfg
	$(BIN)/lint-imports --config setup.cfg

docs: $(VENV)/.docs-installed ## the documentation site: build/docs/index.html; every warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -n -b html docs build/docs

coverage: $(VENV)/.test-installed ## which lines the tests reach
	$(PYTEST) -m "not slow and not slurm" --cov --cov-report=term

clean: ## remove the environment, the caches and the demo's files
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage data/demo runs/demo
	find mcdist shards launch benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@sh .ci/make-venv "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.demo-installed: $(VENV)/.created setup.cfg setup.py constraints.txt
	@echo "installing mcdist into $(VENV) (once; some minutes)"
	@$(PIP) --editable '.[faiss-cpu]'
	@touch $@

$(VENV)/.docs-installed: $(VENV)/.demo-installed
	@echo "installing what the documentation needs into $(VENV) (once)"
	@$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/.test-installed: $(VENV)/.demo-installed .ci/install-ffcv
	@echo "installing what the tests need into $(VENV) (once)"
	@$(PIP) --editable '.[coco,deepspeed,faiss-cpu,mlflow,motion,saliency,slurm,view,vit,dev]'
	@sh .ci/install-ffcv "$(BIN)/python"
	@touch $@
