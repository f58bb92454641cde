//! Who is to be traded: the store's users and accounts with the state of their connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bursar_auth::{Directory, DirectoryError};
use bursar_execution::{Conditions, ConnectionState, JournalError};
use bursar_model::{AccountStatus, UserId};
use bursar_store_sqlite::SqliteStore;
use bursar_strategy::{Roster, RosterEntry, TradedAccount};

/// The roster as the store has it at this moment.
pub(crate) struct StoreRoster(pub(crate) Arc<SqliteStore>);

#[async_trait]
impl Roster for StoreRoster {
    async fn entries(&self) -> Result<Vec<RosterEntry>, JournalError> {
        let unavailable = |error: DirectoryError| JournalError::unavailable(error);
        let users = self.0.users().await.map_err(unavailable)?;
        let enabled: BTreeMap<UserId, bool> = users.into_iter().map(|user| (user.id, user.enabled)).collect();
        let connections: BTreeMap<_, _> = self.0.connections().await?.into_iter().collect();
        let accounts = self.0.accounts().await.map_err(unavailable)?;
        Ok(accounts
            .into_iter()
            .filter(|account| account.is_open())
            .map(|account| RosterEntry {
                enabled: account.status == AccountStatus::Active
                    && enabled.get(account.owner()).copied().unwrap_or(false),
                state: connections
                    .get(account.id())
                    .map_or(ConnectionState::Stopped, |known| known.state),
                account: TradedAccount {
                    account: account.id().clone(),
                    broker: account.broker().clone(),
                    user: account.owner().clone(),
                },
            })
            .collect())
    }

    async fn changed(&self, seen: u64) -> u64 {
        self.0.changed_for_all(seen).await
    }
}
