use bursar_model::{RiskLevel, Usd};
use bursar_permissions::ProtectiveExit;
use rust_decimal::dec;

use super::*;
use crate::test_world::{World, mara, on_its_way, pair, position, price, tomas, usd};
use crate::{Bound, TrendMomentum, TrendMomentumParameters};

impl World {
    fn runner(&self) -> CycleRunner {
        CycleRunner::new(mara(), Arc::new(self.parts()))
    }

    /// One cycle of Mara's, each step on a line.
    async fn cycle(&self) -> String {
        lines(&self.runner().cycle(1, true).await)
    }

    fn holds(&self, of: &str, quantity: &str, average: rust_decimal::Decimal) {
        self.accounts.change(&mara(), |state| {
            state.positions = vec![position(of, quantity, average)]
        });
    }
}

fn lines(report: &CycleReport) -> String {
    report.steps.iter().map(|step| format!("{step}\n")).collect()
}

#[tokio::test(start_paused = true)]
async fn m1_m9_a_cycle_says_who_which_and_what() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    let mut runner = world.runner();

    runner.cycle(1, true).await;
    world.holds("BTC-USD", "4.9", dec!(100.02));
    runner.cycle(2, true).await;
    world.accounts.change(&mara(), |state| state.positions.clear());
    runner.cycle(3, true).await;

    insta::assert_snapshot!(world.logged.text(), @r"
         INFO cycle 1 for kraken / mara_ilves
         INFO buy signal: kraken / mara_ilves: BTC-USD: a test says so
         INFO kraken / mara_ilves: BTC-USD: buy for 490.19 USD (by largest-position), stop at 95: approved
         INFO cycle 2 for kraken / mara_ilves
         INFO kraken / mara_ilves: position opened: buy 4.9 BTC-USD at 100.02
         INFO cycle 3 for kraken / mara_ilves
         INFO kraken / mara_ilves: position closed: BTC-USD
         INFO buy signal: kraken / mara_ilves: BTC-USD: a test says so
         INFO kraken / mara_ilves: BTC-USD: buy for 490.19 USD (by largest-position), stop at 95: approved
        ");
}

#[tokio::test(start_paused = true)]
async fn an_order_bears_account_strategy_and_cycle() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));

    world.runner().cycle(7, true).await;

    assert_eq!(
        world.gate.text(),
        "kraken-ilves cycle 7 apex: buy 490.19 USD of BTC-USD (market)\n"
    );
}

#[tokio::test(start_paused = true)]
async fn m6_limits_and_wishes_are_read_anew_in_each_cycle() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    let mut runner = world.runner();

    runner.cycle(1, true).await;
    world
        .accounts
        .change(&mara(), |state| state.preferences.risk_level = RiskLevel::High);
    runner.cycle(2, true).await;
    world.accounts.change(&mara(), |state| {
        state.preferences.max_position_usd = Some(usd(dec!(102)))
    });
    runner.cycle(3, true).await;
    world.accounts.change(&mara(), |state| {
        state.permissions.limits.pairs = PairRule::Only([pair("ETH-USD")].into())
    });
    let report = runner.cycle(4, true).await;

    let sizes: Vec<OrderSize> = world.gate.requests().iter().map(|request| request.size).collect();
    let expected = [dec!(490.19), dec!(980.39), dec!(100)].map(|size| OrderSize::Usd(usd(size)));
    assert_eq!(sizes, expected);
    assert_eq!(lines(&report), "ETH-USD: hold: nothing to do\n");
}

