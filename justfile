# Shorthands; each is one command that works without just.

# The whole gate, as on every change
check:
    .ci/run

# Unit, property, vector and documentation tests
test:
    cargo test --locked

# The story of the vault in a temporary folder, on a clock it moves itself
demo:
    cargo run --release --locked -- demo

# Format the code and the protos
fmt:
    cargo fmt
    buf format --write

# Lints as errors, for the code and the protos
lint:
    cargo clippy --all-targets --locked -- -D warnings
    buf lint

# Tests over real gRPC, by a client in another language written from the protos alone
blackbox:
    cargo build --release --locked
    bash tests/blackbox/run.sh
