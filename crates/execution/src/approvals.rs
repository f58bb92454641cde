//! What takes two people: one proposes it, another one approves, and then it is done, in the
//! transaction of the approval.
//!
//! A [`Measure`] says exactly what is to be done and what was there when it was proposed. Should that
//! have changed when the second person comes, nothing is done.

use async_trait::async_trait;
use bursar_audit::Hash;
use bursar_auth::{Act, Principal};
use bursar_controls::{Latch, Policy};
use bursar_ledger::DayKey;
use bursar_model::{
    AccountId, ApprovalId, FillId, IntentId, IntentState, LatchId, Pair, Price, Quantity, Usd, UserId,
    VenueOrderId,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::machine::Step;
use crate::{Intent, JournalError, RELEASE_RIGHT, Released, UserDay};

/// How long a proposal can be approved.
pub const GOOD_FOR: SignedDuration = SignedDuration::from_hours(24);

/// What people found of an order that the gateway cannot end by itself.
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
pub enum Resolution {
    /// The venue never had it.
    Absent,
    /// It is or was there; the gateway reads the rest.
    Open,
    /// All of it was executed.
    Filled,
    /// It was taken back there before it was filled.
    Cancelled,
    /// Its time was over there.
    VenueExpired,
    /// The venue refused it.
    Rejected,
}

impl Resolution {
    /// The row of the table that it takes.
    pub const fn step(self) -> Step {
        match self {
            Self::Absent => Step::ResolveAbsent,
            Self::Open => Step::ResolveOpen,
            Self::Filled => Step::ResolveFilled,
            Self::Cancelled => Step::ResolveCancelled,
            Self::VenueExpired => Step::ResolveVenueExpired,
            Self::Rejected => Step::ResolveRejected,
        }
    }
}

/// What is to be done. Its JSON is what is hashed and shown to the second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "measure", rename_all = "kebab-case")]
pub enum Measure {
    /// End an order that is unknown or an incident.
    Resolve {
        /// The order that is to be ended.
        intent: IntentId,
        /// The state and what was booked when it was proposed.
        from: IntentState,
        /// In the base asset.
        filled: Decimal,
        /// How much of it the venue had executed as far as it was read, in the base asset.
        #[serde(default, skip_serializing_if = "Decimal::is_zero")]
        venue_filled: Decimal,
        /// As what it is to end.
        to: Resolution,
        /// By what the venue names it; needed for every word that says that the venue had it.
        venue_order_id: Option<VenueOrderId>,
        /// Its executions that no book could take when it was proposed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept_aside: Vec<FillId>,
    },
    /// Turn off a switch that stops a broker or everything, or any switch without a reconciliation.
    Release {
        /// The one trip that is to end.
        latch: LatchId,
        /// Although nobody could compare the accounts with the venue just now.
        unreconciled: bool,
    },
    /// Put looser limits for everybody in force.
    SetPolicy {
        /// In force when it was proposed; another one in force then ends the proposal.
        replaces: Box<Policy>,
        /// What is to be in force.
        policy: Box<Policy>,
    },
    /// Allow a user to lose more in the trading day that is open.
    AllowLoss(MoreLoss),
    /// Take out of the ledger what is not at the venue any more, or cannot be sold there.
    WriteOff(WriteOff),
}

/// What is to be taken out of the ledger without a sale: coins that somebody sold, withdrew or lost by hand, dust below
/// what the venue trades, and what it does not list any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct WriteOff {
    /// The account that holds it in the ledger.
    pub account: AccountId,
    /// What was bought, and for what.
    pub pair: Pair,
    /// In the base asset. The oldest lots go first.
    pub quantity: Quantity,
    /// What the ledger held of the pair when it was proposed.
    pub held: Decimal,
    /// In the quote asset per unit of base: only where the venue has no price for it. Otherwise its last price counts,
    /// so that the day's loss is what it was.
    pub price: Option<Price>,
}

/// How much more a user is to be allowed to lose, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct MoreLoss {
    /// Whose limit it is.
    pub user: UserId,
    /// The open day; for another one the measure is refused.
    pub day: DayKey,
    /// The user's limit when it was proposed, ...
    pub limit: Usd,
    /// ... and what was allowed on top of it before.
    pub before: Usd,
    /// On top of both.
    pub extra: Usd,
}

