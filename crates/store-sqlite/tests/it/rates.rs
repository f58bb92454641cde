//! What is not paid for in dollars, when it becomes dearer in them: limits hold all the same.

use bursar_broker::VenueOrderStatus;
use bursar_controls::LimitKind;
use bursar_execution::{
    Admission, Conditions, Dispatch, Intent, Journal, Outcome, Promise, Reach, Reports, SelfCheck,
};
use bursar_model::{IntentState, Side, Usd};
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::support::trading::{account, buy, decimal, fill, kraken, limits, listed, sell, wide, with_euros};
use crate::support::{World, lives};

const PAIR: &str = "BTC-EUR";

/// One bitcoin at 100 euros of 1.10 dollars; no position may cost more than `position`.
async fn world(position: &str) -> World {
    let world = with_euros(PAIR, "100", "1.10").await;
    world.limit(limits(position, "100000", 100)).await;
    world
}

async fn held(world: &World, kind: LimitKind) -> Decimal {
    let rows = world.store.reservations(Some(&account())).await.unwrap();
    let mut amounts = rows.iter().filter(|row| row.kind == kind);
    let amount = amounts.next().map_or(Decimal::ZERO, |row| row.amount);
    assert!(amounts.next().is_none());
    amount
}

async fn cost(world: &World) -> Decimal {
    held(world, LimitKind::PositionCost).await
}

async fn cancels(world: &World) -> Vec<String> {
    let cancels = world.store.pending_cancels(&account()).await.unwrap();
    cancels.into_iter().map(|cancel| cancel.reason).collect()
}

async fn broken(world: &World) -> Vec<Promise> {
    let report = world
        .store
        .check_self(Reach::Everything, world.now())
        .await
        .unwrap();
    report
        .violations
        .iter()
        .map(|violation| violation.promise)
        .collect()
}

async fn one(world: &World) -> Intent {
    world.open(buy("1", PAIR, "100"), "V1").await
}

#[tokio::test]
async fn i3_a_rate_has_room_as_a_price_has() {
    let refused = world("112.19").await.admit(buy("1", PAIR, "100")).await;
    let hints: Vec<String> = (refused.intent().trace.iter())
        .filter(|check| check.rule == "position-size")
        .map(|check| check.hint.clone())
        .collect();
    assert_eq!(hints, ["the largest order that fits is 109.99 USD"]);

    let world = world("112.20").await;
    one(&world).await;

    assert_eq!(cost(&world).await, decimal("112.2"));
    // Five percent of that: what it may lose before anybody can react.
    assert_eq!(held(&world, LimitKind::DayLoss).await, decimal("5.61"));
    world.price("EUR-USD", "1.122").await;
    assert_eq!(cost(&world).await, decimal("112.2"), "1.122 is within the room");
    assert_eq!(cancels(&world).await, [""; 0]);
}

#[tokio::test]
async fn i3_an_order_that_became_dearer_takes_room_for_that() {
    let world = world("200").await;
    one(&world).await;

    world.price("EUR-USD", "1.20").await;

    assert_eq!(cost(&world).await, decimal("122.4"));
    assert_eq!(held(&world, LimitKind::DayLoss).await, decimal("6.12"));
    assert_eq!(cancels(&world).await, [""; 0]);
    // Half of it is filled: the other half goes on holding its part.
    world.filled("F1", "V1", Side::Buy, "0.5", PAIR, "100").await;
    assert_eq!(cost(&world).await, decimal("61.2"));
    world.price("EUR-USD", "1.30").await;
    assert_eq!(cost(&world).await, decimal("66.3"));
    assert_eq!(broken(&world).await, []);
}

#[tokio::test]
async fn i3_an_order_that_no_longer_fits_is_cancelled_and_nothing_else_stops() {
    let world = world("113").await;
    one(&world).await;

    world.price("EUR-USD", "1.15").await;
    world.price("EUR-USD", "1.16").await;

    let reasons = cancels(&world).await;
    assert_eq!(
        reasons,
        ["EUR is worth 1.15 USD now: its limits have no room for what it may cost"]
    );
    assert_eq!(cost(&world).await, decimal("117.3"), "it is held all the same");
    assert!(matches!(
        world.admit(buy("0.01", PAIR, "100")).await,
        Admission::Denied(_)
    ));
    assert_eq!(broken(&world).await, []);

    // It was filled before the cancel arrived: the limit is passed by what nobody could hinder.
    world.filled("F1", "V1", Side::Buy, "1", PAIR, "100").await;

    let positions = world.store.open_positions(None).await.unwrap();
    assert_eq!(positions[0].cost_usd, "116".parse::<Usd>().unwrap());
    assert_eq!(broken(&world).await, []);
}

