//! What people change beside the daemon, and every switch that is turned on, said in its log. Every process writes to
//! one audit trail, so that this is read there, whoever it was and with whatever program.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bursar_audit::{Action, ActorKind, Log, LogError, Record, Value};
use bursar_auth::Directory;
use bursar_controls::{LatchMode, Scope};
use bursar_execution::Conditions;
use bursar_model::{Loosening, UserId};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// Changes that come close to each other are one look.
const PAUSE: Duration = Duration::from_millis(50);
/// After the trail could not be read.
const AGAIN: Duration = Duration::from_secs(1);
/// How many records are read at once.
const AT_ONCE: u32 = 500;

/// Follows the trail from where it is.
pub struct Changes {
    store: Arc<SqliteStore>,
    told: u64,
    /// What each user was allowed when it was looked last.
    permissions: BTreeMap<UserId, UserPermissions>,
}

impl Changes {
    pub const fn new(store: Arc<SqliteStore>) -> Self {
        Self {
            store,
            told: 0,
            permissions: BTreeMap::new(),
        }
    }

    /// Until `stop`. What cannot be read is read at the next change.
    pub async fn run(&mut self, stop: &CancellationToken) {
        // From where it is told, and never from the beginning: everything that was ever changed is not news.
        while let Err(error) = self.begin().await {
            debug!(%error, "what people changed cannot be read now");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
        let mut count = 0;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                now = self.store.changed(count) => count = now,
            }
            if let Err(error) = self.look().await {
                debug!(error, "what people changed cannot be read now");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Nothing before this is told.
    pub async fn begin(&mut self) -> Result<(), LogError> {
        self.told = self.store.head().await?.seq;
        for user in self.store.users().await.unwrap_or_default() {
            if let Ok(permissions) = self.store.permissions(&user.id).await {
                self.permissions.insert(user.id, permissions);
            }
        }
        Ok(())
    }

    /// Tells what was recorded since the last look, and returns it.
    pub async fn look(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            let next = self.told.saturating_add(1);
            let read = self.store.records(next, AT_ONCE).await;
            let read = read.map_err(|error| error.to_string())?;
            let is_all = u32::try_from(read.len()).is_ok_and(|count| count < AT_ONCE);
            for stored in &read {
                let record = Record::open(stored).map_err(|error| error.to_string())?;
                self.told = record.seq;
                if record.action == Action::LatchTripped {
                    lines.push(tell_switch(&record));
                } else if is_a_change(&record) {
                    lines.push(self.tell(&record).await);
                }
            }
            if is_all {
                return Ok(lines);
            }
        }
    }

    async fn tell(&mut self, record: &Record) -> String {
        let subject = &record.subject;
        let (account, user, latch) = (
            subject.account.as_ref().map(tracing::field::display),
            subject.user.as_ref().map(tracing::field::display),
            subject.latch.as_ref().map(tracing::field::display),
        );
        let reason = record.reason.as_deref();
        let (action, actor) = (record.action, &record.actor);
        let (looser, tighter) = match &subject.user {
            Some(user) if action == Action::PermissionsSet => self.limits_changed(user).await,
            _ => (None, None),
        };
        if looser.is_some() {
            warn!(account, user, latch, reason, looser, tighter, "{actor}: {action}");
        } else {
            info!(account, user, latch, reason, tighter, "{actor}: {action}");
        }
        let told = [("looser", looser), ("tighter", tighter)];
        let told = told
            .iter()
            .filter_map(|(how, what)| what.as_ref().map(|what| format!("; {how}: {what}")));
        format!("{actor}: {action}{}", told.collect::<String>())
    }

    /// What the user may do more, and what less, than when it was looked last.
    async fn limits_changed(&mut self, user: &UserId) -> (Option<String>, Option<String>) {
        let Ok(now) = self.store.permissions(user).await else {
            return (None, None);
        };
        let Some(before) = self.permissions.insert(user.clone(), now.clone()) else {
            return (None, None);
        };
        let list = |told: Vec<String>| (!told.is_empty()).then(|| told.join(", "));
        let looser = now.looser_than(&before);
        let tighter = before.looser_than(&now).into_iter();
        let tighter = tighter.map(|way_back| Loosening {
            before: way_back.after,
            after: way_back.before,
            ..way_back
        });
        (
            list(looser.iter().map(Loosening::to_string).collect()),
            list(tighter.map(|tighter| tighter.to_string()).collect()),
        )
    }
}

/// A switch that is turned on is never a line among others, whoever it was: the gateway itself as a rule.
fn tell_switch(record: &Record) -> String {
    let subject = &record.subject;
    let (account, user, latch) = (
        subject.account.as_ref().map(tracing::field::display),
        subject.user.as_ref().map(tracing::field::display),
        subject.latch.as_ref().map(tracing::field::display),
    );
    let text = |name: &str| match record.data.get(name) {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    };
    let (scope, mode, cause) = (text("scope"), text("mode"), text("cause"));
    let (actor, reason) = (&record.actor, record.reason.as_deref().unwrap_or_default());
    let is_strict = mode
        .parse::<LatchMode>()
        .is_ok_and(|mode| mode >= LatchMode::Halt);
    let what = if is_strict && scope == Scope::Global.to_string() {
        let what = "all trading is halted: switch tripped";
        error!(latch, %actor, scope, mode, cause, reason, "{what}");
        what
    } else {
        let what = "switch tripped";
        warn!(account, user, latch, %actor, scope, mode, cause, reason, "{what}");
        what
    };
    format!("{actor}: {what}: {scope} {mode} ({cause}): {reason}")
}

/// What a person did other than trade and read: orders have lines of their own.
fn is_a_change(record: &Record) -> bool {
    let by_a_person = matches!(
        record.actor.kind(),
        ActorKind::Operator | ActorKind::User | ActorKind::ApiKey
    );
    let is_other = ["intent.", "cancel.", "fill.", "audit."]
        .iter()
        .any(|kind| record.action.name().starts_with(kind));
    by_a_person && !is_other
}

#[cfg(test)]
mod tests {
    use bursar_audit::{Actor, Draft};
    use bursar_auth::{AccountType, Act, NewUser, Principal, UserChange};
    use bursar_controls::{ClearRule, LatchCause};
    use bursar_execution::{Journal, NewLatch};
    use bursar_model::{PairRule, Tier, UserLimits};
    use bursar_store_sqlite::Environment;
    use bursar_testkit::{SeededEntropy, TestClock};

