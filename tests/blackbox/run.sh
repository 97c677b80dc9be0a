#!/usr/bin/env bash
# Runs the black-box story against the release binary: a client in another language, written from the protos alone.
# Needs python3 (3.11 or newer) with venv, PyPI, and target/release/idvault or another binary named by IDVAULT_BIN.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
venv=$repo/target/blackbox-venv
gen=$repo/target/blackbox-gen

run() {
    printf '+ %s\n' "$*"
    "$@"
}

if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    run python3 -m venv --clear "$venv"
    run "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

run rm -rf "$gen"
run mkdir -p "$gen"
run "$venv/bin/python" -m grpc_tools.protoc --proto_path="$repo/proto" --python_out="$gen" --grpc_python_out="$gen" \
    "$repo"/proto/idvault/v1/*.proto

# The whole story twice: without TLS, then with a certificate for everybody.
for tls in 0 1; do
    run env IDVAULT_TLS=$tls PYTHONPATH="$gen" PYTHONDONTWRITEBYTECODE=1 \
        "$venv/bin/python" -m pytest -q -p no:cacheprovider "$here" "$@"
done

# Then three simulated days at a steady state, unless tests were chosen.
[ $# -gt 0 ] || run env PYTHONPATH="$gen" PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/steady.py" --days 3
