//! I3 where not everything is paid for in dollars (decision 24): what was admitted is within its limits in dollars, at
//! the rates that the gateway was told. A limit is passed only by a rate that rose after that, and then nothing more is
//! admitted, and what no longer fits is cancelled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bursar_audit::Action;
use bursar_controls::{Policy, Sizing};
use bursar_execution::BookedFill;
use bursar_ledger::{Entry, PriceRange};
use bursar_model::{AccountId, Asset, BrokerId, FillId, IntentId, IntentState, Pair, Side, Usd, UserId};
use rust_decimal::{Decimal, RoundingStrategy, dec};

use super::Court;
use crate::faults::usual;
use crate::log::{Event, What};
use crate::plan::Begins;
use crate::truth::Segment;
use crate::world::policy;

/// How old a rate may be when something is admitted and sent by it.
const RATE_AGE_MS: i64 = 30_000;
/// How far a rate may rise before an order asks for room anew.
const ROOM: Decimal = dec!(1.02);
/// Costs are rounded up to cents, execution by execution.
const ROUNDING: Decimal = dec!(0.05);

pub(super) fn judge(court: &mut Court<'_>) {
    if !court.truth.plan.has_currencies {
        return;
    }
    let mut books = Books::new(court);
    for event in court.happened() {
        books.take(court, event);
    }
    books.booked_at_what_was_told(court);
}

/// A purchase that was sent and is not known to be over.
struct Working {
    account: AccountId,
    pair: Pair,
    ordered: Decimal,
    filled: Decimal,
    /// What all of it can cost at worst: in what it is paid for in, and in dollars as its limits know it.
    worst_quote: Decimal,
    claimed: Decimal,
    /// In the order in which they were admitted.
    number: usize,
    /// Of a store that was put back nobody knows here what it counts.
    is_in_doubt: bool,
}

impl Working {
    fn left(&self) -> Decimal {
        self.claimed * (self.ordered - self.filled) / self.ordered
    }

    /// Dollars per unit of what it is paid for in.
    fn rate(&self) -> Decimal {
        self.claimed / self.worst_quote
    }
}

/// What is held of a pair, and what a unit of each part of it cost in dollars; first in, first out.
type Lots = VecDeque<(Decimal, Decimal)>;

/// Whose sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
enum Whose {
    Position,
    Account,
    User,
}

struct Books<'t> {
    owners: BTreeMap<AccountId, (UserId, BrokerId)>,
    policy: Policy,
    /// The rate of every execution that was booked, the least where it was booked more than once.
    booked: BTreeMap<(&'t AccountId, &'t FillId), Decimal>,
    /// Only of a world in which no day ends: what is bought counts for its day.
    counts_turnover: bool,
    told: BTreeMap<(BrokerId, Asset), (i64, PriceRange)>,
    told_before: Vec<(i64, BrokerId, Asset, PriceRange)>,
    /// Whatever was told to any store.
    ever_told: BTreeSet<(BrokerId, Asset, Decimal)>,
    limits: BTreeMap<UserId, Usd>,
    limits_set: Vec<(i64, UserId, Usd)>,
    working: BTreeMap<IntentId, Working>,
    lots: BTreeMap<(AccountId, Pair), Lots>,
    bought: BTreeMap<AccountId, Decimal>,
    executions: BTreeMap<AccountId, usize>,
    admitted: BTreeMap<IntentId, usize>,
    /// Which of the stores it is.
    life: usize,
}

impl<'t> Books<'t> {
    fn new(court: &Court<'t>) -> Self {
        let plan = &court.truth.plan;
        let owners = plan.accounts.iter();
        let mut booked = BTreeMap::new();
        for (account, fill, _) in court.truth.lives.iter().flat_map(|life| &life.fills) {
            let rate = fill.fill.usd_rate.value();
            let known: &mut Decimal = booked.entry((account, &fill.fill.fill.id)).or_insert(rate);
            *known = rate.min(*known);
        }
        Self {
            owners: owners
                .map(|(account, user, broker)| (account.clone(), (user.clone(), broker.clone())))
                .collect(),
            policy: policy(plan),
            booked,
            counts_turnover: plan.begins == Begins::Morning,
            told: BTreeMap::new(),
            told_before: Vec::new(),
            ever_told: BTreeSet::new(),
            limits: BTreeMap::new(),
            limits_set: Vec::new(),
            working: BTreeMap::new(),
            lots: BTreeMap::new(),
            bought: BTreeMap::new(),
            executions: BTreeMap::new(),
            admitted: BTreeMap::new(),
            life: 0,
        }
    }

