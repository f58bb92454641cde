//! What the ledger holds and nobody can sell: taken out by two people, at a price that talks no loss down.

use bursar_auth::{Act, Directory, Principal};
use bursar_broker::VenueOrderStatus;
use bursar_execution::{
    ApprovalError, Approvals, Conditions, Connection, ConnectionState, Effect, Journal, Measure, Proposed,
    Reach, Reports, SelfCheck, WriteOff, WrittenOff,
};
use bursar_model::{Balance, BalanceKind, Side, Usd};
use bursar_store_sqlite::{Holding, Verification};
use rusqlite::Connection as Raw;
use rust_decimal::Decimal;

use crate::support::trading::{
    account, buy, decimal, fill, kraken, limits, listed, ready, sell, user, with_euros,
};
use crate::support::{World, at};

async fn two_people() -> World {
    let world = ready().await;
    world.store.set_works_alone(false, &world.act()).await.unwrap();
    world
}

impl World {
    /// What the exchange shows of BTC.
    async fn shows_bitcoins(&self, total: &str) {
        let balance = Balance {
            asset: "BTC".parse().unwrap(),
            kind: BalanceKind::Spendable,
            total: decimal(total),
            held: Decimal::ZERO,
        };
        let equity = Some("1000000".parse().unwrap());
        self.store
            .put_balances(&account(), &[balance], equity, self.now())
            .await
            .unwrap();
    }

    async fn delist(&self) {
        let mut known = self.store.instruments(&kraken()).await.unwrap();
        self.clock.set(self.now() + jiff::SignedDuration::from_secs(1));
        known.retain(|instrument| instrument.pair.to_string() != "BTC-USD");
        self.store
            .put_instruments(&kraken(), &known, self.now())
            .await
            .unwrap();
    }

    async fn holding(&self) -> Holding {
        let pair = "BTC-USD".parse().unwrap();
        self.store.holding(&account(), &pair).await.unwrap()
    }

    async fn measure(&self, quantity: &str, price: Option<&str>) -> Measure {
        Measure::WriteOff(WriteOff {
            account: account(),
            pair: "BTC-USD".parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            held: self.holding().await.held,
            price: price.map(|price| price.parse().unwrap()),
        })
    }

    async fn write_off(&self, quantity: &str, price: Option<&str>) -> Result<WrittenOff, ApprovalError> {
        let measure = self.measure(quantity, price).await;
        self.take_out(measure).await
    }

    async fn take_out(&self, measure: Measure) -> Result<WrittenOff, ApprovalError> {
        let first = self.act().because("sold by hand");
        let proposed = match self.store.propose(measure, "her e-mail", &first).await? {
            Proposed::Waiting(approval) => approval,
            Proposed::Done(..) => panic!("one person did it"),
        };
        let second = Act::new(Principal::operator("night_desk").unwrap(), self.now());
        match self.store.approve(proposed.id, &second).await? {
            (_, Effect::WrittenOff(gone)) => Ok(*gone),
            (_, other) => panic!("{other:?}"),
        }
    }

    async fn loss(&self) -> Usd {
        self.store.user_day(&user(), self.now()).await.unwrap().loss
    }

    /// What has no counterpart in the trail, or no record.
    async fn orphans(&self) -> Vec<String> {
        let asked = Verification {
            deep: true,
            ..Verification::default()
        };
        let verified = self.store.verify_trail(asked).await.unwrap();
        verified.orphans.into_iter().map(|broken| broken.detail).collect()
    }

    async fn holds_up(&self) {
        let report = self.store.check_self(Reach::Everything, self.now()).await;
        assert_eq!(report.unwrap().violations, []);
        assert_eq!(self.orphans().await, Vec::<String>::new());
    }
}

fn rule<T: std::fmt::Debug>(result: Result<T, ApprovalError>) -> &'static str {
    match result {
        Err(ApprovalError::Refused { rule, .. }) => rule,
        other => panic!("not refused: {other:?}"),
    }
}

