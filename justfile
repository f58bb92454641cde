# What to type. `just ci` is exactly what CI runs.

default:
    @just --list

# The whole product on a temporary store and a local exchange.
run:
    cargo run --release --bin bursard -- demo

# The README's test command.
test:
    cargo test --workspace --features bursard/points --locked

lint:
    cargo clippy --workspace --all-targets --features bursard/points --locked -- --deny warnings

fmt:
    cargo fmt --all

doc:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked

deny:
    cargo deny check bans licenses sources

# The public list of known weaknesses, which is a repository elsewhere; CI does without it.
advisories:
    cargo deny check advisories

# Writes docs/orders.md anew from the table that the store consults.
orders-page:
    BURSAR_WRITE_PAGES=1 cargo test -p bursar-execution --test it --locked the_page_about_orders

# Real third-party clients against the local exchange, and a real mail server for our mails.
conformance:
    tests/conformance/run

# Kills the trading daemon N times, at named moments and at random ones, and commands beside it; then takes
# the power away a number of times. Compares with the exchange's own book after each world.
kills n="50" power="20":
    BURSAR_KILLS={{n}} BURSAR_POWER_CYCLES={{power}} cargo test --release -p bursard --features points \
        --test kills --locked -- --nocapture --test-threads 1

# Ten thousand tamperings with a trail and its checkpoints, each of which must be seen.
tamper n="10000":
    BURSAR_TAMPERINGS={{n}} cargo test --release -p bursar-audit --lib --locked -- --nocapture i6_every_tampering

# How many records of the audit trail are verified in a second, on one core.
audit-speed:
    cargo bench -p bursar-audit --bench verify --locked

# Hammers every kind of limit with N orders from 64 callers through four handles of one store, and
# again while limits change and switches trip; prints a line of JSON for each.
stress n="1000000":
    BURSAR_STRESS={{n}} cargo test --release -p bursar-store-sqlite --test it --locked stress:: -- --nocapture --test-threads=1

# Trips of the switches at random moments under load, and while disk, store, keys, machine or exchange are in trouble.
drills n="10000":
    BURSAR_DRILL_TRIPS={{n}} cargo test --release -p bursar-store-sqlite --test it --locked -- --nocapture i4_drill
    BURSAR_DRILL_TRIPS=1000 cargo test -p bursard --features points --test kills --locked -- --nocapture drill::
    cargo run --release --bin bursard --locked -- drill kill-switch --trips 20

# What the gate's decision costs.
gate-figures:
    cargo bench -p bursar-controls --bench review --locked

# What a signature with a stored key costs against the bare code, and sealing, opening and wrapping anew.
key-figures:
    cargo bench -p bursar-keystore --bench keys --locked

# Orders admitted in a second by 1, 16 and 256 callers, against bare synced writes.
admit-figures:
    cargo bench -p bursar-store-sqlite --bench admit --locked

# From a daemon's start to its last account of so many that may trade, and the memory of each.
start-figures *accounts="1000 10000":
    cargo bench -p bursard --bench start --locked -- {{accounts}}

# From the end of a command to the daemon's line about it, so many times each.
change-figures rounds="20":
    cargo bench -p bursard --bench change --locked -- {{rounds}}

# From a switch on the disk to the last order that was still written, with 1 and with 10,000 in the queue, so
# many trips of each; fails when a trip does.
switch-figures trips="100":
    BURSAR_TRIPS={{trips}} cargo bench -p bursar-store-sqlite --bench switch --locked

# From a daemon's start to its first account that may trade, with so many orders in the store.
recovery-figures intents="1000000" open="10000":
    BURSAR_INTENTS={{intents}} BURSAR_OPEN={{open}} cargo bench -p bursar-store-sqlite --bench recovery --locked

# So many orders to Kraken's adapter over connections that break: each is written once at most.
sockets connections="10000":
    BURSAR_CONNECTIONS={{connections}} cargo test -p bursar-broker-kraken --test it --locked -- --nocapture i2_an_order_whose

# Whole worlds, each decided by its seed; fails when a rule was broken in any.
simulate n="1000" from="1":
    cargo run --release --locked -p bursar-simulation -- --seeds {{n}} --from {{from}}

# Looks for each mistake that is known, and prints in which world it shows; fails when one does not.
bites seeds="1000":
    cargo run --release --locked -p bursar-simulation -- --bite --seeds {{seeds}}

# Looks for bytes that a reader cannot stand, so many seconds with each target of `fuzz/`.
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# Visits every interleaving of the order protocol in small worlds, and looks for each of twelve mistakes. The clock of
# a world with one order and one process has so many ticks.
model horizon="7":
    BURSAR_MODEL_HORIZON={{horizon}} cargo test --profile proofs --locked -p bursar-execution --test model \
        -- --nocapture --test-threads 1

# Every property with many cases, and long random lives of orders on the real store.
properties cases="100000" lives="2000":
    PROPTEST_CASES={{cases}} BURSAR_LIVES={{lives}} cargo test --profile proofs --locked \
        -p bursar-model -p bursar-audit -p bursar-permissions -p bursar-controls -p bursar-ledger \
        -p bursar-execution -p bursar-broker-kraken -p bursar-broker-paper -p bursar-notify -p bursar-strategy \
        -p bursar-store-sqlite --lib --test it

# Changes a store in so many ways: all are found, nothing opens wrong.
corruption mutations="10000":
    BURSAR_MUTATIONS={{mutations}} cargo test --profile proofs --locked \
        -p bursar-store-sqlite --test it corruption -- --nocapture

# Takes so many backups, half of them while others write, and puts each back where there is no store.
restore-drills n="200":
    BURSAR_DRILLS={{n}} cargo test --profile proofs --locked -p bursar-store-sqlite --test it -- --nocapture i15_every_drill

# Ends each command that changes keys, users or whole stores before each step by which it changes files.
steps n="all":
    BURSAR_STEPS={{n}} cargo test --profile proofs --locked -p bursar --test steps -- --nocapture

# Searches all that an installation leaves behind for its secrets, so many images of its memory too.
canaries images="1000":
    BURSAR_IMAGES={{images}} cargo test --profile proofs --locked -p bursard --test canaries -- --nocapture

# Breaks the code on purpose and asks whether a test sees it. For example: just mutants bursar-ledger
mutants package="bursar-controls" *options:
    tests/mutants {{package}} {{options}}

# The release as an archive, in target/dist: what belongs below /usr.
archive:
    cargo build --release --locked -p bursar -p bursard
    deploy/archive

# The release as a Debian package too, made from the archive.
deb: archive
    deploy/deb

# Packs the release and looks at what comes out; the exposure of the unit is at most 2.0.
deploy-check:
    cargo build --release --locked -p bursar -p bursard
    tests/deploy

# Each library crate built by itself, without its optional parts. For example: just alone bursar-keystore
alone *packages:
    tests/alone {{packages}}

# Packs each library crate as it would be published, and builds what was packed.
packages *options:
    tests/packages {{options}}

# What the library crates broke for those who use them since a commit. For example: just semver v0.1.0
semver baseline *options:
    tests/semver {{baseline}} {{options}}

ci:
    bash .ci/run
