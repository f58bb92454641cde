//! The life of an intent as a table: from which state, by which event, to which state.
//!
//! The table is data. The store consults it inside the transaction that changes a row, the tests
//! compare it with what must be impossible, the self-check holds the audit trail to it, and
//! `docs/orders.md` is rendered from it.
//!
//! | word | meaning |
//! |---|---|
//! | intent | our durable record of one order that somebody wants |
//! | attempt | one request that carries it to the venue; there is at most one |
//! | reservation | what an unresolved intent holds of every limit |

use bursar_model::IntentState;
use strum::{Display, EnumIter, IntoStaticStr};

/// What can happen to an intent after it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Step {
    /// Its time to be sent passed.
    Expire,
    /// The caller, a switch, a lowered limit or a lost right took it back.
    Withdraw,
    /// The decision to send it is recorded; the request may be written from now on.
    Dispatch,
    /// Proved: not one byte of the request left this process.
    NotSent,
    /// The venue confirmed it, or it was found there.
    Accept,
    /// The venue proved that it refused the only attempt.
    Refuse,
    /// What became of the attempt cannot be told.
    Lose,
    /// The store came back from a copy: it may have been sent since that was made.
    Doubt,
    /// Proved absent: looked for completely, twice, after the venue could no longer accept it.
    ProveAbsent,
    /// Filled, and every fill is booked.
    Fill,
    /// Cancelled at the venue, and every fill is booked.
    Cancel,
    /// Expired at the venue, and every fill is booked.
    VenueExpire,
    /// The venue contradicts what was recorded.
    Contradict,
    /// Two people found: the venue never had it.
    ResolveAbsent,
    /// Two people found: the venue refused it.
    ResolveRejected,
    /// Two people found it at the venue; from here on it is followed like any other.
    ResolveOpen,
    /// Two people found: filled, and every fill is booked.
    ResolveFilled,
    /// Two people found: cancelled at the venue, and every fill is booked.
    ResolveCancelled,
    /// Two people found: expired at the venue, and every fill is booked.
    ResolveVenueExpired,
}

impl Step {
    /// Whether only people can take it, two of them.
    pub const fn is_by_people(self) -> bool {
        match self {
            Self::ResolveAbsent
            | Self::ResolveRejected
            | Self::ResolveOpen
            | Self::ResolveFilled
            | Self::ResolveCancelled
            | Self::ResolveVenueExpired => true,
            Self::Expire
            | Self::Withdraw
            | Self::Dispatch
            | Self::NotSent
            | Self::Accept
            | Self::Refuse
            | Self::Lose
            | Self::Doubt
            | Self::ProveAbsent
            | Self::Fill
            | Self::Cancel
            | Self::VenueExpire
            | Self::Contradict => false,
        }
    }
}

/// What a step does to the reservations of the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Reservation {
    /// They stay as they are.
    Kept,
    /// What is left of them is given back.
    Released,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The number by which `docs/orders.md` and tests name it, for example `T5`.
    pub number: &'static str,
    /// The state that the intent has to be in.
    pub from: IntentState,
    /// What happens to it.
    pub step: Step,
    /// The state that it is in afterwards.
    pub to: IntentState,
    /// What becomes of what it holds of the limits.
    pub reservation: Reservation,
    /// What must hold, looked at inside the transaction.
    pub guard: &'static str,
    /// What the transaction writes besides the state, the audit record and the event.
    pub writes: &'static str,
}

/// Where an intent comes from. Both ways are one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The number by which `docs/orders.md` and tests name it, for example `T1`.
    pub number: &'static str,
    /// The state that it begins in, or stays in.
    pub to: IntentState,
    /// What becomes of its reservations.
    pub reservation: &'static str,
    /// What must hold, looked at inside the transaction.
    pub guard: &'static str,
    /// What the transaction writes besides the audit record and the event.
    pub writes: &'static str,
}

/// The two ways in.
pub const BEGINNINGS: &[Beginning] = &[
    Beginning {
        number: "T1",
        to: IntentState::Approved,
        reservation: "taken",
        guard: "the caller may trade the account; no switch covers it; the account is ready; every rule passes; \
                what it claims of each limit still fits; the idempotency key is new",
        writes: "the intent, its canonical terms and their hash, the snapshot and the rule trace, until when it is \
                 good, the idempotency key, reservations",
    },
    Beginning {
        number: "T2",
        to: IntentState::Denied,
        reservation: "none",
        guard: "any guard of T1 is false",
        writes: "the intent with every broken rule, the snapshot",
    },
];

