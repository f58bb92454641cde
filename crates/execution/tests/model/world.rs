//! One moment of a small world: the store, the processes on it, what is on the wire, and the exchange.
//!
//! Everything here is a plain value that can be copied and compared. What no decision asks any more is
//! forgotten at once ([`World::tidied`]), so that two moments that differ in nothing else are one.

use std::ops::{Index, IndexMut};

use bursar_broker::VenueOrderStatus;
use bursar_model::IntentState;

use crate::grid::Config;

/// The model's clock: so many [`TICK`](crate::gateway::TICK)s since the beginning.
pub(crate) type Tick = u8;

/// Which intent, or which process.
pub(crate) type Number = u8;

/// For each of two intents, or of two processes, one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Two<T>(pub(crate) [T; 2]);

impl<T> Index<Number> for Two<T> {
    type Output = T;
    fn index(&self, number: Number) -> &T {
        &self.0[usize::from(number)]
    }
}

impl<T> IndexMut<Number> for Two<T> {
    fn index_mut(&mut self, number: Number) -> &mut T {
        &mut self.0[usize::from(number)]
    }
}

/// Numbers the attempts of one intent, from 1: its token, and the number of its request.
pub(crate) type AttemptNumber = u8;

pub(crate) const MOST_ATTEMPTS: AttemptNumber = 2;
const ON_THE_WIRE: usize = 4;
const ANSWERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: Tick,
    pub(crate) rows: Two<Option<Row>>,
    /// When the switch was recorded, if it is on.
    pub(crate) switched_on: Option<Tick>,
    pub(crate) is_halted: bool,
    pub(crate) processes: Two<Process>,
    pub(crate) exchange: Two<AtExchange>,
    pub(crate) requests: [Option<Request>; ON_THE_WIRE],
    pub(crate) answers: [Option<Answer>; ANSWERS],
    /// The network delivers one request twice, and then no other.
    pub(crate) has_doubled: bool,
}

/// What the store has of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) state: IntentState,
    pub(crate) valid_until: Tick,
    /// The recorded attempt; its acceptance bound follows from when it was sent.
    pub(crate) attempt: Option<Attempt>,
    /// How many there were, the one that was taken back among them.
    pub(crate) attempts: AttemptNumber,
    pub(crate) cancel_wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Attempt {
    pub(crate) number: AttemptNumber,
    pub(crate) sent_at: Tick,
}

/// A process that has the store open, with what it forgets when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) is_up: bool,
    /// Whether its memory has the switch.
    pub(crate) knows_switch: bool,
    pub(crate) hands: Two<Hand>,
    /// The first look at the exchange that counts, while an intent is unknown.
    pub(crate) looks: Two<Option<Tick>>,
    /// When it made its last list of what works, if nothing of ours was on it, and it was judged.
    pub(crate) clean_list: Option<Tick>,
    /// When it made one on which nothing of ours was, and that is not judged yet.
    pub(crate) list_in_hand: Option<Tick>,
}

