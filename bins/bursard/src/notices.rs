//! From what the store recorded to notices for people. Reads; decides nothing, and nothing waits for it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bursar::channels::{BrokenChannel, channels};
use bursar_auth::{Directory, DirectoryError};
use bursar_config::Settings;
use bursar_controls::{LatchCause, LatchMode, Scope};
use bursar_execution::{Conditions, Intent, Journal, OutboxEvent, Reports};
use bursar_model::{AccountId, Clock, Entropy, IntentId, IntentState, LatchId, OrderKind, Usd, UserId};
use bursar_notify::{
    AnyError, Channel, DaemonState, Deliveries, DeliveryError, Event, Happened, LossAmounts, Notice,
    Notifier, NotifierParts, OperatorWishes, People, Person, Receiver, Rules, Source, Trigger, Word,
};
use bursar_permissions::{Caller, ProtectiveExit};
use bursar_store_sqlite::SqliteStore;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Tells people what happened while the daemon runs; `None` when no channel is set up.
pub struct Notices {
    notifier: Notifier,
    clock: Arc<dyn Clock>,
}

impl Notices {
    /// With the channels of the settings. One that does not work is logged, and what is for it waits. Where
    /// none is set up, nobody will be told later what happens now.
    pub async fn of(
        settings: &Settings,
        directory: &Path,
        store: &Arc<SqliteStore>,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Option<Self> {
        if !settings.notify.is_on() {
            if let Err(error) = turn_off(store).await {
                warn!(%error, hint = error.hint(), "notices could not be turned off; the next start tries again");
            }
            return None;
        }
        let channels = channels(settings, directory)
            .into_iter()
            .map(|(kind, made)| match made {
                Ok(channel) => channel,
                Err(problem) => {
                    error!(channel = %kind, %problem, hint = problem.hint(), "a channel for notices does not work");
                    let broken: Arc<dyn Channel> = Arc::new(BrokenChannel::new(kind, settings, &problem));
                    broken
                }
            })
            .collect();
        let outbox = Arc::new(Outbox(Arc::clone(store)));
        let notifier = Notifier::new(NotifierParts {
            deliveries: store.clone(),
            source: outbox.clone(),
            people: outbox,
            channels,
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
            rules: Rules::from_settings(&settings.notify),
            operator: OperatorWishes {
                trades: settings.notify.operator_trades,
                amounts: settings.notify.operator_amounts,
            },
            suspicious_refusals: settings.notify.suspicious_refusals,
        });
        Some(Self {
            notifier,
            clock: Arc::clone(clock),
        })
    }

    /// Until `stop`. Ends with the daemon and never ends it.
    pub async fn run(&self, stop: &CancellationToken) {
        if let Err(problem) = self.notifier.tell(vec![self.daemon(DaemonState::Started)]).await {
            let problem: &dyn std::error::Error = &problem;
            warn!(error = problem, "nobody is told that the daemon started");
        }
        self.notifier.run(stop).await;
    }

    /// The last messages, over everything that was recorded.
    pub async fn end(&self) {
        if let Err(problem) = self.notifier.end(vec![self.daemon(DaemonState::Stopped)]).await {
            let problem: &dyn std::error::Error = &problem;
            warn!(error = problem, "the last notices wait for the next start");
        }
    }

    fn daemon(&self, state: DaemonState) -> (Receiver, Notice) {
        (
            Receiver::Operator,
            Notice::new(self.clock.now(), Happened::Daemon { state }),
        )
    }
}

async fn turn_off(store: &SqliteStore) -> Result<(), DeliveryError> {
    if store.load_notices().await?.position.is_some() {
        store.begin_notices_at(None).await?;
    }
    Ok(())
}

/// The events of the store, and its users.
struct Outbox(Arc<SqliteStore>);

#[async_trait]
impl People for Outbox {
    async fn person(&self, user: &UserId) -> Result<Option<Person>, AnyError> {
        match self.0.user(user).await {
            // Their row stays, their address does not.
            Ok(gone) if gone.deleted_at.is_some() => Ok(None),
            Ok(found) => Ok(Some(Person {
                email: found.email.to_string(),
                preferences: self.0.preferences(user).await?,
            })),
            Err(DirectoryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Source for Outbox {
    async fn newest(&self) -> Result<u64, AnyError> {
        Ok(self.0.newest_event().await?)
    }

    async fn after(&self, event: u64, limit: u32) -> Result<Vec<Event>, AnyError> {
        let mut events = Vec::new();
        for recorded in self.0.events(event, limit).await? {
            events.push(self.translated(recorded).await?);
        }
        Ok(events)
    }
}

/// The fields of an event's body that are read here.
#[derive(Deserialize)]
struct OfIntent {
    state: IntentState,
    filled: Decimal,
}

#[derive(Deserialize)]
struct OfLatch {
    scope: Scope,
    mode: LatchMode,
    cause: LatchCause,
}

#[derive(Deserialize)]
struct OfLoss {
    scope: Scope,
    day: Word,
    loss_usd: Usd,
    limit_usd: Usd,
}

#[derive(Deserialize)]
struct OfRefusals {
    refused: u32,
}

impl Outbox {
    async fn translated(&self, recorded: OutboxEvent) -> Result<Event, AnyError> {
        let mut event = Event {
            number: recorded.number,
            at: recorded.at,
            notices: Vec::new(),
            refused: None,
        };
        let add = |happened: Happened, to: Vec<Receiver>| {
            to.into_iter()
                .map(|receiver| (receiver, Notice::new(recorded.at, happened.clone())))
                .collect::<Vec<_>>()
        };
        match (
            recorded.kind.as_str(),
            recorded.account.clone(),
            recorded.intent,
            recorded.latch,
        ) {
            ("intent.denied", account, ..) => event.refused = account,
            ("intent.incident" | "search.ended", Some(account), Some(order), _) => {
                event.notices = add(
                    Happened::OrderUnclear { account, order },
                    vec![Receiver::Operator],
                );
            }
            (kind, Some(account), Some(order), _) if kind.starts_with("intent.") => {
                if let Some(body) = read::<OfIntent>(&recorded)
                    && body.state.is_terminal()
                    && !body.filled.is_zero()
                {
                    let intent = self.0.intent(order).await?;
                    let owner = Receiver::User(intent.user.clone());
                    event.notices = add(
                        traded(account, order, &intent, body.filled),
                        vec![owner, Receiver::Operator],
                    );
                }
            }
            ("latch.tripped" | "latch.cleared", _, _, Some(switch)) => {
                if let Some(body) = read::<OfLatch>(&recorded)
                    && let Some(happened) = switched(recorded.kind == "latch.tripped", switch, &body)
                {
                    event.notices = add(happened, self.concerned(&body.scope).await?);
                }
            }
            ("loss.warned", ..) => {
                if let Some(body) = read::<OfLoss>(&recorded)
                    && let Ok(scope) = body.scope.to_string().parse()
                {
                    let amounts = LossAmounts {
                        loss_usd: body.loss_usd,
                        limit_usd: body.limit_usd,
                    };
                    let happened = Happened::LossNear {
                        scope,
                        day: body.day,
                        amounts: Some(amounts),
                    };
                    event.notices = add(happened, self.concerned(&body.scope).await?);
                }
            }
            ("errors.alarmed", Some(account), ..) => {
                if let Some(body) = read::<OfRefusals>(&recorded) {
                    let happened = Happened::ManyRejected {
                        account,
                        count: body.refused,
                    };
                    event.notices = add(happened, vec![Receiver::Operator]);
                }
            }
            _ => {}
        }
        Ok(event)
    }

    /// The operator, and the user whose own it is. What stops a broker or everything is for the operator to
    /// explain.
    async fn concerned(&self, scope: &Scope) -> Result<Vec<Receiver>, AnyError> {
        let user = match scope {
            Scope::Global | Scope::Broker(_) => None,
            Scope::User(user) => Some(user.clone()),
            Scope::Account(account) => match self.0.account(account).await {
                Ok(account) => Some(account.owner().clone()),
                Err(DirectoryError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(std::iter::once(Receiver::Operator)
            .chain(user.map(Receiver::User))
            .collect())
    }
}

/// An event that cannot be read is skipped, and that is logged: it would hold up all that follow.
fn read<T: DeserializeOwned>(event: &OutboxEvent) -> Option<T> {
    match T::deserialize(&event.body) {
        Ok(body) => Some(body),
        Err(problem) => {
            error!(number = event.number, kind = event.kind, %problem, "an event is not understood, and nobody is told");
            None
        }
    }
}

fn traded(account: AccountId, order: IntentId, intent: &Intent, filled: Decimal) -> Happened {
    let by_kind = match intent.request.kind {
        OrderKind::StopLoss { .. } | OrderKind::StopLossLimit { .. } => Some(Trigger::StopLoss),
        OrderKind::TakeProfit { .. } | OrderKind::TakeProfitLimit { .. } => Some(Trigger::ProfitTarget),
        OrderKind::Market | OrderKind::Limit { .. } => None,
    };
    let by_cycle = match &intent.caller {
        Caller::Strategy { exit, .. } => exit.map(|exit| match exit {
            ProtectiveExit::StopLoss => Trigger::StopLoss,
            ProtectiveExit::ProfitTarget => Trigger::ProfitTarget,
        }),
        _ => None,
    };
    Happened::Traded {
        account,
        order,
        pair: intent.request.pair.clone(),
        side: intent.request.side,
        // A stop that opens a position limits no loss.
        trigger: by_cycle.or(by_kind.filter(|_| intent.reducing)),
        filled: Some(filled),
    }
}

/// `None` for a scope that is too long for a word, which no scope is.
fn switched(on: bool, switch: LatchId, body: &OfLatch) -> Option<Happened> {
    let word = |text: String| text.parse::<Word>().ok();
    let (scope, mode, cause) = (
        word(body.scope.to_string())?,
        word(body.mode.to_string())?,
        word(body.cause.to_string())?,
    );
    Some(if on {
        Happened::SwitchedOn {
            switch,
            scope,
            mode,
            cause,
        }
    } else {
        Happened::SwitchedOff {
            switch,
            scope,
            mode,
            cause,
        }
    })
}

#[cfg(test)]
mod tests;
