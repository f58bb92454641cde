//! The words in which a thing is compared.

use std::fmt;

use bursar_model::{IntentId, IntentState};
use data_encoding::BASE64;
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::{CertifiedKey, Hash};

/// What is compared of a sealing: that it is there.
pub const SEALED: &str = "sealed";
/// What is compared of a key that is kept after another took its place: that it is there.
pub const KEPT_KEY: &str = "kept";

/// What is compared of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntentFacts {
    /// What the records left it in.
    pub state: IntentState,
    /// How often it was committed to be sent, those times included at which not a byte left.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillFacts<'a> {
    /// The order that it is of.
    pub intent: IntentId,
    /// The owner of the account.
    pub user: &'a str,
    /// `buy` or `sell`.
    pub side: &'a str,
    /// By canonical codes.
    pub pair: &'a str,
    /// In the base asset; zeros at its end do not count.
    pub quantity: Decimal,
    /// In the quote asset; zeros at its end do not count.
    pub price: Decimal,
    /// With its asset.
    pub fee: &'a str,
    /// The trading day in which it counts.
    pub day: &'a str,
    /// By the clock of the process that booked it.
    pub booked_at: Timestamp,
}

impl fmt::Display for FillFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            intent,
            user,
            side,
            pair,
            quantity,
            price,
            fee,
            day,
            booked_at,
        } = self;
        let (quantity, price, fee) = (quantity.normalize(), price.normalize(), amount_with_asset(fee));
        let booked_at = recorded(*booked_at);
        write!(
            f,
            "{side} {quantity} {pair} at {price} for {intent} of {user}, fee {fee}, booked at {booked_at} in {day}"
        )
    }
}

/// What is compared of a fill beside that, since records say it: what else its worth depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookingFacts<'a> {
    /// When the venue executed it.
    pub at: &'a str,
    /// The venue's id of the order.
    pub venue_order_id: &'a str,
    /// `maker` or `taker`.
    pub liquidity: &'a str,
    /// Dollars per unit of the quote asset.
    pub usd_rate: Decimal,
    /// As it is recorded: zeros at its end and the currency do not count.
    pub fee_usd: &'a str,
    /// Whether the fee could not be valued, and is the venue's worst.
    pub fee_is_estimated: bool,
}

impl fmt::Display for BookingFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            venue_order_id,
            liquidity,
            usd_rate,
            fee_usd,
            fee_is_estimated,
        } = self;
        let (usd_rate, fee) = (usd_rate.normalize(), amount_value(fee_usd));
        let estimated = if *fee_is_estimated { "estimated " } else { "" };
        write!(
            f,
            "{liquidity} of order {venue_order_id} at {at}, a dollar rate of {usd_rate}, {estimated}fee {fee}"
        )
    }
}

/// What is compared of a write-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOffFacts<'a> {
    /// Who owned it.
    pub user: &'a str,
    /// As it is written, `BTC-USD`.
    pub pair: &'a str,
    /// In the base asset.
    pub quantity: Decimal,
    /// In the quote asset per unit of base.
    pub price: Decimal,
    /// Dollars per unit of the quote asset.
    pub usd_rate: Decimal,
    /// The trading day in which it counts.
    pub day: &'a str,
    /// When the second person approved it.
    pub at: Timestamp,
}

impl fmt::Display for WriteOffFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            pair,
            quantity,
            price,
            usd_rate,
            day,
            at,
        } = self;
        let (quantity, price, usd_rate) = (quantity.normalize(), price.normalize(), usd_rate.normalize());
        let at = recorded(*at);
        write!(
            f,
            "{quantity} {pair} of {user} at {price}, a dollar rate of {usd_rate}, at {at} in {day}"
        )
    }
}

/// What is compared of a switch.
pub fn latch_value(scope: &str, mode: &str, cause: &str, is_on: bool) -> String {
    let state = if is_on { "on" } else { "off" };
    format!("{mode} of {scope} for {cause}, {state}")
}

/// What is compared of a switch beside that. `day` and `how` as they are stored; neither: a person ends it.
pub fn latch_terms(tripped_at: Timestamp, day: Option<&str>, how: Option<&str>) -> String {
    let since = recorded(tripped_at);
    let day = day.map_or_else(String::new, |day| format!(" with day {day}"));
    let how = how.map_or_else(String::new, |how| format!(" by {how}"));
    format!("on since {since}, ends{day}{how}")
}

/// What is compared of a halt that was proved.
pub fn halt_value(verified_at: Timestamp) -> String {
    format!("proved at {}", recorded(verified_at))
}

/// What is compared of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalFacts<'a> {
    /// Of the measure.
    pub hash: Option<&'a Hash>,
    /// As a record names them, for example `operator:ops_desk`.
    pub proposed_by: &'a str,
    /// By the clock of the process in which it was proposed.
    pub proposed_at: Timestamp,
    /// As a record has it; nobody can approve it after that.
    pub expires_at: &'a str,
    /// As a record keeps it: cut, and fit for a line.
    pub evidence: &'a str,
}

impl fmt::Display for ProposalFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            hash,
            proposed_by,
            proposed_at,
            expires_at,
            evidence,
        } = self;
        let hash = hash.map_or_else(String::new, ToString::to_string);
        let proposed_at = recorded(*proposed_at);
        write!(
            f,
            "{hash} by {proposed_by} at {proposed_at} until {expires_at} for `{evidence}`, "
        )
    }
}

/// What a proposal is as long as nobody has decided on it.
pub const WAITING: &str = "waiting";

/// What became of a proposal.
pub fn verdict_value(is_approved: bool, by: &str) -> String {
    let verdict = if is_approved { "approved" } else { "rejected" };
    format!("{verdict} by {by}")
}

/// What is compared of the setting whether one person may do what takes two.
pub const fn alone_value(is_alone: bool) -> &'static str {
    if is_alone { "one may" } else { "it takes two" }
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

/// An amount with its currency, without zeros at the end of its number.
fn amount_with_asset(amount: &str) -> String {
    let (_, asset) = amount.split_once(' ').unwrap_or_default();
    format!("{} {asset}", amount_value(amount))
}

/// A moment as exactly as records have it.
fn recorded(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