#[tokio::test(start_paused = true)]
async fn e4_m8_no_wish_of_a_user_reaches_the_strategy() {
    let world = World::new();
    let settings = bursar_config::Strategy::default();
    let apex = TrendMomentum::new(TrendMomentumParameters::from_settings(&settings)).unwrap();
    let parameters = apex.parameters().clone();
    let wishes = |level, on, percent| bursar_config::Preferences {
        risk_level: level,
        trailing_stop: on,
        take_profit: on,
        trailing_stop_percent: percent,
        take_profit_percent: percent,
        auto_compound: on,
        ..bursar_config::Preferences::default()
    };
    world.accounts.change(&mara(), |state| {
        state.preferences = wishes(RiskLevel::High, true, Some(dec!(90)))
    });
    world.accounts.change(&tomas(), |state| {
        state.preferences = wishes(RiskLevel::Low, false, None)
    });

    let parts = Arc::new(world.parts());
    CycleRunner::new(mara(), Arc::clone(&parts)).cycle(1, true).await;
    let shown_to_mara = std::mem::take(&mut *world.strategy.seen.lock().unwrap());
    CycleRunner::new(tomas(), parts).cycle(1, true).await;
    let shown_to_tomas = std::mem::take(&mut *world.strategy.seen.lock().unwrap());

    assert_eq!(shown_to_mara.len(), 2);
    assert_eq!(shown_to_mara, shown_to_tomas);
    assert_eq!(apex.parameters(), &parameters);
}

