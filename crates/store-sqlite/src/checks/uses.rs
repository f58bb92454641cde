//! What is used and reserved of each limit, and what the limit was when something was last taken of it.

use bursar_controls::{LimitKind, Snapshot};
use bursar_execution::oracles::UseFacts;
use bursar_model::{Usd, decimal};
use rusqlite::{Connection, OptionalExtension as _, Params, ToSql, params};
use rust_decimal::Decimal;

use super::rates;
use crate::error::StoreError;
use crate::intents::NOT_OVER;
use crate::usage::{self, POSITIONS, Whose};
use crate::values::{Exact, Moment};

pub(super) fn gather(connection: &Connection) -> Result<Vec<UseFacts>, StoreError> {
    let mut uses = Uses {
        connection,
        found: Vec::new(),
    };
    let newest = uses.newest_entries()?;
    uses.of_positions()?;
    uses.of_users(&newest)?;
    uses.of_accounts(&newest)?;
    uses.of_everybody(&newest)?;
    Ok(uses.found)
}

/// The newest entry of some rows that was admitted: by its number, which is the order in which limits were
/// in force. The clock may have been ahead and put right since.
struct Entry {
    /// What the gate saw of it.
    snapshot: Snapshot,
    account: String,
    user: String,
    pair: String,
    day: String,
    created_at: i64,
    number: i64,
    is_paper: bool,
}

impl Entry {
    /// The newest of those that `condition` is true of.
    fn newest(of: &[Self], condition: impl Fn(&Self) -> bool) -> Option<&Self> {
        of.iter()
            .filter(|entry| condition(entry))
            .max_by_key(|entry| entry.number)
    }

    /// What the sums of [`usage`] may ask for.
    fn names(&self) -> [(&str, &dyn ToSql); 6] {
        [
            (":account", &self.account),
            (":user", &self.user),
            (":pair", &self.pair),
            (":day", &self.day),
            (":since", &self.created_at),
            // No order is left out.
            (":intent", &""),
        ]
    }
}

struct Uses<'c> {
    connection: &'c Connection,
    found: Vec<UseFacts>,
}

