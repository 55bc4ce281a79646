# The unit under a real systemd, with a real OpenBao and the simulator. Runs in the system that `boot` starts.
#
#   systemd.sh [broken]        "broken": with a unit that cannot work, to see that the checks notice
set -uo pipefail
source tests/packaging/checks.sh

unit=dtrotate.service
drop_in=/etc/systemd/system/$unit.d

property() { systemctl show --property="$1" --value "$unit"; }
is() { [[ "$(property "$1")" == "$2" ]]; }
status_says() { grep --quiet --ignore-case -e "$1" <<<"$(property StatusText)" || { property StatusText; return 1; }; }
# journal EVENT...: the lines with these fields, since the last `mark`.
mark() { since="$(date '+%F %T.%6N')"; }
journal() { journalctl --unit "$unit" --since "$since" --output json --no-pager "$@"; }
told() { [[ -n "$(journal "$@")" ]]; }
mark

configure() { configuration "$@" >/etc/dtrotate/dtrotate.toml; }

# In the folder of an unpacked release.
unpacked() (
    if [[ ! -d /run/release ]]; then
        mkdir /run/release
        tar --extract --gzip --file /repo/target/dist/dtrotate-*-linux-"$(dpkg --print-architecture)".tar.gz --directory /run/release
    fi
    cd /run/release && "$@"
)

# ---- The world ----
mkdir /run/world
systemd-run --quiet --unit=openbao "$bao_program" server -dev -dev-root-token-id=root -dev-no-store-token
systemd-run --quiet --unit=simulator "$simulator_program" $(simulator_arguments /run/world)
check "OpenBao and the simulator serve" seed /run/world

# ---- Installed as docs/operations.md says ----
check "docs/operations.md: the unit" unpacked tried unit
[[ "${1:-}" != broken ]] || sed -i 's/^SystemCallFilter=@system-service/SystemCallFilter=@timer/' "/etc/systemd/system/$unit"
check "docs/operations.md: the credentials" tried credentials
configure "$quiet"
# Quicker than the unit's own times, so that the checks end; each directive stays what it is.
install -d "$drop_in"
printf '[Service]\nWatchdogSec=3s\nRestartSec=200ms\n' >"$drop_in/quick.conf"
systemctl daemon-reload

check "systemd-analyze verify has nothing to say" \
    test -z "$(systemd-analyze verify --man=no /etc/systemd/system/dtrotate.service 2>&1)"
drop_in_is_accepted() {
    local said
    install -D -m 644 "systemd/drop-ins/$1" "/run/verify/dtrotate.service.d/$1"
    install -m 644 "/etc/systemd/system/$unit" /run/verify/
    # Before 253 systemd keeps to the unit's own type, and says so.
    said="$(systemd-analyze verify --man=no "/run/verify/$unit" 2>&1 |
        grep --invert-match 'Failed to parse service type, ignoring: notify-reload$')"
    [[ -z "$said" ]] || { echo "$said"; return 1; }
}
check "systemd-analyze verify accepts ip-allow-list.conf" drop_in_is_accepted ip-allow-list.conf
check "systemd-analyze verify accepts notify-reload.conf" drop_in_is_accepted notify-reload.conf
check "the unit exposes at most 1.2" \
    systemd-analyze security --threshold=12 --no-pager "$unit"

# ---- Start ----
check "docs/operations.md: the start" as_a_person tried start
((failures == 0)) || { journalctl --unit "$unit" --no-pager | tail -n 20; finish; }
check "the start returned after READY" told EVENT=daemon_ready
first_lines() { journal | jq --raw-output 'select(.EVENT) | .EVENT' | sed '/daemon_ready/q'; }
check "READY came after every secret was looked at" \
    test "$(first_lines | grep --count secret_adopted)" = 3
