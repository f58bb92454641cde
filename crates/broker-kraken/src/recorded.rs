//! Answers that were recorded at Kraken, read by the parsers that read them in production.
//!
//! They lie beside the project, not in it. With `CI=true` a missing folder fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;

use bursar_broker::{CancelOutcome, VenueOrderStatus, VenueStatus};
use bursar_model::{InstrumentStatus, OrderKind};
use jiff::Timestamp;
use rust_decimal::dec;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::account::{read_fees, read_fill};
use crate::balances::balances;
use crate::catalogue::{OnPlace, judge};
use crate::envelope::{self, Answer};
use crate::names::{Directory, Named};
use crate::orders;
use crate::public::{read_candles, read_quotes, read_status};
use crate::rights::rights;
use crate::transport::Reply;
use crate::wire::{
    ClosedOrders, OpenOrders, TradesHistory, WireAsset, WireBalance, WireCandles, WireKeyInfo, WireOrder,
    WirePair, WireStatus, WireTicker, WireTime, WireTrade, WireTradeVolume,
};

/// Which parser reads a file, and how many rows it must find there.
#[derive(Clone, Copy, Debug)]
enum Parser {
    AddOrder,
    KeyInfo,
    Pairs(usize),
    Assets(usize),
    Balances(usize),
    /// Only that it succeeds counts.
    Success,
    Cancel,
    Errors(OnPlace),
    Candles(usize),
    Open(usize),
    Closed(usize),
    Orders(usize),
    Status,
    Quotes(usize),
    Time(i64),
    Fees(usize),
    History(usize),
    Trades(usize),
}

use Parser::*;

const READ: &[(&str, Parser)] = &[
    ("rest_add_order__jk1.json", AddOrder),
    ("rest_add_order__nt1.json", AddOrder),
    ("rest_add_order__xc1.json", AddOrder),
    ("rest_api_key_info__jk1.json", KeyInfo),
    ("rest_asset_pairs__jk1.json", Pairs(2)),
    ("rest_asset_pairs__nt1.json", Pairs(1)),
    ("rest_assets__jk1.json", Assets(3)),
    ("rest_assets__xc1.json", Assets(20)),
    ("rest_balance__jk2.json", Success),
    ("rest_balance__nt1.json", Success),
    ("rest_balance_ex__ka1.json", Balances(20)),
    ("rest_cancel_order__nt1.json", Cancel),
    ("rest_closed_orders__jk2.json", Closed(2)),
    ("rest_closed_orders__nt1.json", Closed(2)),
    ("rest_closed_orders_pages__ka1.json", Closed(50)),
    ("rest_closed_orders_pages__ka3.json", Closed(3)),
    ("rest_errors__ka1.json", Errors(OnPlace::Unknown)),
    ("rest_errors__ka11.json", Errors(OnPlace::Refused)),
    ("rest_errors__ka13.json", Errors(OnPlace::Unknown)),
    ("rest_errors__ka15.json", Errors(OnPlace::Refused)),
    ("rest_errors__ka17.json", Errors(OnPlace::Unknown)),
    ("rest_errors__ka3.json", Errors(OnPlace::Refused)),
    ("rest_errors__ka5.json", Errors(OnPlace::Unknown)),
    ("rest_errors__ka7.json", Errors(OnPlace::Unknown)),
    ("rest_errors__ka9.json", Errors(OnPlace::Refused)),
    ("rest_ohlc__jk1.json", Candles(2)),
    ("rest_ohlc__ka1.json", Candles(2)),
    ("rest_open_orders__cx1.json", Open(1)),
    ("rest_open_orders__cx3.json", Open(1)),
    ("rest_open_orders__jk2.json", Open(2)),
    ("rest_open_orders__ka1.json", Open(2)),
    ("rest_open_orders__xc1.json", Open(2)),
    ("rest_query_orders__cx1.json", Orders(1)),
    ("rest_query_orders__jk1.json", Orders(2)),
    ("rest_query_orders__jk3.json", Orders(1)),
    ("rest_query_orders__xc1.json", Orders(1)),
    ("rest_query_trades__jk2.json", Trades(2)),
    ("rest_query_trades__ka1.json", Trades(1)),
    ("rest_system_status__jk1.json", Status),
    ("rest_system_status__ka1.json", Status),
    ("rest_ticker__jk1.json", Quotes(1)),
    ("rest_ticker__nt1.json", Quotes(1)),
    ("rest_ticker__xc1.json", Quotes(1)),
    ("rest_time__ka1.json", Time(1_688_669_448)),
    ("rest_time__xc1.json", Time(1_391_835_876)),
    ("rest_trade_volume__jk1.json", Fees(1)),
    ("rest_trade_volume__ka1.json", Fees(1)),
    ("rest_trade_volume__xc1.json", Fees(1)),
    ("rest_trades_history__jk1.json", History(3)),
    ("rest_trades_history__xc1.json", History(3)),
    ("rest_withdraw_methods__jk1.json", Success),
];

