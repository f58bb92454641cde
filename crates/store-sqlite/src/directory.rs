//! Users and accounts.

use async_trait::async_trait;
use bursar_audit::{Action, Data, Subject};
use bursar_auth::{
    Account, AccountChange, Act, Directory, DirectoryError, NewAccount, NewUser, Record, User, UserChange,
};
use bursar_model::{AccountId, AccountMode, AccountStatus, UserId};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::audit::{act_draft, digest};
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;

mod identity;

pub(crate) use identity::identify;

#[async_trait]
impl Directory for SqliteStore {
    async fn add_user(&self, new: NewUser, act: &Act) -> Result<User, DirectoryError> {
        let act = act.clone();
        self.write(move |tx| add_user(tx, new, &act)).await
    }

    async fn user(&self, id: &UserId) -> Result<User, DirectoryError> {
        let id = id.clone();
        self.read(move |connection| user(connection, &id)).await
    }

    async fn users(&self) -> Result<Vec<User>, DirectoryError> {
        self.read(|connection| {
            let mut users = users(connection)?;
            users.retain(|user| user.deleted_at.is_none());
            Ok(users)
        })
        .await
    }

    async fn update_user(&self, id: &UserId, change: UserChange, act: &Act) -> Result<User, DirectoryError> {
        let (id, act) = (id.clone(), act.clone());
        self.write(move |tx| update_user(tx, &id, &change, &act)).await
    }

    async fn set_default_account(
        &self,
        user: &UserId,
        account: Option<&AccountId>,
        act: &Act,
    ) -> Result<User, DirectoryError> {
        let (user, account, act) = (user.clone(), account.cloned(), act.clone());
        self.write(move |tx| set_default_account(tx, &user, account, &act))
            .await
    }

    async fn add_account(&self, new: NewAccount, act: &Act) -> Result<Account, DirectoryError> {
        let act = act.clone();
        self.write(move |tx| add_account(tx, new, &act)).await
    }

    async fn account(&self, id: &AccountId) -> Result<Account, DirectoryError> {
        let id = id.clone();
        self.read(move |connection| account(connection, &id)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, DirectoryError> {
        self.read(|connection| Ok(accounts(connection, None)?)).await
    }

    async fn accounts_of(&self, owner: &UserId) -> Result<Vec<Account>, DirectoryError> {
        let owner = owner.clone();
        self.read(move |connection| Ok(accounts(connection, Some(&owner))?))
            .await
    }

    async fn update_account(
        &self,
        id: &AccountId,
        change: AccountChange,
        act: &Act,
    ) -> Result<Account, DirectoryError> {
        let (id, act) = (id.clone(), act.clone());
        self.write(move |tx| update_account(tx, &id, &change, &act)).await
    }

    async fn close_account(&self, id: &AccountId, act: &Act) -> Result<Account, DirectoryError> {
        let (id, act) = (id.clone(), act.clone());
        self.write(move |tx| close_account(tx, &id, &act)).await
    }
}

pub(crate) fn add_user(tx: &Tx<'_>, new: NewUser, act: &Act) -> Result<User, DirectoryError> {
    if find_user(tx, &new.id)?.is_some() {
        return Err(exists(Record::User, &new.id));
    }
    refuse_taken_email(tx, new.email.as_str())?;
    let user = User::made(new, act.at);
    let write = || -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO user (id, email, name, tier, account_type, enabled, created_at, default_account)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)",
            params![
                Text(&user.id),
                user.email.as_str(),
                user.name.as_ref().map(|name| name.as_str()),
                Text(&user.tier),
                user_word(&user.account_type),
                user.enabled,
                moment(user.created_at)?,
            ],
        )?;
        let draft = act_draft(act, Action::UserAdded)
            .on(Subject::user(&user.id))
            .change(None, Some(digest(&user)?))
            .with(Data::new().text("tier", user.tier));
        tx.record(act.at, draft)
    };
    write()?;
    Ok(user)
}

