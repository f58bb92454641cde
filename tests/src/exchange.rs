//! The exchange in the test's hand: its prices, its faults, its book, and what its customers do
//! past the gateway.

use std::collections::BTreeMap;

use bursar_sandbox::oracle::{BookOrder, BookTrade};
use bursar_sandbox::{Book, FaultRule, Mode, Request};
use rust_decimal::Decimal;

use crate::Stage;
use crate::stage::{fail, must};

impl Stage {
    /// Takes the exchange off the network, for good. Its book can still be read here.
    pub fn unplug(&self) {
        self.shutdown.cancel();
    }

    /// Where the exchange is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The exchange's own book at this moment.
    pub fn book(&self) -> Book {
        self.server.with(|exchange| exchange.book())
    }

    /// Every order that a customer ever had, in the order of acceptance.
    pub fn orders_of(&self, customer: &str) -> Vec<BookOrder> {
        let mut orders = self.book().orders;
        orders.retain(|order| order.customer == customer);
        orders
    }

    /// Every fill of a customer.
    pub fn trades_of(&self, customer: &str) -> Vec<BookTrade> {
        let mut trades = self.book().trades;
        trades.retain(|trade| trade.customer == customer);
        trades
    }

    /// Moves bitcoin to `price` and lets the store see it.
    pub async fn price(&self, price: &str) {
        self.price_unseen(price);
        self.see_prices().await;
    }

    /// Moves bitcoin to `price`; the store sees it when the feed looks next.
    pub fn price_unseen(&self, price: &str) {
        let price = decimal(price);
        let set = self
            .server
            .with(|exchange| exchange.set_price(self.server.now(), "XBTUSD", price));
        must("set the price", set);
    }

    pub fn fault(&self, rule: FaultRule) {
        self.server.with(|exchange| exchange.add_fault(rule));
    }

    pub fn clear_faults(&self) {
        self.server.with(bursar_sandbox::Exchange::clear_faults);
    }

    /// How often faults of a kind have struck.
    pub fn struck(&self, kind: &str) -> u64 {
        self.book().faults.get(kind).copied().unwrap_or_default()
    }

    /// The exchange lists a pair no longer.
    pub fn delist(&self, pair: &str) {
        let delisted = (self.server).with(|exchange| exchange.delist(self.server.now(), pair));
        must("delist the pair", delisted);
    }

    pub fn mode(&self, mode: Mode) {
        let set = self
            .server
            .with(|exchange| exchange.set_mode(self.server.now(), None, mode));
        must("set the mode", set);
    }

    /// What a customer has of an asset, as the exchange says.
    pub fn funds_of(&self, customer: &str, asset: &str) -> Decimal {
        let book = self.book();
        let found = book.customers.iter().find(|known| known.name == customer);
        found
            .and_then(|known| known.totals.get(asset))
            .copied()
            .unwrap_or_default()
    }

    pub fn set_funds(&self, customer: &str, asset: &str, amount: &str) {
        let amount = decimal(amount);
        let set = self
            .server
            .with(|exchange| exchange.set_balance(self.server.now(), customer, asset, amount));
        must("set a balance", set);
    }

    /// A private call of the customer's own, past the gateway, with a key of their own: numbers of the gateway's key
    /// that are on their way would be refused. It must succeed; returns the answer.
    pub async fn by_hand(&self, customer: &str, endpoint: &str, form: &str) -> String {
        let now = self.now();
        let nonce = now.as_nanosecond();
        let body = format!("nonce={nonce}&{form}");
        let path = format!("/0/private/{endpoint}");
        let reply = self.server.with(|exchange| {
            let Some(key) = exchange.make_key(customer) else {
                fail(&format!("`{customer}` is not a customer"))
            };
            let signature = key.secret.sign(&path, &nonce.to_string(), body.as_bytes());
            let request = Request {
                method: "POST".to_owned(),
                path: path.clone(),
                headers: BTreeMap::from([
                    ("api-key".to_owned(), key.key),
                    ("api-sign".to_owned(), signature),
                    (
                        "content-type".to_owned(),
                        "application/x-www-form-urlencoded".to_owned(),
                    ),
                ]),
                body: body.into_bytes(),
                ..Request::default()
            };
            exchange.handle(now, &request)
        });
        let text = reply.text();
        assert!(text.contains("\"error\":[]"), "{endpoint} by hand: {text}");
        text
    }

    /// The customer places an order by hand; returns it.
    pub async fn order_by_hand(&self, customer: &str, form: &str) -> BookOrder {
        self.by_hand(customer, "AddOrder", &format!("pair=XBTUSD&{form}"))
            .await;
        match self.orders_of(customer).pop() {
            Some(order) => order,
            None => fail("the order by hand is not in the book"),
        }
    }
}

pub(crate) fn decimal(text: &str) -> Decimal {
    must("read an amount", text.parse())
}
