//! One world from its beginning to its judgement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bursar_auth::{AccountType, Directory, NewAccount, NewUser, UserChange};
use bursar_controls::Policy;
use bursar_execution::{Approvals as _, Conditions, Intent, Journal, Reach, Reports, UserDay};
use bursar_model::{AccountMode, AccountRole, IntentState, Tier, Usd, UserId};
use bursar_store_sqlite::SqliteStore;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rust_decimal::dec;
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::defect::Defect;
use crate::faults::{Faults, usual};
use crate::leaps::Leaps;
use crate::log::{BY_PEOPLE, Event, What};
use crate::machine::Machine;
use crate::operator::Operator;
use crate::oracle::{Violation, judge};
use crate::plan::Plan;
use crate::process::keep_running;
use crate::truth::{Segment, Truth};
use crate::venue::Class;
use crate::workload::Workload;

/// What came of a world.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub seed: u64,
    /// Of everything that happened, in order, and of the audit trail at the end: two runs of a seed have
    /// the same.
    pub hash: String,
    /// How long the world lived, in its own time.
    pub lived_s: u64,
    pub daemons: usize,
    /// Injected faults, by kind.
    pub faults: BTreeMap<String, u64>,
    /// What was done, by kind.
    pub work: BTreeMap<String, u64>,
    pub violations: Vec<Violation>,
    /// Everything that happened, one line each.
    #[serde(skip)]
    pub log: Vec<String>,
}

/// Lets the world of `seed` live, and judges it.
pub fn run(seed: u64) -> Outcome {
    live(Plan::of(seed, None))
}

/// As [`run`], with a mistake in the gateway.
pub fn run_with(seed: u64, defect: Defect) -> Outcome {
    live(Plan::of(seed, Some(defect)))
}

/// As [`run`], where nothing goes wrong.
pub fn run_without_faults(seed: u64) -> Outcome {
    live(Plan::of(seed, None).without_faults())
}

fn live(plan: Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let machine = Machine::new(plan);
        found(&machine).await;
        let operator = Operator::new(&machine);
        let mut doors = Vec::new();
        let background: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        for venue in machine.venues.values() {
            background.push(venue.run().boxed());
        }
        for process in 0..machine.plan.daemons {
            let (door, asks) = mpsc::channel(64);
            doors.push(door);
            background.push(keep_running(Arc::clone(&machine), process, asks).boxed());
        }
        let everything_else = background.for_each(|()| std::future::ready(()));
        tokio::select! {
            biased; // the story goes on before its background
            outcome = story(&machine, &operator, doors) => outcome,
            () = everything_else => std::future::pending().await,
        }
    })
}

/// Users, accounts and limits, as `bursar init` and an operator would leave them.
async fn found(machine: &Arc<Machine>) {
    let act = machine.act();
    let store = SqliteStore::create(
        machine.path(),
        machine.environment(crate::operator::COMMAND_LINE),
        &act,
    )
    .unwrap();
    machine.backups.prepare(&store, &act).await;
    store.set_policy(&policy(&machine.plan), &act).await.unwrap();
    // The operator of a world has nobody to ask.
    store.set_works_alone(true, &act).await.unwrap();
    for user in &machine.plan.users {
        let new = NewUser {
            id: user.clone(),
            email: format!("{user}@example.com").parse().unwrap(),
            name: None,
            tier: Tier::Pro,
            account_type: AccountType::default(),
        };
        store.add_user(new, &act).await.unwrap();
        store
            .update_user(user, UserChange::Enabled(true), &act)
            .await
            .unwrap();
        store.set_permissions(user, &usual(), &act).await.unwrap();
    }
    for (id, owner, broker) in &machine.plan.accounts {
        let new = NewAccount {
            id: id.clone(),
            owner: owner.clone(),
            broker: broker.clone(),
            role: AccountRole::User,
            // An account without a key in the store; what the exchange is like is another matter.
            mode: AccountMode::Paper,
            nickname: None,
        };
        store.add_account(new, &act).await.unwrap();
    }
}