const NOT_READ: &[(&str, &str)] = &[
    ("rest_add_order_batch__ka1.json", "orders are placed one by one"),
    (
        "rest_amend_order__ka1.json",
        "an order is cancelled and placed anew",
    ),
    (
        "rest_cancel_all__jk1.json",
        "orders are cancelled by their own id",
    ),
    (
        "rest_cancel_all_after__jk1.json",
        "setting the dead-man timer tells nothing but when it fires",
    ),
    (
        "rest_cancel_batch__ka1.json",
        "orders are cancelled by their own id",
    ),
    ("rest_deposit_addresses__jk1.json", "funding is out of reach"),
    ("rest_deposit_addresses__xc1.json", "funding is out of reach"),
    ("rest_deposit_methods__jk2.json", "funding is out of reach"),
    ("rest_deposit_methods__ka1.json", "funding is out of reach"),
    ("rest_deposit_status__jk1.json", "funding is out of reach"),
    ("rest_depth__cc1.json", "best prices come from the ticker"),
    ("rest_depth__jk1.json", "best prices come from the ticker"),
    ("rest_depth__ka1.json", "best prices come from the ticker"),
    (
        "rest_edit_order__jk1.json",
        "an order is cancelled and placed anew",
    ),
    ("rest_ledgers__jk1.json", "fills are read, not ledger rows"),
    ("rest_ledgers__xc1.json", "fills are read, not ledger rows"),
    ("rest_open_positions__jk1.json", "no margin"),
    ("rest_open_positions__nt1.json", "no margin"),
    (
        "rest_order_amends__ka1.json",
        "an order is cancelled and placed anew",
    ),
    ("rest_query_ledgers__jk2.json", "fills are read, not ledger rows"),
    ("rest_query_ledgers__ka1.json", "fills are read, not ledger rows"),
    ("rest_spread__jk1.json", "best prices come from the ticker"),
    ("rest_trade_balance__nt1.json", "no margin"),
    ("rest_trade_balance__xc1.json", "no margin"),
    ("rest_trades__cx1.json", "the market's trades are not needed"),
    ("rest_trades__nt1.json", "the market's trades are not needed"),
    ("rest_trades__xc1.json", "the market's trades are not needed"),
    ("rest_withdraw__jk1.json", "never"),
    ("rest_withdraw_addresses__jk1.json", "funding is out of reach"),
    ("rest_withdraw_info__jk2.json", "funding is out of reach"),
    ("rest_withdraw_info__ka1.json", "funding is out of reach"),
    ("rest_withdraw_status__ka1.json", "funding is out of reach"),
    ("rest_ws_token__cc1.json", "no streams"),
];

fn data() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if folder.join("fixtures/kraken").is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "the recorded answers are missing: {}",
        folder.display()
    );
    println!("skipped: no recorded answers at {}", folder.display());
    None
}

fn answer(file: &str) -> Answer {
    let path = data().unwrap().join("fixtures/kraken").join(file);
    envelope::open(&Reply {
        status: 200,
        body: std::fs::read(path).unwrap(),
    })
}

