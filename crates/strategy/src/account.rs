//! What a cycle knows of its account, read anew each time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bursar_config::Preferences;
use bursar_controls::{LimitKind, Policy, is_fresh};
use bursar_execution::{Conditions, ConnectionState, Intent, Journal, JournalError, Reports};
use bursar_model::{
    AccountId, Asset, Balance, BalanceKind, BrokerId, InexactError, Instrument, IntentId, OrderKind, Pair,
    Position, Quote, Side, Usd, UserId, decimal,
};
use bursar_permissions::{Caller, UserPermissions};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;

/// An account that is traded, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TradedAccount {
    /// Unique in the installation.
    pub account: AccountId,
    /// Where it is traded; decides whose bars are read.
    pub broker: BrokerId,
    /// Its owner, whose permissions and wishes count.
    pub user: UserId,
}

impl fmt::Display for TradedAccount {
    /// Broker and user, as every line of a cycle begins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.broker, self.user)
    }
}

/// Everything a cycle decides on, at one moment.
#[derive(Clone, Debug)]
pub struct AccountState {
    /// Why nothing can be sent; `None` when the account is ready.
    pub not_ready: Option<String>,
    /// What the operator allows the owner.
    pub permissions: UserPermissions,
    /// What the owner wishes.
    pub preferences: Preferences,
    /// The installation's limits in force.
    pub policy: Policy,
    /// What it is worth at least: what has no fresh price is not in it. `None` before a balance was read, and where it
    /// could not be calculated.
    pub equity: Option<Usd>,
    /// What was paid in and not out again; `None` before the account was ever valued.
    pub paid_in: Option<Usd>,
    /// As read last, reserved and locked parts included; empty before the first time.
    pub balances: Vec<Balance>,
    /// Bought through the gate and not sold yet.
    pub positions: Vec<Position>,
    /// Orders that work or may work at the venue, or are about to.
    pub working: Vec<WorkingOrder>,
    /// What the broker lists, with its rules.
    pub instruments: Vec<Instrument>,
    /// The last prices of the broker's pairs, of whatever age.
    pub quotes: Vec<Quote>,
    /// What the user may still lose today; `None` where it is not known.
    pub loss_left: Option<Usd>,
}

/// An order that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingOrder {
    /// The order, for asking for its cancel.
    pub intent: IntentId,
    /// Its pair.
    pub pair: Pair,
    /// A sell that is open keeps its quantity from being sold again.
    pub side: Side,
    /// What of it is not filled yet.
    pub open: Decimal,
    /// Whether it waits for its price, and may wait for ever.
    pub rests: bool,
    /// Whether a strategy asked for it.
    pub is_ours: bool,
}

impl WorkingOrder {
    fn of(intent: Intent) -> Self {
        let quantity = intent.sizing.as_ref().map(|sizing| sizing.terms.quantity.value());
        Self {
            intent: intent.id,
            // An order without a size was never let through.
            open: quantity
                .and_then(|quantity| decimal::sub(quantity, intent.filled).ok())
                .unwrap_or_default()
                .max(Decimal::ZERO),
            rests: intent.request.kind != OrderKind::Market,
            is_ours: matches!(intent.caller, Caller::Strategy { .. }),
            pair: intent.request.pair,
            side: intent.request.side,
        }
    }
}

impl AccountState {
    pub(crate) fn position(&self, pair: &Pair) -> Option<&Position> {
        self.positions.iter().find(|position| position.pair == *pair)
    }

    pub(crate) fn working(&self, pair: &Pair, side: Side) -> impl Iterator<Item = &WorkingOrder> {
        let working = self.working.iter();
        working.filter(move |order| order.pair == *pair && order.side == side)
    }

    pub(crate) fn instrument(&self, pair: &Pair) -> Option<&Instrument> {
        self.instruments
            .iter()
            .find(|instrument| instrument.pair == *pair)
    }

    /// The price of the pair, unless it is older than the gate would accept.
    pub(crate) fn fresh_quote(&self, pair: &Pair, now: Timestamp) -> Option<&Quote> {
        let quote = self.quotes.iter().find(|quote| quote.pair == *pair)?;
        is_fresh(quote.at, now, self.policy.reference_max_age_ms).then_some(quote)
    }