/// What nobody may exceed. Where much is bought for euros and bitcoins, what an account and its owner hold and
/// buy is limited so that it is met.
pub(crate) fn policy(plan: &Plan) -> Policy {
    let usual = Policy {
        max_order: Usd::new(dec!(2000)),
        max_entries_per_day: 1000,
        max_open_orders: 12,
        ..Policy::default()
    };
    if !plan.has_currencies {
        return usual;
    }
    let limit = |dollars| Some(Usd::new(dollars));
    Policy {
        max_account_exposure: limit(dec!(3500)),
        max_user_exposure: limit(dec!(6000)),
        max_account_turnover: limit(dec!(15000)),
        max_user_turnover: limit(dec!(25000)),
        ..usual
    }
}

async fn story(
    machine: &Arc<Machine>,
    operator: &Operator,
    doors: Vec<mpsc::Sender<crate::process::Ask>>,
) -> Outcome {
    let lives = Mutex::new(Vec::new());
    if machine.plan.leaves_out {
        machine.fault("lists-leave-out", String::new());
    }
    if machine.plan.reads_slowly {
        machine.fault("readings-wait", String::new());
    }
    operator.all_connected(Duration::from_secs(30)).await;
    let workload = Workload::new(operator, doors);
    let faults = Faults::new(operator);
    let leaps = Leaps::new(machine);
    tokio::select! {
        biased; // orders first, then what goes wrong with them
        () = workload.run() => {}
        () = faults.run(&lives) => {}
        () = operator.keep_clearing() => {}
        () = operator.keep_resolving() => {}
        () = leaps.run() => {}
        () = operator.keep_checking() => {}
    }
    calm_down(machine, operator).await;
    operator.check(Reach::Everything).await;
    let mut lives: Vec<Segment> = lives.into_inner();
    lives.push(Segment::read(&operator.node().await.store).await);
    let head = lives
        .last()
        .and_then(|life| life.trail.last())
        .map(|record| record.hash().to_string());
    let days = days(machine, operator).await;
    let truth = Truth::of(machine, lives, days);
    let violations = judge(&truth);
    Outcome {
        seed: machine.plan.seed,
        hash: format!("{}-{}", machine.log.hash(), head.unwrap_or_default()),
        lived_s: u64::try_from(machine.time.ms() / 1000).unwrap_or(0),
        daemons: machine.plan.daemons,
        faults: faults_of(&truth.happened),
        work: work_of(&truth),
        violations,
        log: truth.happened.iter().map(Event::line).collect(),
    }
}

/// All faults end. Within the acceptance bound, what may be shown late, and a minute, everything that is
/// unknown must be known; then what works is cancelled, and must end.
async fn calm_down(machine: &Arc<Machine>, operator: &Operator) {
    machine.calm();
    {
        let node = operator.node().await;
        for user in &machine.plan.users {
            drop(node.set_permissions(user, &usual(), &machine.act()).await);
            drop(
                node.store
                    .update_user(user, UserChange::Enabled(true), &machine.act())
                    .await,
            );
        }
    }
    operator.clear(|_, _| true).await;
    let longest = machine
        .venues
        .values()
        .map(|venue| {
            let acceptance = venue.class.acceptance();
            let bounded = if acceptance == Duration::MAX {
                Duration::from_secs(180)
            } else {
                acceptance
            };
            bounded + venue.class.visibility_lag()
        })
        .max()
        .unwrap_or_default();
    // Each of the looks that are counted on here takes up to half a minute where readings wait for their turn.
    let allowed_if = |applies, minutes| Duration::from_mins(if applies { minutes } else { 0 });
    let turns = allowed_if(machine.plan.reads_slowly, 3);
    Rest::SENT
        .wait(machine, operator, longest + turns + Duration::from_secs(60))
        .await;
    let node = operator.node().await;
    for (account, _, _) in &machine.plan.accounts {
        for intent in node.store.unresolved(account).await.unwrap_or_default() {
            drop(node.request_cancel(intent.id, &machine.act()).await);
        }
    }
    drop(node);
    // What no list shows is looked up half a minute after it was missed, one order at a time.
    let looked_up = allowed_if(machine.plan.leaves_out, 10);
    Rest::OVER
        .wait(
            machine,
            operator,
            longest + turns + looked_up + Duration::from_secs(10),
        )
        .await;
}

