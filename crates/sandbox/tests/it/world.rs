//! An exchange in a test's own time, and clients that sign as real ones do.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use bursar_sandbox::{
    CustomerSpec, Customers, Exchange, ExchangeSettings, LimitTier, Market, Permission, Reply, Request,
};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use serde_json::Value;

pub(crate) const START: i64 = 1_772_000_000;

pub(crate) struct World {
    pub(crate) exchange: Exchange,
    pub(crate) now: Timestamp,
    nonce: Cell<u64>,
}

pub(crate) struct Builder {
    settings: ExchangeSettings,
    customers: Vec<CustomerSpec>,
    market: Option<Market>,
    speed: Decimal,
    seed: u64,
}

/// `mara` with 100,000 USD, 2 BTC and no rate limits, on a market that stands still.
pub(crate) fn world() -> Builder {
    Builder {
        settings: ExchangeSettings {
            // Books that do not refill by themselves: what is left over stays for a test to see.
            refill: None,
            ..ExchangeSettings::default()
        },
        customers: vec![CustomerSpec::named("mara").with_limit_tier(LimitTier::Unlimited)],
        market: None,
        speed: Decimal::ZERO,
        seed: 11,
    }
}

impl Builder {
    pub(crate) fn settings(mut self, change: impl FnOnce(&mut ExchangeSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Changes `mara`.
    pub(crate) fn mara(mut self, change: impl FnOnce(&mut CustomerSpec)) -> Self {
        change(&mut self.customers[0]);
        self
    }

    pub(crate) fn and(mut self, customer: CustomerSpec) -> Self {
        self.customers.push(customer);
        self
    }

    pub(crate) fn rights(self, rights: impl IntoIterator<Item = Permission>) -> Self {
        self.mara(|spec| spec.rights = rights.into_iter().collect())
    }

    pub(crate) fn speed(mut self, speed: Decimal) -> Self {
        self.speed = speed;
        self
    }

    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) fn market(mut self, market: Market) -> Self {
        self.market = Some(market);
        self
    }

    /// The exchange, begun, with bitcoin at 60,000 and its book a tick or six around it.
    pub(crate) fn build(self) -> World {
        let market = self.market.unwrap_or_else(|| Market::generated(self.seed));
        let mut exchange = Exchange::new(
            self.settings,
            market.at_speed(self.speed),
            Customers::new(self.customers).unwrap(),
            self.seed,
        )
        .unwrap();
        let now = Timestamp::from_second(START).unwrap();
        exchange.advance(now);
        if self.speed.is_zero() && exchange.set_price(now, "XBTUSD", dec!(60000)).is_err() {
            // A replayed market without bitcoin stays as it is.
        }
        World {
            exchange,
            now,
            nonce: Cell::new(1_772_000_000_000_000),
        }
    }
}

impl World {
    pub(crate) fn wait(&mut self, duration: Duration) -> &mut Self {
        self.now = self.now.checked_add(duration).unwrap();
        self.exchange.advance(self.now);
        self
    }

    pub(crate) fn wait_seconds(&mut self, seconds: u64) -> &mut Self {
        self.wait(Duration::from_secs(seconds))
    }

    pub(crate) fn price(&mut self, price: Decimal) -> &mut Self {
        self.exchange.set_price(self.now, "XBTUSD", price).unwrap();
        self
    }

    pub(crate) fn next_nonce(&self) -> u64 {
        self.nonce.set(self.nonce.get() + 1);
        self.nonce.get()
    }

    /// A signed request with a form body.
    pub(crate) fn signed(&self, customer: &str, endpoint: &str, form: &str) -> Request {
        let nonce = self.next_nonce();
        let body = if form.is_empty() {
            format!("nonce={nonce}")
        } else {
            format!("nonce={nonce}&{form}")
        };
        self.signed_bytes(
            customer,
            endpoint,
            nonce,
            body,
            "application/x-www-form-urlencoded",
        )
    }

    /// A signed request with a JSON body; `members` are written after the nonce.
    pub(crate) fn signed_json(&self, customer: &str, endpoint: &str, members: &str) -> Request {
        let nonce = self.next_nonce();
        let body = format!("{{\"nonce\":\"{nonce}\",{members}}}");
        self.signed_bytes(customer, endpoint, nonce, body, "application/json")
    }

