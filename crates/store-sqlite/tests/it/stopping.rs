//! Stops under load and in trouble: nothing is dispatched after a switch is on, whatever the moment; and
//! what the store cannot take holds all the same.

use std::time::{Duration, Instant};

use bursar_auth::Principal;
use bursar_controls::LatchMode;
use bursar_execution::emergency::EmergencyStop;
use bursar_execution::halting::{HaltLook, Halting, Listing};
use bursar_execution::{Admission, Dispatch, Intent, Journal, Outcome};
use bursar_model::IntentState;
use bursar_store_sqlite::{EmergencyFile, SqliteStore};

use crate::support::trading::{account, attempt, buy, ready};
use crate::support::{World, actions, environment, records};

/// A small source of random choices, so that a failure names its seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn stop(world: &World, scope: &str, mode: LatchMode) -> EmergencyStop {
    EmergencyStop::new(
        scope.parse().unwrap(),
        mode,
        "drill",
        Principal::operator("ops_desk").unwrap(),
        world.now(),
        world.entropy.as_ref(),
    )
}

async fn queue(world: &World, count: usize) -> Vec<Intent> {
    let mut admitting = Vec::new();
    for number in 0..count {
        let quantity = format!("1.{number:06}");
        let (store, proposal, now) = (
            world.store.clone(),
            world.proposal(buy(&quantity, "DOT-USD", "1")),
            world.now(),
        );
        admitting.push(tokio::spawn(
            async move { store.admit(proposal, now).await.unwrap() },
        ));
    }
    let mut intents = Vec::new();
    for admission in admitting {
        match admission.await.unwrap() {
            Admission::Approved(intent) => intents.push(intent),
            other => panic!("not approved: {}", other.intent().cause),
        }
    }
    intents
}

/// The trail is the order in which things were committed: between a trip and its release nothing that
/// the switch covers may have been dispatched.
async fn dispatched_while_stopped(store: &SqliteStore) -> Vec<u64> {
    let mut on = 0_i32;
    let mut wrong = Vec::new();
    for record in records(store).await {
        match record.action.name() {
            "latch.tripped" => on += 1,
            "latch.cleared" => on -= 1,
            "intent.dispatched" if on > 0 => wrong.push(record.seq),
            _ => {}
        }
    }
    wrong
}

fn trips() -> u64 {
    std::env::var("BURSAR_DRILL_TRIPS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000)
}

/// Drill 10.10: trips at random moments while two processes dispatch.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_drill_of_a_thousand_trips_at_random_moments_under_load() {
    // A store of its own for every hundred: what is counted per day would grow otherwise.
    let (mut sent, mut stopped) = (0, 0);
    for part in 0..trips().div_ceil(100) {
        let hundred = hundred_trips(0x5eed_0000_0004 + part).await;
        (sent, stopped) = (sent + hundred.0, stopped + hundred.1);
    }
    // The drill bites only if trips came in the middle.
    assert!(sent > 0 && stopped > 0, "sent {sent}, stopped {stopped}");
}

/// How many orders went out, and how many were stopped before.
async fn hundred_trips(seed: u64) -> (u64, u64) {
    let world = ready().await;
    let other = world.another_process();
    let mut draw = Draw(seed);
    let mut sent = 0_u64;
    let mut stopped = 0_u64;
    let trips = trips().min(100);
    for trip in 0..trips {
        let scope = [
            "global",
            "broker:kraken",
            "user:mara_ilves",
            "account:kraken-ilves",
        ][usize::try_from(draw.below(4)).unwrap()];
        let mode = [
            LatchMode::Pause,
            LatchMode::ReduceOnly,
            LatchMode::Halt,
            LatchMode::Flatten,
        ][usize::try_from(draw.below(4)).unwrap()];
        let intents = queue(&world, 3).await;
        let mut dispatching = Vec::new();
        for (number, intent) in intents.iter().enumerate() {
            let store = [world.store.clone(), other.clone()][number % 2].clone();
            let (id, attempt, now, pause) = (intent.id, attempt(&world), world.now(), draw.below(40));
            dispatching.push(tokio::spawn(async move {
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
                store.dispatch(id, attempt, now).await.unwrap()
            }));
        }
        for _ in 0..draw.below(40) {
            tokio::task::yield_now().await;
        }
        let tripper = if draw.below(2) == 0 { &world.store } else { &other };
        let stop = stop(&world, scope, mode);
        let latch = tripper.trip_emergency(&stop).await.unwrap();
        tripper.carry_out(&stop.latch()).await;
        for (dispatch, intent) in dispatching.into_iter().zip(&intents) {
            match dispatch.await.unwrap() {
                Dispatch::Send(_) => {
                    sent += 1;
                    let refused = Outcome::Refused {
                        code: "EOrder:Post only order".into(),
                    };
                    world
                        .store
                        .conclude(intent.id, refused, world.now())
                        .await
                        .unwrap();
                }
                Dispatch::Over(over) => {
                    stopped += 1;
                    assert_eq!(over.state, IntentState::Withdrawn, "trip {trip}, seed {seed:#x}");
                }
            }
        }
        let act = world.act().because("drill");
        world.store.release(latch.id, &act).await.unwrap();
    }

    let wrong = dispatched_while_stopped(&world.store).await;
    assert_eq!(wrong, Vec::<u64>::new(), "seed {seed:#x}");
    (sent, stopped)
}

