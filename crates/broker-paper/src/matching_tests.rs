use bursar_broker::{CancelOutcome, VenueOrderStatus};
use bursar_model::{
    Amount, Asset, ClientOrderId, Instrument, InstrumentStatus, Liquidity, OrderKind, OrderTerms, Pair,
    Price, Quantity, Quote, Side, TimeInForce,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};

use crate::matching::NotTaken;
use crate::state::PaperState;

fn pair() -> Pair {
    "BTC-USD".parse().unwrap()
}

fn asset(code: &str) -> Asset {
    code.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-20T09:30:00Z".parse().unwrap()
}

fn id(number: u32) -> ClientOrderId {
    format!("00000000-0000-4000-8000-{number:012}").parse().unwrap()
}

fn rules() -> Instrument {
    Instrument {
        pair: pair(),
        status: InstrumentStatus::Online,
        price_increment: price("0.1"),
        quantity_increment: "0.0001".parse().unwrap(),
        min_quantity: "0.0001".parse().unwrap(),
        min_cost: dec!(0.5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    }
}

fn quote(bid: &str, ask: &str, last: &str) -> Quote {
    Quote {
        pair: pair(),
        bid: price(bid),
        ask: price(ask),
        last: price(last),
        at: now(),
    }
}

fn market() -> Quote {
    quote("60000", "60000.1", "60000")
}

fn terms(side: Side, quantity: &str, kind: OrderKind) -> OrderTerms {
    OrderTerms {
        pair: pair(),
        side,
        kind,
        quantity: quantity.parse().unwrap(),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: false,
    }
}

fn limit(at: &str) -> OrderKind {
    OrderKind::Limit { price: price(at) }
}

fn account() -> PaperState {
    PaperState::opened_with(&[
        Amount::new(asset("USD"), dec!(10000)),
        Amount::new(asset("BTC"), dec!(1)),
    ])
    .unwrap()
}

fn place(state: &mut PaperState, number: u32, terms: &OrderTerms) -> Result<(), NotTaken> {
    state
        .place(&id(number), terms, &rules(), Some(&market()), now())
        .map(drop)
}

fn status(state: &PaperState, number: u32) -> VenueOrderStatus {
    state.find(&id(number)).next().unwrap().order.status
}

fn see(state: &mut PaperState, quote: &Quote) {
    state.see_quote(quote, &rules(), now()).unwrap();
}

#[test]
fn a_market_buy_pays_the_ask_and_the_fee_of_a_taker() {
    let mut state = account();
    place(&mut state, 1, &terms(Side::Buy, "0.1", OrderKind::Market)).unwrap();

    assert_eq!(status(&state, 1), VenueOrderStatus::Filled);
    assert_eq!(state.total(&asset("BTC")), dec!(1.1));
    // 6000.01 and 0.4 % of it.
    assert_eq!(
        state.total(&asset("USD")),
        dec!(10000) - dec!(6000.01) - dec!(24.00004)
    );
    assert_eq!(state.fills[0].liquidity, Liquidity::Taker);
}

#[test]
fn a_market_sell_takes_the_bid_less_the_fee() {
    let mut state = account();
    place(&mut state, 1, &terms(Side::Sell, "0.5", OrderKind::Market)).unwrap();

    assert_eq!(state.total(&asset("BTC")), dec!(0.5));
    assert_eq!(state.total(&asset("USD")), dec!(10000) + dec!(30000) - dec!(120));
}

#[test]
fn a_limit_order_rests_holds_and_fills_at_its_price_as_a_maker() {
    let mut state = account();
    place(&mut state, 1, &terms(Side::Buy, "0.1", limit("59000"))).unwrap();
    assert_eq!(state.held(&asset("USD")), dec!(5923.6));
    see(&mut state, &quote("59000", "59000.1", "59000"));
    assert_eq!(status(&state, 1), VenueOrderStatus::Live);
    see(&mut state, &quote("58000", "58000.1", "58000"));

    assert_eq!(status(&state, 1), VenueOrderStatus::Filled);
    assert_eq!(state.held(&asset("USD")), Decimal::ZERO);
    assert_eq!(state.fills[0].price, price("59000"));
    assert_eq!(state.fills[0].fee.value, dec!(14.75));
    assert_eq!(state.fills[0].liquidity, Liquidity::Maker);
}

#[test]
fn a_limit_order_that_crosses_takes_the_better_price() {
    let mut state = account();
    place(&mut state, 1, &terms(Side::Buy, "0.1", limit("61000"))).unwrap();

    assert_eq!(state.fills[0].price, price("60000.1"));
    assert_eq!(state.fills[0].liquidity, Liquidity::Taker);
}

#[test]
fn triggers_are_met_from_the_right_side() {
    let kinds = [
        (
            Side::Sell,
            OrderKind::StopLoss {
                trigger: price("59000"),
            },
            "58999",
            "59001",
        ),
        (
            Side::Buy,
            OrderKind::StopLoss {
                trigger: price("61000"),
            },
            "61001",
            "60999",
        ),
        (
            Side::Sell,
            OrderKind::TakeProfit {
                trigger: price("61000"),
            },
            "61001",
            "60999",
        ),
        (
            Side::Buy,
            OrderKind::TakeProfit {
                trigger: price("59000"),
            },
            "58999",
            "59001",
        ),
    ];
    for (side, kind, meets, misses) in kinds {
        let mut state = account();
        place(&mut state, 1, &terms(side, "0.1", kind.clone())).unwrap();
        see(&mut state, &quote(misses, misses, misses));
        assert_eq!(
            status(&state, 1),
            VenueOrderStatus::Live,
            "{side} {kind:?} at {misses}"
        );
        see(&mut state, &quote(meets, meets, meets));
        assert_eq!(
            status(&state, 1),
            VenueOrderStatus::Filled,
            "{side} {kind:?} at {meets}"
        );
        assert_eq!(state.fills[0].price, price(meets));
        assert_eq!(state.fills.len(), 1);
    }
}

#[test]
fn a_triggered_limit_order_rests_when_the_market_has_run_past_it() {
    let mut state = account();
    let kind = OrderKind::StopLossLimit {
        trigger: price("59000"),
        price: price("58900"),
    };
    place(&mut state, 1, &terms(Side::Sell, "0.1", kind)).unwrap();
    see(&mut state, &quote("58000", "58000.1", "58000"));
    assert_eq!(status(&state, 1), VenueOrderStatus::Live);
    see(&mut state, &quote("58900", "58900.1", "58900"));

    assert_eq!(status(&state, 1), VenueOrderStatus::Filled);
    assert_eq!(state.fills[0].price, price("58900"));
}

#[test]
fn a_triggered_buy_that_cannot_be_paid_for_any_more_is_cancelled() {
    let mut state = account();
    let kind = OrderKind::StopLoss {
        trigger: price("61000"),
    };
    place(&mut state, 1, &terms(Side::Buy, "0.16", kind)).unwrap();
    see(&mut state, &quote("70000", "70000", "70000"));

    assert_eq!(status(&state, 1), VenueOrderStatus::Cancelled);
    assert!(state.fills.is_empty());
    assert_eq!(state.held(&asset("USD")), Decimal::ZERO);
}

#[test]
fn what_cannot_be_paid_for_is_refused_and_changes_nothing() {
    let mut state = account();
    let before = state.clone();
    for order in [
        terms(Side::Buy, "0.2", OrderKind::Market),
        terms(Side::Buy, "0.17", limit("59000")),
        terms(Side::Sell, "1.0001", limit("61000")),
    ] {
        assert!(
            matches!(place(&mut state, 1, &order), Err(NotTaken::Funds { .. })),
            "{order}"
        );
    }
    assert_eq!(state, before);
    // What other orders hold is not available.
    place(&mut state, 1, &terms(Side::Sell, "0.6", limit("61000"))).unwrap();
    assert!(matches!(
        place(&mut state, 2, &terms(Side::Sell, "0.6", limit("61000"))),
        Err(NotTaken::Funds { .. })
    ));
}

#[test]
fn terms_that_a_venue_would_refuse_are_refused() {
    let mut state = account();
    let mut waiting = terms(Side::Buy, "0.1", limit("61000"));
    waiting.post_only = true;
    let mut late = terms(Side::Buy, "0.1", limit("59000"));
    late.time_in_force = TimeInForce::GoodTilDate(now());
    for order in [
        waiting,
        late,
        terms(Side::Buy, "0.10005", limit("59000")),
        terms(Side::Buy, "0.1", limit("59000.05")),
        terms(Side::Buy, "0.00009", limit("59000")),
        terms(Side::Buy, "0.0001", limit("100")),
    ] {
        assert!(
            matches!(place(&mut state, 1, &order), Err(NotTaken::Terms(_))),
            "{order}"
        );
    }
    let mut closed = rules();
    closed.status = InstrumentStatus::CancelOnly;
    let order = terms(Side::Buy, "0.1", limit("59000"));
    let refused = state.place(&id(1), &order, &closed, Some(&market()), now());
    assert_eq!(refused, Err(NotTaken::Closed(InstrumentStatus::CancelOnly)));
    let blind = state.place(
        &id(1),
        &terms(Side::Buy, "0.1", OrderKind::Market),
        &rules(),
        None,
        now(),
    );
    assert_eq!(blind, Err(NotTaken::NoPrice));
    assert_eq!(state, account());
}

#[test]
fn what_must_not_wait_ends_at_once() {
    let mut state = account();
    let mut order = terms(Side::Buy, "0.1", limit("59000"));
    order.time_in_force = TimeInForce::ImmediateOrCancel;
    place(&mut state, 1, &order).unwrap();

    assert_eq!(status(&state, 1), VenueOrderStatus::Cancelled);
    assert_eq!(state.cancel(&id(1), now()), CancelOutcome::NotWorking);
}

#[test]
fn an_order_ends_with_its_time_and_is_forgotten_after_a_week() {
    let mut state = account();
    let mut order = terms(Side::Buy, "0.1", limit("59000"));
    let until = now() + SignedDuration::from_mins(5);
    order.time_in_force = TimeInForce::GoodTilDate(until);
    place(&mut state, 1, &order).unwrap();
    state.pass_time(until - SignedDuration::from_secs(1));
    assert_eq!(status(&state, 1), VenueOrderStatus::Live);
    state.pass_time(until);
    assert_eq!(status(&state, 1), VenueOrderStatus::Expired);
    state.pass_time(until + SignedDuration::from_hours(24 * 7 + 1));

    assert!(state.orders.is_empty());
}

#[test]
fn a_trade_fills_the_best_price_first_then_the_oldest() {
    let mut state = account();
    for (number, at) in [(1, "58000"), (2, "59000"), (3, "59000")] {
        place(&mut state, number, &terms(Side::Buy, "0.02", limit(at))).unwrap();
    }
    let some: Quantity = "0.03".parse().unwrap();
    state
        .see_trade(&pair(), price("57000"), Some(some), &rules(), now())
        .unwrap();

    assert_eq!(status(&state, 2), VenueOrderStatus::Filled);
    assert_eq!(state.find(&id(3)).next().unwrap().order.filled, dec!(0.01));
    assert_eq!(state.find(&id(1)).next().unwrap().order.filled, Decimal::ZERO);
}

#[derive(Clone, Debug)]
enum Step {
    Place {
        buy: bool,
        kind: u8,
        quantity: i64,
        a: i64,
        b: i64,
    },
    Cancel(u32),
    Quote {
        bid: i64,
        spread: i64,
        last: i64,
    },
    Trade {
        price: i64,
        quantity: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 500_000..700_000_i64;
    let step = prop_oneof![
        (any::<bool>(), 0..6_u8, 1..3_000_i64, at(), at()).prop_map(|(buy, kind, quantity, a, b)| {
            Step::Place {
                buy,
                kind,
                quantity,
                a,
                b,
            }
        }),
        (0..40_u32).prop_map(Step::Cancel),
        (at(), 0..500_i64, at()).prop_map(|(bid, spread, last)| Step::Quote { bid, spread, last }),
        (at(), 1..3_000_i64).prop_map(|(price, quantity)| Step::Trade { price, quantity }),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn i19_money_is_conserved_and_never_runs_out(steps in steps()) {
        let at = |tenths: i64| Price::new(Decimal::new(tenths, 1)).unwrap();
        let mut state = account();
        let mut shown = market();
        for (number, step) in (0_u32..).zip(steps) {
            match step {
                Step::Place { buy, kind, quantity, a, b } => {
                    let (trigger, price) = (at(a), at(b));
                    let kind = match kind {
                        0 => OrderKind::Market,
                        1 => OrderKind::Limit { price },
                        2 => OrderKind::StopLoss { trigger },
                        3 => OrderKind::TakeProfit { trigger },
                        4 => OrderKind::StopLossLimit { trigger, price },
                        _ => OrderKind::TakeProfitLimit { trigger, price },
                    };
                    let side = if buy { Side::Buy } else { Side::Sell };
                    let mut order = terms(side, "1", kind);
                    order.quantity = Quantity::new(Decimal::new(quantity, 4)).unwrap();
                    let _ = state.place(&id(number), &order, &rules(), Some(&shown), now());
                }
                Step::Cancel(number) => drop(state.cancel(&id(number), now())),
                Step::Quote { bid, spread, last } => {
                    shown = Quote { bid: at(bid), ask: at(bid + spread), last: at(last), ..market() };
                    state.see_quote(&shown, &rules(), now()).unwrap();
                }
                Step::Trade { price, quantity } => {
                    let quantity = Quantity::new(Decimal::new(quantity, 4)).unwrap();
                    state.see_trade(&pair(), at(price), Some(quantity), &rules(), now()).unwrap();
                }
            }
            // Another way to say it: what is there is what there was, with every fill replayed.
            let (mut usd, mut btc) = (dec!(10000), dec!(1));
            for fill in &state.fills {
                let cost = fill.price.value() * fill.quantity.value();
                let sign = if fill.side == Side::Buy { Decimal::ONE } else { -Decimal::ONE };
                usd -= sign * cost + fill.fee.value;
                btc += sign * fill.quantity.value();
            }
            prop_assert_eq!(state.total(&asset("USD")), usd);
            prop_assert_eq!(state.total(&asset("BTC")), btc);
            prop_assert!(usd >= Decimal::ZERO && btc >= Decimal::ZERO, "{} {}", usd, btc);
            prop_assert!(state.available(&asset("USD")) >= Decimal::ZERO);
            prop_assert!(state.available(&asset("BTC")) >= Decimal::ZERO);
            for order in &state.orders {
                let fills: Vec<_> = state.fills.iter().filter(|f| f.venue_order_id == order.order.id).collect();
                let sum: Decimal = fills.iter().map(|fill| fill.quantity.value()).sum();
                prop_assert_eq!(order.order.filled, sum);
                prop_assert!(sum <= order.order.quantity.value());
                if let Some(limit) = order.kind.limit_price() {
                    let kept = fills.iter().all(|fill| match fill.side {
                        Side::Buy => fill.price <= limit,
                        Side::Sell => fill.price >= limit,
                    });
                    prop_assert!(kept, "a fill is worse than its limit");
                }
            }
        }
        let kept = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<PaperState>(&kept).unwrap(), state);
    }
}
