# Every check and every build of this repository starts here; .ci/run calls only these targets.
# Needed: Rust, make, bash, python3 with pip (only to fetch OpenBao for the tests).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
# Tests and clippy share one set of features, so that dependencies are built once.
ALL := --locked --workspace --all-features

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

.PHONY: demo
demo: ## everything on this machine with nothing installed; Ctrl-C ends it
	@$(CARGO) run --locked --quiet --features demo -- demo

.PHONY: test
test: lint tools ## formatter, clippy and all tests; the end-to-end tests run against a real OpenBao
	BAO="$$(scripts/openbao)"; export BAO; $(CARGO) test $(ALL)

.PHONY: lint
lint: ## formatter check, then clippy with warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

.PHONY: docs
docs: ## writes anew what is generated from the code; `make test` fails when it is stale
	WRITE_GENERATED=1 $(CARGO) test $(ALL) --test generated

.PHONY: tools
tools: ## the OpenBao that the tests need: $BAO, else `bao` on the PATH, else fetched into .tools/
	@path="$$(scripts/openbao)"; echo "OpenBao: $$path"

.PHONY: build
build: ## the release binary, target/release/dtrotate
	$(CARGO) build --locked --release --bin dtrotate

.PHONY: clean
clean: ## removes what was built and fetched
	$(CARGO) clean
	rm -rf .tools
