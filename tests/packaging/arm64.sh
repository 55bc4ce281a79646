#!/usr/bin/env bash
# The program for arm64, cross-compiled as `make release TARGET=aarch64-unknown-linux-gnu` does it but without optimisation, and run under qemu:
# the whole life of tokens in the demo. Runs in scripts/inside, with the machine's own Rust at /usr/local/rust.
set -uo pipefail
source tests/packaging/checks.sh
export PATH="/usr/local/rust/bin:$PATH" CARGO_NET_OFFLINE=true

static=target/static-arm64/dtrotate
check "it is built" make --no-print-directory static TARGET=aarch64-unknown-linux-gnu PROFILE=dev FEATURES=demo OUT="$static"
((failures == 0)) || finish
is_for_arm64() { [[ "$(od --address-radix=n --skip-bytes=18 --read-bytes=2 --format=x2 "$static" | tr -d ' ')" == 00b7 ]]; }
check "it is for arm64" is_for_arm64
emulated() { qemu-aarch64-static "$static" "$@"; }
check "it starts" emulated --version
check "it reads a configuration" emulated --config config/minimal.toml check --offline

emulated demo >/run/demo 2>&1 &
demo=$!
told() { grep --quiet --fixed-strings "$1" /run/demo; }
check "the demo rotates under qemu" within 120 told rotation_succeeded
check "and deletes an old token" within 120 told token_deleted
check "without an ERROR" not told ERROR
kill -INT "$demo"
check "and stops" wait "$demo"

finish
