# `make help` lists the targets. They write to .venv, .cache, .testbed and build, which git ignores.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .cache/uv/bin/uv
DISTRIBUTIONS := api planning operator runtime cli console monitoring testbed
PROJECTS := $(DISTRIBUTIONS:%=%/pyproject.toml)
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links --python-version 3.11 $(DISTRIBUTIONS:%=--no-emit-package edge-%)

.PHONY: help
help: ## Lists the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z][a-z0-9-]*:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ The two commands
.PHONY: demo test
demo: $(VENV)/.synced ## Compares the modes of a service on a real cluster while bandwidth changes (KEEP=1, CLUSTER=existing)
	@$(BIN)/python -m demo $(if $(KEEP),--keep) $(if $(CLUSTER),--cluster $(CLUSTER)) $(DEMO_ARGS)

test: $(VENV)/.synced ## Lint, types, contracts, unit and chart tests, and the end-to-end test on a real cluster
	@$(BIN)/python -m testbed.checks all

##@ Parts of them
.PHONY: test-fast lint types e2e e2e-extended e2e-k3s coverage
test-fast: $(VENV)/.synced ## All checks that do not need a cluster
	@$(BIN)/python -m testbed.checks fast

lint: $(VENV)/.synced ## ruff, import contracts and the prose linter
	@$(BIN)/python -m testbed.checks lint

types: $(VENV)/.synced ## mypy, strict
	@$(BIN)/python -m testbed.checks types

e2e: $(VENV)/.synced ## The end-to-end tests of `make test` alone
	@$(BIN)/python -m testbed.checks e2e

e2e-extended: $(VENV)/.synced ## Longer end-to-end tests that `make test` leaves out: several Triton servers, rollouts, links, certificates
	@$(BIN)/python -m testbed.checks e2e-extended

e2e-k3s: $(VENV)/.synced ## The tests of the chart on a cluster that is built from parts of K3s; `make e2e-extended` has them, too
	@$(BIN)/python -m testbed.checks e2e-k3s

coverage: $(VENV)/.synced ## The fast tests alone, with the line coverage of every module (TESTS=folder: no floor)
	@$(BIN)/python -m testbed.coverage --modules $(if $(TESTS),--no-floor) -q -m "not e2e and not load_tool and not openvino and not browser" $(TESTS)

##@ Benchmarks: each prints one JSON object as its last line
.PHONY: bench-planner bench-slo bench-forecasting bench-links bench-runtime bench-pool bench-operator bench-sharing bench-console bench-experience bench-size faults perf-analyzer fuzz-runtime models
bench-planner: $(VENV)/.synced ## Correctness and speed of the planner (ARGS=--quick: a short check)
	@$(BIN)/python -m benchmarks.bench_planner $(ARGS)

bench-slo: $(VENV)/.synced ## Compares the planner with Edgent, Neurosurgeon, DADS and an oracle on bandwidth traces (TRACES=dir)
	@$(BIN)/python -m benchmarks.bench_slo $(if $(TRACES),--traces $(TRACES)) $(ARGS)

bench-forecasting: $(VENV)/.synced ## Accuracy of bandwidth forecasts (TRACES=dir)
	@$(BIN)/python -m benchmarks.forecasting $(if $(TRACES),--traces $(TRACES)) $(ARGS)

bench-links: $(VENV)/.synced ## Accuracy of the runtime's link estimate and of routes chosen by it (TRACES=dir)
	@$(BIN)/python -m benchmarks.runtime.estimates $(if $(TRACES),--traces $(TRACES)) $(ARGS)

bench-runtime: $(VENV)/.synced ## Compares the runtime with KServe, MLServer and Triton (ARGS="--only PART …"; shaped links need root)
	@$(BIN)/python -m benchmarks.bench_runtime $(ARGS)

bench-pool: $(VENV)/.synced ## Costs of the operator and the runtimes on the testbed (ARGS="--only density idle restart tail converge steps")
	@$(BIN)/python -m benchmarks.bench_pool $(ARGS)

bench-operator: $(VENV)/.synced ## The operator on 1,000 and 10,000 services, simulated by kwok, on etcd and on SQLite (ARGS="--services 1000 --datastores etcd --only PHASE …")
	@$(BIN)/python -m benchmarks.bench_operator $(ARGS)

bench-console: $(VENV)/.synced ## The console's page with 500 services in Chromium: first paint, frames, axe-core's rules, memory
	@$(BIN)/python -m benchmarks.bench_console $(ARGS)

bench-experience: $(VENV)/.synced ## From helm install to a response, panels, alerts, the doctor, the console (ARGS="--only PART …"; needs root)
	@$(BIN)/python -m benchmarks.bench_experience $(ARGS)

bench-size: $(VENV)/.synced ## Memory for a model of 500 MB in the store and at a node (ARGS=--quick: 68 MB)
	@$(BIN)/python -m benchmarks.runtime.large_models $(ARGS)

bench-sharing: $(VENV)/.synced ## How tenants share a node of the testbed under overload (ARGS="--only overload isolation fairness")
	@$(BIN)/python -m benchmarks.bench_sharing $(ARGS)

faults: $(VENV)/.synced ## Plants faults on the testbed, checks invariants, and adds the runs to build/faults.jsonl (RUNS=20 ROWS='"link cut" …')
	@$(BIN)/python -m benchmarks.bench_faults $(if $(RUNS),--runs $(RUNS)) $(if $(ROWS),--rows $(ROWS)) $(ARGS)