#[tokio::test]
async fn i3_every_limit_in_dollars_is_asked_for_room() {
    for (name, set) in [
        ("account", 0),
        ("user", 1),
        ("everybody", 2),
        ("account, turnover", 3),
        ("user, turnover", 4),
    ] {
        let world = world("1000").await;
        let mut policy = wide();
        let limit = Some("115".parse::<Usd>().unwrap());
        let limits = [
            &mut policy.max_account_exposure,
            &mut policy.max_user_exposure,
            &mut policy.max_global_exposure,
            &mut policy.max_account_turnover,
            &mut policy.max_user_turnover,
        ];
        *limits.into_iter().nth(set).unwrap() = limit;
        world.policy(&policy).await;
        one(&world).await;

        world.price("EUR-USD", "1.15").await;

        assert_eq!(cancels(&world).await.len(), 1, "{name}");
        assert_eq!(broken(&world).await, [], "{name}");
    }
}

#[tokio::test]
async fn i3_an_order_is_not_sent_at_a_rate_that_it_was_not_counted_with() {
    let world = world("112.20").await;
    let intent = world.approved(buy("1", PAIR, "100")).await;

    world.price("EUR-USD", "1.15").await;
    let Dispatch::Over(intent) = world.dispatch(&intent).await else {
        panic!("it was sent");
    };

    assert_eq!(intent.state, IntentState::Withdrawn);
    assert_eq!(intent.cause, "no longer allowed: quote-rate: 1.15 USD");
    assert_eq!(cancels(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_rate_that_nobody_can_believe_cancels_nothing() {
    let world = world("113").await;
    one(&world).await;

    world.spread("EUR-USD", "1.10", "2.00").await;

    assert_eq!(cost(&world).await, decimal("112.2"));
    assert_eq!(cancels(&world).await, [""; 0]);
}

/// The order was sized with 1.10, perhaps weeks ago. A gain by a rate of then would hide what is lost today.
#[tokio::test]
async fn i3_i13_what_an_order_was_sized_with_counts_only_as_far_as_bid_and_ask_allow() {
    for (bid, ask, booked) in [
        ("1.00", "1.20", "1.10"),
        ("0.70", "0.80", "0.80"),
        ("1.40", "1.50", "1.40"),
        ("1.30", "1.30", "1.30"),
    ] {
        let world = world("100000").await;
        one(&world).await;
        world.filled("F1", "V1", Side::Buy, "1", PAIR, "100").await;
        world.open(sell("1", PAIR, "100"), "V2").await;
        world.open(buy("0.5", PAIR, "100"), "V3").await;

        world.spread("EUR-USD", bid, ask).await;
        world
            .book(vec![
                fill("F2", "V2", Side::Sell, "1", PAIR, "100", world.now()),
                fill("F3", "V3", Side::Buy, "0.5", PAIR, "100", world.now()),
            ])
            .await;

        let raw = rusqlite::Connection::open(world.path()).unwrap();
        let rates: Vec<String> = raw
            .prepare("SELECT usd_rate FROM fill WHERE id <> 'F1'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let rates: Vec<Decimal> = rates.iter().map(|rate| decimal(rate)).collect();
        assert_eq!(rates, [decimal(booked); 2], "{bid} to {ask}");
    }
}

#[tokio::test]
async fn i3_what_the_rate_does_not_explain_is_still_found() {
    let world = world("113").await;
    one(&world).await;
    world.filled("F1", "V1", Side::Buy, "0.5", PAIR, "100").await;
    world.price("EUR-USD", "1.12").await;
    assert_eq!(broken(&world).await, []);

    let raw = rusqlite::Connection::open(world.path()).unwrap();
    raw.execute_batch("UPDATE reservation SET amount = '60' WHERE kind = 'position-cost'")
        .unwrap();

    assert!(broken(&world).await.contains(&Promise::I3));
}

#[tokio::test]
async fn i3_room_that_a_purchase_in_euros_no_longer_holds_is_found() {
    for deed in [
        "UPDATE reservation SET amount = '56' WHERE kind = 'position-cost'",
        "UPDATE reservation SET amount = '2.8' WHERE kind = 'day-loss'",
        "DELETE FROM reservation WHERE kind = 'day-loss'",
    ] {
        let world = world("200").await;
        one(&world).await;
        world.filled("F1", "V1", Side::Buy, "0.5", PAIR, "100").await;
        assert_eq!(cost(&world).await, decimal("56.1"));
        assert_eq!(held(&world, LimitKind::DayLoss).await, decimal("2.805"));
        assert_eq!(broken(&world).await, []);

        let raw = rusqlite::Connection::open(world.path()).unwrap();
        raw.execute_batch(deed).unwrap();

        assert_eq!(broken(&world).await, [Promise::I3], "{deed}");
    }
}

/// The loss was rounded up to cents anew where a rate had risen, and the check counted in proportion: a fraction of a
/// cent beyond a limit that was full.
#[tokio::test]
async fn i3_what_may_be_lost_is_held_in_proportion_and_breaks_no_full_limit() {
    let world = with_euros(PAIR, "100", "1.10").await;
    world.limit(limits("100000", "5.61", 100)).await;
    one(&world).await;

    world.price("EUR-USD", "1.15").await;

    let loss = held(&world, LimitKind::DayLoss).await;
    assert_eq!(loss.round_dp(6), decimal("5.865"));
    assert_eq!(broken(&world).await, []);
    // A tighter policy is no reason either.
    let tighter = bursar_controls::Policy {
        stress_percent: Decimal::TEN,
        ..wide()
    };
    world.policy(&tighter).await;
    world.price("EUR-USD", "1.20").await;
    assert_eq!(broken(&world).await, []);
}

#[tokio::test]
async fn i3_an_order_whose_fate_is_not_known_is_counted_anew_too() {
    let world = world("113").await;
    let unknown = world.approved(buy("1", PAIR, "100")).await;
    drop(world.dispatch(&unknown).await);
    let lost = Outcome::Lost {
        reason: "no answer".to_owned(),
    };
    world.store.conclude(unknown.id, lost, world.now()).await.unwrap();

    world.price("EUR-USD", "1.15").await;

    assert_eq!(cost(&world).await, decimal("117.3"));
    assert_eq!(cancels(&world).await.len(), 1);
}

/// As it was written before rates had room.
#[tokio::test]
async fn an_order_that_was_counted_without_room_gets_it_with_the_first_dearer_price() {
    let world = world("115").await;
    let raw = rusqlite::Connection::open(world.path()).unwrap();
    one(&world).await;
    raw.execute_batch(
        "UPDATE intent SET sizing = json_remove(json_set(sizing, '$.worst_cost', '110.00'), '$.worst_rate');
         UPDATE reservation SET claimed = '110', amount = '110' WHERE kind = 'position-cost'",
    )
    .unwrap();
    assert_eq!(broken(&world).await, []);

    world.price("EUR-USD", "1.11").await;

    assert_eq!(cost(&world).await, decimal("113.22"));
    assert_eq!(cancels(&world).await, [""; 0]);
    assert_eq!(broken(&world).await, []);
}

#[tokio::test]
async fn an_order_that_cannot_be_counted_keeps_what_it_holds_and_prices_arrive() {
    let world = world("113").await;
    one(&world).await;
    let raw = rusqlite::Connection::open(world.path()).unwrap();
    raw.execute_batch("UPDATE intent SET caller = 'nobody knows'")
        .unwrap();

    world.price("EUR-USD", "1.15").await;

    assert_eq!(cost(&world).await, decimal("112.2"));
    let quotes = world.store.quotes(&kraken()).await.unwrap();
    let euro = quotes.iter().find(|quote| quote.pair.to_string() == "EUR-USD");
    assert_eq!(euro.unwrap().bid, "1.15".parse().unwrap());
}

/// A step that tries something; `which` chooses the order, `part` the amount.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    which: usize,
    part: u32,
}

fn step() -> impl Strategy<Value = Step> {
    (0..12_u8, 0..8_usize, 1..100_u32).prop_map(|(kind, which, part)| Step { kind, which, part })
}

struct Play {
    world: World,
    rate: Decimal,
    fills: usize,
}

impl Play {
    async fn working(&self) -> Vec<Intent> {
        let intents = self.world.store.intents(Some(&account()), 1000).await.unwrap();
        let works = |intent: &Intent| intent.state == IntentState::Open;
        intents.into_iter().filter(works).collect()
    }

    async fn take(&mut self, step: Step) {
        let world = &self.world;
        let quantity = Decimal::new(i64::from(step.part), 1).to_string();
        match step.kind {
            0..=3 => {
                let pair = [PAIR, PAIR, PAIR, "BTC-USD"][step.which % 4];
                let order = buy(&quantity, pair, "100");
                if let Admission::Approved(intent) = world.admit(order).await
                    && matches!(world.dispatch(&intent).await, Dispatch::Send(_))
                {
                    world.accepted(&intent, &format!("V{}", intent.id)).await;
                }
            }
            4 | 5 => {
                let working = self.working().await;
                let Some(intent) = working.get(step.which % working.len().max(1)) else {
                    return;
                };
                let terms = &intent.sizing.as_ref().unwrap().terms;
                let left = terms.quantity.value() - intent.filled;
                let part = (left * Decimal::new(i64::from(step.part), 2)).trunc_with_scale(8);
                self.fills += 1;
                let (id, order) = (format!("F{}", self.fills), format!("V{}", intent.id));
                let pair = terms.pair.to_string();
                let quantity = part.max(Decimal::new(1, 8)).min(left).to_string();
                world
                    .filled(&id, &order, terms.side, &quantity, &pair, "100")
                    .await;
            }
            6..=8 => {
                let by = Decimal::new(i64::from(step.part) - 45, 3);
                self.rate = (self.rate * (Decimal::ONE + by)).round_dp(4);
                world.price("EUR-USD", &self.rate.to_string()).await;
            }
            9 => {
                let position = (u32::try_from(step.which).unwrap() * 100 + 100).to_string();
                world.limit(limits(&position, &step.part.to_string(), 100)).await;
            }
            10 => {
                let limit = |dollars: u32| Some(Usd::new(Decimal::from(dollars)));
                let mut policy = wide();
                policy.max_account_exposure = limit(step.part * 10);
                policy.max_user_turnover = limit(step.part * 30);
                policy.stress_percent = Decimal::from(step.part % 10 + 1);
                world.policy(&policy).await;
            }
            _ => self.obey_cancels().await,
        }
    }

    /// The exchange does what it was asked for.
    async fn obey_cancels(&self) {
        let (store, now) = (&self.world.store, self.world.now());
        for cancel in store.pending_cancels(&account()).await.unwrap() {
            let intent = store.intent(cancel.intent).await.unwrap();
            let filled = intent.filled.normalize().to_string();
            let order = listed(
                &intent,
                &format!("V{}", intent.id),
                &filled,
                VenueOrderStatus::Cancelled,
            );
            store.observe(&account(), vec![order], now).await.unwrap();
        }
    }

    /// What an order can cost is held, whatever its limits say, and nothing looks like a limit that was broken.
    async fn check(&self) -> Result<(), TestCaseError> {
        let reservations = self.world.store.reservations(Some(&account())).await.unwrap();
        // What was filled at another rate than this took another part of the whole.
        for intent in (self.working().await.iter()).filter(|intent| intent.filled.is_zero()) {
            let terms = &intent.sizing.as_ref().unwrap().terms;
            let is_dollar = terms.pair.to_string() != PAIR;
            let rate = if is_dollar { Decimal::ONE } else { self.rate };
            let can_cost = terms.quantity.value() * Decimal::from(100) * rate;
            let mut rows = reservations.iter().filter(|row| row.intent == intent.id);
            let held = rows.find(|row| row.kind == LimitKind::PositionCost);
            let held = held.map_or(Decimal::ZERO, |row| row.amount);
            prop_assert!(held >= can_cost, "{held} for {can_cost} of {}", intent.id);
        }
        prop_assert_eq!(broken(&self.world).await, vec![]);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives(16), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i3_whatever_a_rate_does_what_can_be_spent_is_held(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let rate = decimal("1.1");
            let mut play = Play { world: world("1000").await, rate, fills: 0 };
            for step in steps {
                play.take(step).await;
                play.check().await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}