/// What is held counts at the lower side there, and so does what is written off: two people gain nothing for the day.
#[tokio::test]
async fn i13_what_is_written_off_is_worth_no_more_than_it_was_held_at() {
    let world = two_people().await;
    world.bought("V1", "2", "100").await;
    world.spread("BTC-USD", "95", "90").await;
    world.shows_bitcoins("0").await;
    let before = world.loss().await;

    let gone = world.write_off("1", None).await.unwrap();

    assert_eq!(gone.price, "90".parse().unwrap());
    assert_eq!(world.loss().await, before);

    let world = with_euros("BTC-EUR", "100", "1.10").await;
    world.store.set_works_alone(false, &world.act()).await.unwrap();
    world.open(buy("1", "BTC-EUR", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-EUR", "100").await;
    world.spread("EUR-USD", "1.00", "1.20").await;
    world.shows_bitcoins("0").await;
    let before = world.loss().await;

    let euros = Measure::WriteOff(WriteOff {
        account: account(),
        pair: "BTC-EUR".parse().unwrap(),
        quantity: "1".parse().unwrap(),
        held: Decimal::ONE,
        price: None,
    });
    let gone = world.take_out(euros).await.unwrap();

    assert_eq!(gone.realised_usd, "-10".parse().unwrap());
    assert_eq!((before, world.loss().await), ("10".parse().unwrap(), before));
}

#[tokio::test]
async fn what_was_sold_by_hand_leaves_the_ledger_and_the_days_loss_is_what_it_was() {
    let world = two_people().await;
    world.bought("V1", "2", "100").await;
    world.bought("V2", "1", "100").await;
    world.price("BTC-USD", "90").await;
    world.shows_bitcoins("1").await;
    let before = world.loss().await;
    assert_eq!(
        world.holding().await.unsellable,
        decimal("2"),
        "one is still there"
    );

    let gone = world.write_off("2", None).await.unwrap();

    assert_eq!(
        (gone.price.to_string(), gone.realised_usd.to_string(), gone.left),
        ("90".to_owned(), "-20.00 USD".to_owned(), decimal("1"))
    );
    assert_eq!(world.loss().await, before);
    let positions = world.store.positions(&account()).await.unwrap();
    assert_eq!(
        positions[0].quantity.value(),
        decimal("1"),
        "the oldest lot went first"
    );
    // What is left is sold as ever.
    world.open(sell("1", "BTC-USD", "90"), "V3").await;
    world.filled("F3", "V3", Side::Sell, "1", "BTC-USD", "90").await;
    assert_eq!(world.holding().await.held, Decimal::ZERO);
    world.holds_up().await;
}

/// Neither holds anything nor traded today; what the day began with may still turn out to be a loss.
#[tokio::test]
async fn i13_who_only_wrote_off_today_is_stopped_by_what_the_day_turns_out_to_have_lost() {
    let world = two_people().await;
    world.limit(limits("1000", "8", 5)).await;
    world.bought("V1", "1", "100").await;
    world.clock.set(at("2026-03-02T23:59:50Z"));
    world.spread("BTC-USD", "90", "104").await;
    world.shows_bitcoins("0").await;
    world.clock.set(at("2026-03-03T00:10:00Z"));
    world.spread("BTC-USD", "90", "104").await;
    world.shows_bitcoins("0").await;
    world.write_off("1", None).await.unwrap();
    assert_eq!(world.loss().await, Usd::ZERO);

    let tripped = world.price("BTC-USD", "99").await;

    assert_eq!(world.loss().await, "9".parse().unwrap());
    assert_eq!(tripped.len(), 1);
}

#[tokio::test]
async fn an_account_with_coins_that_nobody_can_sell_can_be_closed_after_it() {
    let world = two_people().await;
    world.bought("V1", "1", "100").await;
    world.delist().await;
    assert!(world.store.close_account(&account(), &world.act()).await.is_err());

    world.write_off("1", None).await.unwrap();

    world.store.close_account(&account(), &world.act()).await.unwrap();
    world.holds_up().await;
}

#[tokio::test]
async fn what_can_be_sold_is_not_written_off() {
    let world = two_people().await;
    world.bought("V1", "1", "100").await;
    assert_eq!(world.holding().await.unsellable, Decimal::ZERO);
    assert_eq!(rule(world.write_off("1", None).await), "write-off-there");
    world.shows_bitcoins("0.75").await;
    assert_eq!(rule(world.write_off("0.5", None).await), "write-off-there");

    // Nobody can say of an account that is away.
    let away = Connection {
        state: ConnectionState::Failed,
        cause: "the key is gone".to_owned(),
        since: world.now(),
    };
    world.store.put_connection(&account(), &away).await.unwrap();
    world.write_off("0.5", None).await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_off_twice_or_under_an_order_that_may_sell_it() {
    let world = two_people().await;
    world.bought("V1", "1", "100").await;
    world.shows_bitcoins("0").await;
    let resting = world.open(sell("1", "BTC-USD", "120"), "V2").await;
    assert_eq!(rule(world.write_off("1", None).await), "write-off-sold");
    let over = listed(&resting, "V2", "0", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![over], world.now())
        .await
        .unwrap();

    let stale = world.measure("1", None).await;
    assert_eq!(rule(world.write_off("1.5", None).await), "write-off-held");
    world.write_off("0.5", None).await.unwrap();
    let again = world
        .store
        .propose(stale, "her e-mail", &world.act().because("again"))
        .await;
    assert_eq!(rule(again), "changed-since");
}

#[tokio::test]
async fn a_price_counts_only_where_the_exchange_has_none_and_no_more_than_was_paid() {
    let world = two_people().await;
    world.bought("V1", "1", "100").await;
    world.shows_bitcoins("0").await;
    assert_eq!(rule(world.write_off("1", Some("50")).await), "write-off-price");

    let raw = Raw::open(world.path()).unwrap();
    raw.execute("DELETE FROM quote WHERE pair = 'BTC-USD'", [])
        .unwrap();
    assert_eq!(rule(world.write_off("1", None).await), "write-off-price");
    assert_eq!(
        rule(world.write_off("1", Some("100.01")).await),
        "write-off-price"
    );
    let gone = world.write_off("1", Some("0.01")).await.unwrap();
    assert_eq!(gone.realised_usd.to_string(), "-99.99 USD");
}

#[tokio::test]
async fn an_execution_that_was_reported_late_is_booked_before_it() {
    let world = two_people().await;
    let long_ago = world.now();
    world.bought("V1", "1", "100").await;
    world.open(buy("2", "BTC-USD", "100"), "V2").await;
    world.clock.set("2026-03-02T13:00:00Z".parse().unwrap());
    world.refresh("kraken-ilves").await;
    world.shows_bitcoins("0").await;
    world.write_off("1", None).await.unwrap();

    world
        .book(vec![fill("F2", "V2", Side::Buy, "2", "BTC-USD", "100", long_ago)])
        .await;

    assert_eq!(world.holding().await.held, decimal("2"));
    world.holds_up().await;
}

#[tokio::test]
async fn i6_a_write_off_that_somebody_changed_is_found() {
    let world = two_people().await;
    world.bought("V1", "2", "100").await;
    world.shows_bitcoins("0").await;
    world.write_off("1", None).await.unwrap();

    let raw = Raw::open(world.path()).unwrap();
    raw.execute("UPDATE written_off SET usd_rate = '2'", []).unwrap();

    let orphans = world.orphans().await;
    assert!(
        orphans.iter().any(|detail| detail.contains("write-off")),
        "{orphans:?}"
    );
}