/// How far a process is with sending one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hand {
    Free,
    /// Read as approved; when it is to be sent is decided, and nothing is recorded.
    Picked {
        sent_at: Tick,
    },
    /// The attempt is recorded, and not one byte is written.
    Recorded {
        attempt: Attempt,
        valid_until: Tick,
        /// The switch was on before. Only for the oracle.
        under_switch: bool,
    },
    /// The request is written; its answer is waited for.
    Waiting {
        number: AttemptNumber,
    },
    /// Only with a defect: written, and not recorded.
    Unrecorded {
        attempt: Attempt,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Request {
    pub(crate) intent: Number,
    pub(crate) process: Number,
    pub(crate) attempt: Attempt,
    /// Since when the exchange holds it in its queue.
    pub(crate) queued_at: Option<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Answer {
    pub(crate) intent: Number,
    pub(crate) process: Number,
    pub(crate) number: AttemptNumber,
    pub(crate) said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Said {
    Accepted,
    /// Of the set that proves a refusal.
    Refused,
    /// Proves nothing: too late, a number that was used, an id that it has.
    Doubtful,
}

/// What the exchange has under the id of one intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AtExchange {
    /// How many orders it ever accepted.
    pub(crate) accepted: u8,
    /// How the last of them stands. What ended without a fill costs nothing.
    pub(crate) order: Option<VenueOrderStatus>,
    /// Its lists may leave the order out until then.
    pub(crate) hidden_until: Option<Tick>,
    /// Class A: an id is used up by the first decision on it.
    pub(crate) id_is_used: bool,
    /// Class B: request numbers that it has seen.
    pub(crate) numbers: Two<bool>,
}

impl World {
    pub(crate) fn at_the_beginning() -> Self {
        let process = Process {
            is_up: true,
            ..Process::killed()
        };
        let empty = AtExchange {
            accepted: 0,
            order: None,
            hidden_until: None,
            id_is_used: false,
            numbers: Two([false; 2]),
        };
        Self {
            now: 0,
            rows: Two([None; 2]),
            switched_on: None,
            is_halted: false,
            processes: Two([process; 2]),
            exchange: Two([empty; 2]),
            requests: [None; ON_THE_WIRE],
            answers: [None; ANSWERS],
            has_doubled: false,
        }
    }

    pub(crate) fn state(&self, intent: Number) -> Option<IntentState> {
        self.rows[intent].map(|row| row.state)
    }

    /// Changes the row, which is there.
    pub(crate) fn row(&mut self, intent: Number) -> &mut Row {
        self.rows[intent].as_mut().expect("an intent that was asked for")
    }

    pub(crate) fn hand(&mut self, process: Number, intent: Number) -> &mut Hand {
        &mut self.processes[process].hands[intent]
    }

    pub(crate) fn write(&mut self, request: Request) {
        let free = self.requests.iter_mut().find(|place| place.is_none());
        *free.expect("room for every attempt and a copy") = Some(request);
    }

    pub(crate) fn answer(&mut self, to: &Request, said: Said) {
        let answer = Answer {
            intent: to.intent,
            process: to.process,
            number: to.attempt.number,
            said,
        };
        if self.is_waited_for(&answer) {
            let free = self.answers.iter_mut().find(|place| place.is_none());
            *free.expect("room for every answer that is waited for") = Some(answer);
        }
    }

    fn is_waited_for(&self, answer: &Answer) -> bool {
        match self.processes[answer.process].hands[answer.intent] {
            Hand::Waiting { number } => number == answer.number,
            Hand::Unrecorded { attempt } => attempt.number == answer.number,
            Hand::Free | Hand::Picked { .. } | Hand::Recorded { .. } => false,
        }
    }

    /// The same moment without what nothing asks any more: of an order that is over its deadlines, of one that is
    /// not searched for the looks, of an account that is halted the lists, of the wire the order of its places, and answers for which nobody waits.
    pub(crate) fn tidied(mut self, config: &Config) -> Self {
        for place in 0..ANSWERS {
            if self.answers[place].is_some_and(|answer| !self.is_waited_for(&answer)) {
                self.answers[place] = None;
            }
        }
        self.requests.sort_unstable();
        self.answers.sort_unstable();
        if self.is_halted {
            for process in &mut self.processes.0 {
                process.clean_list = None;
                process.list_in_hand = None;
            }
        }
        for intent in 0..config.intents {
            let at_exchange = &mut self.exchange[intent];
            at_exchange.hidden_until = at_exchange.hidden_until.filter(|until| *until > self.now);
            let state = self.state(intent);
            if state != Some(IntentState::Unknown) {
                for process in &mut self.processes.0 {
                    process.looks[intent] = None;
                }
            }
            if let Some(row) = &mut self.rows[intent]
                && (row.state.is_terminal() || row.state == IntentState::Open)
            {
                row.attempt = None;
                row.cancel_wanted = false;
                row.valid_until = 0;
            }
        }
        self
    }
}

impl Process {
    pub(crate) const fn killed() -> Self {
        Self {
            is_up: false,
            knows_switch: false,
            hands: Two([Hand::Free; 2]),
            looks: Two([None; 2]),
            clean_list: None,
            list_in_hand: None,
        }
    }
}
