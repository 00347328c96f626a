# `make demo` and `make test` need Debian 12, root and Python 3.11 with venv; everything else they fetch themselves, once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test cluster-test mutants lint format bench proto docs chart requirements tools clean distclean

BIN := .venv/bin
VENV := .venv/.ready
HOST_PACKAGES := host
TEST_PACKAGES := host databases guest ceph cluster
export CINDERLIB_CACHE ?= $(HOME)/.cache/csi-cinderlib

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo: $(VENV) .venv/.packages-host ## Watch a volume live its whole life, on real block devices
	@$(BIN)/csi-cinderlib demo

test: $(VENV) .venv/.packages-test tools ## Lint, then every test; what continuous integration runs
	@scripts/run-tests

cluster-test: $(VENV) .venv/.packages-test ## Build Kubernetes and our images (once; 15 minutes), then use the driver in a real cluster (25 minutes)
	@CINDERLIB_CACHE=$(CINDERLIB_CACHE) CINDERLIB_CLUSTER_TEST=1 $(BIN)/pytest -q tests/cluster/driver

mutants: $(VENV) .venv/.packages-host ## Mutation testing of the code that protects data (hours; continues where it was interrupted)
	@$(BIN)/python -m tests.mutation $(MODULES)

lint: $(VENV) ## Formatting, ruff, mypy and the import contracts only
	@scripts/run-tests format ruff mypy imports

format: $(VENV) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format

bench: $(VENV) .venv/.packages-test ## Measure against the budgets
	@$(BIN)/python -m tests.bench

proto: $(VENV) ## Generate the gRPC stubs from proto/
	@$(BIN)/python scripts/generate_protos.py

docs: $(VENV) ## Write the reference pages from the code
	@$(BIN)/python scripts/generate_docs.py
	@$(BIN)/python scripts/generate_driver_docs.py --catalogue

chart: $(VENV) ## Write what is made in the chart: definitions, README, snapshots of its tests
	@$(BIN)/python scripts/generate_chart.py

requirements: $(VENV) ## Lock the newest versions that fit pyproject.toml
	@scripts/lock-requirements --upgrade

tools: $(VENV) ## Build csi-sanity, and fetch a MySQL for the tests, into the cache
	@scripts/build-csi-sanity >/dev/null
	@scripts/mysql-server >/dev/null || echo "Its tests will be skipped."

clean: ## Remove what builds and tests left in the tree
	@rm -rf build dist mutants .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean ## The same, and .venv
	@rm -rf .venv *.egg-info

$(VENV): requirements/dev.txt requirements/uv.txt pyproject.toml scripts/make-venv
	@scripts/make-venv
	@touch $@

.venv/.packages-host: requirements/debian/host.txt | $(VENV)
	@scripts/install-debian-packages $(HOST_PACKAGES)
	@touch $@

.venv/.packages-test: $(TEST_PACKAGES:%=requirements/debian/%.txt) | $(VENV)
	@scripts/install-debian-packages $(TEST_PACKAGES)
	@touch $@
