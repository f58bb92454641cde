//! The same seed and requests give the same replies, however often anybody looks.

use std::time::Duration;

use bursar_sandbox::{CustomerSpec, FaultKind, FaultRule, LimitTier};
use rust_decimal::{Decimal, dec};

use crate::world::{World, world};

/// Two customers trade for ten minutes of the wall, sixty times as fast on the market. `peeks` is
/// how often time is told to pass between two requests.
fn session(seed: u64, peeks: u32) -> (Vec<String>, World) {
    let mut world = world()
        .seed(seed)
        .speed(dec!(60))
        .settings(|settings| settings.refill = Some(Duration::from_secs(1)))
        .and(CustomerSpec::named("tomas").with_limit_tier(LimitTier::Unlimited))
        .build();
    world.exchange.add_fault(FaultRule {
        probability: Some(dec!(0.05)),
        ..FaultRule::always(FaultKind::PartialFill)
    });
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut replies = Vec::new();
    for _ in 0..400 {
        let pause = Duration::from_millis(dice.u64(100..2_900));
        let until = world.now.checked_add(pause).unwrap();
        for _ in 0..peeks {
            world.wait(pause / (peeks + 1));
        }
        world.now = until;
        let customer = if dice.bool() { "mara" } else { "tomas" };
        let side = if dice.bool() { "buy" } else { "sell" };
        let pair = if dice.bool() { "XBTUSD" } else { "ETHUSD" };
        let (endpoint, form) = match dice.u8(0..8) {
            0 => ("OpenOrders", String::new()),
            1 => ("CancelAll", String::new()),
            2 => ("BalanceEx", String::new()),
            3 => (
                "AddOrder",
                format!("pair={pair}&type={side}&ordertype=market&volume=0.02"),
            ),
            4 => (
                "AddOrder",
                format!("pair={pair}&type=sell&ordertype=stop-loss&volume=0.02&price=-0.3%25"),
            ),
            5 => (
                "AddOrder",
                format!(
                    "pair={pair}&type={side}&ordertype=limit&volume=0.5&price=%23{}%25&timeinforce=GTD&expiretm=%2B20",
                    dice.u8(0..2)
                ),
            ),
            _ => (
                "AddOrder",
                format!(
                    "pair={pair}&type={side}&ordertype=limit&volume=0.05&price=%230.{}%25",
                    dice.u8(1..6)
                ),
            ),
        };
        let request = world.signed(customer, endpoint, &form);
        replies.push(world.send(&request).text());
    }
    (replies, world)
}

#[test]
fn one_seed_gives_one_history_however_often_time_is_told() {
    let (once, world) = session(3, 0);
    let (often, _) = session(3, 7);

    for (number, (one, other)) in once.iter().zip(&often).enumerate() {
        assert_eq!(one, other, "reply {number}");
    }
    let book = world.exchange.book();
    assert!(book.trades.len() > 50, "only {} trades", book.trades.len());
    assert!(book.trades.iter().any(|trade| trade.maker) && book.trades.iter().any(|trade| !trade.maker));
    assert_ne!(once, session(4, 0).0);
}

#[test]
fn nothing_is_made_or_lost_but_fees_and_what_the_market_trades() {
    for seed in 0..6 {
        let (_, world) = session(seed, 0);
        let book = world.exchange.book();
        for customer in &book.customers {
            let mut expected = std::collections::BTreeMap::from([
                ("USD".to_owned(), dec!(100000)),
                ("BTC".to_owned(), dec!(2)),
            ]);
            for trade in book.trades.iter().filter(|trade| trade.customer == customer.name) {
                let base = if trade.pair == "XBTUSD" { "BTC" } else { "ETH" };
                let sign = if trade.side == "buy" {
                    Decimal::ONE
                } else {
                    -Decimal::ONE
                };
                *expected.entry(base.to_owned()).or_default() += sign * trade.volume;
                *expected.entry("USD".to_owned()).or_default() -= sign * trade.cost + trade.fee;
            }
            for (asset, total) in &customer.totals {
                assert_eq!(
                    *total,
                    expected.get(asset).copied().unwrap_or_default(),
                    "seed {seed} {asset}"
                );
                assert!(
                    *total >= Decimal::ZERO && customer.held[asset] <= *total,
                    "seed {seed} {customer:?}"
                );
            }
        }
    }
}
