//! The day's loss: its switch, what it stops, and how it ends.

use bursar_auth::{Directory, UserChange};
use bursar_controls::{ClearRule, LatchCause, LatchMode};
use bursar_execution::{Approvals, Effect, Journal, JournalError, Measure, MoreLoss, Proposed, Reports};
use bursar_model::{IntentState, Usd, UserLimits};
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_tests::orders::{bid, buy, offer, sell};
use bursar_tests::{Plan, Stage};
use jiff::SignedDuration;
use rust_decimal::dec;

use crate::time::{MORNING, Time, stage_at};

const ACCOUNT: &str = "kraken-ilves";

/// Mara may lose 60 dollars a day, and has bought for 960.
async fn a_small_limit(start: &str) -> (Time, Stage) {
    let plan = Plan::default();
    let limits = UserLimits {
        max_daily_loss: Usd::new(dec!(60)),
        ..plan.limits
    };
    let (time, stage) = stage_at(start, Plan { limits, ..plan }).await;
    stage.connect(ACCOUNT).await;
    stage.connect("kraken-main").await;
    stage
        .order_until(ACCOUNT, buy("0.016"), IntentState::Filled)
        .await;
    (time, stage)
}

/// The price falls by a sixth, and prices do not arrive here any more: only a fill can tell.
fn falls_unseen(stage: &Stage) {
    stage.fault(FaultRule {
        endpoint: Some("Ticker".to_owned()),
        ..FaultRule::always(FaultKind::ServerError)
    });
    stage.price_unseen("50000");
}

async fn until_tripped(stage: &Stage) -> bursar_controls::Latch {
    stage
        .until("the switch to trip", async || {
            stage.latches().await.into_iter().next()
        })
        .await
}

#[tokio::test]
async fn g8_d15_d25_the_fill_that_reaches_the_limit_trips_the_switch_and_only_exits_remain() {
    let (_time, stage) = a_small_limit(MORNING).await;
    let entry = stage
        .order_until(ACCOUNT, bid("0.0001", "45000"), IntentState::Open)
        .await;
    let exit = stage
        .order_until(ACCOUNT, offer("0.004", "70000"), IntentState::Open)
        .await;

    falls_unseen(&stage);
    // Until no price is fresh: then a way out goes without a bound, and is filled at whatever there is.
    stage
        .until_after(stage.now() + jiff::SignedDuration::from_secs(31))
        .await;
    stage.order(ACCOUNT, sell("0.008")).await;
    let latch = until_tripped(&stage).await;

    assert_eq!(latch.scope.to_string(), "user:mara_ilves");
    assert_eq!(
        (latch.mode, latch.cause),
        (LatchMode::ReduceOnly, LatchCause::DailyLoss)
    );
    assert_eq!(
        latch.clear_rule,
        ClearRule::DayBoundary {
            day: "2026-11-20".into()
        }
    );
    // In the transaction of the fill: the same moment, and nothing between the two in the trail.
    let fill = &stage.fills(ACCOUNT).await[0];
    assert_eq!(latch.tripped_at, fill.booked_at);
    let actions = stage.actions().await;
    let tripped = actions
        .iter()
        .position(|action| action == "latch.tripped")
        .unwrap();
    let booked = actions[..tripped]
        .iter()
        .rposition(|action| action == "fill.booked")
        .unwrap();
    assert!(
        actions[booked..tripped]
            .iter()
            .all(|action| action.starts_with("intent.") || action == "fill.booked")
    );

    // Entries stop, and those that work are taken back. Exits go on, and those that work stay.
    let refused = stage.refused(ACCOUNT, bid("0.0001", "50000")).await;
    assert!(
        refused.contains(&"switch-user".to_owned()) && refused.contains(&"daily-loss".to_owned()),
        "{refused:?}"
    );
    stage.until_state(entry.id, IntentState::Cancelled).await;
    stage
        .order_until(ACCOUNT, sell("0.004"), IntentState::Filled)
        .await;
    assert_eq!(stage.intent(exit.id).await.state, IntentState::Open);
    stage.clear_faults();
    stage.see_prices().await;
    // The other user's day is another one.
    stage
        .order_until("kraken-main", buy("0.001"), IntentState::Filled)
        .await;
    let user = "mara_ilves".parse().unwrap();
    let day = stage.store().user_day(&user, stage.now()).await.unwrap();
    assert!(
        day.loss >= day.limit && day.limit == Usd::new(dec!(60)),
        "{day:?}"
    );
    stage.close().await;
}

