//! One thing at a time, with figures worked out by hand.

use bursar_ledger::{
    Effects, LedgerError, Leg, LotMethod, Mark, activity, apply_fill, compare, entries, exposure_usd,
    imbalances, positions, replay,
};
use bursar_model::{Fill, Usd};
use rust_decimal::{Decimal, dec};

use crate::builders::{TODAY, book, buy, day, empty_book, fills, pair, price, quantity, second, sell, usd};

#[test]
fn d25_a_sale_closes_the_oldest_lot_first() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(1), dec!(100)).fee(dec!(0.20), "USD"),
            buy(2, dec!(1), dec!(120)).fee(dec!(0.24), "USD"),
            sell(3, dec!(1.5), dec!(130)).fee(dec!(0.39), "USD"),
        ]),
    );

    let closed: Vec<_> = book.closed_lots().collect();
    assert_eq!(closed.len(), 2);
    assert_eq!((closed[0].cost, closed[0].realised), (dec!(100), dec!(30)));
    assert_eq!((closed[1].cost, closed[1].realised), (dec!(60), dec!(5)));
    // All of the first purchase's fee and two thirds of the sale's; half and one third.
    assert_eq!(closed[0].fees_usd, usd(dec!(0.46)));
    assert_eq!(closed[1].fees_usd, usd(dec!(0.25)));
    let lots = book.lots(&pair("BTC-USD"));
    assert_eq!((lots[0].quantity, lots[0].cost), (quantity(dec!(0.5)), dec!(60)));
    assert_eq!(lots[0].fees_usd, usd(dec!(0.12)));
}

#[test]
fn d25_average_cost_sells_a_bit_of_everything() {
    let book = book(
        LotMethod::AverageCost,
        &fills(&[
            buy(1, dec!(1), dec!(100)),
            buy(2, dec!(1), dec!(120)),
            sell(3, dec!(1.5), dec!(130)),
            buy(4, dec!(0.5), dec!(150)),
            sell(5, dec!(1), dec!(140)),
        ]),
    );

    let realised: Decimal = book.closed_lots().map(|closed| closed.realised).sum();
    // 1.5 × (130 − 110), then 1 × (140 − (0.5 × 110 + 0.5 × 150)).
    assert_eq!(realised, dec!(40));
    assert_eq!(book.open_lots().count(), 0);
}

#[test]
fn a_lot_whose_cost_was_averaged_keeps_that_cost_under_the_other_method() {
    let averaged = book(
        LotMethod::AverageCost,
        &fills(&[
            buy(1, dec!(1), dec!(100)),
            buy(2, dec!(1), dec!(20)),
            sell(3, dec!(1), dec!(60)),
        ]),
    );
    let half = sell(4, dec!(0.5), dec!(60)).build();

    let applied = apply_fill(averaged.lots(&pair("BTC-USD")), &half, LotMethod::Fifo).unwrap();

    assert_eq!(applied.closed[0].cost, dec!(30));
    assert_eq!(applied.lots_after[0].cost, dec!(30));
}

