//! Why a fill could not be booked.

use bursar_model::{AccountId, FillId, InexactError, Pair, Price};

/// Nothing was booked. Each variant is something different for the caller to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The fill is in the book already: nothing to do.
    #[error("fill `{fill}` is booked already")]
    AlreadyBooked {
        /// The one that came again.
        fill: FillId,
    },
    /// The venue told two different stories under one id: an incident.
    #[error("fill `{fill}` was booked before with other facts")]
    Contradiction {
        /// The id under which both stories were told.
        fill: FillId,
    },
    /// The caller handed over rows of another account or pair: a defect of the caller.
    #[error("fill `{fill}` of `{account}` on `{pair}` does not belong to these lots")]
    Foreign {
        /// The fill that was handed over.
        fill: FillId,
        /// The account that the fill names.
        account: AccountId,
        /// The pair that the fill names.
        pair: Pair,
    },
    /// The same lot twice among the open lots: the caller's rows are broken.
    #[error("lot `{lot}` is among the open lots twice")]
    RepeatedLot {
        /// The purchase that stands twice.
        lot: FillId,
    },
    /// A dollar is a dollar: the caller valued it at something else.
    #[error("`{pair}` is priced in dollars, but a dollar was valued at `{rate}`")]
    WrongRate {
        /// The pair of the fill, whose quote asset is the dollar.
        pair: Pair,
        /// Dollars per dollar as the caller had it; anything but one is wrong.
        rate: Price,
    },
    /// The amounts are outside what can be calculated exactly: an incident.
    #[error("the fill cannot be booked exactly")]
    Inexact(#[from] InexactError),
}

impl LedgerError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::AlreadyBooked { .. } => "nothing: the fill counts once".to_owned(),
            Self::Contradiction { fill } => {
                format!("compare fill `{fill}` with the venue's trade history before trading on")
            }
            Self::Foreign { .. } | Self::RepeatedLot { .. } | Self::WrongRate { .. } => {
                "stop the account and report a defect: its rows contradict each other".to_owned()
            }
            Self::Inexact(_) => {
                "stop the account and look at the fill: its amounts are beyond any venue's grid".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_happened_and_what_can_be_done() {
        let id = || "T1".parse::<FillId>().unwrap();
        let pair = || "BTC-USD".parse::<Pair>().unwrap();
        let defect = "stop the account and report a defect: its rows contradict each other";
        for (error, message, hint) in [
            (
                LedgerError::AlreadyBooked { fill: id() },
                "fill `T1` is booked already",
                "nothing: the fill counts once",
            ),
            (
                LedgerError::Contradiction { fill: id() },
                "fill `T1` was booked before with other facts",
                "compare fill `T1` with the venue's trade history before trading on",
            ),
            (
                LedgerError::Foreign {
                    fill: id(),
                    account: "kraken-ilves".parse().unwrap(),
                    pair: pair(),
                },
                "fill `T1` of `kraken-ilves` on `BTC-USD` does not belong to these lots",
                defect,
            ),
            (
                LedgerError::RepeatedLot { lot: id() },
                "lot `T1` is among the open lots twice",
                defect,
            ),
            (
                LedgerError::WrongRate {
                    pair: pair(),
                    rate: "1.01".parse().unwrap(),
                },
                "`BTC-USD` is priced in dollars, but a dollar was valued at `1.01`",
                defect,
            ),
            (
                LedgerError::Inexact(InexactError),
                "the fill cannot be booked exactly",
                "stop the account and look at the fill: its amounts are beyond any venue's grid",
            ),
        ] {
            assert_eq!(error.to_string(), message);
            assert_eq!(error.hint(), hint, "{message}");
        }
    }
}
