#!/usr/bin/env bash
# The image that the Dockerfile builds, run as it is meant to be run. Runs in scripts/inside.
#
# Only the base image is made here instead of pulled: the Debian tree, and the machine's own Rust shown at /usr/local/rust.
# Crates come from the machine's cache, at the path that it has there: so what they were compiled to is shared through target/.
set -uo pipefail
source tests/packaging/checks.sh

image=dtrotate:test
base=docker.io/library/rust:1-bookworm
world=/run/world
container=dtrotate

# The run needs no cgroup of its own. crun cannot even look at both kinds side by side, so the new kind goes out of sight.
umount /sys/fs/cgroup/unified 2>/dev/null || true
export CONTAINERS_CONF=/run/containers.conf
cat >"$CONTAINERS_CONF" <<'TOML'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=1024:1024"]
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
TOML

# ---- Build ----
make_base() {
    local working
    working="$(buildah from scratch)"
    tar --create --one-file-system --exclude=./usr/share --exclude=./var/cache --exclude=./var/lib/apt --directory=/tree . |
        tar --extract --directory="$(buildah mount "$working")" &&
        buildah config --env PATH=/usr/local/rust/bin:/usr/bin:/bin --env CARGO_HOME="$CARGO_HOME" --env CARGO_NET_OFFLINE=true "$working" &&
        buildah commit --quiet "$working" "$base" &&
        buildah rm "$working"
}
build() {
    buildah build --quiet --isolation chroot --pull-never --format docker --tag "$image" \
        --build-arg REVISION=0123abc --volume /usr/local/rust:/usr/local/rust:ro \
        --volume "$CARGO_HOME/registry:$CARGO_HOME/registry:ro" --volume /repo/target:/src/target .
}
check "a base image" make_base
check "the Dockerfile builds" build
((failures == 0)) || finish

inspect() { podman image inspect --format "$1" "$image"; }
check "the image has at most 11 MB ($(inspect '{{.Size}}'))" test "$(inspect '{{.Size}}')" -le 11000000
check "its user is a number" test "$(inspect '{{.Config.User}}')" = 65532:65532
check "it tells what it is" test "$(inspect '{{index .Labels "org.opencontainers.image.revision"}}')" = 0123abc
contents() {
    local working root
    working="$(buildah from --pull-never "$image")"
    root="$(buildah mount "$working")"
    (cd "$root" && find . -type f | sort)
    buildah rm "$working" >/dev/null
}
check "it holds the program and the certificates, no shell" \
    test "$(contents)" = $'./etc/ssl/certs/ca-certificates.crt\n./usr/bin/dtrotate'

# ---- As README.md installs it from a file of a release ----
from_a_release() (
    mkdir /run/release && cd /run/release || exit 1
    ln --symbolic "$(command -v podman)" /usr/local/bin/docker
    buildah push --quiet "$image" "docker-archive:dtrotate-0.0.0-image-amd64.tar:dtrotate:release" && tried install-image &&
        podman image exists dtrotate:release
)
check "README.md: the container" from_a_release

# ---- The world ----
mkdir "$world"
cd "$world" || exit 1
"$bao_program" server -dev -dev-root-token-id=root -dev-no-store-token >"$world/openbao.log" 2>&1 &
"$simulator_program" $(simulator_arguments "$world") >"$world/simulator.log" 2>&1 &
check "OpenBao and the simulator serve" seed "$world"
mkdir dtrotate
bao read -field=role_id auth/approle/role/dtrotate/role-id >dtrotate/vault-role-id
bao write -f -field=secret_id auth/approle/role/dtrotate/secret-id >dtrotate/vault-secret-id
configuration "$busy" >dtrotate/dtrotate.toml
check "docs/operations.md: the credentials" tried container

# ---- Run ----
# run ARGUMENT...: with these arguments for podman, too.
run() {
    podman run --detach --name "$container" --read-only --cap-drop=ALL --security-opt=no-new-privileges \
        --network=host --cgroups=disabled --volume ./dtrotate:/etc/dtrotate:ro "$@" "$image" </dev/null
}
# The variables of the compose file.
variables() { sed -n 's/^ *\(DTROTATE_[A-Z_]*\): \(.*\)/--env=\1=\2/p' /repo/docs/deploy/compose.yaml; }
# Who asks this address does not come from loopback, as with a published port.
elsewhere=192.0.2.1
ip address add "$elsewhere/32" dev lo
details() { curl --silent --output /dev/null --write-out '%{http_code}' "http://$elsewhere:9780/status"; }
logs() { podman logs "$container" 2>&1 >/dev/null; }
rotated() { logs | grep --quiet '"event":"rotation_succeeded"'; }
check "the compose file has variables" test -n "$(variables)"
check "it runs read-only and without capabilities" run $(variables)
check "it rotates" within 60 rotated
((failures == 0)) || { podman logs "$container"; finish; }
check "every value works" all_valid
check "it is healthy" within 30 podman healthcheck run "$container"
check "its listener is reachable from outside" curl --silent --fail --output /dev/null "http://$elsewhere:9780/readyz"
check "and shows the status there, as the compose file has it" test "$(details)" = 200
confined() {
    local state
    state="$(tr '\t' ' ' <"/proc/$(podman inspect --format '{{.State.Pid}}' "$container")/status")"
    for line in "Uid: 65532 65532" "CapEff: 0000000000000000" "CapBnd: 0000000000000000" "NoNewPrivs: 1" "Seccomp: 2"; do
        grep --quiet "^$line" <<<"$state" || { echo "not: $line"; return 1; }
    done
}
check "user 65532, no capability, no new privilege, system calls filtered" confined
began="$(date +%s%N)"
check "it stops" podman stop --time 20 "$container"
check "within 5 s" test $(($(date +%s%N) - began)) -lt 5000000000
check "with 0" test "$(podman inspect --format '{{.State.ExitCode}}' "$container")" = 0
check "every line on stderr is JSON with an event" jq --exit-status --slurp 'length > 5 and all(has("event"))' <<<"$(logs)"
check "nothing else was printed" test -z "$(podman logs "$container" 2>/dev/null)"
check "the last line tells the end" test "$(logs | tail -n 1 | jq --raw-output .event)" = shutdown_finished

# ---- Without the variables ----
podman rm "$container" >/dev/null
check "it runs without them" run
check "it is ready" within 60 curl --silent --fail --output /dev/null "http://$elsewhere:9780/readyz"
check "but does not show the status to others" test "$(details)" = 403
podman stop --time 20 "$container" >/dev/null

finish
