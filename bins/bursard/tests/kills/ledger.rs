//! Who died where how often, and what is to be died at next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::moments;
use crate::stage::Dice;

/// Which kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    Daemon,
    /// A command, run by a person beside the daemon.
    Command,
}

/// Kills of all worlds together.
#[derive(Default)]
pub(crate) struct Ledger {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    hits: BTreeMap<(Who, String), u64>,
    at_random: BTreeMap<Who, u64>,
    /// Whoever reached it lives or has lived: it can be died at.
    noted: BTreeSet<(Who, String)>,
}

impl Ledger {
    /// What the next process is to die at, as `BURSAR_POINT` says it: the moments that were hit least, or
    /// nothing, for it is to die at random.
    pub(crate) fn arm(&self, who: Who, dice: &mut Dice) -> String {
        if !cfg!(feature = "points") || dice.once_in(4) {
            return String::new();
        }
        let share = *dice.one_of(&[0, 0, 25, 50]);
        self.arm_up_to(who, share, dice)
    }

    /// Those that nobody or hardly anybody has died at.
    pub(crate) fn arm_rarest(&self, who: Who, dice: &mut Dice) -> String {
        if !cfg!(feature = "points") {
            return String::new();
        }
        self.arm_up_to(who, 0, dice)
    }

    fn arm_up_to(&self, who: Who, percent: usize, dice: &mut Dice) -> String {
        let kept = self.kept();
        let hits = |moment: &String| kept.hits.get(&(who, moment.clone())).copied().unwrap_or(0);
        let mut known: Vec<u64> = kept
            .noted
            .iter()
            .filter(|(other, _)| *other == who)
            .map(|(_, moment)| hits(moment))
            .collect();
        known.sort_unstable();
        let level = known.get(known.len() * percent / 100).copied().unwrap_or(0);
        let nth = if dice.once_in(3) { 1 + dice.below(4) } else { 1 };
        // Of all of them only the first on its way would ever be died at.
        let thinned = *dice.one_of(&[1, 8, 32, 64]);
        let wanted: Vec<String> = moments::to_be_reached()
            .iter()
            .filter(|moment| hits(moment) <= level && dice.once_in(thinned))
            .map(|moment| format!("{moment}#{nth}"))
            .collect();
        wanted.join(",")
    }

    /// Takes over what a process wrote that ended; says whether and where it died by itself.
    pub(crate) fn take(&self, who: Who, log: &Path) -> Option<String> {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        drop(std::fs::remove_file(log));
        let mut kept = self.kept();
        let mut died = None;
        for line in text.lines() {
            match line.strip_prefix("died ") {
                Some(moment) => died = Some(moment.to_owned()),
                None => _ = kept.noted.insert((who, line.to_owned())),
            }
        }
        if let Some(moment) = &died {
            *kept.hits.entry((who, moment.clone())).or_default() += 1;
        }
        died
    }

    pub(crate) fn killed_at_random(&self, who: Who) {
        *self.kept().at_random.entry(who).or_default() += 1;
    }

    pub(crate) fn kills(&self, who: Who) -> u64 {
        let kept = self.kept();
        let named = kept.hits.iter().filter(|((other, _), _)| *other == who);
        named.map(|(_, hits)| hits).sum::<u64>() + kept.at_random.get(&who).copied().unwrap_or(0)
    }

    /// How often each moment was died at, also those that never were.
    pub(crate) fn table(&self) -> BTreeMap<String, u64> {
        let kept = self.kept();
        let mut table: BTreeMap<String, u64> = moments::to_be_reached()
            .iter()
            .map(|moment| (moment.clone(), 0))
            .collect();
        for ((_, moment), hits) in &kept.hits {
            *table.entry(moment.clone()).or_default() += hits;
        }
        table
    }

    /// How often somebody died at the moment at which the fewest did.
    pub(crate) fn least_hits(&self) -> u64 {
        self.table().values().min().copied().unwrap_or(0)
    }

    /// Those that no process ever came to.
    pub(crate) fn never_reached(&self) -> BTreeSet<String> {
        let kept = self.kept();
        let reached = |moment: &String| kept.noted.iter().any(|(_, noted)| noted == moment);
        let all = moments::to_be_reached().iter();
        all.filter(|moment| !reached(moment)).cloned().collect()
    }

    /// Reached by somebody, although they are listed as apart or nowhere.
    pub(crate) fn unexpected(&self) -> BTreeSet<String> {
        let expected = moments::to_be_reached();
        let kept = self.kept();
        let noted = kept.noted.iter().map(|(_, moment)| moment);
        noted
            .filter(|moment| !expected.contains(*moment) && !moment.ends_with("/taken-back"))
            .cloned()
            .collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
