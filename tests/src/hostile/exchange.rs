//! What Kraken answers, and what is sent to it.

use std::sync::OnceLock;

use bursar_broker::{ErrorClass, PlaceError};
use bursar_broker_kraken::answers::{Answers, Call, order_errors, refusing_texts};
use bursar_model::{OrderKind, OrderTerms, Price, Quantity, Side, TimeInForce};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use super::lines;

const PAIRS: &[u8] = br#"{"error":[],"result":{
  "XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,
    "lot_decimals":8,"fees":[[0,0.40]],"ordermin":"0.00005","costmin":"0.5","tick_size":"0.1"},
  "XETHZUSD":{"altname":"ETHUSD","wsname":"ETH/USD","base":"XETH","quote":"ZUSD","pair_decimals":2,
    "lot_decimals":8,"fees":[[0,0.40]],"ordermin":"0.001","costmin":"0.5","tick_size":"0.01"}}}"#;
const ASSETS: &[u8] = br#"{"error":[],"result":{"XXBT":{"altname":"XBT","decimals":10},
  "ZUSD":{"altname":"USD","decimals":4},"XETH":{"altname":"ETH","decimals":10}}}"#;

const CALLS: &[Call] = &[
    Call::Assets,
    Call::AssetPairs,
    Call::BalanceEx,
    Call::ClosedOrders,
    Call::GetApiKeyInfo,
    Call::Ohlc,
    Call::OpenOrders,
    Call::SystemStatus,
    Call::Ticker,
    Call::Time,
    Call::TradeVolume,
    Call::TradesHistory,
];

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
        .checked_add(jiff::SignedDuration::from_secs(1_772_000_000))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn answers() -> &'static Answers {
    static ANSWERS: OnceLock<Answers> = OnceLock::new();
    ANSWERS.get_or_init(|| match Answers::new(PAIRS, ASSETS, now()) {
        Ok(answers) => answers,
        Err(error) => unreachable!("the pairs above are read: {error}"),
    })
}

/// Every reading, with every status that is told apart. An error is one line that a person can read.
pub(super) fn readings(data: &[u8]) {
    for call in CALLS {
        for status in [200, 400, 429, 302, 520] {
            match answers().read(*call, status, data) {
                Ok(_) => assert!(status == 200, "{call:?}: status {status} was read as a success"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.len() < 2_000, "{call:?}: an error of {} bytes", text.len());
                }
            }
        }
    }
}

fn terms() -> Vec<OrderTerms> {
    let positive = |units, scale| Price::new(Decimal::new(units, scale)).ok();
    let kinds = match (positive(60_000, 0), positive(589_999, 1)) {
        (Some(price), Some(trigger)) => vec![
            OrderKind::Market,
            OrderKind::Limit { price },
            OrderKind::StopLoss { trigger },
            OrderKind::TakeProfitLimit { trigger, price },
        ],
        _ => Vec::new(),
    };
    kinds
        .into_iter()
        .filter_map(|kind| {
            Some(OrderTerms {
                pair: "BTC-USD".parse().ok()?,
                side: Side::Buy,
                kind,
                quantity: Quantity::new(Decimal::new(1, 3)).ok()?,
                time_in_force: TimeInForce::GoodTilCancelled,
                post_only: false,
            })
        })
        .collect()
}

