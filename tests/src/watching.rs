//! Giving orders on the stage, and waiting for what becomes of them: for a state of the journal,
//! never for a time.

use std::time::Duration;

use bursar_broker::ErrorClass;
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::{
    Admission, Approvals, BookedFill, Effect, Intent, IntentFilter, Journal, Measure, NewLatch, OrderIntent,
    Proposed, Reports, ReservationRow,
};
use bursar_model::{AccountId, IntentId, IntentState, OrderRequest, Verdict};
use bursar_permissions::Caller;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::Stage;
use crate::stage::{fail, must};

/// How often the journal is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long what has to be done soon usually takes.
const JUST_NOW: SignedDuration = SignedDuration::from_millis(500);
/// After this, in the time of the stage, what was waited for will not come.
const PATIENCE: Duration = Duration::from_secs(600);

impl Stage {
    /// Asks for an order in the operator's name; returns the decision.
    pub async fn ask(&self, account: &str, request: OrderRequest) -> Admission {
        must(
            "decide on the order",
            self.gateway().submit(intent(account, request)).await,
        )
    }

    /// Asks for an order that must be admitted.
    pub async fn order(&self, account: &str, request: OrderRequest) -> Intent {
        match self.ask(account, request).await {
            Admission::Approved(intent) => intent,
            Admission::Denied(intent) => fail(&format!("{} was refused: {}", intent.request, intent.cause)),
            Admission::Repeated(intent) => fail(&format!("{} was asked before", intent.request)),
        }
    }

    /// Asks for an order that must be refused; returns the names of all broken rules.
    pub async fn refused(&self, account: &str, request: OrderRequest) -> Vec<String> {
        match self.ask(account, request).await {
            Admission::Denied(intent) => broken(&intent),
            Admission::Approved(intent) | Admission::Repeated(intent) => {
                fail(&format!("{} was not refused", intent.request))
            }
        }
    }

    /// An order that must be admitted, and what it is when it is over or works.
    pub async fn order_until(&self, account: &str, request: OrderRequest, state: IntentState) -> Intent {
        let intent = self.order(account, request).await;
        self.until_state(intent.id, state).await
    }

    /// Waits until an order is in `state`. Fails at once when it is over in another.
    pub async fn until_state(&self, id: IntentId, state: IntentState) -> Intent {
        let what = format!("order {id} to be {state}");
        self.until(&what, async || {
            let intent = self.intent(id).await;
            if intent.state.is_terminal() && intent.state != state {
                fail(&format!(
                    "waited for {what}, but it is {}: {}",
                    intent.state, intent.cause
                ));
            }
            (intent.state == state).then_some(intent)
        })
        .await
    }

    /// Waits until so much of an order is booked.
    pub async fn until_filled(&self, id: IntentId, quantity: &str) -> Intent {
        let quantity = crate::exchange::decimal(quantity);
        self.until(&format!("{quantity} of order {id} to be filled"), async || {
            let intent = self.intent(id).await;
            (intent.filled == quantity).then_some(intent)
        })
        .await
    }

