//! One world: an installation whose daemon and commands are killed, and which is judged at the end.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bursar::Exit;
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_store_sqlite::SqliteStore;
use bursard::rehearsal::Rehearsal;

use crate::hand::{self, Hand, Line};
use crate::ledger::{Ledger, Who};
use crate::stage::{self, Dice, Load, settle_and_compare};

/// What a world came to.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Outcome {
    pub(crate) lives: u64,
    /// Lives in which every account was connected before the end.
    pub(crate) connected: u64,
    /// How long that took in all of them together.
    pub(crate) connecting_ms: u64,
    pub(crate) orders: usize,
    pub(crate) fills: usize,
    /// What became of all that was asked for.
    pub(crate) fates: BTreeMap<String, u64>,
    /// How often each command was typed.
    pub(crate) typed: BTreeMap<String, u64>,
}

/// How often a command may die at the beginning and at the end of a world.
const EARLY_DEATHS: u64 = 2;
/// How long a daemon is waited for: it may be that a key is missing, or the exchange away.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);
/// How often a daemon may die while everything comes to its end, ...
const LATE_LIVES: u64 = 6;
/// ... and how long that may take. The last life of a world is not killed.
const LATE: Duration = Duration::from_secs(90);

struct World {
    seed: u64,
    stage: Rehearsal,
    store: Arc<SqliteStore>,
    ledger: Arc<Ledger>,
    dice: Dice,
    outcome: Outcome,
}

