//! Every promise, asked of a store that was tampered with: each question finds what it is there for.

use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, LimitKind};
use bursar_execution::{
    CheckReport, Dispatch, Intent, Journal, NewLatch, Outcome, Promise, Reach, SelfCheck, Violation,
};
use bursar_model::{IntentState, Side};
use jiff::SignedDuration;
use rusqlite::Connection;
use strum::IntoEnumIterator;

use crate::support::trading::{buy, fill, limits, ready, sell};
use crate::support::{World, records};

/// A bought and half sold position, an order that works, one that is unknown and one that was never
/// sent: all as it should be.
async fn busy() -> (World, Vec<Intent>) {
    let world = ready().await;
    let bought = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    world
        .book(vec![
            fill("F1", "V1", Side::Buy, "0.5", "BTC-USD", "100", world.now()),
            fill("F2", "V1", Side::Buy, "1.5", "BTC-USD", "99", world.now()),
        ])
        .await;
    let sold = world.open(sell("1", "BTC-USD", "100"), "V2").await;
    world
        .filled("F3", "V2", Side::Sell, "0.25", "BTC-USD", "100")
        .await;
    let works = world.open(buy("3", "ETH-USD", "10"), "V3").await;
    let unknown = world.approved(buy("5", "DOT-USD", "1")).await;
    drop(world.dispatch(&unknown).await);
    let lost = Outcome::Lost {
        reason: "no answer".to_owned(),
    };
    world.store.conclude(unknown.id, lost, world.now()).await.unwrap();
    let unsent = world.approved(buy("7", "ETH-USD", "10")).await;
    (world, vec![bought, sold, works, unknown, unsent])
}

async fn check(world: &World, reach: Reach) -> CheckReport {
    world.store.check_self(reach, world.now()).await.unwrap()
}

fn promises(report: &CheckReport) -> Vec<Promise> {
    let mut promises: Vec<Promise> = report
        .violations
        .iter()
        .map(|violation| violation.promise)
        .collect();
    promises.dedup();
    promises
}

