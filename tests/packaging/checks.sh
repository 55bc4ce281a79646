# What the scripts of checks share. Each check is one line, ok or FAIL; a script ends with `finish`.

failures=0

# check SENTENCE COMMAND...: a failed one shows what the command printed and goes on.
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

# within SECONDS COMMAND...: until it is true.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= deadline)); then
            echo "not in time: $*"
            return 1
        fi
        sleep 0.1
    done
}

# The opposite, for `check` and `within`.
not() { ! "$@"; }

finish() {
    if ((failures > 0)); then
        echo "$failures checks FAILED"
        exit 1
    fi
    echo "all is well"
    exit 0
}

# A real OpenBao with AppRole and the shipped policy, the simulator, and the secrets that rotate.
# The values go through pipes and files, never through arguments.
bao_program=/repo/.tools/bao
simulator_program=/repo/target/debug/simulator
export BAO_ADDR=http://127.0.0.1:8200 BAO_TOKEN=root
simulator_url=http://127.0.0.1:9999

bao() { "$bao_program" "$@" >/dev/null; }

# seed FOLDER: fills Vault from what the simulator wrote to FOLDER.
seed() {
    local number
    within 30 "$bao_program" token lookup >/dev/null 2>&1
    within 30 test -s "$1/tokens"
    bao kv put secret/dynatrace/master token=- <"$1/management"
    for number in 0 1 2; do
        jq --join-output ".[$number].value" "$1/tokens" |
            bao kv put "secret/dynatrace/s$number" token=- note=kept
    done
    bao policy write dtrotate config/vault-policy.hcl
}

simulator_arguments() {
    echo "--listen 127.0.0.1:9999 --tokens 3 --tokens-file $1/tokens --management-token-file $1/management"
}

# How many tokens there are at Dynatrace.
tokens() { curl --silent --fail "$simulator_url/_simulator/tokens" | jq '.tokens | length'; }

# P1: what is in Vault works.
all_valid() {
    local number
    for number in 0 1 2; do
        "$bao_program" kv get -field=token "secret/dynatrace/s$number"
        echo
    done | jq --raw-input --slurp '{values: (split("\n") | map(select(. != "")))}' |
        curl --silent --fail --json @- "$simulator_url/_simulator/check" | tee /tmp/valid |
        jq --exit-status '[.results[].valid] | length == 3 and all' >/dev/null || { cat /tmp/valid; return 1; }
}
