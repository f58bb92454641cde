use std::sync::Mutex;

use bursar_config::Seconds;
use rust_decimal::dec;

use super::*;
use crate::test_world::{World, mara, pair, position, tomas, usd};

/// A roster that a test changes.
struct List {
    entries: Mutex<Vec<RosterEntry>>,
    is_broken: AtomicBool,
    /// What people did; `None` for a roster that cannot tell.
    changes: Option<tokio::sync::watch::Sender<u64>>,
}

#[async_trait]
impl Roster for List {
    async fn entries(&self) -> Result<Vec<RosterEntry>, JournalError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(JournalError::unavailable("disk is gone"));
        }
        Ok(self.entries.lock().unwrap().clone())
    }

    async fn changed(&self, seen: u64) -> u64 {
        let Some(changes) = &self.changes else {
            return std::future::pending().await;
        };
        *(changes.subscribe().wait_for(|count| *count != seen).await).unwrap()
    }
}

fn entry(account: TradedAccount) -> RosterEntry {
    RosterEntry {
        account,
        enabled: true,
        state: ConnectionState::Ready,
    }
}

struct Floor {
    world: World,
    list: Arc<List>,
    stop: CancellationToken,
}

impl Floor {
    /// A cycle every minute.
    fn of(accounts: impl IntoIterator<Item = TradedAccount>) -> Self {
        Self {
            world: World::new(),
            list: Arc::new(List {
                entries: Mutex::new(accounts.into_iter().map(entry).collect()),
                is_broken: AtomicBool::new(false),
                changes: None,
            }),
            stop: CancellationToken::new(),
        }
    }

