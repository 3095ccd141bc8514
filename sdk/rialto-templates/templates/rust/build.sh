#!/bin/sh
# Builds the service: dist/{{name}}/component.wasm beside its manifest, as a host reads it.
set -eu
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip2
mkdir -p dist/{{name}}
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip2/release/{{crate}}.wasm" dist/{{name}}/component.wasm
cp service.toml dist/{{name}}/service.toml
echo "dist/{{name}}: $(wc -c <dist/{{name}}/component.wasm) bytes"
