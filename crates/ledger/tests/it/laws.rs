//! What holds for any fills in any order.

use std::collections::{BTreeMap, VecDeque};

use bursar_ledger::{Book, LedgerFill, Lot, LotMethod, apply_fill, entries, imbalances, replay};
use bursar_model::Side;
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::builders::{FillBuilder, book, buy, empty_book, fills, pair, sell};

/// Any fills at all, also ones that sell what was never bought, also several in one second; fees in
/// the quote asset, in kind and in a third asset.
fn any_fills() -> impl Strategy<Value = Vec<FillBuilder>> {
    let row = (
        any::<bool>(),
        1..10_000_i64,
        1..10_000_000_i64,
        0..4_i64,
        -5..50_i64,
        0..4_usize,
        1..2_000_000_i64,
    );
    prop::collection::vec(row, 1..20).prop_map(|rows| {
        (0_i64..)
            .zip(rows)
            .map(|(number, (buys, units, cents, pause, fee, asset, rate))| {
                let (size, value) = (Decimal::new(units, 4), Decimal::new(cents, 3));
                let trade = if buys {
                    buy(number, size, value)
                } else {
                    sell(number, size, value)
                };
                let asset = ["EUR", "BTC", "BNB", "USD"][asset];
                let mut trade = trade
                    .pair("BTC-EUR", Decimal::new(rate, 6))
                    .fee(Decimal::new(fee, 4), asset);
                trade.at = crate::builders::second(number / 2 * pause);
                trade
            })
            .collect()
    })
}

/// Fills and the same in another order.
fn shuffled() -> impl Strategy<Value = (Vec<FillBuilder>, Vec<FillBuilder>)> {
    any_fills().prop_flat_map(|fills| (Just(fills.clone()), Just(fills).prop_shuffle()))
}

/// Fills without a fee in kind, in order, that sell only what is held; all amounts in whole units of
/// the last place: (is a purchase, quantity in 10⁻⁶, price in 10⁻⁴, rate in 10⁻⁸).
fn covered() -> impl Strategy<Value = Vec<(bool, i64, i64, i64)>> {
    prop::collection::vec(
        (any::<bool>(), 1..30_i64, 1..10_000_000_i64, 1..300_000_000_i64),
        1..20,
    )
    .prop_map(|mut rows| {
        let mut held = 0;
        for (buys, units, _, _) in &mut rows {
            if !*buys && held > 0 {
                *units = held.min(*units);
                held -= *units;
            } else {
                *buys = true;
                held += *units;
            }
        }
        rows
    })
}

fn built(rows: &[(bool, i64, i64, i64)]) -> Vec<LedgerFill> {
    let builders: Vec<_> = (0_i64..)
        .zip(rows)
        .map(|(number, (buys, units, value, rate))| {
            let (size, value) = (Decimal::new(*units, 6), Decimal::new(*value, 4));
            let trade = if *buys {
                buy(number, size, value)
            } else {
                sell(number, size, value)
            };
            trade.pair("BTC-EUR", Decimal::new(*rate, 8))
        })
        .collect();
    fills(&builders)
}

/// Books in the order given, row by row, as a store does.
fn step_by_step(fills: &[LedgerFill], method: LotMethod) -> (Vec<Lot>, Vec<bursar_ledger::Applied>) {
    let mut lots = Vec::new();
    let mut steps = Vec::new();
    for fill in fills {
        let applied = apply_fill(&lots, fill, method).unwrap();
        lots = applied.lots_after.clone();
        steps.push(applied);
    }
    (lots, steps)
}

fn signed(fill: &LedgerFill) -> Decimal {
    let quantity = fill.fill.quantity.value();
    let in_kind = if fill.fill.fee.asset == *fill.pair().base() {
        fill.fill.fee.value
    } else {
        Decimal::ZERO
    };
    match fill.fill.side {
        Side::Buy => quantity - in_kind,
        Side::Sell => -quantity - in_kind,
    }
}

fn any_method() -> impl Strategy<Value = LotMethod> {
    prop_oneof![Just(LotMethod::Fifo), Just(LotMethod::AverageCost)]
}

