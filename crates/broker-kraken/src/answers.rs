//! Answers read without an exchange: whatever bytes are handed in go through the parsers of
//! production. For tests that look for an answer which the adapter cannot stand.

use std::collections::BTreeMap;

use bursar_broker::{CancelError, CancelOutcome, PlaceError, Placed, ReadError};
use bursar_model::{ClientOrderId, OrderTerms};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::account::{read_fees, read_fill, read_placed};
use crate::balances::balances;
use crate::catalogue::{OnPlace, ROWS, judge};
use crate::envelope::{self, unreadable};
use crate::names::{Directory, Named};
use crate::orders;
use crate::public::{read_candles, read_quotes, read_status};
use crate::rights::rights;
use crate::transport::Reply;
use crate::wire::{
    ClosedOrders, OpenOrders, TradesHistory, WireAsset, WireBalance, WireCandles, WireKeyInfo, WireOrder,
    WirePair, WireStatus, WireTicker, WireTime, WireTradeVolume,
};

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter)]
pub enum Call {
    Assets,
    AssetPairs,
    BalanceEx,
    ClosedOrders,
    GetApiKeyInfo,
    Ohlc,
    OpenOrders,
    SystemStatus,
    Ticker,
    Time,
    TradeVolume,
    TradesHistory,
}

/// Reads answers as an account would that knows these pairs and assets.
#[derive(Debug)]
pub struct Answers {
    directory: Directory,
    now: Timestamp,
}

impl Answers {
    /// `pairs` and `assets`: the answers of `AssetPairs` and `Assets`. `now` serves answers that
    /// name a moment.
    pub fn new(pairs: &[u8], assets: &[u8], now: Timestamp) -> Result<Self, ReadError> {
        let assets = result::<BTreeMap<String, WireAsset>>("Assets", 200, assets, now)?;
        let pairs = result::<BTreeMap<String, WirePair>>("AssetPairs", 200, pairs, now)?;
        let directory = Directory::new(&pairs, &assets);
        Ok(Self { directory, now })
    }

    /// How many rows an answer with this status and body has for us.
    pub fn read(&self, call: Call, status: u16, body: &[u8]) -> Result<usize, ReadError> {
        let name = format!("{call:?}");
        let name = name.as_str();
        match call {
            Call::Assets => {
                let assets: BTreeMap<String, WireAsset> = self.result(name, status, body)?;
                Ok(assets.len())
            }
            Call::AssetPairs => {
                let pairs: BTreeMap<String, WirePair> = self.result(name, status, body)?;
                let read = Directory::new(&pairs, &BTreeMap::new());
                Ok(read.remembering(&self.directory).instruments().len())
            }
            Call::BalanceEx => {
                let wire: BTreeMap<String, WireBalance> = self.result(name, status, body)?;
                let read = balances(&wire, &self.directory, true);
                read.map(|rows| rows.len())
                    .map_err(|reason| unreadable(name, reason))
            }
            Call::ClosedOrders => {
                let page: ClosedOrders = self.result(name, status, body)?;
                if let Some(count) = &page.count {
                    count.unsigned().map_err(|reason| unreadable(name, reason))?;
                }
                for order in page.closed.values() {
                    orders::ended_at(order).map_err(|reason| unreadable(name, reason))?;
                }
                self.orders(name, &page.closed)
            }
            Call::GetApiKeyInfo => {
                let info: WireKeyInfo = self.result(name, status, body)?;
                let read = rights(&info, self.now).map_err(|reason| unreadable(name, reason))?;
                Ok(read.rights.len())
            }
            Call::Ohlc => {
                let wire: WireCandles = self.result(name, status, body)?;
                let read = read_candles(&wire);
                read.map(|rows| rows.len())
                    .map_err(|reason| unreadable(name, reason))
            }
            Call::OpenOrders => {
                let page: OpenOrders = self.result(name, status, body)?;
                self.orders(name, &page.open)
            }
            Call::SystemStatus => {
                let wire: WireStatus = self.result(name, status, body)?;
                let _status = read_status(&wire);
                Ok(1)
            }
            Call::Ticker => {
                let wire: BTreeMap<String, WireTicker> = self.result(name, status, body)?;
                let read = read_quotes(&wire, &self.directory, self.now);
                read.map(|rows| rows.len())
                    .map_err(|reason| unreadable(name, reason))
            }
            Call::Time => {
                let wire: WireTime = self.result(name, status, body)?;
                let read = Timestamp::from_second(wire.unixtime);
                read.map(|_| 1).map_err(|reason| unreadable(name, reason))
            }
            Call::TradeVolume => {
                let wire: WireTradeVolume = self.result(name, status, body)?;
                let read = read_fees(&wire, &self.directory);
                read.map(|rows| rows.len())
                    .map_err(|reason| unreadable(name, reason))
            }
            Call::TradesHistory => {
                let page: TradesHistory = self.result(name, status, body)?;
                let mut rows = 0_usize;
                for (id, trade) in &page.trades {
                    if let Named::Pair(pair) = self.directory.named(&trade.pair) {
                        read_fill(id, trade, pair.pair()).map_err(|reason| unreadable(name, reason))?;
                        rows = rows.saturating_add(1);
                    }
                }
                Ok(rows)
            }
        }
    }

