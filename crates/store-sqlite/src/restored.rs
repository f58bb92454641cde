//! A store that was put back from a backup: it does not know what was done after the copy was made.

use std::time::Duration;

use bursar_audit::{Action, Data};
use bursar_auth::{Act, Principal};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::machine::Step;
use bursar_execution::{JournalError, NewLatch, halting};
use bursar_model::{AccountMode, IntentState};
use jiff::{SignedDuration, Timestamp};

use crate::audit::{act_draft, actor};
use crate::conditions::forget_connections;
use crate::error::StoreError;
use crate::intents::Because;
use crate::latches::{self, By};
use crate::store::SqliteStore;
use crate::writer::Tx;
use crate::{approvals, directory, intents, nonces, reconciliations};

/// How far ahead of the clock request numbers may have been given out that the copy knows nothing of:
/// twice as far as the block of an adapter ends, which is bound to the clock however often it begins anew. What a clock
/// used that was ahead lies beyond: the adapter finds it out by what is refused, and leaps.
const NUMBERS_AHEAD: SignedDuration = SignedDuration::from_secs(60);

impl SqliteStore {
    /// Marks the store as put back from a copy, before anything else is done with it: a new epoch, a
    /// global switch that halts until two people have released it, who have compared every account with its
    /// exchange, request numbers beyond those that may have been used, orders in doubt that the copy says were on
    /// their way or about to be sent, no account that counts as connected or compared, and no proposal that waits
    /// for a second person: that one may have rejected it since, or it may be done. `why` ends without a full stop.
    ///
    /// # Errors
    ///
    /// The store could not be written; nothing may be started on it.
    pub async fn mark_restored(&self, why: &str, act: &Act) -> Result<Latch, JournalError> {
        let (why, act) = (why.to_owned(), act.clone());
        self.write(move |tx| mark(tx, &why, &act)).await
    }
}

fn mark(tx: &Tx<'_>, why: &str, act: &Act) -> Result<Latch, JournalError> {
    let epoch = new_epoch(tx, act)?;
    doubt_approved(tx, act)?;
    let latch = NewLatch {
        scope: Scope::Global,
        mode: LatchMode::Halt,
        cause: LatchCause::Restored,
        reason: format!("{why} (epoch {epoch}): compare every account with its exchange"),
        clear_rule: ClearRule::Manual,
    };
    latches::trip(tx, latch, &By::act(act))
}

fn new_epoch(tx: &Tx<'_>, act: &Act) -> Result<i64, StoreError> {
    let epoch: i64 = tx.query_row(
        "UPDATE store SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch",
        [],
        |row| row.get(0),
    )?;
    let moved = move_bounds(tx, act.at)?;
    let rejected = approvals::reject_undecided(tx, act)?;
    let data = Data::new()
        .integer("epoch", epoch)
        .integer("orders_in_doubt", moved)
        .integer("proposals_rejected", rejected);
    tx.record(act.at, act_draft(act, Action::StoreRestored).with(data))?;
    raise_numbers(tx, act.at)?;
    forget_connections(tx, act.at)?;
    reconciliations::forget(tx)?;
    // Whether one person may do both, the settings of the daemon say when it starts.
    if act.principal != Principal::Daemon {
        approvals::set_works_alone(tx, false, act)?;
    }
    Ok(epoch)
}

/// An order that was about to be sent may have been, and filled: it is looked for, and nothing is done with it
/// before that. Where the exchange bounds it, its account's adapter says when it connects.
fn doubt_approved(tx: &Tx<'_>, act: &Act) -> Result<(), JournalError> {
    for account in directory::accounts(tx, None)? {
        if account.mode() == AccountMode::Shadow {
            continue;
        }
        for mut stored in intents::unresolved(tx, account.id())? {
            if stored.intent.state == IntentState::Approved {
                let cause = "the store was put back: it may have been sent after the copy was made";
                let because = Because::new(actor(&act.principal), act.at, cause);
                intents::step(tx, &mut stored, Step::Doubt, because)?;
            }
        }
    }
    Ok(())
}

/// An order that was on its way when the copy was made may have been sent once more since, and the copy
/// knows the bound of an earlier attempt. Looks count from the bound that an attempt of this moment has.
fn move_bounds(tx: &Tx<'_>, now: Timestamp) -> Result<i64, StoreError> {
    let mut moved: i64 = 0;
    for account in directory::accounts(tx, None)? {
        for mut stored in intents::unresolved(tx, account.id())? {
            let intent = &mut stored.intent;
            let (Some(sent_at), Some(bound)) = (intent.dispatched_at, intent.acceptance_bound) else {
                continue;
            };
            let window = Duration::try_from(bound.duration_since(sent_at)).unwrap_or_default();
            intent.acceptance_bound = Some(bound.max(halting::latest_bound(now, window)));
            let state = intent.state;
            intents::save(tx, &stored, state)?;
            moved = moved.saturating_add(1);
        }
    }
    Ok(moved)
}

