//! Everything that the store holds and the audit trail knows, row by row, in the words in which the two
//! are compared. Every table is in one of three lists; a test holds them to the schema.
//!
//! # Compared with the records
//!
//! - `intent`: its state, how often it was sent, what is filled of it, the bytes of its terms, whose it is, its day,
//!   whether it lowers a position, its id at the exchange, and that this may take it no less long than was recorded; the
//!   rest of its columns is not
//! - `fill`: everything that its worth depends on, as far as its record says it
//! - `written_off`: everything that its worth depends on
//! - `cancel`, `external_order`: that they are there, and how far a cancel got
//! - `user`, `account`, `permission`, `preference`, `policy`, `day_boundary`: as they were written, also of a user
//!   who was deleted and of an account that was closed
//! - `connection`: its state
//! - `trading_day`: those that were opened, with their ends
//! - `loss_allowance`: its amount
//! - `latch`: what it stops and why, since when it is on, how it ends, and whether it did
//! - `halt`: those that were proved
//! - `approval`: the measure, who proposed it and when, until when it is good, what they saw, and who decided how
//! - `people`: whether one person may do what takes two
//! - `keystore_header`, `credential`: their version; what is in them is sealed to it
//! - `key_check`: whether the exchange admitted the key
//! - `superseded_key`, `sealing`, `tombstone`: that they are there
//! - `audit_key`: the key, and the record that certifies it
//! - `store`: its format, how often it was put back, and its id, which every record bears
//! - `audit_record`, `audit_head`, `audit_checkpoint`: they are the trail, which is verified before
//!
//! # Derived again
//!
//! No record is written of them: they follow from executions and orders, by the functions of the ledger and of the
//! gate, and are derived once more ([`crate::checks`]).
//!
//! - `lot`, `closed_lot`: from the executions of their pair
//! - `entry`: from its execution
//! - `reservation`: from what its order was admitted by and what is filled of it, as the least that it may be: what a
//!   rate that rose has added since is not derived
//!
//! # Left out
//!
//! No record says what is in them. What somebody could reach by changing them is said here.
//!
//! - `idempotency`: under which key a caller asked; without its row the same request can be made twice
//! - `unpriced_fill`, `stray_fill`: not booked yet; what is taken away here is missing at the next comparison with
//!   the exchange
//! - `checkpoint`, `reconciliation`: how far an account was read and when it was compared; both anew when it connects,
//!   and a switch could be released on a comparison that was not made
//! - `balance`, `instrument`, `quote`, `opening_mark`: measured, and all but the last anew every few seconds; a mark
//!   of the day's opening moves the loss of that day and no other
//! - `error`, `error_total`, `error_row`, `breaker_count`, `breaker`: counts that lead to a switch, which is compared
//! - `loss_watch`: that somebody was warned, and how bad it got; what stops is a switch
//! - `nonce_floor`, `confirmed_clock`: the exchange refuses a number that was used; a day can end too early by as much
//!   as the clock of this machine is ahead
//! - `made_key`, `retired_key`, `backup`: a wrapping key that is in no keyring wraps nothing, and one that is made too
//!   late is replaced later; what backups there are is shown
//! - `traded`, `outside`, `equity`, `flow`: what accounts were worth, for reports
//! - `note`: what strategies and paper exchanges remember; a strategy sells and buys by it, inside the limits
//! - `outbox`, `notice_position`, `notice_inbox`, `notice_delivery`, `notice_attempt`: what others are told
//! - `trail`, `self_check`, `violation`: where records are found and how far the self-check got; an order whose records
//!   are not found breaks a promise there

use bursar_audit::expected::{
    BookingFacts, Expected, FillFacts, IntentFacts, KEPT_KEY, SEALED, Thing, WriteOffFacts, alone_value,
    amount_value, check_value, halt_value, key_value, latch_terms, latch_value,
};
use bursar_audit::{Hash, outside};
use bursar_execution::BookedFill;
use bursar_ledger::LedgerFill;
use bursar_model::{AccountId, CredentialId, FillId, IntentId, IntentState, LatchId, UserId};
use rusqlite::{Connection, Row};