    /// What an answer to the order `terms` proves.
    pub fn placed(&self, status: u16, body: &[u8], terms: &OrderTerms) -> Result<Placed, PlaceError> {
        read_placed(
            &reply(status, body),
            terms,
            &self.directory,
            self.now,
            |finding| finding,
        )
    }

    /// What an answer to a cancel proves.
    pub fn cancelled(&self, status: u16, body: &[u8]) -> Result<CancelOutcome, CancelError> {
        envelope::cancelled(&envelope::open(&reply(status, body)), self.now)
    }

    /// The body of the request that places `terms`; `None` for a pair that is not listed.
    pub fn order_body(
        &self,
        terms: &OrderTerms,
        id: &ClientOrderId,
        deadline: Timestamp,
        number: u64,
    ) -> Option<String> {
        let pair = self.directory.pair(&terms.pair)?;
        Some(orders::add_order(terms, pair, id, deadline).numbered(number))
    }

    fn result<T: DeserializeOwned>(&self, call: &str, status: u16, body: &[u8]) -> Result<T, ReadError> {
        result(call, status, body, self.now)
    }

    fn orders(&self, call: &str, wire: &BTreeMap<String, WireOrder>) -> Result<usize, ReadError> {
        let mut rows = 0_usize;
        for (id, order) in wire {
            let read = orders::venue_order(id, order, &self.directory);
            if read.map_err(|reason| unreadable(call, reason))?.is_some() {
                rows = rows.saturating_add(1);
            }
        }
        Ok(rows)
    }
}

/// What errors say of an order that was to be placed.
pub fn order_errors(errors: &[String], venue_now: Timestamp) -> PlaceError {
    envelope::place_error(judge(errors, venue_now))
}

/// The texts that prove that an order was not placed, and whether it may be placed later.
pub fn refusing_texts() -> impl Iterator<Item = (&'static str, bool)> {
    ROWS.iter().filter_map(|row| match row.place {
        OnPlace::Refused => Some((row.text, false)),
        OnPlace::Throttled => Some((row.text, true)),
        OnPlace::Unknown | OnPlace::AlreadyThere => None,
    })
}

fn reply(status: u16, body: &[u8]) -> Reply {
    Reply {
        status,
        body: body.to_vec(),
    }
}

fn result<T: DeserializeOwned>(call: &str, status: u16, body: &[u8], now: Timestamp) -> Result<T, ReadError> {
    envelope::read(call, &envelope::open(&reply(status, body)), now)
}
