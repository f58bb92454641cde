//! Requests to the local exchange: the routes of `bursard sandbox`, signed and not.

use std::collections::BTreeMap;
use std::time::Duration;

use bursar_sandbox::{CustomerSpec, Customers, Exchange, ExchangeSettings, LimitTier, Market, Request};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

/// So many of the lines are requests.
const MOST: usize = 6;

/// Each line is a request: `endpoint form`, signed as a customer's; with a slash in front a path and
/// a query as anybody sends them. Every answer is JSON in the wrapping or a page of the edge, and no
/// request takes money out of nowhere.
pub(super) fn requests(data: &[u8]) {
    let lines = super::lines(data);
    if lines.is_empty() {
        return;
    }
    let Some(mut exchange) = exchange() else {
        unreachable!("an exchange with one customer can be made");
    };
    let Some(key) = exchange.api_key("mara") else {
        unreachable!("mara has a key");
    };
    let mut now = Timestamp::UNIX_EPOCH
        .checked_add(Duration::from_secs(1_772_000_000))
        .unwrap_or(Timestamp::UNIX_EPOCH);
    for (line, number) in lines.into_iter().take(MOST).zip(1_772_000_000_000_000_u64..) {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let request = match name.strip_prefix('/') {
            Some(_) => Request {
                method: if rest.starts_with('{') { "POST" } else { "GET" }.to_owned(),
                path: name.to_owned(),
                query: rest.to_owned(),
                body: rest.as_bytes().to_vec(),
                ..Request::default()
            },
            None => {
                let path = format!("/0/private/{name}");
                let body = match rest.strip_prefix('{') {
                    Some(members) => format!("{{\"nonce\":\"{number}\",{members}"),
                    None => format!("nonce={number}&{rest}"),
                };
                let kind = if rest.starts_with('{') {
                    "application/json"
                } else {
                    "application/x-www-form-urlencoded"
                };
                Request {
                    method: "POST".to_owned(),
                    headers: BTreeMap::from([
                        ("api-key".to_owned(), key.key.clone()),
                        (
                            "api-sign".to_owned(),
                            key.secret.sign(&path, &number.to_string(), body.as_bytes()),
                        ),
                        ("content-type".to_owned(), kind.to_owned()),
                    ]),
                    path,
                    body: body.into_bytes(),
                    ..Request::default()
                }
            }
        };
        let reply = exchange.handle(now, &request);
        if reply.status == 200 && reply.content_type == "application/json" {
            let document: Result<Value, _> = serde_json::from_slice(&reply.body);
            assert!(
                document.is_ok(),
                "{line}: {}",
                String::from_utf8_lossy(&reply.body)
            );
        }
        now = now.checked_add(Duration::from_millis(300)).unwrap_or(now);
        exchange.advance(now);
    }
}

fn exchange() -> Option<Exchange> {
    let customers = Customers::new(vec![
        CustomerSpec::named("mara").with_limit_tier(LimitTier::Unlimited),
    ])
    .ok()?;
    let market = Market::generated(11).at_speed(Decimal::ZERO);
    Exchange::new(ExchangeSettings::default(), market, customers, 11).ok()
}