impl Measure {
    /// `resolve`, `release`, `set-policy`, `allow-loss` or `write-off`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Release { .. } => "release",
            Self::SetPolicy { .. } => "set-policy",
            Self::AllowLoss(_) => "allow-loss",
            Self::WriteOff(_) => "write-off",
        }
    }

    /// In a sentence, for people who decide on it.
    pub fn describe(&self) -> String {
        match self {
            Self::Resolve {
                intent,
                from,
                filled,
                venue_filled,
                to,
                venue_order_id,
                kept_aside,
            } => {
                let mut sentence = format!("end order {intent}, which is {from}, as {to}");
                if let Some(id) = venue_order_id {
                    sentence = format!("{sentence}, at the exchange `{id}`");
                }
                let is_in_part = !kept_aside.is_empty() || filled < venue_filled;
                if is_in_part && *to != Resolution::Open {
                    let (booked, executed) = (filled.normalize(), venue_filled.normalize());
                    sentence =
                        format!("{sentence}; {booked} of {executed} that the exchange executed is booked");
                    if !kept_aside.is_empty() {
                        let ids: Vec<&str> = kept_aside.iter().map(FillId::as_str).collect();
                        sentence = format!("{sentence}, and no book can take {}", ids.join(", "));
                    }
                }
                sentence
            }
            Self::Release {
                latch,
                unreconciled: false,
            } => format!("turn switch {latch} off"),
            Self::Release {
                latch,
                unreconciled: true,
            } => format!("turn switch {latch} off without comparing the accounts with the exchange"),
            Self::SetPolicy { replaces, policy } => {
                format!("loosen for everybody: {}", replaces.loosenings(policy).join(", "))
            }
            Self::AllowLoss(MoreLoss {
                user,
                day,
                limit,
                before,
                extra,
            }) => {
                format!(
                    "allow {user} to lose {extra} more in trading day {day}, on top of the limit of {limit} and \
                     {before} allowed before"
                )
            }
            Self::WriteOff(WriteOff {
                account,
                pair,
                quantity,
                held,
                price,
            }) => {
                let price = price.map_or_else(
                    || "its last price".to_owned(),
                    |price| format!("a price of {price}"),
                );
                format!(
                    "take {quantity} of the {} {pair} that the ledger holds for {account} out of it, at {price}",
                    held.normalize()
                )
            }
        }
    }
}

/// A proposal and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Approval {
    /// Random; by it the second person names the proposal.
    #[serde(serialize_with = "shown")]
    pub id: ApprovalId,
    /// What is to be done, as it was proposed.
    pub measure: Measure,
    /// Of the measure's JSON as it was proposed.
    pub hash: Hash,
    /// Who may therefore not approve it, unless one person may do both.
    pub proposed_by: Principal,
    /// By the clock of the process in which it was proposed.
    pub proposed_at: Timestamp,
    /// In the proposer's words; empty where none was given.
    pub reason: String,
    /// What the proposer saw, in their words; empty where none is asked for.
    pub evidence: String,
    /// After this nobody can approve it: [`GOOD_FOR`] after it was proposed.
    pub expires_at: Timestamp,
    /// `None` as long as nobody decided.
    pub verdict: Option<ApprovalVerdict>,
}

fn shown<S: serde::Serializer>(id: &ApprovalId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// What the second person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ApprovalVerdict {
    /// Who decided: another person than the proposer, unless one may do both or it was refused.
    pub by: Principal,
    /// When, by the clock of the process that recorded it.
    pub at: Timestamp,
    /// True: it was done, in the same transaction. False: nothing was done, and never will be.
    pub approved: bool,
    /// In the words of who decided; empty where there were none.
    pub note: String,
}

impl Approval {
    /// Whether somebody can still decide on it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.verdict.is_none() && now <= self.expires_at
    }

    /// `open`, `expired`, `approved` or `rejected`.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match &self.verdict {
            Some(verdict) if verdict.approved => "approved",
            Some(_) => "rejected",
            None if self.is_open(now) => "open",
            None => "expired",
        }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The order, as it is now.
    Resolved(Box<Intent>),
    /// The switch is off.
    Released(Box<Released>),
    /// The limits that are in force now.
    PolicySet(Box<Policy>),
    /// The user may lose more today.
    LossAllowed {
        /// The day, with its new allowance.
        day: Box<UserDay>,
        /// The switches of the day's loss that are on all the same.
        still_on: Vec<Latch>,
    },
    /// What the ledger holds no longer.
    WrittenOff(Box<WrittenOff>),
}

/// What was taken out of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WrittenOff {
    /// The account that held it in the ledger.
    pub account: AccountId,
    /// What was bought, and for what.
    pub pair: Pair,
    /// In the base asset.
    pub quantity: Quantity,
    /// In the quote asset per unit of base.
    pub price: Price,
    /// What it was worth less what it had cost, without fees; it counts in the day like a sale.
    pub realised_usd: Usd,
    /// What the ledger holds of the pair now.
    pub left: Decimal,
}