pub(crate) fn update_user(
    tx: &Tx<'_>,
    id: &UserId,
    change: &UserChange,
    act: &Act,
) -> Result<User, DirectoryError> {
    let before = present_user(tx, id)?;
    let mut after = before.clone();
    if !change.apply(&mut after) {
        return Ok(before);
    }
    if !before.email.as_str().eq_ignore_ascii_case(after.email.as_str()) {
        refuse_taken_email(tx, after.email.as_str())?;
    }
    let (action, data) = match change {
        UserChange::Enabled(true) => (Action::UserEnabled, Data::new()),
        UserChange::Enabled(false) => (Action::UserDisabled, Data::new()),
        UserChange::Tier(tier) => (
            Action::UserTierSet,
            Data::new().text("before", before.tier).text("after", tier),
        ),
        // What people are called stays out of the trail; the hashes tell that it changed.
        UserChange::Email(_) => (Action::UserEmailSet, Data::new()),
        UserChange::Name(_) => (Action::UserNameSet, Data::new()),
        UserChange::AccountType(kind) => (
            Action::UserAccountTypeSet,
            Data::new()
                .text("before", before.account_type)
                .text("after", kind),
        ),
    };
    write_user(tx, &before, &after, action, data, act)?;
    Ok(before)
}

fn set_default_account(
    tx: &Tx<'_>,
    id: &UserId,
    chosen: Option<AccountId>,
    act: &Act,
) -> Result<User, DirectoryError> {
    let before = present_user(tx, id)?;
    if let Some(chosen) = &chosen {
        let seen = find_account(tx, chosen)?.filter(|account| account.owner() == id);
        let seen = seen.ok_or_else(|| DirectoryError::no_account(chosen))?;
        if !seen.is_open() {
            return Err(DirectoryError::closed(chosen));
        }
    }
    if before.default_account == chosen {
        return Ok(before);
    }
    let data = Data::new()
        .optional("before", before.default_account.as_ref())
        .optional("after", chosen.as_ref());
    let after = User {
        default_account: chosen,
        ..before.clone()
    };
    write_user(tx, &before, &after, Action::UserDefaultAccountSet, data, act)?;
    Ok(before)
}

pub(crate) fn write_user(
    tx: &Tx<'_>,
    before: &User,
    after: &User,
    action: Action,
    data: Data,
    act: &Act,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE user SET email = ?2, name = ?3, tier = ?4, account_type = ?5, enabled = ?6, default_account = ?7,
             deleted_at = ?8
         WHERE id = ?1",
        params![
            Text(&after.id),
            after.email.as_str(),
            after.name.as_ref().map(|name| name.as_str()),
            Text(&after.tier),
            user_word(&after.account_type),
            after.enabled,
            after.default_account.as_ref().map(AccountId::as_str),
            after.deleted_at.map(moment).transpose()?,
        ],
    )?;
    let draft = act_draft(act, action)
        .on(Subject::user(&after.id))
        .change(Some(digest(before)?), Some(digest(after)?))
        .with(data);
    tx.record(act.at, draft)
}

pub(crate) fn add_account(tx: &Tx<'_>, new: NewAccount, act: &Act) -> Result<Account, DirectoryError> {
    if find_account(tx, &new.id)?.is_some() {
        return Err(exists(Record::Account, &new.id));
    }
    present_user(tx, &new.owner)?;
    keep_money_apart(tx, &new, act.at)?;
    let account = Account::made(new, act.at);
    let write = || -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO account (id, owner, broker, role, mode, status, nickname, venue_account_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                Text(account.id()),
                Text(account.owner()),
                Text(account.broker()),
                Text(&account.role()),
                Text(&account.mode()),
                Text(&account.status),
                account.nickname.as_ref().map(|name| name.as_str()),
                account.venue_account_id,
                moment(account.created_at())?,
            ],
        )?;
        let data = Data::new()
            .text("broker", account.broker())
            .text("role", account.role())
            .text("mode", account.mode());
        let draft = act_draft(act, Action::AccountAdded)
            .on(subject(&account))
            .change(None, Some(digest(&account)?))
            .with(data);
        tx.record(act.at, draft)
    };
    write()?;
    Ok(account)
}

