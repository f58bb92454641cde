//! Lists, pages, rights and prices.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bursar_broker::{
    Broker, CancelOutcome, ErrorClass, MarketData, ReadError, VenueOrderStatus, VenueStatus,
};
use bursar_broker_kraken::KrakenTier;
use bursar_model::{ClientOrderId, InstrumentStatus, Liquidity, OrderKind};
use jiff::Timestamp;
use rust_decimal::dec;

use crate::world::{Call, World, error, ok, pass_time};

const ID: &str = "6d1b345e-2821-40e2-ad83-4ecb18a06876";

fn order(number: usize, status: &str, client_id: Option<&str>, pair: &str) -> String {
    let client_id = client_id.map_or("null".to_owned(), |id| format!("\"{id}\""));
    format!(
        r#""O{number:05}-AAAAA-BBBBBB":{{"refid":null,"userref":0,"cl_ord_id":{client_id},"status":"{status}",
        "opentm":17719990{number:02}.5,"closetm":1772000001.25,"descr":{{"pair":"{pair}","type":"buy","ordertype":"limit",
        "price":"60000.0","price2":"0","leverage":"none"}},"vol":"0.00100000","vol_exec":"0.0004","oflags":"fciq","reason":null}}"#
    )
}

fn list(name: &str, orders: &[String], count: usize) -> String {
    ok(&format!(
        r#"{{"{name}":{{{}}},"count":{count}}}"#,
        orders.join(",")
    ))
}

fn since() -> Timestamp {
    Timestamp::from_second(1_771_990_000).unwrap()
}

fn offset(call: &Call) -> usize {
    call.parameters()["ofs"].parse().unwrap()
}

#[tokio::test]
async fn a_list_of_several_pages_is_read_to_its_end() {
    let world = World::new(|call| {
        (call.path == "/0/private/ClosedOrders").then(|| {
            let rows: Vec<String> = (0..103)
                .skip(offset(call))
                .take(50)
                .map(|number| order(number, "canceled", None, "XBTUSD"))
                .collect();
            (200, list("closed", &rows, 103))
        })
    })
    .await;
    let orders = world.kraken.closed_orders(since()).await.unwrap();

    assert_eq!(orders.len(), 103);
    assert_eq!(world.calls("ClosedOrders").len(), 3);
    let asked = world.calls("ClosedOrders")[0].parameters();
    assert_eq!(
        (asked["closetime"].as_str(), asked["start"].as_str()),
        ("close", "1771989999")
    );
    assert!(
        orders
            .iter()
            .all(|order| order.status == VenueOrderStatus::Cancelled)
    );
}

#[tokio::test]
async fn what_happens_between_two_pages_loses_nothing() {
    let new = AtomicUsize::new(0);
    let world = World::new(move |call| {
        (call.path == "/0/private/ClosedOrders").then(|| {
            // With every page two more orders have ended, at the top of the list.
            let shift = new.fetch_add(2, Ordering::SeqCst);
            let rows: Vec<String> = (0..100 + shift)
                .rev()
                .skip(offset(call))
                .take(50)
                .map(|number| order(number, "closed", None, "XBTUSD"))
                .collect();
            (200, list("closed", &rows, 100 + shift))
        })
    })
    .await;
    let orders = world.kraken.closed_orders(since()).await.unwrap();

    for number in 0..100 {
        let id = format!("O{number:05}-AAAAA-BBBBBB");
        assert!(orders.iter().any(|order| order.id.as_str() == id), "{id}");
    }
}

