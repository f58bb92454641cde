//! Whatever is done, in whatever order: what holds after every step.

use std::collections::{BTreeMap, BTreeSet};

use bursar_audit::Action;
use bursar_broker::VenueOrderStatus;
use bursar_controls::{ClearRule, LatchCause, LatchMode, LimitKind, Policy};
use bursar_execution::{
    AbsenceEvidence, Admission, Dispatch, Intent, Journal, JournalError, NegativeLook, NewLatch, Outcome,
    Reach, Reconciliation, Reports, ReservationRow, SelfCheck,
};
use bursar_model::{Fill, IntentId, IntentState, Side};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::support::trading::{WINDOW, account, attempt, buy, fill, limits, listed, ready, sell, wide};
use crate::support::{World, lives, trail};

const POSITION: i64 = 500;
const LOSS: i64 = 60;
const ENTRIES: usize = 12;
const OPEN: usize = 6;
const POSITIONS: usize = 2;

/// A step that tries something; `which` chooses the order, `part` the amount.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    which: usize,
    part: u32,
}

fn step() -> impl Strategy<Value = Step> {
    (0..16_u8, 0..8_usize, 1..100_u32).prop_map(|(kind, which, part)| Step { kind, which, part })
}

struct Play {
    world: World,
    tokens: BTreeMap<IntentId, [u8; 16]>,
    ended: BTreeMap<IntentId, IntentState>,
    venue: Venue,
}

/// What the venue knows: all that was executed, in the order in which it was, told or not.
struct Venue {
    now: Timestamp,
    executed: Vec<Fill>,
    untold: Vec<Fill>,
    cancelled: BTreeSet<IntentId>,
}

impl Venue {
    fn id(intent: &Intent) -> String {
        format!("V{}", intent.id)
    }

    fn executed_of(&self, intent: &Intent) -> Decimal {
        self.executed
            .iter()
            .filter(|fill| fill.venue_order_id.as_str() == Self::id(intent))
            .map(|fill| fill.quantity.value())
            .sum()
    }

    /// Executes a part of what is left, later than all before it: nobody sells what is bought afterwards.
    fn execute(&mut self, intent: &Intent, part: u32) {
        let terms = &intent.sizing.as_ref().unwrap().terms;
        let left = terms.quantity.value() - self.executed_of(intent);
        if left.is_zero() || self.cancelled.contains(&intent.id) {
            return;
        }
        self.now += SignedDuration::from_secs(i64::from(part % 7));
        // On the venue's grid.
        let share = (left * Decimal::new(i64::from(part), 2)).trunc_with_scale(8);
        let quantity = share.max(Decimal::new(1, 8)).min(left);
        let new = fill(
            &format!("F{:03}", self.executed.len()),
            &Self::id(intent),
            terms.side,
            &quantity.to_string(),
            &terms.pair.to_string(),
            &terms.kind.limit_price().unwrap().to_string(),
            self.now,
        );
        self.executed.push(new.clone());
        self.untold.push(new);
    }

    /// The newest first, and some of the old once more; one may be kept back until the next time.
    fn tell(&mut self, keeps_one: bool) -> Vec<Fill> {
        let kept = if keeps_one { self.untold.pop() } else { None };
        let mut told: Vec<_> = self.untold.drain(..).rev().collect();
        let known = self
            .executed
            .iter()
            .rev()
            .filter(|fill| kept.as_ref() != Some(*fill));
        told.extend(known.take(3).cloned());
        self.untold.extend(kept);
        told
    }
}

const PAIRS: [(&str, &str); 3] = [("BTC-USD", "100"), ("ETH-USD", "10"), ("DOT-USD", "1")];

impl Play {
    async fn pick(&self, which: usize, states: &[IntentState]) -> Option<Intent> {
        let intents = self.world.store.intents(Some(&account()), 1000).await.unwrap();
        let fitting: Vec<_> = intents
            .into_iter()
            .filter(|intent| states.contains(&intent.state))
            .collect();
        let count = fitting.len();
        fitting.into_iter().nth(which % count.max(1))
    }