proptest! {
    #[test]
    fn i7_a_book_depends_on_its_fills_and_not_on_their_order((sorted, shuffled) in shuffled(), method in any_method()) {
        let (sorted, shuffled) = (fills(&sorted), fills(&shuffled));

        let expected = replay(&sorted, method).unwrap();
        let found = book(method, &shuffled);

        prop_assert_eq!(&found, &book(method, &sorted));
        prop_assert_eq!(found.lots(&pair("BTC-EUR")), &expected.lots);
        prop_assert_eq!(found.closed_lots().cloned().collect::<Vec<_>>(), expected.closed);
        prop_assert_eq!(found.external_sales().cloned().collect::<Vec<_>>(), expected.sold_external);
    }

    #[test]
    fn i7_recovery_that_brings_every_fill_again_changes_nothing((sorted, shuffled) in shuffled(), method in any_method()) {
        let mut found = book(method, &fills(&sorted));
        let before = found.clone();
        for fill in fills(&shuffled) {
            prop_assert_eq!(found.apply(&fill).unwrap(), bursar_ledger::Effects::Repeated);
        }
        prop_assert_eq!(found, before);
    }

    #[test]
    fn i7_no_quantity_is_made_or_lost_in_any_order((_, shuffled) in shuffled(), method in any_method()) {
        let shuffled = fills(&shuffled);

        let (lots, steps) = step_by_step(&shuffled, method);

        let open: Decimal = lots.iter().map(|lot| lot.quantity.value()).sum();
        let external: Decimal = steps.iter().filter_map(|step| step.sold_external).map(|sold| sold.value()).sum();
        prop_assert_eq!(open - external, shuffled.iter().map(signed).sum::<Decimal>());
        for (step, fill) in steps.iter().zip(&shuffled) {
            let closed: Decimal = step.closed.iter().map(|part| part.quantity.value()).sum();
            let beyond = step.sold_external.map_or(Decimal::ZERO, |sold| sold.value());
            prop_assert_eq!(closed + beyond, (-signed(fill)).max(Decimal::ZERO));
            // Something can be beyond the lots only when there are none left.
            prop_assert!(beyond.is_zero() || step.lots_after.is_empty());
        }
    }

    #[test]
    fn i7_covered_fills_leave_the_same_quantity_in_every_order_that_stays_covered(rows in covered(), seed in any::<prop::sample::Index>()) {
        // Moving a purchase forward never uncovers a sale.
        let mut reordered = built(&rows);
        let from = seed.index(reordered.len());
        if reordered[from].fill.side == Side::Buy {
            let moved = reordered.remove(from);
            reordered.insert(0, moved);
        }
        let quantity = |lots: &[Lot]| lots.iter().map(|lot| lot.quantity.value()).sum::<Decimal>();
        let result = |lots: &[Lot], steps: &[bursar_ledger::Applied]| {
            steps.iter().map(|step| step.realised).sum::<Decimal>() - lots.iter().map(|lot| lot.cost).sum::<Decimal>()
        };

        let (lots, steps) = step_by_step(&built(&rows), LotMethod::Fifo);
        let (other_lots, other_steps) = step_by_step(&reordered, LotMethod::Fifo);

        prop_assert_eq!(quantity(&lots), quantity(&other_lots));
        prop_assert_eq!(result(&lots, &steps), result(&other_lots, &other_steps));
    }

    #[test]
    fn i19_the_entries_of_every_fill_sum_to_zero(trades in any_fills()) {
        for fill in fills(&trades) {
            let lines = entries(&fill.fill).unwrap();

            prop_assert!(imbalances(&lines).unwrap().is_empty());
            // And the account's own lines say what it got and gave.
            let mut held: BTreeMap<_, Decimal> = BTreeMap::new();
            for line in lines.iter().filter(|line| line.leg == bursar_ledger::Leg::Holding) {
                *held.entry(line.asset.code().to_owned()).or_default() += line.amount;
            }
            prop_assert_eq!(held["BTC"], signed(&fill));
        }
    }

    #[test]
    fn i19_an_entry_that_is_left_out_is_found(trades in any_fills(), which in any::<prop::sample::Index>()) {
        for fill in fills(&trades) {
            let mut lines = entries(&fill.fill).unwrap();
            lines.remove(which.index(lines.len()));

            prop_assert_eq!(imbalances(&lines).unwrap().len(), 1);
        }
    }

    #[test]
    fn d25_first_in_first_out_is_a_queue_of_single_units(rows in covered()) {
        // Every unit of 10⁻⁶ stands in the queue with its own price, in 10⁻¹⁰ of the quote asset.
        let mut queue = VecDeque::new();
        let mut realised = 0_i128;
        for (buys, units, value, _) in &rows {
            for _ in 0..*units {
                if *buys {
                    queue.push_back(i128::from(*value));
                } else {
                    realised += i128::from(*value) - queue.pop_front().unwrap();
                }
            }
        }

        let (lots, steps) = step_by_step(&built(&rows), LotMethod::Fifo);

        prop_assert_eq!(steps.iter().map(|step| step.realised).sum::<Decimal>(), Decimal::from_i128_with_scale(realised, 10));
        let cost: Decimal = lots.iter().map(|lot| lot.cost).sum();
        prop_assert_eq!(cost, Decimal::from_i128_with_scale(queue.iter().sum(), 10));
        prop_assert_eq!(steps.iter().filter(|step| step.sold_external.is_some()).count(), 0);
    }

    #[test]
    fn i19_dollars_never_round_in_our_favour(rows in covered(), method in any_method()) {
        // The same queue, each unit with its price in dollars, in 10⁻¹⁸: exact integers.
        let mut queue: VecDeque<i128> = VecDeque::new();
        let (mut realised, mut spent, mut earned) = (0_i128, 0_i128, 0_i128);
        for (buys, units, value, rate) in &rows {
            let unit = i128::from(*value) * i128::from(*rate);
            for _ in 0..*units {
                if *buys {
                    queue.push_back(unit);
                    spent += unit;
                } else {
                    realised += unit - queue.pop_front().unwrap();
                    earned += unit;
                }
            }
        }
        let in_units = |usd: bursar_model::Usd| usd.amount().mantissa() * 10_i128.pow(18 - usd.amount().scale());

        let (lots, steps) = step_by_step(&built(&rows), method);

        let booked: i128 = steps.iter().map(|step| in_units(step.realised_usd)).sum();
        let cost: i128 = lots.iter().map(|lot| in_units(lot.cost_usd)).sum();
        let tolerance = 1_000_000 * 40 * 20;
        // Whatever was booked as gained, less what is still open, is at most what really came in.
        prop_assert!(booked - cost <= earned - spent);
        prop_assert!(earned - spent - (booked - cost) < tolerance);
        if method == LotMethod::Fifo {
            prop_assert!(booked <= realised && realised - booked < tolerance);
        }
    }

    #[test]
    fn d25_average_cost_charges_every_unit_the_average(rows in covered()) {
        let mut lots: Vec<Lot> = Vec::new();
        for fill in built(&rows) {
            let held: Decimal = lots.iter().map(|lot| lot.quantity.value()).sum();
            let pool: Decimal = lots.iter().map(|lot| lot.cost).sum();
            let applied = apply_fill(&lots, &fill, LotMethod::AverageCost).unwrap();
            let sold: Decimal = applied.closed.iter().map(|part| part.quantity.value()).sum();
            let charged: Decimal = applied.closed.iter().map(|part| part.cost).sum();
            if !sold.is_zero() {
                let average = pool / held;
                // At least the average, and at most the rounding of each part more.
                let margin = Decimal::new(25, 12);
                prop_assert!(charged * held >= pool * sold);
                prop_assert!(charged - average * sold <= margin);
                for lot in &applied.lots_after {
                    prop_assert!((lot.cost - average * lot.quantity.value()).abs() <= margin);
                }
                // Nothing is lost between what left and what stayed.
                prop_assert_eq!(charged + applied.lots_after.iter().map(|lot| lot.cost).sum::<Decimal>(), pool);
            }
            lots = applied.lots_after;
        }
    }

    #[test]
    fn i19_no_fee_is_lost_between_lots(rows in covered(), fees in prop::collection::vec(-50..500_i64, 20), method in any_method()) {
        let mut paid_fills = built(&rows);
        for (fill, fee) in paid_fills.iter_mut().zip(fees) {
            fill.fee_usd = bursar_model::Usd::new(Decimal::new(fee, 5));
        }

        let (lots, steps) = step_by_step(&paid_fills, method);

        let paid: Decimal = paid_fills.iter().map(|fill| fill.fee_usd.amount()).sum();
        let open: Decimal = lots.iter().map(|lot| lot.fees_usd.amount()).sum();
        let closed: Decimal = steps.iter().flat_map(|step| &step.closed).map(|part| part.fees_usd.amount()).sum();
        prop_assert_eq!(open + closed, paid);
    }

    #[test]
    fn what_is_open_never_has_a_negative_cost((_, shuffled) in shuffled(), method in any_method()) {
        let (lots, _) = step_by_step(&fills(&shuffled), method);

        for lot in &lots {
            prop_assert!(lot.cost >= Decimal::ZERO && lot.cost_usd.amount() >= Decimal::ZERO);
        }
    }

    #[test]
    fn c28_accounts_that_trade_at_the_same_time_do_not_touch_each_other(
        (mine, theirs) in (any_fills(), any_fills()),
        order in prop::collection::vec(any::<bool>(), 40),
        method in any_method(),
    ) {
        let theirs: Vec<_> = theirs.into_iter().map(|fill| fill.account("coinbase-brandt", "tomas_brandt")).collect();
        let (mine, theirs) = (fills(&mine), fills(&theirs));
        let mut books = [
            empty_book(method),
            Book::new("coinbase-brandt".parse().unwrap(), "tomas_brandt".parse().unwrap(), method),
        ];
        let mut queues = [VecDeque::from(mine.clone()), VecDeque::from(theirs.clone())];
        let remaining = [[true; 20], [false; 20]].concat();
        for first in order.into_iter().chain(remaining) {
            let which = usize::from(!first);
            if let Some(fill) = queues[which].pop_front() {
                books[which].apply(&fill).unwrap();
                prop_assert!(books[1 - which].apply(&fill).is_err());
            }
        }

        prop_assert_eq!(&books[0], &book(method, &mine));
        prop_assert!(books[1].open_lots().all(|lot| lot.account.as_str() == "coinbase-brandt"));
        prop_assert_eq!(books[1].fills().count(), theirs.len());
    }

    #[test]
    fn a_book_reads_as_it_was_written(trades in any_fills(), method in any_method()) {
        let book = book(method, &fills(&trades));

        let written = serde_json::to_string(&book).unwrap();

        prop_assert_eq!(serde_json::from_str::<Book>(&written).unwrap(), book);
    }
}