    fn take(&mut self, court: &mut Court<'t>, event: &Event) {
        match &event.what {
            What::LimitSet { user, max_position } => {
                self.limits_set.push((event.ms, user.clone(), *max_position));
                self.limits.insert(user.clone(), *max_position);
            }
            What::Told {
                broker,
                rates,
                is_whole,
                seq,
            } => {
                for (asset, rate) in rates {
                    let key = (broker.clone(), asset.clone());
                    self.told.insert(key, (event.ms, *rate));
                    for end in [rate.least, rate.most] {
                        (self.ever_told).insert((broker.clone(), asset.clone(), end.value()));
                    }
                    self.told_before
                        .push((event.ms, broker.clone(), asset.clone(), *rate));
                    if rate.is_exact() && *is_whole {
                        self.ask_for_room(court, broker, asset, rate.least.value(), *seq);
                    }
                }
            }
            What::PutBack { copied_ms } => self.put_back(*copied_ms),
            // A hand that trades is no order of ours.
            What::Filled { account, .. } => {
                let number = self.executions.entry(account.clone()).or_default();
                *number += 1;
                let number = *number - 1;
                if let Some((id, sizing)) = event.intent.and_then(|id| sized(court, id)) {
                    self.fill(court, id, sizing, number, &event.what);
                }
            }
            what => {
                if let Some((id, sizing)) = event.intent.and_then(|id| sized(court, id)) {
                    self.step(court, id, sizing, event.ms, what);
                }
            }
        }
    }

    /// What is bought costs what its currency was worth, or was when its order was admitted. A sale may be booked
    /// against us, by a rate that nobody believes.
    fn booked_at_what_was_told(&self, court: &mut Court<'t>) {
        for life in &court.truth.lives {
            let is_purchase =
                |fill: &&(AccountId, BookedFill, Vec<Entry>)| fill.1.fill.fill.side == Side::Buy;
            for (account, booked, _) in life.fills.iter().filter(is_purchase) {
                let (asset, rate) = (booked.fill.fill.pair.quote(), booked.fill.usd_rate.value());
                let broker = self.owners[account].1.clone();
                let sizing = life
                    .intents
                    .get(&booked.intent)
                    .and_then(|intent| intent.sizing.as_ref());
                let at_first = sizing.and_then(|sizing| sizing.reference);
                let holds = asset.is_usd()
                    || at_first.is_some_and(|reference| reference.usd_rate.value() == rate)
                    || self.ever_told.contains(&(broker, asset.clone(), rate));
                if !holds {
                    let what = format!("{} was booked at {rate}, which nobody told", booked.fill.fill.id);
                    court.report("rates", Some(booked.intent), what);
                }
            }
        }
    }

    /// What was known when the copy was made is known, and nothing else.
    fn put_back(&mut self, copied_ms: i64) {
        self.limits_set.retain(|(ms, ..)| *ms < copied_ms);
        self.limits = (self.limits_set.iter())
            .map(|(_, user, most)| (user.clone(), *most))
            .collect();
        self.told_before.retain(|(ms, ..)| *ms < copied_ms);
        self.told = (self.told_before.iter())
            .map(|(ms, broker, asset, rate)| ((broker.clone(), asset.clone()), (*ms, *rate)))
            .collect();
        for working in self.working.values_mut() {
            working.is_in_doubt = true;
        }
        self.life += 1;
    }

    fn step(&mut self, court: &mut Court<'t>, id: IntentId, sizing: &'t Sizing, ms: i64, what: &What) {
        match what {
            What::Admitted {
                side: Side::Buy,
                account,
                pair,
                ..
            } => {
                let number = self.admitted.len();
                self.admitted.insert(id, number);
                self.rate_is_known(court, id, sizing, account, (ms, ROOM));
                self.costs_what_it_says(court, id, sizing);
                let own = sizing.worst_cost.amount();
                self.is_within(court, id, account, pair, own, "admitted");
            }
            What::Dispatched {
                side: Side::Buy,
                account,
                ..
            } => {
                // As long as it is not sent, the room may be used up.
                self.rate_is_known(court, id, sizing, account, (ms, Decimal::ONE));
                let pair = &sizing.terms.pair;
                let working = Working {
                    account: account.clone(),
                    pair: pair.clone(),
                    ordered: sizing.terms.quantity.value(),
                    filled: Decimal::ZERO,
                    worst_quote: sizing.worst_cost_quote,
                    claimed: sizing.worst_cost.amount(),
                    number: self.admitted.get(&id).copied().unwrap_or_default(),
                    is_in_doubt: false,
                };
                self.working.insert(id, working);
                self.is_within(court, id, account, pair, Decimal::ZERO, "sent");
            }
            What::Concluded { state, .. } if state.is_terminal() || *state == IntentState::Approved => {
                self.working.remove(&id);
            }
            _ => {}
        }
    }

