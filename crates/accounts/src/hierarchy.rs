//! Who is connected, who trades without a master, and what to do about it: a pure function from the
//! accounts to a report.
//!
//! A master is primary: the operator's main account at a broker. A user is secondary: an additional
//! account that supplements the master and trades on its own. The hierarchy is looked at for each
//! broker by itself, and roles are never renamed by circumstances.

mod notice;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use bursar_config::MasterPolicy;
use bursar_execution::ConnectionState;
use bursar_model::{AccountId, AccountRole, BrokerId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use notice::{ConnectNotice, connect_header};

/// The principle, as every report and every warning states it.
pub const PRINCIPLE: &str =
    "Masters are primary (the main trading accounts); users are secondary (additional accounts).";

/// One account, as far as the hierarchy is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountEntry {
    /// Unique in the installation.
    pub account: AccountId,
    /// Hierarchies of different brokers have nothing to do with each other.
    pub broker: BrokerId,
    /// As it was said when the account was made.
    pub role: AccountRole,
    /// The owner.
    pub user: UserId,
    /// The owner's name for people; the id where there is none.
    pub user_name: String,
    /// Whether owner and account are switched on.
    pub enabled: bool,
    /// How far its connection is.
    pub state: ConnectionState,
    /// Why it failed, waits, takes long or is degraded; empty otherwise.
    pub cause: String,
}

impl AccountEntry {
    /// A degraded connection is a connection: something does not arrive over it.
    pub const fn is_connected(&self) -> bool {
        is_connected(self.state)
    }

    /// Connected and switched on. One that is switched off may stay connected to bring what it holds
    /// to an end.
    pub const fn trades(&self) -> bool {
        self.enabled && self.is_connected()
    }

    /// Name and id of the owner, for people.
    pub fn owner(&self) -> String {
        if self.user_name == self.user.as_str() {
            self.user.to_string()
        } else {
            format!("{} ({})", self.user_name, self.user)
        }
    }

    fn standing(&self) -> String {
        match (self.enabled, self.cause.is_empty()) {
            (false, _) if self.is_connected() => "not enabled; connected to wind up what it holds".to_owned(),
            (false, _) => "not enabled".to_owned(),
            (true, true) => self.state.to_string(),
            (true, false) => format!("{}: {}", self.state, one_line(&self.cause)),
        }
    }
}

/// What an exchange says may hold anything; a log line holds one line of it, and not for ever.
pub(crate) fn one_line(text: &str) -> String {
    const SHOWN: usize = 200;
    text.chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Whether an account in this state has a connection to its broker.
pub const fn is_connected(state: ConnectionState) -> bool {
    match state {
        ConnectionState::Ready | ConnectionState::Degraded => true,
        ConnectionState::NotConfigured
        | ConnectionState::Connecting
        | ConnectionState::Failed
        | ConnectionState::Stopped => false,
    }
}

/// Whether a master account of `broker` exists, is switched on and is connected.
pub fn master_is_connected(accounts: &[AccountEntry], broker: &BrokerId) -> bool {
    accounts
        .iter()
        .any(|entry| entry.role == AccountRole::Master && entry.broker == *broker && entry.trades())
}

/// The user accounts that are connected at a broker whose master is not, by broker.
pub fn users_without_master(accounts: &[AccountEntry]) -> BTreeMap<BrokerId, Vec<&AccountEntry>> {
    let mut found: BTreeMap<BrokerId, Vec<&AccountEntry>> = BTreeMap::new();
    for entry in accounts {
        let trades = entry.role == AccountRole::User && entry.trades();
        if trades && !master_is_connected(accounts, &entry.broker) {
            found.entry(entry.broker.clone()).or_default().push(entry);
        }
    }
    found
}

/// The whole picture at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HierarchyReport {
    /// One per broker that has an account, by name.
    pub masters: Vec<BrokerMasters>,
    /// Of all brokers together.
    pub users: UserAccounts,
    /// One per broker at which users trade, or wait, without a master.
    pub warnings: Vec<PriorityWarning>,
    /// Of all brokers at which warnings are on.
    pub verdict: HierarchyVerdict,
    /// Brokers at which the operator switched the warnings off.
    pub unwatched: BTreeSet<BrokerId>,
}

/// The masters of one broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerMasters {
    /// The broker whose masters these are.
    pub broker: BrokerId,
    /// Whether one of them is switched on and connected.
    pub connected: bool,
    /// Empty where the broker has user accounts only.
    pub accounts: Vec<AccountEntry>,
}

/// The user accounts of all brokers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserAccounts {
    /// User accounts that are not closed.
    pub total: usize,
    /// Those of them that are connected.
    pub connected: usize,
    /// Connected ones, for each broker that has user accounts.
    pub connected_by_broker: BTreeMap<BrokerId, usize>,
    /// Those that are not connected, each with its cause.
    pub not_connected: Vec<AccountEntry>,
}

/// A broker at which users stand without their master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PriorityWarning {
    /// Where they stand so.
    pub broker: BrokerId,
    /// Connected, so that they trade alone.
    pub trading: Vec<AccountEntry>,
    /// Held back until the master is connected, because the broker's policy requires it.
    pub waiting: Vec<AccountEntry>,
    /// What to do about it, for people.
    pub recommendation: String,
}

