//! What lies in the store and under its seals.

use bursar_audit::{Hash, Record, StoredRecord};
use bursar_broker::VenueOrder;
use bursar_controls::{ClearRule, Latch, Policy, Scope, Sizing, Snapshot};
use bursar_execution::{AbsenceEvidence, Cancel, DayBoundary, ExternalOrder, Intent};
use bursar_keystore::containers::{self, Reading};
use bursar_keystore::{Header, RecoveryCode, SealedRecord, Secret};
use bursar_model::{Check, OrderRequest, OrderTerms};
use bursar_permissions::{Caller, UserPermissions};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes are a record only in the one spelling in which it would be written.
pub(super) fn audit_record(data: &[u8]) {
    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let hash = Hash::of(&[b"gw-audit-1", length.to_be_bytes().as_slice(), data].concat());
    let stored = |seq| StoredRecord {
        seq,
        hash,
        body: data.to_vec(),
    };
    let opened = match Record::open(&stored(0)) {
        Err(bursar_audit::DecodeError::Number { inside, .. }) => Record::open(&stored(inside)),
        other => other,
    };
    if let Ok(record) = opened {
        let again = record.to_stored();
        assert_eq!(again.body, data);
        assert_eq!(again.hash, hash);
    }
}

/// A container has one spelling, and nothing of it is repeated in an error.
pub(super) fn key_containers(data: &[u8]) {
    assert_ne!(containers::keyring(data), Reading::Otherwise);
    let _credential = containers::credential(data);
    if containers::unlock_key(data) {
        assert!(data.len() >= 32);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(code) = RecoveryCode::parse(&Secret::from_text(text.to_owned()))
    {
        let shown = code.reveal().to_string();
        let again = RecoveryCode::parse(&Secret::from_text(shown.clone()));
        assert_eq!(again.map(|code| code.reveal().to_string()).ok(), Some(shown));
    }
    again::<Header>(data);
    again::<SealedRecord>(data);
}

/// Every value that is kept as text reads back as itself.
pub(super) fn rows(data: &[u8]) {
    again::<OrderRequest>(data);
    again::<Sizing>(data);
    again::<Vec<Check>>(data);
    again::<Caller>(data);
    again::<Snapshot>(data);
    again::<Intent>(data);
    again::<Cancel>(data);
    again::<VenueOrder>(data);
    again::<ExternalOrder>(data);
    again::<AbsenceEvidence>(data);
    again::<DayBoundary>(data);
    again::<Policy>(data);
    again::<Scope>(data);
    again::<ClearRule>(data);
    again::<Latch>(data);
    again::<UserPermissions>(data);
    if let Some(terms) = again::<OrderTerms>(data) {
        let bytes = terms.canonical();
        let other = OrderTerms {
            post_only: !terms.post_only,
            ..terms.clone()
        };
        assert_eq!(bytes, terms.clone().canonical());
        assert_ne!(bytes, other.canonical());
    }
}

/// What is read is written, and read again, as the same.
fn again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&value);
    assert!(written.is_ok(), "{value:?} cannot be written");
    let read: Result<T, _> = serde_json::from_slice(&written.unwrap_or_default());
    match &read {
        Ok(read) => assert_eq!(read, &value),
        Err(error) => unreachable!("{value:?} is not read again: {error}"),
    }
    Some(value)
}