/// What became of a proposal at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// Another person has to approve it.
    Waiting(Box<Approval>),
    /// One person may do both here.
    Done(Box<Approval>, Effect),
}

/// Why a proposal was not taken or not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Nothing was ever proposed under that id.
    #[error("there is no proposal `{id}`")]
    NotFound {
        /// As it was asked for.
        id: ApprovalId,
    },
    /// A strategy, the daemon or a user of the gateway may not decide here.
    #[error("`{who}` is no person who runs this installation")]
    NotAPerson {
        /// Who tried to.
        who: Principal,
    },
    /// The proposer cannot be the second person.
    #[error("`{who}` proposed it, and another person has to approve it")]
    SamePerson {
        /// Who tried to.
        who: Principal,
    },
    /// Nobody decided in time.
    #[error("it could be approved until {at}")]
    Expired {
        /// The last moment at which somebody could.
        at: Timestamp,
    },
    /// A proposal is decided on once.
    #[error("`{by}` decided on it already")]
    Decided {
        /// Who decided.
        by: Principal,
    },
    /// What is stored is not what was proposed.
    #[error("proposal `{id}` does not have the hash that was recorded when it was made")]
    Altered {
        /// The id of the row that was changed.
        id: ApprovalId,
    },
    /// A row without its record is nobody's proposal.
    #[error("the audit trail does not say that proposal `{id}` was made as it is stored and waits")]
    Unrecorded {
        /// The id of the row that nobody proposed.
        id: ApprovalId,
    },
    /// The facts do not allow it.
    #[error("rule {rule}: {why}")]
    Refused {
        /// The rule's stable name.
        rule: &'static str,
        /// What stands against it, for people.
        why: String,
        /// What a person can do about it.
        hint: &'static str,
    },
    /// The store did not do what was asked; its error says whether something may have changed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl ApprovalError {
    /// Whether who asked was not the one to ask, so that the attempt is worth a record although nothing changed.
    pub fn is_denial(&self) -> bool {
        match self {
            Self::NotAPerson { .. } | Self::SamePerson { .. } => true,
            Self::Refused { rule, .. } => *rule == RELEASE_RIGHT,
            Self::Journal(error) => error.is_denial(),
            Self::NotFound { .. }
            | Self::Expired { .. }
            | Self::Decided { .. }
            | Self::Altered { .. }
            | Self::Unrecorded { .. } => false,
        }
    }

    /// What a person can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "list them with `bursar approvals`",
            Self::NotAPerson { .. } => "run the command as a person who may open the store",
            Self::SamePerson { .. } => {
                "let a second person run `bursar approve`; who works alone sets `people.alone = true`"
            }
            Self::Expired { .. } => "propose it again",
            Self::Decided { .. } => "look at it with `bursar approvals --all`",
            Self::Altered { .. } | Self::Unrecorded { .. } => {
                "somebody changed the store: run `bursar check` and `bursar audit verify --deep`"
            }
            Self::Refused { hint, .. } => hint,
            Self::Journal(error) => error.hint(),
        }
    }
}

/// What takes two people.
#[async_trait]
pub trait Approvals: Send + Sync {
    /// Checks that the measure would be possible now, and records it as a proposal. The same proposal
    /// made twice is one. Where one person may do both, it is carried out at once.
    async fn propose(&self, measure: Measure, evidence: &str, act: &Act) -> Result<Proposed, ApprovalError>;

    /// The proposal, if this person may approve it. Changes nothing.
    async fn approvable(&self, id: ApprovalId, act: &Act) -> Result<Approval, ApprovalError>;

    /// Carries a proposal out, if another person made it, it is what was proposed, and its facts are
    /// still those: all in one transaction, with both names in its records.
    async fn approve(&self, id: ApprovalId, act: &Act) -> Result<(Approval, Effect), ApprovalError>;

    /// Ends a proposal. Anybody may, who made it too.
    async fn reject(&self, id: ApprovalId, act: &Act) -> Result<Approval, ApprovalError>;

    /// Newest first; with those that are decided or too old if `all`.
    async fn approvals(&self, all: bool, limit: u32) -> Result<Vec<Approval>, ApprovalError>;

    /// Whether one person may do what takes two.
    async fn works_alone(&self) -> Result<bool, JournalError>;

    /// As the settings of the daemon say. Recorded whenever it changes.
    async fn set_works_alone(&self, alone: bool, act: &Act) -> Result<(), JournalError>;
}
