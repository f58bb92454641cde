# What to type. `just ci` is exactly what CI runs.

default:
    @just --list

# The whole product on a temporary store and a local exchange.
run:
    cargo run --release --bin bursard -- demo

# The README's test command.
test:
    cargo test --workspace --locked

lint:
    cargo clippy --workspace --all-targets --locked -- --deny warnings

fmt:
    cargo fmt --all

doc:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked

deny:
    cargo deny check bans licenses sources

# Real third-party clients against the local exchange.
conformance:
    tests/conformance/run

# Kills the trading daemon N times at random moments and compares with the exchange's own book.
kills n="50":
    BURSAR_KILLS={{n}} cargo test --release -p bursard --test kills --locked -- --nocapture

ci:
    bash .ci/run
