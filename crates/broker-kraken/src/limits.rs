//! Kraken's two limits, modelled here so that they are not met there.
//!
//! A counter per key for readings, and a counter per account and pair for orders, where taking back
//! a young order is dear. Both fall with time. We stay below 80 % of either and keep a part for what
//! must always go: looking an order up, leaving a position, cancelling.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_model::{ClientOrderId, CredentialId, Pair};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};
use tokio::time::Instant;

/// How far Kraken has verified an account: decides its limits. Kraken does not tell, so it is a
/// setting. The figures are those of its guides: for readings, per key,
/// <https://docs.kraken.com/exchange/guides/rest/ratelimits>; for orders, per account and pair,
/// <https://docs.kraken.com/exchange/guides/general/ratelimits>. Of each at most 80 % is used.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum KrakenTier {
    /// Readings: 15 points, 0.33 back a second. Orders of a pair: 60 points, 1 back a second.
    #[default]
    Starter,
    /// Readings: 20 points, 0.5 back a second. Orders of a pair: 125 points, 2.34 back a second.
    Intermediate,
    /// Readings: 20 points, 1 back a second. Orders of a pair: 180 points, 3.75 back a second.
    Pro,
}

/// Thousandths of a point, and thousandths of a point per second.
struct Figures {
    reads_max: u64,
    reads_decay: u64,
    orders_max: u64,
    orders_decay: u64,
}

impl KrakenTier {
    const fn figures(self) -> Figures {
        match self {
            Self::Starter => Figures {
                reads_max: 15_000,
                reads_decay: 330,
                orders_max: 60_000,
                orders_decay: 1_000,
            },
            Self::Intermediate => Figures {
                reads_max: 20_000,
                reads_decay: 500,
                orders_max: 125_000,
                orders_decay: 2_340,
            },
            Self::Pro => Figures {
                reads_max: 20_000,
                reads_decay: 1_000,
                orders_max: 180_000,
                orders_decay: 3_750,
            },
        }
    }

    /// One look at orders and fills costs up to six points; they have to be back before the next.
    pub(crate) const fn sustainable_look(self) -> Duration {
        match self {
            Self::Starter => Duration::from_secs(18),
            Self::Intermediate => Duration::from_secs(12),
            Self::Pro => Duration::from_secs(6),
        }
    }

    /// How long to read nothing after Kraken said that it was too much.
    const fn pause(self) -> Duration {
        match self {
            Self::Starter => Duration::from_secs(15),
            Self::Intermediate => Duration::from_secs(10),
            Self::Pro => Duration::from_secs(5),
        }
    }
}

/// How much of a limit a request may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// 60 % for orders, less for readings.
    Ordinary,
    /// 80 %: for looking an order up, and for leaving a position.
    Reserved,
}

impl Share {
    fn of(self, max: u64) -> u64 {
        let tenths = match self {
            Self::Ordinary => 6,
            Self::Reserved => 8,
        };
        max.saturating_mul(tenths) / 10
    }
}

/// A level that requests raise and time lowers.
#[derive(Clone, Copy, Debug)]
struct Level {
    points: u64,
    at: Instant,
    closed_until: Instant,
}

impl Level {
    fn new(now: Instant) -> Self {
        Self {
            points: 0,
            at: now,
            closed_until: now,
        }
    }

    fn settle(&mut self, decay: u64, now: Instant) {
        // Whoever looked at the clock earlier and got the lock later takes nothing off that was taken off.
        let now = now.max(self.at);
        let elapsed = now.saturating_duration_since(self.at);
        let gone = u64::try_from(elapsed.as_micros())
            .unwrap_or(u64::MAX)
            .saturating_mul(decay)
            / 1_000_000;
        // A part of a thousandth is not lost: the moment moves only by what was taken off.
        let used = Duration::from_micros(gone.saturating_mul(1_000_000).div_ceil(decay.max(1)));
        self.points = self.points.saturating_sub(gone);
        self.at = later(self.at, used).min(now);
    }

    /// A longer pause that was asked for before holds.
    fn close_for(&mut self, pause: Duration, now: Instant) {
        self.closed_until = self.closed_until.max(later(now, pause));
    }