    async fn take(&mut self, step: Step) {
        use IntentState::{Approved, Cancelled, Dispatching, Filled, Open, Unknown};
        let store = self.world.store.clone();
        let now = self.world.now();
        let (pair, price) = PAIRS[step.which % 3];
        let quantity = Decimal::new(i64::from(step.part), 1).to_string();
        let concluded = |result: Result<Intent, JournalError>| match result {
            Ok(_) | Err(JournalError::Stale { .. }) => {}
            Err(other) => panic!("{other}"),
        };
        match step.kind {
            0..=2 => drop(self.world.admit(buy(&quantity, pair, price)).await),
            3 => drop(self.world.admit(sell(&quantity, pair, price)).await),
            4..=6 => {
                if let Some(intent) = self.pick(step.which, &[Approved]).await {
                    let attempt = attempt(&self.world);
                    self.tokens.insert(intent.id, attempt.token);
                    let answer = store.dispatch(intent.id, attempt, now).await.unwrap();
                    drop::<Dispatch>(answer);
                }
            }
            7 => {
                if let Some(intent) = self.pick(step.which, &[Dispatching, Unknown, Open]).await {
                    self.world.accepted(&intent, &Venue::id(&intent)).await;
                }
            }
            8 | 9 => {
                if let Some(intent) = self
                    .pick(step.which, &[Dispatching, Unknown, Open, Filled, Cancelled])
                    .await
                {
                    self.venue.execute(&intent, step.part);
                    let told = self.venue.tell(step.kind == 9);
                    self.world.book(told).await;
                }
            }
            10 => {
                if let Some(intent) = self.pick(step.which, &[Dispatching, Unknown]).await {
                    let outcome = match step.part % 3 {
                        0 => Outcome::Refused { code: "no".into() },
                        1 => Outcome::Lost {
                            reason: "reset".into(),
                        },
                        _ => Outcome::NotSent {
                            token: self.tokens[&intent.id],
                            reason: "no route".into(),
                        },
                    };
                    concluded(store.conclude(intent.id, outcome, now).await);
                }
            }
            11 => {
                if let Some(intent) = self.pick(step.which, &[Unknown]).await {
                    let bound = intent.acceptance_bound.unwrap();
                    let look = |seconds| NegativeLook {
                        venue_time: bound + SignedDuration::from_secs(seconds),
                        started_at: now,
                    };
                    let evidence = AbsenceEvidence {
                        acceptance_bound: bound,
                        first: look(40),
                        second: look(60),
                    };
                    concluded(store.conclude(intent.id, Outcome::Absent(evidence), now).await);
                }
            }
            12 => {
                if let Some(intent) = self.pick(step.which, &[Open, Dispatching]).await {
                    self.venue.cancelled.insert(intent.id);
                    let filled = self.venue.executed_of(&intent).normalize().to_string();
                    let order = listed(&intent, &Venue::id(&intent), &filled, VenueOrderStatus::Cancelled);
                    store.observe(&account(), vec![order], now).await.unwrap();
                }
            }
            13 => {
                if let Some(intent) = self
                    .pick(step.which, &[Approved, Dispatching, Unknown, Open])
                    .await
                {
                    store.request_cancel(intent.id, &self.world.act()).await.unwrap();
                }
            }
            14 => {
                store.recover(&account(), Some(WINDOW), now).await.unwrap();
            }
            _ => {
                let mode = if step.part.is_multiple_of(2) {
                    LatchMode::Pause
                } else {
                    LatchMode::ReduceOnly
                };
                let latch = NewLatch {
                    scope: "global".parse().unwrap(),
                    mode,
                    cause: LatchCause::Manual,
                    reason: "drill".into(),
                    clear_rule: ClearRule::Manual,
                };
                let latch = store.trip(latch, &self.world.act()).await.unwrap();
                let compared = Reconciliation {
                    at: self.world.now(),
                    differences: Vec::new(),
                };
                store.reconciled(&account(), compared).await.unwrap();
                let over = self.world.act().because("drill over");
                store.release(latch.id, &over).await.unwrap();
            }
        }
    }

