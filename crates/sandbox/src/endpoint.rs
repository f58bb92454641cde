//! The methods of the protocol: what each needs, and what it costs.

use crate::permission::Needs;
use crate::permission::Permission::{
    AddFunds, CloseTrades, CreateWsToken, ModifyTrades, QueryClosedTrades, QueryFunds, QueryLedger,
    QueryOpenTrades, WithdrawFunds,
};

/// The name on the wire: that of the variant, but for the one that is an acronym.
macro_rules! name {
    (Ohlc) => {
        "OHLC"
    };
    ($variant:ident) => {
        stringify!($variant)
    };
}

macro_rules! endpoints {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $name { $($variant),+ }

        impl $name {
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => name!($variant)),+ }
            }

            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $(name!($variant) => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

endpoints! {
    /// What anybody may ask with a GET.
    Public { Time, SystemStatus, Assets, AssetPairs, Ticker, Ohlc, Depth, Trades, Spread }
}

endpoints! {
    /// What a signed POST may ask.
    Private {
        GetApiKeyInfo, Balance, BalanceEx, TradeBalance, TradeVolume, OpenOrders, ClosedOrders, QueryOrders,
        OrderAmends, OpenPositions, TradesHistory, QueryTrades, Ledgers, QueryLedgers, AddOrder, AddOrderBatch,
        AmendOrder, EditOrder, CancelOrder, CancelOrderBatch, CancelAll, CancelAllOrdersAfter,
        GetWebSocketsToken, WithdrawMethods, WithdrawAddresses, WithdrawInfo, WithdrawStatus, Withdraw,
        WithdrawCancel, DepositMethods, DepositAddresses, DepositStatus, WalletTransfer, AccountTransfer,
        CreateSubaccount,
    }
}

impl Private {
    pub(crate) const fn needs(self) -> Needs {
        match self {
            Self::GetApiKeyInfo => Needs::Nothing,
            Self::Balance | Self::BalanceEx | Self::TradeVolume => Needs::All(&[QueryFunds]),
            Self::TradeBalance => Needs::Any(&[QueryOpenTrades, QueryFunds]),
            Self::OpenOrders | Self::OpenPositions => Needs::All(&[QueryOpenTrades]),
            Self::ClosedOrders | Self::TradesHistory | Self::QueryTrades => Needs::All(&[QueryClosedTrades]),
            Self::QueryOrders | Self::OrderAmends => Needs::Any(&[QueryOpenTrades, QueryClosedTrades]),
            Self::AddOrder => Needs::All(&[ModifyTrades]),
            Self::AmendOrder
            | Self::CancelOrder
            | Self::CancelOrderBatch
            | Self::CancelAll
            | Self::CancelAllOrdersAfter => Needs::Any(&[ModifyTrades, CloseTrades]),
            Self::AddOrderBatch | Self::EditOrder => Needs::All(&[ModifyTrades, CloseTrades]),
            Self::Ledgers | Self::QueryLedgers => Needs::All(&[QueryLedger]),
            Self::WithdrawMethods | Self::WithdrawAddresses | Self::WithdrawInfo => {
                Needs::All(&[QueryFunds, WithdrawFunds])
            }
            Self::WithdrawStatus => Needs::Any(&[WithdrawFunds, QueryLedger]),
            Self::Withdraw
            | Self::WithdrawCancel
            | Self::WalletTransfer
            | Self::AccountTransfer
            | Self::CreateSubaccount => Needs::All(&[WithdrawFunds]),
            Self::DepositMethods | Self::DepositAddresses | Self::DepositStatus => {
                Needs::All(&[QueryFunds, AddFunds])
            }
            Self::GetWebSocketsToken => Needs::All(&[CreateWsToken]),
        }
    }

    /// Points on the REST counter; `None` for the calls that the matching engine counts.
    pub(crate) const fn rest_cost(self) -> Option<u32> {
        match self {
            Self::AddOrder
            | Self::AddOrderBatch
            | Self::AmendOrder
            | Self::EditOrder
            | Self::CancelOrder
            | Self::CancelOrderBatch
            | Self::CancelAll
            | Self::CancelAllOrdersAfter => None,
            Self::Ledgers
            | Self::QueryLedgers
            | Self::TradesHistory
            | Self::OpenOrders
            | Self::ClosedOrders => Some(2),
            _ => Some(1),
        }
    }

    /// Whether the call changes orders.
    pub(crate) const fn is_order_write(self) -> bool {
        self.rest_cost().is_none()
    }

    /// Whether the call would move funds. The exchange refuses these, and counts them.
    pub(crate) const fn is_funding_write(self) -> bool {
        matches!(
            self,
            Self::Withdraw
                | Self::WithdrawCancel
                | Self::WalletTransfer
                | Self::AccountTransfer
                | Self::CreateSubaccount
        )
    }
}