/// Kills the daemon so many times, and commands beside it, and compares at the end.
pub(crate) async fn play(seed: u64, kills: u64, ledger: Arc<Ledger>) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut stage = stage::prepare(seed).await;
    set_up(&mut stage, &ledger, &mut dice).await;
    stage::spoil(&stage);
    let store = Arc::new(stage.store().unwrap());
    let mut world = World {
        seed,
        stage,
        store: Arc::clone(&store),
        ledger: Arc::clone(&ledger),
        dice,
        outcome: Outcome::default(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(Load::new(Arc::clone(&store), seed ^ 1).run(Arc::clone(&stop)));
    let hand = Hand {
        folder: world.stage.folder().to_owned(),
        store: Arc::clone(&store),
        ledger,
        keys: stage::keys_to_enter(&world.stage),
        dice: Dice::new(seed ^ 2),
    };
    let hand = tokio::spawn(hand.work(Arc::clone(&stop)));
    for kill in 0..kills {
        world.live_and_die(kill).await;
    }
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let (typed, complaints) = hand.await.unwrap();
    world.outcome.typed = typed;
    assert!(complaints.is_empty(), "seed {seed}: {complaints:#?}");
    world.end().await
}

/// Makes the store, in spite of an `init` that is killed.
async fn set_up(stage: &mut Rehearsal, ledger: &Ledger, dice: &mut Dice) {
    let init = Line::typed("ops_desk", &stage::INIT.join(" "));
    for _ in 0..EARLY_DEATHS {
        die_in(&init, stage, ledger, dice).await;
        // A store that is half made is not taken for a whole one, and not written over either.
        let again = stage.bursar(&stage::INIT, None).await;
        if again.exit == Exit::Done {
            break;
        }
        assert_eq!(again.exit, Exit::Refused, "{}{}", again.out, again.err);
        for made in ["bursar-data", "home"] {
            drop(std::fs::remove_dir_all(stage.folder().join(made)));
        }
        std::fs::create_dir(stage.folder().join("home")).unwrap();
    }
    if stage.bursar(&["audit", "verify"], None).await.exit != Exit::Done {
        stage::must(stage, &stage::INIT, None).await;
    }
    stage::furnish(stage).await;
    // A day begins with whoever asks first.
    for _ in 0..EARLY_DEATHS {
        let words = *dice.one_of(&[
            "loss show mara_ilves",
            "can mara_ilves kraken-ilves buy BTC-USD 20",
        ]);
        die_in(&Line::typed("ops_desk", words), stage, ledger, dice).await;
    }
}

/// Runs a command that dies at the rarest of its moments, or comes to its end.
async fn die_in(line: &Line, stage: &Rehearsal, ledger: &Ledger, dice: &mut Dice) {
    let points = ledger.arm_rarest(Who::Command, dice);
    if points.is_empty() {
        return;
    }
    let log = stage.folder().join("points-command.log");
    let process = hand::start(stage.folder(), line, &hand::armed(points, &log));
    let ended = hand::finish(process, line).await;
    let died = ledger.take(Who::Command, &log);
    assert!(
        ended.is_sound(line, died.as_deref()),
        "`{line:?}` ended with {}: {}",
        ended.exit,
        ended.said
    );
}

impl World {
    async fn live_and_die(&mut self, kill: u64) {
        self.weather();
        if stage::an_owner_moves(self.seed) {
            match kill {
                20 => stage::owner_moves(&self.stage, true),
                30 => stage::owner_moves(&self.stage, false),
                _ => {}
            }
        }
        let points = self.ledger.arm(Who::Daemon, &mut self.dice);
        // Now and then in the middle of connecting, mostly while it trades, and once in a while late.
        let from_start = points.is_empty() && self.dice.once_in(5);
        let age = match (from_start, points.is_empty()) {
            (true, _) => self.dice.below(800),
            (false, true) => self.dice.below(1_500),
            (false, false) if self.dice.once_in(30) => 15_000 + self.dice.below(30_000),
            (false, false) => self.dice.below(2_500),
        };
        self.start(&points);
        let store = Arc::clone(&self.store);
        let began = Instant::now();
        let mut connected_after = None;
        let ended = {
            let aging = async {
                if !from_start {
                    let came = stage::connected(&store, CONNECTED_WITHIN).await;
                    connected_after = came.then(|| began.elapsed());
                }
                tokio::time::sleep(Duration::from_millis(age)).await;
            };
            tokio::select! {
                biased;
                ended = self.stage.daemon_ends() => Some(ended.unwrap()),
                () = aging => None,
            }
        };
        self.outcome.lives += 1;
        if let Some(after) = connected_after {
            self.outcome.connected += 1;
            self.outcome.connecting_ms += u64::try_from(after.as_millis()).unwrap();
        }
        self.bury(ended, &format!("kill {kill}"));
    }

    fn start(&mut self, points: &str) {
        let log = self.log();
        self.stage
            .set_variable("BURSAR_POINT_LOG", &log.display().to_string());
        self.stage.set_variable("BURSAR_POINT", points);
        self.stage.start_daemon().unwrap();
    }

    fn log(&self) -> std::path::PathBuf {
        self.stage.folder().join("points-daemon.log")
    }

    /// Kills it unless it ended at its moment. It may not have ended in any other way.
    fn bury(&mut self, ended: Option<std::process::ExitStatus>, when: &str) {
        if ended.is_none() {
            self.stage.kill_daemon().unwrap();
        }
        let died = self.ledger.take(Who::Daemon, &self.log());
        let is_sound = match (ended, &died) {
            (Some(status), Some(_)) => status.signal() == Some(9),
            (Some(_), None) => false,
            (None, _) => true,
        };
        assert!(
            is_sound,
            "seed {}, {when}: the daemon ended by itself: {ended:?}\n{}",
            self.seed,
            stage::tail(&self.stage.log())
        );
        if died.is_none() {
            self.ledger.killed_at_random(Who::Daemon);
        }
    }

    /// The exchange as a whole fails now and then, for so many requests.
    fn weather(&mut self) {
        if self.dice.once_in(10) {
            let outage = FaultRule {
                count: Some(10 + self.dice.below(60)),
                ..FaultRule::always(*self.dice.one_of(&[
                    FaultKind::ServerError,
                    FaultKind::DropBeforeAccept,
                    FaultKind::HtmlPage,
                ]))
            };
            self.stage.exchange().with(|exchange| exchange.add_fault(outage));
        }
    }

    /// What takes time, such as the proof that an order is absent or an account halted, comes only to a
    /// daemon that lives: these lives last until everything is over, unless they end at a rare moment.
    async fn die_late(&mut self) {
        for life in 0..LATE_LIVES {
            let points = self.ledger.arm_rarest(Who::Daemon, &mut self.dice);
            if points.is_empty() {
                return;
            }
            self.start(&points);
            let store = Arc::clone(&self.store);
            let ended = tokio::select! {
                biased;
                ended = self.stage.daemon_ends() => Some(ended.unwrap()),
                _ = stage::settled(&store, LATE) => None,
            };
            let is_over = ended.is_none();
            self.outcome.lives += 1;
            self.bury(ended, &format!("late life {life}"));
            if is_over {
                return;
            }
        }
    }

    /// A balance has to stay short for longer than the exchange may show it late, and few lives last so long:
    /// these do, while what was bought for an account is gone.
    async fn die_short(&mut self) {
        if !stage::has_bought(&self.store).await {
            return;
        }
        stage::owner_moves(&self.stage, true);
        for moment in ["compare/differs", "compare/difference-recorded"] {
            self.start(&format!("{moment}#1"));
            let ended = tokio::select! {
                biased;
                ended = self.stage.daemon_ends() => Some(ended.unwrap()),
                () = tokio::time::sleep(LATE) => None,
            };
            self.outcome.lives += 1;
            self.bury(ended, moment);
        }
        stage::owner_moves(&self.stage, false);
    }

    async fn end(mut self) -> Outcome {
        // Without named moments there is nothing to wait for.
        if cfg!(feature = "points") && stage::an_owner_moves(self.seed) {
            self.die_short().await;
        }
        stage::put_in_order(&mut self.stage, &self.store).await;
        stage::stop_an_account(&self.store).await;
        stage::cancel_everything(&self.store).await;
        self.die_late().await;
        self.stage.set_variable("BURSAR_POINT", "");
        let verdict = settle_and_compare(&mut self.stage, &self.store, self.seed).await;
        for _ in 0..EARLY_DEATHS {
            let next_key = Line::typed("ops_desk", "!next-key");
            die_in(&next_key, &self.stage, &self.ledger, &mut self.dice).await;
            stage::must(&mut self.stage, &["audit", "verify", "--deep"], None).await;
        }
        stage::look_at_keys(&mut self.stage, &self.store, self.seed).await;
        stage::look_at_backups(&mut self.stage, &self.store, self.seed).await;
        self.outcome.orders = verdict.orders;
        self.outcome.fills = verdict.fills;
        self.outcome.fates = stage::fates(&self.store).await;
        self.outcome
    }
}
