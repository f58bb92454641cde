//! Stops that the store could not take: the lines of the emergency file.
//!
//! A stop must work when the store does not: a full disk, a lock that somebody holds, a file that is
//! damaged. Then it is one line in a file beside the store, which the daemon obeys from memory and folds
//! into the store as soon as that works again. This is the format; who reads and writes the file is in
//! the store's crate.
//!
//! Whatever is in the file stops something. A line that nobody can read stops everything: somebody
//! meant to stop something.

use bursar_auth::Principal;
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_model::{Entropy, LatchId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::NewLatch;

/// A stop that was not recorded in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyStop {
    /// The id that its switch gets: folded twice, it is one switch.
    pub id: LatchId,
    /// When somebody asked for it, by the clock of their process.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: Principal,
    /// What is to be stopped.
    pub scope: Scope,
    /// How much of it.
    pub mode: LatchMode,
    /// In the words of whoever asked.
    pub reason: String,
}

impl EmergencyStop {
    /// A new stop with a random id. It stops nothing before it is written to the file or folded into
    /// the store.
    pub fn new(
        scope: Scope,
        mode: LatchMode,
        reason: impl Into<String>,
        by: Principal,
        at: Timestamp,
        entropy: &dyn Entropy,
    ) -> Self {
        Self {
            id: LatchId::random(entropy),
            at,
            by,
            scope,
            mode,
            reason: reason.into(),
        }
    }

    /// The switch that it is, in memory and in the store.
    pub fn latch(&self) -> Latch {
        Latch {
            id: self.id,
            scope: self.scope.clone(),
            mode: self.mode,
            cause: LatchCause::Manual,
            reason: self.reason.clone(),
            tripped_by: self.by.to_string(),
            tripped_at: self.at,
            clear_rule: ClearRule::Manual,
        }
    }

    /// One line of the file, its end included.
    ///
    /// # Errors
    ///
    /// None in practice: everything in it can be written as JSON.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|line| line + "\n")
    }
}

/// What the file's text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileText {
    /// In the order of the file. A line that cannot be read is a halt of everything.
    pub stops: Vec<EmergencyStop>,
    /// Whether the last line is still being written.
    pub is_unfinished: bool,
}

/// Reads the file's text. A last line without its end is still being written, unless it `is_old`.
pub fn read(text: &[u8], is_old: bool) -> FileText {
    let text = String::from_utf8_lossy(text);
    let mut found = FileText::default();
    for line in text.split_inclusive('\n') {
        let is_whole = line.ends_with('\n');
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        match serde_json::from_str::<EmergencyStop>(line) {
            Ok(stop) => found.stops.push(stop),
            Err(_) if !is_whole && !is_old => found.is_unfinished = true,
            Err(_) => found.stops.push(unreadable(line)),
        }
    }
    found
}

/// The same line is always the same switch.
fn unreadable(line: &str) -> EmergencyStop {
    let hash = bursar_audit::Hash::of(line.as_bytes());
    let mut id = [0; 16];
    for (byte, drawn) in id.iter_mut().zip(hash.as_bytes()) {
        *byte = *drawn;
    }
    EmergencyStop {
        id: LatchId::from_uuid(uuid::Builder::from_random_bytes(id).into_uuid()),
        at: Timestamp::UNIX_EPOCH,
        by: Principal::Recovery,
        scope: Scope::Global,
        mode: LatchMode::Halt,
        reason: "the emergency file holds a line that cannot be read".to_owned(),
    }
}

impl From<&EmergencyStop> for NewLatch {
    fn from(stop: &EmergencyStop) -> Self {
        Self {
            scope: stop.scope.clone(),
            mode: stop.mode,
            cause: LatchCause::Manual,
            reason: stop.reason.clone(),
            clear_rule: ClearRule::Manual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop() -> EmergencyStop {
        EmergencyStop {
            id: LatchId::from_uuid(uuid::Uuid::from_u128(5)),
            at: Timestamp::from_second(1_772_000_000).unwrap(),
            by: Principal::operator("ops_desk").unwrap(),
            scope: "user:mara_ilves".parse().unwrap(),
            mode: LatchMode::Halt,
            reason: "key compromised\n{\"scope\"".into(),
        }
    }

    #[test]
    fn a_line_comes_back_whatever_the_reason_says() {
        let line = stop().line().unwrap();

        assert_eq!(line.lines().count(), 1, "one line: {line}");
        assert_eq!(read(line.as_bytes(), false).stops, vec![stop()]);
    }

    #[test]
    fn u4_a_line_that_cannot_be_read_stops_everything_and_is_one_switch() {
        let text = format!("{{\"id\": 7}}\n{}", stop().line().unwrap());

        let stops = read(text.as_bytes(), false).stops;

        assert_eq!(
            (stops[0].scope.clone(), stops[0].mode),
            (Scope::Global, LatchMode::Halt)
        );
        assert_eq!(stops[1], stop());
        assert_eq!(read(text.as_bytes(), true).stops, stops);
    }

    #[test]
    fn a_line_that_is_still_being_written_is_waited_for_but_not_for_ever() {
        let line = stop().line().unwrap();
        let half = &line.as_bytes()[..40];

        let unfinished = read(half, false);
        assert_eq!((unfinished.stops, unfinished.is_unfinished), (vec![], true));
        let given_up = read(half, true);
        assert_eq!((given_up.stops.len(), given_up.is_unfinished), (1, false));
        // Whole but for its end.
        assert_eq!(read(line.trim_end().as_bytes(), false).stops, vec![stop()]);
    }
}
