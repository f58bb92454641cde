//! Proof of absence: the only way by which an order that was perhaps sent is declared not placed.
//!
//! A single "not found" proves nothing. Venues answer from replicas, and may hold a request in a
//! queue. What proves is this: the venue's own clock has passed the last moment at which it could
//! accept the attempt, and after that two complete looks, apart from each other, found nothing.

use bursar_broker::BrokerProfile;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clocks::{later, signed};
use crate::halting::visible_from;

/// How far apart the two looks are at least.
const APART: SignedDuration = SignedDuration::from_secs(10);

/// One complete look at the venue that did not find the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NegativeLook {
    /// The venue's time before the look began, as the venue told it.
    pub venue_time: Timestamp,
    /// Our time when the look began.
    pub started_at: Timestamp,
}

/// Two looks that together prove that an order never reached the venue's book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsenceEvidence {
    /// After this the venue cannot have accepted the attempt, in its own time.
    pub acceptance_bound: Timestamp,
    /// The first look that began after the bound and the venue's visibility lag.
    pub first: NegativeLook,
    /// At least ten seconds after the first, by the venue's clock and by ours.
    pub second: NegativeLook,
}

/// What a collection of looks amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It is not there and will not come: the order may be ended as absent.
    Proved(AbsenceEvidence),
    /// Look again, not before this moment of the venue's time.
    NotYet {
        /// In the venue's time.
        next_look: Timestamp,
    },
    /// The attempt is older than the venue's lists reach: only a person can decide.
    OutOfReach,
}

/// The first moment, in the venue's time, at which a look counts.
pub fn counts_from(acceptance_bound: Timestamp, profile: &BrokerProfile) -> Timestamp {
    visible_from(acceptance_bound, profile.visibility_lag)
}

/// Judges the negative looks made so far, oldest first.
pub fn judge(
    dispatched_at: Timestamp,
    acceptance_bound: Timestamp,
    looks: &[NegativeLook],
    profile: &BrokerProfile,
) -> Absence {
    let from = counts_from(acceptance_bound, profile);
    let mut counting = looks.iter().filter(|look| look.venue_time > from);
    let Some(first) = counting.next() else {
        return Absence::NotYet { next_look: from };
    };
    let retention_ends = later(dispatched_at, signed(profile.retention));
    let apart = later(first.venue_time, APART);
    // Apart by both clocks: a venue's clock that leaps is no proof of time passed.
    let passed = later(first.started_at, APART);
    match counting.find(|look| look.venue_time >= apart && look.started_at >= passed) {
        Some(second) if second.venue_time < retention_ends => Absence::Proved(AbsenceEvidence {
            acceptance_bound,
            first: *first,
            second: *second,
        }),
        Some(_) => Absence::OutOfReach,
        None => Absence::NotYet { next_look: apart },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use bursar_broker::IdUniqueness;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn profile() -> BrokerProfile {
        BrokerProfile {
            broker: "kraken".parse().unwrap(),
            id_uniqueness: IdUniqueness::OpenOrders,
            acceptance: Duration::from_secs(5),
            visibility_lag: Duration::from_secs(30),
            sustainable_look: Duration::ZERO,
            retention: Duration::from_secs(24 * 3600),
            client_order_id: |intent| intent.to_string().parse().unwrap(),
        }
    }

    fn look(second: i64) -> NegativeLook {
        NegativeLook {
            venue_time: at(second),
            started_at: at(second),
        }
    }

    fn judged(looks: &[NegativeLook]) -> Absence {
        judge(at(0), at(5), looks, &profile())
    }

    #[test]
    fn looks_before_the_bound_and_the_lag_prove_nothing() {
        let early: Vec<NegativeLook> = (0..=37).map(look).collect();

        assert_eq!(judged(&early), Absence::NotYet { next_look: at(37) });
    }

    #[test]
    fn one_look_proves_nothing() {
        assert_eq!(judged(&[look(38)]), Absence::NotYet { next_look: at(48) });
    }

    #[test]
    fn two_looks_too_close_together_prove_nothing() {
        assert_eq!(
            judged(&[look(38), look(47)]),
            Absence::NotYet { next_look: at(48) }
        );
    }

    #[test]
    fn a_venues_clock_that_leaps_does_not_make_two_looks_apart() {
        let leapt = NegativeLook {
            venue_time: at(100),
            started_at: at(40),
        };

        assert_eq!(judged(&[look(38), leapt]), Absence::NotYet { next_look: at(48) });
    }

    #[test]
    fn two_looks_apart_prove() {
        let Absence::Proved(evidence) = judged(&[look(10), look(38), look(40), look(48)]) else {
            panic!("not proved")
        };

        assert_eq!((evidence.first, evidence.second), (look(38), look(48)));
    }

    #[test]
    fn beyond_the_venues_memory_only_a_person_decides() {
        assert_eq!(judged(&[look(38), look(24 * 3600)]), Absence::OutOfReach);
    }
}
