//! `bursard run`: unlock, connect masters first, report the hierarchy, recover, trade.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bursar::checkpoint_file::OutsideCopy;
use bursar::exit::chain;
use bursar::session::{Opened, Session};
use bursar::{Exit, Failure, Installation, tombstones};
use bursar_accounts::{AccountManager, ManagerParts, ManagerSettings};
use bursar_audit::{Action, Actor, ActorKind, Data, Draft};
use bursar_auth::{Act, Principal};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Policy, Scope};
use bursar_execution::breaker::{BreakerWatch, WatchParts};
use bursar_execution::{
    Approvals as _, Conditions, Feed, Flattener, FlattenerParts, Gateway, Journal, JournalError, NewLatch,
    Reach, SelfCheck, settings,
};
use bursar_keystore::{KeyStore, UnlockMaterial};
use bursar_model::{Clock, Pair};
use bursar_store_sqlite::{SqliteStore, StoreError};
use bursar_strategy::{
    CycleParts, CycleSettings, Prices, StoredAccounts, TradingFloor, TrendMomentum, TrendMomentumParameters,
};
use futures_util::future::join_all;
use jiff::SignedDuration;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::changes::Changes;
use crate::checkpoints::{self, Checkpoints};
use crate::connector::DeskConnector;
use crate::custody::{Custody, tell_sealed};
use crate::notices::Notices;
use crate::roster::StoreRoster;
use crate::switchboard::Switchboard;
use crate::wiring::{Market, Wiring};
use crate::{supervision, watchlist};

/// A trading day begins when an exchange's clock confirms it, seconds after its time. This is longer.
const DAY_IS_LATE: SignedDuration = SignedDuration::from_mins(2);
/// How long accounts wait for the first prices before they connect without.
const FIRST_PRICES: Duration = Duration::from_secs(10);
/// How long what the store did not take is left alone at least.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How often the day's losses are looked at when nothing is filled.
const LOSSES_EVERY: Duration = Duration::from_secs(1);
/// How often the gateway looks after itself.
const SELF_CHECK_EVERY: Duration = Duration::from_secs(60);
/// How often the list of pairs that need a price is made anew.
const PAIRS_EVERY: Duration = Duration::from_secs(2);

/// Runs until `stop`. Returns an error only when it could not start or the store has stopped. A store that is
/// locked or full is waited for: what is stopped holds from memory meanwhile, and cancels go on.
pub async fn run(session: &mut Session<'_>, halts: Signal, stop: CancellationToken) -> Result<(), Failure> {
    let (opened, _sole) = session.open_as_daemon().await?;
    let surroundings = session.surroundings;
    // Whatever the last daemon left behind: from here on nothing is known of any account.
    opened.store.forget_connections(surroundings.clock.now()).await?;
    let (keystore, material) = unlocked(&opened, session).await?;
    let (installation, store) = (opened.installation, opened.store);
    let switchboard = Switchboard::new(
        &installation,
        Arc::clone(&store),
        Arc::clone(&surroundings.clock),
        Arc::clone(&surroundings.entropy),
    );
    // Before anything is connected: what was stopped while no daemon ran stays stopped.
    switchboard.look().await;
    take_over_settings(&installation, &store, surroundings.clock.as_ref()).await?;

    let wiring = Wiring::new(
        installation.settings.clone(),
        Arc::clone(&store),
        keystore,
        Arc::clone(&surroundings.clock),
        Arc::clone(&surroundings.entropy),
    )
    .map_err(|error| {
        Failure::of(
            Exit::Failed,
            &error,
            "check the section `brokers` of the settings",
        )
    })?;
    let outside = OutsideCopy::of(&installation, &surroundings.directory)?;
    checkpoints::look_at(outside.as_ref()).await?;
    let mut checkpoints = Checkpoints::new(
        Arc::clone(&store),
        wiring.keystore.clone(),
        Arc::clone(&surroundings.clock),
        Arc::clone(&surroundings.entropy),
        outside,
    );
    let mut custody = Custody::new(
        Arc::clone(&store),
        wiring.keystore.clone(),
        material,
        Arc::clone(&surroundings.clock),
        tombstones::list(&installation),
    );
    custody.look_at_list().await;
    let notices = Notices::of(
        &installation.settings,
        &surroundings.directory,
        &store,
        &surroundings.clock,
        &surroundings.entropy,
    )
    .await
    .map(Arc::new);
    let daemon = Daemon {
        installation,
        store,
        switchboard,
        wiring: Arc::new(wiring),
        notices,
    };
    daemon.record(Action::DaemonStarted).await?;
    // Before anything trades: a store that was put back halts.
    checkpoints.begin().await;
    supervision::ready();
    let ended = daemon.work(&mut checkpoints, &mut custody, halts, stop).await;
    supervision::stopping();
    if let Err(error) = daemon.record(Action::DaemonStopped).await {
        warn!(%error, "that the daemon ends is not in the trail");
    }
    checkpoints.end().await;
    if let Some(notices) = &daemon.notices {
        notices.end().await;
    }
    ended
}

