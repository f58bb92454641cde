//! What a flattener reads beside the journal: two people's accounts, and the intents of a pair.

use async_trait::async_trait;
use bursar_auth::{
    Account, AccountChange, Act, Directory, DirectoryError, NewAccount, NewUser, User, UserChange,
};
use bursar_execution::{
    BookedFill, ErrorCount, Intent, IntentFilter, JournalError, OutboxEvent, Recorded, Reports,
    ReservationRow, StrayFill, UserDay,
};
use bursar_ledger::{ClosedLot, DayKey, Entry, Lot, OpenPosition};
use bursar_model::{AccountId, FillId, IntentId, Usd, UserId};
use bursar_testkit::people;
use jiff::Timestamp;

use crate::store::Store;
use crate::world::at_start;

/// `kraken-ilves`, which the desk trades, and another user's account, which is not connected.
fn accounts() -> Vec<Account> {
    vec![
        Account::made(people::account("kraken-ilves", "mara_ilves"), at_start()),
        Account::made(people::account("kraken-brandt", "tomas_brandt"), at_start()),
    ]
}

#[async_trait]
impl Directory for Store {
    async fn account(&self, id: &AccountId) -> Result<Account, DirectoryError> {
        Ok(accounts().into_iter().find(|account| account.id() == id).unwrap())
    }
    async fn accounts(&self) -> Result<Vec<Account>, DirectoryError> {
        Ok(accounts())
    }
    async fn add_user(&self, _: NewUser, _: &Act) -> Result<User, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn user(&self, _: &UserId) -> Result<User, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn users(&self) -> Result<Vec<User>, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn update_user(&self, _: &UserId, _: UserChange, _: &Act) -> Result<User, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn set_default_account(
        &self,
        _: &UserId,
        _: Option<&AccountId>,
        _: &Act,
    ) -> Result<User, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn add_account(&self, _: NewAccount, _: &Act) -> Result<Account, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn accounts_of(&self, _: &UserId) -> Result<Vec<Account>, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn update_account(
        &self,
        _: &AccountId,
        _: AccountChange,
        _: &Act,
    ) -> Result<Account, DirectoryError> {
        panic!("not of a flattener")
    }
    async fn close_account(&self, _: &AccountId, _: &Act) -> Result<Account, DirectoryError> {
        panic!("not of a flattener")
    }
}

#[async_trait]
impl Reports for Store {
    async fn find_intents(&self, filter: &IntentFilter, limit: u32) -> Result<Vec<Intent>, JournalError> {
        assert!(filter.states.is_empty() && filter.before.is_none() && filter.user.is_none());
        let mut found: Vec<Intent> = self.rows().intents.values().cloned().collect();
        found.retain(|intent| {
            filter.account.as_ref().is_none_or(|id| intent.account == *id)
                && filter
                    .pair
                    .as_ref()
                    .is_none_or(|pair| intent.request.pair == *pair)
                && filter.since.is_none_or(|since| intent.created_at >= since)
        });
        found.sort_by_key(|intent| std::cmp::Reverse(intent.created_at));
        found.truncate(usize::try_from(limit).unwrap());
        Ok(found)
    }
    async fn orders_beginning(&self, _: &str, _: u32) -> Result<Vec<IntentId>, JournalError> {
        panic!("not of a flattener")
    }
    async fn explain(&self, _: IntentId) -> Result<Recorded, JournalError> {
        panic!("not of a flattener")
    }
    async fn open_positions(&self, _: Option<&AccountId>) -> Result<Vec<OpenPosition>, JournalError> {
        panic!("not of a flattener")
    }
    async fn open_lots(&self, _: Option<&AccountId>) -> Result<Vec<Lot>, JournalError> {
        panic!("not of a flattener")
    }
    async fn closed_lots(&self, _: Option<&AccountId>) -> Result<Vec<ClosedLot>, JournalError> {
        panic!("not of a flattener")
    }
    async fn closed_lots_of(&self, _: &UserId) -> Result<Vec<ClosedLot>, JournalError> {
        panic!("not of a flattener")
    }
    async fn fills(
        &self,
        _: Option<&AccountId>,
        _: Option<&UserId>,
        _: u32,
    ) -> Result<Vec<BookedFill>, JournalError> {
        panic!("not of a flattener")
    }
    async fn fills_of_day(&self, _: &UserId, _: DayKey) -> Result<Vec<BookedFill>, JournalError> {
        panic!("not of a flattener")
    }
    async fn entries(&self, _: &AccountId, _: &FillId) -> Result<Vec<Entry>, JournalError> {
        panic!("not of a flattener")
    }
    async fn stray_fills(&self, _: &AccountId) -> Result<Vec<StrayFill>, JournalError> {
        panic!("not of a flattener")
    }
    async fn kept_aside(&self, _: &Intent) -> Result<Vec<bursar_model::Fill>, JournalError> {
        panic!("not of a flattener")
    }
    async fn reservations(&self, _: Option<&AccountId>) -> Result<Vec<ReservationRow>, JournalError> {
        panic!("not of a flattener")
    }
    async fn user_day(&self, _: &UserId, _: Timestamp) -> Result<UserDay, JournalError> {
        panic!("not of a flattener")
    }
    async fn paid_in(&self, _: &AccountId) -> Result<Option<Usd>, JournalError> {
        panic!("not of a flattener")
    }
    async fn error_counts(
        &self,
        _: Option<&AccountId>,
        _: Timestamp,
    ) -> Result<Vec<ErrorCount>, JournalError> {
        panic!("not of a flattener")
    }
    async fn newest_event(&self) -> Result<u64, JournalError> {
        panic!("not of a flattener")
    }
    async fn events(&self, _: u64, _: u32) -> Result<Vec<OutboxEvent>, JournalError> {
        panic!("not of a flattener")
    }
}