    /// What is reserved is what unresolved orders claimed, less what was filled of it.
    fn check_reservations(
        intents: &[Intent],
        reservations: &[ReservationRow],
        cost: &BTreeMap<IntentId, Decimal>,
    ) -> Result<(), TestCaseError> {
        for intent in intents.iter().filter(|intent| !intent.state.is_terminal()) {
            let sizing = intent.sizing.as_ref().unwrap();
            let ordered = sizing.terms.quantity.value();
            let left = ordered - intent.filled;
            let spent = cost.get(&intent.id).copied().unwrap_or_default();
            let held = |kind| {
                let mut rows = reservations
                    .iter()
                    .filter(|row| row.intent == intent.id && row.kind == kind);
                (rows.next(), rows.next().is_none())
            };
            for kind in [
                LimitKind::PositionCost,
                LimitKind::Positions,
                LimitKind::OpenOrders,
                LimitKind::Entries,
                LimitKind::DayLoss,
                LimitKind::SaleQuantity,
            ] {
                let (row, is_one) = held(kind);
                prop_assert!(is_one, "{} holds {kind} twice", intent.id);
                let amount = row.map_or(Decimal::ZERO, |row| row.amount);
                let claimed = row.map(|row| row.claimed);
                let is_part = |claimed: Decimal| {
                    // Of what is left, and never less than its exact share.
                    let exact = claimed * left / ordered;
                    amount >= exact.min((claimed - spent).max(Decimal::ZERO)) - Decimal::new(1, 12)
                        && amount <= exact + Decimal::new(1, 12)
                };
                match (kind, intent.reducing) {
                    (LimitKind::SaleQuantity, true) => prop_assert_eq!(amount, left),
                    (LimitKind::SaleQuantity, false) | (_, true) => prop_assert_eq!(amount, Decimal::ZERO),
                    (LimitKind::PositionCost, false) => {
                        let whole = sizing.worst_cost.amount();
                        prop_assert!(claimed.is_none_or(|claimed| claimed == whole));
                        prop_assert!(is_part(whole), "{amount} of {whole} for {left} of {ordered}");
                    }
                    (LimitKind::DayLoss, false) => {
                        prop_assert!(claimed.is_none_or(&is_part), "{amount} of {claimed:?}");
                    }
                    (LimitKind::Entries, false) => {
                        let begun = intent.filled > Decimal::ZERO;
                        prop_assert_eq!(amount, if begun { Decimal::ZERO } else { Decimal::ONE });
                    }
                    (LimitKind::Positions | LimitKind::OpenOrders, false) => {
                        prop_assert_eq!(amount, Decimal::ONE);
                    }
                    // Wider limits are measured by these: what they count is reserved once.
                    (wider, false) => unreachable!("{wider} is not asked for"),
                }
            }
        }
        Ok(())
    }

    /// Everything that recovery could change, as text.
    async fn everything(&self) -> String {
        let store = &self.world.store;
        format!(
            "{:#?} {:#?} {:#?} {:#?} {:#?} {:#?}",
            store.intents(None, 10_000).await.unwrap(),
            store.reservations(None).await.unwrap(),
            store.open_lots(None).await.unwrap(),
            store.latches().await.unwrap(),
            store.pending_cancels(&account()).await.unwrap(),
            trail(store).await.len(),
        )
    }