/// Limits, losses and switches of a user count over all the user's accounts: a gain on paper must not
/// make up for a loss of money, nor a loss on paper sell anything.
fn keep_money_apart(tx: &Tx<'_>, new: &NewAccount, now: Timestamp) -> Result<(), DirectoryError> {
    // A shadow account executes nothing.
    let is_paper = match new.mode {
        AccountMode::Paper => true,
        AccountMode::Live => false,
        AccountMode::Shadow => return Ok(()),
    };
    // Of a closed account, what it did today still counts.
    let yesterday = now.saturating_sub(SignedDuration::from_hours(48)).unwrap_or(now);
    let other = first_account(
        tx,
        "owner = ?1 AND mode <> 'shadow' AND (mode = 'paper') <> ?2
         AND (status <> 'closed'
              OR EXISTS (SELECT 1 FROM fill WHERE fill.account = account.id AND fill.booked_at > ?3))",
        params![Text(&new.owner), is_paper, moment(yesterday)?],
    )?;
    let Some(other) = other else {
        return Ok(());
    };
    let (asked, has) = if is_paper {
        ("on paper", "real money")
    } else {
        ("with real money", "paper")
    };
    Err(DirectoryError::Conflict {
        record: Record::Account,
        id: new.id.to_string(),
        state: format!(
            "cannot trade {asked}: account `{other}` of user `{}` trades {has}, and limits and losses count over all accounts of a user",
            new.owner
        ),
        hint: "add another user for it with `bursar user add`".to_owned(),
    })
}

fn first_account(
    connection: &Connection,
    condition: &str,
    values: impl Params,
) -> Result<Option<String>, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT id FROM account WHERE {condition} ORDER BY id LIMIT 1"
        ))?
        .query_row(values, |row| row.get(0))
        .optional()?)
}

pub(crate) fn update_account(
    tx: &Tx<'_>,
    id: &AccountId,
    change: &AccountChange,
    act: &Act,
) -> Result<Account, DirectoryError> {
    let before = account(tx, id)?;
    if !before.is_open() {
        return Err(DirectoryError::closed(id));
    }
    if let AccountChange::VenueAccountId(Some(venue)) = change {
        identity::refuse_another(tx, &before, venue)?;
    }
    let mut after = before.clone();
    if !change.apply(&mut after) {
        return Ok(before);
    }
    let action = match change {
        AccountChange::Nickname(_) => Action::AccountRenamed,
        AccountChange::Suspended(true) => Action::AccountSuspended,
        AccountChange::Suspended(false) => Action::AccountResumed,
        AccountChange::VenueAccountId(_) => Action::AccountIdentified,
    };
    write_account(tx, &before, &after, action, act)?;
    Ok(before)
}

pub(crate) fn close_account(tx: &Tx<'_>, id: &AccountId, act: &Act) -> Result<Account, DirectoryError> {
    let before = account(tx, id)?;
    if !before.is_open() {
        return Err(DirectoryError::closed(id));
    }
    if let Some((state, hint)) = what_is_left(tx, id)? {
        return Err(DirectoryError::Conflict {
            record: Record::Account,
            id: id.to_string(),
            state,
            hint,
        });
    }
    let mut after = before.clone();
    after.status = AccountStatus::Closed;
    write_account(tx, &before, &after, Action::AccountClosed, act)?;
    Ok(before)
}

/// What keeps an account from being closed, and what to do about it.
fn what_is_left(tx: &Tx<'_>, id: &AccountId) -> Result<Option<(String, String)>, StoreError> {
    let orders: u64 = tx.query_row(
        "SELECT count(*) FROM intent
         WHERE account = ?1 AND state IN ('approved', 'dispatching', 'unknown', 'open', 'incident')",
        [Text(id)],
        |row| row.get(0),
    )?;
    if orders > 0 {
        let hint = format!("see them with `bursar orders --account {id}` and cancel them first");
        return Ok(Some((
            format!("still has {orders} orders that are not over"),
            hint,
        )));
    }
    let lots: u64 = tx.query_row(
        "SELECT count(DISTINCT pair) FROM lot WHERE account = ?1",
        [Text(id)],
        |row| row.get(0),
    )?;
    if lots > 0 {
        let hint = format!("close them first, for example with `bursar kill account {id} --mode flatten`");
        return Ok(Some((format!("still holds {lots} positions"), hint)));
    }
    Ok(None)
}

fn write_account(
    tx: &Tx<'_>,
    before: &Account,
    after: &Account,
    action: Action,
    act: &Act,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE account SET status = ?2, nickname = ?3, venue_account_id = ?4 WHERE id = ?1",
        params![
            Text(after.id()),
            Text(&after.status),
            after.nickname.as_ref().map(|name| name.as_str()),
            after.venue_account_id,
        ],
    )?;
    let draft = act_draft(act, action)
        .on(subject(after))
        .change(Some(digest(before)?), Some(digest(after)?));
    tx.record(act.at, draft)
}

