# Every recipe does its own set-up; `.ci/run` calls `make check` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO  ?= cargo
# The profile of demo, quick, check and test: only one, so that nothing is built twice.
PROFILE := --profile ci
PYTHON := target/python/bin/python
export WATTPOST_PYTHON := $(CURDIR)/$(PYTHON)

help: ## this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: ## install what the tests need (Debian packages, Python packages, npm packages)
	bash scripts/setup.sh

# Installs exactly what package-lock.json names, again only when it has changed.
dashboard/node_modules/.package-lock.json: dashboard/package-lock.json
	cd dashboard && npm ci --no-audit --no-fund --silent
	@touch $@

dashboard/dist/index.html: dashboard/node_modules/.package-lock.json dashboard/package.json dashboard/index.html dashboard/vite.config.ts $(shell find dashboard/src dashboard/public dashboard/scripts -type f)
	cd dashboard && npm run -s check && npm run -s build

dashboard: dashboard/dist/index.html ## the files of the dashboard, which become part of the binary (needs npm)

build: dashboard ## the binary with the dashboard, optimised: target/release/wattpost
	WATTPOST_COMMIT=$$(git rev-parse HEAD 2>/dev/null || true) $(CARGO) build --release -p wattpost

deb: build ## the Debian package with the optimised binary: target/debian/*.deb
	scripts/deb.sh

deb-test: ## install, upgrade under load, remove and purge the Debian package in a system of its own (needs root)
	@test -x target/release/wattpost || $(MAKE) build
	scripts/deb-test.sh

demo: dashboard ## build, then run gateway and API with 20 simulated chargers, each to be killed (SHAPE=rabbitmq adds two more; Ctrl-C ends it)
	@$(CARGO) build $(PROFILE) -p wattpost
	@bash scripts/demo.sh

# `cargo test` has built the binary that the tests of the dashboard run; building it once more, without the features that
# only tests need, would compile a tenth of the crates a second time. Most tests wait (for a server to start, for a limit
# in time to pass), so at least four run at a time.
test: export RUST_TEST_THREADS ?= $(shell n=$$(nproc); echo $$((n < 4 ? 4 : n)))
test: setup dashboard ## every test: unit, property, crash, conformance, the real binary under kill -9, the dashboard in a browser
	$(CARGO) test --workspace $(PROFILE) --no-fail-fast
	cd dashboard && WATTPOST=$(CURDIR)/target/ci/wattpost npm run -s test

# The two skipped tests need Python packages, which only `make setup` installs. `make test` runs them.
quick: ## the fast tests only: seconds, no servers, no set-up
	$(CARGO) test $(PROFILE) -p ocpp -p central -p journal -- \
		--skip the_committed_tables_equal_freshly_generated_ones \
		--skip verdicts_equal_those_of_a_reference_validator

# Without cargo-deny, or without a network for its database, advisories are not checked, and a line says so.
check: ## formatting, dependencies, advisories, lints, docs: before every commit
	$(CARGO) fmt --all --check
	$(CARGO) run -q $(PROFILE) -p xtask -- guard
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
		echo "check: advisories were not checked, because cargo-deny is not installed"; \
	elif ! $(CARGO) deny fetch db; then \
		echo "check: advisories were not checked, because their database could not be fetched"; \
	else \
		$(CARGO) deny check --disable-fetch advisories; \
	fi
	$(CARGO) clippy $(PROFILE) --workspace --all-targets -- -D warnings
	@# No crate has examples. Naming them gives the dependencies the features that clippy has just checked them with.
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(PROFILE) --workspace --no-deps --document-private-items \
		--lib --bin wattpost --bin wattpost-bench --examples

bench: setup ## speed compared with an echo server, and the pipeline compared with Node.js: ratios and tables
	$(CARGO) build --release -p wattpost -p bench
	cd bench/baseline-node && npm ci --no-audit --no-fund --silent
	target/release/wattpost-bench $(BENCH)
	target/release/wattpost-bench chain $(CHAIN)
	$(CARGO) bench -q -p journal --bench append
	$(CARGO) bench -q -p store --bench apply
	$(CARGO) bench -q -p broker --bench delivery
	$(CARGO) bench -q -p central --bench station

drill: setup ## every failure scenario with real servers, with both durability settings: lost must be 0
	$(CARGO) build --release -p wattpost
	target/release/wattpost drill $(DRILL)

stories: setup ## tests at full length: 100 rounds of kill -9, 200 of commands, every list over a million messages; the package
	WATTPOST_FULL=1 $(CARGO) test -p wattpost $(PROFILE) --test stories -- --nocapture --test-threads 1
	WATTPOST_FULL=1 $(CARGO) test -p wattpost $(PROFILE) --test parts -- --nocapture --test-threads 1 no_outcome_differs official_test_tool every_list_and_filter
	WATTPOST_FULL=1 $(CARGO) test -p store $(PROFILE) --test it -- --nocapture no_list_reads_a_whole_large_table
	@if [ "$$(id -u)" -ne 0 ]; then \
		echo "stories: the Debian package was NOT tested: \`make deb-test\` needs root"; \
	elif ! command -v apt-get >/dev/null; then \
		echo "stories: the Debian package was NOT tested: \`make deb-test\` needs Debian"; \
	elif ! unshare --mount --pid --fork true 2>/dev/null; then \
		echo "stories: the Debian package was NOT tested: \`make deb-test\` may start no container here"; \
	else \
		$(MAKE) deb-test; \
	fi

codegen: setup ## regenerate the actions and schema facts in crates/ocpp/src/tables
	$(CARGO) run -q -p xtask -- codegen --python $(PYTHON)

metrics-doc: ## regenerate docs/metrics.md from the tables in crates/*/src/metrics.rs
	WATTPOST_WRITE_DOCS=1 $(CARGO) test -q -p wattpost --bin wattpost page_of_metrics

alerts-doc: ## regenerate docs/alerts.md and packaging/prometheus/wattpost.rules.yml from crates/central/src/alert.rs
	WATTPOST_WRITE_DOCS=1 $(CARGO) test -q -p wattpost --bin wattpost page_and_rules_of_alerts

coverage-doc: ## regenerate docs/ocpp-coverage.md from what a station does with the frames of the tests
	WATTPOST_WRITE_DOCS=1 $(CARGO) test -q -p central --test it page_of_coverage

fuzz: ## cargo fuzz of one target for a minute: make fuzz T=frame (needs nightly and cargo-fuzz)
	cd crates/ocpp/fuzz && cargo +nightly fuzz run $(or $(T),frame) -- -max_total_time=60

clean: ## remove all build output
	$(CARGO) clean

.PHONY: help setup dashboard build deb deb-test demo test quick check bench drill stories codegen metrics-doc alerts-doc coverage-doc fuzz clean
