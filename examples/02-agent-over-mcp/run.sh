#!/usr/bin/env bash
# An agent in Python that finds its tools over MCP, and pays for them within a budget.
#
#   cargo xtask up                       builds everything once (stop it again)
#   cargo xtask clients                  installs PyPI's mcp, among other strangers' clients
#   examples/02-agent-over-mcp/run.sh
set -euo pipefail

source "$(dirname "$0")/../lib.sh"

say "1. a host with three services"
offers one filetype embed chat
host one --chain-listen 127.0.0.1:0

say "2. the agent starts rialto mcp, as a desktop client would, with a budget of 0.05 USDC"
export RIALTO_GATEWAY RIALTO_RPC RIALTO_DATA_DIR
RIALTO_GATEWAY=$(field one gateway)
RIALTO_RPC=$(field one chain_rpc)
RIALTO_DATA_DIR=$dir/one/data
"$python" "$(dirname "$0")/agent.py" "$rialto" mcp --budget "0.05 USDC"

say "3. what it paid"
"$rialto" receipt ls