/// "Placed" and "refused" are said only of an answer that says so, whoever reads it.
pub(super) fn placed(data: &[u8]) {
    let document: Option<Value> = serde_json::from_slice(data).ok();
    let texts = |name: &str| -> Vec<String> {
        let list = document
            .as_ref()
            .and_then(|document| document.get(name))
            .and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    for terms in terms() {
        match answers().placed(200, data, &terms) {
            Ok(placed) => {
                let result = document.as_ref().and_then(|document| document.get("result"));
                let ids = result
                    .and_then(|result| result.get("txid"))
                    .and_then(Value::as_array);
                assert_eq!(ids.map(Vec::len), Some(1), "one order has one id");
                let id = ids.and_then(|ids| ids.first()).and_then(Value::as_str);
                assert_eq!(id, Some(placed.venue_order_id.as_str()));
                let described = result
                    .and_then(|result| result.pointer("/descr/order"))
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                assert!(described.trim_start().starts_with("buy"), "{described}");
                assert!(described.contains(terms.kind.name().split('-').next().unwrap_or_default()));
                assert!(
                    texts("error")
                        .iter()
                        .all(|text| text.trim_start().starts_with('W'))
                );
            }
            Err(PlaceError::Refused { .. } | PlaceError::Throttled { .. }) => {
                let errors = texts("error");
                assert!(errors.iter().any(|text| says_refused(text)), "{errors:?}");
            }
            Err(PlaceError::NotSent { .. }) => unreachable!("an answer came"),
            Err(_) => {}
        }
        assert!(answers().placed(520, data, &terms).is_err());
    }
    let _outcome = answers().cancelled(200, data);
}

/// A text is listed when, spaces and case aside, a row of the table is all of it or all before a colon.
fn says_refused(text: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(char::is_whitespace, "");
    let text = plain(text);
    refusing_texts().any(|(row, _)| {
        text.strip_prefix(&plain(row))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    })
}

/// No text means "not placed" unless it is listed; the class and the words are never lost.
pub(super) fn errors(data: &[u8]) {
    let errors: Vec<String> = lines(data).into_iter().map(str::to_owned).collect();
    if errors.is_empty() {
        return;
    }
    match order_errors(&errors, now()) {
        PlaceError::Refused { code, .. } | PlaceError::Throttled { code, .. } => {
            assert!(errors.iter().all(|text| says_refused(text)), "{errors:?}");
            assert!(code.chars().count() <= 200 && !code.contains(char::is_control));
        }
        PlaceError::Unknown { class, .. } => {
            assert!(
                // A limit at the edge may have met the second of two copies.
                matches!(
                    class,
                    ErrorClass::Ambiguous | ErrorClass::Nonce | ErrorClass::Rate
                ),
                "{class}: {errors:?}"
            );
        }
        PlaceError::AlreadyThere { .. } => {
            assert!(
                errors
                    .iter()
                    .any(|text| text.to_lowercase().contains("cl_ord_id"))
            );
        }
        PlaceError::NotSent { .. } => unreachable!("an answer came"),
    }
}

/// What is signed says what was decided: read back by another reader, the numbers are the same.
pub(super) fn form(data: &[u8]) {
    let Some((quantity, price, seconds, id)) = drawn(data) else {
        return;
    };
    let deadline = now()
        .checked_add(jiff::SignedDuration::from_micros(seconds))
        .unwrap_or_else(|_| now());
    for kind in [
        OrderKind::Market,
        OrderKind::Limit { price },
        OrderKind::StopLossLimit {
            trigger: price,
            price,
        },
    ] {
        let Some(mut terms) = terms().into_iter().next() else {
            return;
        };
        terms.quantity = quantity;
        terms.kind = kind;
        terms.time_in_force = TimeInForce::GoodTilDate(deadline);
        let Some(body) = answers().order_body(&terms, &id, deadline, 7) else {
            return;
        };
        let read: Vec<(String, String)> = body.split('&').filter_map(decoded).collect();
        assert_eq!(read.len(), body.split('&').count(), "{body}");
        let value = |name: &str| {
            let mut found = read.iter().filter(|(known, _)| known == name);
            let first = found.next().map(|(_, value)| value.as_str());
            assert!(found.next().is_none(), "`{name}` twice in {body}");
            first
        };
        assert_eq!(value("nonce"), Some("7"));
        assert_eq!(value("cl_ord_id"), Some(id.as_str()));
        let number = |name: &str| value(name).and_then(|text| text.parse::<Decimal>().ok());
        assert_eq!(number("volume"), Some(quantity.value()));
        if terms.kind.limit_price().is_some() && terms.kind.trigger().is_none() {
            assert_eq!(number("price"), Some(price.value()));
        }
        let sent: Option<Timestamp> = value("deadline").and_then(|text| text.parse().ok());
        assert!(sent.is_some_and(|sent| sent <= deadline), "{body}");
    }
}

type Drawn = (Quantity, Price, i64, bursar_model::ClientOrderId);

/// Sixteen bytes of quantity and price, eight of time, the rest an id.
fn drawn(data: &[u8]) -> Option<Drawn> {
    let (quantity, rest) = data.split_first_chunk::<8>()?;
    let (price, rest) = rest.split_first_chunk::<8>()?;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let scale = u32::from(*rest.first()? % 13);
    Some((
        Quantity::new(Decimal::try_new(i64::from_be_bytes(*quantity), scale).ok()?).ok()?,
        Price::new(Decimal::try_new(i64::from_be_bytes(*price), 12_u32.checked_sub(scale)?).ok()?).ok()?,
        i64::from_be_bytes(*seconds),
        std::str::from_utf8(rest.get(1..)?).ok()?.parse().ok()?,
    ))
}

/// A name and a value of a form; `None` where a byte stands that had to be escaped.
fn decoded(part: &str) -> Option<(String, String)> {
    let (name, value) = part.split_once('=')?;
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let digits = [rest.next()?, rest.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    u8::from_str_radix(digits, 16).ok()?
                }
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => byte,
                _ => return None,
            });
        }
        String::from_utf8(bytes).ok()
    };
    Some((decode(name)?, decode(value)?))
}
