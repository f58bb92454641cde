//! What the gateway decides, asked of its own code.
//!
//! Every answer that the model goes by comes from here, and is that of a public function of
//! `bursar-execution`: a row of the table ([`transition`]), whether an order may be admitted and sent ([`decide`]),
//! whether a switch in memory stands in the way ([`Stops`]), whether an order is proved absent
//! ([`absence::judge`]) and an account halted ([`halting::judge`]), and which orders a switch takes back. They are
//! pure, so an answer is asked for once and then kept. A [`Defect`] puts a wrong answer in the place of one.
//!
//! Not reachable from outside, and therefore said again in `process.rs` and `switch.rs`: which outcome of a request
//! asks for which step, the last look at the clock before a request is written, which looks a search keeps, and that
//! an attempt which was taken back is withdrawn when its cancel is wanted. The store's own conditions are SQL and
//! are tested there. `external_cost` is not asked: the model has no orders of other people.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bursar_broker::BrokerProfile;
use bursar_controls::{ApprovedOrder, LatchMode};
use bursar_execution::machine::{Step, transition};
use bursar_execution::{
    Absence, Decision, HaltFacts, Halting, Intent, Listing, NegativeLook, Reserved, Stops, absence, decide,
    halting,
};
use bursar_model::{IntentId, IntentState};
use bursar_permissions::Caller;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::defect::Defect;
use crate::facts::{account, facts, held, pair, profile, request, switch};
use crate::grid::Config;
use crate::world::{Attempt, Number, Tick, Two, World};

/// Two looks that are one tick apart are far enough apart for a proof; an order that names its price is good for two.
pub(crate) const TICK: SignedDuration = SignedDuration::from_secs(15);

/// The last part of the acceptance bound, in which nothing is written any more.
const WRITE_MARGIN: SignedDuration = SignedDuration::from_secs(1);

pub(crate) fn at(tick: Tick) -> Timestamp {
    // 2026-03-02T12:00:00Z
    let start = Timestamp::from_second(1_772_452_800).unwrap();
    start + TICK * i32::from(tick)
}

pub(crate) fn lasting(ticks: Tick) -> Duration {
    (TICK * i32::from(ticks)).unsigned_abs()
}

/// The last tick that is not after the moment.
fn tick_of(moment: Timestamp) -> Tick {
    let seconds = moment.duration_since(at(0)).as_secs() / TICK.as_secs();
    seconds.try_into().unwrap_or(Tick::MAX)
}

/// What the other intent of the user holds, as far as it bears on this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Other {
    Nothing,
    Reserving,
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Question {
    intent: Number,
    now: Tick,
    was_admitted: bool,
    switched_on: Option<Tick>,
    other: Other,
}

