#!/usr/bin/env bash
# The released program on a system with another glibc than it was linked with, and NSS modules in `hosts:`. It must resolve host
# names itself: a module of another glibc kills the process. Runs in scripts/inside, in a tree with the modules installed.
#
#   portable.sh [PROGRAM]
set -uo pipefail
source tests/packaging/checks.sh

program="${1:-/repo/target/static/dtrotate}"
world=/run/world
mkdir --parents "$world"
cd "$world" || exit 1

# ---- Preconditions: without these the checks below would prove nothing ----
linked="$(grep --text --only-matching --max-count=1 'stable release version [0-9.]*[0-9]' "$program" | sed 's/.* //')"
here="$(ldd --version | sed -n '1s/.* //p')"
check "the program has glibc $linked in it, this system has glibc $here" test -n "$linked" -a "$linked" != "$here"
for module in mdns4_minimal mdns4 resolve myhostname; do
    check "libnss_$module is installed" compgen -G "/usr/lib/*/libnss_$module.so.2"
done
from_a_release() (
    mkdir /run/release && cd /run/release || exit 1
    ln --symbolic /repo/target/dist/dtrotate-*-linux-"$(dpkg --print-architecture)".tar.gz . && tried install-binary
)
check "README.md: the binary" from_a_release
check "it is this program" cmp "$program" /usr/local/bin/dtrotate
((failures == 0)) || finish

unset BAO_TOKEN BAO_ADDR
echo token >token
cat >dtrotate.toml <<'TOML'
[vault]
address = "http://vault.test:8200"
allow_http = true
[vault.auth]
method = "token"
token_file = "token"
[dynatrace.prod]
url = "http://dynatrace.test"
allow_http = true
[dynatrace.prod.auth]
path = "dynatrace/master"
[ops]
listen = "127.0.0.1:9780"
[[secret]]
path = "dynatrace/script"
schedule = "@yearly"
TOML

# Without systemd it is a link to nowhere.
rm --force /etc/resolv.conf
# serve MODE: DNS and HTTP as names.py describes them.
serve() {
    if [[ -s served ]]; then kill "$(cat served)"; fi
    within 10 not bash -c ': </dev/tcp/127.0.0.1/8200' || return 1
    python3 /repo/tests/packaging/names.py "$1" >>hosts-asked 2>names.log &
    echo "$!" >served
    within 10 bash -c ': </dev/tcp/127.0.0.1/8200'
}

# says TEXT COMMAND...: the command is not killed by a signal, and prints the text.
says() {
    local text="$1" said status
    shift
    said="$(timeout 30 "$@" 2>&1)"
    status=$?
    printf 'exit status %s\n%s\n' "$status" "$said"
    ((status < 124)) && grep --quiet --ignore-case --fixed-strings "$text" <<<"$said"
}
asks() { says "$1" "$program" check --config dtrotate.toml; }

# runs TEXT: the daemon logs the text, lives, and has no NSS module loaded.
runs() {
    local process status=0
    RUST_LOG=debug "$program" run --config dtrotate.toml >log 2>&1 &
    process=$!
    says_or_dies() { grep --quiet --ignore-case --fixed-strings "$1" log || not kill -0 "$process"; }
    within 20 says_or_dies "$1" >/dev/null
    grep --quiet --ignore-case --fixed-strings "$1" log || status=1
    if ! kill -0 "$process" || grep libnss_ "/proc/$process/maps"; then status=1; fi
    cat log
    kill "$process"
    wait "$process"
    return "$status"
}

dns() { printf 'nameserver 127.0.0.1\n%s\n' "${1:-}" >/etc/resolv.conf; }
hosts() { printf '127.0.0.1 localhost\n%s\n' "${1:-}" >/etc/hosts; }
address() { sed -i "s#^address = .*#address = \"http://$1:8200\"#" dtrotate.toml; }

for line in "files mdns4_minimal [NOTFOUND=return] dns" "files resolve [!UNAVAIL=return] dns" "files myhostname dns" \
    "mdns4 resolve myhostname files dns"; do
    echo "---- hosts: $line"
    sed -i "s/^hosts:.*/hosts: $line/" /etc/nsswitch.conf
    check "nsswitch.conf has the line" grep --quiet --fixed-strings "hosts: $line" /etc/nsswitch.conf
    dns
    hosts
    address vault.test
    check "DNS answers" serve answer
    check "check reaches Vault" asks "sealed"
    check "run reaches Vault and loads no module" runs "sealed"
    check "DNS knows nothing" serve refuse
    check "check says so" asks "cannot resolve vault.test"
    check "run says so and lives on" runs "cannot resolve vault.test"
done

echo "---- ways to resolve"
check "DNS is silent" serve silence
check "check says so" asks "cannot resolve vault.test"
hosts "127.0.0.1 vault.test"
check "a name in /etc/hosts needs no DNS" asks "sealed"
rm /etc/resolv.conf
check "nor a resolv.conf" asks "sealed"
hosts
address localhost
check "localhost neither" asks "sealed"
check "DNS answers" serve answer
address vault.test
check "without resolv.conf the DNS server of this machine is asked" asks "sealed"
dns $'search nowhere.test corp.test\noptions ndots:5'
address vault.prod
: >hosts-asked
check "search domains and ndots are followed, as in Kubernetes" asks "sealed"
check "and the request keeps its name" grep --quiet --line-regexp "vault.prod:8200" hosts-asked

finish
