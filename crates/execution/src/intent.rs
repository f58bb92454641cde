//! The durable records: an intent, a request to cancel one, an order that is not ours.

use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_controls::Sizing;
use bursar_model::{
    AccountId, BrokerId, Check, ClientOrderId, IntentId, IntentState, OrderRequest, UserId, VenueOrderId,
};
use bursar_permissions::Caller;
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// What somebody wants to have ordered, on its way into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Random, given by the gateway.
    pub intent: IntentId,
    /// The account that is to trade.
    pub account: AccountId,
    /// On whose word.
    pub caller: Caller,
    /// What is wanted.
    pub request: OrderRequest,
    /// The id that the order will bear at the venue; see the broker's profile.
    pub client_order_id: ClientOrderId,
    /// The same caller and key always name the same intent.
    pub idempotency_key: Option<String>,
    /// The trading cycle that asked, when one did.
    pub cycle: Option<u64>,
}

/// One order that somebody wanted, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Intent {
    /// Random, made when the order was asked for.
    pub id: IntentId,
    /// The account that it is for.
    pub account: AccountId,
    /// The owner of the account, whose limits it takes from.
    pub user: UserId,
    /// The broker of the account, where it was or would have been sent.
    pub broker: BrokerId,
    /// On whose word it was decided on.
    pub caller: Caller,
    /// As it was asked for.
    pub request: OrderRequest,
    /// `None` when the order was refused before it could be sized.
    pub sizing: Option<Sizing>,
    /// Changes only by a row of [`machine::TRANSITIONS`](crate::machine::TRANSITIONS).
    pub state: IntentState,
    /// Why it is in this state, in a few words; empty where the state says it all.
    pub cause: String,
    /// The id that the order bears, or would have borne, at the venue.
    pub client_order_id: ClientOrderId,
    /// `None` until the venue confirmed it or it was found there.
    pub venue_order_id: Option<VenueOrderId>,
    /// Whether the ledger proved, when it was admitted, that it only lowers a position.
    pub reducing: bool,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// When a step or a booking changed it last.
    pub updated_at: Timestamp,
    /// After this it is not sent any more.
    pub valid_until: Timestamp,
    /// When the attempt was recorded, in the venue's time.
    pub dispatched_at: Option<Timestamp>,
    /// After this the venue cannot accept the attempt any more.
    pub acceptance_bound: Option<Timestamp>,
    /// In the base asset: the sum of the booked fills.
    pub filled: Decimal,
    /// In the base asset: what the venue says was filled.
    pub venue_filled: Decimal,
    /// How the order ended at the venue, while fills are still to be booked.
    pub closing: Option<VenueOrderStatus>,
    /// What every rule said when it was admitted or refused; left out where many orders are worked through.
    pub trace: Vec<Check>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Recorded and reserved; it may be sent.
    Approved(Intent),
    /// Recorded and refused; the trace names every broken rule.
    Denied(Intent),
    /// The same idempotency key named this intent before.
    Repeated(Intent),
}

impl Admission {
    /// What is recorded, whichever of the three it is.
    pub const fn intent(&self) -> &Intent {
        match self {
            Self::Approved(intent) | Self::Denied(intent) | Self::Repeated(intent) => intent,
        }
    }
}

/// What is to be recorded with the decision to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Random; recognises our own commit when its answer was lost.
    pub token: [u8; 16],
    /// When it is recorded, in the venue's time as far as it is known. By our clock, which may be wrong, the
    /// order could be looked for only from a time to come.
    pub sent_at: Timestamp,
    /// The venue must not accept the order after this, in the venue's time.
    pub acceptance_bound: Timestamp,
}

/// What the journal says when an intent is to be sent.
#[derive(Debug)]
pub enum Dispatch {
    /// It is recorded: send it, once.
    Send(Box<bursar_controls::ApprovedOrder>),
    /// It is over, one way or another; nothing may be sent.
    Over(Box<Intent>),
}

/// Where a request to cancel stands.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum CancelState {
    /// Not asked of the venue yet.
    Requested,
    /// Asked of the venue at least once; repeated until the order is over.
    Sent,
    /// The order was taken back before it was sent, or ended as cancelled at the venue.
    Done,
    /// The order was over before the cancel took effect.
    Moot,
}

/// A durable request to cancel an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    /// The order that is to be cancelled; a second request for it changes nothing.
    pub intent: IntentId,
    /// The account of that order.
    pub account: AccountId,
    /// By what the venue is asked to cancel it.
    pub client_order_id: ClientOrderId,
    /// How far it is.
    pub state: CancelState,
    /// Of who asked first, in their words.
    pub reason: String,
    /// When it was asked for first.
    pub requested_at: Timestamp,
    /// When the venue was asked last; `None` before the first time.
    pub sent_at: Option<Timestamp>,
}

/// A working order at the venue that did not go through the gate: known, counted, never touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalOrder {
    /// At whose venue it works.
    pub account: AccountId,
    /// As the venue reported it when it was seen last.
    pub order: VenueOrder,
    /// When it was seen for the first time.
    pub first_seen: Timestamp,
}

impl ExternalOrder {
    /// The reason of one that ended without any list that says how. Should it be listed as working again, it works.
    pub const UNLISTED: &str = "no list of the venue shows it any more";
}