    pub(crate) fn signed_bytes(
        &self,
        customer: &str,
        endpoint: &str,
        nonce: u64,
        body: String,
        content_type: &str,
    ) -> Request {
        let key = self.exchange.api_key(customer).unwrap();
        let path = format!("/0/private/{endpoint}");
        let signature = key.secret.sign(&path, &nonce.to_string(), body.as_bytes());
        Request {
            method: "POST".to_owned(),
            path,
            headers: BTreeMap::from([
                ("api-key".to_owned(), key.key),
                ("api-sign".to_owned(), signature),
                ("content-type".to_owned(), content_type.to_owned()),
            ]),
            body: body.into_bytes(),
            ..Request::default()
        }
    }

    pub(crate) fn send(&mut self, request: &Request) -> Reply {
        self.exchange.handle(self.now, request)
    }

    /// `mara`'s call; the whole envelope.
    pub(crate) fn envelope(&mut self, endpoint: &str, form: &str) -> Value {
        let request = self.signed("mara", endpoint, form);
        json(&self.send(&request))
    }

    /// `mara`'s call, which must succeed; its result.
    pub(crate) fn call(&mut self, endpoint: &str, form: &str) -> Value {
        let envelope = self.envelope(endpoint, form);
        assert_eq!(envelope["error"], serde_json::json!([]), "{endpoint} {form}");
        envelope["result"].clone()
    }

    /// `mara`'s call, which must be refused; the only error.
    pub(crate) fn refused(&mut self, endpoint: &str, form: &str) -> String {
        refusal(&self.envelope(endpoint, form))
    }

    /// Another customer's call; the envelope.
    pub(crate) fn call_as(&mut self, customer: &str, endpoint: &str, form: &str) -> Value {
        let request = self.signed(customer, endpoint, form);
        json(&self.send(&request))
    }

    /// `mara`'s JSON call; the envelope.
    pub(crate) fn call_json(&mut self, endpoint: &str, members: &str) -> Value {
        let request = self.signed_json("mara", endpoint, members);
        json(&self.send(&request))
    }

    /// A public call, which must succeed; its result.
    pub(crate) fn public(&mut self, endpoint: &str, query: &str) -> Value {
        let envelope = self.public_envelope(endpoint, query);
        assert_eq!(envelope["error"], serde_json::json!([]), "{endpoint} {query}");
        envelope["result"].clone()
    }

    pub(crate) fn public_envelope(&mut self, endpoint: &str, query: &str) -> Value {
        let request = Request {
            method: "GET".to_owned(),
            path: format!("/0/public/{endpoint}"),
            query: query.to_owned(),
            ..Request::default()
        };
        json(&self.send(&request))
    }

    /// Places `mara`'s order on bitcoin; its id.
    pub(crate) fn place(&mut self, form: &str) -> String {
        let result = self.call("AddOrder", &format!("pair=XBTUSD&{form}"));
        result["txid"][0].as_str().unwrap().to_owned()
    }

    /// A limit order of `mara`'s; its id.
    pub(crate) fn limit(&mut self, side: &str, volume: &str, price: &str) -> String {
        self.place(&format!(
            "type={side}&ordertype=limit&volume={volume}&price={price}"
        ))
    }

    /// One of `mara`'s orders, as the exchange describes it.
    pub(crate) fn order(&mut self, txid: &str) -> Value {
        self.call("QueryOrders", &format!("txid={txid}&trades=true"))[txid].clone()
    }

    pub(crate) fn status(&mut self, txid: &str) -> String {
        self.order(txid)["status"].as_str().unwrap().to_owned()
    }

    /// What `mara` has and holds of an asset.
    pub(crate) fn funds(&mut self, asset: &str) -> (Decimal, Decimal) {
        let row = &self.call("BalanceEx", "")[asset];
        (decimal(&row["balance"]), decimal(&row["hold_trade"]))
    }
}

pub(crate) fn json(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

pub(crate) fn refusal(envelope: &Value) -> String {
    let errors = envelope["error"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{envelope}");
    assert!(envelope.get("result").is_none(), "{envelope}");
    errors[0].as_str().unwrap().to_owned()
}

pub(crate) fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}
