//! What a key may do, in the exchange's own names.

use serde::{Deserialize, Serialize};

/// A right of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Read balances and volumes.
    QueryFunds,
    /// Read how to pay in.
    AddFunds,
    /// Withdraw and transfer. Such calls are refused all the same, and counted.
    WithdrawFunds,
    /// Opens nothing here; only the description of the key shows it.
    EarnFunds,
    /// Read open orders and positions.
    QueryOpenTrades,
    /// Read closed orders and trades.
    QueryClosedTrades,
    /// Place, change and cancel orders.
    ModifyTrades,
    /// Cancel orders; with the right to modify, also place several at once.
    CloseTrades,
    /// Read the ledger.
    QueryLedger,
    /// Opens nothing here; only the description of the key shows it.
    ExportData,
    /// Ask for a token for WebSockets, which are not served.
    CreateWsToken,
    /// Opens nothing here; only the description of the key shows it.
    AddWithdrawAddress,
    /// Opens nothing here; only the description of the key shows it.
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

    /// As the exchange writes it, for example `query-open-trades`.
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
