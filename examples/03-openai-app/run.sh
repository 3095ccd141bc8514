#!/usr/bin/env bash
# A JavaScript app that knows OpenAI's API and nothing of payment: the local door pays for it.
#
#   cargo xtask up                       builds everything once (stop it again)
#   cargo xtask clients                  installs npm's openai, among other strangers' clients
#   examples/03-openai-app/run.sh
set -euo pipefail

source "$(dirname "$0")/../lib.sh"
node=${RIALTO_NODE:-node}

say "1. a host with a chat model and one that embeds"
offers one chat embed
host one --chain-listen 127.0.0.1:0 --local 127.0.0.1:0

say "2. the app: OPENAI_BASE_URL is all that it is told"
RIALTO_NODE_MODULES=$modules OPENAI_BASE_URL=$(field one openai_base_url) OPENAI_API_KEY=any \
    "$node" "$(dirname "$0")/app.mjs" "When is the library closed?"

say "3. what this machine's wallet paid for it today"
"$rialto" key list --data-dir "$dir/one/data"
