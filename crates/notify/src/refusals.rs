//! Suspicious activity: somebody is refused many times in a short time.

use std::collections::{BTreeMap, VecDeque};

use bursar_model::AccountId;
use jiff::{SignedDuration, Timestamp};

/// So long refusals are counted together.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// So many accounts are counted at a time; the one that was quiet longest is forgotten first.
const ACCOUNTS: usize = 10_000;

/// Counts refusals of each account. In memory: a restart begins anew.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    threshold: u32,
    counted: BTreeMap<AccountId, VecDeque<Timestamp>>,
}

impl Refusals {
    /// So many within ten minutes are suspicious; zero: never.
    pub const fn new(threshold: u32) -> Self {
        Self {
            threshold,
            counted: BTreeMap::new(),
        }
    }

    /// Counts one. Answers with the number when it becomes suspicious with this one; then it counts anew.
    pub fn count(&mut self, account: &AccountId, at: Timestamp) -> Option<u32> {
        let threshold = usize::try_from(self.threshold)
            .ok()
            .filter(|threshold| *threshold > 0)?;
        if !self.counted.contains_key(account) && self.counted.len() >= ACCOUNTS {
            let quiet = self.counted.iter().min_by_key(|(_, times)| times.back().copied());
            if let Some(quiet) = quiet.map(|(account, _)| account.clone()) {
                self.counted.remove(&quiet);
            }
        }
        let times = self.counted.entry(account.clone()).or_default();
        times.push_back(at);
        while times
            .front()
            .is_some_and(|first| at.duration_since(*first) >= WINDOW)
        {
            times.pop_front();
        }
        if times.len() < threshold {
            return None;
        }
        self.counted.remove(account);
        Some(self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn counted(threshold: u32, seconds: impl IntoIterator<Item = i64>) -> Vec<Option<u32>> {
        let account: AccountId = "kraken-ilves".parse().unwrap();
        let mut refusals = Refusals::new(threshold);
        seconds
            .into_iter()
            .map(|second| refusals.count(&account, at(second)))
            .collect()
    }

    #[test]
    fn q4_many_refusals_in_a_short_time_are_suspicious() {
        assert_eq!(counted(3, [0, 1, 2]), [None, None, Some(3)]);
        // The first is too long ago by then.
        assert_eq!(counted(3, [0, 1, 600]), [None, None, None]);
        assert_eq!(counted(3, [0, 1, 599]), [None, None, Some(3)]);
    }

    #[test]
    fn q4_after_an_alarm_it_counts_anew() {
        assert_eq!(counted(2, [0, 1, 2, 3]), [None, Some(2), None, Some(2)]);
    }

    #[test]
    fn q4_zero_is_never() {
        assert_eq!(counted(0, [0, 0, 0]), [None, None, None]);
    }

    #[test]
    fn q4_each_account_is_counted_by_itself() {
        let mut refusals = Refusals::new(2);
        let mut count = |account: &str| refusals.count(&account.parse().unwrap(), at(0));

        assert_eq!(count("kraken-ilves"), None);
        assert_eq!(count("kraken-brandt"), None);
        assert_eq!(count("kraken-ilves"), Some(2));
    }
}
