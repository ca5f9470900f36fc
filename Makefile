# The one list of commands, the same for people and for CI. "make" alone prints it.
#
# ARGS goes to the program behind a target: make demo ARGS="--keep", make test ARGS="-k kafka".
# COUNT and SEED are those of make faults.
# SCALE is short for the demo's --scale: make demo SCALE=0.01. Tests run in two processes, a file in
# one of them, in the order of their names, but the faults first, which take longest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: setup demo test fuzz instructions faults bench bench-e2e lint format sbom clean help

ARGS ?=
SCALE ?=
COUNT ?=
SEED ?=
SECONDS ?=

setup: ## Install what is missing: system packages, .venv, the compiled core, Kafka's jars
	@deploy/setup.sh

demo: setup ## Run the national year through Kafka and the worker (SCALE=0.01 is the quick one)
	@.venv/bin/gatejoin demo $(if $(SCALE),--scale $(SCALE)) $(ARGS)

test: setup ## Run all tests, linters and type checks included (ARGS="-k kafka" picks some)
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: setup ## Fuzz the compiled core, each target for SECONDS (60); ARGS="records" picks one
	@.venv/bin/python -m tests.fuzz.run $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

instructions: setup ## Record again how many instructions the core's hot loops take
	@.venv/bin/python -m tests.instructions.count

faults: setup ## Break workers, brokers and connections and verify (COUNT=200 SEED=any)
	@.venv/bin/python -m tests.faults.harness $(if $(COUNT),--count $(COUNT)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

bench: setup ## Measure the kernel against its peers: results and chart in benchmarks/results
	@mkdir -p .benchmarks
	@.venv/bin/python -m pytest --quiet --benchmark-json=.benchmarks/kernel.json $(ARGS) \
		benchmarks/kernel
	@.venv/bin/python -m benchmarks.kernel.report .benchmarks/kernel.json benchmarks/results

bench-e2e: setup ## Measure the pipeline against its peers (ARGS="--mode quick", "--help")
	@benchmarks/pipeline/setup.sh
	@.venv/bin/python -m benchmarks.pipeline $(ARGS)

lint: setup ## Check style, formatting and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup ## Format the code and mend what can be mended
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

sbom: setup ## Write deploy/sbom.cdx.json, what a worker runs with, and all else written from code
	@.venv/bin/python deploy/generate.py

clean: ## Remove all that was made here, .venv too (Kafka's jars stay in the cache)
	@rm -rf .venv build dist .benchmarks .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@rm -rf *.egg-info core_ext/*.so core_ext/*.c core_ext/*.html
	@find core_ext stream tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## Print this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 14
