#!/usr/bin/env bash
# An agent that reads a folder of mixed files, with three services that it hires, and a bill for each hop.
#
#   cargo xtask up                       builds everything once, the agent in service/ too (stop it again)
#   examples/01-folder-agent/run.sh [FOLDER]
#
# Without a folder of yours it makes one: notes on two subjects, a picture with words, and a file that says nothing.
set -euo pipefail

source "$(dirname "$0")/../lib.sh"
guests=${RIALTO_TEST_GUESTS:-$cache/test-guests}
agent=$guests/folder-agent/component.wasm
[ -f "$agent" ] || { echo "the agent is not built: run \`cargo xtask up\` once" >&2; exit 1; }

say "1. a host with the agent and those whom it hires"
offers one filetype ocr embed
mkdir -p "$dir/one/services/folder-agent"
cp "$agent" "$dir/one/services/folder-agent/component.wasm"
cp "$here/examples/01-folder-agent/service/service.toml" "$dir/one/services/folder-agent/"
# What one folder may cost, in base units; the manifest says 200000.
if [ -n "${SPEND_MAX:-}" ]; then
    sed -i "s/^spend_max = .*/spend_max = \"$SPEND_MAX\"/" "$dir/one/services/folder-agent/service.toml"
fi
host one --chain-listen 127.0.0.1:0

folder=${1:-$dir/folder}
if [ $# -eq 0 ]; then
    mkdir "$folder"
    echo "The cat sleeps on the sofa and the kitten plays with a ball of wool." >"$folder/cats.txt"
    echo "Our cat chased a mouse through the garden; the kittens watched." >"$folder/mouse.md"
    echo "The invoice is due on Friday: pay the rent and the tax to the bank." >"$folder/rent.txt"
    head -c 700 /dev/zero | tr '\0' '\377' >"$folder/noise.bin"
    cp "$here/examples/01-folder-agent/scan.png" "$folder/scan.png"
fi

say "2. one call, with the whole folder"
python3 -c '
import base64, json, pathlib, sys
files = sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_file())
print(json.dumps({"files": [
    {"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()} for path in files]}))' \
    "$folder" >"$dir/request.json"
paying=(--gateway "$(field one gateway)" --rpc "$(field one chain_rpc)" --data-dir "$dir/one/data")
"$rialto" call folder-agent report "@$dir/request.json" --max-price "0.5 USDC" --json "${paying[@]}" >"$dir/called"
value result/text <"$dir/called"

say "3. the whole bill"
"$rialto" receipt tree "$(value receipt <"$dir/called")" --gateway "$(field one gateway)" --data-dir "$dir/one/data"
