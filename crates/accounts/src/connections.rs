//! What the manager needs of a store: who and what there is, and where the state of each connection is
//! kept, for the gate and for other processes.

use async_trait::async_trait;
use bursar_auth::{Account, Directory, DirectoryError, User};
use bursar_execution::{Conditions, Connection, JournalError};
use bursar_keystore::{CredentialFacts, Vault, VaultError};
use bursar_model::AccountId;
use jiff::Timestamp;

/// Who is to be connected. Every [`Directory`] is one.
#[async_trait]
pub trait Roster: Send + Sync {
    /// All users, disabled ones too.
    async fn users(&self) -> Result<Vec<User>, DirectoryError>;

    /// All accounts, closed ones too.
    async fn accounts(&self) -> Result<Vec<Account>, DirectoryError>;
}

#[async_trait]
impl<D: Directory + ?Sized> Roster for D {
    async fn users(&self) -> Result<Vec<User>, DirectoryError> {
        Directory::users(self).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, DirectoryError> {
        Directory::accounts(self).await
    }
}

/// Which keys there are: an account whose key is new is connected anew. Every [`Vault`] is one.
#[async_trait]
pub trait KnownKeys: Send + Sync {
    /// The public facts of every stored key.
    async fn keys(&self) -> Result<Vec<CredentialFacts>, VaultError>;
}

#[async_trait]
impl<V: Vault + ?Sized> KnownKeys for V {
    async fn keys(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        self.list().await
    }
}

/// Where the state of each connection is kept. Everything that holds [`Conditions`] is one.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Only an account whose recorded state is `ready` may trade.
    async fn record_state(&self, account: &AccountId, connection: &Connection) -> Result<(), JournalError>;

    /// Of every account that was ever connected, as it was recorded last.
    async fn recorded_states(&self) -> Result<Vec<(AccountId, Connection)>, JournalError>;

    /// At the start, before anything is connected: nothing is known of any account.
    async fn forget_states(&self, now: Timestamp) -> Result<(), JournalError>;

    /// Waits until something in the store changed after `seen`, and returns the new count.
    async fn next_change(&self, seen: u64) -> u64;

    /// As [`Connections::next_change`], for what may concern every account: what people do beside this process. The
    /// counts of the two are not comparable. For a store that cannot tell, every change may.
    async fn next_change_for_all(&self, seen: u64) -> u64 {
        self.next_change(seen).await
    }
}

#[async_trait]
impl<C: Conditions + ?Sized> Connections for C {
    async fn record_state(&self, account: &AccountId, connection: &Connection) -> Result<(), JournalError> {
        self.put_connection(account, connection).await
    }

    async fn recorded_states(&self) -> Result<Vec<(AccountId, Connection)>, JournalError> {
        self.connections().await
    }

    async fn forget_states(&self, now: Timestamp) -> Result<(), JournalError> {
        self.forget_connections(now).await
    }

    async fn next_change(&self, seen: u64) -> u64 {
        self.changed(seen).await
    }

    async fn next_change_for_all(&self, seen: u64) -> u64 {
        self.changed_for_all(seen).await
    }
}
