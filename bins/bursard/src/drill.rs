//! `bursard drill kill-switch`: rehearses the switches on a local exchange, and says what was measured.
//!
//! The exchange speaks over real sockets, the daemon is the daemon, in a process of its own; the switch
//! is turned on from this process, as the command line does it. What is promised is checked against the
//! audit trail, which is the order in which things were committed, and against the exchange's own book.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bursar::render::{self, Cell, Page, Table};
use bursar::{Console, Exit, Failure, Surroundings, brokers};
use bursar_audit::{Action, Log, Record, verify_log};
use bursar_auth::Directory;
use bursar_controls::{LatchMode, Scope};
use bursar_execution::emergency::EmergencyStop;
use bursar_execution::{Admission, Conditions, ConnectionState, Gateway, Journal, OrderIntent};
use bursar_model::{AccountId, Clock, IntentId, OrderKind, OrderRequest, OrderSize, Pair, Price, Side};
use bursar_permissions::Caller;
use bursar_sandbox::{BookOrder, CustomerSpec, LimitTier, Market};
use bursar_store_sqlite::SqliteStore;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::options::KillSwitch;
use crate::rehearsal::{Plan, Rehearsal};

/// Who trades: a user and an account each. The first is the master.
const CAST: [(&str, &str, &str); 3] = [
    ("ops_desk", "kraken-main", "master"),
    ("mara_ilves", "kraken-ilves", "user"),
    ("tomas_brandt", "kraken-brandt", "user"),
];

/// The strategy stays out; orders come from the drill.
const SETTINGS: &str = "\
[people]
alone = true

[caps]
entries_per_day = 1000000
open_orders_per_account = 500

[accounts]
quote_poll_ms = 500
order_poll_ms = 500
balance_poll_s = 5

[strategy]
min_order_usd = \"1000000\"
";

/// Between two orders of an account.
const ORDER_EVERY: Duration = Duration::from_millis(400);
/// How long a halt may take to be proved: acceptance, visibility lag, and fifteen seconds.
const PROVED_WITHIN: Duration = Duration::from_secs(50);
/// How long orders may wait after a release: cancels of young orders are dear at Kraken, and their points fall slowly.
const AGAIN_WITHIN: Duration = Duration::from_secs(90);

/// Runs the drill. Exit 0 only if every promise held.
pub async fn run(
    options: KillSwitch,
    surroundings: &Surroundings,
    console: &mut Console,
    stop: CancellationToken,
) -> Result<Exit, Failure> {
    console.set_json(options.json);
    let mut drill = Drill::open(&options, surroundings).await?;
    tokio::select! {
        () = stop.cancelled() => Ok(Exit::Failed),
        done = drill.perform(options.trips, console) => {
            done?;
            Ok(drill.report(&options, console))
        }
    }
}

/// What one trip measured.
struct Trip {
    scope: Scope,
    /// How many orders of the scope were under way or worked when it was tripped.
    in_scope: usize,
    withdrawn: usize,
    cancelled: usize,
    /// From the call to the row on disk.
    commit_ms: i64,
    /// From the row on disk to the last order that the exchange took; zero when none came after it.
    last_write_ms: i64,
    /// To the first order that the exchange cancelled; none when nothing worked.
    first_cancel_ms: Option<i64>,
    /// To the proof of the last account; none when it did not come in time.
    halted_ms: Option<i64>,
    /// Orders of the scope that the exchange still had when halted was said.
    still_open: usize,
    flows_again: bool,
}

struct Drill {
    stage: Rehearsal,
    store: SqliteStore,
    gateway: Arc<Gateway>,
    clock: Arc<dyn Clock>,
    surroundings: Surroundings,
    draw: Draw,
    trips: Vec<Trip>,
    promises: Vec<(&'static str, bool, String)>,
}

impl Drill {
    async fn open(options: &KillSwitch, surroundings: &Surroundings) -> Result<Self, Failure> {
        let customers = CAST.map(|(user, ..)| CustomerSpec {
            limit_tier: LimitTier::Pro,
            balances: [("USD".to_owned(), dec!(20_000))].into(),
            ..CustomerSpec::named(user)
        });
        let plan = Plan {
            market: Market::generated(options.seed).at_speed(Decimal::ONE),
            customers: customers.to_vec(),
            seed: options.seed,
            settings: SETTINGS.to_owned(),
            daemon: std::env::current_exe()
                .map_err(|error| Failure::of(Exit::Failed, &error, "run the drill from a file"))?,
        };
        let mut stage = Rehearsal::prepare(plan, surroundings).await?;
        prepare(&mut stage).await?;
        let store = stage.store()?;
        let (journal, directory): (Arc<dyn Journal>, Arc<dyn Directory>) =
            (Arc::new(store.clone()), Arc::new(store.clone()));
        let gateway = Gateway::new(
            journal,
            directory,
            brokers::profiles(),
            Arc::clone(&surroundings.clock),
            Arc::clone(&surroundings.entropy),
        );
        stage.start_daemon()?;
        Ok(Self {
            stage,
            store,
            gateway: Arc::new(gateway),
            clock: Arc::clone(&surroundings.clock),
            surroundings: surroundings.clone(),
            draw: Draw(options.seed | 1),
            trips: Vec::new(),
            promises: Vec::new(),
        })
    }

