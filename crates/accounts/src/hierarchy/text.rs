//! The report for people, line by line, each with the level at which it is logged.

use super::{AccountEntry, BrokerMasters, HierarchyReport, HierarchyVerdict, PRINCIPLE, PriorityWarning};
use crate::line::{self, Line};

impl HierarchyReport {
    /// For the log and the terminal.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = vec![
            Line::info("ACCOUNT HIERARCHY"),
            Line::info(PRINCIPLE),
            Line::info("1. Master accounts"),
        ];
        lines.extend(self.masters.iter().map(|broker| Line::info(master(broker))));
        if !self.has_master() {
            lines.push(Line::warning("   No master broker is connected."));
        }
        lines.push(Line::info("2. User accounts"));
        lines.extend(self.users());
        lines.push(Line::info("3. Priority"));
        lines.extend(self.priority());
        lines
    }

    /// The lines as one text, without colours.
    pub fn text(&self) -> String {
        line::text(&self.lines())
    }

    fn users(&self) -> Vec<Line> {
        let users = &self.users;
        if users.total == 0 {
            return vec![Line::info("   There are no user accounts.")];
        }
        let mut lines = vec![Line::info(format!(
            "   {} of {} connected",
            users.connected, users.total
        ))];
        let by_broker = &users.connected_by_broker;
        lines.extend(
            by_broker
                .iter()
                .map(|(broker, count)| Line::info(format!("   {broker}: {count}"))),
        );
        if !users.not_connected.is_empty() {
            lines.push(Line::info("   not connected:"));
        }
        lines.extend(users.not_connected.iter().map(|entry| {
            Line::info(format!(
                "   - {} at {}: {}",
                named(entry),
                entry.broker,
                entry.standing()
            ))
        }));
        lines
    }

    fn priority(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.warnings.iter().flat_map(warning).collect();
        if !lines.is_empty() {
            lines.push(Line::warning(format!("   {PRINCIPLE}")));
        }
        let verdict = match self.verdict {
            HierarchyVerdict::NoUsers => Some("   There are no users, so that none can be without a master."),
            HierarchyVerdict::NoUserConnected => Some("   No user is connected."),
            HierarchyVerdict::EveryUserHasMaster if self.unwatched.is_empty() => {
                Some("   Correct: every connected user has its master at the same broker.")
            }
            HierarchyVerdict::EveryUserHasMaster => {
                Some("   Correct: every connected user has its master at each broker that is watched.")
            }
            HierarchyVerdict::UsersWithoutMaster => None,
        };
        lines.extend(verdict.map(Line::info));
        lines.extend(
            self.unwatched
                .iter()
                .map(|broker| Line::info(format!("   Not watched: {broker} (master_policy = off)"))),
        );
        lines
    }
}

fn master(broker: &BrokerMasters) -> String {
    let state = if broker.connected {
        "connected"
    } else {
        "NOT connected"
    };
    let accounts: Vec<String> = broker
        .accounts
        .iter()
        .map(|entry| match entry.standing().as_str() {
            "ready" => entry.account.to_string(),
            standing => format!("{}: {standing}", entry.account),
        })
        .collect();
    if accounts.is_empty() {
        format!("   {}: {state} (no master account)", broker.broker)
    } else {
        format!("   {}: {state} ({})", broker.broker, accounts.join("; "))
    }
}

fn warning(warning: &PriorityWarning) -> Vec<Line> {
    let broker = &warning.broker;
    let list = |entries: &[AccountEntry]| entries.iter().map(named).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    if !warning.trading.is_empty() {
        lines.push(Line::warning(format!(
            "   WARNING: at {broker} users trade without a master: {}",
            list(&warning.trading)
        )));
    }
    if !warning.waiting.is_empty() {
        lines.push(Line::warning(format!(
            "   WARNING: at {broker} users wait for the master: {}",
            list(&warning.waiting)
        )));
    }
    lines.push(Line::warning(format!(
        "   recommendation: {}",
        warning.recommendation
    )));
    lines
}

fn named(entry: &AccountEntry) -> String {
    format!("{} of {}", entry.account, entry.owner())
}
