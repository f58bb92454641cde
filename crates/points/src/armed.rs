use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::{Signal, getpid, kill_process};

/// What a process that is to be killed is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The moments at which it kills itself, whichever comes first: each on its n-th visit, counted from one.
    pub stop_at: BTreeMap<String, u64>,
    /// Where each moment is noted when it is reached for the first time, and the last one as `died NAME`.
    pub log: Option<PathBuf>,
    /// Words that switch on a defect, so that a campaign can show that it sees it; and `stands-still`, with which
    /// the process stops at its moment instead of dying there.
    pub told: Vec<String>,
}

impl Plan {
    /// From the variables `BURSAR_POINT` (`dispatch/committed` or `dispatch/committed#3`, several separated
    /// by commas), `BURSAR_POINT_LOG` and `BURSAR_POINT_TOLD` (words, separated by commas).
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let points = variable("BURSAR_POINT").unwrap_or_default();
        let stop_at = points
            .split(',')
            .filter(|text| !text.is_empty())
            .map(|text| match text.split_once('#') {
                Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
                None => (text.to_owned(), 1),
            })
            .collect();
        let told = variable("BURSAR_POINT_TOLD").unwrap_or_default();
        Self {
            stop_at,
            log: variable("BURSAR_POINT_LOG").map(PathBuf::from),
            told: told.split(',').map(str::to_owned).collect(),
        }
    }
}

/// The word for a process that is to stand still at its moment instead of dying there, with all that it holds.
const STANDS_STILL: &str = "stands-still";

struct Armed {
    plan: Plan,
    log: Option<Mutex<File>>,
    reached: Mutex<BTreeMap<String, u64>>,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

thread_local! {
    static PENDING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Tells the process, once and before anything else.
pub fn arm(plan: Plan) {
    let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
    let log = plan
        .log
        .as_deref()
        .and_then(|path| open(path).ok())
        .map(Mutex::new);
    let reached = Mutex::default();
    _ = ARMED.set(Armed { plan, log, reached });
}

/// Whether the plan has this word.
pub fn is_told(word: &str) -> bool {
    ARMED
        .get()
        .is_some_and(|armed| armed.plan.told.iter().any(|told| told == word))
}

/// The process is at this moment: it is noted, and may be the last.
pub fn reach(what: &str, stage: &str) {
    let Some(armed) = ARMED.get() else { return };
    let name = format!("{what}/{stage}");
    let times = {
        let mut reached = armed.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let times = reached.entry(name.clone()).or_default();
        *times = times.saturating_add(1);
        *times
    };
    let is_last = armed.plan.stop_at.get(&name) == Some(&times);
    if (times == 1 || is_last)
        && let Some(log) = &armed.log
    {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if times == 1 {
            _ = writeln!(log, "{name}");
        }
        if is_last {
            // Written before the signal, and so never by a process that was killed by somebody else.
            _ = writeln!(log, "died {name}");
        }
    }
    if is_last {
        let signal = if is_told(STANDS_STILL) {
            Signal::STOP
        } else {
            Signal::KILL
        };
        _ = kill_process(getpid(), signal);
        // The signal takes this thread with it, but not at once: another thread may be given it first. Nothing
        // may happen until then, or what was to stand in the middle of a transaction commits it.
        loop {
            std::thread::park();
        }
    }
}

/// The transaction on this thread does this. Of a path, only the function counts.
pub fn pending(what: &str) {
    let path = without_arguments(what);
    let word = path
        .rsplit("::")
        .find(|part| !part.is_empty() && !part.starts_with('{'))
        .unwrap_or(what)
        .to_owned();
    reach(&word, "begun");
    PENDING.with_borrow_mut(|pending| pending.push(word));
}

/// The path of a function, without the lifetimes and types between `<` and `>`: they have paths of their own.
fn without_arguments(path: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::new();
    for letter in path.chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

/// Everything that the transaction on this thread does is at this stage.
pub fn settle(stage: &str, is_last: bool) {
    let all = PENDING.with_borrow(Clone::clone);
    for what in all {
        reach(&what, stage);
    }
    if is_last {
        PENDING.with_borrow_mut(Vec::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_from_variables() {
        let plan = Plan::read(|name| match name {
            "BURSAR_POINT" => Some("dispatch/committed#3,accept/begun".to_owned()),
            "BURSAR_POINT_TOLD" => Some("synchronous-normal".to_owned()),
            _ => None,
        });

        let expected = [("dispatch/committed", 3), ("accept/begun", 1)];
        assert_eq!(
            plan.stop_at,
            expected.map(|(name, nth)| (name.to_owned(), nth)).into()
        );
        assert_eq!(plan.told, ["synchronous-normal"]);
        assert_eq!(plan.log, None);
    }

    #[test]
    fn moments_are_noted_once_and_a_transactions_at_each_stage() {
        let log = std::env::temp_dir().join(format!("bursar-points-{}", std::process::id()));
        arm(Plan {
            log: Some(log.clone()),
            ..Plan::default()
        });
        pending(
            "bursar_store_sqlite::journal::<impl Journal for Store>::admit<'_, store::other::{{closure}}>::{{closure}}",
        );
        settle("uncommitted", false);
        settle("committed", true);
        settle("answered", true);
        reach("admit", "begun");

        let noted = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(log).unwrap();
        assert_eq!(noted, "admit/begun\nadmit/uncommitted\nadmit/committed\n");
    }
}
