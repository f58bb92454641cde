//! What a key may do, in the exchange's own names.

use serde::{Deserialize, Serialize};

/// A right of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    QueryFunds,
    AddFunds,
    WithdrawFunds,
    EarnFunds,
    QueryOpenTrades,
    QueryClosedTrades,
    ModifyTrades,
    CloseTrades,
    QueryLedger,
    ExportData,
    CreateWsToken,
    AddWithdrawAddress,
    UpdateWithdrawAddress,
}

impl Permission {
    /// Everything a trading program needs, and nothing that moves funds.
    pub const TRADING: [Self; 7] = [
        Self::QueryFunds,
        Self::QueryOpenTrades,
        Self::QueryClosedTrades,
        Self::ModifyTrades,
        Self::CloseTrades,
        Self::QueryLedger,
        Self::CreateWsToken,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::QueryFunds => "query-funds",
            Self::AddFunds => "add-funds",
            Self::WithdrawFunds => "withdraw-funds",
            Self::EarnFunds => "earn-funds",
            Self::QueryOpenTrades => "query-open-trades",
            Self::QueryClosedTrades => "query-closed-trades",
            Self::ModifyTrades => "modify-trades",
            Self::CloseTrades => "close-trades",
            Self::QueryLedger => "query-ledger",
            Self::ExportData => "export-data",
            Self::CreateWsToken => "create-ws-token",
            Self::AddWithdrawAddress => "add-withdraw-address",
            Self::UpdateWithdrawAddress => "update-withdraw-address",
        }
    }
}

/// Which rights open an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs {
    /// Any valid key.
    Nothing,
    All(&'static [Permission]),
    Any(&'static [Permission]),
}

impl Needs {
    pub(crate) fn met_by(self, rights: &std::collections::BTreeSet<Permission>) -> bool {
        match self {
            Self::Nothing => true,
            Self::All(needed) => needed.iter().all(|right| rights.contains(right)),
            Self::Any(enough) => enough.iter().any(|right| rights.contains(right)),
        }
    }
}
