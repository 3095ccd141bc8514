#!/usr/bin/env bash
# Two providers that sell the same at different prices, and an agent that shops between them.
#
#   cargo xtask up                       builds everything once (stop it again)
#   examples/05-two-providers/run.sh
#
# Each host publishes a service of its own that tells what kind of file some bytes are. The agent knows neither: it asks a
# local door who has a method `identify`, takes the cheapest, and goes on with the other when that one is gone.
set -euo pipefail

source "$(dirname "$0")/../lib.sh"
calls=${CALLS:-8}

say "1. a host sells filetype for 100 base units a call"
offers one filetype
host one --mesh --chain-listen 127.0.0.1:0
"$rialto" publish "$dir/one/services/filetype" --data-dir "$dir/one/data" --rpc "$(field one chain_rpc)" \
    --gateway "$(field one gateway)" >/dev/null

say "2. another sells the same as kind-of-file, for 20"
mkdir -p "$dir/two/services" "$dir/two/data/wallet"
cp -r "$services/filetype" "$dir/two/services/kind-of-file"
sed -i -e 's/^name = "filetype"/name = "kind-of-file"/' -e 's/^call = "100"/call = "20"/' \
    "$dir/two/services/kind-of-file/service.toml"
(umask 077; field one test_keys/3 | sed 's/^0x//' >"$dir/two/data/wallet/wallet.key")
joiner two 2
"$rialto" publish "$dir/two/services/kind-of-file" --data-dir "$dir/two/data" --rpc "$(field one chain_rpc)" \
    --gateway "$(field two gateway)" >/dev/null
door=$(field one local)
knows "$door" filetype 1
knows "$door" kind-of-file 1

# Who has the method, the cheapest first: price and name, of those that were not found wanting.
shops() { python3 -c '
import json, sys
gone = sys.argv[1:]
found = json.load(sys.stdin)["services"]
offers = [(int(it["price_min"]), it["service"]) for it in found if it["verified"] and it["providers"]]
for price, service in sorted(offers):
    if service not in gone:
        print(price, service)' "$@"; }

for _ in $(seq 60); do
    found=$(curl -fsS "$door/search?method=identify")
    [ "$(shops <<<"$found" | wc -l)" -ge 2 ] && break
    sleep 0.5
done
say "3. the door knows:"
shops <<<"$found" | while read -r price service; do printf '   %4d base units  %s\n' "$price" "$service"; done

say "4. $calls calls, each at the cheapest that answers"
gone=()
for call in $(seq "$calls"); do
    if [ "$call" -eq $((calls / 2 + 1)) ]; then
        kill -9 "${hosts[1]}"
        wait "${hosts[1]}" 2>/dev/null || true
        say "   the cheap one is dead"
    fi
    answered=no
    while read -r price service; do
        if curl -fsS -D "$dir/head" -o "$dir/body" -H 'content-type: application/json' -d '{"content": "JVBERi0xLjQK"}' \
            "$door/call/$service/identify?idempotent=true&time_ms_max=4000&price_max=$((price * 2))" 2>"$dir/error"; then
            charged=$(sed -n 's/^rialto-charged: *\([0-9]*\).*/\1/Ip' "$dir/head")
            printf '   %2d  %-13s charged %4d: %s\n' "$call" "$service" "$charged" "$(value description <"$dir/body")"
            answered=yes
            break
        fi
        printf '   %2d  %-13s did not answer\n' "$call" "$service"
        gone+=("$service")
    done < <(shops "${gone[@]}" <<<"$found")
    [ "$answered" = yes ] || { cat "$dir/error" >&2; exit 1; }
done
say "all $calls calls were answered, and each was paid to whoever answered it"
