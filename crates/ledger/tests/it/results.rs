//! Statistics over what was closed.

use std::collections::{BTreeMap, BTreeSet};

use bursar_ledger::{EquityPoint, LotMethod, drawdown, equity_curve, replay, statistics};
use bursar_model::Usd;
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};

use crate::builders::{FillBuilder, book, buy, day, fills, pair, second, sell, usd};

#[test]
fn o1_a_trade_is_an_order_and_is_won_after_fees() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(1), dec!(100)).fee(dec!(0.30), "USD"),
            buy(2, dec!(1), dec!(100)).fee(dec!(0.30), "USD"),
            buy(3, dec!(2), dec!(100)),
            // One order, two fills, three closed parts: one trade, won.
            sell(4, dec!(0.5), dec!(110)).order(40),
            sell(5, dec!(1), dec!(110)).order(40),
            // Half a dollar gained, a dollar of fees: lost.
            sell(6, dec!(0.5), dec!(101)).order(41).fee(dec!(0.85), "USD"),
            // Even.
            sell(7, dec!(1), dec!(100)).order(42),
        ]),
    );

    let found = statistics(book.closed_lots()).unwrap();

    assert_eq!(
        (found.total.trades, found.total.wins, found.total.losses),
        (3, 1, 1)
    );
    assert_eq!(found.total.win_rate().unwrap().to_string(), "33.33 %");
    assert_eq!(found.total.realised, usd(dec!(15.5)));
    assert_eq!(found.total.fees, usd(dec!(1.45)));
    assert_eq!(found.total.net().unwrap(), usd(dec!(14.05)));
    assert_eq!(found.best, Some(usd(dec!(14.55))));
    assert_eq!(found.worst, Some(usd(dec!(-0.5))));
    assert_eq!(found.last_closed_at, Some(second(7)));
}

#[test]
fn o1_results_are_told_by_pair_and_by_day() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(2), dec!(100)).yesterday(),
            sell(2, dec!(1), dec!(90)).yesterday().order(9),
            // The rest of the same order, after midnight: its result today, its trade today.
            sell(3, dec!(1), dec!(95)).order(9),
            buy(4, dec!(1), dec!(10)).pair("ETH-USD", dec!(1)),
            sell(5, dec!(1), dec!(12)).pair("ETH-USD", dec!(1)),
        ]),
    );

    let found = statistics(book.closed_lots()).unwrap();

    assert_eq!(found.by_pair[&pair("BTC-USD")].realised, usd(dec!(-15)));
    assert_eq!(found.by_pair[&pair("ETH-USD")].realised, usd(dec!(2)));
    let (yesterday, today) = (
        &found.by_day[&day("2026-03-01")],
        &found.by_day[&day("2026-03-02")],
    );
    assert_eq!((yesterday.realised, yesterday.trades), (usd(dec!(-10)), 0));
    assert_eq!((today.realised, today.trades, today.wins), (usd(dec!(-3)), 2, 1));
}

#[test]
fn o1_without_trades_there_is_no_rate_and_no_best() {
    let found = statistics([]).unwrap();

    assert_eq!(found.total.win_rate(), None);
    assert_eq!(
        (found.best, found.worst, found.last_closed_at),
        (None, None, None)
    );
}

#[test]
fn o4_the_curve_takes_one_step_per_sale() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(1), dec!(100)),
            buy(2, dec!(1), dec!(120)),
            sell(3, dec!(2), dec!(130)),
            buy(4, dec!(1), dec!(130)),
            sell(5, dec!(1), dec!(115)),
        ]),
    );
    let start = EquityPoint {
        at: second(0),
        equity: usd(dec!(1000)),
    };

    let curve = equity_curve(start, book.closed_lots()).unwrap();

    let values: Vec<Decimal> = curve.iter().map(|point| point.equity.amount()).collect();
    assert_eq!(values, [dec!(1000), dec!(1040), dec!(1025)]);
    assert_eq!(drawdown(&curve).unwrap().unwrap().amount, usd(dec!(15)));
}