/// What changes an intent without changing its state.
pub const BOOKING: Beginning = Beginning {
    number: "T11",
    to: IntentState::Open,
    reservation: "move into the position",
    guard: "the execution was not booked before; pair and side are the order's",
    writes: "the execution, its double entry, lots, the filled quantity, the day's loss and its switch",
};

/// A moment in the life of an order at which something must be on disk before anything else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The name by which `docs/orders.md` has it, from `P0` on.
    pub name: &'static str,
    /// What happens there.
    pub what: &'static str,
    /// What may be relied on from then on.
    pub promise: &'static str,
}

/// The persistence points, in their order.
pub const POINTS: &[Point] = &[
    Point {
        name: "P0",
        what: "the caller proposes an order",
        promise: "nothing is promised",
    },
    Point {
        name: "P1",
        what: "T1 or T2 commits",
        promise: "the caller gets its answer only after this",
    },
    Point {
        name: "P2",
        what: "T5 commits",
        promise: "nothing is written to the venue before this",
    },
    Point {
        name: "P3",
        what: "the key is opened, the request signed, the clock compared with the acceptance bound and with how long \
               the order is good",
        promise: "too late means T7b: nothing left",
    },
    Point {
        name: "P4",
        what: "the request is written",
        promise: "from here on: accepted, proved refused, or unknown",
    },
    Point {
        name: "P5",
        what: "the answer is read and classified",
        promise: "what is not understood is unknown",
    },
    Point {
        name: "P6",
        what: "T6, T7, T7b or T8 commits",
        promise: "events are handed out only after this",
    },
    Point {
        name: "P7",
        what: "T11 commits",
        promise: "the checkpoint of the account moves only after this",
    },
    Point {
        name: "P8",
        what: "T12 commits",
        promise: "the order is over",
    },
];

struct Because {
    number: &'static str,
    guard: &'static str,
    writes: &'static str,
}

const fn because(number: &'static str, guard: &'static str, writes: &'static str) -> Because {
    Because {
        number,
        guard,
        writes,
    }
}

const fn row(
    from: IntentState,
    step: Step,
    to: IntentState,
    reservation: Reservation,
    because: &Because,
) -> Transition {
    Transition {
        number: because.number,
        from,
        step,
        to,
        reservation,
        guard: because.guard,
        writes: because.writes,
    }
}

const EXPIRE: Because = because("T3", "the moment until which it is good has passed", "-");
const WITHDRAW: Because = because(
    "T4",
    "asked for by the caller, or a switch, a lowered limit or a lost right forbids it",
    "the cause",
);
const DISPATCH: Because = because(
    "T5",
    "every guard of T1 again, with the recorded size; the stored terms have the stored hash; still good",
    "the attempt and its token, the acceptance bound",
);
const NOT_SENT: Because = because(
    "T7b",
    "said by the holder of the attempt's token, whose transport handed no byte to the kernel",
    "the attempt is taken back",
);
const ACCEPT: Because = because(
    "T6",
    "the venue confirmed it or lists it, with the recorded terms, under one id that no other order has",
    "the venue's id; executions that came earlier",
);
const REFUSE: Because = because(
    "T7",
    "the answer is in the profile's set of proved refusals, to the only attempt",
    "the venue's code",
);
const LOSE: Because = because(
    "T8",
    "any other ending: a time-out, a broken connection, an odd answer, a crash found at the start",
    "the cause",
);
const DOUBT: Because = because(
    "T8b",
    "the store was put back from a backup that was made before it was sent or ended",
    "the cause; the acceptance bound when its account connects",
);
const PROVE_ABSENT: Because = because(
    "T10",
    "two complete negative looks, apart, both after the acceptance bound and the visibility lag, within the \
     venue's memory",
    "the evidence",
);
const END: Because = because(
    "T12",
    "the venue ended it, and the booked executions are as much as the venue filled",
    "-",
);
const CONTRADICT: Because = because(
    "T13",
    "other terms at the venue, two venue orders for one id, more filled than ordered, an order that was never \
     sent, terms that do not have their hash, executions that do not fit; or, for a quarter of an hour, a \
     working order that no list of the venue shows, or one that ended of which it tells other executions than it \
     says there were",
    "the facts; a switch that halts the account",
);
const NEVER_THERE: Because = because(
    "T14",
    "two people with evidence; no id at the venue is known, nothing is filled or booked, and the venue cannot \
     accept it any more",
    "who, why, the evidence",
);
const FOUND: Because = because(
    "T14",
    "two people with evidence; its id at the venue, which no other order has",
    "who, why, the evidence; the venue's id; executions that came earlier",
);
const ENDED: Because = because(
    "T14",
    "two people with evidence; its id at the venue; the executions that are booked, or that no book can take, are as \
     much as the venue filled, and fit the word: all of it for filled. Those of another pair or side are not counted: \
     where there are any, where it became an incident because the venue never told all, or where the account cannot \
     be read, the amounts need not agree, and the people are shown both",
    "who, why, the evidence; which executions no book can take",
);
const ENDED_UNREAD: Because = because(
    "T14",
    "as for an incident, and only while a daemon cannot connect the account, and has not read it for an hour: else it \
     is cancelled, and read to its end",
    "who, why, the evidence",
);