    /// Takes `cost`, or tells how long to wait for it.
    fn take(&mut self, cost: u64, cap: u64, decay: u64, now: Instant) -> Result<(), Duration> {
        self.settle(decay, now);
        let closed = self.closed_until.saturating_duration_since(now);
        let over = self.points.saturating_add(cost).saturating_sub(cap);
        let falling = Duration::from_millis(over.saturating_mul(1000).div_ceil(decay.max(1)));
        let wait = closed.max(falling);
        if wait.is_zero() {
            self.points = self.points.saturating_add(cost);
            Ok(())
        } else {
            Err(wait)
        }
    }
}

/// What is counted of one key. Kraken goes on counting when a connection is made anew, and so do we.
#[derive(Debug)]
pub(crate) struct KeyLimits {
    pub(crate) reads: ReadLimit,
    pub(crate) orders: OrderLimit,
}

/// Those of every key.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<(CredentialId, KrakenTier), Arc<KeyLimits>>>);

impl Counters {
    /// For a connection that is about to be made: its first complete look does not wait.
    pub(crate) fn of(&self, key: CredentialId, tier: KrakenTier, now: Instant) -> Arc<KeyLimits> {
        let mut counters = locked(&self.0);
        let limits = counters.entry((key, tier)).or_insert_with(|| {
            Arc::new(KeyLimits {
                reads: ReadLimit::new(tier, now),
                orders: OrderLimit::new(tier, now),
            })
        });
        limits.reads.open();
        Arc::clone(limits)
    }
}

/// Tenths of the limit that ordinary readings may use up.
const ORDINARY_READS: u64 = 4;

/// The counter of a key's readings.
#[derive(Debug)]
pub(crate) struct ReadLimit {
    tier: KrakenTier,
    reads: Mutex<Reads>,
}

#[derive(Debug)]
struct Reads {
    level: Level,
    /// What is left of the first complete look, which does not wait.
    opening: u64,
}

/// The rights of the key, orders three times, trades, balances.
const OPENING: u64 = 10_000;

impl ReadLimit {
    pub(crate) fn new(tier: KrakenTier, now: Instant) -> Self {
        Self {
            tier,
            reads: Mutex::new(Reads {
                level: Level::new(now),
                opening: OPENING,
            }),
        }
    }

    fn open(&self) {
        locked(&self.reads).opening = OPENING;
    }

    /// Takes `points` now, or tells how long to wait for them.
    ///
    /// Ordinary readings use 40 % only. A process that dies leaves its points behind at Kraken, and the
    /// one that takes over knows nothing of them: its first complete look has to fit on top.
    pub(crate) fn take(&self, points: u64, share: Share, now: Instant) -> Result<(), Duration> {
        let figures = self.tier.figures();
        let cost = points.saturating_mul(1000);
        let mut reads = locked(&self.reads);
        let opening = reads.opening >= cost;
        let cap = match share {
            Share::Ordinary if !opening => figures.reads_max.saturating_mul(ORDINARY_READS) / 10,
            Share::Ordinary | Share::Reserved => Share::Reserved.of(figures.reads_max),
        };
        reads.level.take(cost, cap, figures.reads_decay, now)?;
        reads.opening = reads.opening.saturating_sub(cost);
        Ok(())
    }

    /// How long what lookups took of their reserve may hold this reading up, beyond what others do.
    pub(crate) fn reserve_falls(&self, share: Share) -> Duration {
        let figures = self.tier.figures();
        let ordinary = figures.reads_max.saturating_mul(ORDINARY_READS) / 10;
        match share {
            Share::Ordinary => {
                let reserve = Share::Reserved.of(figures.reads_max).saturating_sub(ordinary);
                Duration::from_millis(reserve.saturating_mul(1000).div_ceil(figures.reads_decay))
            }
            Share::Reserved => Duration::ZERO,
        }
    }

    /// Kraken said that it was too much: its counter stands higher than ours.
    pub(crate) fn exceeded(&self, wait: Option<Duration>, now: Instant) -> Duration {
        let pause = self.tier.pause().max(wait.unwrap_or_default());
        let level = &mut locked(&self.reads).level;
        level.points = self.tier.figures().reads_max;
        level.at = now;
        level.close_for(pause, now);
        pause
    }
}

/// The counters of an account's orders, one per pair.
#[derive(Debug)]
pub(crate) struct OrderLimit {
    tier: KrakenTier,
    book: Mutex<OrderBook>,
}