use crate::audit::digest;
use crate::error::StoreError;
use crate::fills::{self, LEDGER_FILL, WRITTEN_OFF};
use crate::values::{Exact, Moment, Text};
use crate::{approvals, checkpoints, days, directory, schema};

/// Tells `expected` everything.
pub(crate) fn compare(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    orders(connection, expected)?;
    executions(connection, expected)?;
    people(connection, expected)?;
    conditions(connection, expected)?;
    keys(connection, expected)?;
    switches(connection, expected)?;
    decisions(connection, expected)
}

fn each(
    connection: &Connection,
    sql: &str,
    mut look: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        look(row)?;
    }
    Ok(())
}

fn text<T>(row: &Row<'_>, column: usize) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(row.get::<_, Text<T>>(column)?.0)
}

fn orders(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    let intents = "SELECT id, state, attempts, filled, terms, terms_hash FROM intent";
    let mut withdrawn = std::collections::HashSet::new();
    each(connection, intents, |row| {
        let id: IntentId = text(row, 0)?;
        let terms = row
            .get_ref(4)?
            .as_blob_or_null()
            .unwrap_or_default()
            .map(Hash::of);
        let kept = row.get_ref(5)?.as_blob_or_null().unwrap_or_default();
        // The bytes decide; a hash beside them that is not theirs is as good as none.
        let is_theirs = terms.as_ref().map(|terms| terms.as_bytes().as_slice()) == kept;
        let facts = IntentFacts {
            state: text(row, 1)?,
            attempts: row.get(2)?,
            filled: row.get::<_, Exact>(3)?.0,
            terms: terms.filter(|_| is_theirs),
        };
        if facts.state == IntentState::Withdrawn {
            withdrawn.insert(id);
        }
        expected.held_intent(id, &facts);
        Ok(())
    })?;
    each(connection, "SELECT intent, state, sent_at FROM cancel", |row| {
        let id: IntentId = text(row, 0)?;
        let state: String = row.get(1)?;
        // An order that was withdrawn before it was sent needs no cancel; that it was asked for is said
        // by the record of the withdrawal.
        let thing = Thing::Cancel(id);
        if state == "done" && withdrawn.contains(&id) && !expected.knows(&thing) {
            return Ok(());
        }
        expected.held(&thing, &state);
        Ok(())
    })?;
    each(
        connection,
        "SELECT account, venue_order_id FROM external_order",
        |row| {
            expected.held(&Thing::External(text::<AccountId>(row, 0)?, row.get(1)?), "seen");
            Ok(())
        },
    )
}

fn executions(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    each(
        connection,
        &format!("SELECT {LEDGER_FILL}, id FROM fill"),
        |row| {
            let booked = fills::read_booked(row)?;
            let (account, id) = (booked.fill.account.clone(), text::<FillId>(row, 9)?);
            expected.held(&Thing::Fill(account.clone(), id.clone()), &fill_value(&booked));
            let booking = Thing::Booking(account, id);
            if expected.knows(&booking) {
                expected.held(&booking, &booking_value(&booked.fill));
            }
            Ok(())
        },
    )?;
    each(
        connection,
        &format!("SELECT {WRITTEN_OFF}, id FROM written_off"),
        |row| {
            let booked = fills::read_ledger_fill(row)?;
            let thing = Thing::WriteOff(booked.account.clone(), text::<FillId>(row, 7)?);
            expected.held(&thing, &write_off_value(&booked));
            Ok(())
        },
    )
}

fn write_off_value(booked: &LedgerFill) -> String {
    let LedgerFill { user, day, fill, .. } = booked;
    let facts = WriteOffFacts {
        user: user.as_str(),
        pair: &fill.pair.to_string(),
        quantity: fill.quantity.value(),
        price: fill.price.value(),
        usd_rate: booked.usd_rate.value(),
        day: &day.to_string(),
        at: fill.at,
    };
    facts.to_string()
}

