//! The day's loss.

use bursar_ledger::{DayVerdict, LotMethod, MarkState, trip};
use jiff::SignedDuration;
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};

use crate::builders::{DayBuilder, FillBuilder, book, buy, fills, pair, second, sell, usd};

const METHODS: [LotMethod; 2] = [LotMethod::Fifo, LotMethod::AverageCost];

#[test]
fn d25_the_loss_is_realised_plus_change_of_what_is_open_plus_fees() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(2), dec!(100)).fee(dec!(0.40), "USD"),
            sell(2, dec!(1), dec!(95)).fee(dec!(0.19), "USD"),
        ]),
    );

    let figure = DayBuilder::of(&book).mark("BTC-USD", dec!(92), dec!(1)).figure();

    assert_eq!(figure.realised, usd(dec!(-5)));
    assert_eq!(figure.unrealised_change, usd(dec!(-8)));
    assert_eq!(figure.fees, usd(dec!(0.59)));
    assert_eq!(figure.loss().unwrap(), usd(dec!(13.59)));
    assert_eq!(figure.marks, MarkState::Fresh);
    assert!(!figure.basis_uncertain);
    assert_eq!(figure.pairs.len(), 1);
    let twice = figure.plus(&figure).unwrap();
    assert_eq!(
        (twice.realised, twice.unrealised_change, twice.fees),
        (usd(dec!(-10)), usd(dec!(-16)), usd(dec!(1.18)))
    );
}

#[test]
fn d25_a_day_that_gained_lost_nothing() {
    let book = book(LotMethod::Fifo, &fills(&[buy(1, dec!(1), dec!(100))]));

    let figure = DayBuilder::of(&book).mark("BTC-USD", dec!(101), dec!(1)).figure();

    assert_eq!(figure.profit_and_loss().unwrap(), usd(dec!(1)));
    assert_eq!(figure.loss().unwrap(), usd(dec!(0)));
}

#[test]
fn g9_yesterdays_loss_is_not_lost_again_today() {
    for method in METHODS {
        let carried = book(method, &fills(&[buy(1, dec!(1), dec!(100)).yesterday()]));
        let mut sold = carried.clone();
        sold.apply(&sell(2, dec!(1), dec!(85)).build()).unwrap();
        let today = |book| DayBuilder::of(book).opening("BTC-USD", dec!(90), dec!(1));

        // It was 90 when the day began and is 85 now: 5, whether it is held or sold.
        assert_eq!(
            today(&carried).mark("BTC-USD", dec!(85), dec!(1)).loss(),
            usd(dec!(5))
        );
        assert_eq!(today(&sold).loss(), usd(dec!(5)));
    }
}

#[test]
fn i13_a_sale_above_cost_does_not_hide_what_the_day_lost() {
    let carried = fills(&[
        buy(1, dec!(1), dec!(100)).yesterday(),
        sell(2, dec!(1), dec!(104)),
    ]);

    let figure = DayBuilder::of(&book(LotMethod::Fifo, &carried)).opening("BTC-USD", dec!(110), dec!(1));

    assert_eq!(figure.loss(), usd(dec!(6)));
}

#[test]
fn d25_the_dollars_move_too() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[buy(1, dec!(1), dec!(100)).pair("BTC-EUR", dec!(1.10))]),
    );

    let figure = DayBuilder::of(&book).mark("BTC-EUR", dec!(100), dec!(1.05));

    assert_eq!(figure.loss(), usd(dec!(5)));
}

#[test]
fn d25_rebates_are_taken_off_the_fees() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(1), dec!(100)).fee(dec!(0.30), "USD"),
            sell(2, dec!(1), dec!(100)).fee(dec!(-0.10), "USD"),
        ]),
    );

    assert_eq!(DayBuilder::of(&book).loss(), usd(dec!(0.20)));
}

#[test]
fn i18_old_and_missing_marks_are_said_and_what_is_closed_needs_none() {
    let open = book(LotMethod::Fifo, &fills(&[buy(1, dec!(1), dec!(100))]));
    let closed = book(
        LotMethod::Fifo,
        &fills(&[buy(1, dec!(1), dec!(100)), sell(2, dec!(1), dec!(99))]),
    );
    let mut stale = DayBuilder::of(&open).mark("BTC-USD", dec!(90), dec!(1));
    stale.now += SignedDuration::from_secs(31);

    // A stale mark still counts: the figure does not get better because the feed is down.
    assert_eq!(
        (stale.figure().marks, stale.loss()),
        (MarkState::Stale, usd(dec!(10)))
    );
    assert_eq!(DayBuilder::of(&open).figure().marks, MarkState::Missing);
    assert_eq!(DayBuilder::of(&closed).figure().marks, MarkState::Fresh);
    assert_eq!(DayBuilder::of(&closed).loss(), usd(dec!(1)));
}

