# `make demo` and `make test` need Debian 12, root and Python 3.11 with venv. They install everything else once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test cluster-test torture fuzz mutants upstream-test lint format bench proto docs site site-version chart dist requirements tools clean distclean

BIN := .venv/bin
VENV := .venv/.ready
UPSTREAM_VENV := .venv-upstream/.ready
HOST_PACKAGES := host
TEST_PACKAGES := host formats databases guest ceph cluster torture history
export CINDERLIB_CACHE ?= $(HOME)/.cache/csi-cinderlib

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo: $(VENV) .venv/.packages-host ## Show the life cycle of a volume, on real block devices
	@$(BIN)/csi-cinderlib demo

test: $(VENV) $(UPSTREAM_VENV) .venv/.packages-test tools ## Lint and run all tests, as in continuous integration
	@scripts/run-tests

cluster-test: $(VENV) .venv/.packages-test ## Build Kubernetes and our images (once; 15 minutes), then test the driver in a real cluster (30 minutes)
	@$(BIN)/python -m tools --required cluster-test
	@$(BIN)/python -m tests.cluster.bed.images
	@CINDERLIB_CLUSTER_TEST=1 $(BIN)/pytest -q tests/cluster/driver

torture: $(VENV) .venv/.packages-torture ## Kill and disturb the driver under load, and check all data; MINUTES, SEED, BED=loopfile|array, DISTURBANCES, KEEP=1
	@$(BIN)/python -m tests.torture $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(BED),--bed $(BED)) \
		$(if $(DISTURBANCES),--disturbances $(DISTURBANCES)) $(if $(KEEP),--keep)

fuzz: $(VENV) .venv/.packages-host ## Send a million valid and invalid requests to a server (half an hour); REQUESTS, SEED
	@$(BIN)/python -m tests.fuzz $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED))

mutants: $(VENV) .venv/.packages-host ## Mutation testing of the code that protects data (hours; resumes after an interruption)
	@$(BIN)/python -m tests.mutation $(MODULES)

upstream-test: $(UPSTREAM_VENV) ## Run Cinder's own driver tests on stock Cinder and on our runtime (10 minutes on two cores)
	@.venv-upstream/bin/python -m tests.upstream $(PARTS)

lint: $(VENV) ## Check formatting, ruff, mypy and the import contracts
	@scripts/run-tests format ruff mypy imports

format: $(VENV) ## Format the code and apply ruff's fixes
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format

bench: $(VENV) .venv/.packages-test tools ## Run the benchmarks against their budgets
	@$(BIN)/python -m tests.bench.library.original
	@$(BIN)/python -m tests.bench

proto: $(VENV) ## Generate the gRPC stubs from proto/
	@$(BIN)/python -m scripts.generate protos

docs: $(VENV) ## Generate the reference pages from the code
	@$(BIN)/python -m scripts.generate catalogue docs

site: $(VENV) ## Build the documentation site in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

site-version: $(VENV) ## Add a version to the documentation on the branch "site": make site-version VERSION=1.2
	@$(BIN)/python -m scripts.site.publish "$(VERSION)"

chart: $(VENV) ## Generate the chart's definitions, README and test snapshots
	@$(BIN)/python -m tools --required helm
	@$(BIN)/python -m scripts.generate chart

dist: $(VENV) ## Build the files of a release: the Python packages and the packaged chart
	@rm -rf build dist
	@$(BIN)/python -m tools --required helm
	@$(BIN)/uv build --quiet --no-build-isolation
	@"$$($(BIN)/python -m tools --path helm)" package charts/csi-cinderlib --destination dist
	@ls dist

requirements: $(VENV) ## Lock the newest versions that pyproject.toml allows
	@scripts/lock-requirements --upgrade

tools: $(VENV) .venv/.packages-test ## Build or download the programs that the tests run, into the cache (once; 15 minutes)
	@$(BIN)/python -m tools
	@$(BIN)/python -m tests.installation

clean: ## Remove the files of builds and tests from the tree
	@rm -rf build dist mutants .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -path './.venv*' -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean ## Also remove the virtual environments
	@rm -rf .venv .venv-upstream *.egg-info

$(VENV): requirements/dev.txt requirements/uv.txt pyproject.toml scripts/make-venv
	@scripts/make-venv
	@touch $@

# Separate from .venv: Cinder's tests must find only a controller's packages and their own libraries.
$(UPSTREAM_VENV): requirements/upstream.txt | $(VENV)
	@echo "installing the packages of requirements/upstream.txt"
	@$(BIN)/uv venv --quiet --no-config --clear --python $(BIN)/python .venv-upstream
	@$(BIN)/uv pip sync --quiet --no-config --compile-bytecode --require-hashes --python .venv-upstream/bin/python $<
	@touch $@

.venv/.packages-host: requirements/debian/host.txt | $(VENV)
	@scripts/install-debian-packages $(HOST_PACKAGES)
	@touch $@

.venv/.packages-torture: requirements/debian/host.txt requirements/debian/torture.txt | $(VENV)
	@scripts/install-debian-packages $(HOST_PACKAGES) torture
	@touch $@

.venv/.packages-test: $(TEST_PACKAGES:%=requirements/debian/%.txt) | $(VENV)
	@scripts/install-debian-packages $(TEST_PACKAGES)
	@touch $@