fn result<T: DeserializeOwned>(file: &str) -> T {
    envelope::read(file, &answer(file), now()).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn now() -> Timestamp {
    "2026-11-20T09:30:00Z".parse().unwrap()
}

/// Kraken's pairs as they were in 2021, under those of 2025.
fn directory() -> Directory {
    let assets: BTreeMap<String, WireAsset> = result("rest_assets__xc1.json");
    let read = |name: &str| {
        let file = std::fs::File::open(data().unwrap().join("metadata").join(name)).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(file)
            .read_to_string(&mut text)
            .unwrap();
        let wrapped: BTreeMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_str(&text).unwrap();
        let pairs = wrapped.get("result").map_or(text.as_str(), |raw| raw.get());
        let pairs: BTreeMap<String, WirePair> = serde_json::from_str(pairs).unwrap();
        Directory::new(&pairs, &assets)
    };
    read("kraken_AssetPairs_2025-07.json.gz").remembering(&read("kraken_AssetPairs_2021-04.json.gz"))
}

#[test]
fn every_recorded_answer_is_read_or_its_reason_is_given() {
    let Some(data) = data() else { return };
    let files: BTreeSet<String> = std::fs::read_dir(data.join("fixtures/kraken"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("rest_"))
        .collect();
    let named = READ
        .iter()
        .map(|(file, _)| *file)
        .chain(NOT_READ.iter().map(|(file, _)| *file));
    let listed: BTreeSet<String> = named.clone().map(ToOwned::to_owned).collect();

    assert_eq!(listed.len(), named.count(), "a file is listed twice");
    assert_eq!(files, listed);
}

#[test]
fn every_recorded_answer_is_understood() {
    if data().is_none() {
        return;
    }
    let directory = directory();
    for (file, parser) in READ {
        understand(file, *parser, &directory);
    }
}

fn understand(file: &str, parser: Parser, directory: &Directory) {
    let least = |found: usize, wanted: usize| assert!(found >= wanted, "{file}: {found} of {wanted}");

    match parser {
        AddOrder => {
            let added: super::wire::AddOrder = result(file);
            assert!(
                added.txid.unwrap()[0]
                    .parse::<bursar_model::VenueOrderId>()
                    .is_ok(),
                "{file}"
            );
            assert!(added.descr.order.contains('@'), "{file}");
        }
        KeyInfo => {
            let rights = rights(&result::<WireKeyInfo>(file), now()).unwrap();
            assert_eq!(rights.can_withdraw, Some(true));
            assert!(rights.can_trade && rights.can_read);
            assert_eq!(rights.warnings.len(), 3, "{:?}", rights.warnings);
        }
        Pairs(wanted) => {
            let pairs: BTreeMap<String, WirePair> = result(file);
            let directory = Directory::new(&pairs, &BTreeMap::new());
            least(directory.instruments().len(), wanted);
            for instrument in directory.instruments() {
                assert_eq!(instrument.status, InstrumentStatus::Online, "{file}");
                assert!(
                    instrument.taker_fee_percent >= instrument.maker_fee_percent,
                    "{file}"
                );
            }
        }
        Assets(wanted) => least(result::<BTreeMap<String, WireAsset>>(file).len(), wanted),
        Balances(wanted) => {
            let wire: BTreeMap<String, WireBalance> = result(file);
            let total: usize = balances(&wire, directory, false).unwrap().len();
            assert!(wire.len() >= wanted && total > 0, "{file}: {total}");
        }
        Success => drop(result::<IgnoredAny>(file)),
        Cancel => assert_eq!(
            envelope::cancelled(&answer(file), now()),
            Ok(CancelOutcome::Taken)
        ),
        Errors(place) => match answer(file) {
            Answer::Errors(errors) => assert_eq!(judge(&errors, now()).row.place, place, "{file}"),
            other => panic!("{file}: {other:?}"),
        },
        Candles(wanted) => {
            let candles = read_candles(&result::<WireCandles>(file)).unwrap();
            least(candles.len(), wanted);
            assert!(
                candles.windows(2).all(|two| two[0].start < two[1].start),
                "{file}"
            );
            assert!(candles.iter().all(|candle| candle.low <= candle.high), "{file}");
        }
        Open(wanted) => {
            let orders: OpenOrders = result(file);
            least(orders.open.len(), wanted);
            all_orders(file, &orders.open, directory, |status| {
                status == VenueOrderStatus::Live
            });
        }
        Closed(wanted) => {
            let orders: ClosedOrders = result(file);
            least(orders.closed.len(), wanted);
            least(
                usize::try_from(orders.count.unwrap().unsigned().unwrap()).unwrap(),
                wanted,
            );
            for order in orders.closed.values() {
                assert!(orders::ended_at(order).unwrap().is_some(), "{file}");
            }
            all_orders(file, &orders.closed, directory, VenueOrderStatus::is_terminal);
        }
        Orders(wanted) => {
            let orders: BTreeMap<String, WireOrder> = result(file);
            least(orders.len(), wanted);
            all_orders(file, &orders, directory, |_| true);
        }
        Status => assert_eq!(read_status(&result::<WireStatus>(file)), VenueStatus::Online),
        Quotes(wanted) => {
            let wire: BTreeMap<String, WireTicker> = result(file);
            let quotes = read_quotes(&wire, directory, now()).unwrap();
            least(quotes.len(), wanted);
            assert!(quotes.iter().all(|quote| quote.bid <= quote.ask), "{file}");
        }
        Time(second) => assert_eq!(result::<WireTime>(file).unixtime, second),
        Fees(wanted) => {
            let fees = read_fees(&result::<WireTradeVolume>(file), directory).unwrap();
            least(fees.len(), wanted);
            assert!(fees.iter().all(|fee| fee.taker_percent <= dec!(1)), "{file}");
        }
        History(wanted) => {
            let history: TradesHistory = result(file);
            least(history.trades.len(), wanted);
            assert!(history.count.unwrap().unsigned().unwrap() > 0, "{file}");
            all_fills(file, &history.trades, directory);
        }
        Trades(wanted) => {
            let trades: BTreeMap<String, WireTrade> = result(file);
            least(trades.len(), wanted);
            all_fills(file, &trades, directory);
        }
    }
}

/// Pairs that were listed neither in 2021 nor in 2025, or that the recorder took out.
const GONE: &[&str] = &["", "XBTLTC", "LUNAUSD", "REPETH", "XBTGBP", "RNDRUSD", "XLTCXXBT"];

fn all_orders(
    file: &str,
    orders: &BTreeMap<String, WireOrder>,
    directory: &Directory,
    status: impl Fn(VenueOrderStatus) -> bool,
) {
    for (id, wire) in orders {
        let pair = wire.descr.pair.as_deref().unwrap_or_default();
        match orders::venue_order(id, wire, directory) {
            Ok(order) => {
                let order = order.unwrap();
                assert!(status(order.status), "{file} {id}: {}", order.status);
                assert!(order.filled <= order.quantity.value(), "{file} {id}");
                // What we place ourselves is recognised, whatever else lies there.
                if wire.descr.ordertype.as_deref() == Some("market") {
                    assert_eq!(order.kind, Some(OrderKind::Market), "{file} {id}");
                }
            }
            Err(reason) => assert!(
                GONE.contains(&pair) && directory.named(pair) == Named::Unknown,
                "{file} {id}: {reason}"
            ),
        }
    }
}

fn all_fills(file: &str, trades: &BTreeMap<String, WireTrade>, directory: &Directory) {
    for (id, trade) in trades {
        match directory.named(&trade.pair) {
            Named::Pair(pair) => {
                let fill = read_fill(id, trade, pair.pair())
                    .unwrap_or_else(|reason| panic!("{file} {id}: {reason}"));
                assert_eq!(&fill.fee.asset, fill.pair.quote(), "{file} {id}");
            }
            Named::Unknown => assert!(GONE.contains(&trade.pair.as_str()), "{file} {id}: {}", trade.pair),
            Named::BeyondUs => panic!("{file} {id}: {}", trade.pair),
        }
    }
}

#[test]
fn the_pairs_of_2021_and_2025_have_no_name_in_common_with_another() {
    if data().is_none() {
        return;
    }
    let directory = directory();
    let instruments = directory.instruments();

    assert!(instruments.len() > 1_000, "{}", instruments.len());
    for (name, pair) in [
        ("XXBTZUSD", "BTC-USD"),
        ("XBT/EUR", "BTC-EUR"),
        ("XDGUSD", "DOGE-USD"),
        ("XTZUSD", "XTZ-USD"),
        ("XZECZUSD", "ZEC-USD"),
        ("ZRXUSD", "ZRX-USD"),
    ] {
        assert!(
            matches!(directory.named(name), Named::Pair(found) if found.pair().to_string() == pair),
            "{name}"
        );
    }
    assert_eq!(directory.named("XXBTZUSD.d"), Named::BeyondUs);
}