#[test]
fn i19_a_fee_in_kind_shrinks_the_lot_and_is_paid_once() {
    let bought = buy(1, dec!(1), dec!(100)).fee(dec!(0.002), "BTC").build();
    let sold = sell(2, dec!(0.998), dec!(100)).build();

    let after = apply_fill(&[], &bought, LotMethod::Fifo).unwrap();
    let end = apply_fill(&after.lots_after, &sold, LotMethod::Fifo).unwrap();

    assert_eq!(after.lots_after[0].quantity, quantity(dec!(0.998)));
    assert_eq!(after.fee_usd, usd(dec!(0.2)));
    // 100 went out, 99.8 came back: the fee, and nothing else.
    assert_eq!((end.realised, end.lots_after.len()), (dec!(0), 0));
    assert!(
        imbalances(after.entries.iter().chain(&end.entries))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_sale_with_a_fee_in_kind_takes_the_fee_from_the_lots_too() {
    let bought = buy(1, dec!(1), dec!(100)).build();
    let sold = sell(2, dec!(0.5), dec!(110)).fee(dec!(0.01), "BTC").build();

    let lots = apply_fill(&[], &bought, LotMethod::Fifo).unwrap().lots_after;
    let applied = apply_fill(&lots, &sold, LotMethod::Fifo).unwrap();

    assert_eq!(applied.lots_after[0].quantity, quantity(dec!(0.49)));
    assert_eq!((applied.realised, applied.fee_usd), (dec!(5.1), usd(dec!(1.1))));
}

#[test]
fn a_fee_in_kind_that_takes_all_that_was_bought_leaves_no_lot() {
    let bought = buy(1, dec!(1), dec!(100)).fee(dec!(1), "BTC").build();

    let applied = apply_fill(&[], &bought, LotMethod::Fifo).unwrap();

    assert!(applied.lots_after.is_empty() && applied.closed.is_empty());
    assert_eq!((applied.sold_external, applied.fee_usd), (None, usd(dec!(100))));
}

#[test]
fn every_entry_says_where_an_amount_came_from_and_where_it_went() {
    let bought = buy(1, dec!(0.5), dec!(200)).fee(dec!(0.3), "USD").build();
    let sold = sell(2, dec!(0.5), dec!(220)).fee(dec!(-0.3), "USD").build();
    for (fill, coins, dollars, price, fee) in [
        (&bought, dec!(0.5), dec!(-100.3), dec!(100), dec!(0.3)),
        (&sold, dec!(-0.5), dec!(110.3), dec!(-110), dec!(-0.3)),
    ] {
        let lines = entries(&fill.fill).unwrap();

        let came_to = |leg: Leg, asset: &str| -> Decimal {
            let own = lines
                .iter()
                .filter(|line| line.leg == leg && line.asset.code() == asset);
            own.map(|line| line.amount).sum()
        };
        assert_eq!(came_to(Leg::Holding, "BTC"), coins);
        assert_eq!(came_to(Leg::Market, "BTC"), -coins);
        assert_eq!(came_to(Leg::Holding, "USD"), dollars);
        assert_eq!(came_to(Leg::Market, "USD"), price);
        assert_eq!(came_to(Leg::Fees, "USD"), fee);
    }
    let free = buy(3, dec!(0.5), dec!(200)).build();
    assert_eq!(entries(&free.fill).unwrap().len(), 4);
}

#[test]
fn selling_more_than_the_lots_is_external_and_never_negative() {
    let bought = buy(1, dec!(1), dec!(100)).build();
    let sold = sell(2, dec!(1.25), dec!(90)).fee(dec!(0.5), "USD").build();

    let lots = apply_fill(&[], &bought, LotMethod::Fifo).unwrap().lots_after;
    let applied = apply_fill(&lots, &sold, LotMethod::Fifo).unwrap();

    assert_eq!(applied.sold_external, Some(quantity(dec!(0.25))));
    assert!(applied.lots_after.is_empty());
    // Only what was ours makes a result, and only its part of the fee is charged to it.
    assert_eq!(applied.realised, dec!(-10));
    assert_eq!(applied.closed[0].fees_usd, usd(dec!(0.4)));
    assert_eq!(applied.fee_usd, usd(dec!(0.5)));
}

#[test]
fn i7_a_purchase_that_arrives_after_its_sale_is_put_in_its_place() {
    let bought = buy(1, dec!(1), dec!(100)).build();
    let sold = sell(2, dec!(1), dec!(110)).build();
    let mut book = empty_book(LotMethod::Fifo);

    let outran = book.apply(&sold).unwrap();
    let late = book.apply(&bought).unwrap();

    assert!(matches!(outran, Effects::Booked(applied) if applied.sold_external.is_some()));
    let Effects::Rebooked(replayed) = late else {
        panic!("a late fill was booked as the newest");
    };
    assert!(replayed.lots.is_empty() && replayed.sold_external.is_empty());
    assert_eq!(replayed.closed[0].realised, dec!(10));
    assert_eq!(replay([&sold, &bought], LotMethod::Fifo).unwrap(), replayed);
}

#[test]
fn i7_the_newest_fill_of_its_pair_is_booked_alone() {
    let mut book = book(LotMethod::Fifo, &fills(&[buy(1, dec!(1), dec!(100))]));
    let newest = sell(2, dec!(0.4), dec!(110)).build();
    // Older than both, but the first of its pair.
    let other = buy(0, dec!(1), dec!(10)).pair("ETH-USD", dec!(1)).build();
    let alone = apply_fill(book.lots(&pair("BTC-USD")), &newest, LotMethod::Fifo).unwrap();

    assert!(!book.contains(&newest.fill.id));
    assert_eq!(book.apply(&newest), Ok(Effects::Booked(alone)));
    assert!(book.contains(&newest.fill.id));
    assert!(matches!(book.apply(&other), Ok(Effects::Booked(_))));
}

#[test]
fn i7_at_the_same_instant_what_was_bought_can_be_sold() {
    // The venue's ids say nothing about which of the two was first.
    let mut sold = sell(1, dec!(1), dec!(110));
    sold.at = second(2);
    let both = fills(&[buy(2, dec!(1), dec!(100)), sold]);

    let replayed = replay(&both, LotMethod::Fifo).unwrap();

    assert!(replayed.lots.is_empty() && replayed.sold_external.is_empty());
}

#[test]
fn i19_dust_sold_in_pieces_never_costs_more_than_it_did() {
    // A quarter of the smallest amount per unit: the first piece rounds up to all of it.
    let rate = dec!(0.0000000001);
    let bought = buy(1, dec!(4), dec!(0.0025)).pair("PEPE-BTC", rate).build();
    let mut lots = apply_fill(&[], &bought, LotMethod::Fifo).unwrap().lots_after;
    let whole = lots[0].cost_usd;
    let mut charged = Usd::ZERO;
    for number in 2..6 {
        let piece = sell(number, dec!(1), dec!(0.0025)).pair("PEPE-BTC", rate).build();
        let applied = apply_fill(&lots, &piece, LotMethod::Fifo).unwrap();
        charged = charged.plus(applied.closed[0].cost_usd).unwrap();
        assert!(applied.lots_after.iter().all(|lot| !lot.cost_usd.is_negative()));
        lots = applied.lots_after;
    }

    assert_eq!(
        (whole, charged),
        (usd(dec!(0.000000000001)), usd(dec!(0.000000000001)))
    );
}

#[test]
fn i7_a_fill_counts_once_and_a_changed_fill_is_a_contradiction() {
    let bought = buy(1, dec!(1), dec!(100)).build();
    let changed = buy(1, dec!(1), dec!(101)).build();
    let mut book = book(LotMethod::Fifo, std::slice::from_ref(&bought));
    let before = book.clone();

    assert!(book.contains(&bought.fill.id));
    assert_eq!(book.apply(&bought), Ok(Effects::Repeated));
    assert!(matches!(
        book.apply(&changed),
        Err(LedgerError::Contradiction { .. })
    ));
    assert!(matches!(
        apply_fill(book.lots(&pair("BTC-USD")), &bought, LotMethod::Fifo),
        Err(LedgerError::AlreadyBooked { .. })
    ));
    assert!(matches!(
        replay([&bought, &bought], LotMethod::Fifo),
        Err(LedgerError::AlreadyBooked { .. })
    ));
    assert_eq!(book, before);
}

#[test]
fn i7_the_same_fill_valued_again_later_is_still_the_same_fill() {
    let first = buy(1, dec!(1), dec!(100)).pair("BTC-EUR", dec!(1.08)).build();
    let again = buy(1, dec!(1), dec!(100)).pair("BTC-EUR", dec!(1.09)).build();
    let mut book = book(LotMethod::Fifo, std::slice::from_ref(&first));

    assert_eq!(book.apply(&again), Ok(Effects::Repeated));
    assert_eq!(book.fills().collect::<Vec<_>>(), [&first]);
}

#[test]
fn i7_lost_invented_changed_and_repeated_fills_are_told_apart() {
    let venue: Vec<Fill> = (1..=3).map(|n| buy(n, dec!(1), dec!(100)).build().fill).collect();
    let invented = buy(4, dec!(1), dec!(100)).build().fill;
    let changed = buy(2, dec!(2), dec!(100)).build().fill;

    let found = compare([&venue[0], &venue[0], &changed, &invented], &venue);

    assert_eq!(found.missing, std::slice::from_ref(&venue[2].id));
    assert_eq!(found.unexpected, [invented.id]);
    assert_eq!(found.changed, [changed.id]);
    assert_eq!(found.repeated, std::slice::from_ref(&venue[0].id));
    assert!(compare(&venue, venue.iter().chain(&venue)).is_empty());
}

#[test]
fn i7_one_difference_of_any_kind_is_a_difference() {
    let one = buy(1, dec!(1), dec!(100)).build().fill;
    let changed = buy(1, dec!(2), dec!(100)).build().fill;
    for (ours, venue) in [
        (vec![], vec![&one]),
        (vec![&one], vec![]),
        (vec![&changed], vec![&one]),
        (vec![&one, &one], vec![&one]),
    ] {
        let found = compare(ours, venue);

        assert!(!found.is_empty(), "{found:?}");
    }
}

#[test]
fn c28_a_book_takes_no_fill_of_another_account_user_or_pair() {
    let mine = buy(1, dec!(1), dec!(100)).build();
    let other_account = sell(2, dec!(1), dec!(100))
        .account("coinbase-brandt", "tomas_brandt")
        .build();
    let other_user = sell(3, dec!(1), dec!(100))
        .account("kraken-ilves", "tomas_brandt")
        .build();
    let other_pair = sell(4, dec!(1), dec!(100)).pair("ETH-USD", dec!(1)).build();
    let mut book = book(LotMethod::Fifo, std::slice::from_ref(&mine));
    let lots = book.lots(&pair("BTC-USD")).to_vec();

    for foreign in [&other_account, &other_user] {
        assert!(matches!(book.apply(foreign), Err(LedgerError::Foreign { .. })));
    }
    for foreign in [&other_account, &other_pair] {
        let refused = apply_fill(&lots, foreign, LotMethod::Fifo);
        assert!(matches!(refused, Err(LedgerError::Foreign { .. })));
    }
    assert_eq!(book.lots(&pair("BTC-USD")), lots);
    // Also where no open lot could tell: both sell what was never bought.
    let mixed = replay([&other_user, &other_pair], LotMethod::Fifo);
    assert!(matches!(mixed, Err(LedgerError::Foreign { .. })));
}

#[test]
fn c28_one_pair_at_two_accounts_is_two_positions() {
    let lots = |account, user| {
        let bought = buy(1, dec!(1), dec!(100)).account(account, user).build();
        apply_fill(&[], &bought, LotMethod::Fifo).unwrap().lots_after
    };
    let both = [
        lots("kraken-ilves", "mara_ilves"),
        lots("coinbase-brandt", "tomas_brandt"),
    ]
    .concat();

    let found = positions(&both).unwrap();

    let users: Vec<_> = found.iter().map(|position| position.user.as_str()).collect();
    assert_eq!(users, ["tomas_brandt", "mara_ilves"]);
    assert!(found.iter().all(|position| position.cost == dec!(100)));
}

#[test]
fn broken_rows_are_refused() {
    let lots = apply_fill(&[], &buy(1, dec!(1), dec!(100)).build(), LotMethod::Fifo)
        .unwrap()
        .lots_after;
    let twice = [lots[0].clone(), lots[0].clone()];

    let refused = apply_fill(&twice, &sell(2, dec!(1), dec!(100)).build(), LotMethod::Fifo);

    assert!(matches!(refused, Err(LedgerError::RepeatedLot { .. })));
}

#[test]
fn h6_positions_are_tagged_and_cost_dollars() {
    let book = book(
        LotMethod::Fifo,
        &fills(&[
            buy(1, dec!(0.5), dec!(200)).pair("BTC-EUR", dec!(1.10)),
            buy(2, dec!(0.5), dec!(220)).pair("BTC-EUR", dec!(1.20)),
            buy(3, dec!(2), dec!(10)),
        ]),
    );

    let found = book.positions().unwrap();

    assert_eq!(found.len(), 2);
    let euro = &found[0];
    assert_eq!(
        (euro.account.as_str(), euro.user.as_str()),
        ("kraken-ilves", "mara_ilves")
    );
    assert_eq!((euro.quantity, euro.cost), (quantity(dec!(1)), dec!(210)));
    assert_eq!(euro.cost_usd, usd(dec!(242)));
    assert_eq!(euro.opened_at, second(1));
    assert_eq!(euro.position().average_price().unwrap(), dec!(210));
    assert_eq!(exposure_usd(book.open_lots()).unwrap(), usd(dec!(262)));
    let mark = Mark {
        price: price(dec!(200)),
        usd_rate: price(dec!(1.20)),
        at: second(9),
    };
    assert_eq!(euro.unrealised_usd(&mark).unwrap(), usd(dec!(-2)));
    assert_eq!(positions(&[]).unwrap(), []);
    let lots: Vec<_> = book.open_lots().collect();
    assert_eq!(positions(lots.into_iter().rev()).unwrap(), found);
}

#[test]
fn g6_activity_counts_orders_and_knows_the_last_trade() {
    let day_fills = fills(&[
        buy(1, dec!(1), dec!(100)).yesterday(),
        // The latest, though not at the end; and another account's order of the same id.
        buy(5, dec!(1), dec!(100))
            .order(7)
            .account("coinbase-brandt", "tomas_brandt"),
        buy(2, dec!(1), dec!(100)).order(7),
        buy(3, dec!(1), dec!(100)).order(7),
        sell(4, dec!(1), dec!(100)),
    ]);

    let found = activity(day(TODAY), &day_fills).unwrap();

    assert_eq!(
        (found.trades, found.fills, found.last_trade_at),
        (3, 4, second(5))
    );
}

#[test]
fn g7_a_day_without_trades_has_no_activity() {
    assert_eq!(
        activity(day("2026-03-05"), &fills(&[buy(1, dec!(1), dec!(1))])),
        None
    );
}

#[test]
fn a_book_is_written_as_its_fills_and_checked_when_read() {
    let book = book(
        LotMethod::AverageCost,
        &fills(&[
            buy(1, dec!(1), dec!(100)),
            sell(2, dec!(0.5), dec!(90)),
            buy(3, dec!(1), dec!(80)),
        ]),
    );

    let written = serde_json::to_value(&book).unwrap();
    let mut repeated = written.clone();
    let first = repeated["fills"][0].clone();
    repeated["fills"].as_array_mut().unwrap().push(first);

    assert_eq!(
        serde_json::from_value::<bursar_ledger::Book>(written).unwrap(),
        book
    );
    assert!(serde_json::from_value::<bursar_ledger::Book>(repeated).is_err());
}

#[test]
fn i19_amounts_that_cannot_be_exact_are_an_error_and_book_nothing() {
    let mut book = empty_book(LotMethod::Fifo);
    let absurd = buy(
        1,
        dec!(999999999999999.999999999999),
        dec!(999999999999.999999999999),
    );

    let built = std::panic::catch_unwind(|| absurd.build()).ok();
    let refused = built.map(|fill| book.apply(&fill));

    assert!(
        matches!(refused, Some(Err(LedgerError::Inexact(_)))),
        "{refused:?}"
    );
    assert_eq!(book, empty_book(LotMethod::Fifo));
    assert_eq!(exposure_usd(book.open_lots()).unwrap(), Usd::ZERO);
}