#[tokio::test]
async fn i18_a_list_that_is_cut_off_is_no_list() {
    for rows in [0, 20, 50] {
        let world = World::new(move |call| {
            (call.path == "/0/private/ClosedOrders").then(|| {
                let rows: Vec<String> = (0..rows)
                    .skip(offset(call))
                    .map(|number| order(number, "closed", None, "XBTUSD"))
                    .collect();
                (200, list("closed", &rows, 103))
            })
        })
        .await;
        let error = world.kraken.closed_orders(since()).await.unwrap_err();

        assert!(
            matches!(
                error,
                ReadError::TryAgain {
                    class: ErrorClass::Ambiguous,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

/// Sixty orders, of which the second page fails so often.
async fn with_a_second_page_that_fails(times: usize) -> World {
    let failed = AtomicUsize::new(0);
    World::new(move |call| {
        (call.path == "/0/private/ClosedOrders").then(|| {
            let offset = offset(call);
            if offset > 0 && failed.fetch_add(1, Ordering::SeqCst) < times {
                return (200, error("EService:Busy"));
            }
            let rows: Vec<String> = (offset..60)
                .take(50)
                .map(|number| order(number, "closed", None, "XBTUSD"))
                .collect();
            (200, list("closed", &rows, 60))
        })
    })
    .await
}

#[tokio::test]
async fn a_page_that_fails_twice_fails_the_list() {
    let world = with_a_second_page_that_fails(2).await;
    let time = pass_time(Duration::from_millis(50));

    let orders = world.kraken.closed_orders(since()).await;
    time.abort();

    assert!(orders.is_err());
    assert_eq!(world.calls("ClosedOrders").len(), 3);
}

/// What took an hour to read is not read anew for one answer.
#[tokio::test]
async fn a_page_that_fails_once_is_asked_for_again() {
    let world = with_a_second_page_that_fails(1).await;
    let time = pass_time(Duration::from_millis(50));

    let orders = world.kraken.closed_orders(since()).await;
    time.abort();

    assert_eq!(orders.unwrap().len(), 60);
    assert_eq!(world.calls("ClosedOrders").len(), 3);
}

#[tokio::test]
async fn orders_that_ended_before_are_left_out() {
    let world = World::new(|call| {
        (call.path == "/0/private/ClosedOrders")
            .then(|| (200, list("closed", &[order(1, "closed", None, "XBTUSD")], 1)))
    })
    .await;
    let after = "2026-02-25T06:13:22Z".parse().unwrap();

    assert!(world.kraken.closed_orders(after).await.unwrap().is_empty());
    let before = "2026-02-25T06:13:21.25Z".parse().unwrap();
    assert_eq!(world.kraken.closed_orders(before).await.unwrap().len(), 1);
}

#[tokio::test]
async fn i9_a_lookup_is_open_then_closed_then_open_again() {
    let looks = AtomicUsize::new(0);
    let world = World::new(move |call| match call.path.as_str() {
        // The order moves from open to closed while we look.
        "/0/private/OpenOrders" => match looks.fetch_add(1, Ordering::SeqCst) {
            0 => Some((200, list("open", &[order(1, "open", Some(ID), "XBTUSD")], 1))),
            // A filter that is ignored gives others, too.
            _ => Some((200, list("open", &[order(2, "open", None, "XBTUSD")], 1))),
        },
        "/0/private/ClosedOrders" => Some((
            200,
            list(
                "closed",
                &[order(1, "closed", Some(&ID.to_uppercase()), "XBTUSD")],
                1,
            ),
        )),
        _ => None,
    })
    .await;
    let id: ClientOrderId = ID.parse().unwrap();
    let found = world.kraken.find(&id, since()).await.unwrap();

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].client_order_id.as_ref(), Some(&id));
    assert_eq!(found[0].status, VenueOrderStatus::Filled);
    assert_eq!(found[0].filled, dec!(0.0004));
    let looked: Vec<String> = world
        .all_calls()
        .iter()
        .filter(|call| call.path.contains("/private/"))
        .map(|call| call.path.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(looked, ["OpenOrders", "ClosedOrders", "OpenOrders"]);
    for call in world.calls("OpenOrders") {
        assert_eq!(call.parameters()["cl_ord_id"], ID);
    }
}

#[tokio::test]
async fn a_lookup_with_one_failed_look_proves_nothing() {
    for failing in ["OpenOrders", "ClosedOrders"] {
        let world = World::new(move |call| {
            let name = call.path.rsplit('/').next().unwrap();
            match name {
                _ if name == failing => Some((502, "<html>".into())),
                "OpenOrders" => Some((200, list("open", &[], 0))),
                "ClosedOrders" => Some((200, list("closed", &[], 0))),
                _ => None,
            }
        })
        .await;

        assert!(
            world.kraken.find(&ID.parse().unwrap(), since()).await.is_err(),
            "{failing}"
        );
    }
}

#[tokio::test]
async fn foreign_orders_are_listed_and_those_of_other_venues_left_out() {
    let world = World::new(|call| {
        (call.path == "/0/private/OpenOrders").then(|| {
            let orders = [
                order(1, "open", Some(ID), "XBTUSD"),
                order(2, "pending", None, "ETH/USD"),
                order(3, "open", None, "XBTUSD:BTNL"),
                order(4, "open", Some("by-hand"), "XXBTZUSD"),
            ];
            (200, list("open", &orders, 4))
        })
    })
    .await;
    let orders = world.kraken.open_orders().await.unwrap();

    assert_eq!(orders.len(), 3);
    assert!(orders.iter().all(|order| order.status == VenueOrderStatus::Live));
    assert_eq!(
        orders[0].kind,
        Some(OrderKind::Limit {
            price: "60000".parse().unwrap()
        })
    );
    assert_eq!(orders[1].pair.to_string(), "ETH-USD");
}

#[tokio::test]
async fn what_the_owner_trades_by_hand_on_a_pair_that_kraken_does_not_list_is_left_out() {
    let world = World::new(|call| match call.path.as_str() {
        "/0/private/OpenOrders" => {
            let orders = [order(1, "open", None, "AAPLxUSD"), order(2, "open", Some(ID), "XBTUSD")];
            Some((200, list("open", &orders, 2)))
        }
        "/0/private/TradesHistory" => {
            let trade = |id: &str, pair: &str| {
                format!(
                    r#""{id}":{{"ordertxid":"OABCDE-12345-FGHIJK","postxid":"TKH2SE-M7IF5-CFI7LT","pair":"{pair}",
                    "time":1772000001.25,"type":"buy","ordertype":"limit","price":"60000.0","cost":"6.0","fee":"0.015",
                    "vol":"0.0001","margin":"0.0","misc":"","trade_id":1,"maker":true}}"#
                )
            };
            let rows = [trade("T00001-AAAAA-BBBBBB", "AAPLxUSD"), trade("T00002-AAAAA-BBBBBB", "XXBTZUSD")];
            Some((200, ok(&format!(r#"{{"trades":{{{}}},"count":2}}"#, rows.join(",")))))
        }
        _ => None,
    })
    .await;

    let orders = world.kraken.open_orders().await.unwrap();
    let fills = world.kraken.fills(since()).await.unwrap();

    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].pair.to_string(), "BTC-USD");
    assert_eq!(fills.len(), 1);
    assert_eq!(fills[0].id.as_str(), "T00002-AAAAA-BBBBBB");
}

#[tokio::test]
async fn only_an_order_that_may_be_ours_voids_a_list_when_kraken_does_not_list_its_pair() {
    let listed = |client_id: &'static str, pair: &'static str| async move {
        let world = World::new(move |call| {
            let orders = [
                order(1, "open", Some(client_id), pair),
                order(2, "open", None, "XBTUSD"),
            ];
            (call.path == "/0/private/OpenOrders").then(|| (200, list("open", &orders, 2)))
        })
        .await;
        world.kraken.open_orders().await
    };

    // Ours is a random UUID; neither another program's words are, nor an id that it made of the time.
    assert!(matches!(
        listed(ID, "NEWUSD").await,
        Err(ReadError::Unreadable { .. })
    ));
    assert!(matches!(
        listed("6D1B345E282140E2AD834ECB18A06876", "NEWUSD").await,
        Err(ReadError::Unreadable { .. })
    ));
    for other in ["grid-7", "0195f2a0-5d3e-7c11-a3f4-1b2c3d4e5f60"] {
        let orders = listed(other, "NEWUSD").await.unwrap();
        assert_eq!(orders.len(), 1, "{other}");
        assert_eq!(orders[0].client_order_id, None);
    }
    // Where both assets are known, so is the pair.
    for spelling in ["ETHXBT", "XETHXXBT", "ETH/XBT"] {
        let orders = listed(ID, spelling).await.unwrap();
        assert_eq!(orders[0].pair.to_string(), "ETH-BTC", "{spelling}");
        assert_eq!(orders[0].client_order_id, Some(ID.parse().unwrap()));
    }
}

#[tokio::test]
async fn i7_every_slice_of_a_fill_comes_once_and_in_order() {
    let world = World::new(|call| {
        (call.path == "/0/private/TradesHistory").then(|| {
            let mut rows = String::new();
            for number in (0..70).rev().skip(offset(call)).take(50) {
                let comma = if rows.is_empty() { "" } else { "," };
                write!(
                    rows,
                    r#"{comma}"T{number:05}-AAAAA-BBBBBB":{{"ordertxid":"OABCDE-12345-FGHIJK","postxid":"TKH2SE-M7IF5-CFI7LT",
                    "pair":"XXBTZUSD","time":17720000{number:02}.234567,"type":"buy","ordertype":"limit","price":"60000.0",
                    "cost":"6.0","fee":"0.015","vol":"0.0001","margin":"0.0","misc":"","trade_id":{number},"maker":true}}"#
                )
                .unwrap();
            }
            (200, ok(&format!(r#"{{"trades":{{{rows}}},"count":70}}"#)))
        })
    })
    .await;
    let fills = world.kraken.fills(since()).await.unwrap();

    assert_eq!(fills.len(), 70);
    assert!(fills.windows(2).all(|two| two[0].at < two[1].at));
    assert_eq!(fills[0].liquidity, Liquidity::Maker);
    assert_eq!(fills[0].fee.to_string(), "0.015 USD");
    assert_eq!(
        world.calls("TradesHistory")[0].parameters()["consolidate_taker"],
        "false"
    );
}

const INFO: &str = r#"{"apiKeyName":"g","nonce":"1972000000000000000","nonceWindow":0,"permissions":["query-funds",
  "query-open-trades","query-closed-trades","modify-trades","close-trades"],"validUntil":"0","queryFrom":"0","queryTo":"0",
  "ipAllowlist":["203.0.113.7"]}"#;

#[tokio::test]
async fn d13_the_rights_of_a_key_are_asked_for_and_its_numbers_go_on_from_the_highest() {
    let world = World::new(|call| match call.path.as_str() {
        "/0/private/GetApiKeyInfo" => Some((200, ok(INFO))),
        "/0/private/BalanceEx" => Some((200, ok("{}"))),
        _ => None,
    })
    .await;
    let rights = world.kraken.key_rights().await.unwrap();
    assert_eq!(rights.refusal(), None);
    world.kraken.balances().await.unwrap();

    assert!(world.calls("BalanceEx")[0].nonce() > 1_972_000_000_000_000_000);
}

/// A key that Kraken does not describe: what it may do is tried.
async fn probed(withdraw_methods: (u16, String)) -> (World, Result<bursar_broker::KeyRights, ReadError>) {
    let world = World::new(move |call| match call.path.rsplit('/').next().unwrap() {
        "Balance" => Some((200, ok(r#"{"ZUSD":"1.0"}"#))),
        "OpenOrders" => Some((200, list("open", &[], 0))),
        "ClosedOrders" => Some((200, list("closed", &[], 0))),
        "WithdrawMethods" => Some(withdraw_methods.clone()),
        "CancelOrder" => Some((200, error("EOrder:Invalid order"))),
        _ => None,
    })
    .await;
    let rights = world.kraken.key_rights().await;
    let asked: Vec<String> = world.all_calls().iter().map(|call| call.path.clone()).collect();
    let funding = [
        "/Withdraw",
        "/WithdrawInfo",
        "/WithdrawStatus",
        "/WithdrawCancel",
        "/AccountTransfer",
    ];
    assert!(
        !asked
            .iter()
            .any(|path| funding.iter().any(|name| path.ends_with(name))),
        "{asked:?}"
    );
    (world, rights)
}

#[tokio::test]
async fn d13_a_key_that_is_not_described_is_tried_without_asking_for_money() {
    let (_, rights) = probed((200, error("EGeneral:Permission denied"))).await;
    assert_eq!(rights.unwrap().refusal(), None);

    let (_, rights) = probed((200, ok(r#"[{"asset":"XXBT","method":"Bitcoin"}]"#))).await;
    assert!(rights.unwrap().refusal().unwrap().contains("withdraw"));

    let (_, rights) = probed((200, error("EQuery:Unknown asset"))).await;
    assert_eq!(rights.unwrap().can_withdraw, None);

    let (_, rights) = probed((200, error("EService:Busy"))).await;
    assert!(matches!(rights, Err(ReadError::TryAgain { .. })));
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_not_tried() {
    let world = World::new(|call| {
        call.path
            .contains("/private/")
            .then(|| (200, error("EAPI:Invalid key")))
    })
    .await;
    let refused = world.kraken.key_rights().await.unwrap_err();

    assert!(
        matches!(
            refused,
            ReadError::Refused {
                class: ErrorClass::Auth,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(world.all_calls().len(), 1);
}

#[tokio::test]
async fn a_refused_number_is_replaced_once_for_a_reading() {
    let world =
        World::new(|call| (call.path == "/0/private/BalanceEx").then(|| (200, error("EAPI:Invalid nonce"))))
            .await;
    let error = world.kraken.balances().await.unwrap_err();
    let calls = world.calls("BalanceEx");

    assert_eq!(error.class(), ErrorClass::Nonce);
    assert_eq!(calls.len(), 2);
    assert!(calls[0].nonce() < calls[1].nonce());
}

/// A store was put back that knows nothing of the numbers a clock used that was an hour ahead.
#[tokio::test]
async fn i12_a_key_that_has_used_greater_numbers_than_are_kept_is_not_locked_out() {
    const SEEN: u64 = (1_772_000_000 + 3_600) * 1_000_000_000;
    let world = World::new(|call| {
        let taken = call.path.starts_with("/0/private/") && call.nonce() > SEEN;
        match call.path.as_str() {
            "/0/private/BalanceEx" if taken => Some((200, ok("{}"))),
            "/0/private/CancelOrder" if taken => Some((200, ok(r#"{"count":1}"#))),
            path if path.starts_with("/0/private/") => Some((200, error("EAPI:Invalid nonce"))),
            _ => None,
        }
    })
    .await;
    let id: ClientOrderId = ID.parse().unwrap();

    for _ in 0..3 {
        assert!(world.kraken.cancel(&id).await.is_err());
    }

    assert!(world.kraken.cancel(&id).await.is_ok());
    assert!(world.kraken.balances().await.is_ok());
}

#[tokio::test]
async fn after_too_many_readings_the_next_waits_here_and_not_there() {
    let world = World::new(|call| {
        (call.path == "/0/private/BalanceEx").then(|| (200, error("EGeneral:Temporary lockout")))
    })
    .await;
    for _ in 0..3 {
        let error = world.kraken.balances().await.unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::TryAgain {
                    class: ErrorClass::Rate,
                    wait: Some(wait),
                    ..
                } if wait.as_secs() > 800
            ),
            "{error:?}"
        );
    }
    assert_eq!(world.calls("BalanceEx").len(), 1);
}

#[tokio::test]
async fn prices_of_many_pairs_come_with_one_request() {
    let world = World::new(|call| {
        call.path.starts_with("/0/public/Ticker").then(|| {
            let row = |ask: &str| {
                format!(r#"{{"a":["{ask}","1","1.0"],"b":["60000.0","2","2.0"],"c":["60000.1","0.1"]}}"#)
            };
            let result = format!(
                r#"{{"XXBTZUSD":{},"XETHZUSD":{}}}"#,
                row("60000.2"),
                row("0.00000")
            );
            (200, ok(&result))
        })
    })
    .await;
    let pairs = ["BTC-USD", "ETH-USD", "DOGE-USD"].map(|pair| pair.parse().unwrap());
    let quotes = world.public.quotes(&pairs).await.unwrap();

    assert_eq!(quotes.len(), 1, "a pair without a price is left out");
    assert_eq!(quotes[0].ask.value(), dec!(60000.2));
    assert_eq!(
        world.calls("Ticker")[0].path,
        "/0/public/Ticker?pair=XBTUSD%2CETHUSD"
    );
    assert!(world.public.quotes(&[]).await.unwrap().is_empty());
    assert_eq!(world.calls("Ticker").len(), 1);
}

/// The prices of those of the pairs that are listed, and the errors of the others.
fn prices(call: &Call, listed: &[(&str, &str)]) -> (BTreeMap<String, String>, usize) {
    let row = r#"{"a":["60000.2","1","1.0"],"b":["60000.0","2","2.0"],"c":["60000.1","0.1"]}"#;
    let asked = call
        .path
        .split_once("?pair=")
        .map(|(_, names)| names.split("%2C"));
    let Some(asked) = asked else {
        return (
            listed
                .iter()
                .map(|(_, id)| ((*id).to_owned(), row.to_owned()))
                .collect(),
            0,
        );
    };
    let asked: Vec<&str> = asked.collect();
    let found: BTreeMap<String, String> = (listed.iter())
        .filter(|(altname, _)| asked.contains(altname))
        .map(|(_, id)| ((*id).to_owned(), row.to_owned()))
        .collect();
    let unknown = asked.len() - found.len();
    (found, unknown)
}

fn object(rows: &BTreeMap<String, String>) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(name, row)| format!("\"{name}\":{row}"))
        .collect();
    format!("{{{}}}", rows.join(","))
}

const BTC_ONLY: &str = r#"{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD",
    "pair_decimals":1,"lot_decimals":8,"fees":[[0,0.40]]}}"#;

/// An exchange on which ether is listed until it is not; with `lists_on`, its list says so for ever.
async fn delisting(lists_on: bool) -> (World, Arc<AtomicBool>) {
    let gone = Arc::new(AtomicBool::new(false));
    let world = World::new({
        let gone = gone.clone();
        move |call| {
            let is_gone = gone.load(Ordering::SeqCst);
            match call.path.split('?').next().unwrap() {
                "/0/public/Ticker" => {
                    let all = [("XBTUSD", "XXBTZUSD"), ("ETHUSD", "XETHZUSD")];
                    let listed = if is_gone { &all[..1] } else { &all[..] };
                    match prices(call, listed) {
                        (found, 0) => Some((200, ok(&object(&found)))),
                        _ => Some((200, error("EQuery:Unknown asset pair"))),
                    }
                }
                "/0/public/AssetPairs" if is_gone && !lists_on => Some((200, ok(BTC_ONLY))),
                _ => None,
            }
        }
    })
    .await;
    (world, gone)
}

#[tokio::test]
async fn i18_a_pair_that_is_delisted_takes_its_own_price_away_and_no_other() {
    let pairs = ["BTC-USD", "ETH-USD"].map(|pair| pair.parse().unwrap());
    let (world, gone) = delisting(false).await;
    assert_eq!(world.public.quotes(&pairs).await.unwrap().len(), 2);
    gone.store(true, Ordering::SeqCst);
    world.clock.step(31);

    for _ in 0..5 {
        let quotes = world.public.quotes(&pairs).await.unwrap();
        assert_eq!(quotes.len(), 1);
        assert_eq!(quotes[0].pair, pairs[0]);
    }

    assert_eq!(world.calls("AssetPairs").len(), 2, "read anew, and once");
    assert_eq!(world.calls("Ticker").len(), 1 + 2 + 4);
}

#[tokio::test]
async fn i18_a_pair_that_kraken_lists_and_does_not_price_takes_no_other_price_away() {
    let pairs = ["BTC-USD", "ETH-USD"].map(|pair| pair.parse().unwrap());
    let (world, gone) = delisting(true).await;
    assert_eq!(world.public.quotes(&pairs).await.unwrap().len(), 2);
    gone.store(true, Ordering::SeqCst);

    for _ in 0..5 {
        let quotes = world.public.quotes(&pairs).await.unwrap();
        assert_eq!(quotes.len(), 1);
    }

    assert_eq!(world.calls("AssetPairs").len(), 1, "they were read a moment ago");
    assert_eq!(world.calls("Ticker").len(), 1 + 2 + 4);
    // Listed again, and the list is read.
    gone.store(false, Ordering::SeqCst);
    world.public.instruments().await.unwrap();
    assert_eq!(world.public.quotes(&pairs).await.unwrap().len(), 2);
}

#[tokio::test]
async fn prices_count_beside_errors_that_say_only_that_a_pair_is_unknown() {
    let told = |errors: &'static str| async move {
        let world = World::new(move |call| {
            call.path.starts_with("/0/public/Ticker").then(|| {
                let (found, _) = prices(call, &[("XBTUSD", "XXBTZUSD")]);
                let result = object(&found);
                (200, format!(r#"{{"error":[{errors}],"result":{result}}}"#))
            })
        })
        .await;
        let pairs = ["BTC-USD", "ETH-USD"].map(|pair| pair.parse().unwrap());
        world.public.quotes(&pairs).await
    };

    assert_eq!(told(r#""EQuery:Unknown asset pair""#).await.unwrap().len(), 1);
    assert!(
        told(r#""EQuery:Unknown asset pair","EService:Busy""#)
            .await
            .is_err()
    );
    assert!(told(r#""EGeneral:Internal error""#).await.is_err());
}

#[tokio::test]
async fn prices_of_very_many_pairs_come_in_several_requests() {
    let name = |number: usize| format!("T{number:03}");
    let world = World::new(move |call| {
        if call.path.starts_with("/0/public/AssetPairs") {
            let rows: Vec<String> = (0..250)
                .map(|number| {
                    let name = name(number);
                    format!(
                        r#""{name}USD":{{"altname":"{name}USD","wsname":"{name}/USD","base":"{name}","quote":"ZUSD",
                        "pair_decimals":1,"lot_decimals":8,"fees":[[0,0.40]]}}"#
                    )
                })
                .collect();
            return Some((200, ok(&format!("{{{}}}", rows.join(",")))));
        }
        call.path.starts_with("/0/public/Ticker").then(|| {
            let names: Vec<String> = (0..250).map(|number| format!("{}USD", name(number))).collect();
            let listed: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
            (200, ok(&object(&prices(call, &listed).0)))
        })
    })
    .await;
    let pairs: Vec<bursar_model::Pair> = (0..250)
        .map(|number| format!("{}-USD", name(number)).parse().unwrap())
        .collect();

    assert_eq!(world.public.quotes(&pairs).await.unwrap().len(), 250);
    let asked = world.calls("Ticker");
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|call| call.path.len() < 1_500));
}

#[tokio::test]
async fn the_candle_that_still_forms_is_left_out() {
    let world = World::new(|call| {
        call.path.starts_with("/0/public/OHLC").then(|| {
            let row = |start: u64| format!(r#"[{start},"1.0","2.0","0.5","1.5","1.2","3.4",5]"#);
            let rows = [1_771_992_000, 1_771_995_600, 1_771_999_200].map(row).join(",");
            (200, ok(&format!(r#"{{"XXBTZUSD":[{rows}],"last":1771995600}}"#)))
        })
    })
    .await;
    let pair = "BTC-USD".parse().unwrap();
    let candles = world.public.candles(&pair, 60).await.unwrap();

    assert_eq!(candles.len(), 2);
    assert_eq!(candles[1].start.as_second(), 1_771_995_600);
    assert_eq!(
        world.calls("OHLC")[0].path,
        "/0/public/OHLC?pair=XBTUSD&interval=60"
    );
    assert!(matches!(
        world.public.candles(&pair, 7).await,
        Err(ReadError::Refused { .. })
    ));
}

#[tokio::test]
async fn status_instruments_and_clock_are_read() {
    let world = World::new(|call| {
        (call.path == "/0/public/SystemStatus")
            .then(|| (200, ok(r#"{"status":"cancel_only","timestamp":""}"#)))
    })
    .await;

    assert_eq!(world.public.status().await.unwrap(), VenueStatus::CancelOnly);
    let instruments = world.public.instruments().await.unwrap();
    assert_eq!(instruments.len(), 2);
    assert!(
        instruments
            .iter()
            .all(|one| one.status == InstrumentStatus::Online)
    );
    assert_eq!(world.public.clock_offset(), None);
    assert_eq!(
        world.kraken.venue_time().await.unwrap().as_second(),
        1_772_000_000
    );
    assert!(world.public.clock_offset().unwrap().uncertainty.as_millis() <= 500);
}

fn nothing(call: &Call) -> Option<(u16, String)> {
    match call.path.as_str() {
        "/0/private/OpenOrders" => Some((200, list("open", &[], 0))),
        "/0/private/ClosedOrders" => Some((200, list("closed", &[], 0))),
        "/0/private/TradesHistory" => Some((200, list("trades", &[], 0))),
        "/0/private/CancelOrder" => Some((200, ok(r#"{"count":1}"#))),
        _ => None,
    }
}

#[tokio::test]
async fn i9_after_a_search_for_several_orders_other_readings_wait_and_do_not_fail() {
    let world = World::slow(KrakenTier::Starter, Duration::ZERO, nothing).await;
    world.public.instruments().await.unwrap();
    let time = pass_time(Duration::from_millis(50));
    // The first complete look, which nothing makes wait, and a while.
    for _ in 0..5 {
        world.kraken.open_orders().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;

    for _ in 0..4 {
        world.kraken.find(&ID.parse().unwrap(), since()).await.unwrap();
    }
    let fills = world.kraken.fills(since()).await;
    let orders = world.kraken.open_orders().await;
    time.abort();

    assert_eq!((fills, orders), (Ok(vec![]), Ok(vec![])));
}

/// Three orders are to be cancelled and go on working; each answer takes three seconds.
#[tokio::test]
async fn i20_readings_end_while_cancels_that_were_answered_are_repeated() {
    let world = World::slow(KrakenTier::Pro, Duration::from_secs(3), nothing).await;
    world.public.instruments().await.unwrap();
    let time = pass_time(Duration::from_millis(50));
    let reading = tokio::spawn({
        let kraken = world.kraken.clone();
        async move {
            let mut whole_looks = 0;
            loop {
                let fills = kraken.fills(since()).await;
                let orders = kraken.open_orders().await;
                if fills.is_ok() && orders.is_ok() {
                    whole_looks += 1;
                }
                if whole_looks == 3 {
                    return;
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = tokio::time::Instant::now();
    let mut cancelling = Vec::new();
    for number in 1..=3 {
        let kraken = world.kraken.clone();
        cancelling.push(tokio::spawn(async move {
            let id: ClientOrderId = format!("6d1b345e-2821-40e2-ad83-4ecb18a0687{number}")
                .parse()
                .unwrap();
            let first = kraken.cancel(&id).await;
            let answered = began.elapsed();
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(10)).await;
                kraken.cancel(&id).await.unwrap();
            }
            (first, answered)
        }));
    }

    let ended = tokio::time::timeout(Duration::from_secs(60), reading).await;
    let mut answered = Vec::new();
    for cancel in cancelling {
        let (first, after) = cancel.await.unwrap();
        assert_eq!(first, Ok(CancelOutcome::Taken));
        answered.push(after);
    }
    time.abort();

    assert!(ended.is_ok(), "no three looks in a minute");
    // A second for the reading that was under way, and three for each cancel.
    let last = answered.into_iter().max().unwrap();
    assert!(last < Duration::from_secs(12), "{last:?}");
}