/// The keys of the store, and what unlocks them. While somebody has sealed the store they are not unlocked:
/// the daemon is there, halted, and cannot sign.
async fn unlocked(opened: &Opened, session: &mut Session<'_>) -> Result<(KeyStore, UnlockMaterial), Failure> {
    match opened.store.sealing().await? {
        None => {
            let (keys, unlocked) = session.unlocked(opened).await?;
            Ok((keys, unlocked.material))
        }
        Some(sealing) => {
            tell_sealed(&sealing);
            Ok((
                session.locked(opened).await?,
                session.stored_material(opened).await?,
            ))
        }
    }
}

/// The gate's limits, the trading day and the thresholds are read from the store by every process
/// that decides on an order. The daemon's settings are the ones that count.
async fn take_over_settings(
    installation: &Installation,
    store: &SqliteStore,
    clock: &dyn Clock,
) -> Result<(), Failure> {
    let act = Act::new(Principal::Daemon, clock.now()).because("the settings of the daemon");
    let alone = installation.settings.people.alone;
    store.set_works_alone(alone, &act).await?;
    if alone {
        warn!("one person may do what takes two: `people.alone` is set");
    }
    // As the store has it: what the trail does not bear out counts for nothing.
    let alone = store.works_alone().await?;
    take_over_policy(&settings::policy(&installation.settings), alone, store, &act).await?;
    let boundary = settings::day_boundary(&installation.settings);
    if store.day_boundary().await? != boundary {
        store.set_day_boundary(&boundary, &act).await?;
        info!(zone = boundary.zone, at = %boundary.at, "trading days begin anew from the next one");
    }
    for warning in &installation.warnings {
        warn!("{warning}");
    }
    Ok(())
}

/// Tighter limits are in force at once. Looser ones take two people, unless one may do both.
async fn take_over_policy(
    wanted: &Policy,
    alone: bool,
    store: &SqliteStore,
    act: &Act,
) -> Result<(), Failure> {
    let before = store.policy().await?;
    let looser = before.loosened_by(wanted);
    let taken = if alone || looser.is_empty() {
        wanted.clone()
    } else {
        warn!(
            looser = looser.join(", "),
            "looser limits of the settings wait for two people: run `bursar config apply`"
        );
        before.tightened_by(wanted)
    };
    if before != taken {
        store.set_policy(&taken, act).await?;
        info!("limits and tolerances of the settings are in force");
    }
    Ok(())
}

struct Daemon {
    installation: Installation,
    store: Arc<SqliteStore>,
    switchboard: Switchboard,
    wiring: Arc<Wiring>,
    notices: Option<Arc<Notices>>,
}

