//! How an account has done, whatever was paid in and out.

use bursar_ledger::{EquityReading, Performance, performance};
use bursar_model::Usd;
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};

use crate::builders::{second, usd};

/// Readings a second apart: equity, and what of it came from outside since the one before.
fn readings(rows: &[(Decimal, Decimal)]) -> Vec<EquityReading> {
    (0..)
        .zip(rows)
        .map(|(number, (equity, flows))| EquityReading {
            at: second(number),
            equity: usd(*equity),
            flows: usd(*flows),
        })
        .collect()
}

fn judged(rows: &[(Decimal, Decimal)]) -> Performance {
    performance(&readings(rows)).unwrap().unwrap()
}

fn values(found: &Performance) -> Vec<Decimal> {
    found.curve.iter().map(|point| point.equity.amount()).collect()
}

#[test]
fn o4_h11_deposits_and_withdrawals_are_no_result() {
    let none = dec!(0);
    for (name, rows, curve, gain, percent) in [
        (
            "nothing came or went",
            vec![(dec!(1000), none), (dec!(1100), none), (dec!(990), none)],
            vec![dec!(1000), dec!(1100), dec!(990)],
            dec!(-10),
            dec!(-1),
        ),
        (
            "10 % gained, then nine times as much paid in, then 10 % lost",
            vec![
                (dec!(1000), none),
                (dec!(1100), none),
                (dec!(10000), dec!(8900)),
                (dec!(9000), none),
            ],
            vec![dec!(1000), dec!(1100), dec!(1100), dec!(990)],
            dec!(-900),
            dec!(-1),
        ),
        (
            "the price moved 2 % until the deposit was seen",
            vec![(dec!(1000), none), (dec!(1520), dec!(500))],
            vec![dec!(1000), dec!(1020)],
            dec!(20),
            dec!(2),
        ),
        (
            "half was taken out and the rest doubled",
            vec![(dec!(1000), none), (dec!(500), dec!(-500)), (dec!(1000), none)],
            vec![dec!(1000), dec!(1000), dec!(2000)],
            dec!(500),
            dec!(100),
        ),
        (
            "all was taken out, and other money came",
            vec![
                (dec!(1000), none),
                (dec!(1200), none),
                (none, dec!(-1200)),
                (dec!(300), dec!(300)),
                (dec!(330), none),
            ],
            vec![dec!(1000), dec!(1200), dec!(1200), dec!(1200), dec!(1320)],
            dec!(230),
            dec!(32),
        ),
        (
            "an account that was empty at first",
            vec![(none, none), (dec!(400), dec!(400)), (dec!(500), none)],
            vec![dec!(400), dec!(500)],
            dec!(100),
            dec!(25),
        ),
        (
            "all is lost, and what is paid in later brings none of it back",
            vec![
                (dec!(100), none),
                (none, none),
                (dec!(50), dec!(50)),
                (dec!(75), none),
            ],
            vec![dec!(100), none, none, none],
            dec!(-75),
            dec!(-100),
        ),
    ] {
        let found = judged(&rows);

        assert_eq!(values(&found), curve, "{name}");
        assert_eq!(
            (found.gain.amount(), found.return_percent),
            (gain, Some(percent)),
            "{name}"
        );
    }
}

#[test]
fn o4_a_withdrawal_is_no_drawdown_and_a_loss_after_a_deposit_counts_by_its_part() {
    let found = judged(&[
        (dec!(1000), dec!(0)),
        (dec!(200), dec!(-800)),
        (dec!(180), dec!(0)),
        (dec!(10180), dec!(10000)),
        (dec!(9671), dec!(0)),
    ]);

    // 10 % of the 200 that were left, then 5 % of the 10180.
    let fall = found.drawdown.unwrap();
    assert_eq!(
        values(&found),
        [dec!(1000), dec!(1000), dec!(900), dec!(900), dec!(855)]
    );
    assert_eq!((fall.peak.at, fall.trough.at), (second(0), second(4)));
    assert_eq!(fall.percent, Some(dec!(14.5)));
    assert_eq!(found.flows, usd(dec!(9200)));
}

#[test]
fn o4_the_deepest_fall_is_the_one_that_took_the_largest_part() {
    let found = judged(&[
        (dec!(1000), dec!(0)),
        (dec!(500), dec!(0)),
        (dec!(9000), dec!(0)),
        (dec!(8000), dec!(0)),
    ]);

    let fall = found.drawdown.unwrap();
    assert_eq!((fall.trough.at, fall.percent), (second(1), Some(dec!(50))));
}

#[test]
fn o4_what_does_not_divide_is_rounded_down() {
    let found = judged(&[(dec!(300), dec!(0)), (dec!(100), dec!(0)), (dec!(200), dec!(0))]);

    assert_eq!(values(&found)[0], dec!(300));
    assert!(
        values(&found)[1] <= dec!(100) && values(&found)[1] > dec!(99.99999999),
        "{found:?}"
    );
    // A third lost and a bit: never shown as less.
    assert_eq!(found.return_percent, Some(dec!(-33.34)));
}