    async fn check(&mut self) -> Result<(), TestCaseError> {
        let store = &self.world.store;
        let intents = store.intents(None, 10_000).await.unwrap();
        let reservations = store.reservations(None).await.unwrap();
        let lots = store.open_lots(None).await.unwrap();
        let positions = store.open_positions(None).await.unwrap();

        for (pair, _) in PAIRS {
            let pair = pair.parse().unwrap();
            let used: Decimal = lots
                .iter()
                .filter(|lot| lot.pair == pair)
                .map(|lot| lot.cost_usd.amount())
                .sum();
            let of_kind = |kind| -> Decimal {
                reservations
                    .iter()
                    .filter(|row| row.pair == pair && row.kind == kind)
                    .map(|row| row.amount)
                    .sum()
            };
            let cost = of_kind(LimitKind::PositionCost);
            prop_assert!(
                used + cost <= Decimal::from(POSITION),
                "{pair}: {used} used and {cost} reserved"
            );
            let held: Decimal = lots
                .iter()
                .filter(|lot| lot.pair == pair)
                .map(|lot| lot.quantity.value())
                .sum();
            prop_assert!(
                of_kind(LimitKind::SaleQuantity) <= held,
                "{pair}: more is promised than held"
            );
        }
        let mut counted: BTreeSet<_> = positions.iter().map(|position| position.pair.clone()).collect();
        counted.extend(
            reservations
                .iter()
                .filter(|row| row.kind == LimitKind::Positions)
                .map(|row| row.pair.clone()),
        );
        prop_assert!(counted.len() <= POSITIONS, "{counted:?}");
        let loss: Decimal = reservations
            .iter()
            .filter(|row| row.kind == LimitKind::DayLoss)
            .map(|row| row.amount)
            .sum();
        prop_assert!(loss <= Decimal::from(LOSS));
        let unresolved = intents.iter().filter(|intent| !intent.state.is_terminal());
        let entries = intents.iter().filter(|intent| {
            !intent.reducing && (!intent.state.is_terminal() || intent.filled > Decimal::ZERO)
        });
        prop_assert!(entries.count() <= ENTRIES);
        prop_assert!(unresolved.clone().filter(|intent| !intent.reducing).count() <= OPEN);

        // Reservations are there exactly for orders that are not over.
        let reserving: BTreeSet<IntentId> = reservations.iter().map(|row| row.intent).collect();
        let open: BTreeSet<IntentId> = unresolved.map(|intent| intent.id).collect();
        prop_assert_eq!(reserving, open);
        let mut cost: BTreeMap<IntentId, Decimal> = BTreeMap::new();
        for booked in store.fills(None, None, 10_000).await.unwrap() {
            let fill = booked.fill.fill;
            // Whether the fee is part of the cost or not, at most this was spent.
            *cost.entry(booked.intent).or_default() +=
                fill.quantity.value() * fill.price.value() + fill.fee.value;
        }
        Self::check_reservations(&intents, &reservations, &cost)?;
        for intent in &intents {
            // A terminal state is the last.
            let state = self.ended.get(&intent.id).copied();
            prop_assert!(
                state.is_none_or(|state| state == intent.state),
                "{state:?} became {}",
                intent.state
            );
            if intent.state.is_terminal() {
                self.ended.insert(intent.id, intent.state);
            }
            let quantity = intent.sizing.as_ref().map(|sizing| sizing.terms.quantity.value());
            prop_assert!(quantity.is_none_or(|quantity| intent.filled <= quantity));
            prop_assert_eq!(
                intent.state == IntentState::Filled,
                quantity == Some(intent.filled)
            );
        }
        Ok(())
    }

    /// Recovering twice is recovering once.
    async fn check_recovery(&self) -> Result<(), TestCaseError> {
        let store = &self.world.store;
        let first = store
            .recover(&account(), Some(WINDOW), self.world.now())
            .await
            .unwrap();
        let once = self.everything().await;
        let second = store
            .recover(&account(), Some(WINDOW), self.world.now())
            .await
            .unwrap();
        let twice = self.everything().await;
        prop_assert_eq!(first, second);
        prop_assert_eq!(once, twice);
        Ok(())
    }