/// Every transition there is. What is not here cannot happen.
pub const TRANSITIONS: &[Transition] = {
    use IntentState::{
        Absent, Approved, Cancelled, Dispatching, Expired, Filled, Incident, Open, Rejected, Unknown,
        VenueExpired, Withdrawn,
    };
    use Reservation::{Kept, Released};
    &[
        row(Approved, Step::Expire, Expired, Released, &EXPIRE),
        row(Approved, Step::Withdraw, Withdrawn, Released, &WITHDRAW),
        row(Approved, Step::Dispatch, Dispatching, Kept, &DISPATCH),
        row(Dispatching, Step::Accept, Open, Kept, &ACCEPT),
        row(Unknown, Step::Accept, Open, Kept, &ACCEPT),
        row(Dispatching, Step::Refuse, Rejected, Released, &REFUSE),
        row(Dispatching, Step::NotSent, Approved, Kept, &NOT_SENT),
        row(Dispatching, Step::Lose, Unknown, Kept, &LOSE),
        row(Approved, Step::Doubt, Unknown, Kept, &DOUBT),
        row(Unknown, Step::ProveAbsent, Absent, Released, &PROVE_ABSENT),
        row(Open, Step::Fill, Filled, Released, &END),
        row(Open, Step::Cancel, Cancelled, Released, &END),
        row(Open, Step::VenueExpire, VenueExpired, Released, &END),
        // An order at the venue that was never sent: a copy of the store's file was put in its place.
        row(Approved, Step::Contradict, Incident, Kept, &CONTRADICT),
        row(Dispatching, Step::Contradict, Incident, Kept, &CONTRADICT),
        row(Unknown, Step::Contradict, Incident, Kept, &CONTRADICT),
        row(Open, Step::Contradict, Incident, Kept, &CONTRADICT),
        row(Unknown, Step::ResolveAbsent, Absent, Released, &NEVER_THERE),
        row(Unknown, Step::ResolveRejected, Rejected, Released, &NEVER_THERE),
        row(Unknown, Step::ResolveOpen, Open, Kept, &FOUND),
        row(Open, Step::ResolveFilled, Filled, Released, &ENDED_UNREAD),
        row(Open, Step::ResolveCancelled, Cancelled, Released, &ENDED_UNREAD),
        row(
            Open,
            Step::ResolveVenueExpired,
            VenueExpired,
            Released,
            &ENDED_UNREAD,
        ),
        row(Incident, Step::ResolveAbsent, Absent, Released, &NEVER_THERE),
        row(Incident, Step::ResolveRejected, Rejected, Released, &NEVER_THERE),
        row(Incident, Step::ResolveOpen, Open, Kept, &FOUND),
        row(Incident, Step::ResolveFilled, Filled, Released, &ENDED),
        row(Incident, Step::ResolveCancelled, Cancelled, Released, &ENDED),
        row(
            Incident,
            Step::ResolveVenueExpired,
            VenueExpired,
            Released,
            &ENDED,
        ),
    ]
};

/// Whether some row leads from one state to the other.
pub fn leads(from: IntentState, to: IntentState) -> bool {
    TRANSITIONS.iter().any(|row| row.from == from && row.to == to)
}

/// A step that must not happen in that state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {from} cannot go through `{step}`")]
pub struct Forbidden {
    /// The state that the intent is in.
    pub from: IntentState,
    /// What was to happen to it.
    pub step: Step,
}

/// Looks the step up. A step that does not belong to the state changes nothing: read again and stop.
///
/// # Errors
///
/// [`Forbidden`] for a step that the table does not have.
pub fn transition(from: IntentState, step: Step) -> Result<Transition, Forbidden> {
    TRANSITIONS
        .iter()
        .find(|row| row.from == from && row.step == step)
        .copied()
        .ok_or(Forbidden { from, step })
}

#[cfg(test)]
mod tests;