#[test]
fn i18_a_day_that_began_with_an_old_mark_or_none_is_uncertain() {
    let carried = book(LotMethod::Fifo, &fills(&[buy(1, dec!(1), dec!(100)).yesterday()]));
    let mark = |day: DayBuilder| day.mark("BTC-USD", dec!(90), dec!(1));
    let mut old = mark(DayBuilder::of(&carried)).opening("BTC-USD", dec!(95), dec!(1));
    old.opening.get_mut(&pair("BTC-USD")).unwrap().is_fresh = false;
    let none = mark(DayBuilder::of(&carried));

    assert_eq!(
        (old.figure().basis_uncertain, old.figure().marks),
        (true, MarkState::Fresh)
    );
    assert_eq!(old.loss(), usd(dec!(5)));
    assert_eq!(
        (none.figure().basis_uncertain, none.figure().marks),
        (true, MarkState::Missing)
    );
    assert_eq!(none.loss(), usd(dec!(10)));
}

#[test]
fn i18_what_is_uncertain_twice_does_not_become_certain() {
    // Two lots of one pair, two pairs, and two accounts.
    let carried = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(1), dec!(100)).yesterday(),
            buy(2, dec!(1), dec!(100)).yesterday(),
            buy(3, dec!(1), dec!(10)).pair("ETH-USD", dec!(1)).yesterday(),
        ]),
    );
    let mut old = DayBuilder::of(&carried)
        .opening("BTC-USD", dec!(95), dec!(1))
        .opening("ETH-USD", dec!(9), dec!(1));
    for opening in old.opening.values_mut() {
        opening.is_fresh = false;
    }

    let figure = old.figure();

    assert!(figure.pairs.iter().all(|part| part.basis_uncertain));
    assert!(figure.basis_uncertain);
    assert!(figure.plus(&figure).unwrap().basis_uncertain);
}

#[test]
fn i13_a_fill_that_arrives_after_midnight_counts_in_the_day_that_is_open() {
    // Executed yesterday, booked today: no opening mark can know it, its price is the basis.
    let mut late = buy(1, dec!(1), dec!(100));
    late.at = second(-1);
    let book = book(LotMethod::Fifo, &fills(&[late]));

    let figure =
        DayBuilder::of(&book)
            .opening("BTC-USD", dec!(70), dec!(1))
            .mark("BTC-USD", dec!(80), dec!(1));

    assert_eq!(figure.loss(), usd(dec!(20)));
}

#[test]
fn d25_the_accounts_of_a_user_are_added_and_the_less_certain_decides() {
    let one = book(LotMethod::Fifo, &fills(&[buy(1, dec!(1), dec!(100))]));
    let other = book(
        LotMethod::Fifo,
        &fills(&[buy(1, dec!(1), dec!(50)).pair("ETH-USD", dec!(1))]),
    );
    let lost = DayBuilder::of(&one).mark("BTC-USD", dec!(80), dec!(1)).figure();
    let gained = DayBuilder::of(&other).mark("ETH-USD", dec!(55), dec!(1)).figure();
    let unknown = DayBuilder::of(&other).figure();

    let both = lost.plus(&gained).unwrap();

    assert_eq!(both.loss().unwrap(), usd(dec!(15)));
    assert_eq!(both.pairs.len(), 2);
    assert_eq!(both, gained.plus(&lost).unwrap());
    assert_eq!(lost.plus(&unknown).unwrap().marks, MarkState::Missing);
    assert_eq!(lost.plus(&lost).unwrap().pairs.len(), 1);
    let mut uncertain = lost.clone();
    uncertain.pairs[0].basis_uncertain = true;
    assert!(lost.plus(&uncertain).unwrap().basis_uncertain);
    assert!(uncertain.plus(&gained).unwrap().basis_uncertain);
    assert!(!both.basis_uncertain);
}

/// Trades of yesterday and today that never sell more than is held, in cents and hundredths, with
/// prices that make every amount exact in two different ways of counting.
fn trades() -> impl Strategy<Value = Vec<FillBuilder>> {
    prop::collection::vec((any::<bool>(), 1..400_i64, 5_000..15_000_i64, -20..60_i64), 1..25).prop_flat_map(
        |rows| {
            let count = rows.len();
            (Just(rows), 0..=count).prop_map(|(rows, carried)| {
                let mut held = 0;
                let mut trades = Vec::new();
                for (number, (buys, units, cents, fee)) in (0_i64..).zip(rows) {
                    let sold = if buys { 0 } else { units.min(held) };
                    let (value, fee) = (Decimal::new(cents, 2), Decimal::new(fee, 3));
                    let trade = if sold > 0 {
                        held -= sold;
                        sell(number, Decimal::new(sold, 2), value)
                    } else {
                        held += units;
                        buy(number, Decimal::new(units, 2), value)
                    };
                    let trade = trade.fee(fee, "USD");
                    let is_carried = usize::try_from(number).unwrap() < carried;
                    trades.push(if is_carried { trade.yesterday() } else { trade });
                }
                trades
            })
        },
    )
}