/// When a world that is left alone has come to rest: nothing of it is going to happen any more that has
/// not happened, and time that passes then shows nothing.
struct Rest {
    /// States in which an order may stay.
    stays: &'static [IntentState],
    /// How long it must have been so: each desk has looked at everything meanwhile.
    lasts: Duration,
}

impl Rest {
    /// Whatever was sent is known. Long enough for a look at the balances as well.
    const SENT: Self = Self {
        stays: &[IntentState::Open, IntentState::Incident],
        lasts: Duration::from_secs(35),
    };
    /// No order works any more.
    const OVER: Self = Self {
        stays: &[IntentState::Incident],
        lasts: Duration::from_secs(20),
    };

    /// Waits for it, and no longer than `most`: what is not at rest then is for the oracles to name.
    async fn wait(&self, machine: &Machine, operator: &Operator, most: Duration) {
        let end = Instant::now() + most;
        let mut since = None;
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if !self.is_reached(machine, operator).await {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() >= self.lasts {
                return;
            }
        }
    }

    async fn is_reached(&self, machine: &Machine, operator: &Operator) -> bool {
        if machine.venues.values().any(|venue| venue.is_busy()) {
            return false;
        }
        let node = operator.node().await;
        for (account, _, _) in &machine.plan.accounts {
            let unresolved = node.store.unresolved(account).await.unwrap_or_default();
            let venue = machine.venue_of(account);
            // Where nothing is promised, an order that was never there stays unknown; one that is there is found
            // with the next look, which may be a minute away.
            let is_there = |intent: &Intent| {
                let state = venue.state();
                let book = state.books.get(account);
                book.is_some_and(|book| book.first(&intent.client_order_id).is_some())
            };
            let may_stay = |intent: &Intent| match intent.state {
                IntentState::Unknown => venue.class == Class::Nothing && !is_there(intent),
                state => self.stays.contains(&state),
            };
            if !unresolved.iter().all(may_stay) {
                return false;
            }
        }
        true
    }
}

async fn days(machine: &Arc<Machine>, operator: &Operator) -> Vec<(UserId, UserDay)> {
    let node = operator.node().await;
    let mut days = Vec::new();
    for user in &machine.plan.users {
        if let Ok(day) = node.store.user_day(user, machine.now()).await {
            days.push((user.clone(), day));
        }
    }
    days
}

fn faults_of(happened: &[Event]) -> BTreeMap<String, u64> {
    let mut faults = BTreeMap::new();
    for event in happened {
        if let What::Fault { kind, .. } = &event.what {
            *faults.entry((*kind).to_owned()).or_default() += 1;
        }
    }
    faults
}

fn work_of(truth: &Truth) -> BTreeMap<String, u64> {
    let mut work: BTreeMap<String, u64> = BTreeMap::new();
    for event in &truth.happened {
        let kind = match &event.what {
            What::Admitted { .. } => "admitted",
            What::Denied { .. } => "denied",
            What::Repeated { .. } => "repeated",
            What::Written { .. } => "requests written",
            What::Accepted { .. } => "accepted by an exchange",
            What::Filled { .. } => "executions",
            What::ProvedAbsent { .. } => "proved absent",
            What::Concluded { said, .. } if said == BY_PEOPLE => BY_PEOPLE,
            What::SwitchedOn { .. } => "switches on",
            What::Connected { .. } => "connected",
            _ => continue,
        };
        *work.entry(kind.to_owned()).or_default() += 1;
    }
    for intent in truth.last().intents.values() {
        *work.entry(format!("ended {}", intent.state)).or_default() += 1;
    }
    work.insert(
        "audit records".to_owned(),
        u64::try_from(truth.last().trail.len()).unwrap_or(0),
    );
    work
}