    /// Nothing was lost: what the venue executed of our orders is what was booked or kept aside.
    async fn check_the_end(&mut self) -> Result<(), TestCaseError> {
        let store = self.world.store.clone();
        let told = self.venue.tell(false);
        self.world.book(told).await;
        let records = trail(&store).await;
        let intents = store.intents(None, 10_000).await.unwrap();
        let report = store
            .check_self(Reach::Everything, self.world.now())
            .await
            .unwrap();
        prop_assert_eq!(report.violations, vec![]);
        prop_assert_eq!(report.orders, intents.len());
        let mut booked: Decimal = Decimal::ZERO;
        for fill in store.fills(None, None, 10_000).await.unwrap() {
            let sign = if fill.fill.fill.side == Side::Buy {
                Decimal::ONE
            } else {
                Decimal::NEGATIVE_ONE
            };
            booked += sign * fill.fill.fill.quantity.value();
        }
        let held: Decimal = store
            .open_positions(None)
            .await
            .unwrap()
            .iter()
            .map(|position| position.quantity.value())
            .sum();
        prop_assert_eq!(booked, held);
        let strays = store.stray_fills(&account()).await.unwrap().len();
        let known = store.fills(None, None, 10_000).await.unwrap().len() + strays;
        prop_assert_eq!(known, self.venue.executed.len());
        for intent in intents {
            let last = records.iter().rev().find(|record| {
                record.subject.intent == Some(intent.id) && record.action.name().starts_with("intent.")
            });
            let expected = match intent.state {
                IntentState::Denied => Action::IntentDenied,
                IntentState::Expired => Action::IntentExpired,
                IntentState::Withdrawn => Action::IntentWithdrawn,
                IntentState::Dispatching => Action::IntentDispatched,
                IntentState::Unknown => Action::IntentUnknown,
                IntentState::Rejected => Action::IntentRejected,
                IntentState::Absent => Action::IntentAbsent,
                IntentState::Open => Action::IntentOpen,
                IntentState::Filled => Action::IntentFilled,
                IntentState::Cancelled => Action::IntentCancelled,
                IntentState::VenueExpired => Action::IntentVenueExpired,
                IntentState::Incident => Action::IntentIncident,
                IntentState::Approved => continue,
            };
            prop_assert_eq!(last.map(|record| record.action), Some(expected));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives(24), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i3_what_is_used_and_reserved_never_exceeds_a_limit(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = ready().await;
            world.limit(limits(&POSITION.to_string(), &LOSS.to_string(), u32::try_from(POSITIONS).unwrap())).await;
            world
                .policy(&Policy {
                    max_entries_per_day: u32::try_from(ENTRIES).unwrap(),
                    max_open_orders: u32::try_from(OPEN).unwrap(),
                    ..wide()
                })
                .await;
            let venue = Venue { now: world.now(), executed: Vec::new(), untold: Vec::new(), cancelled: BTreeSet::new() };
            let mut play = Play { world, tokens: BTreeMap::new(), ended: BTreeMap::new(), venue };
            for step in steps {
                play.take(step).await;
                play.check().await?;
            }
            play.check_the_end().await?;
            play.check_recovery().await
        })?;
    }
}

#[tokio::test]
async fn a_position_sold_while_its_purchase_still_works_stays_counted() {
    let world = ready().await;
    world.limit(limits("500", "100", 1)).await;
    world.open(buy("2", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    world.open(sell("1", "BTC-USD", "100"), "V2").await;
    world.filled("F2", "V2", Side::Sell, "1", "BTC-USD", "100").await;

    // Nothing is held, but the rest of the purchase may open the position again.
    let second = world.admit(buy("1", "ETH-USD", "10")).await;

    assert!(matches!(second, Admission::Denied(intent) if intent.cause == "position-count"));
}
