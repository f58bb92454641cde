//! One account's supervisor: waits for its turn, connects, stays, connects again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_auth::Account;
use bursar_config::MasterPolicy;
use bursar_execution::{Connection, ConnectionState, JournalError};
use bursar_model::{AccountRole, BrokerId, Clock, Entropy};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::ManagerSettings;
use super::backoff;
use super::board::{Board, Phase};
use crate::hierarchy::one_line;
use crate::{
    AccountHealth, ConnectError, ConnectNotice, Connections, Connector, LiveAccount, connect_header,
};

/// What all supervisors share.
pub(crate) struct Shared {
    pub(crate) board: Board,
    pub(crate) connections: Arc<dyn Connections>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: ManagerSettings,
    pub(crate) brokers: bursar_config::Brokers,
    pub(crate) gates: Mutex<BTreeMap<BrokerId, Arc<Gate>>>,
    pub(crate) header_logged: Mutex<bool>,
}

/// Keeps the accounts of one broker from connecting all at once. Each broker has its own, so that a
/// broker that hangs holds up nobody else.
pub(crate) struct Gate {
    at_once: Semaphore,
    next_at: tokio::sync::Mutex<Option<Instant>>,
}

impl Shared {
    fn gate(&self, broker: &BrokerId) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Gate {
                at_once: Semaphore::new(self.settings.connecting_at_once),
                next_at: tokio::sync::Mutex::default(),
            })
        };
        Arc::clone(gates.entry(broker.clone()).or_insert_with(new))
    }

    fn log_header_once(&self) {
        let mut logged = self.header_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *logged, true) {
            connect_header().log();
        }
    }
}

/// What the end of a connection means for the next one.
enum Ended {
    Stopped,
    Lost(ConnectError),
}

pub(crate) struct Supervisor {
    pub(crate) account: Account,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
}

