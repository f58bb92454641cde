//! The words in which a thing is compared.

use std::fmt;

use bursar_model::{IntentId, IntentState};
use data_encoding::BASE64;
use rust_decimal::Decimal;

use crate::{CertifiedKey, Hash};

/// What is compared of a sealing, and of a key that is kept after another took its place: that it is there.
pub const SEALED: &str = "sealed";
pub const KEPT_KEY: &str = "kept";

/// What is compared of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntentFacts {
    pub state: IntentState,
    pub attempts: u32,
    /// What its fills sum up to.
    pub filled: Decimal,
    /// The hash of the bytes that determine it at the venue.
    pub terms: Option<Hash>,
}

impl fmt::Display for IntentFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            attempts,
            filled,
            terms,
        } = self;
        let filled = filled.normalize();
        write!(f, "{state}, sent {attempts} times, filled {filled}")?;
        match terms {
            Some(terms) => write!(f, ", terms {terms}"),
            None => Ok(()),
        }
    }
}

/// What is compared of a fill.
pub fn fill_value(intent: IntentId, side: &str, pair: &str, quantity: Decimal, price: Decimal) -> String {
    let (quantity, price) = (quantity.normalize(), price.normalize());
    format!("{side} {quantity} {pair} at {price} for {intent}")
}

/// What is compared of a switch.
pub fn latch_value(scope: &str, mode: &str, cause: &str, is_on: bool) -> String {
    let state = if is_on { "on" } else { "off" };
    format!("{mode} of {scope} for {cause}, {state}")
}

/// What is compared of what an exchange said of a key.
pub const fn check_value(is_admitted: bool) -> &'static str {
    if is_admitted { "admitted" } else { "refused" }
}

/// What is compared of a key that signs checkpoints.
pub fn key_value(key: &CertifiedKey) -> String {
    key_text(&BASE64.encode(key.key.as_bytes()), key.seq)
}

pub(super) fn key_text(public_key: &str, seq: u64) -> String {
    format!("{public_key} by record {seq}")
}

/// An amount without its currency and without zeros at its end.
pub fn amount_value(amount: &str) -> String {
    let number = amount.split(' ').next().unwrap_or_default();
    match number.parse::<Decimal>() {
        Ok(number) => number.normalize().to_string(),
        Err(_) => amount.to_owned(),
    }
}