perf-analyzer: $(VENV)/.synced ## Installs Triton's load tool and runs it (ARGS="-m digits -u localhost:8080")
	@$(BIN)/python -m testbed.perf_analyzer $(ARGS)

fuzz-runtime: $(VENV)/.synced ## Sends damaged requests to a server for ten minutes (ARGS="--seconds 60")
	@$(BIN)/python -m benchmarks.runtime.fuzzing $(ARGS)

models: $(VENV)/.synced ## Serves ONNX files of PyPI's packages and compares every response with onnxruntime's (ARGS="--only PART …")
	@$(BIN)/python -m benchmarks.bench_models $(ARGS)

.PHONY: check-openvino check-frameworks
check-openvino: $(VENV)/.synced ## Installs ONNX Runtime with OpenVINO and compares its results and times with the CPU provider's
	@$(BIN)/python -m testbed.openvino -m benchmarks.execution_providers

check-frameworks: $(VENV)/.synced ## Exports models by the recipes of docs/frameworks.md, and serves them (2.5 GB in .cache; needs mmdebstrap)
	@$(BIN)/python -m benchmarks.frameworks

##@ Development
.PHONY: setup format generate docs dashboard-pictures figures lock up down release-dry-run clean
setup: $(VENV)/.synced ## Creates .venv with all dependencies of the other targets

format: $(VENV)/.synced ## Formats the code and sorts the imports
	@$(BIN)/ruff check --fix-only --quiet . && $(BIN)/ruff format --quiet .

generate: $(VENV)/.synced ## Writes crds/, the generated pages of docs/, the chart's values, rules and dashboards, versions, ARCHITECTURE.md's graph, and the demo's results in README.md
	@$(BIN)/python -m edge_api.generate crds charts/edge-intelligence/files/crds --page docs/reasons.md --fields docs/fields.md
	@$(BIN)/python -m edge_chart.generate
	@$(BIN)/python -m edge_monitoring.generate charts/edge-intelligence/files
	@$(BIN)/python -m edge_cli.reference docs
	@$(BIN)/python -m testbed.versions
	@$(BIN)/python -m testbed.import_graph
	@$(BIN)/python -m demo.overview

docs: $(VENV)/.synced ## Builds the documentation's site into build/site/html; broken links are errors (SERVE=1: shows it)
	@$(BIN)/python -m testbed.site $(if $(SERVE),--serve)

dashboard-pictures: $(VENV)/.synced ## Draws the dashboards with the data of the testbed's Prometheus (ARGS="--minutes 15"; after make demo KEEP=1)
	@$(BIN)/python -m testbed.dashboards $(ARGS)

figures: $(VENV)/.synced ## Redraws the plots of docs/ that do not depend on the machine
	@$(BIN)/python -m benchmarks.edgent --out docs/images/edgent
	@$(BIN)/python -m benchmarks.replanning_plot

lock: $(UV) ## Resolves requirements/*.lock (UPGRADE=1: to the newest versions)
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/bootstrap.in -o requirements/bootstrap.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/build.in -o requirements/build.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) operator/pyproject.toml console/pyproject.toml -o requirements/operator.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --extra metrics --extra sources --extra tracing runtime/pyproject.toml -o requirements/runtime.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/triton.in -o requirements/triton.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/perf-analyzer.in -o requirements/perf-analyzer.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --no-deps requirements/openvino.in -o requirements/openvino.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/release.in -o requirements/release.lock
	@for peer in kserve mlserver; do \
	  $(COMPILE) $(if $(UPGRADE),--upgrade) requirements/peers-$$peer.in -o requirements/peers-$$peer.lock; done
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --no-deps requirements/models.in -o requirements/models.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/exporters.in -o requirements/exporters.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/keras.in -o requirements/keras.lock
	@$(COMPILE) $(if $(UPGRADE),--upgrade) --all-extras requirements/dev.in $(PROJECTS) -o requirements/dev.lock

up: $(VENV)/.synced ## Boots the testbed's cluster
	@$(BIN)/testbed up

down: $(VENV)/.synced ## Tears the testbed's cluster down
	@$(BIN)/testbed down

release-dry-run: $(VENV)/.synced ## Builds a release into build/release without uploading anything (IMAGES=1: images too)
	@$(BIN)/python -m testbed.release $(if $(IMAGES),--images)

clean: ## Tears the cluster down and removes all generated files, including cached binaries
	@if [ -x $(BIN)/testbed ]; then $(BIN)/testbed down; fi
	@rm -rf .venv .cache .testbed build

$(UV): requirements/bootstrap.lock
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "python3: Python 3.11 or newer with venv is required: install it (Debian: apt-get install python3 python3-venv) or pass one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setup: installing uv into .cache/uv"
	@rm -rf .cache/uv && $(PYTHON) -m venv .cache/uv
	@.cache/uv/bin/pip install --quiet --require-hashes -r requirements/bootstrap.lock
	@touch $@

$(VENV)/.synced: $(UV) requirements/dev.lock $(PROJECTS)
	@echo "setup: creating $(VENV) from requirements/dev.lock"
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(DISTRIBUTIONS:%=-e %)
	@touch $@