#[derive(Debug)]
struct OrderBook {
    levels: BTreeMap<Pair, Level>,
    /// What a cancel costs depends on the order's age. Bounded: the oldest are forgotten, and an
    /// old order costs nothing to cancel.
    placed: VecDeque<(ClientOrderId, Pair, Instant)>,
    all_closed_until: Instant,
}

const REMEMBERED_ORDERS: usize = 1024;

impl OrderLimit {
    pub(crate) fn new(tier: KrakenTier, now: Instant) -> Self {
        Self {
            tier,
            book: Mutex::new(OrderBook {
                levels: BTreeMap::new(),
                placed: VecDeque::new(),
                all_closed_until: now,
            }),
        }
    }

    /// Takes the point of a new order, or tells how long to wait for it.
    pub(crate) fn place(&self, pair: &Pair, share: Share, now: Instant) -> Result<(), Duration> {
        let figures = self.tier.figures();
        let mut book = locked(&self.book);
        let all_closed = book.all_closed_until.saturating_duration_since(now);
        if !all_closed.is_zero() {
            return Err(all_closed);
        }
        book.level(pair, now)
            .take(1000, share.of(figures.orders_max), figures.orders_decay, now)
    }

    /// An order is, or may be, at the exchange since `now`.
    pub(crate) fn placed(&self, id: &ClientOrderId, pair: &Pair, now: Instant) {
        let mut book = locked(&self.book);
        if book.placed.len() >= REMEMBERED_ORDERS {
            book.placed.pop_front();
        }
        book.placed.push_back((id.clone(), pair.clone(), now));
    }

    /// A cancel always goes; what it costs is counted. Returns the order's pair, where the order is known.
    pub(crate) fn cancel(&self, id: &ClientOrderId, now: Instant) -> Option<Pair> {
        let decay = self.tier.figures().orders_decay;
        let mut book = locked(&self.book);
        let index = book.placed.iter().position(|(placed, ..)| placed == id)?;
        let (_, pair, placed_at) = book.placed.remove(index)?;
        let cost = cancel_points(now.saturating_duration_since(placed_at)).saturating_mul(1000);
        let level = book.level(&pair, now);
        level.settle(decay, now);
        level.points = level.points.saturating_add(cost);
        Some(pair)
    }

    /// Kraken said that too many orders work, of this pair or (`None`) of everything; how long to wait.
    pub(crate) fn too_many_open(
        &self,
        pair: Option<&Pair>,
        wait: Option<Duration>,
        now: Instant,
    ) -> Duration {
        let pause = wait.unwrap_or_default().max(Duration::from_secs(5));
        let mut book = locked(&self.book);
        match pair {
            Some(pair) => book.level(pair, now).close_for(pause, now),
            None => book.close_for(pause, now),
        }
        pause
    }

    /// Kraken said that it was too much, of this pair or (`None`) of everything; how long to wait.
    pub(crate) fn exceeded(&self, pair: Option<&Pair>, wait: Option<Duration>, now: Instant) -> Duration {
        let figures = self.tier.figures();
        let pause = wait.unwrap_or_default().max(Duration::from_secs(5));
        let mut book = locked(&self.book);
        match pair {
            Some(pair) => {
                let level = book.level(pair, now);
                level.points = figures.orders_max;
                level.at = now;
                level.close_for(pause, now);
                let above = figures
                    .orders_max
                    .saturating_sub(Share::Ordinary.of(figures.orders_max));
                pause.max(Duration::from_millis(
                    above.saturating_mul(1000) / figures.orders_decay,
                ))
            }
            None => {
                book.close_for(pause, now);
                pause
            }
        }
    }
}

impl OrderBook {
    /// A longer pause that was asked for before holds.
    fn close_for(&mut self, pause: Duration, now: Instant) {
        self.all_closed_until = self.all_closed_until.max(later(now, pause));
    }

    fn level(&mut self, pair: &Pair, now: Instant) -> &mut Level {
        self.levels.entry(pair.clone()).or_insert_with(|| Level::new(now))
    }
}

/// What it costs to take back an order of this age.
const fn cancel_points(age: Duration) -> u64 {
    match age.as_secs() {
        0..=4 => 8,
        5..=9 => 6,
        10..=14 => 5,
        15..=44 => 4,
        45..=89 => 2,
        90..=299 => 1,
        _ => 0,
    }
}

