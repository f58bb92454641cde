//! The worlds that are searched: which exchange, how many processes and intents, and what may go wrong.

use crate::defect::Defect;
use crate::world::{Number, Tick};

/// What an exchange promises of the ids of orders (`docs/safety.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A: an id is refused for ever after it was used. A request is looked at when it comes in, and may then wait
    /// in a queue.
    Lifetime,
    /// B: an id is refused while an order under it works, and an order is accepted by its deadline or not at all.
    OpenOnly,
    /// C: nothing.
    Nothing,
}

/// How long class A holds a request after it looked at its age.
pub(crate) const QUEUE: Tick = 1;

impl Class {
    /// From the recorded attempt until it cannot be accepted any more; `None` where that is never.
    pub(crate) const fn acceptance(self) -> Option<Tick> {
        match self {
            Self::Lifetime => Some(1 + QUEUE),
            Self::OpenOnly => Some(1),
            Self::Nothing => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) intents: Number,
    pub(crate) processes: Number,
    /// Whether somebody may turn a switch on.
    pub(crate) switch: bool,
    /// Whether the network may deliver a request twice.
    pub(crate) doubling: bool,
    /// For how long the exchange's lists may leave out what it did.
    pub(crate) lag: Tick,
    /// The last tick of the clock.
    pub(crate) horizon: Tick,
    pub(crate) defect: Option<Defect>,
}

const ONE_ORDER: Config = Config {
    name: "",
    class: Class::OpenOnly,
    intents: 1,
    processes: 1,
    switch: true,
    doubling: false,
    lag: 1,
    horizon: 0,
    defect: None,
};

/// The protocol as it is. `horizon` is that of one order and one process; what multiplies moments has less time, and
/// where none is left the world is left out.
pub(crate) fn protocol(horizon: Tick) -> Vec<Config> {
    let two_processes = Config {
        processes: 2,
        ..ONE_ORDER
    };
    let two_orders = Config {
        intents: 2,
        switch: false,
        ..ONE_ORDER
    };
    let a = |plain| Config {
        class: Class::Lifetime,
        ..plain
    };
    // What is delivered twice there is two orders, whatever the gateway does.
    let c = |plain| Config {
        class: Class::Nothing,
        doubling: false,
        ..plain
    };
    let doubled = |plain| Config {
        doubling: true,
        ..plain
    };
    let lagging_by = |lag| Config { lag, ..ONE_ORDER };
    let everything = Config {
        switch: true,
        processes: 2,
        ..two_orders
    };
    [
        ("A: one order", 0, a(ONE_ORDER)),
        ("B: one order", 0, ONE_ORDER),
        ("C: one order", 0, c(ONE_ORDER)),
        ("B: lists that lag by three", 0, lagging_by(3)),
        ("B: lists that do not lag", 0, lagging_by(0)),
        ("A: requests that come twice", 2, a(doubled(ONE_ORDER))),
        ("B: requests that come twice", 2, doubled(ONE_ORDER)),
        ("A: two orders, a limit of one", 2, a(two_orders)),
        ("B: two orders, a limit of one", 2, two_orders),
        ("A: two processes", 3, a(two_processes)),
        ("B: two processes", 3, two_processes),
        ("C: two processes", 3, c(two_processes)),
        (
            "B: two processes, requests that come twice",
            4,
            doubled(two_processes),
        ),
        ("B: two orders, two processes", 7, everything),
    ]
    .into_iter()
    .filter_map(|(name, less, config)| {
        Some(Config {
            name,
            horizon: horizon.checked_sub(less)?,
            ..config
        })
    })
    .collect()
}

/// The smallest world in which the defect shows as everything that it has to be found as.
pub(crate) fn defective(defect: Defect) -> Config {
    let plain = Config {
        switch: false,
        horizon: 5,
        defect: Some(defect),
        ..ONE_ORDER
    };
    match defect {
        Defect::RecordAfterSend | Defect::ResendOnTimeout | Defect::TimeoutIsNotSent => plain,
        Defect::OneLookCloses | Defect::LimitsIgnoreUnresolved => Config { intents: 2, ..plain },
        Defect::RefusedRetryCloses | Defect::FirstBound => Config {
            class: Class::Lifetime,
            lag: 0,
            ..plain
        },
        Defect::LatchAtAdmissionOnly | Defect::OneSweepHalts => Config {
            switch: true,
            ..plain
        },
        Defect::StaleRead => Config {
            processes: 2,
            ..plain
        },
        Defect::ResendWithoutGuarantees => Config {
            class: Class::Nothing,
            ..plain
        },
        Defect::IgnoresReadLag => Config { lag: 3, ..plain },
    }
}