    /// Waits until `look` finds something.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now().checked_add(PATIENCE);
        while end.is_none_or(|end| Instant::now() < end) {
            if let Some(found) = look().await {
                self.pace.slow();
                return found;
            }
            match self.freshest_on_its_way().await {
                Some(age) if age < JUST_NOW => self.pace.slow(),
                Some(_) => self.pace.steady(),
                None => self.pace.fast(),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        fail(&format!("waited in vain for {what}"))
    }

    /// Waits until it is later than `moment`.
    pub async fn until_after(&self, moment: Timestamp) {
        self.until(&format!("{moment} to pass"), async || {
            (self.now() > moment).then_some(())
        })
        .await;
    }

    /// For how long the newest of the orders has been as it is that a desk has to send, or waits to
    /// hear of.
    async fn freshest_on_its_way(&self) -> Option<SignedDuration> {
        let filter = IntentFilter {
            states: vec![IntentState::Approved, IntentState::Dispatching],
            ..IntentFilter::default()
        };
        let found = must("read the journal", self.store().find_intents(&filter, 100).await);
        let resting = self.resting();
        let sendable = found.iter().filter(|intent| !resting.contains(&intent.account));
        let newest = sendable.map(|intent| intent.updated_at).max()?;
        Some(self.now().duration_since(newest))
    }

    /// How often an account ever met errors of a class.
    pub async fn lifetime_errors(&self, account: &str, class: ErrorClass) -> u64 {
        let id: AccountId = must("name an account", account.parse());
        let counts = must(
            "read the errors",
            self.store().error_counts(Some(&id), self.now()).await,
        );
        counts
            .iter()
            .find(|row| row.class == class)
            .map_or(0, |row| row.lifetime)
    }

    pub async fn intent(&self, id: IntentId) -> Intent {
        must("read the journal", self.store().intent(id).await)
    }

    /// Booked fills of an account, newest first.
    pub async fn fills(&self, account: &str) -> Vec<BookedFill> {
        let id: AccountId = must("name an account", account.parse());
        must(
            "read the fills",
            Reports::fills(self.store(), Some(&id), None, u32::MAX).await,
        )
    }

    /// What an account holds of bitcoin because of orders that went through the gate.
    pub async fn held(&self, account: &str) -> rust_decimal::Decimal {
        let id: AccountId = must("name an account", account.parse());
        let positions = must("read the positions", Journal::positions(self.store(), &id).await);
        positions
            .iter()
            .filter(|position| position.pair.base().to_string() == "BTC")
            .map(|position| position.quantity.value())
            .sum()
    }

    /// What orders that are not over hold of limits, over all accounts.
    pub async fn reservations(&self) -> Vec<ReservationRow> {
        must("read the reservations", self.store().reservations(None).await)
    }

    /// Turns a switch on as a person does.
    pub async fn kill(&self, scope: &str, mode: LatchMode) -> Latch {
        let latch = manual(scope, mode);
        must("turn a switch on", self.store().trip(latch, &self.act()).await)
    }

    /// Turns a switch off as a person does, who works alone on this stage and does not wait for the next
    /// comparison: and then the milder one too that is on while something is held.
    pub async fn release(&self, latch: &Latch) {
        let act = self.act().because("the cause is gone");
        let mut next = Some(latch.id);
        while let Some(latch) = next.take() {
            let measure = Measure::Release {
                latch,
                unreconciled: true,
            };
            match must("turn a switch off", self.store().propose(measure, "", &act).await) {
                Proposed::Done(_, Effect::Released(released)) => {
                    next = released.instead.map(|milder| milder.id);
                }
                other => fail(&format!("a switch was not turned off: {other:?}")),
            }
        }
    }

    /// The switches that are on.
    pub async fn latches(&self) -> Vec<Latch> {
        must("read the switches", self.store().latches().await)
    }

    /// How many errors of a class count for an account.
    pub async fn errors(&self, account: &str, class: ErrorClass) -> u32 {
        let id: AccountId = must("name an account", account.parse());
        let counts = must(
            "read the errors",
            self.store().error_counts(Some(&id), self.now()).await,
        );
        counts
            .iter()
            .find(|row| row.class == class)
            .map_or(0, |row| row.in_window)
    }

    /// The audit trail as names of actions, oldest first.
    pub async fn actions(&self) -> Vec<String> {
        use bursar_audit::Log;
        let stored = must("read the trail", self.store().records(1, u32::MAX).await);
        let open = |record| must("read a record", bursar_audit::Record::open(record));
        stored
            .iter()
            .map(|record| open(record).action.to_string())
            .collect()
    }
}

/// A request in the operator's name.
pub fn intent(account: &str, request: OrderRequest) -> OrderIntent {
    OrderIntent {
        account: must("name an account", account.parse()),
        caller: Caller::Operator,
        request,
        idempotency_key: None,
        cycle: None,
    }
}

/// A switch that a person turns on.
pub fn manual(scope: &str, mode: LatchMode) -> NewLatch {
    let scope: Scope = must("name a scope", scope.parse());
    NewLatch {
        reason: format!("a drill of {scope}"),
        scope,
        mode,
        cause: LatchCause::Manual,
        clear_rule: ClearRule::Manual,
    }
}

/// The rules that an order broke.
pub fn broken(intent: &Intent) -> Vec<String> {
    let broken = intent
        .trace
        .iter()
        .filter(|check| check.verdict == Verdict::Broken);
    broken.map(|check| check.rule.clone()).collect()
}