    async fn perform(&mut self, trips: u32, console: &mut Console) -> Result<(), Failure> {
        let connected = self.all_connected().await;
        self.promise(
            "every account connects",
            connected,
            format!("{} accounts", CAST.len()),
        );
        let ordering = CancellationToken::new();
        let _guard = ordering.clone().drop_guard();
        for (_, account, _) in CAST {
            tokio::spawn(order_until(
                ordering.clone(),
                Arc::clone(&self.gateway),
                self.store.clone(),
                id(account)?,
            ));
        }
        for number in 1..=trips {
            let pause = 1_500_u64.saturating_add(self.draw.below(1_500));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            // The last one stops everything.
            let scope = if number == trips {
                Scope::Global
            } else {
                self.some_scope()?
            };
            console.say(&format!("trip {number} of {trips}: {scope}"));
            let trip = self.trip(scope).await?;
            self.trips.push(trip);
        }
        ordering.cancel();
        self.judge().await?;
        self.stage.stop_daemon().await?;
        Ok(())
    }

    fn some_scope(&mut self) -> Result<Scope, Failure> {
        let place = usize::try_from(self.draw.below(3)).unwrap_or_default();
        let (user, account, _) = CAST.get(place).copied().unwrap_or(CAST[0]);
        Ok(if self.draw.below(2) == 0 {
            Scope::Account(id(account)?)
        } else {
            Scope::User(id(user)?)
        })
    }

    async fn trip(&mut self, scope: Scope) -> Result<Trip, Failure> {
        let concerned: Vec<(&str, AccountId)> = covered(&scope)?;
        let mut in_scope = Vec::new();
        for (_, account) in &concerned {
            in_scope.extend(self.store.unresolved(account).await?);
        }
        let stop = EmergencyStop::new(
            scope.clone(),
            LatchMode::Halt,
            "drill",
            self.surroundings.principal.clone(),
            self.clock.now(),
            self.surroundings.entropy.as_ref(),
        );
        let called = self.clock.now();
        let latch = self.store.trip_emergency(&stop).await?;
        let committed = self.clock.now();
        self.store.carry_out(&latch).await;
        let halted = self.wait_until_halted(&latch.id, &concerned).await;
        let orders = self.orders_of(&concerned);
        let mut withdrawn = 0_usize;
        for intent in &in_scope {
            let now = self.store.intent(intent.id).await?;
            withdrawn =
                withdrawn.saturating_add(usize::from(now.state == bursar_model::IntentState::Withdrawn));
        }
        let after = |at: Timestamp| at.duration_since(committed).as_millis();
        let milliseconds = |at: Timestamp| i64::try_from(after(at).max(0)).unwrap_or(i64::MAX);
        let cancelled: Vec<Timestamp> = (orders.iter())
            .filter(|order| order.status == "canceled")
            .filter_map(|order| order.closed)
            .filter(|at| *at >= called)
            .collect();
        let opened = orders.iter().map(|order| order.opened).max();
        let mut trip = Trip {
            scope,
            in_scope: in_scope.len(),
            withdrawn,
            cancelled: cancelled.len(),
            commit_ms: i64::try_from(committed.duration_since(called).as_millis()).unwrap_or(i64::MAX),
            last_write_ms: opened.map_or(0, milliseconds),
            first_cancel_ms: cancelled.iter().min().map(|at| milliseconds(*at)),
            halted_ms: halted.map(milliseconds),
            still_open: orders.iter().filter(|order| is_working(order)).count(),
            flows_again: false,
        };
        let before = orders.len();
        if self.release_everything().await? {
            trip.flows_again = self.flows_again(&concerned, before).await;
        }
        Ok(trip)
    }

