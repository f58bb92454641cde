//! Everything that the store holds and the audit trail knows, row by row, in the words in which the two
//! are compared.

use bursar_audit::Hash;
use bursar_audit::expected::{
    Expected, IntentFacts, KEPT_KEY, SEALED, Thing, amount_value, check_value, fill_value, key_value,
    latch_value,
};
use bursar_model::{AccountId, CredentialId, Fill, FillId, IntentId, IntentState, LatchId, UserId};
use rusqlite::{Connection, Row};

use crate::audit::digest;
use crate::error::StoreError;
use crate::values::{Exact, Json, Moment, Text};
use crate::{checkpoints, days, directory, schema};

/// Tells `expected` everything.
pub(crate) fn compare(connection: &Connection, expected: &mut Expected) -> Result<(), StoreError> {
    orders(connection, expected)?;
    people(connection, expected)?;
    conditions(connection, expected)?;
    keys(connection, expected)?;
    switches(connection, expected)
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
    each(connection, "SELECT account, id, intent, body FROM fill", |row| {
        let thing = Thing::Fill(text::<AccountId>(row, 0)?, text::<FillId>(row, 1)?);
        let fill: Fill = row.get::<_, Json<Fill>>(3)?.0;
        let (side, pair) = (fill.side.to_string(), fill.pair.to_string());
        let value = fill_value(
            text(row, 2)?,
            &side,
            &pair,
            fill.quantity.value(),
            fill.price.value(),
        );
        expected.held(&thing, &value);
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
    Ok(())
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
    let latches = "SELECT id, scope, mode, cause, cleared_at IS NULL FROM latch";
    each(connection, latches, |row| {
        let (scope, mode, cause): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let value = latch_value(&scope, &mode, &cause, row.get(4)?);
        expected.held(&Thing::Latch(text::<LatchId>(row, 0)?), &value);
        Ok(())
    })
}
