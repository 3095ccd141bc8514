# What the examples share: where things are that `cargo xtask up` built, hosts in a folder that goes away, and words.
# To be sourced by a script with `set -euo pipefail`.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${RIALTO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rialto}
rialto=${RIALTO:-$cache/target/release/rialto}
services=${RIALTO_SERVICES:-$cache/services}
artifacts=${RIALTO_ARTIFACTS:-$cache/artifacts}
modules=${RIALTO_NODE_MODULES:-$cache/clients/node_modules}
python=${RIALTO_VENV:-$cache/clients/venv}/bin/python3
[ -x "$rialto" ] || { echo "no program at $rialto: run \`cargo xtask up\` once, or set RIALTO" >&2; exit 1; }

dir=$(mktemp -d)
hosts=()
cleanup() {
    for pid in "${hosts[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${hosts[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap cleanup EXIT

say() { if [ -t 1 ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }

# One value of a JSON text, by the path to it.
value() { python3 -c '
import json, sys
value = json.load(sys.stdin)
for step in sys.argv[1].split("/"):
    value = value[int(step)] if step.isdigit() else value[step]
print(value if isinstance(value, str) else json.dumps(value))' "$1"; }

# One value of a host's ready file.
field() { value "$2" <"$dir/$1.json"; }

# Services for a host that is not started yet: its name, and theirs.
offers() {
    local name=$1
    shift
    mkdir -p "$dir/$name/services"
    for service in "$@"; do cp -r "$services/$service" "$dir/$name/services/"; done
}

# Starts a host and waits until it is ready: its name, and what `rialto up` is told besides.
host() {
    local name=$1
    shift
    mkdir -p "$dir/$name/data"
    [ -e "$dir/$name/data/rialto.toml" ] || printf '[mesh]\nnames_every_ms = 500\n' >"$dir/$name/data/rialto.toml"
    "$rialto" up --data-dir "$dir/$name/data" --services "$dir/$name/services" --artifacts "$artifacts" \
        --listen 127.0.0.1:0 --ready-file "$dir/$name.json" "$@" >"$dir/$name.log" 2>&1 &
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

# A host on the chain of `one` that pays for its transactions from one of the development chain's accounts: its name,
# and the account's number.
joiner() {
    mkdir -p "$dir/$1/services" "$dir/$1/data/keys"
    (umask 077; field one "test_keys/$2" | sed 's/^0x//' >"$dir/$1/data/keys/host.key")
    host "$1" --mesh --rpc "$(field one chain_rpc)" --chain-id "$(field one chain_id)" \
        --payout "$(field one addresses/receiver)" --bootstrap "$(field one peer_addresses/0)"
}

# Has a host run what another one published. Offers need a moment to be found.
takes_in() {
    for _ in $(seq 60); do
        "$rialto" deploy --mesh "$2" --data-dir "$dir/$1/data" >"$dir/told" 2>"$dir/error" && return
        sleep 0.5
    done
    cat "$dir/error" >&2
    exit 1
}

# Waits until a door knows so many providers of a service.
knows() {
    for _ in $(seq 120); do
        known=$(curl -fsS "$1/providers/$2" | grep -o '"offer"' | wc -l)
        [ "$known" -ge "$3" ] && return
        sleep 0.5
    done
    echo "only $known providers of $2 are known" >&2
    exit 1
}