#[tokio::test]
async fn d6_switching_a_user_off_and_on_clears_no_switch() {
    let (_time, stage) = a_small_limit(MORNING).await;
    stage.price("56000").await;
    let latch = until_tripped(&stage).await;
    let user = "mara_ilves".parse().unwrap();

    for enabled in [false, true] {
        stage
            .store()
            .update_user(&user, UserChange::Enabled(enabled), &stage.act())
            .await
            .unwrap();
    }

    assert_eq!(stage.latches().await, vec![latch.clone()]);
    assert!(
        stage
            .refused(ACCOUNT, bid("0.0001", "50000"))
            .await
            .contains(&"switch-user".to_owned())
    );
    // Nor does a person clear it as if it were a switch of their own, nor a higher limit by itself.
    let released = stage
        .store()
        .release(latch.id, &stage.act().because("again"))
        .await;
    assert!(matches!(released, Err(JournalError::EndsWithDay { .. })));
    stage.close().await;
}

#[tokio::test]
async fn i13_a_restart_neither_clears_the_switch_nor_improves_the_day() {
    let (_time, mut stage) = a_small_limit(MORNING).await;
    stage.price("56000").await;
    let latch = until_tripped(&stage).await;
    let user = "mara_ilves".parse().unwrap();
    let before = stage.store().user_day(&user, stage.now()).await.unwrap();

    stage.restart().await;
    stage.connect(ACCOUNT).await;

    assert_eq!(stage.latches().await, [latch]);
    assert_eq!(stage.store().user_day(&user, stage.now()).await.unwrap(), before);
    assert!(
        stage
            .refused(ACCOUNT, bid("0.0001", "50000"))
            .await
            .contains(&"switch-user".to_owned())
    );
    stage
        .order_until(ACCOUNT, sell("0.004"), IntentState::Filled)
        .await;
    stage.close().await;
}

#[tokio::test]
async fn d4_more_loss_is_allowed_in_so_many_words_and_the_figure_stays() {
    let (_time, stage) = a_small_limit(MORNING).await;
    stage.price("56000").await;
    until_tripped(&stage).await;
    let user = "mara_ilves".parse().unwrap();
    let before = stage.store().user_day(&user, stage.now()).await.unwrap();

    let measure = Measure::AllowLoss(MoreLoss {
        user,
        day: before.day.key,
        limit: before.limit,
        before: before.extra_allowance,
        extra: Usd::new(dec!(100)),
    });
    let act = stage.act().because("the desk agreed");
    let proposed = stage.store().propose(measure, "", &act).await.unwrap();
    let Proposed::Done(_, Effect::LossAllowed { day: after, .. }) = proposed else {
        panic!("{proposed:?}");
    };

    assert_eq!(after.loss, before.loss);
    assert_eq!(after.extra_allowance, Usd::new(dec!(100)));
    assert_eq!(stage.latches().await, []);
    stage
        .order_until(ACCOUNT, bid("0.001", "50000"), IntentState::Open)
        .await;
    stage.close().await;
}

#[tokio::test]
async fn d4_the_switch_ends_with_its_day() {
    let (_time, stage) = a_small_limit("2026-11-20T23:59:00Z").await;
    stage.price("56000").await;
    until_tripped(&stage).await;

    let midnight: jiff::Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    // The exchange is asked for its time every ten seconds.
    let soon_after = midnight + SignedDuration::from_secs(12);
    stage.until_after(soon_after).await;
    stage.see_prices().await;
    stage.store().roll_day(stage.now()).await.unwrap();

    assert_eq!(stage.latches().await, []);
    stage
        .order_until(ACCOUNT, bid("0.001", "50000"), IntentState::Open)
        .await;
    let history = stage.store().latch_history(10).await.unwrap();
    assert!(history[0].cleared.as_ref().unwrap().at >= midnight);
    stage.close().await;
}

/// 64 dollars on what is held, and a fee of 3.84: nobody has to sell for that to count.
#[tokio::test]
async fn g8_d25_a_price_that_falls_trips_the_switch_with_the_price() {
    let (_time, stage) = a_small_limit(MORNING).await;
    stage.price("57000").await;
    assert_eq!(stage.latches().await, []);

    stage.price("56000").await;

    let latches = stage.latches().await;
    assert_eq!(latches.len(), 1);
    assert_eq!(latches[0].cause, LatchCause::DailyLoss);
    let again = stage.store().check_losses(stage.now()).await.unwrap();
    assert_eq!(again, [], "what goes on is not a new event");
    stage
        .order_until(ACCOUNT, sell("0.016"), IntentState::Filled)
        .await;
    stage.close().await;
}
