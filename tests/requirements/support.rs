//! An operator's office: a store in a temporary folder, a local exchange that admits keys, and the
//! command line. The clock stands still. No daemon runs; what one would write is written by
//! [`Office::connect`], [`Office::price`] and [`Office::fill`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bursar::{Exit, Surroundings};
use bursar_auth::Principal;
use bursar_controls::Latch;
use bursar_execution::{Attempt, Conditions, Connection, ConnectionState, Dispatch, Journal, Outcome};
use bursar_model::{
    Amount, Balance, BalanceKind, Clock, Fill, Instrument, InstrumentStatus, IntentId, Liquidity, Price,
    Quantity, Quote, Usd,
};
use bursar_sandbox::{CustomerSpec, Market, Permission};
use bursar_testkit::{SeededEntropy, TestClock};
use bursard::rehearsal::{Plan, Rehearsal, Said};
use jiff::SignedDuration;
use rust_decimal::{Decimal, dec};
use serde_json::Value;

const NOON: &str = "2026-11-20T12:00:00Z";

/// What is traded: two large coins, a third of the top list, and one that is on no list.
const PAIRS: [(&str, Decimal); 4] = [
    ("BTC-USD", dec!(60_000)),
    ("ETH-USD", dec!(3_000)),
    ("SOL-USD", dec!(150)),
    ("FLR-USD", dec!(0.02)),
];

pub(crate) struct Office {
    pub(crate) stage: Rehearsal,
    clock: Arc<TestClock>,
}

/// What the exchange calls Mara Ilves' account.
const MARAS_ACCOUNT: &str = "AA00 SAND BOX0 MARA";

impl Office {
    /// Before `bursar init`, with a settings file that holds these lines too.
    pub(crate) async fn bare(settings: &str) -> Self {
        let clock = Arc::new(TestClock::at(NOON.parse().unwrap()));
        let surroundings = Surroundings {
            clock: Arc::<TestClock>::clone(&clock),
            entropy: Arc::new(SeededEntropy::new(7)),
            principal: Principal::operator("ops_desk").unwrap(),
            is_person_known: true,
            variables: BTreeMap::new(),
            // Set by the stage.
            directory: PathBuf::new(),
        };
        let withdrawing = Permission::TRADING.into_iter().chain([Permission::WithdrawFunds]);
        let plan = Plan {
            market: Market::generated(7),
            customers: vec![
                CustomerSpec::named("ops_desk"),
                CustomerSpec::named("mara_ilves").with_iban(MARAS_ACCOUNT),
                CustomerSpec::named("another key of mara_ilves").with_iban(MARAS_ACCOUNT),
                CustomerSpec::named("tomas_brandt"),
                CustomerSpec::named("careless").with_rights(withdrawing),
            ],
            seed: 7,
            settings: settings.to_owned(),
            // No story here starts it.
            daemon: PathBuf::from("bursard"),
        };
        let stage = Rehearsal::prepare(plan, &surroundings).await.unwrap();
        Self { stage, clock }
    }

    /// After `bursar init`.
    pub(crate) async fn open() -> Self {
        let mut office = Self::bare("").await;
        office.done("init --yes --recovery-file home/recovery.txt").await;
        office
    }

    /// With Mara Ilves, basic, whose paper account is enabled and connected.
    pub(crate) async fn with_mara() -> Self {
        let mut office = Self::open().await;
        office.trader("mara_ilves", "basic", "kraken-ilves", "user").await;
        office
    }

    /// And with the operator's own account as the master.
    pub(crate) async fn with_master_and_mara() -> Self {
        let mut office = Self::open().await;
        office
            .trader("ops_desk", "enterprise", "kraken-main", "master")
            .await;
        office.trader("mara_ilves", "basic", "kraken-ilves", "user").await;
        office
    }

