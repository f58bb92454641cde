//! What a record says of a thing.

use std::str::FromStr;

use bursar_model::IntentId;

use super::{BookingFacts, FillFacts, ProposalFacts, WriteOffFacts};
use crate::{Data, Record, Value};

pub(super) fn text<'a>(data: &'a Data, key: &str) -> Option<&'a str> {
    match data.get(key)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

pub(super) fn integer(data: &Data, key: &str) -> Option<i64> {
    match data.get(key)? {
        Value::Integer(integer) => Some(*integer),
        _ => None,
    }
}

pub(super) fn parsed<T: FromStr>(data: &Data, key: &str) -> Option<T> {
    text(data, key)?.parse().ok()
}

pub(super) fn fill_facts(record: &Record, intent: IntentId) -> FillFacts<'_> {
    let word = |key| text(&record.data, key).unwrap_or_default();
    FillFacts {
        intent,
        user: (record.subject.user.as_ref()).map_or("", |user| user.as_str()),
        side: word("side"),
        pair: word("pair"),
        quantity: parsed(&record.data, "quantity").unwrap_or_default(),
        price: parsed(&record.data, "price").unwrap_or_default(),
        fee: word("fee"),
        day: word("day"),
        booked_at: record.at,
    }
}

/// `None` of a record of an earlier version.
pub(super) fn booking_facts(record: &Record) -> Option<BookingFacts<'_>> {
    let data = &record.data;
    Some(BookingFacts {
        at: text(data, "at")?,
        venue_order_id: text(data, "venue_order_id")?,
        liquidity: text(data, "liquidity")?,
        usd_rate: parsed(data, "usd_rate")?,
        fee_usd: text(data, "fee_usd")?,
        fee_is_estimated: match data.get("fee_is_estimated")? {
            Value::Bool(is_estimated) => *is_estimated,
            _ => return None,
        },
    })
}

pub(super) fn write_off_facts(record: &Record) -> WriteOffFacts<'_> {
    let word = |key| text(&record.data, key).unwrap_or_default();
    let figure = |key| parsed(&record.data, key).unwrap_or_default();
    WriteOffFacts {
        user: (record.subject.user.as_ref()).map_or("", |user| user.as_str()),
        pair: word("pair"),
        quantity: figure("quantity"),
        price: figure("price"),
        usd_rate: figure("usd_rate"),
        day: word("day"),
        at: record.at,
    }
}

pub(super) fn proposal_facts(record: &Record) -> ProposalFacts<'_> {
    let word = |key| text(&record.data, key).unwrap_or_default();
    ProposalFacts {
        hash: record.after.as_ref(),
        proposed_by: word("proposed_by"),
        proposed_at: record.at,
        expires_at: word("expires_at"),
        evidence: word("evidence"),
    }
}
