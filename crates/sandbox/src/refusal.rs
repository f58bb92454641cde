//! The exact strings in which the exchange refuses, in one place.

use std::fmt;

use rust_decimal::Decimal;

use crate::mode::Mode;

/// A refusal by the exchange. `Display` is the string of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    InvalidKey,
    InvalidSignature,
    InvalidNonce,
    TemporaryLockout,
    PermissionDenied,
    UnknownMethod,
    BadRequest,
    RateLimitExceeded,
    TooManyRequests,
    /// With the name of the offending parameter, or nothing.
    InvalidArguments(&'static str),
    /// A feature, by its name, that the exchange has switched off.
    FeatureDisabled(&'static str),
    UnknownAssetPair,
    /// The same, said beside what was found of the other pairs: a result in JSON.
    UnknownAssetPairAmong(String),
    UnknownAsset,
    Unavailable,
    DeadlineElapsed,
    /// The market takes no such order in this mode.
    MarketMode(Mode),
    OrderMinimum,
    CostMinimum,
    TickSize,
    /// More decimals than the pair allows: its short name and their number.
    PriceDecimals(String, u32),
    PriceArgument,
    InsufficientFunds,
    PostOnlyOrder,
    OrderRateLimit,
    OrdersLimit,
    ScheduledOrdersLimit,
    UnknownOrder,
    InvalidOrder,
    NoAmendableParameters,
    NotEditable,
    ReduceOnlyNoPosition,
    CannotOpenPosition,
    TradingRestricted,
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
