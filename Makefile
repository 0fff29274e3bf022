# Everything happens in .venv, which is made at the first call. `make help` lists the targets.

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test model lint set-up clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: set-up ## run the main job with simulated providers; ONCE=1 ends when the batch is final
	@$(BIN)/refundry demo $(if $(filter 1 yes true,$(ONCE)),--once)

test: lint ## run the whole suite: ruff, mypy, pytest
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

model: set-up ## search the protocol's model with SPIN; QUICK=1 only what takes seconds
	@$(BIN)/python docs/model/check.py $(if $(filter 1 yes true,$(QUICK)),--quick)

lint: set-up ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

set-up: ## make .venv, or bring it up to date
	@.ci/set-up

clean: ## remove .venv and caches; data in .refundry stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
