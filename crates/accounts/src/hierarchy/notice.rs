//! What is said of each user account at the moment when it is connected.

use bursar_config::MasterPolicy;
use schemars::JsonSchema;
use serde::Serialize;

use super::{AccountEntry, PRINCIPLE, master_is_connected, recommendation};
use crate::line::Line;

/// Said once, before the first user account is connected.
pub fn connect_header() -> Line {
    Line::info("Connecting user accounts. Users are secondary: masters connect first and have priority.")
}

/// How one user account stands to its master at the moment when it is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectNotice {
    /// The master is connected: the right order.
    CorrectPriority {
        /// The account that connects.
        entry: AccountEntry,
    },
    /// The master is not connected; the user may connect nevertheless.
    WithoutMaster {
        /// The account that connects.
        entry: AccountEntry,
        /// What to do about the master, for people.
        recommendation: String,
    },
    /// The master is not connected, and the broker's policy makes the user wait for it.
    Waits {
        /// The account that waits.
        entry: AccountEntry,
        /// What to do about the master, for people.
        recommendation: String,
    },
    /// The operator wants nothing said at this broker.
    Silent {
        /// The account that connects.
        entry: AccountEntry,
    },
}

impl ConnectNotice {
    /// Looks at `entry` before it is connected, among all `accounts`.
    pub fn new(entry: &AccountEntry, accounts: &[AccountEntry], policy: MasterPolicy) -> Self {
        let entry = entry.clone();
        if master_is_connected(accounts, &entry.broker) {
            return Self::CorrectPriority { entry };
        }
        let recommendation = recommendation(accounts, &entry.broker);
        match policy {
            MasterPolicy::Warn => Self::WithoutMaster {
                entry,
                recommendation,
            },
            MasterPolicy::Require => Self::Waits {
                entry,
                recommendation,
            },
            MasterPolicy::Off => Self::Silent { entry },
        }
    }

    /// Whether the account may be connected now.
    pub const fn may_connect(&self) -> bool {
        match self {
            Self::CorrectPriority { .. } | Self::WithoutMaster { .. } | Self::Silent { .. } => true,
            Self::Waits { .. } => false,
        }
    }

    /// For the log and the terminal.
    pub fn lines(&self) -> Vec<Line> {
        match self {
            Self::Silent { .. } => vec![],
            Self::CorrectPriority { entry } => vec![Line::info(format!(
                "{}: user {} connects with correct priority; the master of {} is connected",
                entry.broker,
                entry.owner(),
                entry.broker
            ))],
            Self::WithoutMaster {
                entry,
                recommendation,
            } => {
                let mut lines = block(entry, recommendation, "connects without its master");
                lines.push(Line::info(format!(
                    "{}: master not connected; user {} acts first there until it is",
                    entry.broker,
                    entry.owner()
                )));
                lines
            }
            Self::Waits {
                entry,
                recommendation,
            } => block(
                entry,
                recommendation,
                "waits for its master (master_policy = require)",
            ),
        }
    }
}

fn block(entry: &AccountEntry, recommendation: &str, what: &str) -> Vec<Line> {
    let broker = &entry.broker;
    vec![
        Line::warning(format!(
            "{broker}: user account {} {what}: the master should be primary, users secondary",
            entry.account
        )),
        Line::warning(format!("  user: {}", entry.owner())),
        Line::warning(format!("  the master of {broker} is not connected")),
        Line::warning(format!("  recommendation: {recommendation}")),
        Line::warning(format!("  {PRINCIPLE}")),
    ]
}
