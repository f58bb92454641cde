//! One process of the gateway: what the daemon runs, on a simulated machine.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{MarketData, ReadError, VenueStatus};
use bursar_execution::{
    Admission, Conditions, Connection, ConnectionState, Desk, DeskHealth, DeskParts, DeskSettings, Feed,
    Flattener, FlattenerParts, Gateway, Journal, OrderIntent,
};
use bursar_model::{AccountId, Candle, Clock, Instrument, Pair, Quote};
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::broker::SimBroker;
use crate::fate::Fate;
use crate::log::What;
use crate::machine::{Machine, locked};
use crate::node::Node;
use crate::venue::market::instrument;

/// A request for an order that a process is to take; its caller learns nothing when the process dies.
pub(crate) struct Ask {
    pub(crate) order: OrderIntent,
    pub(crate) reply: oneshot::Sender<Result<Admission, String>>,
}

/// How long an account may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs process number `process` for ever: it dies, and begins again.
pub(crate) async fn keep_running(machine: Arc<Machine>, process: usize, mut asks: mpsc::Receiver<Ask>) {
    let luck = crate::random::Random::stream(machine.plan.seed, &format!("process {process}"));
    loop {
        let fate = Arc::new(Fate::default());
        {
            let _starting = machine.starting.read().await;
            locked(&machine.fates).insert(process, Arc::clone(&fate));
        }
        run_once(&machine, process, fate, &mut asks).await;
        let most = if machine.is_quiet() { 500 } else { 8000 };
        tokio::time::sleep(luck.ms(100, most)).await;
    }
}

async fn run_once(machine: &Arc<Machine>, process: usize, fate: Arc<Fate>, asks: &mut mpsc::Receiver<Ask>) {
    let store = match machine.open(process) {
        Ok(store) => store,
        Err(error) => {
            let why = error.to_string();
            return machine.log.note(None, What::GaveUp { process, why });
        }
    };
    machine.running.send_modify(|count| *count += 1);
    machine.log.note(None, What::Started { process });
    let node = Arc::new(Node::new(store, Arc::clone(machine), process, Arc::clone(&fate)));
    let ended = fate.lives(run(node, asks)).await;
    machine.log.note(
        None,
        match ended {
            None => What::Crashed { process },
            Some(why) => What::GaveUp { process, why },
        },
    );
    machine.running.send_modify(|count| *count -= 1);
}

/// Ends only when the store cannot be used; says why.
async fn run(node: Arc<Node>, asks: &mut mpsc::Receiver<Ask>) -> String {
    let machine = Arc::clone(&node.machine);
    if let Err(error) = node.forget_connections(machine.now()).await {
        return error.to_string();
    }
    let stop = CancellationToken::new();
    let feeds = machine.venues.values().map(|venue| {
        let pairs = venue.state().market.pairs().into_iter().collect();
        // The watch is kept by its receiver; nobody changes it.
        let (_, pairs): (_, watch::Receiver<BTreeSet<Pair>>) = watch::channel(pairs);
        let market = Arc::new(SimMarket {
            node: Arc::clone(&node),
            broker: venue.broker.clone(),
        });
        let feed = Feed::new(
            vec![venue.broker.clone()],
            market,
            node.clone(),
            machine.clock.clone(),
            pairs,
            Duration::from_secs(4),
        );
        let stop = stop.clone();
        async move { feed.run(stop).await }
    });
    let desks = machine.plan.accounts.iter().map(|(account, _, _)| {
        let node = Arc::clone(&node);
        async move { keep_connected(node, account.clone()).await }
    });
    let flattener = Flattener::new(FlattenerParts {
        journal: node.clone(),
        reports: Arc::new(node.store.clone()),
        conditions: node.clone(),
        directory: Arc::new(node.store.clone()),
        gateway: gateway(&node),
        clock: machine.clock.clone(),
    });
    let going_on = async {
        tokio::join!(join_all(feeds), flattener.run(stop.clone()), watch_losses(&node));
        Ok(())
    };
    let stopped = async {
        node.stopped().await;
        Err::<(), String>("the store stopped".to_owned())
    };
    let ended = tokio::try_join!(stopped, going_on, try_join_all(desks), serve(&node, asks));
    ended.err().unwrap_or_default()
}

pub(crate) fn gateway(node: &Arc<Node>) -> Gateway {
    let machine = &node.machine;
    Gateway::new(
        node.clone(),
        Arc::new(node.store.clone()),
        machine.profiles(),
        machine.clock.clone(),
        machine.entropy.clone(),
    )
}

/// A store that takes nothing is tried again.
async fn watch_losses(node: &Arc<Node>) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = node.machine.now();
        if node.roll_day(now).await.is_ok() {
            drop(node.check_losses(now).await);
        }
    }
}

/// Takes requests, each on its own.
async fn serve(node: &Arc<Node>, asks: &mut mpsc::Receiver<Ask>) -> Result<(), String> {
    let gateway = gateway(node);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased; // what was begun first
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            ask = asks.recv() => {
                let Some(ask) = ask else { std::future::pending().await };
                let gateway = gateway.clone();
                under_way.push(async move {
                    let taken = gateway.submit(ask.order).await.map_err(|error| error.to_string());
                    // Whoever asked may have gone away.
                    drop(ask.reply.send(taken));
                });
            }
        }
    }
}