fn raise_numbers(tx: &Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
    let ahead = now.saturating_add(NUMBERS_AHEAD).unwrap_or(now);
    let floor = i64::try_from(ahead.as_nanosecond()).unwrap_or(i64::MAX);
    // Also for a key that the copy has never seen used.
    nonces::raise_all(tx, floor)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bursar_broker::{NonceFloor, VenueOrderStatus};
    use bursar_execution::{Admission, Conditions, ConnectionState, Journal, Reach, SelfCheck};
    use bursar_model::CredentialId;

    use super::*;
    use crate::test_support::trading::{buy, listed, ready};
    use crate::test_support::{Counting, actions};

    #[tokio::test]
    async fn i9_an_order_that_was_on_its_way_counts_as_sent_when_the_store_came_back() {
        let world = ready().await;
        let order = world.approved(buy("1", "BTC-USD", "100")).await;
        world.dispatch(&order).await;
        let known = world.intent(&order).await.acceptance_bound.unwrap();
        world.clock.set(world.now() + SignedDuration::from_secs(30));

        world
            .store
            .mark_restored("the store was put back", &world.act())
            .await
            .unwrap();

        // The attempt of five seconds, made again just before the store was put back, by a clock a minute ahead.
        let bound = world.intent(&order).await.acceptance_bound.unwrap();
        assert_eq!(bound, known + SignedDuration::from_secs(30 + 60));
        assert!(bound > world.now());
    }

    #[tokio::test]
    async fn i8_an_order_that_was_about_to_be_sent_is_looked_for_when_the_store_came_back() {
        let world = ready().await;
        let order = world.approved(buy("1", "BTC-USD", "100")).await;

        world
            .store
            .mark_restored("the store was put back", &world.act())
            .await
            .unwrap();

        let doubtful = world.intent(&order).await;
        assert_eq!(
            (doubtful.state, doubtful.acceptance_bound),
            (IntentState::Unknown, None)
        );
        let account = order.account.clone();
        let window = Duration::from_secs(5);
        let recovered = (world.store.recover(&account, Some(window), world.now()).await).unwrap();
        let bound = world.now() + SignedDuration::from_secs(5 + 60);
        assert_eq!(recovered[0].acceptance_bound, Some(bound));
        // It holds what it claims until it is found, or proved absent.
        let listed = listed(&recovered[0], "V1", "0", VenueOrderStatus::Live);
        world
            .store
            .observe(&account, vec![listed], world.now())
            .await
            .unwrap();
        assert_eq!(world.intent(&order).await.state, IntentState::Open);
        let report = world
            .store
            .check_self(Reach::Everything, world.now())
            .await
            .unwrap();
        assert_eq!(report.violations, []);
    }

    #[tokio::test]
    async fn i15_a_store_that_was_put_back_halts_everything_until_a_person_has_looked() {
        let world = ready().await;
        let entropy: Arc<Counting> = world.entropy.clone();
        let key = CredentialId::random(entropy.as_ref());
        world.store.reserve(key, 7, 17).await.unwrap();
        let before = world.approved(buy("1", "BTC-USD", "100")).await;

        let latch = world
            .store
            .mark_restored("the store was put back", &world.act())
            .await
            .unwrap();

        assert_eq!((latch.cause, latch.mode), (LatchCause::Restored, LatchMode::Halt));
        assert_eq!(world.intent(&before).await.state, IntentState::Unknown);
        assert!(matches!(
            world.admit(buy("2", "BTC-USD", "100")).await,
            Admission::Denied(_)
        ));
        let connections = world.store.connections().await.unwrap();
        assert!(
            connections
                .iter()
                .all(|(_, connection)| connection.state == ConnectionState::Stopped)
        );
        let next = world.store.reserve(key, 0, 1).await.unwrap().start;
        assert!(i128::from(next) > world.now().as_nanosecond());
        let unseen = CredentialId::random(entropy.as_ref());
        let first = world.store.reserve(unseen, 0, 1).await.unwrap().start;
        assert!(i128::from(first) > world.now().as_nanosecond());
        assert!(actions(&world.store).await.contains(&"store.restored".to_owned()));
        assert_eq!(world.store.latches().await.unwrap(), [latch]);
    }
}
