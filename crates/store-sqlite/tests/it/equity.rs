//! What accounts are worth over time, and what of it came from outside.

use bursar_execution::statement::SETTLES_AFTER;
use bursar_execution::{Conditions, FlowKind, Outcome, Period, Statement, Statements};
use bursar_ledger::{DayKey, performance};
use bursar_model::{AccountMode, Balance, BalanceKind, Side, Usd};
use jiff::SignedDuration;
use rusqlite::Connection;

use crate::support::trading::{account, buy, decimal, open_account, ready, sell, usd, user};
use crate::support::{World, at};

impl World {
    fn pass(&self, time: SignedDuration) {
        self.clock.set(self.now() + time);
    }

    /// The venue shows that the account has this.
    async fn shows(&self, amounts: &[(&str, &str)]) {
        let balance = |(asset, total): &(&str, &str)| Balance {
            asset: asset.parse().unwrap(),
            kind: BalanceKind::Spendable,
            total: decimal(total),
            held: decimal("0"),
        };
        let balances: Vec<Balance> = amounts.iter().map(balance).collect();
        self.store
            .put_balances(&account(), &balances, Some(usd("1000000")), self.now())
            .await
            .unwrap();
    }

    /// It shows the same for long enough to be sure of it.
    async fn settles(&self, amounts: &[(&str, &str)]) {
        self.shows(amounts).await;
        self.pass(SETTLES_AFTER);
        self.shows(amounts).await;
    }

    async fn stated(&self, period: Period) -> Statement {
        self.store
            .statement(&user(), None, period, self.now())
            .await
            .unwrap()
    }
}

/// Bitcoin at 100, and 1000 dollars that the account has had for a while.
async fn began() -> World {
    let world = ready().await;
    world.settles(&[("USD", "1000")]).await;
    world.price("BTC-USD", "100").await;
    world
}

fn day(text: &str) -> DayKey {
    text.parse().unwrap()
}

/// What each reading is worth, and what of it came from outside.
fn told(stated: &Statement) -> Vec<(String, String)> {
    let text = |usd: Usd| usd.amount().normalize().to_string();
    let readings = stated.readings.iter().map(|known| known.reading);
    readings
        .map(|reading| (text(reading.equity), text(reading.flows)))
        .collect()
}

fn told_as(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(equity, flows)| ((*equity).to_owned(), (*flows).to_owned()))
        .collect()
}

#[tokio::test]
async fn h11_a_deposit_is_recognised_once_it_lasts_and_is_no_gain() {
    let world = began().await;

    world.shows(&[("USD", "1500")]).await;
    let waiting = world.stated(Period::default()).await;
    world.pass(SETTLES_AFTER);
    world.shows(&[("USD", "1500")]).await;

    assert_eq!(told(&waiting), told_as(&[("1000", "0")]));
    assert_eq!(waiting.unsettled.len(), 1);
    assert_eq!(waiting.unsettled[0].quantity, decimal("500"));
    let stated = world.stated(Period::default()).await;
    assert_eq!(told(&stated), told_as(&[("1000", "0"), ("1500", "500")]));
    assert_eq!(stated.unsettled, []);
    let [flow] = &stated.flows[..] else {
        panic!("{:?}", stated.flows)
    };
    assert_eq!(
        (flow.kind, flow.quantity, flow.usd),
        (FlowKind::Moved, decimal("500"), Some(usd("500")))
    );
    assert_eq!(flow.at, world.now() - SETTLES_AFTER);
    let readings: Vec<_> = stated.readings.iter().map(|known| known.reading).collect();
    assert_eq!(performance(&readings).unwrap().unwrap().gain, usd("0"));
}

#[tokio::test]
async fn h11_our_own_executions_are_no_flows_whichever_is_seen_first() {
    let world = began().await;
    world.open(buy("2", "BTC-USD", "100"), "V1").await;
    // The balance shows it before it is booked.
    world.shows(&[("USD", "800"), ("BTC", "2")]).await;
    world.pass(SignedDuration::from_secs(5));
    world.filled("F1", "V1", Side::Buy, "2", "BTC-USD", "100").await;
    world.shows(&[("USD", "800"), ("BTC", "2")]).await;
    world.price("BTC-USD", "150").await;
    // It is booked before the balance shows it.
    world.open(sell("2", "BTC-USD", "150"), "V2").await;
    world.filled("F2", "V2", Side::Sell, "2", "BTC-USD", "150").await;
    world.shows(&[("USD", "800"), ("BTC", "2")]).await;
    world.pass(SignedDuration::from_secs(5));
    world.shows(&[("USD", "1100")]).await;

    let stated = world.stated(Period::default()).await;

    assert_eq!(stated.flows, []);
    assert_eq!(told(&stated), told_as(&[("1000", "0"), ("1100", "0")]));
    assert_eq!(stated.closed.len(), 1);
    assert_eq!(stated.executions[0].count, 2);
}

#[tokio::test]
async fn h11_an_order_of_unknown_fate_is_no_withdrawal() {
    let world = began().await;
    let intent = world.approved(buy("2", "BTC-USD", "100")).await;
    world.dispatch(&intent).await;
    let lost = Outcome::Lost {
        reason: "no answer".to_owned(),
    };
    bursar_execution::Journal::conclude(&world.store, intent.id, lost, world.now())
        .await
        .unwrap();

    world.settles(&[("USD", "800"), ("BTC", "2")]).await;
    world.pass(SignedDuration::from_hours(1));
    world.shows(&[("USD", "800"), ("BTC", "2")]).await;

    let stated = world.stated(Period::default()).await;
    assert_eq!(stated.flows, []);
    assert_eq!(told(&stated), told_as(&[("1000", "0")]));
    assert_eq!(stated.unsettled.len(), 2);
}

