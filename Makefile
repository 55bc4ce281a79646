# Every check and every build of this repository starts here; .ci/run calls only these targets.
# Needed: Rust, make, bash, python3 with pip (only to fetch OpenBao for the tests). The targets test-systemd, test-container
# and test-package also need root, apt and wget: they make a Debian root tree in .tools/ and install nothing on the machine.

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

CASES ?= 1000000
.PHONY: fuzz
fuzz: ## what comes from outside (files, cron texts, answers, documents, names) at its reader, a million times; CASES=N
	PROPTEST_CASES=$(CASES) $(CARGO) test $(ALL) --lib -- fuzz_
	PROPTEST_CASES=$(CASES) $(CARGO) test $(ALL) --test config -- robust::

.PHONY: docs
docs: ## writes anew what is generated from the code; `make test` fails when it is stale
	WRITE_GENERATED=1 $(CARGO) test $(ALL) --test generated

.PHONY: tools
tools: ## the OpenBao that the tests need: $BAO, else `bao` on the PATH, else fetched into .tools/
	@path="$$(scripts/openbao)"; echo "OpenBao: $$path"

.PHONY: build
build: ## the release binary, target/release/dtrotate
	$(CARGO) build --locked --release --bin dtrotate

# One static program for the unit, the package and the image. --target is given also for the machine's own platform: without
# it the flag would reach procedural macros, which cannot be static.
TARGET = $(shell rustc --print host-tuple)
.PHONY: static
static: ## the release binary without any library, target/static/dtrotate
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --release --bin dtrotate --target $(TARGET)
	install -D target/$(TARGET)/release/dtrotate target/static/dtrotate

.PHONY: world
world: tools ## what the checks under Debian need: a Debian tree, OpenBao, the simulator
	scripts/debian
	$(CARGO) build $(ALL) --bin simulator

.PHONY: test-systemd
test-systemd: static world ## boots a real systemd and puts the unit through its paces; once more with a broken one
	tests/packaging/boot tests/packaging/systemd.sh
	tests/packaging/must-fail tests/packaging/boot tests/packaging/systemd.sh broken

.PHONY: clean
clean: ## removes what was built and fetched
	$(CARGO) clean
	rm -rf --one-file-system .tools