    /// A user who is added, enabled and connected on paper.
    pub(crate) async fn trader(&mut self, user: &str, tier: &str, account: &str, role: &str) {
        self.done(&format!(
            "user add {user} --email {user}@example.com --tier {tier}"
        ))
        .await;
        self.done(&format!(
            "account add {account} --user {user} --broker kraken --role {role} --mode paper"
        ))
        .await;
        self.done(&format!("user enable {user}")).await;
        self.connect(account).await;
    }

    /// The desk is taken by somebody else.
    pub(crate) fn taken_by(&mut self, login: &str) {
        self.stage.set_principal(Principal::operator(login).unwrap());
    }

    /// A command line; words are divided at spaces, and `'` keeps them together.
    pub(crate) async fn run(&mut self, line: &str) -> Said {
        self.run_with(line, None).await
    }

    pub(crate) async fn run_with(&mut self, line: &str, input: Option<String>) -> Said {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.stage.bursar(&words, input).await
    }

    /// What a command that must succeed printed.
    pub(crate) async fn done(&mut self, line: &str) -> String {
        let said = self.run(line).await;
        assert_eq!(said.exit, Exit::Done, "`{line}`:\n{}\n{}", said.out, said.err);
        said.out
    }

    /// What a command that must end like that printed on the error stream.
    pub(crate) async fn ends(&mut self, line: &str, exit: Exit) -> String {
        let said = self.run(line).await;
        assert_eq!(said.exit, exit, "`{line}`:\n{}\n{}", said.out, said.err);
        said.err
    }

