# Every purpose has one command; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
# Most tests wait for brokers and workers, not for a processor.
PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup check test demo bench simulate fuzz faults up

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# pip before 25.1 knows no dependency groups.
.venv/worker: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Tidegate needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --editable ".[worker,registry,alerts]"
	@touch $@

.venv/dev: .venv/worker
	$(BIN)/pip install --quiet --editable ".[worker,registry,alerts]" --group dev
	@touch $@

.venv/fuzz: .venv/dev
	$(BIN)/pip install --quiet --group fuzz
	@touch $@

setup: .venv/dev ## make .venv with everything that developers need

demo: .venv/worker ## run the whole loop in one to two minutes (KAFKA=local for a real Apache Kafka)
	@$(BIN)/tidegate demo $(if $(KAFKA),--kafka $(KAFKA))

test: .venv/dev ## run the tests (ARGS="tests/streams -q" for some of them; PROCESSES=0 for one after the other)
	@$(BIN)/pytest -n $(PROCESSES) --dist loadfile $(ARGS)

check: .venv/dev ## lint, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

bench: .venv/dev ## list the benchmarks; NAME=joiner runs one
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

simulate: .venv/dev ## play N schedules of faults from SEED on (ARGS=--planted hunts planted bugs)
	@$(BIN)/python -m tests.simulation --seed $(or $(SEED),0) --schedules $(or $(N),2000) $(ARGS)

fuzz: .venv/dev $(if $(findstring --atheris,$(ARGS)),.venv/fuzz) ## mutate a million recorded frames (ARGS="--mutations 20000 --seed 7", ARGS=--atheris)
	@$(BIN)/python -m tests.fuzz $(ARGS)

faults: .venv/dev ## real faults on a real Apache Kafka, hours (ARGS="kill --times 1", --list)
	@$(BIN)/python -m tests.faults $(ARGS)

up: .venv/worker ## broker, topics and worker for development, until Ctrl-C
	@$(BIN)/tidegate up