/// Changes the file as somebody with the password of the machine could, guards and all.
fn tamper(world: &World, sql: &str) {
    let raw = Connection::open(world.path()).unwrap();
    let triggers: Vec<String> = {
        let mut statement = raw
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    for trigger in triggers {
        raw.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    raw.execute_batch(sql).unwrap();
}

/// The tampered store must break exactly this promise, be halted for it once, and be found by the check
/// of changes too.
async fn bites(world: World, promise: Promise, sql: &str) {
    assert_eq!(check(&world, Reach::Everything).await.violations, []);
    tamper(&world, sql);

    let found = check(&world, Reach::Changes).await;

    assert!(promises(&found).contains(&promise), "{sql}: {found:?}");
    let all = check(&world, Reach::Everything).await;
    assert!(promises(&all).contains(&promise), "{sql}: {all:?}");
    assert_eq!(all.new, 0, "found before");
    let latches = world.store.latches().await.unwrap();
    assert_eq!(latches.len(), 1, "{latches:?}");
    assert_eq!(
        (latches[0].mode, latches[0].cause, latches[0].scope.to_string()),
        (LatchMode::Halt, LatchCause::SelfCheck, "global".to_owned())
    );
    assert!(
        records(&world.store)
            .await
            .iter()
            .any(|record| record.action == bursar_audit::Action::InvariantBroken)
    );
}

#[tokio::test]
async fn what_is_as_it_should_be_breaks_no_promise() {
    let (world, intents) = busy().await;

    let everything = check(&world, Reach::Everything).await;
    let changes = check(&world, Reach::Changes).await;

    assert_eq!(
        (everything.violations.clone(), everything.orders),
        (vec![], intents.len())
    );
    assert_eq!(changes.violations, []);
    assert!(everything.pairs == 1 && everything.limits >= 8, "{everything:?}");
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn switches_that_came_and_went_and_exits_under_them_break_no_promise() {
    let (world, _) = busy().await;
    let pause = NewLatch {
        scope: "global".parse().unwrap(),
        mode: LatchMode::Pause,
        cause: LatchCause::Manual,
        reason: "drill".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    world.store.trip(pause, &world.act()).await.unwrap();
    world.open(sell("0.1", "BTC-USD", "100"), "V9").await;

    assert_eq!(check(&world, Reach::Everything).await.violations, []);
}

#[tokio::test]
async fn i1_an_order_without_a_decision_to_send_it_is_found() {
    let (world, intents) = busy().await;
    let sql = format!(
        "DELETE FROM trail WHERE subject = '{}' AND seq = (SELECT min(seq) + 1 FROM trail WHERE subject = '{}')",
        intents[2].id, intents[2].id
    );
    bites(world, Promise::I1, &sql).await;
}

#[tokio::test]
async fn i2_a_second_order_under_one_of_our_ids_is_found() {
    let (world, intents) = busy().await;
    let sql = format!(
        "INSERT INTO external_order (account, venue_order_id, body, is_working, first_seen)
         VALUES ('kraken-ilves', 'V77', '{{\"client_order_id\":\"{}\"}}', 1, 0)",
        intents[2].client_order_id
    );
    bites(world, Promise::I2, &sql).await;
}

#[tokio::test]
async fn i3_a_limit_that_is_exceeded_is_found() {
    let (world, intents) = busy().await;
    let sql = format!(
        "UPDATE reservation SET amount = '100001' WHERE intent = '{}' AND kind = 'position-cost'",
        intents[2].id
    );
    bites(world, Promise::I3, &sql).await;
    let (world, intents) = busy().await;
    let sql = format!(
        "UPDATE reservation SET amount = '1.76' WHERE intent = '{}' AND kind = 'sale-quantity'",
        intents[1].id
    );
    bites(world, Promise::I3, &sql).await;
}

/// Of an order that works, one that is half filled and one that nobody can tell.
#[tokio::test]
async fn i3_room_that_an_order_no_longer_holds_is_found() {
    for (which, deed) in [
        (2, "DELETE FROM reservation WHERE intent = '{}'"),
        (
            3,
            "DELETE FROM reservation WHERE kind = 'positions' AND intent = '{}'",
        ),
        (
            3,
            "UPDATE reservation SET amount = '4.99' WHERE kind = 'position-cost' AND intent = '{}'",
        ),
        (
            3,
            "UPDATE reservation SET amount = '0.01', claimed = '0.01' WHERE kind = 'day-loss' AND intent = '{}'",
        ),
        (
            1,
            "UPDATE reservation SET amount = '0.7' WHERE kind = 'sale-quantity' AND intent = '{}'",
        ),
        (
            2,
            "UPDATE reservation SET account = 'kraken-other' WHERE intent = '{}'",
        ),
        (
            2,
            "UPDATE reservation SET pair = 'SOL-USD' WHERE kind = 'position-cost' AND intent = '{}'",
        ),
    ] {
        let (world, intents) = busy().await;
        let order = intents[which].id.to_string();
        bites(world, Promise::I3, &deed.replace("{}", &order)).await;
    }
}

#[tokio::test]
async fn i3_a_limit_that_was_lowered_since_is_no_violation() {
    let (world, _) = busy().await;
    world.limit(limits("1", "1", 1)).await;

    assert_eq!(check(&world, Reach::Everything).await.violations, []);
}

/// What was admitted last counts, not what has the latest time: the clock was ahead and was put right.
#[tokio::test]
async fn i3_a_limit_that_was_raised_after_the_clock_was_put_right_is_no_violation() {
    let (world, _) = busy().await;
    let before = world.now();
    world.clock.set(before + SignedDuration::from_mins(10));
    world.refresh("kraken-ilves").await;
    world.limit(limits("300", "100000", 10)).await;
    world.approved(buy("1", "ETH-USD", "10")).await;

    world.clock.set(before);
    world.refresh("kraken-ilves").await;
    world.limit(limits("100000", "100000", 10)).await;
    world.approved(buy("50", "ETH-USD", "10")).await;

    assert_eq!(check(&world, Reach::Everything).await.violations, []);
}

/// Each limit, as if it had been too small already when the last entry was admitted.
#[tokio::test]
async fn i3_every_kind_of_limit_is_measured() {
    for kind in LimitKind::iter() {
        let (world, _) = busy().await;
        let (path, value) = match kind {
            LimitKind::PositionCost => ("limits.max_position", "'1'"),
            // And as if none had been held before it.
            LimitKind::Positions => ("limits.max_positions", "1, '$.positions.open', 0"),
            LimitKind::DayLoss => ("limits.max_daily_loss", "'1'"),
            LimitKind::OpenOrders => ("policy.max_open_orders", "1"),
            LimitKind::Entries => ("policy.max_entries_per_day", "1"),
            LimitKind::AccountExposure => ("policy.max_account_exposure", "'1'"),
            LimitKind::UserExposure => ("policy.max_user_exposure", "'1'"),
            LimitKind::GlobalExposure => ("policy.max_global_exposure", "'1'"),
            LimitKind::AccountTurnover => ("policy.max_account_turnover", "'1'"),
            LimitKind::UserTurnover => ("policy.max_user_turnover", "'1'"),
            LimitKind::AccountLoss => ("policy.max_account_daily_loss", "'1'"),
            LimitKind::GlobalLoss => ("policy.max_global_daily_loss", "'1'"),
            LimitKind::OrdersPerMinute => ("policy.max_orders_per_minute", "1"),
            // Measured by what is held, not by a setting.
            LimitKind::SaleQuantity => continue,
        };
        if kind == LimitKind::GlobalLoss {
            tamper(&world, "UPDATE account SET mode = 'live'");
        }
        assert_eq!(check(&world, Reach::Everything).await.violations, [], "{kind}");
        tamper(
            &world,
            &format!("UPDATE intent SET snapshot = json_set(snapshot, '$.{path}', {value})"),
        );

        let found = check(&world, Reach::Changes).await;

        let of_kind = |violation: &&Violation| {
            violation.promise == Promise::I3 && violation.facts.starts_with(&format!("{kind}: "))
        };
        assert_eq!(
            found.violations.iter().filter(of_kind).count(),
            if kind == LimitKind::PositionCost { 3 } else { 1 },
            "{kind}: {found:?}"
        );
    }
}

/// The sale closed the dear lot while that was the only one, and closes the cheap one once it is known.
#[tokio::test]
async fn i3_an_execution_that_came_late_may_leave_a_dearer_position() {
    let world = ready().await;
    world.limit(limits("150", "100000", 10)).await;
    let start = world.now();
    world.open(buy("1", "BTC-USD", "50"), "V1").await;
    world.clock.set(start + SignedDuration::from_secs(1));
    world.open(buy("1", "BTC-USD", "100"), "V2").await;
    let known = fill("F2", "V2", Side::Buy, "1", "BTC-USD", "100", world.now());
    world.book(vec![known]).await;
    world.open(sell("1", "BTC-USD", "100"), "V3").await;
    let sold = fill("F3", "V3", Side::Sell, "1", "BTC-USD", "100", world.now());
    world.book(vec![sold]).await;
    world.open(buy("1", "BTC-USD", "99"), "V4").await;
    world.clock.set(start + SignedDuration::from_secs(2));

    let late = fill("F1", "V1", Side::Buy, "1", "BTC-USD", "50", start);
    world.book(vec![late]).await;

    let raw = Connection::open(world.path()).unwrap();
    let cost: String = raw
        .query_row("SELECT cost_usd FROM lot", [], |row| row.get(0))
        .unwrap();
    assert_eq!(cost, "100", "with the 99 of V4 beyond the limit");
    assert_eq!(check(&world, Reach::Everything).await.violations, []);
}

#[tokio::test]
async fn i4_an_order_that_was_sent_under_a_switch_is_found() {
    let (world, intents) = busy().await;
    let elsewhere = NewLatch {
        scope: "user:tomas_brandt".parse().unwrap(),
        mode: LatchMode::Pause,
        cause: LatchCause::Manual,
        reason: "asked".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    let latch = world.store.trip(elsewhere, &world.act()).await.unwrap();
    let sent = world.dispatch(&intents[4]).await;
    assert!(matches!(sent, Dispatch::Send(_)));
    assert_eq!(check(&world, Reach::Everything).await.violations, []);
    tamper(&world, "UPDATE latch SET scope = 'user:mara_ilves'");

    let found = check(&world, Reach::Changes).await;

    assert_eq!(promises(&found), [Promise::I4], "{found:?}");
    assert!(found.violations[0].facts.contains(&latch.id.to_string()));
}

async fn paused(world: &World) -> Latch {
    let pause = NewLatch {
        scope: "global".parse().unwrap(),
        mode: LatchMode::Pause,
        cause: LatchCause::Manual,
        reason: "after latch.cleared comes latch.tripped".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    world.store.trip(pause, &world.act()).await.unwrap()
}

#[tokio::test]
async fn i4_a_switch_that_no_record_turned_off_is_found() {
    for deed in [
        "UPDATE latch SET cleared_at = tripped_at, cleared_by = 'operator:ops_desk', clear_note = 'over'",
        "DELETE FROM latch",
    ] {
        let (world, _) = busy().await;
        paused(&world).await;
        bites(world, Promise::I4, deed).await;
    }
}

#[tokio::test]
async fn i4_a_switch_that_stops_less_than_its_record_says_is_found() {
    for deed in [
        "UPDATE latch SET scope = 'user:tomas_brandt'",
        "UPDATE latch SET mode = 'reduce-only'",
        "UPDATE latch SET clear_day = '2020-01-01'",
        "UPDATE latch SET clear_how = 'probes'",
    ] {
        let (world, _) = busy().await;
        let latch = paused(&world).await;
        assert_eq!(check(&world, Reach::Changes).await.violations, []);
        tamper(&world, deed);

        let found = check(&world, Reach::Changes).await;

        let subjects: Vec<&str> = (found.violations.iter().map(|found| found.subject.as_str())).collect();
        assert_eq!(subjects, [format!("switch {}", latch.id)], "{deed}");
        assert_eq!((promises(&found), found.new), (vec![Promise::I4], 1), "{deed}");
    }
}

/// Released, put right, and turned off by its row once more: that is new.
#[tokio::test]
async fn i4_a_switch_that_is_turned_off_again_halts_again() {
    let (world, _) = busy().await;
    paused(&world).await;
    let off = "UPDATE latch SET cleared_at = 1, cleared_by = 'nobody' WHERE mode = 'pause'";
    tamper(&world, off);
    assert_eq!(check(&world, Reach::Changes).await.new, 1);
    assert_eq!(check(&world, Reach::Changes).await.new, 0, "known");
    tamper(
        &world,
        "UPDATE latch SET cleared_at = NULL, cleared_by = NULL WHERE mode = 'pause'",
    );
    assert_eq!(check(&world, Reach::Changes).await.violations, []);

    tamper(&world, off);

    assert_eq!(check(&world, Reach::Changes).await.new, 1);
}

/// From before records were filed by switch, and of a switch that went as it should.
#[tokio::test]
async fn switches_from_before_their_records_were_filed_break_no_promise() {
    let (world, _) = busy().await;
    let first = paused(&world).await;
    release_fully(&world, first.id).await;
    paused(&world).await;
    tamper(
        &world,
        "DELETE FROM trail; UPDATE self_check SET first_intent = 1000, first_latch = 1000",
    );

    assert_eq!(check(&world, Reach::Everything).await.violations, []);
}

#[tokio::test]
async fn i7_a_fill_that_is_lost_or_counted_twice_is_found() {
    for sql in [
        "UPDATE intent SET filled = '0.5' WHERE venue_order_id = 'V2'",
        "DELETE FROM fill WHERE id = 'F1'",
        "UPDATE lot SET body = replace(body, '\"quantity\":\"1.5\"', '\"quantity\":\"2.5\"')",
        "UPDATE lot SET body = json_set(body, '$.cost_usd', '1')",
        "DELETE FROM lot",
        "UPDATE closed_lot SET body = json_set(body, '$.realised_usd', '1000')",
        "DELETE FROM closed_lot",
        "UPDATE entry SET amount = '77' WHERE fill = 'F2' AND line = 1",
    ] {
        let (world, _) = busy().await;
        bites(world, Promise::I7, sql).await;
    }
}

#[tokio::test]
async fn i8_a_terminal_word_that_is_not_true_is_found() {
    let (world, intents) = busy().await;
    world
        .clock
        .set(intents[4].valid_until + SignedDuration::from_secs(1));
    drop(world.dispatch(&intents[4]).await);
    assert_eq!(world.intent(&intents[4]).await.state, IntentState::Expired);
    let sql = format!(
        "UPDATE intent SET venue_order_id = 'V8' WHERE id = '{}'",
        intents[4].id
    );
    bites(world, Promise::I8, &sql).await;
}

#[tokio::test]
async fn i9_a_state_that_changed_behind_the_trails_back_is_found() {
    for state in ["absent", "approved", "open"] {
        let (world, intents) = busy().await;
        let sql = format!(
            "UPDATE intent SET state = '{state}' WHERE id = '{}'",
            intents[3].id
        );
        bites(world, Promise::I9, &sql).await;
    }
}

#[tokio::test]
async fn i9_columns_that_are_not_what_was_recorded_are_found() {
    for (which, deed) in [
        (
            3,
            "UPDATE intent SET acceptance_bound = acceptance_bound - 1 WHERE id = '{}'",
        ),
        (3, "UPDATE intent SET acceptance_bound = NULL WHERE id = '{}'"),
        (2, "UPDATE intent SET venue_order_id = 'V99' WHERE id = '{}'"),
        (2, "UPDATE intent SET venue_order_id = NULL WHERE id = '{}'"),
        (3, "UPDATE intent SET venue_order_id = 'V99' WHERE id = '{}'"),
        (2, "UPDATE intent SET user = 'tomas_brandt' WHERE id = '{}'"),
        (2, "UPDATE intent SET account = 'kraken-other' WHERE id = '{}'"),
        (1, "UPDATE intent SET reducing = 0 WHERE id = '{}'"),
    ] {
        let (world, intents) = busy().await;
        let order = intents[which].id.to_string();
        bites(world, Promise::I9, &deed.replace("{}", &order)).await;
    }
}

/// Also after hours, of which the check has looked at many others.
#[tokio::test]
async fn i9_an_order_that_is_not_over_is_compared_every_time() {
    let (world, intents) = busy().await;
    world.clock.set(world.now() + SignedDuration::from_hours(3));
    assert_eq!(check(&world, Reach::Changes).await.orders, intents.len());
    tamper(
        &world,
        "UPDATE intent SET acceptance_bound = acceptance_bound - 1 WHERE state = 'unknown'",
    );

    let found = check(&world, Reach::Changes).await;

    assert_eq!(
        (found.orders, promises(&found)),
        (0, vec![Promise::I9]),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_row_whose_terms_were_changed_is_found_and_never_sent() {
    let sql = |intents: &[Intent]| {
        format!(
            "UPDATE intent SET sizing = replace(sizing, '\"quantity\":\"7\"', '\"quantity\":\"6\"') WHERE id = '{}'",
            intents[4].id
        )
    };
    let (world, intents) = busy().await;
    bites(world, Promise::Terms, &sql(&intents)).await;

    let (world, intents) = busy().await;
    tamper(&world, &sql(&intents));
    let sent = world.dispatch(&intents[4]).await;
    assert!(
        matches!(&sent, Dispatch::Over(over) if over.state == IntentState::Incident),
        "{sent:?}"
    );
    let latches = world.store.latches().await.unwrap();
    assert_eq!(
        (latches[0].mode, latches[0].scope.to_string()),
        (LatchMode::Halt, "account:kraken-ilves".to_owned())
    );
}

#[tokio::test]
async fn a_violation_that_people_released_does_not_trip_again() {
    let (world, _) = busy().await;
    tamper(
        &world,
        "UPDATE intent SET filled = '0.5' WHERE venue_order_id = 'V2'",
    );
    check(&world, Reach::Changes).await;
    let latch = world.store.latches().await.unwrap()[0].clone();
    tamper(
        &world,
        "UPDATE intent SET filled = '0.25' WHERE venue_order_id = 'V2'",
    );
    release_fully(&world, latch.id).await;
    tamper(
        &world,
        "UPDATE intent SET filled = '0.5' WHERE venue_order_id = 'V2'",
    );

    let again = check(&world, Reach::Everything).await;

    assert!(!again.violations.is_empty() && again.new == 0, "{again:?}");
    assert_eq!(world.store.latches().await.unwrap(), []);
}

async fn release_fully(world: &World, latch: bursar_model::LatchId) {
    use bursar_execution::{Approvals, Effect, Measure, Proposed};
    let mut next = Some(latch);
    while let Some(latch) = next.take() {
        let measure = Measure::Release {
            latch,
            unreconciled: true,
        };
        let act = world.act().because("looked at it");
        match world.store.propose(measure, "", &act).await.unwrap() {
            Proposed::Done(_, Effect::Released(released)) => next = released.instead.map(|latch| latch.id),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn checking_twice_is_checking_once_and_the_rest_comes_in_turns() {
    let (world, intents) = busy().await;
    world.clock.set(world.now() + SignedDuration::from_hours(3));

    let first = check(&world, Reach::Changes).await;
    let second = check(&world, Reach::Changes).await;
    let third = check(&world, Reach::Changes).await;

    // All of them in turn, then none, then all again.
    let turns = [first.orders, second.orders, third.orders];
    assert_eq!(turns, [intents.len(), 0, intents.len()]);
}

#[tokio::test]
async fn i3_whoever_holds_more_positions_than_wished_may_add_to_one() {
    let world = ready().await;
    for (number, pair) in ["BTC-USD", "ETH-USD", "DOT-USD"].into_iter().enumerate() {
        let price = ["100", "10", "1"][number];
        world.open(buy("1", pair, price), &format!("V{number}")).await;
        let bought = fill(
            &format!("F{number}"),
            &format!("V{number}"),
            Side::Buy,
            "1",
            pair,
            price,
            world.now(),
        );
        world.book(vec![bought]).await;
    }
    world.limit(limits("100000", "100000", 2)).await;
    world.open(buy("2", "BTC-USD", "100"), "V9").await;

    assert_eq!(check(&world, Reach::Everything).await.violations, []);
}

/// Found, ended, and broken once more: that is new.
#[tokio::test]
async fn i3_a_limit_that_is_exceeded_again_halts_again() {
    let (world, intents) = busy().await;
    let reserve = |amount: &str| {
        format!(
            "UPDATE reservation SET amount = '{amount}' WHERE intent = '{}' AND kind = 'position-cost'",
            intents[2].id
        )
    };
    tamper(&world, &reserve("100001"));
    assert!(check(&world, Reach::Changes).await.new > 0);
    assert_eq!(check(&world, Reach::Changes).await.new, 0, "known");
    tamper(&world, &reserve("30"));
    assert_eq!(check(&world, Reach::Changes).await.violations, []);

    tamper(&world, &reserve("100001"));

    assert!(check(&world, Reach::Changes).await.new > 0);
}

/// Sums and searches go by columns; what a pair is booked from goes by what is in them.
#[tokio::test]
async fn i7_the_minute_check_sees_columns_copies_and_what_is_held_from_nothing() {
    for deed in [
        "UPDATE lot SET cost_usd = '0'",
        "UPDATE closed_lot SET closed_day = '2020-01-01'",
        "INSERT INTO closed_lot SELECT account, 'X', closed_by, user, pair, closed_day, closed_at, body FROM closed_lot",
        "INSERT INTO lot SELECT account, 'X', user, 'SOL-USD', opened_at, quantity, cost_usd,
             json_set(body, '$.id', 'X', '$.pair', 'SOL-USD') FROM lot LIMIT 1",
    ] {
        bites(busy().await.0, Promise::I7, deed).await;
    }
}