fn fill_value(booked: &BookedFill) -> String {
    let LedgerFill { user, day, fill, .. } = &booked.fill;
    let facts = FillFacts {
        intent: booked.intent,
        user: user.as_str(),
        side: fill.side.into(),
        pair: &fill.pair.to_string(),
        quantity: fill.quantity.value(),
        price: fill.price.value(),
        fee: &fill.fee.to_string(),
        day: &day.to_string(),
        booked_at: booked.booked_at,
    };
    facts.to_string()
}

fn booking_value(booked: &LedgerFill) -> String {
    let fill = &booked.fill;
    let facts = BookingFacts {
        at: &fill.at.to_string(),
        venue_order_id: &outside(fill.venue_order_id.as_str()),
        liquidity: fill.liquidity.into(),
        usd_rate: booked.usd_rate.value(),
        fee_usd: &booked.fee_usd.to_string(),
        fee_is_estimated: booked.fee_is_estimated,
    };
    facts.to_string()
}

fn people(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    for user in directory::users(connection)? {
        let digest = digest(&user)?.to_string();
        expected.held(&Thing::User(user.id), &digest);
    }
    for account in directory::accounts(connection, None)? {
        let digest = digest(&account)?.to_string();
        expected.held(&Thing::Account(account.id().clone()), &digest);
    }
    each(connection, "SELECT account, state FROM connection", |row| {
        let state: String = row.get(1)?;
        expected.held(&Thing::Connection(text::<AccountId>(row, 0)?), &state);
        Ok(())
    })
}

/// The trail has the hash of the text that was written; so what a later version would write of the same
/// values makes no difference.
fn conditions(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    type OfUser = fn(UserId) -> Thing;
    let of_users: [(&str, OfUser); 2] = [
        ("SELECT user, body FROM permission", Thing::Permissions),
        ("SELECT user, body FROM preference", Thing::Preferences),
    ];
    for (sql, thing) in of_users {
        each(connection, sql, |row| {
            let body: String = row.get(1)?;
            let thing = thing(text::<UserId>(row, 0)?);
            expected.held(&thing, &Hash::of(body.as_bytes()).to_string());
            Ok(())
        })?;
    }
    each(connection, "SELECT body FROM policy", |row| {
        let body: String = row.get(0)?;
        expected.held(&Thing::Policy, &Hash::of(body.as_bytes()).to_string());
        Ok(())
    })?;
    each(connection, "SELECT 1 FROM day_boundary", |_| {
        let digest = digest(&days::boundary(connection)?)?.to_string();
        expected.held(&Thing::DayBoundary, &digest);
        Ok(())
    })?;
    let opened = "SELECT key, starts, ends FROM trading_day WHERE opened = 1";
    each(connection, opened, |row| {
        let (starts, ends): (Moment, Moment) = (row.get(1)?, row.get(2)?);
        let value = format!("{} to {}", starts.0, ends.0);
        expected.held(&Thing::TradingDay(row.get(0)?), &value);
        Ok(())
    })?;
    each(connection, "SELECT user, day, extra FROM loss_allowance", |row| {
        let thing = Thing::LossAllowed(text::<UserId>(row, 0)?, row.get(1)?);
        let extra: String = row.get(2)?;
        expected.held(&thing, &amount_value(&extra));
        Ok(())
    })?;
    let format = schema::version(connection)?.to_string();
    expected.held(&Thing::StoreFormat, &format);
    // A store that was never put back has no record of it.
    each(connection, "SELECT epoch FROM store WHERE epoch <> 0", |row| {
        let epoch: i64 = row.get(0)?;
        expected.held(&Thing::Epoch, &epoch.to_string());
        Ok(())
    })
}

