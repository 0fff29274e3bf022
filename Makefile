# Everything happens in .venv, which is made at the first call. `make help` lists the targets.

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test faults soak mutants bench model audit-dependencies sbom lint set-up clean

PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: set-up ## run the main job with simulated providers; ONCE=1 ends when the batch is final
	@$(BIN)/refundry demo $(if $(filter 1 yes true,$(ONCE)),--once)

test: lint ## run the whole suite but the faults: ruff, mypy, pytest
	@$(PYTEST) --ignore=tests/faults

faults: set-up ## crash at every point, and break real servers under real processes
	@$(PYTEST) tests/faults

soak: set-up ## break a whole installation for MINUTES=20, from SEED=…, on STACK=postgresql (sqlite, rabbitmq)
	@$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),20) $(if $(SEED),--seed $(SEED)) $(if $(STACK),--stack $(STACK)) $(if $(JSON),--json $(JSON))

mutants: set-up ## break the product on purpose, one rule at a time; every break must be noticed
	@$(BIN)/python -m tests.mutants.run $(if $(ONLY),--only $(ONLY))

bench: set-up ## race Refundry against what teams write by hand and against other queues; QUICK=1 in three minutes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -W ignore -m bench $(if $(filter 1 yes true,$(QUICK)),--quick) $(if $(ONLY),--only $(ONLY)) \
	  $(if $(REFUNDS),--history $(REFUNDS)) $(if $(OPEN),--open $(OPEN)) $(if $(BACKLOG),--backlog $(BACKLOG)) \
	  $(if $(filter 1 yes true,$(DOCS)),--out docs/performance)

model: set-up ## search the protocol's model with SPIN; QUICK=1 only what takes seconds
	@$(BIN)/python docs/model/check.py $(if $(filter 1 yes true,$(QUICK)),--quick)

audit-dependencies: set-up ## ask for known vulnerabilities of what the service is made of
	@.ci/audit vulnerabilities

sbom: set-up ## list what the service is made of as CycloneDX, in build/sbom.json
	@.ci/audit sbom

lint: set-up ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

set-up: ## make .venv, or bring it up to date
	@.ci/set-up

clean: ## remove .venv and caches; data in .refundry stays
	rm -rf .venv .venv-audit .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
