//! How many records of a trail are verified in a second, on one core. `just audit-speed` runs it.
#![expect(clippy::expect_used, reason = "a benchmark ends where its own ids are wrong")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bursar_audit::{
    Action, Actor, ActorKind, Data, Draft, Hash, Head, Origin, StoreId, StoredRecord, Subject, Verifier,
    chain,
};
use bursar_model::IntentId;
use jiff::Timestamp;
use uuid::Uuid;

const RECORDS: u64 = 200_000;
const ROUNDS: u32 = 5;

/// Records as a day of trading leaves them: admitted, sent, confirmed, over.
fn draft(number: u64) -> Draft {
    let account = "kraken-ilves".parse().expect("a valid id");
    let id = IntentId::from_uuid(Uuid::from_u128(u128::from(number / 4)));
    let subject = Subject {
        user: "mara_ilves".parse().ok(),
        ..Subject::intent(&account, id)
    };
    let step = |action, from, to| {
        let data = Data::new().text("from", from).text("to", to);
        Draft::new(Actor::new(ActorKind::Daemon, None), action).with(data)
    };
    let draft = match number % 4 {
        0 => Draft::new(
            Actor::new(ActorKind::Strategy, Some("trend")),
            Action::IntentApproved,
        )
        .with(
            Data::new()
                .text("order", "buy 0.25 BTC-USD limit 64000")
                .flag("reducing", false)
                .text("client_order_id", id.as_uuid().simple())
                .text("terms", "buy 0.25 BTC-USD limit 64000 good-til-cancelled")
                .text("worst_cost", "16041.60 USD")
                .text("terms_hash", Hash::of(&number.to_be_bytes()))
                .texts("broken", [""; 0]),
        ),
        1 => step(Action::IntentDispatched, "approved", "dispatching"),
        2 => step(Action::IntentOpen, "dispatching", "open"),
        _ => step(Action::IntentFilled, "open", "filled"),
    };
    draft.on(subject)
}

/// What this thread has computed so far; other work on the machine does not count. On other systems the
/// time on the clock.
fn computed(began: Instant) -> Duration {
    let on_core = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos);
    on_core.unwrap_or_else(|| began.elapsed())
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figure")]
fn main() {
    let store = StoreId::from_uuid(Uuid::from_u128(1));
    let origin = Origin {
        store,
        node: "bursar".to_owned(),
        epoch: 0,
    };
    let mut head = Head::EMPTY;
    let trail: Vec<StoredRecord> = (0..RECORDS)
        .filter_map(|number| {
            let record = chain(&head, &origin, Timestamp::UNIX_EPOCH, draft(number)).ok()?;
            head = Head::of(&record);
            Some(record.to_stored())
        })
        .collect();
    let bytes: usize = trail.iter().map(|stored| stored.body.len()).sum();
    let mut best = Duration::MAX;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let began = computed(start);
        let mut verifier = Verifier::new(store);
        for stored in &trail {
            verifier.feed_parts(stored.seq, stored.hash, black_box(&stored.body));
        }
        let report = verifier.finish(head);
        best = best.min(computed(start).saturating_sub(began));
        assert!(report.is_whole(), "{report}");
    }
    let per_second = u128::from(RECORDS) * 1_000_000_000 / best.as_nanos();
    let mean = bytes / trail.len();
    println!("{per_second} records/s, {RECORDS} records of {mean} bytes, best of {ROUNDS} rounds");
}