#[tokio::test(start_paused = true)]
async fn f2_d10_the_risk_level_decides_the_size() {
    let mut table = String::new();
    for level in [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High] {
        let world = World::new();
        world.buys("BTC-USD", dec!(1));
        world
            .accounts
            .change(&mara(), |state| state.preferences.risk_level = level);
        table.push_str(&format!("{level}: {}", world.cycle().await));
    }

    insta::assert_snapshot!(table, @r"
        low: ETH-USD: hold: nothing to do
        BTC-USD: buy for 196.07 USD (by largest-position), stop at 95: approved
        medium: ETH-USD: hold: nothing to do
        BTC-USD: buy for 490.19 USD (by largest-position), stop at 95: approved
        high: ETH-USD: hold: nothing to do
        BTC-USD: buy for 980.39 USD (by largest-position), stop at 95: approved
        ");
}

#[tokio::test(start_paused = true)]
async fn f5_profits_size_orders_only_with_auto_compound() {
    let mut sizes = Vec::new();
    for auto_compound in [false, true] {
        let world = World::new();
        world.buys("BTC-USD", dec!(1));
        let mut runner = world.runner();
        runner.cycle(1, true).await;
        world.accounts.change(&mara(), |state| {
            state.equity = Some(usd(dec!(12_000)));
            state.preferences.auto_compound = auto_compound;
        });
        runner.cycle(2, true).await;
        sizes.push(world.gate.requests()[1].size);
    }

    let expected = [dec!(490.19), dec!(588.23)].map(|size| OrderSize::Usd(usd(size)));
    assert_eq!(sizes, expected);
}

#[tokio::test(start_paused = true)]
async fn one_pair_is_bought_per_cycle_the_strongest() {
    let world = World::new();
    world.buys("BTC-USD", dec!(0.3));
    world.buys("ETH-USD", dec!(0.8));

    world.cycle().await;

    assert_eq!(
        world.gate.text(),
        "kraken-ilves cycle 1 apex: buy 490.19 USD of ETH-USD (market)\n"
    );
}

#[tokio::test(start_paused = true)]
async fn what_keeps_a_pair_from_being_bought() {
    type Case = (&'static str, fn(&World));
    let cases: [Case; 11] = [
        ("not ready", |world| {
            world.accounts.change(&mara(), |state| {
                state.not_ready = Some("failed: no route".to_owned())
            });
        }),
        ("old price", |world| {
            *world.accounts.age.lock().unwrap() = SignedDuration::from_secs(31)
        }),
        ("old bars", |world| {
            *world.market.behind.lock().unwrap() = SignedDuration::from_mins(20)
        }),
        ("no bars", |world| *world.market.is_broken.lock().unwrap() = true),
        ("already bought", |world| {
            world.accounts.change(&mara(), |state| {
                state.working = vec![on_its_way("BTC-USD", Side::Buy)]
            });
        }),
        ("pair is halted", |world| {
            world.accounts.change(&mara(), |state| {
                state.instruments[0].status = InstrumentStatus::CancelOnly
            });
        }),
        ("pair is not allowed", |world| {
            world.accounts.change(&mara(), |state| {
                state.permissions.limits.pairs = PairRule::Only([].into())
            });
        }),
        ("as many positions as allowed", |world| {
            world.accounts.change(&mara(), |state| {
                state.permissions.limits.max_positions = 1;
                state.working = vec![on_its_way("ETH-USD", Side::Buy)];
            });
        }),
        ("equity unknown", |world| {
            world.accounts.change(&mara(), |state| state.equity = None)
        }),
        ("no money", |world| {
            world.accounts.change(&mara(), |state| state.balances.clear())
        }),
        ("nothing may be lost", |world| {
            world
                .accounts
                .change(&mara(), |state| state.loss_left = Some(Usd::ZERO));
        }),
    ];

    let mut table = String::new();
    for (case, arrange) in cases {
        let world = World::new();
        world.buys("BTC-USD", dec!(1));
        arrange(&world);
        let steps = world.cycle().await;
        assert!(world.gate.requests().is_empty(), "{case}: {steps}");
        table.push_str(&format!(
            "{case}\n{}",
            steps
                .lines()
                .map(|line| format!("  {line}\n"))
                .collect::<String>()
        ));
    }
    insta::assert_snapshot!(table, @r"
        not ready
          not ready: failed: no route
        old price
          BTC-USD: hold: it has no fresh price
          ETH-USD: hold: it has no fresh price
        old bars
          BTC-USD: hold: it has no recent bars
          ETH-USD: hold: it has no recent bars
        no bars
          failed: bars of BTC-USD: the venue could not be read: connection refused
          BTC-USD: hold: it has no recent bars
          failed: bars of ETH-USD: the venue could not be read: connection refused
          ETH-USD: hold: it has no recent bars
        already bought
          ETH-USD: hold: nothing to do
        pair is halted
          ETH-USD: hold: nothing to do
        pair is not allowed
        as many positions as allowed
          BTC-USD: not bought: 1 of 1 positions are taken
        equity unknown
          ETH-USD: hold: nothing to do
          BTC-USD: not bought: the account's equity is not known
        no money
          ETH-USD: hold: nothing to do
          BTC-USD: not bought: only 0.00 USD fits (funds), and orders below 10.00 USD are not placed
        nothing may be lost
          ETH-USD: hold: nothing to do
          BTC-USD: not bought: only 0.00 USD fits (daily-loss), and orders below 10.00 USD are not placed
        ");
}

#[tokio::test(start_paused = true)]
async fn who_may_trade_everything_trades_the_operators_list_in_dollars() {
    let world = World::new();
    world.buys("SOL-USD", dec!(1));
    world.buys("ETH-USD", dec!(0.5));
    world
        .accounts
        .change(&mara(), |state| state.permissions.limits.pairs = PairRule::All);

    world.cycle().await;

    assert_eq!(world.gate.requests()[0].pair, pair("ETH-USD"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_noted_with_its_rules() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    world.gate.deny_next("position-size");

    let steps = world.cycle().await;

    assert!(
        steps.contains(
            "denied by position-size (user): 51.00 USD, allowed 50.00 USD [permissions of mara_ilves]"
        ),
        "{steps}"
    );
}

#[tokio::test(start_paused = true)]
async fn m7_a_trailing_stop_sells_all_of_the_position() {
    let world = World::new();
    world.holds("BTC-USD", "4.9005", dec!(100));
    let mut runner = world.runner();

    for value in [dec!(104), dec!(110), dec!(106.8)] {
        world.accounts.quote("BTC-USD", value);
        runner.cycle(1, true).await;
    }
    assert!(world.gate.requests().is_empty());
    world.accounts.quote("BTC-USD", dec!(106.7));
    let steps = lines(&runner.cycle(4, true).await);

    assert!(
        steps.starts_with("BTC-USD: sell, trailing stop at 106.7, below the highest price of 110: approved")
    );
    let sold = world.gate.requests();
    assert_eq!(sold.len(), 1);
    assert!(sold[0].reduce_only);
    // On the exchange's grid, rounded down: never more than is held.
    assert_eq!(sold[0].to_string(), "sell 4.9 of BTC-USD (market)");
    let exit = world.gate.orders.lock().unwrap()[0].exit;
    assert_eq!(exit, Some(ProtectiveExit::StopLoss));
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_neither_the_stop_nor_the_highest_price() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    world.runner().cycle(1, true).await;
    world.holds("BTC-USD", "4.9", dec!(100));
    world.accounts.quote("BTC-USD", dec!(120));
    world.runner().cycle(1, true).await;

    world.accounts.quote("BTC-USD", dec!(116.5));
    assert!(!world.cycle().await.contains("sell"));
    world.accounts.quote("BTC-USD", dec!(116.4));
    assert!(world.cycle().await.contains("sell, trailing stop at 116.4"));

    world
        .accounts
        .change(&mara(), |state| state.preferences.trailing_stop = false);
    world.accounts.quote("BTC-USD", dec!(95));
    assert!(world.cycle().await.contains("sell, stop at 95"));
}

#[tokio::test(start_paused = true)]
async fn the_stop_is_written_down_before_the_order_is_handed_over() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    *world.gate.book.lock().unwrap() = Some(world.notebook.clone());

    world.cycle().await;

    let notes = &world.gate.notes_then.lock().unwrap()[0];
    let stop = Protection::new(pair("BTC-USD"), price(dec!(100)), Some(price(dec!(95))));
    assert_eq!(notes.protections, [(pair("BTC-USD"), stop)].into());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_bought_that_cannot_be_written_down_but_what_must_be_sold_is_sold() {
    let world = World::new();
    world.buys("ETH-USD", dec!(1));
    world.holds("BTC-USD", "4.9", dec!(100));
    world.cycle().await;
    *world.notebook.is_full.lock().unwrap() = true;
    world.accounts.quote("BTC-USD", dec!(80));
    let before = world.gate.requests().len();

    let steps = world.cycle().await;

    let after = &world.gate.requests()[before..];
    assert_eq!(after.len(), 1, "{steps}");
    assert_eq!(after[0].side, Side::Sell);
    assert!(
        steps.contains("failed: the store cannot be used: disk is full"),
        "{steps}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_position_that_somebody_bought_by_hand_gets_a_stop_too() {
    let world = World::new();
    world
        .accounts
        .change(&mara(), |state| state.preferences.trailing_stop = false);
    world.holds("SOL-USD", "4.9", dec!(100));
    world.cycle().await;

    world.accounts.quote("SOL-USD", dec!(91));

    assert!(world.cycle().await.contains("SOL-USD: sell, stop at 92"));
}

#[tokio::test(start_paused = true)]
async fn a_position_is_sold_by_its_stops_when_there_are_no_bars() {
    let world = World::new();
    world.holds("BTC-USD", "4.9", dec!(100));
    world.cycle().await;
    *world.market.is_broken.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.accounts.quote("BTC-USD", dec!(80));

    let steps = world.cycle().await;

    assert!(steps.contains("BTC-USD: sell, stop at 92: approved"), "{steps}");
}

#[tokio::test(start_paused = true)]
async fn an_exchange_whose_charts_hang_keeps_no_stop_from_working() {
    let world = World::new();
    let pairs: Vec<String> = ["A", "B", "C", "D", "E", "F", "G"]
        .map(|base| format!("{base}-USD"))
        .into();
    for pair in &pairs {
        world.accounts.quote(pair, dec!(100));
    }
    world.accounts.change(&mara(), |state| {
        state.positions = pairs.iter().map(|pair| position(pair, "1", dec!(100))).collect();
    });
    *world.market.hangs.lock().unwrap() = true;
    world.cycle().await;
    world.accounts.quote("G-USD", dec!(97));

    let steps = world.cycle().await;

    assert!(steps.starts_with("G-USD: sell, trailing stop at 97"), "{steps}");
    assert!(steps.ends_with("failed: given up after 50 s\n"), "{steps}");
}

#[tokio::test(start_paused = true)]
async fn a_position_without_a_price_is_said_aloud() {
    let world = World::new();
    world.holds("BTC-USD", "4.9", dec!(100));
    *world.accounts.age.lock().unwrap() = SignedDuration::from_secs(31);

    let steps = world.cycle().await;

    assert!(
        steps.contains("BTC-USD is held and has no fresh price"),
        "{steps}"
    );
    assert!(
        world
            .logged
            .text()
            .contains(" WARN kraken / mara_ilves: failed: BTC-USD is held")
    );
}

#[tokio::test(start_paused = true)]
async fn a_signal_to_sell_sells_once() {
    let world = World::new();
    world.holds("BTC-USD", "4.9", dec!(100));
    world.sells("BTC-USD");
    let mut runner = world.runner();

    let first = lines(&runner.cycle(1, true).await);
    world.accounts.change(&mara(), |state| {
        state.working = vec![on_its_way("BTC-USD", Side::Sell)]
    });
    let second = lines(&runner.cycle(2, true).await);

    assert!(
        first.contains("BTC-USD: sell, the trend has turned: approved"),
        "{first}"
    );
    assert!(second.contains("an order to sell it is on its way"), "{second}");
    assert_eq!(world.gate.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn m7_an_order_that_waits_for_its_price_stands_in_the_way_of_no_stop() {
    let world = World::new();
    world.holds("BTC-USD", "4.9", dec!(100));
    world.accounts.change(&mara(), |state| {
        let above_the_market = WorkingOrder {
            open: dec!(0.9),
            rests: true,
            is_ours: false,
            ..on_its_way("BTC-USD", Side::Sell)
        };
        state.working = vec![above_the_market]
    });
    let mut runner = world.runner();
    runner.cycle(1, true).await;
    assert!(world.gate.requests().is_empty() && world.gate.cancelled.lock().unwrap().is_empty());

    world.accounts.quote("BTC-USD", dec!(97));
    let told = lines(&runner.cycle(2, true).await);

    assert!(told.contains("BTC-USD: sell, trailing stop at 97"), "{told}");
    assert_eq!(world.gate.requests()[0].to_string(), "sell 4 of BTC-USD (market)");
    let cancelled = world.gate.cancelled.lock().unwrap().clone();
    assert!(
        cancelled.len() == 1 && cancelled[0].starts_with("it stands in the way of an exit: trailing stop"),
        "{cancelled:?}"
    );

    // The whole of it is promised: it is sold when the cancel is done.
    world
        .accounts
        .change(&mara(), |state| state.working[0].open = dec!(4.9));
    let told = lines(&runner.cycle(3, true).await);
    assert!(told.contains("held by orders that are being cancelled"), "{told}");
    assert_eq!(world.gate.requests().len(), 1);

    // What was begun is finished, although the price is above the stop again.
    world.accounts.change(&mara(), |state| state.working.clear());
    world.accounts.quote("BTC-USD", dec!(98.5));
    let told = lines(&runner.cycle(4, true).await);
    assert!(told.contains("BTC-USD: sell, trailing stop at 97"), "{told}");
    assert_eq!(world.gate.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn m7_a_new_position_begins_with_the_price_that_was_paid_for_it() {
    let world = World::new();
    world.holds("BTC-USD", "1", dec!(100));
    world.accounts.quote("BTC-USD", dec!(110));
    let mut runner = world.runner();
    runner.cycle(1, true).await;
    world.accounts.quote("BTC-USD", dec!(106.7));
    assert!(lines(&runner.cycle(2, true).await).contains("trailing stop at 106.7"));

    // Sold; somebody's own order waits further below, and is filled there.
    world.accounts.change(&mara(), |state| {
        state.positions.clear();
        let by_hand = WorkingOrder {
            rests: true,
            is_ours: false,
            ..on_its_way("BTC-USD", Side::Buy)
        };
        state.working = vec![by_hand];
    });
    runner.cycle(3, true).await;
    world.accounts.change(&mara(), |state| state.working.clear());
    world.holds("BTC-USD", "1", dec!(95));
    world.accounts.quote("BTC-USD", dec!(95));

    let told = lines(&runner.cycle(4, true).await);
    assert!(!told.contains("sell"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn m7_what_the_exchange_takes_no_order_for_is_not_asked_for_again_and_again() {
    let world = World::new();
    world.accounts.quote("BTC-USD", dec!(96));
    world.holds("BTC-USD", "0.05", dec!(100));

    let told = world.cycle().await;

    assert!(told.contains("BTC-USD"), "{told}");
    assert!(
        world.gate.requests().is_empty(),
        "4.80 USD are below the exchange's 5: {told}"
    );
}

#[tokio::test(start_paused = true)]
async fn d10_a_deposit_after_the_first_cycle_is_traded_with() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    let mut balances = Vec::new();
    world.accounts.change(&mara(), |state| {
        state.equity = Some(Usd::ZERO);
        state.paid_in = Some(Usd::ZERO);
        balances = std::mem::take(&mut state.balances);
    });
    assert!(world.cycle().await.contains("not bought"));
    world.accounts.change(&mara(), |state| {
        state.equity = Some(usd(dec!(10_000)));
        state.paid_in = Some(usd(dec!(10_000)));
        state.balances = balances;
    });

    world.cycle().await;

    assert_eq!(world.gate.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn d21_what_fell_while_the_bars_were_read_is_not_bought() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    world.accounts.quote_then("BTC-USD", dec!(94));

    let told = world.cycle().await;

    assert!(told.contains("it fell to 94, not above its stop at 95"), "{told}");
    assert!(world.gate.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_sold_is_not_bought_again_in_the_same_bar() {
    let world = World::new();
    world.holds("BTC-USD", "4.9", dec!(100));
    world.sells("BTC-USD");
    world.cycle().await;
    world.accounts.change(&mara(), |state| state.positions.clear());
    world.buys("BTC-USD", dec!(1));

    let same_bar = world.cycle().await;
    tokio::time::sleep(Duration::from_secs(121)).await;
    let next_bar = world.cycle().await;

    assert!(
        same_bar.contains("BTC-USD: hold: it was sold in this bar"),
        "{same_bar}"
    );
    assert!(next_bar.contains("BTC-USD: buy for 490.19 USD"), "{next_bar}");
}

#[tokio::test(start_paused = true)]
async fn a_sale_that_was_not_handed_over_is_tried_again() {
    let world = World::new();
    world.holds("BTC-USD", "4.9", dec!(100));
    world.sells("BTC-USD");
    world.gate.fail_next();

    let first = world.cycle().await;
    let second = world.cycle().await;

    assert!(
        first.contains("failed: the order could not be handed to the gate: disk is gone"),
        "{first}"
    );
    assert!(second.contains("BTC-USD: sell"), "{second}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_little_to_sell_is_left_alone() {
    let world = World::new();
    world.holds("BTC-USD", "0.009", dec!(100));
    world.sells("BTC-USD");

    let steps = world.cycle().await;

    assert!(
        steps.contains("BTC-USD: too little is left to be sold"),
        "{steps}"
    );
    assert!(world.gate.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn c14_who_is_switched_off_buys_nothing_and_stays_protected() {
    let world = World::new();
    world.buys("ETH-USD", dec!(1));
    world.holds("BTC-USD", "4.9", dec!(100));
    let mut runner = world.runner();
    runner.cycle(1, false).await;

    world.accounts.quote("BTC-USD", dec!(80));
    runner.cycle(2, false).await;

    assert_eq!(
        world.gate.text(),
        "kraken-ilves cycle 2 apex: sell 4.9 of BTC-USD (market)\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_was_not_needed_is_forgotten() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    world.gate.deny_next("daily-loss");
    world.cycle().await;
    world.strategy.signals.lock().unwrap().clear();
    let notes = async || world.parts().notebook.read(&mara().account).await.unwrap();
    assert_eq!(notes().await.protections.len(), 1);

    world.cycle().await;

    assert!(notes().await.protections.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_takes_too_long_is_given_up() {
    let world = World::new();
    world.accounts.hang(&mara());

    let steps = world.cycle().await;

    assert_eq!(steps, "failed: given up after 50 s\n");
}

#[tokio::test(start_paused = true)]
async fn the_bound_that_made_an_order_small_is_said() {
    let world = World::new();
    world.buys("BTC-USD", dec!(1));
    world.accounts.change(&mara(), |state| {
        state.permissions.limits.max_position = usd(dec!(51))
    });

    let report = world.runner().cycle(1, true).await;

    let bought = report.steps.iter().find_map(|step| match step {
        Step::Buy { size, .. } => Some(*size),
        _ => None,
    });
    let expected = Size {
        usd: usd(dec!(50)),
        bound: Bound::MaxPosition,
    };
    assert_eq!(bought, Some(expected));
}
