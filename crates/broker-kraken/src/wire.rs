//! The shapes of Kraken's answers. What is not needed is not read.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::text::Text;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WireAsset {
    pub(crate) altname: String,
    pub(crate) decimals: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WirePair {
    pub(crate) altname: String,
    pub(crate) wsname: Option<String>,
    pub(crate) base: String,
    pub(crate) pair_decimals: u32,
    pub(crate) lot_decimals: u32,
    pub(crate) fees: Vec<Vec<Text>>,
    pub(crate) fees_maker: Option<Vec<Vec<Text>>>,
    pub(crate) ordermin: Option<Text>,
    pub(crate) costmin: Option<Text>,
    pub(crate) tick_size: Option<Text>,
    pub(crate) status: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WireTime {
    pub(crate) unixtime: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WireStatus {
    pub(crate) status: String,
}

/// Price first in each of the lists.
#[derive(Debug, Deserialize)]
pub(crate) struct WireTicker {
    pub(crate) a: Vec<Text>,
    pub(crate) b: Vec<Text>,
    pub(crate) c: Vec<Text>,
}

/// One member is the pair under whatever name, the other `last`.
pub(crate) type WireCandles = BTreeMap<String, Box<serde_json::value::RawValue>>;

#[derive(Debug, Deserialize)]
pub(crate) struct OpenOrders {
    pub(crate) open: BTreeMap<String, WireOrder>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ClosedOrders {
    pub(crate) closed: BTreeMap<String, WireOrder>,
    pub(crate) count: Option<Text>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WireOrder {
    pub(crate) cl_ord_id: Option<String>,
    pub(crate) status: String,
    pub(crate) opentm: Text,
    pub(crate) closetm: Option<Text>,
    pub(crate) descr: WireDescription,
    pub(crate) vol: Text,
    pub(crate) vol_exec: Text,
    #[serde(default)]
    pub(crate) oflags: String,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct WireDescription {
    pub(crate) pair: Option<String>,
    #[serde(rename = "type")]
    pub(crate) side: Option<String>,
    pub(crate) ordertype: Option<String>,
    pub(crate) price: Option<Text>,
    pub(crate) price2: Option<Text>,
    pub(crate) leverage: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TradesHistory {
    pub(crate) trades: BTreeMap<String, WireTrade>,
    pub(crate) count: Option<Text>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WireTrade {
    pub(crate) ordertxid: String,
    pub(crate) pair: String,
    pub(crate) time: Text,
    #[serde(rename = "type")]
    pub(crate) side: String,
    pub(crate) price: Text,
    pub(crate) fee: Text,
    pub(crate) vol: Text,
    pub(crate) maker: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WireBalance {
    pub(crate) balance: Text,
    pub(crate) hold_trade: Text,
    pub(crate) credit: Option<Text>,
    pub(crate) credit_used: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireDeadMan {
    /// `"0"` or absent when it is disarmed.
    pub(crate) trigger_time: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AddOrder {
    pub(crate) descr: AddOrderDescription,
    pub(crate) txid: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AddOrderDescription {
    pub(crate) order: String,
}

/// Kraken's documentation and recorded answers differ in spelling and types: both are read.
#[derive(Debug, Deserialize)]
pub(crate) struct WireKeyInfo {
    pub(crate) permissions: Vec<String>,
    pub(crate) nonce: Option<Text>,
    #[serde(alias = "nonceWindow")]
    pub(crate) nonce_window: Option<Text>,
    #[serde(alias = "ipAllowlist")]
    pub(crate) ip_allowlist: Option<Vec<String>>,
    #[serde(alias = "validUntil")]
    pub(crate) valid_until: Option<Text>,
    #[serde(alias = "queryFrom")]
    pub(crate) query_from: Option<Text>,
    #[serde(alias = "queryTo")]
    pub(crate) query_to: Option<Text>,
    pub(crate) iban: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WireTradeVolume {
    #[serde(default)]
    pub(crate) fees: BTreeMap<String, WireFee>,
    #[serde(default)]
    pub(crate) fees_maker: BTreeMap<String, WireFee>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WireFee {
    pub(crate) fee: Text,
}