    fn start(&self) -> JoinHandle<Result<(), JournalError>> {
        let mut parts = self.world.parts();
        parts.settings.strategy.cycle_interval_s = Seconds(60);
        let floor = TradingFloor::new(self.list.clone(), parts);
        let stop = self.stop.clone();
        tokio::spawn(async move { floor.run(stop).await })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<RosterEntry>)) {
        change(&mut self.list.entries.lock().unwrap());
    }

    /// The cycles of a user that began, in order.
    fn cycles(&self, user: &str) -> Vec<u64> {
        let text = self.world.logged.text();
        let wanted = format!(" for kraken / {user}");
        text.lines()
            .filter_map(|line| line.split_once("cycle ")?.1.strip_suffix(&wanted)?.parse().ok())
            .collect()
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn m1_m2_m3_m4_the_log_of_a_start() {
    let floor = Floor::of([mara()]);
    let mut off = entry(tomas());
    off.enabled = false;
    off.state = ConnectionState::Stopped;
    floor.change(|entries| entries.push(off));
    floor.world.buys("BTC-USD", dec!(1));
    floor.world.accounts.change(&mara(), |state| {
        state.equity = Some(usd(dec!(1_500)));
        state.permissions.limits.max_positions = 7;
    });

    let _task = floor.start();
    seconds(30).await;
    floor.world.accounts.change(&mara(), |state| {
        state.positions = vec![position("BTC-USD", "0.735", dec!(100))]
    });
    floor.world.strategy.signals.lock().unwrap().clear();
    seconds(31).await;

    insta::assert_snapshot!(floor.world.logged.text(), @r"
         INFO loading users and accounts
         INFO 2 users with 2 accounts loaded
         INFO kraken / mara_ilves: kraken-ilves enabled, ready
         INFO kraken / tomas_brandt: kraken-brandt disabled, stopped
         INFO kraken / mara_ilves: trading enabled; broker kraken; balance 1500.00 USD; at most 7 positions; 2 pairs
         INFO cycle 1 for kraken / mara_ilves
         INFO buy signal: kraken / mara_ilves: BTC-USD: a test says so
         INFO kraken / mara_ilves: BTC-USD: buy for 73.52 USD (by largest-position), stop at 95: approved
         INFO cycle 2 for kraken / mara_ilves
         INFO kraken / mara_ilves: position opened: buy 0.735 BTC-USD at 100
        ");
}

#[tokio::test(start_paused = true)]
async fn d8_who_is_enabled_is_traded_as_soon_as_that_is_known() {
    let mut floor = Floor::of([]);
    let (changes, _) = tokio::sync::watch::channel(1);
    let list = Arc::get_mut(&mut floor.list).unwrap();
    list.changes = Some(changes.clone());
    let _task = floor.start();
    // Well before the roster is read for the next time.
    tokio::time::sleep(Duration::from_millis(300)).await;

    floor.change(|entries| entries.push(entry(mara())));
    changes.send_replace(2);
    tokio::time::sleep(Duration::from_millis(50)).await;

    assert_eq!(floor.cycles("mara_ilves"), [1]);
}

#[tokio::test(start_paused = true)]
async fn m1_cycles_are_numbered_from_one_for_each_account() {
    let floor = Floor::of([mara(), tomas()]);

    let _task = floor.start();
    seconds(181).await;

    assert_eq!(floor.cycles("mara_ilves"), [1, 2, 3, 4]);
    assert_eq!(floor.cycles("tomas_brandt"), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a30_a33_an_account_that_hangs_delays_nobody() {
    let floor = Floor::of([mara(), tomas()]);
    floor.world.buys("BTC-USD", dec!(1));
    floor.world.accounts.hang(&mara());

    let _task = floor.start();
    seconds(181).await;

    assert_eq!(floor.cycles("tomas_brandt"), [1, 2, 3, 4]);
    let orders = floor.world.gate.orders.lock().unwrap();
    assert_eq!(orders.len(), 4);
    assert!(orders.iter().all(|order| order.account == tomas().account));
}

#[tokio::test(start_paused = true)]
async fn a31_an_account_that_fails_goes_on_when_it_can_and_the_others_never_stopped() {
    let floor = Floor::of([mara(), tomas()]);
    floor.world.buys("BTC-USD", dec!(1));
    floor.world.accounts.break_down(&mara(), true);

    let _task = floor.start();
    seconds(61).await;
    floor.world.accounts.break_down(&mara(), false);
    seconds(60).await;

    let orders = floor.world.gate.text();
    assert_eq!(orders.matches("kraken-brandt").count(), 3, "{orders}");
    assert_eq!(
        orders
            .lines()
            .filter(|line| line.starts_with("kraken-ilves"))
            .collect::<Vec<_>>(),
        ["kraken-ilves cycle 3 apex: buy 490.19 USD of BTC-USD (market)"]
    );
}

#[tokio::test(start_paused = true)]
async fn c26_m6_a_user_who_is_added_or_enabled_is_traded_without_a_restart() {
    let floor = Floor::of([mara()]);
    let _task = floor.start();
    seconds(90).await;

    floor.change(|entries| entries.push(entry(tomas())));
    seconds(2).await;

    assert_eq!(floor.cycles("tomas_brandt"), [1]);
}

#[tokio::test(start_paused = true)]
async fn c13_a_user_who_is_disabled_stops_and_counts_on_afterwards() {
    let floor = Floor::of([mara(), tomas()]);
    let _task = floor.start();
    seconds(61).await;

    floor.change(|entries| {
        entries[0].enabled = false;
        entries[0].state = ConnectionState::Stopped;
    });
    seconds(120).await;
    assert_eq!(floor.cycles("mara_ilves"), [1, 2]);
    floor.change(|entries| entries[0] = entry(mara()));
    seconds(2).await;

    assert_eq!(floor.cycles("mara_ilves"), [1, 2, 3]);
    assert_eq!(floor.cycles("tomas_brandt"), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn c14_a_disabled_user_who_is_still_connected_only_sells() {
    let floor = Floor::of([mara()]);
    floor.change(|entries| entries[0].enabled = false);
    floor.world.buys("ETH-USD", dec!(1));
    floor.world.sells("BTC-USD");
    floor.world.accounts.change(&mara(), |state| {
        state.positions = vec![position("BTC-USD", "1", dec!(100))]
    });

    let _task = floor.start();
    seconds(1).await;

    let requests = floor.world.gate.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].pair, pair("BTC-USD"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_every_cycle_and_the_floor() {
    let floor = Floor::of([mara(), tomas()]);
    let task = floor.start();
    seconds(30).await;
    floor.world.accounts.hang(&mara());
    seconds(40).await;

    floor.stop.cancel();
    task.await.unwrap().unwrap();
    let before = floor.world.logged.text();
    seconds(300).await;

    // The cycle that hung was still given its time.
    assert!(before.contains("given up after 50 s"), "{before}");
    assert_eq!(floor.world.logged.text(), before);
}

#[tokio::test(start_paused = true)]
async fn nobody_trades_on_when_the_floor_is_dropped() {
    let floor = Floor::of([mara(), tomas()]);
    let task = floor.start();
    seconds(10).await;

    task.abort();
    seconds(300).await;

    assert_eq!(floor.cycles("mara_ilves"), [1]);
}

#[tokio::test(start_paused = true)]
async fn d22_a_roster_that_cannot_be_read_at_the_start_is_an_error_and_later_is_not() {
    let floor = Floor::of([mara()]);
    floor.list.is_broken.store(true, Ordering::Relaxed);
    assert!(floor.start().await.unwrap().is_err());

    floor.list.is_broken.store(false, Ordering::Relaxed);
    let task = floor.start();
    seconds(10).await;
    floor.list.is_broken.store(true, Ordering::Relaxed);
    seconds(60).await;

    assert!(!task.is_finished());
    assert_eq!(floor.cycles("mara_ilves"), [1, 2]);
    assert!(floor.world.logged.text().contains("everybody goes on"));
}