/// What the picture comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HierarchyVerdict {
    /// There are no user accounts.
    NoUsers,
    /// There are some, and none is connected.
    NoUserConnected,
    /// No user trades without a connected master, brokers left out at which warnings are off.
    EveryUserHasMaster,
    /// At some broker that is watched a user trades while no master is connected.
    UsersWithoutMaster,
}

impl HierarchyReport {
    /// `accounts` are those that take part, closed ones left out; `policy` says what the operator
    /// wants at a broker.
    pub fn new(accounts: &[AccountEntry], policy: impl Fn(&BrokerId) -> MasterPolicy) -> Self {
        let brokers: BTreeSet<&BrokerId> = accounts.iter().map(|entry| &entry.broker).collect();
        let unwatched: BTreeSet<BrokerId> = brokers
            .iter()
            .filter(|broker| policy(broker) == MasterPolicy::Off)
            .map(|broker| BrokerId::clone(broker))
            .collect();
        let masters = brokers
            .iter()
            .map(|broker| BrokerMasters {
                broker: BrokerId::clone(broker),
                connected: master_is_connected(accounts, broker),
                accounts: of_role(accounts, broker, AccountRole::Master).cloned().collect(),
            })
            .collect();
        let warnings: Vec<PriorityWarning> = brokers
            .iter()
            .filter(|broker| !unwatched.contains(**broker))
            .filter_map(|broker| warning(accounts, broker, policy(broker)))
            .collect();
        let users = UserAccounts::new(accounts);
        let trading_alone = warnings.iter().any(|warning| !warning.trading.is_empty());
        let verdict = match (users.total, users.connected) {
            (0, _) => HierarchyVerdict::NoUsers,
            _ if trading_alone => HierarchyVerdict::UsersWithoutMaster,
            (_, 0) => HierarchyVerdict::NoUserConnected,
            _ => HierarchyVerdict::EveryUserHasMaster,
        };
        Self {
            masters,
            users,
            warnings,
            verdict,
            unwatched,
        }
    }

    /// Whether there is any master at all that is connected.
    pub fn has_master(&self) -> bool {
        self.masters.iter().any(|broker| broker.connected)
    }
}

impl UserAccounts {
    fn new(accounts: &[AccountEntry]) -> Self {
        let mut users = Self {
            total: 0,
            connected: 0,
            connected_by_broker: BTreeMap::new(),
            not_connected: Vec::new(),
        };
        for entry in accounts.iter().filter(|entry| entry.role == AccountRole::User) {
            users.total = users.total.saturating_add(1);
            let at_broker = users.connected_by_broker.entry(entry.broker.clone()).or_default();
            if entry.trades() {
                users.connected = users.connected.saturating_add(1);
                *at_broker = at_broker.saturating_add(1);
            } else {
                users.not_connected.push(entry.clone());
            }
        }
        users
    }
}

fn warning(accounts: &[AccountEntry], broker: &BrokerId, policy: MasterPolicy) -> Option<PriorityWarning> {
    if master_is_connected(accounts, broker) {
        return None;
    }
    let users = || of_role(accounts, broker, AccountRole::User);
    let trading: Vec<AccountEntry> = users().filter(|entry| entry.trades()).cloned().collect();
    let waits = |entry: &&AccountEntry| {
        policy == MasterPolicy::Require && entry.enabled && entry.state == ConnectionState::Connecting
    };
    let waiting: Vec<AccountEntry> = users().filter(waits).cloned().collect();
    if trading.is_empty() && waiting.is_empty() {
        return None;
    }
    Some(PriorityWarning {
        broker: broker.clone(),
        trading,
        waiting,
        recommendation: recommendation(accounts, broker),
    })
}

/// The broker whose accounts have no keys.
const PAPER: &str = "paper";

/// What to do about a master that is not connected.
pub(crate) fn recommendation(accounts: &[AccountEntry], broker: &BrokerId) -> String {
    let master = of_role(accounts, broker, AccountRole::Master).next();
    let how = match master {
        None if broker.as_str() == PAPER => format!(
            "add the account with `bursar account add ID --user USER --broker {broker} --role master --mode \
             paper`; it needs no key"
        ),
        None => format!(
            "add the account with `bursar account add ID --broker {broker} --role master …`, then run `bursar credentials set ID`"
        ),
        Some(master) if !master.enabled => format!("run `bursar user enable {}`", master.user),
        Some(master) => match master.state {
            ConnectionState::NotConfigured => format!("run `bursar credentials set {}`", master.account),
            _ => format!("run `bursar credentials check {}`", master.account),
        },
    };
    format!("configure the master credentials of {broker} first: {how}")
}

fn of_role<'a>(
    accounts: &'a [AccountEntry],
    broker: &'a BrokerId,
    role: AccountRole,
) -> impl Iterator<Item = &'a AccountEntry> {
    accounts
        .iter()
        .filter(move |entry| entry.role == role && entry.broker == *broker)
}

#[cfg(test)]
mod tests;
