#!/usr/bin/env bash
# The program for arm64, cross-compiled as `make release TARGET=aarch64-unknown-linux-gnu` does it but without optimisation, and run under qemu
# through the whole life of tokens. Runs in scripts/inside, with the machine's own Rust at /usr/local/rust.
set -uo pipefail
source tests/packaging/checks.sh
export PATH="/usr/local/rust/bin:$PATH" CARGO_NET_OFFLINE=true

static=/repo/target/static-arm64/dtrotate
world=/run/world
# Quick to build: how fast it runs shows nothing here.
export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0
check "it is built" make --no-print-directory static TARGET=aarch64-unknown-linux-gnu PROFILE=dev OUT="$static"
((failures == 0)) || finish
is_for_arm64() { [[ "$(od --address-radix=n --skip-bytes=18 --read-bytes=2 --format=x2 "$static" | tr -d ' ')" == 00b7 ]]; }
check "it is for arm64" is_for_arm64
emulated() { qemu-aarch64-static "$static" "$@"; }
check "it starts" emulated --version

# ---- The world ----
mkdir "$world"
cd "$world" || exit 1
"$bao_program" server -dev -dev-root-token-id=root -dev-no-store-token >openbao.log 2>&1 &
"$simulator_program" $(simulator_arguments "$world") >simulator.log 2>&1 &
check "OpenBao and the simulator serve" seed "$world"
mkdir dtrotate
bao read -field=role_id auth/approle/role/dtrotate/role-id >dtrotate/vault-role-id
bao write -f -field=secret_id auth/approle/role/dtrotate/secret-id >dtrotate/vault-secret-id
configuration "$busy" >dtrotate/dtrotate.toml

# ---- Run ----
emulated --config dtrotate/dtrotate.toml check >check.log 2>&1
check "the configuration is right" test "$?" = 0
# Without a function, so that the signal reaches it.
qemu-aarch64-static "$static" --config dtrotate/dtrotate.toml run >log 2>&1 &
daemon=$!
told() { grep --quiet --fixed-strings "$1" log; }
check "it rotates" within 120 told rotation_succeeded
check "it deletes an old token" within 120 told token_deleted
check "without an ERROR" not told ERROR
kill -TERM "$daemon"
wait "$daemon"
check "it stops" test "$?" = 0
((failures == 0)) || tail --lines=30 check.log log
finish