    /// The document of a command, however it ended.
    pub(crate) async fn json(&mut self, line: &str) -> Value {
        let said = self.run(&format!("{line} --json")).await;
        serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("`{line}`: {error}\n{}\n{}", said.out, said.err))
    }

    /// The rules that this purchase would break.
    pub(crate) async fn broken(&mut self, user: &str, account: &str, pair: &str, usd: &str) -> Vec<String> {
        let answer = self.json(&format!("can {user} {account} buy {pair} {usd}")).await;
        let rules = answer["broken_rules"].as_array();
        let rules = rules.unwrap_or_else(|| panic!("no rules in {answer:#}"));
        assert_eq!(answer["allowed"], Value::Bool(rules.is_empty()), "{answer:#}");
        rules
            .iter()
            .map(|rule| rule.as_str().unwrap().to_owned())
            .collect()
    }

    /// Those that a small purchase by Mara would break.
    pub(crate) async fn stops_mara(&mut self) -> Vec<String> {
        self.broken("mara_ilves", "kraken-ilves", "BTC-USD", "40").await
    }

    /// An order of an account, recorded and not sent: its id.
    pub(crate) async fn place(&mut self, order: &str) -> String {
        let placed = self.json(&format!("order place {order} --wait-ms 0")).await;
        let order = &placed["order"];
        assert_eq!(order["state"], "approved", "{placed:#}");
        order["order_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn seal_key(&mut self, account: &str, customer: &str) {
        let key = self.stage.key_of(customer);
        let said = self
            .run_with(&format!("credentials set {account} --yes"), key)
            .await;
        assert_eq!(said.exit, Exit::Done, "{}", said.err);
    }

    /// The id of the only switch that is on.
    pub(crate) async fn only_switch(&mut self) -> String {
        let latches = self.json("latches").await;
        assert_eq!(latches["total_count"], 1, "{latches:#}");
        latches["latches"][0]["latch_id"].as_str().unwrap().to_owned()
    }

    /// Writes what the daemon writes when it has connected an account: rules, prices, money, state.
    pub(crate) async fn connect(&mut self, account: &str) {
        self.fund(account, "USD", dec!(10_000)).await;
        let store = self.stage.store().unwrap();
        let ready = Connection {
            state: ConnectionState::Ready,
            cause: String::new(),
            since: self.clock.now(),
        };
        store
            .put_connection(&account.parse().unwrap(), &ready)
            .await
            .unwrap();
        drop(store);
        self.market().await;
    }

    /// What there is to trade, and its prices.
    pub(crate) async fn market(&mut self) {
        let store = self.stage.store().unwrap();
        let instruments = PAIRS.map(|(pair, _)| instrument(pair));
        let kraken = "kraken".parse().unwrap();
        store
            .put_instruments(&kraken, &instruments, self.clock.now())
            .await
            .unwrap();
        for (pair, price) in PAIRS {
            self.price(pair, price).await;
        }
    }

    /// What the exchange says the account holds.
    pub(crate) async fn fund(&mut self, account: &str, asset: &str, total: Decimal) {
        let balance = Balance {
            asset: asset.parse().unwrap(),
            kind: BalanceKind::Spendable,
            total,
            held: dec!(0),
        };
        let account = account.parse().unwrap();
        self.stage
            .store()
            .unwrap()
            .put_balances(&account, &[balance], Some(Usd::new(total)), self.clock.now())
            .await
            .unwrap();
    }

    /// A fresh price, and the switches that it turned on.
    pub(crate) async fn price(&mut self, pair: &str, price: Decimal) -> Vec<Latch> {
        let quote = Quote {
            pair: pair.parse().unwrap(),
            bid: Price::new(price).unwrap(),
            ask: Price::new(price).unwrap(),
            last: Price::new(price).unwrap(),
            at: self.clock.now(),
        };
        self.stage
            .store()
            .unwrap()
            .put_quotes(&"kraken".parse().unwrap(), &[quote])
            .await
            .unwrap()
    }

    /// The exchange takes an order that was placed and fills all of it.
    pub(crate) async fn fill(&mut self, order: &str, price: Decimal) {
        let store = self.stage.store().unwrap();
        let (id, now): (IntentId, _) = (order.parse().unwrap(), self.clock.now());
        let intent = store.intent(id).await.unwrap();
        let terms = intent.sizing.as_ref().unwrap().terms.clone();
        let attempt = Attempt {
            token: [7; 16],
            sent_at: now,
            acceptance_bound: now,
        };
        let sent = store.dispatch(id, attempt, now).await.unwrap();
        assert!(matches!(sent, Dispatch::Send(_)), "{sent:?}");
        let venue_order_id: bursar_model::VenueOrderId = format!("V-{order}").parse().unwrap();
        let taken = Outcome::Accepted {
            venue_order_id: venue_order_id.clone(),
        };
        store.conclude(id, taken, now).await.unwrap();
        let fill = Fill {
            id: format!("F-{order}").parse().unwrap(),
            venue_order_id,
            side: terms.side,
            quantity: terms.quantity,
            price: Price::new(price).unwrap(),
            fee: Amount::new(terms.pair.quote().clone(), dec!(0.1)),
            liquidity: Liquidity::Taker,
            at: now,
            pair: terms.pair,
        };
        store.book(&intent.account, vec![fill], now).await.unwrap();
    }

    /// A purchase by Mara that is filled at the price of the moment.
    pub(crate) async fn mara_holds(&mut self, pair: &str, usd: &str) {
        let order = self.place(&format!("kraken-ilves buy {pair} --usd {usd}")).await;
        let (_, price) = PAIRS.into_iter().find(|(name, _)| *name == pair).unwrap();
        self.fill(&order, price).await;
    }

    pub(crate) fn later(&self, by: SignedDuration) {
        self.clock.advance(by);
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.stage.folder().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

fn instrument(pair: &str) -> Instrument {
    Instrument {
        pair: pair.parse().unwrap(),
        status: InstrumentStatus::Online,
        price_increment: Price::new(dec!(0.0001)).unwrap(),
        quantity_increment: Quantity::new(dec!(0.00000001)).unwrap(),
        min_quantity: Quantity::new(dec!(0.00005)).unwrap(),
        min_cost: dec!(0.5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            other => word.push(other),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}