    /// By a rate that can be believed and is not old, and with `room` above it.
    fn rate_is_known(
        &self,
        court: &mut Court<'t>,
        id: IntentId,
        sizing: &Sizing,
        account: &AccountId,
        (ms, room): (i64, Decimal),
    ) {
        let asset = sizing.terms.pair.quote();
        if asset.is_usd() {
            return;
        }
        let broker = self.owners[account].1.clone();
        let covered = sizing.worst_rate.map(|rate| rate.value()).unwrap_or_default();
        let told = self.told.get(&(broker, asset.clone()));
        let holds = told.is_some_and(|(at_ms, rate)| {
            rate.is_exact() && ms - at_ms <= RATE_AGE_MS && covered >= rate.most.value() * room
        });
        if !holds {
            let told = told.map(|(at_ms, rate)| format!("{} to {} at {at_ms} ms", rate.least, rate.most));
            let what = format!("counted with {covered} for 1 {asset} while the store was told {told:?}");
            court.report("rates", Some(id), what);
        }
    }

    /// No limit is asked for less than an order may cost.
    fn costs_what_it_says(&self, court: &mut Court<'t>, id: IntentId, sizing: &Sizing) {
        let terms = &sizing.terms;
        let rate = sizing.worst_rate.map_or(Decimal::ONE, |rate| rate.value());
        let price = terms.kind.limit_price().map(|price| price.value());
        let quote = price.unwrap_or_default() * terms.quantity.value();
        let cost = sizing.worst_cost.amount();
        let is_told = price.is_some() && sizing.worst_cost_quote >= quote && cost >= quote * rate;
        if !is_told || cost > self.policy.max_order.amount() {
            let what = format!("{cost} USD for what may cost {quote} {}", terms.pair.quote());
            court.report("rates", Some(id), what);
        }
    }

    fn fill(&mut self, court: &mut Court<'t>, id: IntentId, sizing: &Sizing, number: usize, what: &What) {
        let What::Filled {
            account,
            quantity,
            price,
            ..
        } = what
        else {
            return;
        };
        let pair = &sizing.terms.pair;
        let key = (account.clone(), pair.clone());
        if sizing.terms.side == Side::Sell {
            return sell(self.lots.entry(key).or_default(), *quantity);
        }
        let Some((account, holding)) = court.accounts().get_key_value(account) else {
            return;
        };
        let booked = holding
            .fills
            .get(number)
            .and_then(|fill| self.booked.get(&(account, &fill.id)));
        let counted = self.working.get(&id).map(Working::rate);
        // Until it is booked, what the order holds for it counts.
        let rate = match (booked, counted) {
            (Some(booked), Some(counted)) => counted.min(*booked),
            (Some(one), None) => *one,
            (None, one) => one.unwrap_or(Decimal::ONE),
        };
        let lot = (*quantity, *price * rate);
        self.lots.entry(key).or_default().push_back(lot);
        *self.bought.entry(account.clone()).or_default() += lot.0 * lot.1;
        if let Some(working) = self.working.get_mut(&id) {
            working.filled += *quantity;
        }
    }

    /// What the orders that a rate made dearer hold from now on; one that has no room then is cancelled.
    fn ask_for_room(
        &mut self,
        court: &mut Court<'t>,
        broker: &BrokerId,
        asset: &Asset,
        rate: Decimal,
        seq: u64,
    ) {
        let is_dearer = |working: &Working| {
            self.owners[&working.account].1 == *broker
                && working.pair.quote() == asset
                && !working.is_in_doubt
                && cents(working.worst_quote * rate) > working.claimed
        };
        let dearer = self.working.iter().filter(|(_, working)| is_dearer(working));
        let mut dearer: Vec<(usize, IntentId)> = dearer.map(|(id, working)| (working.number, *id)).collect();
        dearer.sort_unstable();
        for (_, id) in dearer {
            let Some(working) = self.working.get_mut(&id) else {
                continue;
            };
            working.claimed = cents(working.worst_quote * rate * ROOM);
            let (account, pair) = (working.account.clone(), working.pair.clone());
            if working.left() <= ROUNDING {
                continue;
            }
            let full = self.full(&account, &pair, Decimal::ZERO);
            if let Some(full) = full.first()
                && !is_to_be_cancelled(&court.truth.lives[self.life], id, seq)
            {
                let what = format!("1 {asset} is worth {rate} USD, and it is not cancelled: {full}");
                court.report("rates", Some(id), what);
            }
        }
    }

