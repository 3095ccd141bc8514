#!/usr/bin/env bash
# A paid call by hand: what curl sees, what a client of x402 does with it, and the receipt.
#
#   cargo xtask up                       builds everything once (stop it again)
#   cargo xtask clients                  installs npm's @x402/fetch, among other strangers' clients
#   examples/04-curl-x402/run.sh
set -euo pipefail

source "$(dirname "$0")/../lib.sh"
node=${RIALTO_NODE:-node}
body='{"content": "JVBERi0xLjQK"}'

offers one filetype
host one --chain-listen 127.0.0.1:0
gateway=$(field one gateway)
url=$gateway/services/filetype/identify

say "1. curl asks without paying: 402, and what is accepted"
curl -sS -D "$dir/head" -o /dev/null -H 'content-type: application/json' -d "$body" "$url"
head -n 1 "$dir/head"
sed -n 's/^payment-required: *//Ip' "$dir/head" | tr -d '\r' | base64 -d | python3 -c '
import json, sys
for offer in json.load(sys.stdin)["accepts"]:
    print("  ", offer["scheme"], "up to", offer["amount"], "base units on", offer["network"], "to", offer["payTo"])'

say "2. npm @x402/fetch pays one of them and gets the answer"
# The key goes by the environment: every user of a machine may read its command lines.
RIALTO_NODE_MODULES=$modules PAYER_KEY=$(field one test_keys/0) \
    "$node" "$(dirname "$0")/pay.mjs" "$url" "$body" "$(field one chain_rpc)" | tee "$dir/paid"

say "3. rialto call does the same from the local wallet, on a channel"
"$rialto" call filetype identify "$body" --gateway "$gateway" --rpc "$(field one chain_rpc)" \
    --data-dir "$dir/one/data" --json >"$dir/called"
value result/description <"$dir/called"

say "4. receipts are checked without asking anybody"
"$rialto" receipt ls --json --data-dir "$dir/one/data" | "$rialto" receipt verify - --host "$(field one addresses/host)"
id=$(sed -n 's/^receipt *//p' "$dir/paid")
curl -fsS "$gateway/receipts/$id" | "$rialto" receipt verify - --host "$(field one addresses/host)"
