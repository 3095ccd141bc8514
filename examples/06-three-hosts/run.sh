#!/usr/bin/env bash
# Three hosts that know each other by the mesh alone, one service, calls in a loop, and a host that dies.
#
#   cargo xtask up              builds everything once (stop it again)
#   examples/06-three-hosts/run.sh
#
# The first host has a development chain and publishes `filetype`; the others run what was published. Calls go
# through the first host's local door, which chooses a provider for each and pays for it. Then the second host is
# killed. Everything is in a folder that goes away at the end.
set -euo pipefail

source "$(dirname "$0")/../lib.sh"
calls=${CALLS:-60}

say "1. a host with a development chain, and a service that it publishes"
offers one filetype
host one --mesh --chain-listen 127.0.0.1:0
"$rialto" publish "$services/filetype" --data-dir "$dir/one/data" --rpc "$(field one chain_rpc)" \
    --gateway "$(field one gateway)"

say "2. two more hosts run what was published"
for name in two three; do offers "$name" speech-activity; done
joiner two 2
joiner three 3
declare -A name_of=([$(field one peer)]=one [$(field two peer)]=two [$(field three peer)]=three)
declare -A pid_of=([two]=${hosts[1]} [three]=${hosts[2]})
for name in two three; do takes_in "$name" filetype; done
door=$(field one local)
knows "$door" filetype 3
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