check "STATUS counts the secrets" status_says "3 secrets"
check "it stays away from root" bash -c "! ps -o user= -p $(property MainPID) | grep --quiet root"
confined() {
    local state
    state="$(tr '\t' ' ' <"/proc/$(property MainPID)/status")"
    for line in "CapEff: 0000000000000000" "CapBnd: 0000000000000000" "NoNewPrivs: 1" "Seccomp: 2"; do
        grep --quiet "^$line" <<<"$state" || { echo "not: $line"; return 1; }
    done
    grep --quiet "Max core file size  *0  *0" "/proc/$(property MainPID)/limits"
}
check "no capability, no new privilege, system calls filtered, no core" confined
check "credentials are handed over by systemd" test -s /run/credentials/$unit/vault-secret-id
check "and nobody else can read their files" test "$(stat -c %a /etc/dtrotate/vault-secret-id)" = 600
# A person's command finds the same credentials.
check "docs/operations.md: the first rotation" as_a_person tried first
check "docs/operations.md: back-out of a rotation" as_a_person tried undo
configure "$busy"
systemctl reload "$unit"
check "it rotates" within 20 told EVENT=rotation_succeeded
check "docs/operations.md: asking the journal" tried journal
# Those that ask dtrotate, Vault and Dynatrace are run by tests/e2e/runbooks.rs.
asks_the_machine() {
    local line
    awk '/^```/ { inside = /^```sh$/; next } inside' /repo/docs/runbooks/*.md |
        grep --extended-regexp '^(journalctl|systemctl|timedatectl|top) ' | sort --unique >/run/runbook-lines
    [[ "$(wc --lines </run/runbook-lines)" -ge 10 ]] || return 1
    while read -r line; do
        # What is searched for need not be there.
        line="${line%% | grep*}"
        bash -euo pipefail -c "${line//NAME/dynatrace/automation_script1}" || { echo "does not work: $line"; return 1; }
    done </run/runbook-lines
}
check "docs/runbooks: what asks the machine" asks_the_machine
check "docs/upgrade.md: the upgrade" as_a_person unpacked tried upgrade

# ---- The log ----
fields_of() { journal EVENT="$1" | head -n 1 | jq --exit-status "$2"; }
check "the fields of a rotation can be asked for" fields_of rotation_succeeded \
    '.SECRET == "dynatrace/automation_script1" and .PRIORITY == "6" and (.MESSAGE_ID | length == 32)
     and (.DURATION_MS | tonumber >= 0) and (.ROTATION_ID | length > 0) and .OUTCOME == "succeeded"
     and .SYSLOG_IDENTIFIER == "dtrotate" and (.MESSAGE | length > 0)'
check "nothing needed a human" not told PRIORITY=3

# ---- Reload ----
pid="$(property MainPID)"
mark
configure "$busy" '[[secret]]
path = "dynatrace/automation_script1"
name = "again"
field = "copy"
schedule = "@yearly"
'
check "systemctl reload takes a good file" systemctl reload "$unit"
check "it says so" within 10 told EVENT=config_reloaded
check "STATUS counts again" within 10 status_says "4 secrets"
mark
echo 'nonsense = 1' >>/etc/dtrotate/dtrotate.toml
check "systemctl reload survives a bad file" systemctl reload "$unit"
check "the bad file is refused" within 10 told EVENT=config_rejected PRIORITY=3
check "STATUS says that the old one stays" within 5 status_says "configuration was refused"
check "rotations go on" within 10 told EVENT=rotation_succeeded
configure "$busy"
mark
check "a corrected file" systemctl reload "$unit"
check "is taken" within 10 told EVENT=config_reloaded
check "and STATUS is clean" within 5 not status_says "configuration was refused"
check "all by one process" is MainPID "$pid"

# ---- Trouble of the process ----
restarted() { [[ "$(property NRestarts)" -gt "$1" ]] && is ActiveState active && [[ "$(property MainPID)" != "$2" ]]; }
hang_or_die() {
    local before pid
    before="$(property NRestarts)"
    pid="$(property MainPID)"
    kill "-$1" "$pid"
    within 60 restarted "$before" "$pid"
}
mark
check "a hung process is replaced by the watchdog" hang_or_die STOP
check "for that reason" bash -c "journalctl --unit $unit --no-pager | grep --quiet 'Watchdog timeout'"
for round in 1 2 3; do
    mark
    within 20 told EVENT=rotation_succeeded
    check "kill -9, round $round: restarted" hang_or_die KILL
    check "kill -9, round $round: every value works" all_valid
done
configure "$quiet"
mark
systemctl reload "$unit"
left() { [[ "$(tokens)" == 4 ]]; }
check "nothing is left behind: three current tokens and the management token" within 60 left
check "every value works" all_valid

# ---- Stop ----
mark
check "it stops" timeout 40 systemctl stop "$unit"
check "with 0" is ExecMainStatus 0
check "as a success" is Result success
check "and says so" told EVENT=shutdown_finished

# ---- Vault is sealed ----
unseal_key="$(journalctl --unit openbao --output cat | sed -n 's/^Unseal Key: //p' | head -n 1)"
bao operator seal >/dev/null
mark
began=$SECONDS
check "it starts while Vault is sealed" systemctl start "$unit"
check "within 35 s" test $((SECONDS - began)) -le 35
check "STATUS says what it waits for" status_says "waiting for Vault: .*sealed"
check "one ERROR says so" test "$(journal PRIORITY=3 | jq --raw-output .EVENT)" = vault_unavailable
echo -n "$unseal_key" | bao write sys/unseal key=- >/dev/null
check "it notices that Vault is back" within 40 told EVENT=vault_available
check "and STATUS is clean" within 5 not status_says "waiting"
check "stopped again" systemctl stop "$unit"

# ---- A credential file that is not there yet ----
mv /etc/dtrotate/vault-secret-id /run/world/
check "it starts without a credential file" systemctl start "$unit"
check "STATUS says what it waits for" within 10 status_says "waiting for Vault"
check "stopped without it" systemctl stop "$unit"
mv /run/world/vault-secret-id /etc/dtrotate/

# ---- What a restart would not change ----
refused() {
    ! systemctl start "$unit" && is ActiveState failed && is ExecMainStatus 78 && is NRestarts 0
}
echo 'nonsense = 1' >>/etc/dtrotate/dtrotate.toml
check "a bad configuration ends with 78 and is not tried again" refused

# ---- Drop-ins ----
install -m 0644 systemd/drop-ins/ip-allow-list.conf "$drop_in/"
systemctl daemon-reload
configure "$quiet"
check "with the list of allowed networks it starts" systemctl start "$unit"
check "and exposes less" systemd-analyze security --threshold=10 --no-pager "$unit"

# ---- Passes by a timer ----
check "stopped for passes" systemctl stop "$unit"
check "docs/operations.md: the timer" as_a_person tried timer
check "a pass of the unit ends well" systemctl start dtrotate-once.service
passed() { [[ -n "$(journalctl --unit dtrotate-once.service EVENT=pass_completed --output json)" ]]; }
check "and says what it did" within 10 passed
check "the timer waits for the next one" systemctl is-active --quiet dtrotate-once.timer

# ---- P5 ----
no_value_shown() {
    local value
    journalctl --no-pager --output export --unit "$unit" >/run/world/journal
    for value in $(jq --raw-output '.[].value' /run/world/tokens) "$(cat /run/world/management)" "$(cat /etc/dtrotate/vault-secret-id)"; do
        ! grep --quiet --text --fixed-strings "${value##*.}" /run/world/journal || return 1
    done
}
check "no value stands in the journal" no_value_shown

finish