    use super::*;

    #[tokio::test]
    async fn what_people_change_is_told_and_what_is_looser_before_and_after() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at("2026-11-20T12:00:00Z".parse().unwrap()));
        let act = Act::new(
            Principal::operator("ops_desk").unwrap(),
            "2026-11-20T12:00:00Z".parse().unwrap(),
        );
        let environment = Environment::new(clock, Arc::new(SeededEntropy::new(5)), "test");
        let store =
            Arc::new(SqliteStore::create(folder.path().join("bursar.db"), environment, &act).unwrap());
        let new = NewUser {
            id: "mara_ilves".parse().unwrap(),
            email: "mara@example.com".parse().unwrap(),
            name: None,
            tier: Tier::Pro,
            account_type: AccountType::Retail,
        };
        let user = store.add_user(new, &act).await.unwrap();
        let limits = |position: &str, loss: &str| {
            UserPermissions::new(UserLimits {
                max_position: position.parse().unwrap(),
                max_daily_loss: loss.parse().unwrap(),
                max_positions: 3,
                pairs: PairRule::Only(["BTC-USD".parse().unwrap()].into()),
            })
        };
        store
            .set_permissions(&user.id, &limits("50", "20"), &act)
            .await
            .unwrap();
        let mut changes = Changes::new(store.clone());
        changes.begin().await.unwrap();
        assert_eq!(changes.look().await.unwrap(), Vec::<String>::new());

        store
            .set_permissions(&user.id, &limits("200", "10"), &act)
            .await
            .unwrap();
        store
            .update_user(&user.id, UserChange::Enabled(true), &act)
            .await
            .unwrap();
        // What the daemon does itself, and what is only read, is said elsewhere or nowhere.
        let own = Actor::new(ActorKind::Daemon, None);
        store
            .record(Draft::new(own, Action::DaemonStarted), act.at)
            .await
            .unwrap();
        let reading = Actor::new(ActorKind::Operator, Some("ops_desk"));
        store
            .record(Draft::new(reading, Action::AuditRead), act.at)
            .await
            .unwrap();

        assert_eq!(
            changes.look().await.unwrap(),
            [
                "operator:ops_desk: permissions.set; looser: max position 200.00 USD instead of 50.00 USD; tighter: \
                 max daily loss 10.00 USD instead of 20.00 USD",
                "operator:ops_desk: user.enabled",
            ]
        );
        assert_eq!(changes.look().await.unwrap(), Vec::<String>::new());

        // A switch is, whoever turned it on.
        let new = |scope, mode| NewLatch {
            scope,
            mode,
            cause: LatchCause::AutoDisable,
            reason: "2 of 2 refused keys".to_owned(),
            clear_rule: ClearRule::Manual,
        };
        let by_itself = Act::new(Principal::Daemon, act.at);
        let of_user = new(Scope::User(user.id.clone()), LatchMode::ReduceOnly);
        store.trip(of_user, &by_itself).await.unwrap();
        let everything = new(Scope::Global, LatchMode::Halt);
        let person = act.clone().because("prices look wrong");
        store.trip(everything, &person).await.unwrap();
        assert_eq!(
            changes.look().await.unwrap(),
            [
                "daemon: switch tripped: user:mara_ilves reduce-only (auto-disable): 2 of 2 refused keys",
                "operator:ops_desk: all trading is halted: switch tripped: global halt (auto-disable): prices look wrong",
            ]
        );
    }
}