    /// Turns off what is on. While something is held, a switch gives way to a milder one first, which is
    /// turned off in a second step.
    async fn release_everything(&mut self) -> Result<bool, Failure> {
        for _ in 0..2 {
            for latch in self.store.latches().await? {
                let id = latch.id.to_string();
                let line = ["release", &id, "--reason", "the drill is over"];
                let said = self.stage.bursar(&line, None).await;
                if said.exit != Exit::Done {
                    tracing::warn!(latch = id, said = said.err, "the switch was not released");
                    return Ok(false);
                }
            }
        }
        Ok(self.store.latches().await?.is_empty())
    }

    /// When the last account of the scope was proved to be halted.
    async fn wait_until_halted(
        &mut self,
        latch: &bursar_model::LatchId,
        concerned: &[(&str, AccountId)],
    ) -> Option<Timestamp> {
        let (store, latch, count) = (self.store.clone(), *latch, concerned.len());
        let proved = || {
            let store = store.clone();
            async move { proofs(&store, latch).await.len() == count }
        };
        let came = self.stage.until(PROVED_WITHIN, proved).await;
        if !came {
            return None;
        }
        proofs(&self.store, latch).await.into_iter().max()
    }

    async fn flows_again(&mut self, concerned: &[(&str, AccountId)], before: usize) -> bool {
        let until = tokio::time::Instant::now() + AGAIN_WITHIN;
        while tokio::time::Instant::now() < until {
            if self.orders_of(concerned).len() > before {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    fn orders_of(&self, concerned: &[(&str, AccountId)]) -> Vec<BookOrder> {
        let mut orders = self.stage.book().orders;
        orders.retain(|order| concerned.iter().any(|(user, _)| order.customer == *user));
        orders
    }

    async fn all_connected(&mut self) -> bool {
        let store = self.store.clone();
        let connected = || {
            let store = store.clone();
            async move {
                let connections = store.connections().await.unwrap_or_default();
                let ready = |state: ConnectionState| state == ConnectionState::Ready;
                connections.iter().filter(|(_, known)| ready(known.state)).count() == CAST.len()
            }
        };
        self.stage.until(Duration::from_secs(60), connected).await
    }

    /// Checks every promise against the trail and the book.
    async fn judge(&mut self) -> Result<(), Failure> {
        let trail = self.trail().await?;
        let (dispatched, after) = dispatched_while_stopped(&trail, &self.store).await?;
        self.promise(
            "nothing is dispatched after the switch is on",
            after == 0 && dispatched > 0,
            format!("{after} of {dispatched} dispatches"),
        );
        let ours: BTreeSet<String> = (self.store.intents(None, u32::MAX).await?.iter())
            .map(|intent| intent.client_order_id.to_string())
            .collect();
        let orders = self.stage.book().orders;
        let strangers = (orders.iter())
            .filter(|order| !order.cl_ord_id.as_ref().is_some_and(|id| ours.contains(id)))
            .count();
        self.promise(
            "every order of the exchange is recorded",
            strangers == 0 && !orders.is_empty(),
            format!("{} orders, {strangers} without a record", orders.len()),
        );
        let doubled = doubles(&orders);
        self.promise(
            "no order is there twice",
            doubled == 0,
            format!("{doubled} twice"),
        );
        let proved = self.trips.iter().filter(|trip| trip.halted_ms.is_some()).count();
        self.promise(
            "halted is proved in time",
            proved == self.trips.len(),
            format!(
                "{proved} of {} trips within {} s",
                self.trips.len(),
                PROVED_WITHIN.as_secs()
            ),
        );
        let open: usize = self.trips.iter().map(|trip| trip.still_open).sum();
        self.promise(
            "nothing works at the exchange when halted is said",
            open == 0,
            format!("{open} orders"),
        );
        let stopped: usize = self.trips.iter().map(|trip| trip.cancelled).sum();
        self.promise(
            "working orders are cancelled",
            stopped > 0,
            format!("{stopped} orders"),
        );
        let flows = self.trips.iter().filter(|trip| trip.flows_again).count();
        self.promise(
            "after the release orders go out again",
            flows == self.trips.len(),
            format!("{flows} of {} trips", self.trips.len()),
        );
        let whole = verify_log(&self.store, &[])
            .await
            .is_ok_and(|report| report.is_whole());
        self.promise(
            "the audit trail verifies",
            whole,
            format!("{} records", trail.len()),
        );
        Ok(())
    }

    async fn trail(&self) -> Result<Vec<Record>, Failure> {
        let stored = self.store.records(1, u32::MAX).await?;
        stored
            .iter()
            .map(|record| {
                Record::open(record).map_err(|error| Failure::of(Exit::Failed, &error, "report this"))
            })
            .collect()
    }

    fn promise(&mut self, what: &'static str, held: bool, seen: String) {
        self.promises.push((what, held, seen));
    }

    fn report(&self, options: &KillSwitch, console: &mut Console) -> Exit {
        let held = self.promises.iter().all(|(_, held, _)| *held);
        let mut page = Page::new();
        page.line(render::bold("Kill-switch drill"));
        page.facts([
            ("trips", Cell::new(self.trips.len())),
            ("seed", Cell::new(options.seed)),
            ("accounts", Cell::new(CAST.len())),
        ]);
        page.heading("Trips (milliseconds after the switch was on disk)");
        let mut table = Table::new(&[
            "SCOPE",
            "UNDER WAY",
            "WITHDRAWN",
            "CANCELLED",
            "COMMIT",
            "LAST WRITE",
            "FIRST CANCEL",
            "HALTED",
        ])
        .figures(&[1, 2, 3, 4, 5, 6, 7]);
        let or_dash = |value: Option<i64>| value.map_or_else(|| Cell::new("-"), Cell::new);
        for trip in &self.trips {
            table.row([
                Cell::new(&trip.scope),
                Cell::new(trip.in_scope),
                Cell::new(trip.withdrawn),
                Cell::new(trip.cancelled),
                Cell::new(trip.commit_ms),
                Cell::new(trip.last_write_ms),
                or_dash(trip.first_cancel_ms),
                or_dash(trip.halted_ms),
            ]);
        }
        page.table(&table, "none");
        page.heading("Promises");
        for (what, held, seen) in &self.promises {
            let line = format!("  {} {what} ({seen})", if *held { "held  " } else { "BROKEN" });
            page.line(if *held { line } else { render::bad(&line) });
        }
        let promises: Vec<Value> = (self.promises.iter())
            .map(|(what, held, seen)| json!({"promise": what, "held": held, "seen": seen}))
            .collect();
        let document = json!({
            "drill": "kill-switch",
            "seed": options.seed,
            "held": held,
            "trips": self.trips.iter().map(Trip::json).collect::<Vec<_>>(),
            "promises": promises,
        });
        console.answer(&page, &document);
        if held { Exit::Done } else { Exit::Failed }
    }
}

impl Trip {
    fn json(&self) -> Value {
        json!({
            "scope": self.scope,
            "under_way": self.in_scope,
            "withdrawn": self.withdrawn,
            "cancelled": self.cancelled,
            "commit_ms": self.commit_ms,
            "last_write_ms": self.last_write_ms,
            "first_cancel_ms": self.first_cancel_ms,
            "halted_ms": self.halted_ms,
            "still_open_when_halted": self.still_open,
            "flows_again": self.flows_again,
        })
    }
}

async fn prepare(stage: &mut Rehearsal) -> Result<(), Failure> {
    let recovery = stage.folder().join("home/recovery.txt").display().to_string();
    typed(stage, &format!("init --yes --recovery-file {recovery}"), None).await?;
    for (user, account, role) in CAST {
        for line in [
            format!("user add {user} --email {user}@example.com --tier enterprise"),
            format!("account add {account} --user {user} --broker kraken --role {role}"),
            format!(
                "permissions set {user} --pairs BTC-USD,ETH-USD --max-position-usd 1000 --max-daily-loss-usd 500"
            ),
            format!("user enable {user}"),
        ] {
            typed(stage, &line, None).await?;
        }
        let key = stage.key_of(user);
        typed(stage, &format!("credentials set {account}"), key).await?;
    }
    Ok(())
}

async fn typed(stage: &mut Rehearsal, line: &str, input: Option<String>) -> Result<(), Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    let said = stage.bursar(&words, input).await;
    if said.exit == Exit::Done {
        Ok(())
    } else {
        Err(Failure::new(
            said.exit,
            format!("`bursar {line}` failed: {}", said.err.trim()),
            "report this",
        ))
    }
}

/// Gives one order after another, far below the market, so that they work and are never filled. What is
/// refused while a switch is on is what the switch is for.
async fn order_until(stop: CancellationToken, gateway: Arc<Gateway>, store: SqliteStore, account: AccountId) {
    let mut number = 0_usize;
    while !stop.is_cancelled() {
        number = number.wrapping_add(1);
        let name = if number.is_multiple_of(2) {
            "BTC-USD"
        } else {
            "ETH-USD"
        };
        if let Some(request) = far_below(&store, name).await {
            let order = OrderIntent {
                account: account.clone(),
                caller: Caller::Operator,
                request,
                idempotency_key: None,
                cycle: None,
            };
            match gateway.submit(order).await {
                Ok(Admission::Approved(_) | Admission::Denied(_) | Admission::Repeated(_)) => {}
                Err(error) => tracing::warn!(%account, %error, "the drill's order was not taken"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(ORDER_EVERY) => {}
        }
    }
}

async fn far_below(store: &SqliteStore, name: &str) -> Option<OrderRequest> {
    let pair: Pair = name.parse().ok()?;
    let quotes = store.quotes(&"kraken".parse().ok()?).await.ok()?;
    let quote = quotes.into_iter().find(|quote| quote.pair == pair)?;
    let half = bursar_model::decimal::mul(quote.bid.value(), dec!(0.5)).ok()?;
    let price = Price::new(half.trunc()).ok()?;
    let worth = OrderSize::Usd(bursar_model::Usd::new(dec!(12)));
    Some(OrderRequest {
        kind: OrderKind::Limit { price },
        allow_repeat: true,
        ..OrderRequest::market(pair, Side::Buy, worth)
    })
}

async fn proofs(store: &SqliteStore, latch: bursar_model::LatchId) -> Vec<Timestamp> {
    let halts = store.halts().await.unwrap_or_default();
    halts
        .into_iter()
        .filter(|halt| halt.latch == latch)
        .filter_map(|halt| halt.verified_at)
        .collect()
}

/// How many dispatches there were, and how many of them while a switch over their account was on. The
/// trail is the order of the commits.
async fn dispatched_while_stopped(trail: &[Record], store: &SqliteStore) -> Result<(usize, usize), Failure> {
    let scopes: BTreeMap<String, Scope> = (store.latch_history(u32::MAX).await?.into_iter())
        .map(|record| (record.latch.id.to_string(), record.latch.scope))
        .collect();
    let accounts: BTreeMap<IntentId, _> = (store.intents(None, u32::MAX).await?.into_iter())
        .map(|intent| (intent.id, (intent.account, intent.user, intent.broker)))
        .collect();
    let mut on: BTreeSet<String> = BTreeSet::new();
    let (mut dispatched, mut after) = (0_usize, 0_usize);
    for record in trail {
        let latch = record.subject.latch.as_ref().map(ToString::to_string);
        match (record.action, latch, record.subject.intent) {
            (Action::LatchTripped, Some(latch), _) => drop(on.insert(latch)),
            (Action::LatchCleared, Some(latch), _) => drop(on.remove(&latch)),
            (Action::IntentDispatched, _, Some(intent)) => {
                dispatched = dispatched.saturating_add(1);
                let stopped = accounts.get(&intent).is_some_and(|(account, user, broker)| {
                    (on.iter().filter_map(|latch| scopes.get(latch)))
                        .any(|scope| scope.covers(account, user, broker))
                });
                after = after.saturating_add(usize::from(stopped));
            }
            _ => {}
        }
    }
    Ok((dispatched, after))
}

fn doubles(orders: &[BookOrder]) -> usize {
    let mut seen = BTreeSet::new();
    orders
        .iter()
        .filter(|order| !seen.insert(order.cl_ord_id.clone()))
        .count()
}

fn is_working(order: &BookOrder) -> bool {
    matches!(order.status.as_str(), "open" | "pending")
}

/// Users and accounts that a scope covers.
fn covered(scope: &Scope) -> Result<Vec<(&'static str, AccountId)>, Failure> {
    let broker = id("kraken")?;
    let mut covered = Vec::new();
    for (user, account, _) in CAST {
        let account = id(account)?;
        if scope.covers(&account, &id(user)?, &broker) {
            covered.push((user, account));
        }
    }
    Ok(covered)
}

fn id<T: std::str::FromStr<Err = bursar_model::InvalidId>>(text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error| Failure::of(Exit::Failed, &error, "report this"))
}

/// Random moments that a seed decides.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(limit).unwrap_or_default()
    }
}
