//! Whose fault an error is, counted in windows: when too many come together, a switch trips.
//!
//! Only what the venue or the credential did counts. Our own refusals and local faults never do, so
//! that the consequences of a switch cannot feed it.

use bursar_broker::{ErrorClass, ReadError};
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_model::{AccountId, BrokerId};
use jiff::{SignedDuration, Timestamp};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::{Journal, JournalError, NewLatch};

/// What kind of request met an error. A clear answer clears what was counted in a row of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RequestKind {
    /// An order was sent.
    Place,
    /// A cancel was sent.
    Cancel,
    /// Orders, fills, balances or the key's rights were asked for.
    Read,
}

/// How many errors of a kind, in how long a time, stop what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// So many errors, or more.
    pub count: u32,
    /// Within this time, up to the newest.
    pub window: SignedDuration,
    /// What the switch lets through.
    pub mode: LatchMode,
}

/// The thresholds of an installation; see the settings `errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// Of [`ErrorClass::Ambiguous`].
    pub ambiguous: Threshold,
    /// Of [`ErrorClass::Auth`].
    pub auth: Threshold,
    /// Of [`ErrorClass::Nonce`].
    pub nonce: Threshold,
    /// So many ambiguous answers in a row to the same kind of request, however long that takes.
    pub ambiguous_row: u32,
    /// So many refusals of the venue for what orders ask, in the window of ambiguous ones, are reported.
    pub business_alarm: u32,
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
            ambiguous_row: 5,
            business_alarm: 10,
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
            ErrorClass::LocalDeny
            | ErrorClass::LocalFault
            | ErrorClass::Connect
            | ErrorClass::Business
            | ErrorClass::Rate
            | ErrorClass::VenueState => None,
        }
    }

    /// How many in a row of the same kind of request stop the account; `None` for classes of which only
    /// those in the window count.
    pub const fn row(&self, class: ErrorClass) -> Option<u32> {
        match class {
            ErrorClass::Ambiguous => Some(self.ambiguous_row),
            // A connection that is tried rarely is refused rarely.
            ErrorClass::Auth => Some(self.auth.count),
            _ => None,
        }
    }

    /// Whether the last of so many refusals in the window is to be reported: once, as the line is crossed.
    pub const fn alarms(&self, class: ErrorClass, in_window: u32) -> bool {
        matches!(class, ErrorClass::Business) && in_window == self.business_alarm
    }

    /// The window over which errors of a class are counted.
    pub fn window(&self, class: ErrorClass) -> Option<SignedDuration> {
        match class {
            ErrorClass::Business => Some(self.ambiguous.window),
            class => self.threshold(class).map(|threshold| threshold.window),
        }
    }
}

/// Whose errors are judged.
#[derive(Clone, Copy, Debug)]
pub struct Offender<'a> {
    /// Whose switch trips, but for a venue that is not the one it should be.
    pub account: &'a AccountId,
    /// Whose switch trips then.
    pub broker: &'a BrokerId,
}

/// The errors of one class, the newest included.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// The class of all of them.
    pub class: ErrorClass,
    /// When they happened that nobody has reset.
    pub happened: &'a [Timestamp],
    /// How many in a row of the same kind of request, without a clear answer between.
    pub in_a_row: u32,
}