/// Connects an account and keeps it connected, as the account manager does.
async fn keep_connected(node: Arc<Node>, account: AccountId) -> Result<(), String> {
    let machine = Arc::clone(&node.machine);
    let mut failures = 0_u32;
    loop {
        show(&node, &account, ConnectionState::Connecting, "").await?;
        let mut replaced = pin!(machine.key_replaced.notified());
        replaced.as_mut().enable();
        let desk = desk(&node, &account);
        let connected = match tokio::time::timeout(CONNECT_TIMEOUT, desk.connect()).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err("not connected in time".to_owned()),
        };
        let lost = match connected {
            Err(cause) => cause,
            Ok(()) => {
                failures = 0;
                let process = node.process;
                machine.log.note(
                    None,
                    What::Connected {
                        process,
                        account: account.clone(),
                    },
                );
                show(&node, &account, ConnectionState::Ready, "").await?;
                let working = desk.run(CancellationToken::new());
                let ended = tokio::select! {
                    biased; // a desk that gave up says why
                    ended = working => ended.err().map_or_else(String::new, |error| error.to_string()),
                    health = show_health(&node, &account, desk.health()) => return health,
                    // Which key it is does not matter: it is read anew.
                    () = replaced => "the key was replaced".to_owned(),
                };
                machine.log.note(
                    None,
                    What::Disconnected {
                        process,
                        account: account.clone(),
                        cause: ended.clone(),
                    },
                );
                ended
            }
        };
        show(&node, &account, ConnectionState::Failed, &lost).await?;
        failures = failures.saturating_add(1);
        let pause = Duration::from_secs(1 << failures.min(3));
        tokio::time::sleep(if machine.is_quiet() {
            Duration::from_secs(1)
        } else {
            pause
        })
        .await;
    }
}

async fn show(node: &Node, account: &AccountId, state: ConnectionState, cause: &str) -> Result<(), String> {
    let connection = Connection {
        state,
        cause: cause.to_owned(),
        since: node.machine.now(),
    };
    // A state that cannot be recorded keeps the account from trading; it does not end the process.
    match node.put_connection(account, &connection).await {
        Err(error) if state == ConnectionState::Ready => Err(error.to_string()),
        _ => Ok(()),
    }
}

async fn show_health(
    node: &Node,
    account: &AccountId,
    mut health: watch::Receiver<DeskHealth>,
) -> Result<(), String> {
    while health.changed().await.is_ok() {
        let now = health.borrow_and_update().clone();
        match now {
            DeskHealth::Good => show(node, account, ConnectionState::Ready, "").await?,
            DeskHealth::Degraded { cause } => show(node, account, ConnectionState::Degraded, &cause).await?,
        }
    }
    std::future::pending().await
}

fn desk(node: &Arc<Node>, account: &AccountId) -> Desk {
    let machine = &node.machine;
    Desk::new(
        account.clone(),
        DeskParts {
            broker: Arc::new(SimBroker::new(Arc::clone(node), account.clone())),
            journal: node.clone(),
            conditions: node.clone(),
            clock: machine.clock.clone(),
            entropy: machine.entropy.clone(),
            stops: node.store.stops(),
            settings: DeskSettings {
                active_interval: Duration::from_secs(3),
                ..DeskSettings::default()
            },
        },
    )
}

/// Public prices of an exchange, while it shows them.
struct SimMarket {
    node: Arc<Node>,
    broker: bursar_model::BrokerId,
}

impl SimMarket {
    async fn ask<T>(&self, read: impl FnOnce(&crate::venue::State, Timestamp) -> T) -> Result<T, ReadError> {
        let machine = &self.node.machine;
        self.node.fate.point().await;
        tokio::time::sleep(machine.network.ms(5, 60)).await;
        if machine.weather.hides_prices() {
            return Err(ReadError::TryAgain {
                class: bursar_broker::ErrorClass::Connect,
                reason: "no route".to_owned(),
                wait: None,
            });
        }
        let answer = read(&machine.venues[&self.broker].state(), machine.clock.now());
        Ok(answer)
    }
}

#[async_trait]
impl MarketData for SimMarket {
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        self.ask(|state, _| state.market.pairs().iter().map(instrument).collect())
            .await
    }

    async fn quotes(&self, pairs: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        self.ask(|state, now| {
            let quotes = pairs.iter().filter_map(|pair| state.market.quote(pair, now));
            quotes.collect()
        })
        .await
    }

    async fn candles(&self, _: &Pair, _: u32) -> Result<Vec<Candle>, ReadError> {
        Ok(Vec::new())
    }

    async fn status(&self) -> Result<VenueStatus, ReadError> {
        self.ask(|_, _| VenueStatus::Online).await
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        let time = self.node.machine.time;
        let second = |now: Timestamp| Timestamp::from_second(now.as_second()).unwrap_or(now);
        self.ask(|_, _| second(time.now())).await
    }

    fn has_own_clock(&self) -> bool {
        true
    }
}