    fn is_within(
        &self,
        court: &mut Court<'t>,
        id: IntentId,
        account: &AccountId,
        pair: &Pair,
        own: Decimal,
        done: &str,
    ) {
        for full in self.full(account, pair, own) {
            court.report("rates", Some(id), format!("{done} although {full}"));
        }
    }

    /// The limits that what is held, what is promised and `own` together exceed.
    fn full(&self, account: &AccountId, pair: &Pair, own: Decimal) -> Vec<String> {
        let user = &self.owners[account].0;
        let position = self
            .limits
            .get(user)
            .copied()
            .unwrap_or(usual().limits.max_position);
        let mut full = Vec::new();
        let mut compare = |name: String, used: Decimal, limit: Option<Usd>| {
            let used = used + own;
            if let Some(limit) = limit.map(Usd::amount)
                && used > limit + ROUNDING
            {
                full.push(format!("{name} comes to {} USD, limit {limit}", used.round_dp(2)));
            }
        };
        for (whose, limit) in [
            // That of what is paid for in dollars is looked at elsewhere, with all that was sent before.
            (Whose::Position, (!pair.quote().is_usd()).then_some(position)),
            (Whose::Account, self.policy.max_account_exposure),
            (Whose::User, self.policy.max_user_exposure),
        ] {
            let counts = |of: &AccountId, other: &Pair| match whose {
                Whose::Position => of == account && other == pair,
                Whose::Account => of == account,
                Whose::User => self.owners[of].0 == *user,
            };
            let held = self.lots.iter().filter(|((of, other), _)| counts(of, other));
            let held: Decimal = held
                .flat_map(|(_, lots)| lots)
                .map(|(quantity, cost)| quantity * cost)
                .sum();
            let used = held + self.promised(counts);
            compare(format!("what the {whose} holds, {account} {pair},"), used, limit);
        }
        if self.counts_turnover {
            let of_account = self.bought.get(account).copied().unwrap_or_default();
            let of_user = self.bought.iter().filter(|(of, _)| self.owners[*of].0 == *user);
            let of_user: Decimal = of_user.map(|(_, bought)| bought).sum();
            let used = of_account + self.promised(|of, _| of == account);
            compare(
                format!("what {account} bought"),
                used,
                self.policy.max_account_turnover,
            );
            let used = of_user + self.promised(|of, _| self.owners[of].0 == *user);
            compare(format!("what {user} bought"), used, self.policy.max_user_turnover);
        }
        full
    }

    fn promised(&self, counts: impl Fn(&AccountId, &Pair) -> bool) -> Decimal {
        let working = self.working.values();
        working
            .filter(|working| counts(&working.account, &working.pair))
            .map(Working::left)
            .sum()
    }
}

/// An order of ours that the store which is there at last can know of, and what it was counted with.
fn sized<'t>(court: &Court<'t>, id: IntentId) -> Option<(IntentId, &'t Sizing)> {
    if court.unheard_of.contains(&id) {
        return None;
    }
    let mut lives = court.truth.lives.iter().rev();
    let intent = lives.find_map(|life| life.intents.get(&id))?;
    Some((id, intent.sizing.as_ref()?))
}

fn sell(lots: &mut Lots, mut quantity: Decimal) {
    while quantity > Decimal::ZERO {
        let Some(front) = lots.front_mut() else {
            return;
        };
        let part = front.0.min(quantity);
        front.0 -= part;
        quantity -= part;
        if front.0.is_zero() {
            lots.pop_front();
        }
    }
}

/// To cents, upwards.
fn cents(cost: Decimal) -> Decimal {
    cost.round_dp_with_strategy(2, RoundingStrategy::ToPositiveInfinity)
}

fn is_to_be_cancelled(life: &Segment, id: IntentId, seq: u64) -> bool {
    let mut records = life.trail.iter().filter(|record| record.seq <= seq);
    records.any(|record| record.action == Action::CancelRequested && record.subject.intent == Some(id))
}
