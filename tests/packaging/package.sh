# The Debian package through its life: install, upgrade, remove, purge. Runs in the system that `boot` starts.
#
#   package.sh [broken]        "broken": a package without its unit, to see that the checks notice
set -uo pipefail
source tests/packaging/checks.sh
export DEBIAN_FRONTEND=noninteractive

unit=dtrotate.service
installed() { dpkg-query --show --showformat='${db:Status-Status}' dtrotate; }
property() { systemctl show --property="$1" --value "$unit"; }
active() { systemctl is-active --quiet "$unit"; }

mkdir /run/world
systemd-run --quiet --unit=openbao "$bao_program" server -dev -dev-root-token-id=root -dev-no-store-token
systemd-run --quiet --unit=simulator "$simulator_program" $(simulator_arguments /run/world)
check "OpenBao and the simulator serve" seed /run/world

# repacked VERSION COMMAND: another version of the package in /run/VERSION, as docs/operations.md names it, after the command
# has changed its content.
repacked() {
    mkdir -p "/run/$1/target/deb"
    dpkg-deb --raw-extract target/deb/dtrotate_*.deb "/run/$1/root"
    sed -i "s/^Version: .*/Version: $1/" "/run/$1/root/DEBIAN/control"
    (cd "/run/$1/root" && eval "$2")
    dpkg-deb -Znone --build "/run/$1/root" "/run/$1/target/deb/dtrotate_$1_amd64.deb"
}
check "a package to upgrade to" repacked 2000 "echo >>usr/share/doc/dtrotate/logs.md"

# ---- Install ----
if [[ "${1:-}" == broken ]]; then
    repacked 0 "rm usr/lib/systemd/system/$unit" >/dev/null
    cd /run/0 || exit 1
fi
check "docs/operations.md: the package" tried package
in_the_folder_of_the_file() (cd target/deb && tried install-package)
check "README.md: the package" in_the_folder_of_the_file
cd /repo || exit 1
check "it is installed" test "$(installed)" = installed
check "it starts nothing" not active
check "and is not enabled" not systemctl is-enabled --quiet "$unit"
check "the configuration is the commented reference" cmp config/dtrotate.toml /etc/dtrotate/dtrotate.toml
check "readable by everyone" test "$(stat -c %a /etc/dtrotate/dtrotate.toml)" = 644
there() {
    local file
    for file in man/man1/dtrotate.1.gz bash-completion/completions/dtrotate zsh/vendor-completions/_dtrotate \
        fish/vendor_completions.d/dtrotate.fish doc/dtrotate/examples/drop-ins/ip-allow-list.conf \
        doc/dtrotate/runbooks/README.md doc/dtrotate/deploy/prometheus/dtrotate.rules.yml; do
        test -s "/usr/share/$file" || { echo "not there: $file"; return 1; }
    done
}
check "manual pages, completions, examples and the runbook are there" there
schema_beside() { cmp config/dtrotate.schema.json "$(dirname "$1")/$(sed -n '1s/^#:schema //p' "$1")"; }
check "the schema is where the first line of the configuration names it" schema_beside /etc/dtrotate/dtrotate.toml
check "and that of the example" schema_beside /usr/share/doc/dtrotate/examples/minimal.toml
check "docs/operations.md: the credentials" tried credentials
configuration "$busy" >/etc/dtrotate/dtrotate.toml
check "docs/operations.md: the start" as_a_person tried start
((failures == 0)) || { journalctl --unit "$unit" --no-pager | tail -n 20; finish; }
rotated() { [[ -n "$(journalctl --unit "$unit" --output json EVENT=rotation_succeeded)" ]]; }
check "it rotates" within 20 rotated

# ---- Upgrade ----
before="$(property MainPID)"
edited="$(sha256sum </etc/dtrotate/dtrotate.toml)"
check "an upgrade" apt-get install --yes /run/2000/target/deb/dtrotate_2000_amd64.deb
check "has the new version" test "$(dpkg-query --show --showformat='${Version}' dtrotate)" = 2000
check "keeps the edited configuration" test "$(sha256sum </etc/dtrotate/dtrotate.toml)" = "$edited"
check "restarts the running service" test "$(property MainPID)" != "$before"
check "which is healthy" within 30 dtrotate health
check "and still enabled" systemctl is-enabled --quiet "$unit"

# ---- Remove, purge ----
check "a removal" apt-get remove --yes dtrotate
check "stops the service" not active
check "takes the program away" not test -e /usr/bin/dtrotate
check "keeps the configuration" test "$(sha256sum </etc/dtrotate/dtrotate.toml)" = "$edited"
check "and the credentials" test -s /etc/dtrotate/vault-secret-id
check "installed again" apt-get install --yes /run/2000/target/deb/dtrotate_2000_amd64.deb
check "a purge" apt-get purge --yes dtrotate
check "takes everything away" not test -e /etc/dtrotate
check "and systemd knows nothing of it" not systemctl cat "$unit"
check "every value works still" all_valid

finish