#[tokio::test]
async fn h11_a_trade_by_hand_is_two_flows_of_one_reading() {
    let world = began().await;

    // 3 coins for 100 each, and a fee of 1.
    world.settles(&[("USD", "699"), ("BTC", "3")]).await;

    let stated = world.stated(Period::default()).await;
    assert_eq!(told(&stated), told_as(&[("1000", "0"), ("999", "-1")]));
    let flows: Vec<_> = stated
        .flows
        .iter()
        .map(|flow| (flow.asset.to_string(), flow.quantity))
        .collect();
    assert_eq!(
        flows,
        [
            ("BTC".to_owned(), decimal("3")),
            ("USD".to_owned(), decimal("-301"))
        ]
    );
}

#[tokio::test]
async fn h11_a_day_keeps_its_last_reading_and_a_period_begins_with_the_one_before() {
    let world = began().await;
    for (now, price, equity) in [
        ("2026-03-02T18:00:00Z", "90", "1090"),
        ("2026-03-02T23:00:00Z", "110", "1110"),
        ("2026-03-03T09:00:00Z", "120", "1120"),
        ("2026-03-03T21:00:00Z", "130", "1130"),
        ("2026-03-04T12:00:00Z", "140", "1140"),
    ] {
        world.clock.set(at(now));
        world.price("BTC-USD", price).await;
        if price == "90" {
            world.settles(&[("USD", "1000"), ("BTC", "1")]).await;
        }
        world.shows(&[("USD", "1000"), ("BTC", "1")]).await;
        let stated = world.stated(Period::default()).await;
        assert_eq!(
            stated.readings.last().unwrap().reading.equity,
            usd(equity),
            "{now}"
        );
        assert_eq!(stated.readings.last().unwrap().prices_at, Some(at(now)), "{now}");
    }

    let all = world.stated(Period::default()).await;
    let third = Period {
        since: Some(day("2026-03-03")),
        until: Some(day("2026-03-03")),
    };
    let of_a_day = world.stated(third).await;

    assert_eq!(
        told(&all),
        told_as(&[
            ("1000", "0"),
            ("1090", "90"),
            ("1110", "0"),
            ("1130", "0"),
            ("1140", "0")
        ])
    );
    assert_eq!(told(&of_a_day), told_as(&[("1110", "0"), ("1130", "0")]));
    assert_eq!(of_a_day.flows, []);
}

#[tokio::test]
async fn h11_what_gets_its_first_price_is_no_gain() {
    let world = began().await;
    world.settles(&[("USD", "1000"), ("SOL", "4")]).await;
    let before = world.stated(Period::default()).await;

    world.price("SOL-USD", "25").await;
    world.shows(&[("USD", "1000"), ("SOL", "4")]).await;

    assert_eq!(before.readings.last().unwrap().unpriced, ["SOL".parse().unwrap()]);
    assert_eq!(before.flows[0].usd, None);
    let stated = world.stated(Period::default()).await;
    assert_eq!(
        told(&stated),
        told_as(&[("1000", "0"), ("1000", "0"), ("1100", "100")])
    );
    assert_eq!(stated.flows[1].kind, FlowKind::Priced);
}

#[tokio::test]
async fn h11_what_comes_with_its_first_price_counts_once() {
    let world = began().await;
    world.settles(&[("USD", "1000"), ("SOL", "4")]).await;

    world.price("SOL-USD", "25").await;
    world.settles(&[("USD", "1000"), ("SOL", "6")]).await;

    let stated = world.stated(Period::default()).await;
    assert_eq!(
        told(&stated),
        told_as(&[("1000", "0"), ("1000", "0"), ("1150", "150")])
    );
    let flows: Vec<_> = stated
        .flows
        .iter()
        .map(|flow| (flow.kind, flow.quantity))
        .collect();
    assert_eq!(
        flows,
        [
            (FlowKind::Moved, decimal("4")),
            (FlowKind::Moved, decimal("2")),
            (FlowKind::Priced, decimal("4")),
        ]
    );
}

#[tokio::test]
async fn c28_a_statement_has_only_what_is_the_users() {
    let world = began().await;
    open_account(&world, "kraken-second", AccountMode::Paper).await;
    world.add_user("tomas_brandt").await;

    let one = world
        .store
        .statement(
            &user(),
            Some(&"kraken-second".parse().unwrap()),
            Period::default(),
            world.now(),
        )
        .await
        .unwrap();
    let other = world
        .store
        .statement(
            &"tomas_brandt".parse().unwrap(),
            Some(&account()),
            Period::default(),
            world.now(),
        )
        .await
        .unwrap();

    assert_eq!((one.readings, other.readings), (vec![], vec![]));
    let nobody = world
        .store
        .statement(&"no_such".parse().unwrap(), None, Period::default(), world.now())
        .await;
    assert!(nobody.is_err());
}

/// A statement reads what the journal wrote long ago, row by row of one user.
#[tokio::test]
async fn what_is_read_of_an_account_is_found_by_an_index() {
    let world = began().await;
    let connection = Connection::open(world.path()).unwrap();
    for (sql, index) in [
        (
            "SELECT * FROM equity WHERE account = 'a' ORDER BY day DESC, number DESC LIMIT 1",
            "equity_by_day",
        ),
        (
            "SELECT * FROM equity WHERE account = 'a' AND day < 'd' ORDER BY day DESC, number DESC LIMIT 1",
            "equity_by_day",
        ),
        (
            "SELECT * FROM flow WHERE account = 'a' AND day >= 'd' AND day <= 'e'",
            "flow_by_day",
        ),
    ] {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explained.query_map([], |row| row.get(3)).unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(plan.len() == 1 && plan[0].contains(index), "{sql}: {plan:?}");
    }
}