type Unresolved = Option<(IntentState, Option<Tick>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct HaltQuestion {
    switched_on: Tick,
    unresolved: Two<Unresolved>,
    /// Of which nothing of ours was on.
    earlier: Option<Tick>,
    made_at: Tick,
    working: usize,
}

/// A row of the table, by what makes it out.
pub(crate) type TakenRow = (IntentState, &'static str);

pub(crate) struct Gateway {
    config: Config,
    profile: BrokerProfile,
    approvals: Two<ApprovedOrder>,
    /// In the memory of a process that has not heard of the switch, and of one that has.
    stops: [Stops; 2],
    /// As a process has it that is about to write its request; a switch asks for no more of it.
    sent: Intent,
    decisions: RefCell<HashMap<Question, Option<Tick>>>,
    halts: RefCell<HashMap<HaltQuestion, bool>>,
    taken: RefCell<BTreeSet<TakenRow>>,
}

impl Gateway {
    pub(crate) fn new(config: Config) -> Self {
        let lag = match config.defect {
            Some(Defect::IgnoresReadLag) => 0,
            _ => config.lag,
        };
        let approved = |intent| {
            let facts = facts(intent, at(0));
            match decide(&request(intent), &Caller::Operator, None, &facts, at(0)) {
                Decision::Approved(approved) => *approved,
                Decision::Denied { refused, .. } => panic!("a small order was refused: {refused}"),
            }
        };
        let unaware = Stops::default();
        let aware = Stops::default();
        aware.record(switch(at(0)));
        let approvals = Two([0, 1].map(approved));
        Self {
            config,
            profile: profile(&config, lag),
            sent: intent(0, &approvals[0], IntentState::Dispatching),
            approvals,
            stops: [unaware, aware],
            decisions: RefCell::default(),
            halts: RefCell::default(),
            taken: RefCell::default(),
        }
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.config.defect == Some(defect)
    }

    pub(crate) const fn defect(&self) -> Option<Defect> {
        self.config.defect
    }

    /// The state that a step would lead to; `None` when it must not happen.
    pub(crate) fn leads_to(from: IntentState, step: Step) -> Option<IntentState> {
        transition(from, step).ok().map(|row| row.to)
    }

    /// The same of a step that is taken: its row of the table is noted.
    pub(crate) fn step(&self, from: IntentState, step: Step) -> Option<IntentState> {
        let row = transition(from, step).ok()?;
        self.taken.borrow_mut().insert((row.from, row.step.into()));
        Some(row.to)
    }

    pub(crate) fn taken(&self) -> BTreeSet<TakenRow> {
        self.taken.borrow().clone()
    }

    /// Until when an order is good that is asked for now; `None` when it is refused.
    pub(crate) fn admits(&self, world: &World, intent: Number) -> Option<Tick> {
        self.decide(Question {
            was_admitted: false,
            ..self.question(world, intent)
        })
    }

    /// Whether an admitted order may be sent, when everything is looked at again.
    pub(crate) fn still_approves(&self, world: &World, intent: Number) -> bool {
        let mut question = self.question(world, intent);
        if self.has(Defect::LatchAtAdmissionOnly) {
            question.switched_on = None;
        }
        self.decide(question).is_some()
    }

    fn question(&self, world: &World, intent: Number) -> Question {
        let other = (0..self.config.intents)
            .filter(|other| *other != intent)
            .find_map(|other| world.state(other))
            .map_or(Other::Nothing, |state| match state {
                IntentState::Filled => Other::Held,
                IntentState::Open | IntentState::Incident => Other::Reserving,
                state if state.is_reserving() && !self.has(Defect::LimitsIgnoreUnresolved) => {
                    Other::Reserving
                }
                _ => Other::Nothing,
            });
        Question {
            intent,
            now: world.now,
            was_admitted: true,
            switched_on: world.switched_on,
            other,
        }
    }

    fn decide(&self, question: Question) -> Option<Tick> {
        if let Some(known) = self.decisions.borrow().get(&question) {
            return *known;
        }
        let Question { intent, now, .. } = question;
        let mut facts = facts(intent, at(now));
        facts
            .latches
            .extend(question.switched_on.map(|since| switch(at(since))));
        let other = 1 - intent;
        match question.other {
            Other::Nothing => {}
            Other::Held => facts.positions.push(held(other)),
            Other::Reserving => {
                let claims = self.approvals[other].claims().iter();
                facts.reserved.extend(claims.map(|claim| Reserved {
                    intent: intent_id(other),
                    account: account(),
                    pair: pair(other),
                    kind: claim.kind,
                    amount: claim.amount,
                }));
            }
        }
        let recorded = question
            .was_admitted
            .then(|| self.approvals[intent].sizing().clone());
        let decision = decide(&request(intent), &Caller::Operator, recorded, &facts, at(now));
        let good_until = match decision {
            Decision::Approved(approved) => Some(tick_of(approved.valid_until())),
            Decision::Denied { .. } => None,
        };
        self.decisions.borrow_mut().insert(question, good_until);
        good_until
    }

    /// The last look of a process before it writes a request.
    pub(crate) fn is_still_wanted(&self, now: Tick, sent_at: Tick, valid_until: Tick, knows: bool) -> bool {
        let before_the_bound = at(now) < self.bound(sent_at) - WRITE_MARGIN;
        let looks_at_switches = !self.has(Defect::LatchAtAdmissionOnly);
        let stops = &self.stops[usize::from(knows && looks_at_switches)];
        before_the_bound && now <= valid_until && stops.objection(&self.sent).is_none()
    }

    /// As a desk records it with the attempt.
    fn bound(&self, sent_at: Tick) -> Timestamp {
        let acceptance = SignedDuration::try_from(self.profile.acceptance).unwrap_or(SignedDuration::MAX);
        at(sent_at).saturating_add(acceptance).unwrap_or(Timestamp::MAX)
    }

    /// What a look at this moment that found nothing amounts to, after an earlier one that counts.
    pub(crate) fn absence(&self, attempt: Attempt, earlier: Option<Tick>, now: Tick) -> Verdict {
        if self.has(Defect::OneLookCloses) {
            return Verdict::Absent;
        }
        let look = |tick| NegativeLook {
            venue_time: at(tick),
            started_at: at(tick),
        };
        let looks: Vec<NegativeLook> = earlier.into_iter().chain([now]).map(look).collect();
        let bound = self.bound(attempt.sent_at);
        match absence::judge(at(attempt.sent_at), bound, &looks, &self.profile) {
            Absence::Proved(_) => Verdict::Absent,
            Absence::NotYet { .. } if at(now) > absence::counts_from(bound, &self.profile) => Verdict::Counts,
            Absence::NotYet { .. } | Absence::OutOfReach => Verdict::Nothing,
        }
    }

    /// The first tick at which a look counts; `None` where none ever does.
    pub(crate) fn first_look_that_counts(&self, sent_at: Tick) -> Option<Tick> {
        let from = absence::counts_from(self.bound(sent_at), &self.profile);
        (from < Timestamp::MAX).then(|| tick_of(from) + 1)
    }

    pub(crate) const fn withdraws_unsent() -> bool {
        LatchMode::Halt.withdraws_unsent(false)
    }

    pub(crate) const fn cancels_working() -> bool {
        LatchMode::Halt.cancels_working(false)
    }

    /// Whether a list, after an earlier one without anything of ours, proves that the account is halted, by what is
    /// recorded now.
    pub(crate) fn is_halted(
        &self,
        world: &World,
        earlier: Option<Tick>,
        made_at: Tick,
        working: usize,
    ) -> bool {
        if self.has(Defect::OneSweepHalts) {
            return working == 0;
        }
        let Some(switched_on) = world.switched_on else {
            return false;
        };
        let unresolved = Two(world.rows.0.map(|row| {
            let row = row.filter(|row| !row.state.is_terminal())?;
            Some((row.state, row.attempt.map(|attempt| attempt.sent_at)))
        }));
        let question = HaltQuestion {
            switched_on,
            unresolved,
            earlier,
            made_at,
            working,
        };
        *(self.halts.borrow_mut().entry(question)).or_insert_with(|| self.judge_halt(&question))
    }

    fn judge_halt(&self, question: &HaltQuestion) -> bool {
        let listing = |tick, working| Listing {
            venue_time: at(tick),
            started_at: at(tick),
            working,
        };
        let earlier = question.earlier.map(|tick| listing(tick, 0));
        let listings: Vec<Listing> = (earlier.into_iter())
            .chain([listing(question.made_at, question.working)])
            .collect();
        let unresolved: Vec<Intent> = (0..self.config.intents)
            .filter_map(|number| {
                let (state, sent_at) = question.unresolved[number]?;
                Some(Intent {
                    dispatched_at: sent_at.map(at),
                    acceptance_bound: sent_at.map(|sent_at| self.bound(sent_at)),
                    ..intent(number, &self.approvals[number], state)
                })
            })
            .collect();
        let facts = HaltFacts {
            unresolved: &unresolved,
            listings: &listings,
            visibility_lag: self.profile.visibility_lag,
            to_close: 0,
        };
        matches!(
            halting::judge(&switch(at(question.switched_on)), &facts),
            Halting::Halted(_)
        )
    }
}

/// What a look that found nothing amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Nothing,
    /// It counts; one more is needed.
    Counts,
    Absent,
}

fn intent_id(intent: Number) -> IntentId {
    IntentId::from_uuid(uuid::Uuid::from_u128(u128::from(intent == 1) + 1))
}

/// The record as the store would have it, as far as a decision looks at it.
fn intent(number: Number, approved: &ApprovedOrder, state: IntentState) -> Intent {
    let id = intent_id(number);
    Intent {
        id,
        account: account(),
        user: approved.user().clone(),
        broker: "kraken".parse().unwrap(),
        caller: Caller::Operator,
        request: request(number),
        sizing: Some(approved.sizing().clone()),
        state,
        cause: String::new(),
        client_order_id: id.into(),
        venue_order_id: None,
        reducing: approved.is_reducing(),
        created_at: at(0),
        updated_at: at(0),
        valid_until: approved.valid_until(),
        dispatched_at: None,
        acceptance_bound: None,
        filled: Decimal::ZERO,
        venue_filled: Decimal::ZERO,
        closing: None,
        trace: vec![],
    }
}
