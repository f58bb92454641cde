//! The exact strings in which the exchange refuses, in one place.

use std::fmt;

use rust_decimal::Decimal;

use crate::mode::Mode;

/// A refusal by the exchange. `Display` is the string of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `EAPI:Invalid key`: nobody has it.
    InvalidKey,
    /// `EAPI:Invalid signature`: missing, or not that of the secret over what was sent.
    InvalidSignature,
    /// `EAPI:Invalid nonce`: missing, no number, or not above what was seen.
    InvalidNonce,
    /// `EGeneral:Temporary lockout`: too many bad nonces or signatures.
    TemporaryLockout,
    /// `EGeneral:Permission denied`: the key lacks a right, or nobody may do it here.
    PermissionDenied,
    /// `EGeneral:Unknown method`: no such path, or not by this verb.
    UnknownMethod,
    /// `EAPI:Bad request`: the form or JSON cannot be read.
    BadRequest,
    /// `EAPI:Rate limit exceeded`: the key's counter of readings is full.
    RateLimitExceeded,
    /// `EGeneral:Too many requests`: too many anonymous calls from one address.
    TooManyRequests,
    /// With the name of the offending parameter, or nothing.
    InvalidArguments(&'static str),
    /// A feature, by its name, that the exchange has switched off.
    FeatureDisabled(&'static str),
    /// `EQuery:Unknown asset pair`.
    UnknownAssetPair,
    /// The same, said beside what was found of the other pairs: a result in JSON.
    UnknownAssetPairAmong(String),
    /// `EQuery:Unknown asset`.
    UnknownAsset,
    /// `EService:Unavailable`: maintenance, or no price yet.
    Unavailable,
    /// `EService:Deadline elapsed`: the order came after its own deadline.
    DeadlineElapsed,
    /// The market takes no such order in this mode.
    MarketMode(Mode),
    /// `EOrder:Order minimum not met`: too little of the base asset.
    OrderMinimum,
    /// `EOrder:Cost minimum not met`: worth too little in the quote asset.
    CostMinimum,
    /// `EOrder:Tick size check failed`: the price is not on the grid.
    TickSize,
    /// More decimals than the pair allows: its short name and their number.
    PriceDecimals(String, u32),
    /// `EOrder:Invalid price:Invalid price argument.`: the price cannot be read, or is no price.
    PriceArgument,
    /// `EOrder:Insufficient funds`: less is free than the order would hold.
    InsufficientFunds,
    /// `EOrder:Post only order`: it would have taken; see
    /// [`PostOnlyCrossing`](crate::PostOnlyCrossing).
    PostOnlyOrder,
    /// `EOrder:Rate limit exceeded`: the counter of the pair is full.
    OrderRateLimit,
    /// `EOrder:Orders limit exceeded`: too many open orders on the pair.
    OrdersLimit,
    /// `EOrder:Scheduled orders limit exceeded`: too many orders wait for their start time.
    ScheduledOrdersLimit,
    /// `EOrder:Unknown order`: there is none of this customer that could be changed or cancelled.
    UnknownOrder,
    /// `EOrder:Invalid order`: an id that names no order of this customer.
    InvalidOrder,
    /// `EOrder:No amendable parameters`: nothing would change.
    NoAmendableParameters,
    /// `EOrder:Order not editable`: the old way of changing an order, which is not served.
    NotEditable,
    /// `EOrder:Reduce only:No position exists`: there is no margin here.
    ReduceOnlyNoPosition,
    /// `EOrder:Cannot open position`: there is no margin here.
    CannotOpenPosition,
    /// `EAccount:Invalid permissions`: the customer may not trade the asset.
    TradingRestricted,
    /// `EFunding:No funding method`: nothing is ever paid in here.
    FundingNoMethod,
    /// A string that a fault injects.
    Injected(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InvalidKey => "EAPI:Invalid key",
            Self::InvalidSignature => "EAPI:Invalid signature",
            Self::InvalidNonce => "EAPI:Invalid nonce",
            Self::TemporaryLockout => "EGeneral:Temporary lockout",
            Self::PermissionDenied => "EGeneral:Permission denied",
            Self::UnknownMethod => "EGeneral:Unknown method",
            Self::BadRequest => "EAPI:Bad request",
            Self::RateLimitExceeded => "EAPI:Rate limit exceeded",
            Self::TooManyRequests => "EGeneral:Too many requests",
            Self::InvalidArguments("") => "EGeneral:Invalid arguments",
            Self::InvalidArguments(what) => return write!(f, "EGeneral:Invalid arguments:{what}"),
            Self::FeatureDisabled(what) => return write!(f, "EAPI:Feature disabled:{what}"),
            Self::UnknownAssetPair | Self::UnknownAssetPairAmong(_) => "EQuery:Unknown asset pair",
            Self::UnknownAsset => "EQuery:Unknown asset",
            Self::Unavailable => "EService:Unavailable",
            Self::DeadlineElapsed => "EService:Deadline elapsed",
            Self::MarketMode(mode) => return write!(f, "EService:Market in {mode} mode"),
            Self::OrderMinimum => "EOrder:Order minimum not met",
            Self::CostMinimum => "EOrder:Cost minimum not met",
            Self::TickSize => "EOrder:Tick size check failed",
            Self::PriceDecimals(altname, decimals) => {
                return write!(
                    f,
                    "EOrder:Invalid price:{altname} price can only be specified up to {decimals} decimals."
                );
            }
            Self::PriceArgument => "EOrder:Invalid price:Invalid price argument.",
            Self::InsufficientFunds => "EOrder:Insufficient funds",
            Self::PostOnlyOrder => "EOrder:Post only order",
            Self::OrderRateLimit => "EOrder:Rate limit exceeded",
            Self::OrdersLimit => "EOrder:Orders limit exceeded",
            Self::ScheduledOrdersLimit => "EOrder:Scheduled orders limit exceeded",
            Self::UnknownOrder => "EOrder:Unknown order",
            Self::InvalidOrder => "EOrder:Invalid order",
            Self::NoAmendableParameters => "EOrder:No amendable parameters",
            Self::NotEditable => "EOrder:Order not editable",
            Self::ReduceOnlyNoPosition => "EOrder:Reduce only:No position exists",
            Self::CannotOpenPosition => "EOrder:Cannot open position",
            Self::TradingRestricted => "EAccount:Invalid permissions",
            Self::FundingNoMethod => "EFunding:No funding method",
            Self::Injected(text) => text,
        };
        f.write_str(text)
    }
}

/// How a volume, price or other number of a request is read, or which argument is to blame.
pub(crate) fn number(text: &str, argument: &'static str) -> Result<Decimal, Refusal> {
    bursar_model::decimal::parse(text).map_err(|_| Refusal::InvalidArguments(argument))
}
