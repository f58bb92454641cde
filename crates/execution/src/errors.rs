//! Whose fault an error is, counted in windows: when too many come together, a switch trips.
//!
//! Only what the venue or the credential did counts. Our own refusals and local faults never do, so
//! that the consequences of a switch cannot feed it.

use bursar_broker::ErrorClass;
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_model::AccountId;
use jiff::{SignedDuration, Timestamp};

use crate::NewLatch;

/// How many errors of a kind, in how long a time, stop what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    pub count: u32,
    pub window: SignedDuration,
    pub mode: LatchMode,
}

/// The thresholds of an installation; see the settings `errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorPolicy {
    pub ambiguous: Threshold,
    pub auth: Threshold,
    pub nonce: Threshold,
}

impl Default for ErrorPolicy {
    fn default() -> Self {
        let minutes = SignedDuration::from_mins;
        Self {
            ambiguous: Threshold {
                count: 5,
                window: minutes(10),
                mode: LatchMode::ReduceOnly,
            },
            auth: Threshold {
                count: 2,
                window: minutes(10),
                mode: LatchMode::Halt,
            },
            nonce: Threshold {
                count: 3,
                window: SignedDuration::from_secs(60),
                mode: LatchMode::ReduceOnly,
            },
        }
    }
}

impl ErrorPolicy {
    /// `None` for classes that are not the account's fault and never stop it.
    pub const fn threshold(&self, class: ErrorClass) -> Option<Threshold> {
        match class {
            ErrorClass::Ambiguous => Some(self.ambiguous),
            ErrorClass::Auth => Some(self.auth),
            ErrorClass::Nonce => Some(self.nonce),
            // One contradiction is one too many.
            ErrorClass::Contract | ErrorClass::Security => Some(Threshold {
                count: 1,
                window: SignedDuration::from_secs(1),
                mode: LatchMode::Halt,
            }),
            ErrorClass::LocalFault
            | ErrorClass::Connect
            | ErrorClass::Business
            | ErrorClass::Rate
            | ErrorClass::VenueState => None,
        }
    }
}

/// The switch that errors of a class trip, given when they happened, the newest included.
pub fn judge(
    account: &AccountId,
    class: ErrorClass,
    happened: &[Timestamp],
    policy: &ErrorPolicy,
    now: Timestamp,
) -> Option<NewLatch> {
    let threshold = policy.threshold(class)?;
    let from = now.saturating_sub(threshold.window).unwrap_or(Timestamp::MIN);
    let count = happened.iter().filter(|at| **at >= from && **at <= now).count();
    let reached = u32::try_from(count).unwrap_or(u32::MAX) >= threshold.count;
    reached.then(|| NewLatch {
        scope: Scope::Account(account.clone()),
        mode: threshold.mode,
        cause: LatchCause::AutoDisable,
        reason: format!(
            "{count} errors of class `{class}` in {} s, threshold {}",
            threshold.window.as_secs(),
            threshold.count
        ),
        clear_rule: ClearRule::Manual,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn judged(class: ErrorClass, seconds: &[i64], now: i64) -> Option<NewLatch> {
        let happened: Vec<Timestamp> = seconds.iter().map(|second| at(*second)).collect();
        judge(
            &"kraken-ilves".parse().unwrap(),
            class,
            &happened,
            &ErrorPolicy::default(),
            at(now),
        )
    }

    #[test]
    fn d7_five_ambiguous_errors_in_ten_minutes_stop_entries() {
        assert!(judged(ErrorClass::Ambiguous, &[0, 1, 2, 3], 3).is_none());
        assert_eq!(
            judged(ErrorClass::Ambiguous, &[0, 1, 2, 3, 4], 4).unwrap().mode,
            LatchMode::ReduceOnly
        );
        assert!(judged(ErrorClass::Ambiguous, &[0, 1, 2, 3, 601], 601).is_none());
    }

    #[test]
    fn g11_a_key_that_is_refused_twice_is_halted() {
        assert_eq!(
            judged(ErrorClass::Auth, &[0, 1], 1).unwrap().mode,
            LatchMode::Halt
        );
    }

    #[test]
    fn i14_what_the_account_did_not_do_never_counts() {
        let many: Vec<i64> = (0..1000).map(|_| 0).collect();
        let stopping: Vec<ErrorClass> = ErrorClass::iter()
            .filter(|class| judged(*class, &many, 0).is_some())
            .collect();

        assert_eq!(
            stopping,
            [
                ErrorClass::Ambiguous,
                ErrorClass::Nonce,
                ErrorClass::Auth,
                ErrorClass::Contract,
                ErrorClass::Security
            ]
        );
    }
}
