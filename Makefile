# Every check and every build of this repository starts here; .ci/run calls only these targets.
# Needed: Rust, make, bash, python3 with pip (to fetch OpenBao for the tests and the spelling checker). The targets test-systemd, test-container
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

# Most end-to-end tests wait for times of a few seconds, so that many fit on a few cores (.config/nextest.toml has the same number).
check test: export RUST_TEST_THREADS ?= 12
# A rotation, a crash and a fault at its store, undo, retirement, `check`, status and health, systemd, the shipped policy.
SMOKE := crash::p1_to_p5_hold_after_a_crash_at_the_store faults::p1_to_p8_hold_after_a_lost_answer lifetime:: \
	daemon::a_person_rotates daemon::p8_one_bad undo::p3_ retire::p3_ check::p7_ check::what_vault_keeps \
	ops::p8_a_stuck_secret process::systemd_hears vault_policy::
# Every other test binary.
UNIT := all architecture config explorer generated language runbook shipped_files
# cargo-nextest where it is installed, which runs the tests of all binaries side by side; else the test runner of cargo.
ifneq ($(shell command -v cargo-nextest),)
empty :=
space := $(empty) $(empty)
smoke := binary(=e2e) and test(/^($(subst $(space),|,$(SMOKE)))/)
run_check := $(CARGO) nextest run $(ALL) -E 'not binary(=e2e) or $(smoke)'
run_smoke := $(CARGO) nextest run $(ALL) -E '$(smoke)'
run_test := $(CARGO) test $(ALL) --doc && $(CARGO) nextest run $(ALL)
else
run_smoke := $(CARGO) test $(ALL) --test e2e -- $(SMOKE)
run_check := $(CARGO) test $(ALL) --lib --bins $(UNIT:%=--test %) && $(run_smoke)
run_test := $(CARGO) test $(ALL)
endif

.PHONY: check
check: lint tools ## before every commit: formatter, clippy, unit tests, the small search, a dozen end-to-end tests; a minute
	BAO="$$(scripts/openbao)"; export BAO; $(run_check)

.PHONY: test
test: lint tools shipped ## formatter, clippy and all tests; the end-to-end tests run against a real OpenBao
	BAO="$$(scripts/openbao)"; export BAO; PROGRAM="$$PWD/target/shipped/dtrotate" $(run_smoke); $(run_test)

.PHONY: shipped
shipped: ## a program with the features that ship, built as quickly as the tests: target/shipped/dtrotate
	$(CARGO) build --locked --bin dtrotate
	install -D target/debug/dtrotate target/shipped/dtrotate

.PHONY: test-ops
test-ops: tools ## the status page in Chromium and under axe-core, metrics and alerts under promtool; what is missing is fetched from Debian and npm
	BAO="$$(scripts/openbao)"; PROMTOOL="$$(scripts/promtool)"; CHROMIUM="$$(scripts/chromium)"; AXE="$$(scripts/axe)"; \
	export BAO PROMTOOL CHROMIUM AXE; $(CARGO) test --locked --all-features --test tools -- page:: pictures:: prometheus::

.PHONY: thorough
thorough: tools ## every crash and every fault at every call of a life and of every command, where `make test` tries a choice; ten minutes of an account near its limit; the heap of a secret
	BAO="$$(scripts/openbao)"; export BAO; THOROUGH=1 RUST_TEST_THREADS=2 $(CARGO) test $(ALL) --test e2e -- --include-ignored --nocapture crash:: faults:: verbs:: account_soak::
	$(CARGO) test $(ALL) --test memory -- --ignored --nocapture

.PHONY: soak
soak: tools ## random kills and faults on three replicas for SOAK_SECONDS (1800), with SOAK_SEED; prints the figures
	BAO="$$(scripts/openbao)"; export BAO; SOAK_SECONDS="$${SOAK_SECONDS:-1800}" $(CARGO) test $(ALL) --profile explore --test e2e soak:: -- --nocapture

.PHONY: lies
lies: tools ## 10,000 rotations (LIES_ROTATIONS) while 5 % of Dynatrace's answers belong to other requests
	BAO="$$(scripts/openbao)"; export BAO; LIES_ROTATIONS="$${LIES_ROTATIONS:-10000}" $(CARGO) test $(ALL) --test e2e lies:: -- --nocapture

.PHONY: lint
lint: ## formatter and spelling check, then clippy with warnings denied
	$(CARGO) fmt --all --check
	scripts/codespell
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

.PHONY: deny
deny: ## licences, bans and sources of all dependencies against deny.toml
	scripts/deny

.PHONY: rustdoc
rustdoc: ## the documentation of the code, without a warning
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(ALL) --no-deps --document-private-items

.PHONY: explore
explore: ## every state of the rotation that the full budgets of mishaps can reach (`make test` does it with small ones); some minutes
	EXPLORE_FULL=1 $(CARGO) test --locked --package rotation --profile explore --test explorer -- --nocapture

.PHONY: fuzz
fuzz: ## what comes from outside (files, cron texts, answers, documents, names) at its reader, for FUZZ_SECONDS (600) each
	scripts/fuzz

.PHONY: bench
bench: static tools ## measures the program that is shipped and prints every figure next to what it is compared with; fails when one is missed
	RUSTFLAGS='$(STATIC)' $(CARGO) build --locked --release --example bench --example floor --target $(TARGET)
	BAO="$$(scripts/openbao)"; export BAO; target/$(TARGET)/release/examples/bench target/static/dtrotate $(PARTS)