impl Uses<'_> {
    /// The newest entry of each account.
    fn newest_entries(&self) -> Result<Vec<Entry>, StoreError> {
        let mut newest = Vec::new();
        for account in self.texts("SELECT id FROM account ORDER BY id")? {
            newest.extend(self.last_entry("account = ?1", [&account])?);
        }
        Ok(newest)
    }

    /// An entry whose snapshot this version cannot read says nothing of the limits of then.
    fn last_entry(&self, condition: &str, values: impl Params) -> Result<Option<Entry>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT snapshot, account, user, pair, day, created_at, number,
                    (SELECT mode = 'paper' FROM account WHERE id = intent.account)
             FROM intent INDEXED BY intent_newest WHERE {condition} AND reducing = 0 AND state <> 'denied'
             ORDER BY number DESC LIMIT 1"
        ))?;
        let mut rows = statement.query(values)?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let Ok(snapshot) = serde_json::from_str(&row.get::<_, String>(0)?) else {
            return Ok(None);
        };
        Ok(Some(Entry {
            snapshot,
            account: row.get(1)?,
            user: row.get(2)?,
            pair: row.get(3)?,
            day: row.get(4)?,
            created_at: row.get(5)?,
            number: row.get(6)?,
            is_paper: row.get(7)?,
        }))
    }

    fn sum(&self, sql: &str, values: impl Params) -> Result<Decimal, StoreError> {
        Ok(self
            .connection
            .prepare_cached(sql)?
            .query_row(values, |row| Ok(row.get::<_, Exact>(0)?.0))?)
    }

    fn texts(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn add(&mut self, kind: LimitKind, subject: &str, used: Decimal, limit: Decimal) {
        self.found.push(UseFacts {
            kind,
            subject: subject.to_owned(),
            used,
            limit,
        });
    }

    /// What `sum` of some rows comes to for the entry, where there was a limit for it.
    fn add_dollars(
        &mut self,
        kind: LimitKind,
        subject: &str,
        entry: &Entry,
        (sum, rows): (&str, &str),
        limit: Option<Usd>,
    ) -> Result<(), StoreError> {
        let Some(limit) = limit.map(Usd::amount) else {
            return Ok(());
        };
        let used = usage::value::<Exact>(self.connection, sum, &entry.names())?.0;
        if used <= limit {
            self.add(kind, subject, used, limit);
            return Ok(());
        }
        // What is not paid for in dollars may have become dearer than the gate counted with: what it took counts.
        let dearer = rates::dearer(self.connection, kind, rows, &entry.names())?;
        let taken = decimal::sub(used, dearer)?;
        if !self.is_booked_anew(kind, entry, rows)? {
            self.add(kind, subject, taken, limit);
        }
        Ok(())
    }

    fn add_exposure(
        &mut self,
        kind: LimitKind,
        subject: &str,
        entry: &Entry,
        rows: &str,
        limit: Option<Usd>,
    ) -> Result<(), StoreError> {
        self.add_dollars(kind, subject, entry, (&usage::own_exposure(rows), rows), limit)
    }

    fn add_turnover(
        &mut self,
        kind: LimitKind,
        subject: &str,
        entry: &Entry,
        whose: Whose,
        limit: Option<Usd>,
    ) -> Result<(), StoreError> {
        self.add_dollars(
            kind,
            subject,
            entry,
            (&usage::turnover(whose), whose.rows()),
            limit,
        )
    }

    /// Whether an execution became known late, so that its pair was booked anew: what earlier sales closed may then be
    /// another lot, and what is left may have cost more, though nobody took more of a limit.
    fn is_booked_anew(&self, kind: LimitKind, entry: &Entry, rows: &str) -> Result<bool, StoreError> {
        let is_of_positions = matches!(
            kind,
            LimitKind::PositionCost
                | LimitKind::AccountExposure
                | LimitKind::UserExposure
                | LimitKind::GlobalExposure
        );
        let is_booked_anew = format!(
            "EXISTS (SELECT 1 FROM fill AS late WHERE {rows} AND booked_at >= :since AND EXISTS (
                SELECT 1 FROM fill AS known WHERE known.account = late.account AND known.pair = late.pair
                    AND known.at > late.at AND known.booked_at < late.booked_at))"
        );
        Ok(is_of_positions && usage::value(self.connection, &is_booked_anew, &entry.names())?)
    }

    fn of_positions(&mut self) -> Result<(), StoreError> {
        let keys: Vec<(String, String)> = {
            let mut statement = self.connection.prepare_cached(
                "SELECT account, pair FROM reservation UNION SELECT account, pair FROM lot ORDER BY 1, 2",
            )?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for (account, pair) in keys {
            let key = params![account, pair];
            let subject = format!("{account} {pair}");
            if let Some(entry) = self.last_entry("account = ?1 AND pair = ?2", key)? {
                let limit = Some(entry.snapshot.limits.max_position);
                let rows = "account = :account AND pair = :pair";
                self.add_exposure(LimitKind::PositionCost, &subject, &entry, rows, limit)?;
            }
            let promised = self.sum(
                "SELECT dec_sum(amount) FROM reservation WHERE account = ?1 AND pair = ?2 AND kind = 'sale-quantity'",
                key,
            )?;
            if promised > Decimal::ZERO {
                let held = self.sum(
                    "SELECT dec_sum(quantity) FROM lot WHERE account = ?1 AND pair = ?2",
                    key,
                )?;
                self.add(LimitKind::SaleQuantity, &subject, promised, held);
            }
        }
        Ok(())
    }

    fn of_users(&mut self, newest: &[Entry]) -> Result<(), StoreError> {
        for user in self.texts("SELECT user FROM reservation UNION SELECT user FROM lot ORDER BY 1")? {
            let Some(entry) = Entry::newest(newest, |entry| entry.user == user) else {
                continue;
            };
            let (limits, policy) = (&entry.snapshot.limits, &entry.snapshot.policy);
            let positions = self.sum(
                &format!(
                    "SELECT CAST(count(*) AS TEXT) FROM (
                        {POSITIONS} UNION SELECT account, pair FROM reservation WHERE user = :user AND kind = 'positions')"
                ),
                &[(":user", &user)],
            )?;
            // Who holds more than that already may add to what is held, and dust counts again where an
            // exchange lowers its least size.
            let known = entry.snapshot.positions;
            let allowed = limits.max_positions.max(known.open).saturating_add(known.dust);
            self.add(LimitKind::Positions, &user, positions, allowed.into());
            let allowed = limits.max_daily_loss.plus(entry.snapshot.day.extra_allowance)?;
            self.add_dollars(
                LimitKind::DayLoss,
                &user,
                entry,
                (&usage::reserved_loss("user = :user"), "user = :user"),
                Some(allowed),
            )?;
            self.add_exposure(
                LimitKind::UserExposure,
                &user,
                entry,
                Whose::User.rows(),
                policy.max_user_exposure,
            )?;
            self.add_turnover(
                LimitKind::UserTurnover,
                &user,
                entry,
                Whose::User,
                policy.max_user_turnover,
            )?;
        }
        Ok(())
    }

    fn of_accounts(&mut self, newest: &[Entry]) -> Result<(), StoreError> {
        let accounts =
            self.texts("SELECT account FROM reservation UNION SELECT account FROM lot ORDER BY 1")?;
        for account in accounts {
            self.order_rate(&account)?;
            let Some(entry) = Entry::newest(newest, |entry| entry.account == account) else {
                continue;
            };
            let policy = &entry.snapshot.policy;
            // Exits are admitted beyond this limit, so that only entries count here.
            let open = self.sum(
                &format!(
                    "SELECT CAST(count(*) AS TEXT) FROM intent
                     WHERE account = ?1 AND reducing = 0 AND state IN {NOT_OVER}"
                ),
                params![account],
            )?;
            self.add(
                LimitKind::OpenOrders,
                &account,
                open,
                policy.max_open_orders.into(),
            );
            let entries = self.sum(
                &format!(
                    "SELECT CAST(count(*) AS TEXT) FROM intent WHERE account = ?1 AND day = ?2 AND reducing = 0
                       AND (state IN {NOT_OVER} OR dec_cmp(filled, '0') > 0)"
                ),
                params![account, entry.day],
            )?;
            self.add(
                LimitKind::Entries,
                &account,
                entries,
                policy.max_entries_per_day.into(),
            );
            self.add_exposure(
                LimitKind::AccountExposure,
                &account,
                entry,
                Whose::Account.rows(),
                policy.max_account_exposure,
            )?;
            self.add_turnover(
                LimitKind::AccountTurnover,
                &account,
                entry,
                Whose::Account,
                policy.max_account_turnover,
            )?;
            self.add_dollars(
                LimitKind::AccountLoss,
                &account,
                entry,
                (&usage::reserved_loss("account = :account"), "account = :account"),
                policy.max_account_daily_loss,
            )?;
        }
        Ok(())
    }

    /// How many orders were admitted in the minute before the newest, and it.
    fn order_rate(&mut self, account: &str) -> Result<(), StoreError> {
        let newest: Option<(String, i64, Moment, bool)> = self
            .connection
            .prepare_cached(
                "SELECT snapshot, number, created_at, reducing FROM intent INDEXED BY intent_newest
                 WHERE account = ?1 AND state <> 'denied'
                 ORDER BY number DESC LIMIT 1",
            )?
            .query_row([account], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((snapshot, number, Moment(created_at), reducing)) = newest else {
            return Ok(());
        };
        let Ok(snapshot) = serde_json::from_str::<Snapshot>(&snapshot) else {
            return Ok(());
        };
        let admitted = self.sum(
            "SELECT CAST(count(*) AS TEXT) FROM intent
             WHERE account = ?1 AND created_at > ?2 AND number <= ?3 AND state <> 'denied'",
            params![account, usage::minute_before(created_at), number],
        )?;
        let limit = snapshot.policy.orders_per_minute(reducing);
        self.add(LimitKind::OrdersPerMinute, account, admitted, limit.into());
        Ok(())
    }

    /// Paper and real money, each for itself.
    fn of_everybody(&mut self, newest: &[Entry]) -> Result<(), StoreError> {
        for (subject, is_paper) in [("everybody", false), ("paper", true)] {
            let Some(entry) = Entry::newest(newest, |entry| entry.is_paper == is_paper) else {
                continue;
            };
            let policy = &entry.snapshot.policy;
            self.add_exposure(
                LimitKind::GlobalExposure,
                subject,
                entry,
                Whose::Everybody.rows(),
                policy.max_global_exposure,
            )?;
            if !is_paper {
                self.add_dollars(
                    LimitKind::GlobalLoss,
                    subject,
                    entry,
                    (&usage::reserved_loss(usage::REAL_MONEY), usage::REAL_MONEY),
                    policy.max_global_daily_loss,
                )?;
            }
        }
        Ok(())
    }
}
