//! `bursar hierarchy`: who is connected, and who trades without a master.

use bursar_accounts::{AccountEntry, HierarchyReport, LineLevel};
use bursar_auth::{Account, Directory, User};
use bursar_execution::{Conditions, Connection, ConnectionState};
use bursar_model::{AccountId, AccountStatus};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{self, Page};
use crate::session::{Opened, Session};
use crate::{Exit, Failure, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar hierarchy")]
pub struct Hierarchy {}

impl Hierarchy {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let report = report(&opened).await?;
        let page = page(&report);
        session.console.answer(&page, &Reported { hierarchy: report });
        Ok(Exit::Done)
    }
}

/// Who is connected, and who trades without a master.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Hierarchy")]
pub(crate) struct Reported {
    hierarchy: HierarchyReport,
}

/// The hierarchy as the store knows it.
pub(crate) async fn report(opened: &Opened) -> Result<HierarchyReport, Failure> {
    let users = opened.store.users().await?;
    let accounts = opened.store.accounts().await?;
    let connections = opened.store.connections().await?;
    let entries: Vec<AccountEntry> = accounts
        .iter()
        .filter(|account| account.is_open())
        .map(|account| entry(account, &users, &connections))
        .collect();
    let brokers = &opened.installation.settings.brokers;
    Ok(HierarchyReport::new(&entries, |broker| {
        brokers.of(broker).master_policy
    }))
}

fn entry(account: &Account, users: &[User], connections: &[(AccountId, Connection)]) -> AccountEntry {
    let owner = users.iter().find(|user| user.id == *account.owner());
    let connection = view::connection_of(account.id(), connections);
    AccountEntry {
        account: account.id().clone(),
        broker: account.broker().clone(),
        role: account.role(),
        user: account.owner().clone(),
        user_name: owner.map_or_else(
            || account.owner().to_string(),
            |user| user.shown_name().to_owned(),
        ),
        enabled: account.status == AccountStatus::Active && owner.is_some_and(|user| user.enabled),
        state: connection.map_or(ConnectionState::Stopped, |connection| connection.state),
        cause: connection.map_or_else(String::new, |connection| connection.cause.clone()),
    }
}

pub(crate) fn page(report: &HierarchyReport) -> Page {
    let mut page = Page::new();
    for line in report.lines() {
        let text = render::harmless(&line.text);
        page.line(match line.level {
            LineLevel::Info => text,
            LineLevel::Warning => render::caution(&text),
        });
    }
    page
}