fn keys(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    each(connection, "SELECT id, version FROM credential", |row| {
        let version: u64 = row.get(1)?;
        expected.held(
            &Thing::Credential(text::<CredentialId>(row, 0)?),
            &version.to_string(),
        );
        Ok(())
    })?;
    each(
        connection,
        "SELECT credential, refusal IS NULL FROM key_check",
        |row| {
            let thing = Thing::KeyCheck(text::<CredentialId>(row, 0)?);
            expected.held(&thing, check_value(row.get(1)?));
            Ok(())
        },
    )?;
    each(connection, "SELECT credential FROM superseded_key", |row| {
        expected.held(&Thing::Superseded(text::<CredentialId>(row, 0)?), KEPT_KEY);
        Ok(())
    })?;
    each(connection, "SELECT credential, account FROM tombstone", |row| {
        let account: String = row.get(1)?;
        expected.held(&Thing::Tombstone(text::<CredentialId>(row, 0)?), &account);
        Ok(())
    })?;
    each(connection, "SELECT 1 FROM sealing", |_| {
        expected.held(&Thing::Sealing, SEALED);
        Ok(())
    })?;
    each(connection, "SELECT version FROM keystore_header", |row| {
        let version: u64 = row.get(0)?;
        expected.held(&Thing::KeystoreHeader, &version.to_string());
        Ok(())
    })?;
    for (key, _) in checkpoints::certified_keys(connection)? {
        expected.held(&Thing::CheckpointKey(key.generation), &key_value(&key));
    }
    Ok(())
}

fn switches(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    let latches =
        "SELECT id, scope, mode, cause, cleared_at IS NULL, tripped_at, clear_day, clear_how FROM latch";
    each(connection, latches, |row| {
        let id: LatchId = text(row, 0)?;
        let (scope, mode, cause): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let value = latch_value(&scope, &mode, &cause, row.get(4)?);
        expected.held(&Thing::Latch(id), &value);
        let (Moment(at), day, how): (_, Option<String>, Option<String>) =
            (row.get(5)?, row.get(6)?, row.get(7)?);
        let terms = latch_terms(at, day.as_deref(), how.as_deref());
        expected.held(&Thing::LatchTerms(id), &terms);
        Ok(())
    })?;
    let proved = "SELECT latch, account, verified_at FROM halt WHERE verified_at IS NOT NULL";
    each(connection, proved, |row| {
        let thing = Thing::Halt(text::<LatchId>(row, 0)?, text::<AccountId>(row, 1)?);
        expected.held(&thing, &halt_value(row.get::<_, Moment>(2)?.0));
        Ok(())
    })
}

/// What takes two people, and whether it does.
fn decisions(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    for (id, value) in approvals::values(connection)? {
        expected.held(&Thing::Approval(id), &value);
    }
    if let Some(alone) = approvals::stored_alone(connection)? {
        expected.held(&Thing::Alone, alone_value(alone));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::test_support::world;

    /// The names before the colon of every point of a list at the top of this file.
    fn listed() -> BTreeMap<String, u32> {
        let mut tables = BTreeMap::new();
        for line in include_str!("holdings.rs").lines() {
            let Some((names, _)) = line
                .strip_prefix("//! - ")
                .and_then(|point| point.split_once(':'))
            else {
                continue;
            };
            for name in names.split(", ") {
                *tables.entry(name.trim_matches('`').to_owned()).or_default() += 1;
            }
        }
        tables
    }

    #[tokio::test]
    async fn i6_every_table_is_compared_or_derived_or_left_out_for_a_reason() {
        let world = world();
        let tables: BTreeMap<String, u32> = world
            .store
            .read(|connection| {
                let mut tables = BTreeMap::new();
                let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
                each(connection, sql, |row| {
                    tables.insert(row.get(0)?, 1);
                    Ok(())
                })?;
                Ok::<_, StoreError>(tables)
            })
            .await
            .unwrap();

        assert_eq!(
            listed(),
            tables,
            "each table belongs in one list at the top of this file"
        );
    }
}