/// Public data: Kraken names no number, so a burst, and then so many requests a second.
#[derive(Debug)]
pub(crate) struct PublicLimit {
    burst: u64,
    per_second: u64,
    level: Mutex<Level>,
}

impl PublicLimit {
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self {
            burst: u64::from(burst.max(1)),
            per_second: u64::from(per_second.max(1)),
            level: Mutex::new(Level::new(now)),
        }
    }

    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let (burst, decay) = (
            self.burst.saturating_mul(1000),
            self.per_second.saturating_mul(1000),
        );
        locked(&self.level).take(1000, burst, decay, now)
    }

    pub(crate) fn exceeded(&self, wait: Duration, now: Instant) {
        locked(&self.level).close_for(wait, now);
    }
}

fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use bursar_testkit::schedules::{Task, every_schedule, turn};

    use super::*;

    fn pair() -> Pair {
        "BTC-USD".parse().unwrap()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// What Kraken's own counter would show at most: every point that was let through, and time that
    /// passed taking off at least what ours takes off. Tasks look at the clock before they get the lock,
    /// and by then it may be later for another.
    #[test]
    fn three_tasks_take_no_more_than_the_exchange_gives_whatever_their_turns() {
        let tier = KrakenTier::Starter;
        let figures = tier.figures();
        let schedules = every_schedule(|| {
            let start = Instant::now();
            let limit = Rc::new(ReadLimit::new(tier, start));
            let (step, clock, taken) = (seconds(20), Rc::new(Cell::new(start)), Rc::new(Cell::new(0_u64)));
            let task = || -> Task {
                let (limit, clock, taken) = (limit.clone(), clock.clone(), taken.clone());
                Box::pin(async move {
                    for _ in 0..3 {
                        clock.set(clock.get() + step);
                        let now = clock.get();
                        turn().await;
                        while limit.take(6, Share::Reserved, now).is_ok() {
                            taken.set(taken.get() + 6000);
                        }
                    }
                })
            };
            (vec![task(), task(), task()], move || {
                let passed = clock.get().saturating_duration_since(start);
                let given = Share::Reserved.of(figures.reads_max) + passed.as_secs() * figures.reads_decay;
                assert!(taken.get() <= given, "{} of {given}", taken.get());
            })
        });

        println!("{schedules} orders of turns");
        assert!(schedules >= 34_650, "{schedules}");
    }

    /// A limit whose first complete look is over, and paid for.
    fn settled(tier: KrakenTier, start: Instant) -> (ReadLimit, Instant) {
        let limit = ReadLimit::new(tier, start);
        limit.take(10, Share::Ordinary, start).unwrap();
        (limit, start + seconds(60))
    }

    #[test]
    fn the_first_complete_look_does_not_wait_and_leaves_room_for_a_lookup() {
        let start = Instant::now();
        let limit = ReadLimit::new(KrakenTier::Starter, start);

        for points in [1, 2, 2, 2, 2, 1] {
            limit.take(points, Share::Ordinary, start).unwrap();
        }
        assert!(limit.take(1, Share::Ordinary, start).is_err());
        assert!(limit.take(2, Share::Reserved, start).is_ok());
    }

    #[test]
    fn a_connection_that_is_made_anew_finds_what_the_last_one_used() {
        let (counters, tier, start) = (Counters::default(), KrakenTier::Starter, Instant::now());
        let key: CredentialId = "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap();
        let first = counters.of(key, tier, start);
        first.reads.take(10, Share::Ordinary, start).unwrap();
        let pause = first.orders.exceeded(None, None, start);

        let again = counters.of(key, tier, start);

        assert!(
            again.reads.take(3, Share::Ordinary, start).is_err(),
            "two are left"
        );
        assert!(again.reads.take(2, Share::Ordinary, start).is_ok());
        let refused = again.orders.place(&pair(), Share::Reserved, start);
        assert_eq!(refused, Err(pause));
        let other: CredentialId = "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse().unwrap();
        let untouched = counters.of(other, tier, start);
        assert!(untouched.reads.take(10, Share::Ordinary, start).is_ok());
        assert!(untouched.orders.place(&pair(), Share::Reserved, start).is_ok());
    }

    #[test]
    fn a_process_that_dies_leaves_room_for_the_first_look_of_the_next() {
        for tier in [KrakenTier::Intermediate, KrakenTier::Pro] {
            let (limit, now) = settled(tier, Instant::now());
            let mut left_behind = 0;
            while limit.take(1, Share::Ordinary, now).is_ok() {
                left_behind += 1_000;
            }

            assert!(left_behind + OPENING <= tier.figures().reads_max, "{tier:?}");
        }
    }

    #[test]
    fn readings_stop_at_their_share_and_lookups_may_go_on() {
        let (limit, start) = settled(KrakenTier::Starter, Instant::now());
        for _ in 0..6 {
            limit.take(1, Share::Ordinary, start).unwrap();
        }
        let wait = limit.take(1, Share::Ordinary, start).unwrap_err();

        // One point at a third of a point per second.
        assert_eq!(wait, Duration::from_millis(3031));
        limit.take(6, Share::Reserved, start).unwrap();
        assert!(limit.take(1, Share::Reserved, start).is_err());
        assert!(limit.take(1, Share::Reserved, start + wait).is_ok());
    }

    #[test]
    fn many_small_steps_of_time_add_up() {
        let (limit, start) = settled(KrakenTier::Starter, Instant::now());
        limit.take(6, Share::Ordinary, start).unwrap();
        for step in 1..=3031_u64 {
            let _ = limit.take(100, Share::Ordinary, start + Duration::from_millis(step));
        }

        assert!(
            limit
                .take(1, Share::Ordinary, start + Duration::from_millis(3032))
                .is_ok()
        );
    }

    #[test]
    fn after_too_much_nothing_is_read_for_a_while() {
        let start = Instant::now();
        let limit = ReadLimit::new(KrakenTier::Starter, start);

        assert_eq!(limit.exceeded(None, start), seconds(15));
        assert!(limit.take(1, Share::Reserved, start + seconds(14)).is_err());
        assert!(limit.take(1, Share::Reserved, start + seconds(16)).is_ok());
    }

    #[test]
    fn young_cancels_use_up_a_pair_and_exits_still_go() {
        let start = Instant::now();
        let limit = OrderLimit::new(KrakenTier::Starter, start);
        let id: ClientOrderId = "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap();
        for _ in 0..4 {
            limit.place(&pair(), Share::Ordinary, start).unwrap();
            limit.placed(&id, &pair(), start);
            limit.cancel(&id, start);
        }

        // Four orders and four cancels are 36 points; after a second 35 of the entries' 36 are left.
        let now = start + seconds(1);
        assert!(limit.place(&pair(), Share::Ordinary, now).is_ok());
        assert_eq!(limit.place(&pair(), Share::Ordinary, now), Err(seconds(1)));
        assert!(limit.place(&pair(), Share::Reserved, now).is_ok());
        assert!(
            limit
                .place(&"ETH-USD".parse().unwrap(), Share::Ordinary, now)
                .is_ok()
        );
    }

    #[test]
    fn a_cancel_costs_less_the_older_the_order() {
        let ages = [0, 4, 5, 9, 10, 14, 15, 44, 45, 89, 90, 299, 300];
        let points: Vec<u64> = ages.map(|age| cancel_points(seconds(age))).to_vec();

        assert_eq!(points, [8, 8, 6, 6, 5, 5, 4, 4, 2, 2, 1, 1, 0]);
    }

    #[test]
    fn a_family_of_accounts_that_is_over_its_limit_holds_every_pair() {
        let start = Instant::now();
        let limit = OrderLimit::new(KrakenTier::Pro, start);
        limit.exceeded(None, Some(seconds(7)), start);

        assert_eq!(
            limit.place(&pair(), Share::Reserved, start + seconds(6)),
            Err(seconds(1))
        );
        assert!(limit.place(&pair(), Share::Reserved, start + seconds(8)).is_ok());
    }

    #[test]
    fn public_data_come_once_a_second_after_a_burst() {
        let start = Instant::now();
        let limit = PublicLimit::new(2, 1, start);

        assert!(limit.take(start).is_ok() && limit.take(start).is_ok());
        assert_eq!(limit.take(start), Err(seconds(1)));
    }
}