/// The day in other words: what came in today and what is there now, less what went out today and
/// what was there when it began. No lots, no matching.
fn by_cash(trades: &[FillBuilder], opening: Decimal, mark: Decimal) -> Decimal {
    let mut result = Decimal::ZERO;
    let mut held = Decimal::ZERO;
    for trade in trades {
        let sign = if trade.side == bursar_model::Side::Buy {
            Decimal::ONE
        } else {
            -Decimal::ONE
        };
        held += sign * trade.quantity;
        if trade.day == crate::builders::TODAY {
            result -= sign * trade.quantity * trade.price + trade.fee.0;
        } else {
            result -= sign * trade.quantity * opening;
        }
    }
    result + held * mark
}

proptest! {
    #[test]
    fn d25_the_figure_is_the_days_cash_and_the_change_of_what_is_held(trades in trades(), opening in 5_000..15_000_i64, mark in 5_000..15_000_i64) {
        let (opening, mark) = (Decimal::new(opening, 2), Decimal::new(mark, 2));
        for method in METHODS {
            let day = DayBuilder::of(&book(method, &fills(&trades)))
                .opening("BTC-USD", opening, Decimal::ONE)
                .mark("BTC-USD", mark, Decimal::ONE);

            let expected = by_cash(&trades, opening, mark);

            // Not even the averaging of costs is rounded here: the day's basis is no average.
            prop_assert_eq!(day.figure().profit_and_loss().unwrap().amount(), expected, "{:?}", method);
            prop_assert_eq!(day.loss().amount(), (-expected).max(Decimal::ZERO));
        }
    }

    #[test]
    fn i13_the_order_in_which_fills_arrive_does_not_change_the_figure(
        (sorted, shuffled) in trades().prop_flat_map(|trades| (Just(trades.clone()), Just(trades).prop_shuffle())),
        mark in 5_000..15_000_i64,
    ) {
        let figure = |trades: &[FillBuilder]| {
            DayBuilder::of(&book(LotMethod::Fifo, &fills(trades)))
                .opening("BTC-USD", dec!(100), Decimal::ONE)
                .mark("BTC-USD", Decimal::new(mark, 2), Decimal::ONE)
                .figure()
        };

        prop_assert_eq!(figure(&shuffled), figure(&sorted));
    }

    #[test]
    fn i13_a_fill_at_a_price_worse_than_the_mark_never_improves_the_figure(
        trades in trades(),
        mark in 500_000..1_500_000_i64,
        rate in 1_000_000_i64..2_000_000,
        worse in 0..1_000_i64,
        units in 1..300_i64,
        fee in 0..100_i64,
        buys in any::<bool>(),
    ) {
        let rate = Decimal::new(rate, 6);
        let mut trades: Vec<_> = trades.into_iter().map(|trade| {
            let fee = trade.fee.0;
            trade.pair("BTC-EUR", rate).fee(fee, "EUR")
        }).collect();
        let mark = Decimal::new(mark, 4);
        let figure = |trades: &[FillBuilder]| {
            DayBuilder::of(&book(LotMethod::Fifo, &fills(trades)))
                .opening("BTC-EUR", dec!(100.000001), Decimal::ONE)
                .mark("BTC-EUR", mark, rate)
                .figure()
        };
        let before = figure(&trades);
        let held: Decimal = trades.iter().map(|trade| if trade.side == bursar_model::Side::Buy { trade.quantity } else { -trade.quantity }).sum();
        let (size, worse) = (Decimal::new(units, 3), Decimal::new(worse, 4));
        prop_assume!(buys || size <= held);
        let bad = if buys { buy(900, size, mark + worse) } else { sell(900, size, mark - worse) };

        trades.push(bad.pair("BTC-EUR", rate).fee(Decimal::new(fee, 3), "EUR"));
        let after = figure(&trades);

        prop_assert!(after.profit_and_loss().unwrap() <= before.profit_and_loss().unwrap());
        prop_assert!(after.loss().unwrap() >= before.loss().unwrap());
        let limit = Some(usd(dec!(50)));
        prop_assert!(trip(after.loss().unwrap(), limit) >= trip(before.loss().unwrap(), limit));
    }

    #[test]
    fn i13_a_lower_mark_never_improves_the_figure(trades in trades(), mark in 1..15_000_i64, lower in 1..15_000_i64) {
        let at = |cents| {
            DayBuilder::of(&book(LotMethod::AverageCost, &fills(&trades)))
                .opening("BTC-USD", dec!(100), Decimal::ONE)
                .mark("BTC-USD", Decimal::new(cents, 2), Decimal::ONE)
                .loss()
        };

        prop_assert!(at(mark.min(lower)) >= at(mark.max(lower)));
    }
}

#[test]
fn g8_the_day_stops_the_account_when_the_limit_is_reached() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[buy(1, dec!(1), dec!(100)).fee(dec!(0.50), "USD")]),
    );
    let verdict = |mark| {
        let loss = DayBuilder::of(&book).mark("BTC-USD", mark, dec!(1)).loss();
        trip(loss, Some(usd(dec!(10))))
    };

    assert_eq!(verdict(dec!(92.51)), DayVerdict::Fine);
    assert_eq!(verdict(dec!(92.50)), DayVerdict::Warn80);
    assert_eq!(verdict(dec!(90.50)), DayVerdict::Tripped);
}