#[test]
fn o4_what_is_left_of_an_account_for_a_while_ruins_no_return() {
    // All but half a dollar goes out, which is a flow; the rest goes out, which is too little to be one.
    let found = judged(&[
        (dec!(1000), dec!(0)),
        (dec!(0.5), dec!(-999.5)),
        (dec!(0), dec!(0)),
        (dec!(5000), dec!(5000)),
        (dec!(5500), dec!(0)),
    ]);

    assert_eq!((found.return_percent, found.drawdown), (Some(dec!(10)), None));
}

#[test]
fn o4_from_ten_dollars_on_a_return_is_one() {
    let found = judged(&[(dec!(10), dec!(0)), (dec!(5), dec!(0))]);
    assert_eq!(found.return_percent, Some(dec!(-50)));

    let found = judged(&[(dec!(9.99), dec!(0)), (dec!(5), dec!(0))]);
    assert_eq!(found.return_percent, Some(dec!(0)));
}

#[test]
fn f5_what_was_paid_in_knows_deposits_and_withdrawals_and_no_profit() {
    let paid = |rows: &[(Decimal, Decimal)]| bursar_ledger::paid_in(&readings(rows)).unwrap();
    assert_eq!(paid(&[]), None);
    for (rows, expected) in [
        // Connected before it was funded.
        (vec![(dec!(0), dec!(0)), (dec!(10000), dec!(10000))], dec!(10000)),
        (vec![(dec!(1000), dec!(0)), (dec!(3000), dec!(0))], dec!(1000)),
        // Half of three thousand goes out, and with it half of what was paid in.
        (
            vec![
                (dec!(1000), dec!(0)),
                (dec!(3000), dec!(0)),
                (dec!(1500), dec!(-1500)),
            ],
            dec!(500),
        ),
        (
            vec![
                (dec!(1000), dec!(0)),
                (dec!(0), dec!(-1000)),
                (dec!(200), dec!(200)),
            ],
            dec!(200),
        ),
        // All was lost, and more than that went out: borrowed.
        (
            vec![
                (dec!(1000), dec!(0)),
                (dec!(-100), dec!(-100)),
                (dec!(50), dec!(150)),
            ],
            dec!(150),
        ),
    ] {
        assert_eq!(paid(&rows), Some(usd(expected)), "{rows:?}");
    }
}

#[test]
fn o4_without_readings_there_is_nothing_to_tell_and_without_money_no_curve() {
    assert_eq!(performance(&[]).unwrap(), None);

    let empty = judged(&[(dec!(0), dec!(0)), (dec!(0), dec!(0))]);

    assert_eq!(
        (values(&empty), empty.return_percent, empty.drawdown),
        (vec![], None, None)
    );
}

/// Parts by which equity moves, in per mille, and what is paid in or out after each, in cents.
fn stretches() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((900..1_100_i64, 0..1_000_000_i64), 1..40)
}

proptest! {
    #[test]
    fn o4_the_curve_is_that_of_an_account_to_which_nothing_was_paid(stretches in stretches()) {
        let (mut with, mut without) = (dec!(5000), dec!(5000));
        let mut rows = vec![(with, dec!(0))];
        let mut expected = vec![without];
        for (per_mille, flow) in stretches {
            let factor = Decimal::new(per_mille, 3);
            let flow = Decimal::new(flow, 2);
            // To where a reading may still be told exactly.
            with = (with * factor + flow).round_dp(8);
            without *= (with - flow) / rows.last().unwrap().0;
            rows.push((with, flow));
            expected.push(without);
        }

        let found = judged(&rows);

        let close = dec!(0.00000001);
        for (curve, expected) in values(&found).into_iter().zip(&expected) {
            prop_assert!((curve - expected).abs() < close, "{curve} is not {expected}");
        }
        prop_assert_eq!(found.curve.len(), rows.len());
        let paid: Decimal = rows[1..].iter().map(|(_, flow)| flow).sum();
        prop_assert_eq!(found.flows, usd(paid));
        prop_assert_eq!(found.gain, usd(rows.last().unwrap().0 - rows[0].0 - paid));
    }

    #[test]
    fn o4_without_flows_the_curve_is_the_equity_and_never_above_it(equities in prop::collection::vec(1000..10_000_000_i64, 1..40)) {
        let rows: Vec<(Decimal, Decimal)> = equities.iter().map(|cents| (Decimal::new(*cents, 2), dec!(0))).collect();

        let found = judged(&rows);

        for (point, (equity, _)) in found.curve.iter().zip(&rows) {
            prop_assert!(point.equity <= usd(*equity));
            // Each step may lose a digit, and the next may carry what was lost a hundred-thousandfold.
            prop_assert!(*equity - point.equity.amount() < dec!(0.01));
        }
        prop_assert_eq!(found.flows, Usd::ZERO);
    }
}