/// The row of the switch does not wait for the orders that it takes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_with_many_orders_queued_the_switch_is_on_before_the_first_is_taken_back() {
    let world = ready().await;
    let mut intents = queue(&world, 1).await;
    world.copy_order(intents[0].id, 600, None);
    intents = world.store.unresolved(&account()).await.unwrap();
    assert_eq!(intents.len(), 601);
    let other = world.another_process();

    let stop = stop(&world, "global", LatchMode::Halt);
    let latch = world.store.trip_emergency(&stop).await.unwrap();

    // Seen by everybody, and all of them still wait.
    assert_eq!(other.latches().await.unwrap(), vec![latch.clone()]);
    let over = world.dispatch(&intents[600]).await;
    assert!(matches!(over, Dispatch::Over(_)), "{over:?}");
    world.store.carry_out(&stop.latch()).await;
    for intent in &intents {
        assert_eq!(world.intent(intent).await.state, IntentState::Withdrawn);
    }
    // Once more changes nothing.
    assert_eq!(world.store.trip_emergency(&stop).await.unwrap().id, latch.id);
    world.store.carry_out(&stop.latch()).await;
    // The queue was made behind the trail's back.
    let tripped: Vec<String> = (records(&world.store).await.iter())
        .map(|record| record.action.to_string())
        .collect();
    assert_eq!(
        tripped.iter().filter(|action| *action == "latch.tripped").count(),
        1
    );
    assert_eq!(
        tripped
            .iter()
            .filter(|action| *action == "intent.withdrawn")
            .count(),
        601
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u4_a_stop_that_the_store_cannot_take_holds_from_memory_and_is_folded_later() {
    let world = ready().await;
    let waiting = world.approved(buy("1", "DOT-USD", "1")).await;
    let locked = rusqlite::Connection::open(world.path()).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let entropy = std::sync::Arc::new(crate::support::Counting::from(1 << 50));
    let quick = SqliteStore::open_quickly(
        world.path(),
        environment(&world.clock, &entropy),
        Duration::from_millis(200),
    )
    .unwrap();
    let file = EmergencyFile::at(world.folder().join("emergency.jsonl"));
    let stop = stop(&world, "user:mara_ilves", LatchMode::Halt);

    let began = Instant::now();
    let failed = quick.trip_emergency(&stop).await;
    assert!(failed.is_err(), "the lock is held by another");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    file.append(&stop).unwrap();
    // What a daemon does within a tenth of a second.
    world.store.stops().hold(stop.latch());
    assert!(world.store.stops().objection(&waiting).is_some());
    locked.execute_batch("ROLLBACK").unwrap();

    // The store works again and has no row yet: dispatch refuses all the same.
    assert_eq!(world.store.latches().await.unwrap(), vec![]);
    let over = world.dispatch(&waiting).await;
    assert!(matches!(over, Dispatch::Over(_)), "{over:?}");
    assert!(matches!(
        world.admit(buy("2", "DOT-USD", "1")).await,
        Admission::Denied(_)
    ));

    let found = file.read().unwrap().unwrap();
    assert_eq!(world.store.fold_emergency(&found.stops).await.unwrap().len(), 1);
    // A crash before the file is emptied: folded again, it is the same switch.
    assert_eq!(world.store.fold_emergency(&found.stops).await.unwrap().len(), 0);
    file.empty(&found).unwrap();
    assert_eq!(file.read().unwrap(), None);
    let latches = world.store.latches().await.unwrap();
    assert_eq!(latches.len(), 1);
    assert_eq!(
        (latches[0].id, latches[0].tripped_by.as_str()),
        (stop.id, "operator:ops_desk")
    );
    let folded = actions(&world.store).await;
    assert_eq!(
        folded
            .iter()
            .filter(|action| *action == "emergency.folded")
            .count(),
        1
    );
}

/// Who folds is given two seconds, and may be gone before anything was taken back.
#[tokio::test]
async fn u4_a_stop_that_was_folded_before_takes_its_orders_back_all_the_same() {
    let world = ready().await;
    let waiting = world.approved(buy("1", "DOT-USD", "1")).await;
    let stop = stop(&world, "global", LatchMode::Halt);
    let stops = std::slice::from_ref(&stop);
    world.store.fold_emergency(stops).await.unwrap();
    assert_eq!(world.intent(&waiting).await.state, IntentState::Approved);

    world.store.fold_emergency(stops).await.unwrap();
    world.store.carry_out(&stop.latch()).await;

    assert_eq!(world.intent(&waiting).await.state, IntentState::Withdrawn);
}

#[tokio::test]
async fn u4_a_stop_that_was_released_is_not_turned_on_again_by_the_file() {
    let world = ready().await;
    let stop = stop(&world, "global", LatchMode::Halt);
    world
        .store
        .fold_emergency(std::slice::from_ref(&stop))
        .await
        .unwrap();
    let act = world.act().because("checked");
    world.store.release(stop.id, &act).await.unwrap();

    let waiting = world.approved(buy("1", "DOT-USD", "1")).await;

    let again = world
        .store
        .fold_emergency(std::slice::from_ref(&stop))
        .await
        .unwrap();
    world.store.carry_out(&stop.latch()).await;

    assert_eq!(again, vec![]);
    assert_eq!(world.intent(&waiting).await.state, IntentState::Approved);
    assert_eq!(world.store.latches().await.unwrap(), vec![]);
}

fn look(world: &World, seconds: [i64; 2]) -> HaltLook {
    let at = |second| world.now() + jiff::SignedDuration::from_secs(second);
    HaltLook::Seen {
        listings: seconds
            .iter()
            .map(|second| Listing {
                venue_time: at(*second),
                started_at: at(*second),
                working: 0,
            })
            .collect(),
        visibility_lag: Duration::from_secs(30),
    }
}

#[tokio::test]
async fn i4_halted_is_recorded_once_and_judged_by_what_is_recorded_then() {
    let world = ready().await;
    let intent = world.approved(buy("1", "DOT-USD", "1")).await;
    assert!(matches!(world.dispatch(&intent).await, Dispatch::Send(_)));
    let lost = Outcome::Lost {
        reason: "no answer".into(),
    };
    world.store.conclude(intent.id, lost, world.now()).await.unwrap();
    let stop = stop(&world, "account:kraken-ilves", LatchMode::Halt);
    let latch = world.store.trip_emergency(&stop).await.unwrap();
    world.store.carry_out(&stop.latch()).await;
    let mara = account();
    let note = |seconds| {
        world
            .store
            .note_halt(latch.id, &mara, look(&world, seconds), world.now())
    };

    // Bound 5, lag 30, skew 2.
    let Halting::Halting(missing) = note([1, 36]).await.unwrap() else {
        panic!("halted while an order may still arrive")
    };
    assert_eq!(missing.uncertain, 1);
    assert_eq!(
        world.store.unproved_halts(&account()).await.unwrap(),
        vec![latch.clone()]
    );
    assert!(matches!(note([36, 37]).await.unwrap(), Halting::Halted(_)));
    assert!(matches!(note([37, 38]).await.unwrap(), Halting::Halted(_)));

    assert_eq!(world.store.unproved_halts(&account()).await.unwrap(), vec![]);
    let halts = world.store.halts().await.unwrap();
    assert_eq!(halts.len(), 1);
    assert_eq!(halts[0].verified_at, Some(world.now()));
    let recorded = actions(&world.store).await;
    assert_eq!(
        recorded
            .iter()
            .filter(|action| *action == "latch.verified")
            .count(),
        1
    );
    // Released, nobody asks any more.
    let act = world.act().because("checked");
    world.may_release().await;
    world.store.release(latch.id, &act).await.unwrap();
    assert_eq!(world.store.halts().await.unwrap(), vec![]);
}

#[tokio::test]
async fn what_could_not_be_read_is_kept_for_people() {
    let world = ready().await;
    let stop = stop(&world, "global", LatchMode::Halt);
    let latch = world.store.trip_emergency(&stop).await.unwrap();
    let failed = HaltLook::Failed {
        cause: "the venue could not be read: no route".into(),
    };

    let halting = world
        .store
        .note_halt(latch.id, &account(), failed, world.now())
        .await
        .unwrap();

    assert!(matches!(halting, Halting::Halting(_)));
    let halts = world.store.halts().await.unwrap();
    assert!(halts[0].cause.contains("no route"), "{halts:?}");
    assert_eq!(halts[0].verified_at, None);
}