impl Daemon {
    async fn work(
        &self,
        checkpoints: &mut Checkpoints,
        custody: &mut Custody,
        halts: Signal,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        // What it is at first is read anew soon.
        let (pairs, wanted) = watch::channel(self.pairs().await?);
        let feeds: Vec<Feed> = self
            .wiring
            .markets()
            .into_iter()
            .map(|market| self.feed(market, wanted.clone()))
            .collect();
        let manager = AccountManager::new(self.manager_parts());
        let managing = async {
            // Without prices accounts connect all the same; what needs a price is refused meanwhile.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = tokio::time::timeout(FIRST_PRICES, join_all(feeds.iter().map(Feed::prime))) => {}
            }
            let feeding = going_on(async {
                join_all(feeds.iter().map(|feed| feed.run(stop.clone()))).await;
            });
            let managed = manager.run(stop.clone());
            let managed = async {
                managed
                    .await
                    .map_err(|error| Failure::of(Exit::Failed, &error, error.hint()))
            };
            tokio::try_join!(feeding, managed).map(drop)
        };
        let trading = self.trade(&manager, stop.clone());
        let ended = tokio::try_join!(
            going_on(self.switchboard.run(halts, &stop)),
            managing,
            going_on(self.follow_pairs(&pairs, &stop)),
            going_on(self.watch_losses(&stop)),
            going_on(self.check_self(&stop)),
            going_on(async { self.flattener().run(stop.clone()).await }),
            going_on(checkpoints.run(&stop)),
            going_on(custody.run(&stop)),
            going_on(self.tell(&stop)),
            going_on(supervision::stay_alive(&self.store, &stop)),
            going_on(supervision::tell_accounts(&manager, &stop)),
            going_on(async { Changes::new(Arc::clone(&self.store)).run(&stop).await }),
            going_on(async { self.breakers().run(stop.clone()).await }),
            async {
                tokio::select! {
                    () = stop.cancelled() => Ok(()),
                    stopped = self.store.stopped() => Err(Failure::from(stopped)),
                }
            },
            trading,
        );
        stop.cancel();
        if let Err(failure) = &ended {
            error!("{failure}");
        }
        ended.map(drop)
    }

    fn feed(&self, market: Market, pairs: watch::Receiver<BTreeSet<Pair>>) -> Feed {
        let conditions: Arc<dyn Conditions> = self.store.clone();
        let interval = self.wiring.settings.accounts.quote_poll_ms.duration();
        Feed::new(
            market.brokers,
            market.data,
            conditions,
            Arc::clone(&self.wiring.clock),
            pairs,
            interval,
        )
    }

    fn manager_parts(&self) -> ManagerParts {
        ManagerParts {
            roster: self.store.clone(),
            connections: self.store.clone(),
            keys: self.store.clone(),
            connector: Arc::new(DeskConnector::new(Arc::clone(&self.wiring))),
            clock: Arc::clone(&self.wiring.clock),
            entropy: Arc::clone(&self.wiring.entropy),
            settings: ManagerSettings::from_settings(&self.installation.settings.accounts),
            brokers: self.installation.settings.brokers.clone(),
        }
    }

    async fn pairs(&self) -> Result<BTreeSet<Pair>, JournalError> {
        watchlist::pairs(&self.store, &self.installation.settings.assets.top).await
    }

    async fn follow_pairs(&self, pairs: &watch::Sender<BTreeSet<Pair>>, stop: &CancellationToken) {
        keep_doing("the list of pairs", PAIRS_EVERY, stop, async || {
            let now = self.pairs().await?;
            pairs.send_if_modified(|before| {
                let changed = *before != now;
                *before = now;
                changed
            });
            Ok(())
        })
        .await;
    }

    /// Prices move while nothing is filled, and days end while nothing happens.
    async fn watch_losses(&self, stop: &CancellationToken) {
        let mut told_of = None;
        keep_doing("the look at the day's losses", LOSSES_EVERY, stop, async || {
            let now = self.wiring.clock.now();
            let day = self.store.roll_day(now).await?;
            let overdue = now.duration_since(day.end);
            if overdue >= DAY_IS_LATE && told_of != Some(day.key) {
                warn!(
                    day = %day.key,
                    ended = %day.end,
                    "the trading day goes on although its end has passed by this machine's clock: no exchange's clock confirms it; its limits and switches hold until one does"
                );
                told_of = Some(day.key);
            }
            for latch in self.store.check_losses(now).await? {
                warn!(scope = %latch.scope, mode = %latch.mode, reason = latch.reason, "the day's loss stops new positions");
            }
            Ok(())
        })
        .await;
    }

    /// Asks the gateway's own promises of what is recorded. One that is broken turns everything off.
    async fn check_self(&self, stop: &CancellationToken) {
        keep_doing(
            "the check of the gateway itself",
            SELF_CHECK_EVERY,
            stop,
            async || {
                let now = self.wiring.clock.now();
                let report = match self.store.check_self(Reach::Changes, now).await {
                    Ok(report) => report,
                    Err(error) => {
                        if is_damage(&error) {
                            self.halt_unchecked(&error).await;
                        }
                        return Err(error);
                    }
                };
                for violation in &report.violations {
                    error!(
                        promise = %violation.promise,
                        subject = violation.subject,
                        facts = violation.facts,
                        "a promise of the gateway is broken"
                    );
                }
                Ok(())
            },
        )
        .await;
    }

    /// Nobody trades on what nobody can check.
    async fn halt_unchecked(&self, error: &JournalError) {
        let halt = NewLatch {
            scope: Scope::Global,
            mode: LatchMode::Halt,
            cause: LatchCause::SelfCheck,
            reason: format!("the gateway cannot check itself: {}", chain(error)),
            clear_rule: ClearRule::Manual,
        };
        let latches = self.store.latches().await.unwrap_or_default();
        let is_on =
            |latch: &Latch| latch.scope == halt.scope && latch.cause == halt.cause && latch.mode >= halt.mode;
        if !latches.iter().any(is_on) {
            let act = Act::new(Principal::Daemon, self.wiring.clock.now()).because(&halt.reason);
            if let Err(error) = self.store.trip(halt, &act).await {
                error!(
                    error = chain(&error),
                    "the halt is not recorded; it holds from memory"
                );
            }
        }
    }

    async fn trade(&self, manager: &AccountManager, stop: CancellationToken) -> Result<(), Failure> {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = manager.reported() => {}
        }
        let roster = Arc::new(StoreRoster(Arc::clone(&self.store)));
        TradingFloor::new(roster, self.cycle_parts()?)
            .run(stop)
            .await
            .map_err(Failure::from)
    }

    fn cycle_parts(&self) -> Result<CycleParts, Failure> {
        let settings = &self.installation.settings;
        let strategy = TrendMomentum::new(TrendMomentumParameters::from_settings(&settings.strategy))
            .map_err(|error| {
                Failure::of(
                    Exit::Failed,
                    &error,
                    "correct the section `strategy` of the settings",
                )
            })?;
        let clock = &self.wiring.clock;
        let cycles = CycleSettings::from_settings(settings);
        let mut prices = BTreeMap::new();
        for market in self.wiring.markets() {
            let charts = Arc::new(Prices::new(market.data, Arc::clone(clock), cycles.interval()));
            prices.extend(
                market
                    .brokers
                    .into_iter()
                    .map(|broker| (broker, Arc::clone(&charts))),
            );
        }
        Ok(CycleParts {
            strategy: Arc::new(strategy),
            settings: cycles,
            source: Arc::new(StoredAccounts {
                conditions: self.store.clone(),
                journal: self.store.clone(),
                reports: self.store.clone(),
            }),
            prices,
            desk: Arc::new(self.gateway()),
            notebook: self.store.clone(),
            clock: Arc::clone(clock),
        })
    }

    /// Closes positions while a switch of mode `flatten` is on, also when nothing else trades.
    fn flattener(&self) -> Flattener {
        Flattener::new(FlattenerParts {
            journal: self.store.clone(),
            reports: self.store.clone(),
            conditions: self.store.clone(),
            directory: self.store.clone(),
            gateway: self.gateway(),
            clock: Arc::clone(&self.wiring.clock),
        })
    }

    /// Pauses a broker that does not answer, and probes it until it does.
    fn breakers(&self) -> BreakerWatch {
        BreakerWatch::new(WatchParts {
            meter: Arc::clone(&self.wiring.meter),
            breakers: self.store.clone(),
            markets: self.wiring.probes(),
            clock: Arc::clone(&self.wiring.clock),
        })
    }

    fn gateway(&self) -> Gateway {
        Gateway::new(
            self.store.clone(),
            self.store.clone(),
            bursar::brokers::profiles(),
            Arc::clone(&self.wiring.clock),
            Arc::clone(&self.wiring.entropy),
        )
    }

    /// In a task of its own: whatever a channel takes, nothing that trades waits for it.
    async fn tell(&self, stop: &CancellationToken) {
        if let Some(notices) = &self.notices {
            let (notices, stop) = (Arc::clone(notices), stop.clone());
            if let Err(error) = tokio::spawn(async move { notices.run(&stop).await }).await {
                error!(%error, "nobody is told anything any more until the next start");
            }
        }
    }

    async fn record(&self, action: Action) -> Result<(), Failure> {
        let draft = Draft::new(Actor::new(ActorKind::Daemon, None), action)
            .with(Data::new().text("version", env!("CARGO_PKG_VERSION")));
        Conditions::record(self.store.as_ref(), draft, self.wiring.clock.now()).await?;
        Ok(())
    }
}

/// Whether what is stored cannot be read, and waiting does not help.
fn is_damage(error: &JournalError) -> bool {
    match error {
        JournalError::Unavailable { source } => source
            .downcast_ref::<StoreError>()
            .is_some_and(StoreError::is_damage),
        _ => false,
    }
}

/// What ends with the daemon and never ends it.
async fn going_on(work: impl Future<Output = ()>) -> Result<(), Failure> {
    work.await;
    Ok(())
}

/// Does it again and again, with so much time between. What the store does not take is tried again later: a
/// daemon that ended for it would cancel nothing any more.
async fn keep_doing(
    what: &str,
    every: Duration,
    stop: &CancellationToken,
    mut work: impl AsyncFnMut() -> Result<(), JournalError>,
) {
    let mut pause = every;
    while !sleep_or_stop(pause, stop).await {
        pause = match work().await {
            Ok(()) => every,
            Err(error) => {
                error!(
                    error = chain(&error),
                    hint = error.hint(),
                    "{what} failed; it is tried again"
                );
                every.max(AFTER_FAILURE)
            }
        };
    }
}

/// Whether it was told to stop before the time was over.
async fn sleep_or_stop(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(time) => false,
    }
}
