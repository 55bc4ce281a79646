# What the scripts of checks share. Each check is one line, ok or FAIL; a script ends with `finish`.

failures=0

# check SENTENCE COMMAND...: a failed one shows what the command printed; the rest is checked all the same.
check() {
    local sentence="$1" said
    shift
    if said="$("$@" 2>&1)"; then
        echo "ok    $sentence"
    else
        echo "FAIL  $sentence"
        sed 's/^/      | /' <<<"$said"
        failures=$((failures + 1))
    fi
}

# within SECONDS COMMAND...: until it is true; what it prints is shown when it never is.
within() {
    local deadline=$((SECONDS + $1)) said
    shift
    until said="$("$@" 2>&1)"; do
        if ((SECONDS >= deadline)); then
            echo "not in time: $*"
            echo "$said"
            return 1
        fi
        sleep 0.1
    done
}

# The opposite, for `check` and `within`.
not() { ! "$@"; }

# tried NAME: runs a block of README.md or docs/ as it is printed.
tried() {
    local block
    block="$(awk -v mark="<!-- tried: $1 -->" '
        { line = $0; sub(/^ +/, "", line) }
        line == mark { found = 1; next }
        found && line ~ /^```/ { if (inside) exit; inside = 1; next }
        inside { print line }' /repo/README.md /repo/docs/*.md)"
    test -n "$block" && bash -euo pipefail -x -c "$block"
}

# Without the rights at Vault that these checks have.
as_a_person() (
    unset BAO_TOKEN BAO_ADDR
    "$@"
)

finish() {
    if ((failures > 0)); then
        echo "$failures checks FAILED"
        exit 1
    fi
    echo "all is well"
    exit 0
}

# A real OpenBao with AppRole and the shipped policy, the simulator, and three secrets.
# The values go through pipes and files, never through arguments.
bao_program=/repo/.tools/bao
simulator_program=/repo/target/debug/simulator
export BAO_ADDR=http://127.0.0.1:8200 BAO_TOKEN=root
simulator_url=http://127.0.0.1:9999

# As a person has it on the PATH.
ln --symbolic --force "$bao_program" /usr/local/bin/bao

# seed FOLDER: fills Vault from what the simulator wrote to FOLDER.
seed() {
    local number
    within 30 bao token lookup || return 1
    within 30 test -s "$1/tokens" || return 1
    bao kv put secret/dynatrace/master token=- <"$1/management"
    for number in 1 2 3; do
        jq --join-output ".[$number - 1].value" "$1/tokens" |
            bao kv put "secret/dynatrace/automation_script$number" token=- note=kept
    done
    cd /repo && tried vault
}

simulator_arguments() {
    echo "--listen 127.0.0.1:9999 --tokens 3 --tokens-file $1/tokens --management-token-file $1/management"
}

# configuration SCHEDULE [MORE]: three secrets, of which the first rotates on the schedule.
configuration() {
    cat <<TOML
[vault]
address = "$BAO_ADDR"
[vault.auth]
method = "approle"
role_id_file = "vault-role-id"
secret_id_file = "vault-secret-id"
[dynatrace.prod]
url = "$simulator_url"
settle = "1s"
[dynatrace.prod.auth]
path = "dynatrace/master"
[daemon]
sweep = "2s"
[defaults]
schedule = "$1"
grace = "10s"
max_grace = "15s"
quarantine = "1s"
[[secret]]
path = "dynatrace/automation_script1"
[[secret]]
path = "dynatrace/automation_script2"
schedule = "@yearly"
[[secret]]
path = "dynatrace/automation_script3"
schedule = "@yearly"
${2:-}
TOML
}
busy="*/2 * * * * *"
quiet="@yearly"

# How many tokens there are at Dynatrace.
tokens() { curl --silent --fail "$simulator_url/_simulator/tokens" | jq '.tokens | length'; }

# P1: what is in Vault works.
all_valid() {
    local number
    for number in 1 2 3; do
        bao kv get -field=token "secret/dynatrace/automation_script$number"
        echo
    done | jq --raw-input --slurp '{values: (split("\n") | map(select(. != "")))}' |
        curl --silent --fail --json @- "$simulator_url/_simulator/check" | tee /tmp/valid |
        jq --exit-status '[.results[].valid] | length == 3 and all' >/dev/null || { cat /tmp/valid; return 1; }
}
