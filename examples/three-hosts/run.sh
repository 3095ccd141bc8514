#!/usr/bin/env bash
# Three hosts that know each other by the mesh alone, one service, calls in a loop, and a host that dies.
#
#   cargo xtask up              builds everything once (stop it again)
#   examples/three-hosts/run.sh
#
# The first host has a development chain and publishes `filetype`; the others run what was published. Calls go
# through the first host's local door, which chooses a provider for each and pays for it. Then the second host is
# killed. Everything is in a folder that goes away at the end.
set -euo pipefail

cache=${RIALTO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rialto}
rialto=${RIALTO:-$cache/target/release/rialto}
services=${RIALTO_SERVICES:-$cache/services}
artifacts=${RIALTO_ARTIFACTS:-$cache/artifacts}
calls=${CALLS:-60}
[ -x "$rialto" ] || { echo "no program at $rialto: run \`cargo xtask up\` once, or set RIALTO" >&2; exit 1; }

dir=$(mktemp -d)
hosts=()
cleanup() {
    for pid in "${hosts[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${hosts[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap cleanup EXIT

say() { printf '\033[1m%s\033[0m\n' "$*"; }

# One value of a host's ready file, by the path to it.
field() { python3 -c '
import json, sys
value = json.load(open(sys.argv[1]))
for step in sys.argv[2].split("/"):
    value = value[int(step)] if step.isdigit() else value[step]
print(value)' "$dir/$1.json" "$2"; }

# Starts a host and waits until it is ready: its name, and what `rialto up` is told besides.
host() {
    local name=$1
    shift
    mkdir -p "$dir/$name/data"
    printf '[mesh]\nnames_every_ms = 500\n' >"$dir/$name/data/rialto.toml"
    "$rialto" up --data-dir "$dir/$name/data" --services "$dir/$name/services" --artifacts "$artifacts" \
        --listen 127.0.0.1:0 --mesh --ready-file "$dir/$name.json" "$@" >"$dir/$name.log" 2>&1 &
    hosts+=($!)
    for _ in $(seq 300); do
        [ -s "$dir/$name.json" ] && return
        kill -0 "${hosts[-1]}" 2>/dev/null || break
        sleep 0.2
    done
    cat "$dir/$name.log" >&2
    echo "$name did not start" >&2
    exit 1
}

# A host that pays for its transactions from one of the development chain's accounts.
joiner() {
    mkdir -p "$dir/$1/services" "$dir/$1/data/keys"
    cp -r "$services/speech-activity" "$dir/$1/services/"
    (umask 077; field one "test_keys/$2" | sed 's/^0x//' >"$dir/$1/data/keys/host.key")
    host "$1" --rpc "$(field one chain_rpc)" --chain-id "$(field one chain_id)" \
        --payout "$(field one addresses/receiver)" --bootstrap "$(field one peer_addresses/0)"
}

say "1. a host with a development chain, and a service that it publishes"
mkdir -p "$dir/one/services"
cp -r "$services/filetype" "$dir/one/services/"
host one --chain-listen 127.0.0.1:0
"$rialto" publish "$services/filetype" --data-dir "$dir/one/data" --rpc "$(field one chain_rpc)" \
    --gateway "$(field one gateway)"

say "2. two more hosts run what was published"
joiner two 2
joiner three 3
declare -A name_of=([$(field one peer)]=one [$(field two peer)]=two [$(field three peer)]=three)
declare -A pid_of=([two]=${hosts[1]} [three]=${hosts[2]})
for name in two three; do
    for _ in $(seq 60); do
        "$rialto" deploy --mesh filetype --data-dir "$dir/$name/data" 2>"$dir/error" && break
        sleep 0.5
    done || { cat "$dir/error" >&2; exit 1; }
done
door=$(field one local)
for _ in $(seq 120); do
    known=$(curl -fsS "$door/providers/filetype" | grep -o '"offer"' | wc -l)
    [ "$known" -ge 3 ] && break
    sleep 0.5
done
say "   $known hosts offer filetype"

say "3. $calls calls; a host that has just answered is killed in the middle"
failed=0
last=two
for call in $(seq "$calls"); do
    if [ "$call" -eq $((calls / 3)) ]; then
        # The first host has the chain and the door.
        [ "$last" = one ] && last=two
        kill -9 "${pid_of[$last]}"
        wait "${pid_of[$last]}" 2>/dev/null || true
        say "   $last is dead"
    fi
    began=$(date +%s%N)
    if curl -fsS -D "$dir/head" -o "$dir/body" -H 'content-type: application/json' \
        -d '{"content": "JVBERi0xLjQK"}' "$door/call/filetype/identify?idempotent=true" 2>"$dir/error"; then
        provider=$(sed -n 's/^rialto-provider: *\([^/]*\).*/\1/Ip' "$dir/head")
        last=${name_of[$provider]}
        printf '   %3d  %-5s  %5d ms\n' "$call" "$last" $((($(date +%s%N) - began) / 1000000))
    else
        failed=$((failed + 1))
        printf '   %3d  failed: %s\n' "$call" "$(cat "$dir/error")"
    fi
done

if [ "$failed" -gt 0 ]; then
    say "$failed of $calls calls failed"
    exit 1
fi
say "all $calls calls were answered: the loop never stopped"