/// How many happened in the window that ends now.
pub fn in_window(happened: &[Timestamp], window: SignedDuration, now: Timestamp) -> u32 {
    let from = now.saturating_sub(window).unwrap_or(Timestamp::MIN);
    let count = happened.iter().filter(|at| **at >= from && **at <= now).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The switch that errors of a class trip, if they are too many. A venue that is not the one it should
/// be is nobody's account's fault: that stops the broker.
pub fn judge(
    offender: Offender<'_>,
    met: &Met<'_>,
    policy: &ErrorPolicy,
    now: Timestamp,
) -> Option<NewLatch> {
    let threshold = policy.threshold(met.class)?;
    let count = in_window(met.happened, threshold.window, now);
    let row = policy.row(met.class).filter(|row| met.in_a_row >= *row);
    let reason = if count >= threshold.count {
        format!(
            "{count} errors of class `{}` in {} s, threshold {}",
            met.class,
            threshold.window.as_secs(),
            threshold.count
        )
    } else {
        format!(
            "{} errors of class `{}` in a row, threshold {}",
            met.in_a_row, met.class, row?
        )
    };
    Some(NewLatch {
        scope: match met.class {
            ErrorClass::Security => Scope::Broker(offender.broker.clone()),
            _ => Scope::Account(offender.account.clone()),
        },
        mode: threshold.mode,
        cause: LatchCause::AutoDisable,
        reason,
        clear_rule: ClearRule::Manual,
    })
}

/// Counts a reading that failed, where that says something of the account's key or of who answered: a refused key, a
/// request number that was used, an exchange that is not itself. That nothing could be read says nothing of an order;
/// the account is degraded meanwhile, and the breaker of its broker counts it.
///
/// # Errors
///
/// When it cannot be recorded.
pub async fn note_reading(
    journal: &dyn Journal,
    account: &AccountId,
    error: &ReadError,
    now: Timestamp,
) -> Result<(), JournalError> {
    let class = error.class();
    let code = match error {
        ReadError::Refused { code, .. } => code.clone(),
        other if matches!(class, ErrorClass::Nonce | ErrorClass::Security) => other.to_string(),
        ReadError::TryAgain { .. } | ReadError::Unreadable { .. } => return Ok(()),
    };
    journal
        .note_error(account, RequestKind::Read, class, &code, now)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn judged(class: ErrorClass, seconds: &[i64], now: i64) -> Option<NewLatch> {
        judged_with(class, seconds, 0, now)
    }

    fn judged_with(class: ErrorClass, seconds: &[i64], in_a_row: u32, now: i64) -> Option<NewLatch> {
        let happened: Vec<Timestamp> = seconds.iter().map(|second| at(*second)).collect();
        let offender = Offender {
            account: &"kraken-ilves".parse().unwrap(),
            broker: &"kraken".parse().unwrap(),
        };
        let met = Met {
            class,
            happened: &happened,
            in_a_row,
        };
        judge(offender, &met, &ErrorPolicy::default(), at(now))
    }

    #[test]
    fn five_ambiguous_answers_in_a_row_stop_entries_however_slowly_they_come() {
        assert!(judged_with(ErrorClass::Ambiguous, &[90_000], 4, 90_000).is_none());
        let latch = judged_with(ErrorClass::Ambiguous, &[90_000], 5, 90_000).unwrap();
        assert_eq!(latch.mode, LatchMode::ReduceOnly);
        assert_eq!(
            latch.reason,
            "5 errors of class `ambiguous` in a row, threshold 5"
        );
        assert!(judged_with(ErrorClass::Nonce, &[90_000], 5, 90_000).is_none());
    }

    #[test]
    fn a_venue_that_is_not_the_one_it_should_be_stops_the_broker() {
        let latch = judged(ErrorClass::Security, &[0], 0).unwrap();
        assert_eq!(
            (latch.scope.to_string().as_str(), latch.mode),
            ("broker:kraken", LatchMode::Halt)
        );
        let latch = judged(ErrorClass::Contract, &[0], 0).unwrap();
        assert_eq!(
            (latch.scope.to_string().as_str(), latch.mode),
            ("account:kraken-ilves", LatchMode::Halt)
        );
    }

    #[test]
    fn refused_orders_are_reported_once_as_the_line_is_crossed() {
        let policy = ErrorPolicy::default();
        let reported: Vec<u32> = (0..30)
            .filter(|count| policy.alarms(ErrorClass::Business, *count))
            .collect();

        assert_eq!(reported, [10]);
        assert!(ErrorClass::iter().all(|class| class == ErrorClass::Business || !policy.alarms(class, 10)));
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
    fn g11_a_key_that_is_refused_at_every_connect_is_halted_however_rarely_that_is_tried() {
        assert!(judged_with(ErrorClass::Auth, &[90_000], 1, 90_000).is_none());
        let latch = judged_with(ErrorClass::Auth, &[90_000], 2, 90_000).unwrap();
        assert_eq!(latch.mode, LatchMode::Halt);
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