impl Supervisor {
    /// Runs until stopped. What is written last is that the account is stopped.
    pub(crate) async fn run(self) {
        let mut failures: u32 = 0;
        let mut last_notice = None;
        loop {
            let connected = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                connected = self.connect(&mut last_notice) => connected,
            };
            let since = Instant::now();
            let error = match connected {
                Ok(live) => match self.stay(live.as_ref()).await {
                    Ended::Stopped => break,
                    Ended::Lost(error) => error,
                },
                Err(error) => error,
            };
            // Only a connection that lasted shows that the trouble is over.
            if since.elapsed() >= self.shared.settings.reconnect_max {
                failures = 0;
            }
            failures = failures.saturating_add(1);
            if !self.pause_after(&error, failures).await {
                break;
            }
        }
        self.record(ConnectionState::Stopped, "", Phase::Tried).await;
    }

    async fn connect(
        &self,
        last_notice: &mut Option<ConnectNotice>,
    ) -> Result<Box<dyn LiveAccount>, ConnectError> {
        if self.account.role() == AccountRole::User {
            self.wait_for_master(last_notice).await;
        }
        let settings = &self.shared.settings;
        let gate = self.shared.gate(self.account.broker());
        let turn = async {
            self.stagger(&gate).await;
            gate.at_once.acquire().await
        };
        let Ok(permit) = self.cancelling_if_long(turn).await else {
            return Err(ConnectError::try_again("the gateway is shutting down"));
        };
        if self.is_first_attempt() {
            self.record(ConnectionState::Connecting, "", Phase::Pending).await;
        }
        let connecting = self.shared.connector.connect(&self.account);
        let connecting = tokio::time::timeout(settings.connect_timeout, connecting);
        let mut connecting = pin!(connecting);
        let live = match tokio::time::timeout(settings.connect_patience, &mut connecting).await {
            Ok(live) => live,
            Err(_) => {
                drop(permit);
                self.tell_that_it_takes_long().await;
                connecting.await
            }
        };
        let live = live.unwrap_or_else(|_| {
            let minutes = settings.connect_timeout.as_secs() / 60;
            Err(ConnectError::try_again(format!(
                "not connected within {minutes} minutes"
            )))
        })?;
        match self.persist(ConnectionState::Ready, "").await {
            Ok(()) => Ok(live),
            // Nobody could trade it: the gate reads the state from the store.
            Err(error) => Err(ConnectError::try_again(error.to_string())),
        }
    }

    /// Nobody waits for the account any more, users for their master neither, unless the policy says so.
    async fn tell_that_it_takes_long(&self) {
        let (account, user, broker) = (self.account.id(), self.account.owner(), self.account.broker());
        let cause = "reads what happened meanwhile; an exchange takes long to tell of many orders";
        tracing::info!(%account, %user, "{broker}: {account} {cause}");
        self.record(ConnectionState::Connecting, cause, Phase::Tried)
            .await;
    }

    /// Masters are always tried first; where the policy requires it, users wait until one is there.
    async fn wait_for_master(&self, last_notice: &mut Option<ConnectNotice>) {
        let board = &self.shared.board;
        let broker = self.account.broker();
        self.cancelling_if_long(board.masters_tried(broker)).await;
        let policy = self.shared.brokers.of(broker).master_policy;
        let mut say = || {
            self.shared.log_header_once();
            let Some(entry) = board.entry(self.account.id()) else {
                return true;
            };
            let notice = ConnectNotice::new(&entry, &board.entries(), policy);
            let may_connect = notice.may_connect();
            // The check runs at every attempt; it is written down when its outcome is a new one.
            let kind = std::mem::discriminant(&notice);
            if last_notice.as_ref().map(std::mem::discriminant) != Some(kind) {
                notice
                    .lines()
                    .iter()
                    .for_each(|line| line.log_about(&self.account));
                *last_notice = Some(notice);
            }
            may_connect
        };
        while !say() {
            debug_assert_eq!(policy, MasterPolicy::Require);
            let cause = format!("waits for the master of {broker} (master_policy = require)");
            self.record(ConnectionState::Connecting, &cause, Phase::Waiting)
                .await;
            self.cancelling_until(board.master_connected(broker)).await;
        }
    }

    async fn stagger(&self, gate: &Gate) {
        let mut next_at = gate.next_at.lock().await;
        if let Some(at) = *next_at {
            tokio::time::sleep_until(at).await;
        }
        *next_at = Instant::now().checked_add(self.shared.settings.stagger);
    }

    /// Works until stopped or lost, and shows meanwhile how well.
    async fn stay(&self, live: &dyn LiveAccount) -> Ended {
        let settings = &self.shared.settings;
        // Said first: the report that waits for this account comes after it in the log.
        tracing::info!(
            account = %self.account.id(),
            user = %self.account.owner(),
            "{}: {} account {} connected",
            self.account.broker(),
            self.account.role(),
            self.account.id()
        );
        self.shared
            .board
            .set(self.account.id(), ConnectionState::Ready, "", Phase::Tried);
        let mut working = live.run(self.stop.clone());
        tokio::select! {
            ended = &mut working => match ended {
                _ if self.stop.is_cancelled() => Ended::Stopped,
                Ok(()) => Ended::Lost(ConnectError::try_again("the connection ended without a reason")),
                Err(error) => Ended::Lost(error),
            },
            () = self.stop.cancelled() => {
                if tokio::time::timeout(settings.stop_grace, &mut working).await.is_err() {
                    tracing::warn!(
                        account = %self.account.id(),
                        user = %self.account.owner(),
                        "{}: did not stop in time and was cut off",
                        self.account.id()
                    );
                }
                Ended::Stopped
            }
            // Beside the work, which waits for no write of this.
            never = self.show_health(live) => match never {},
        }
    }

    /// Shows how well the account works, for ever. The gate decides by what is stored, so that what could not be
    /// stored is stored at the next look.
    async fn show_health(&self, live: &dyn LiveAccount) -> Infallible {
        let mut looks = tokio::time::interval(self.shared.settings.health_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = AccountHealth::Good;
        // `None` after a write of which nobody knows whether it is there.
        let mut stored = Some(AccountHealth::Good);
        loop {
            looks.tick().await;
            let now = live.health();
            if now != said {
                self.say_health(&now);
                said = now.clone();
            }
            if stored.as_ref() != Some(&now) {
                stored = self.store_health(&now).await.then_some(now);
            }
        }
    }

    fn say_health(&self, health: &AccountHealth) {
        let (account, user, broker) = (self.account.id(), self.account.owner(), self.account.broker());
        match health {
            AccountHealth::Good => tracing::info!(%account, %user, "{broker}: {account} is ready again"),
            AccountHealth::Degraded { cause } => {
                let cause = one_line(cause);
                tracing::warn!(%account, %user, "{broker}: {account} is degraded: {cause}");
            }
        }
    }

    /// Whether it is stored.
    async fn store_health(&self, health: &AccountHealth) -> bool {
        match health {
            AccountHealth::Good => self.record(ConnectionState::Ready, "", Phase::Tried).await,
            AccountHealth::Degraded { cause } => {
                let cause = one_line(cause);
                self.record(ConnectionState::Degraded, &cause, Phase::Tried).await
            }
        }
    }

    /// Records the failure and waits for the next attempt; `false` when stopped meanwhile.
    async fn pause_after(&self, error: &ConnectError, failures: u32) -> bool {
        let settings = &self.shared.settings;
        let (account, user, broker) = (self.account.id(), self.account.owner(), self.account.broker());
        let role = self.account.role();
        let pause = match error {
            ConnectError::NotConfigured => {
                tracing::warn!(
                    %account,
                    %user,
                    "{broker}: {role} account {account} is not configured: no key is stored; run `bursar \
                     credentials set {account}`"
                );
                self.record(ConnectionState::NotConfigured, "", Phase::Tried)
                    .await;
                // A key that is stored later restarts this supervisor.
                self.stop.cancelled().await;
                return false;
            }
            ConnectError::TryAgain { wait, .. } => {
                let random = self.random();
                backoff::pause(failures, settings.reconnect_min, settings.reconnect_max, random)
                    .max(wait.unwrap_or_default())
            }
            ConnectError::Refused { .. } => settings.reconnect_max,
        };
        let cause = one_line(&error.to_string());
        tracing::warn!(
            %account,
            %user,
            "{broker}: {role} account {account} failed to connect: {cause}; next attempt in {}.{:03} s",
            pause.as_secs(),
            pause.subsec_millis()
        );
        self.record(ConnectionState::Failed, &cause, Phase::Tried).await;
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = self.cancelling_until(tokio::time::sleep(pause)) => true,
        }
    }

    /// Waits for `over`. Cancels that are asked for meanwhile go out: also an account that must not
    /// trade can be stopped.
    async fn cancelling_until<T>(&self, over: impl Future<Output = T>) -> T {
        let stop = self.stop.child_token();
        let _guard = stop.clone().drop_guard();
        let cancelling = async {
            self.shared.connector.only_cancel(&self.account, stop).await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            over = over => over,
            never = cancelling => match never {},
        }
    }

    /// The same where the wait is short as a rule, and not worth a way to the exchange of its own.
    async fn cancelling_if_long<T>(&self, over: impl Future<Output = T>) -> T {
        let mut over = pin!(over);
        match tokio::time::timeout(SHORT_WAIT, &mut over).await {
            Ok(over) => over,
            Err(_) => self.cancelling_until(over).await,
        }
    }

    /// Later attempts keep the state "failed" and its cause until they succeed: that says more than
    /// "connecting" would.
    fn is_first_attempt(&self) -> bool {
        self.shared
            .board
            .entry(self.account.id())
            .is_none_or(|entry| entry.state != ConnectionState::Failed)
    }

    /// Whether it is stored too: the board has it in any case.
    async fn record(&self, state: ConnectionState, cause: &str, phase: Phase) -> bool {
        self.shared.board.set(self.account.id(), state, cause, phase);
        let stored = self.persist(state, cause).await;
        if let Err(error) = &stored {
            tracing::error!(
                "{}: the state `{state}` could not be recorded: {error}",
                self.account.id()
            );
        }
        stored.is_ok()
    }

    async fn persist(&self, state: ConnectionState, cause: &str) -> Result<(), JournalError> {
        let connection = Connection {
            state,
            cause: cause.to_owned(),
            since: self.shared.clock.now(),
        };
        self.shared
            .connections
            .record_state(self.account.id(), &connection)
            .await
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.shared.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// An account that waits for its turn longer than this cancels meanwhile what is to be cancelled.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// How long a supervisor may take to end after it was told to.
pub(crate) fn longest_stop(settings: &ManagerSettings) -> Duration {
    settings.stop_grace.saturating_add(Duration::from_secs(5))
}