#[test]
fn c28_the_same_ids_at_two_accounts_are_two_trades_and_two_steps() {
    let closed = |account, user| {
        let bought = [1, 2].map(|number| buy(number, dec!(1), dec!(100)).account(account, user));
        let sold = sell(3, dec!(2), dec!(105)).account(account, user);
        let replayed = replay(&fills(&[bought.to_vec(), vec![sold]].concat()), LotMethod::Fifo).unwrap();
        replayed.closed
    };
    let both = [
        closed("kraken-ilves", "mara_ilves"),
        closed("coinbase-brandt", "tomas_brandt"),
    ]
    .concat();
    let start = EquityPoint {
        at: second(0),
        equity: usd(dec!(1000)),
    };

    let found = statistics(&both).unwrap();
    let curve = equity_curve(start, &both).unwrap();

    assert_eq!((found.total.trades, found.total.wins), (2, 2));
    let values: Vec<Decimal> = curve.iter().map(|point| point.equity.amount()).collect();
    assert_eq!(values, [dec!(1000), dec!(1010), dec!(1020)]);
}

fn trades() -> impl Strategy<Value = Vec<FillBuilder>> {
    let row = (
        any::<bool>(),
        1..50_i64,
        9_000..11_000_i64,
        0..30_i64,
        0..8_i64,
        any::<bool>(),
    );
    prop::collection::vec(row, 1..30).prop_map(|rows| {
        (0_i64..)
            .zip(rows)
            .map(|(number, (buys, units, cents, fee, order, is_ether))| {
                let (size, value) = (Decimal::new(units, 1), Decimal::new(cents, 2));
                let trade = if buys {
                    buy(number, size, value)
                } else {
                    sell(number, size, value).order(order)
                };
                trade
                    .fee(Decimal::new(fee, 2), "USD")
                    .pair(if is_ether { "ETH-USD" } else { "BTC-USD" }, Decimal::ONE)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn o1_pairs_and_days_each_add_up_to_the_total(trades in trades()) {
        let book = book(LotMethod::Fifo, &fills(&trades));

        let found = statistics(book.closed_lots()).unwrap();

        let mut nets: BTreeMap<_, Decimal> = BTreeMap::new();
        for part in book.closed_lots() {
            *nets.entry((part.pair.clone(), part.order.clone())).or_default() += (part.realised_usd.amount()) - part.fees_usd.amount();
        }
        let wins = nets.values().filter(|net| **net > Decimal::ZERO).count();
        prop_assert_eq!(found.total.trades, u64::try_from(nets.len()).unwrap());
        prop_assert_eq!(found.total.wins, u64::try_from(wins).unwrap());
        prop_assert_eq!(found.total.net().unwrap().amount(), nets.values().sum::<Decimal>());
        for tallies in [found.by_pair.values().collect::<Vec<_>>(), found.by_day.values().collect()] {
            prop_assert_eq!(tallies.iter().map(|tally| tally.trades).sum::<u64>(), found.total.trades);
            prop_assert_eq!(tallies.iter().map(|tally| tally.wins).sum::<u64>(), found.total.wins);
            prop_assert_eq!(tallies.iter().map(|tally| tally.losses).sum::<u64>(), found.total.losses);
            prop_assert_eq!(tallies.iter().map(|tally| tally.realised.amount()).sum::<Decimal>(), found.total.realised.amount());
            prop_assert_eq!(tallies.iter().map(|tally| tally.fees.amount()).sum::<Decimal>(), found.total.fees.amount());
        }
    }

    #[test]
    fn o4_the_curve_ends_at_the_total_and_falls_no_deeper_than_any_two_points(trades in trades()) {
        let book = book(LotMethod::Fifo, &fills(&trades));
        let start = EquityPoint { at: second(0), equity: usd(dec!(1000)) };

        let curve = equity_curve(start, book.closed_lots()).unwrap();

        let net = statistics(book.closed_lots()).unwrap().total.net().unwrap();
        prop_assert_eq!(curve.last().unwrap().equity, start.equity.plus(net).unwrap());
        let sales: BTreeSet<_> = book.closed_lots().map(|part| &part.closed_by).collect();
        prop_assert_eq!(curve.len(), sales.len() + 1);
        let deepest = (0..curve.len())
            .flat_map(|from| (from..curve.len()).map(move |to| (from, to)))
            .map(|(from, to)| curve[from].equity.minus(curve[to].equity).unwrap())
            .max()
            .unwrap();
        prop_assert_eq!(drawdown(&curve).unwrap().map_or(Usd::ZERO, |fall| fall.amount), deepest);
    }
}