fn subject(account: &Account) -> Subject {
    Subject {
        user: Some(account.owner().clone()),
        ..Subject::account(account.id())
    }
}

fn exists(record: Record, id: &impl ToString) -> DirectoryError {
    DirectoryError::Exists {
        record,
        id: id.to_string(),
    }
}

fn refuse_taken_email(tx: &Tx<'_>, email: &str) -> Result<(), DirectoryError> {
    let taken = tx
        .query_row("SELECT 1 FROM user WHERE email = ?1", [email], |_| Ok(()))
        .optional()
        .map_err(StoreError::from)?;
    match taken {
        Some(()) => Err(exists(Record::Email, &email)),
        None => Ok(()),
    }
}

/// The words of an account type, which the column keeps.
fn user_word(kind: &bursar_auth::AccountType) -> String {
    kind.to_string()
}

pub(crate) fn user(connection: &Connection, id: &UserId) -> Result<User, DirectoryError> {
    find_user(connection, id)?.ok_or_else(|| DirectoryError::no_user(id))
}

/// One who may still change.
fn present_user(connection: &Connection, id: &UserId) -> Result<User, DirectoryError> {
    let user = user(connection, id)?;
    match user.deleted_at {
        None => Ok(user),
        Some(_) => Err(DirectoryError::deleted(id)),
    }
}

pub(crate) fn find_user(connection: &Connection, id: &UserId) -> Result<Option<User>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT id, email, name, tier, account_type, enabled, created_at, default_account, deleted_at
             FROM user WHERE id = ?1",
        )?
        .query_row([Text(id)], read_user)
        .optional()?)
}

pub(crate) fn users(connection: &Connection) -> Result<Vec<User>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, email, name, tier, account_type, enabled, created_at, default_account, deleted_at
         FROM user ORDER BY id",
    )?;
    let users = statement.query_map([], read_user)?;
    Ok(users.collect::<rusqlite::Result<_>>()?)
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get::<_, Text<_>>(0)?.0,
        email: row.get::<_, Text<_>>(1)?.0,
        name: row.get::<_, Option<Text<_>>>(2)?.map(|name| name.0),
        tier: row.get::<_, Text<_>>(3)?.0,
        account_type: row.get::<_, Text<_>>(4)?.0,
        enabled: row.get(5)?,
        created_at: row.get::<_, Moment>(6)?.0,
        default_account: row.get::<_, Option<Text<_>>>(7)?.map(|account| account.0),
        deleted_at: row.get::<_, Option<Moment>>(8)?.map(|Moment(at)| at),
    })
}

pub(crate) fn account(connection: &Connection, id: &AccountId) -> Result<Account, DirectoryError> {
    find_account(connection, id)?.ok_or_else(|| DirectoryError::no_account(id))
}

const ACCOUNT: &str =
    "SELECT id, owner, broker, role, mode, nickname, created_at, status, venue_account_id FROM account";

pub(crate) fn find_account(connection: &Connection, id: &AccountId) -> Result<Option<Account>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("{ACCOUNT} WHERE id = ?1"))?
        .query_row([Text(id)], read_account)
        .optional()?)
}

pub(crate) fn accounts(connection: &Connection, owner: Option<&UserId>) -> Result<Vec<Account>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("{ACCOUNT} WHERE ?1 IS NULL OR owner = ?1 ORDER BY id"))?;
    let accounts = statement.query_map([owner.map(UserId::as_str)], read_account)?;
    Ok(accounts.collect::<rusqlite::Result<_>>()?)
}

fn read_account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let new = NewAccount {
        id: row.get::<_, Text<_>>(0)?.0,
        owner: row.get::<_, Text<_>>(1)?.0,
        broker: row.get::<_, Text<_>>(2)?.0,
        role: row.get::<_, Text<_>>(3)?.0,
        mode: row.get::<_, Text<_>>(4)?.0,
        nickname: row.get::<_, Option<Text<_>>>(5)?.map(|name| name.0),
    };
    let mut account = Account::made(new, row.get::<_, Moment>(6)?.0);
    account.status = row.get::<_, Text<_>>(7)?.0;
    account.venue_account_id = row.get(8)?;
    Ok(account)
}