.PHONY: docs
docs: ## writes what is generated from the code; `make test` fails when it is stale
	WRITE_GENERATED=1 $(CARGO) test $(ALL) --test generated

.PHONY: pictures
pictures: ## the pictures of README.md: the status page and a recording of the demo
	scripts/pictures

.PHONY: tools
tools: ## the OpenBao that the tests need: $BAO, else `bao` on the PATH, else fetched into .tools/
	@path="$$(scripts/openbao)"; echo "OpenBao: $$path"

.PHONY: build
build: ## the release binary, target/release/dtrotate
	$(CARGO) build --locked --release --bin dtrotate

# One static program for the unit, the package, the archive and the image. --target is given also for the machine's own platform: without
# it the flag would reach procedural macros, which cannot be static. TARGET=aarch64-unknown-linux-gnu builds for arm64 with Debian's
# gcc-aarch64-linux-gnu; what has to run while it is packed runs under qemu-user-static.
HOST := $(shell rustc --print host-tuple 2>/dev/null)
TARGET ?= $(HOST)
export TARGET
# The same commit gives the same files.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
ifneq ($(TARGET),$(HOST))
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ?= aarch64-linux-gnu-gcc
endif
# Kernels for arm64 have pages of 4, 16 or 64 kB, and an allocator that was built for smaller pages than the kernel's does not start.
ifneq ($(filter aarch64-%,$(TARGET)),)
export JEMALLOC_SYS_WITH_LG_PAGE ?= 16
endif
PROFILE ?= release
OUT ?= target/static/dtrotate
# Packed relocations make the file half a megabyte smaller; glibc 2.36, which is linked in, understands them.
STATIC := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs
.PHONY: static
static: ## the release binary without any library, target/static/dtrotate
	RUSTFLAGS='$(STATIC)' $(CARGO) build --locked --profile $(PROFILE) --bin dtrotate --target $(TARGET)
	install -D target/$(TARGET)/$(PROFILE:dev=debug)/dtrotate $(OUT)

.PHONY: archive
archive: static ## the static program with its files, target/dist/dtrotate-VERSION-linux-ARCH.tar.gz
	scripts/archive

.PHONY: release
release: archive deb ## all files of a release in target/dist: archive, package, image (with docker or podman), SBOM, notices, checksums
	scripts/release

.PHONY: world
world: ## what the checks under Debian need: a Debian tree, OpenBao (below .tools, which they see), the simulator
	scripts/debian
	bao="$$(scripts/openbao)"; [[ "$$bao" -ef .tools/bao ]] || install -D "$$bao" .tools/bao
	$(CARGO) build $(ALL) --bin simulator

.PHONY: test-systemd
test-systemd: archive world ## boots a real systemd and puts the unit through its paces; once more with a broken one
	tests/packaging/boot tests/packaging/systemd.sh
	tests/packaging/must-fail tests/packaging/boot tests/packaging/systemd.sh broken

# It is shown Rust itself, and the crates that `static` has fetched.
CARGO_HOME ?= $(HOME)/.cargo
.PHONY: test-container
test-container: static world ## builds the Dockerfile and runs the image
	CARGO_HOME="$(CARGO_HOME)" SHOW="$$(rustc --print sysroot):/usr/local/rust $(CARGO_HOME)/registry:$(CARGO_HOME)/registry" \
		scripts/inside tests/packaging/container.sh

.PHONY: deb
deb: static ## the Debian package, target/deb/dtrotate_*.deb
	scripts/deb

.PHONY: test-package
test-package: deb world ## lintian; installs, upgrades, removes and purges the package in a booted system; once more a broken one
	scripts/inside lintian --allow-root --fail-on error target/deb/dtrotate_*.deb
	tests/packaging/boot tests/packaging/package.sh
	tests/packaging/must-fail tests/packaging/boot tests/packaging/package.sh broken

# A Debian release with another glibc than that of this machine's Rust, and the usual NSS modules.
.PHONY: test-portable
test-portable: archive ## the static program on a system with another glibc and NSS modules, with DNS answering and failing
	TREE="$$(scripts/debian trixie python3-minimal libnss-mdns libnss-resolve libnss-myhostname)" \
		scripts/inside tests/packaging/portable.sh

# Where Rust cannot add the target there is nothing to run: the workflow files build and check it on machines for arm64.
.PHONY: test-arm64
test-arm64: world ## the program for arm64, cross-compiled and run under qemu
	if rustup target add aarch64-unknown-linux-gnu; then \
		$(CARGO) fetch --locked --target aarch64-unknown-linux-gnu; \
		TREE="$$(scripts/debian bookworm gcc libc6-dev make gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static jq)" \
		CARGO_HOME="$(CARGO_HOME)" SHOW="$$(rustc --print sysroot):/usr/local/rust $(CARGO_HOME)/registry:$(CARGO_HOME)/registry" \
			scripts/inside tests/packaging/arm64.sh; \
	else echo "test-arm64: this Rust cannot add the target; nothing was run"; fi

.PHONY: test-deploy
test-deploy: ## Kubernetes, Compose, workflows, issue forms and SBOM against their schemas
	tests/packaging/deploy

.PHONY: clean
clean: ## removes what was built and fetched
	$(CARGO) clean
	rm -rf --one-file-system .tools