    /// What is free of an asset, in dollars, rounded down; `None` without its price.
    pub(crate) fn free(&self, asset: &Asset, now: Timestamp) -> Option<Usd> {
        let free = self
            .balances
            .iter()
            .filter(|balance| balance.asset == *asset && balance.kind == BalanceKind::Spendable)
            .try_fold(Decimal::ZERO, |sum, balance| {
                decimal::add(sum, balance.available())
            })
            .ok()?;
        let rate = bursar_execution::usd_rate(asset, &self.quotes, now)?;
        let usd = decimal::mul(free, rate.value.value()).ok()?;
        Some(Usd::new(usd).rounded_down())
    }
}

/// Where the state of an account is read.
#[async_trait]
pub trait AccountSource: Send + Sync {
    /// Everything that a cycle decides on, read anew.
    ///
    /// # Errors
    ///
    /// Those of the store. The cycle is given up then, and the next one reads again.
    async fn state(&self, account: &TradedAccount, now: Timestamp) -> Result<AccountState, JournalError>;
}

/// The store as the source.
#[derive(Clone)]
pub struct StoredAccounts {
    /// Where permissions, preferences, policy, balances, prices and connections are.
    pub conditions: Arc<dyn Conditions>,
    /// Where orders and positions are.
    pub journal: Arc<dyn Journal>,
    /// Where the day's loss and what was paid in are.
    pub reports: Arc<dyn Reports>,
}

#[async_trait]
impl AccountSource for StoredAccounts {
    async fn state(&self, account: &TradedAccount, now: Timestamp) -> Result<AccountState, JournalError> {
        let (conditions, user) = (&self.conditions, &account.user);
        let permissions = conditions.permissions(user).await?;
        let preferences = conditions.preferences(user).await?;
        let unresolved = self.journal.unresolved(&account.account).await?;
        let balances = conditions.balances(&account.account).await?;
        let max_loss = preferences.effective(&permissions.limits).max_daily_loss;
        Ok(AccountState {
            not_ready: self.not_ready(&account.account).await?,
            policy: conditions.policy().await?,
            equity: balances.as_ref().and_then(|balances| balances.equity),
            balances: balances.map(|balances| balances.balances).unwrap_or_default(),
            positions: self.journal.positions(&account.account).await?,
            paid_in: self.reports.paid_in(&account.account).await?,
            working: unresolved.into_iter().map(WorkingOrder::of).collect(),
            instruments: conditions.instruments(&account.broker).await?,
            quotes: conditions.quotes(&account.broker).await?,
            loss_left: self.loss_left(user, max_loss, now).await?,
            permissions,
            preferences,
        })
    }
}

impl StoredAccounts {
    async fn not_ready(&self, account: &AccountId) -> Result<Option<String>, JournalError> {
        let connections = self.conditions.connections().await?;
        let connection = connections.into_iter().find(|(of, _)| of == account);
        Ok(match connection {
            Some((_, connection)) if connection.state == ConnectionState::Ready => None,
            Some((_, connection)) if connection.cause.is_empty() => Some(connection.state.to_string()),
            Some((_, connection)) => Some(format!("{}: {}", connection.state, connection.cause)),
            None => Some("never connected".to_owned()),
        })
    }

    async fn loss_left(
        &self,
        user: &UserId,
        max_loss: Usd,
        now: Timestamp,
    ) -> Result<Option<Usd>, JournalError> {
        let day = self.reports.user_day(user, now).await?;
        let reserved = self.reports.reservations(None).await?;
        let reserved = reserved
            .iter()
            .filter(|row| row.user == *user && row.kind == LimitKind::DayLoss)
            .try_fold(Decimal::ZERO, |sum, row| decimal::add(sum, row.amount));
        let left = || -> Result<Usd, InexactError> {
            max_loss
                .plus(day.extra_allowance)?
                .minus(day.loss)?
                .minus(Usd::new(reserved?))
        };
        // What cannot be calculated here is left to the gate, which refuses it.
        Ok(left().ok().map(|left| left.max(Usd::ZERO)))
    }
}
