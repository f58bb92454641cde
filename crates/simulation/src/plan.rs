use bursar_model::{AccountId, BrokerId, UserId};
use jiff::Timestamp;

use crate::defect::Defect;
use crate::random::Random;
use crate::venue::Class;
use crate::weather::Rates;

/// What a seed decides about a world before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) brokers: Vec<(BrokerId, Class)>,
    pub(crate) accounts: Vec<(AccountId, UserId, BrokerId)>,
    pub(crate) users: Vec<UserId>,
    /// Processes with desks for all accounts.
    pub(crate) daemons: usize,
    /// Orders that are asked for.
    pub(crate) orders: usize,
    pub(crate) rates: Rates,
    /// Whether accounts also trade what is paid for in euros and bitcoins.
    pub(crate) has_currencies: bool,
    /// Whether the lists of ended orders leave out what was cancelled: only who asks for an order is told.
    pub(crate) leaves_out: bool,
    /// Whether so few readings are allowed that each waits for its turn.
    pub(crate) reads_slowly: bool,
    /// Whether an older copy of the store is put back once.
    pub(crate) is_put_back: bool,
    pub(crate) has_faults: bool,
    pub(crate) begins: Begins,
    pub(crate) defect: Option<Defect>,
}

/// When a world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// Far from any day's end.
    Morning,
    /// It does not live until midnight, but a clock that is an hour ahead shows the next day.
    Evening,
    /// The day ends while it lives.
    Midnight,
}

impl Begins {
    pub(crate) fn at(self) -> Timestamp {
        let text = match self {
            Self::Morning => "2026-03-02T09:00:00Z",
            Self::Evening => "2026-03-02T23:20:00Z",
            Self::Midnight => "2026-03-02T23:58:30Z",
        };
        text.parse().unwrap()
    }
}

impl Plan {
    pub(crate) fn of(seed: u64, defect: Option<Defect>) -> Self {
        let random = Random::stream(seed, "plan");
        let brokers = brokers(&random, defect);
        let users: Vec<UserId> = ["mara_ilves", "tomas_brandt", "ops_desk"]
            .iter()
            .map(|user| user.parse().unwrap())
            .collect();
        let owners = [0, 0, 1, 1, 2, 0];
        let accounts = owners
            .iter()
            .enumerate()
            .map(|(number, owner)| {
                let (broker, _) = &brokers[number % brokers.len()];
                let id = format!("{broker}-{number}").parse().unwrap();
                (id, users[*owner].clone(), broker.clone())
            })
            .collect();
        let daemons = 1 + usize::from(random.chance(500));
        Self {
            seed,
            brokers,
            accounts,
            users,
            daemons,
            orders: usize::try_from(random.between(200, 240)).unwrap_or(200),
            rates: rates(&random),
            // Of its own: the others are as they were before there were any.
            has_currencies: defect == Some(Defect::DearerStays)
                || Random::stream(seed, "currencies").chance(333),
            leaves_out: Random::stream(seed, "lists").chance(150),
            reads_slowly: Random::stream(seed, "readings").chance(150),
            is_put_back: random.chance(250),
            has_faults: true,
            begins: match random.below(10) {
                0 | 1 => Begins::Midnight,
                2 | 3 => Begins::Evening,
                _ => Begins::Morning,
            },
            defect,
        }
    }

    /// Good weather and one process: what must work before anything else is asked.
    pub(crate) fn without_faults(mut self) -> Self {
        self.rates = Rates::default();
        self.has_faults = false;
        self.leaves_out = false;
        self.reads_slowly = false;
        self.is_put_back = false;
        self.daemons = 1;
        self
    }
}

fn brokers(random: &Random, defect: Option<Defect>) -> Vec<(BrokerId, Class)> {
    let b = ("kraken".parse().unwrap(), Class::OpenOnly);
    let a = ("coinbase".parse().unwrap(), Class::Lifetime);
    let c = ("unbound".parse().unwrap(), Class::Nothing);
    match random.below(4) {
        // A defect that needs an exchange without guarantees needs one in every world.
        _ if defect == Some(Defect::ResendWithoutGuarantees) => vec![c],
        0 | 1 => vec![b],
        2 => vec![b, a],
        _ => vec![b, c],
    }
}

fn rates(random: &Random) -> Rates {
    // Some worlds are calm in one respect and wild in another.
    let some = |most: u64| if random.chance(300) { 0 } else { random.below(most) };
    Rates {
        refuse_connection: some(60),
        lose_request: some(80),
        lose_answer: some(80),
        garble_answer: some(20),
        slow_answer: some(100),
        slow_queue: some(100),
        deliver_twice: some(60),
        throttle: some(40),
        refuse: some(40),
        lag: some(400),
        stay_behind: 100,
        read_fails: some(40),
        jumble_fills: some(300),
        tamper: if random.chance(100) { 30 } else { 0 },
        slow_disk: some(60),
    }
}
