//! Whatever reads bytes from outside, behind functions that take any bytes at all.
//!
//! Each checks what must hold for every input, in other words than the code under it. The fuzzer of
//! `fuzz/` searches with them, and a test plays the kept corpus through them, so that what was found
//! once is found without a fuzzer.
//!
//! A function returns when the rule holds and panics when it does not. None may take more than ten
//! seconds in the fuzzer's build, or 256 MB.

pub mod backup;
mod exchange;
mod files;
mod local_exchange;
mod money;
mod stored;

/// A name, which is also that of the corpus, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All of them. `fuzz/fuzz_targets/` has a file for each.
pub const TARGETS: &[Target] = &[
    ("kraken_readings", exchange::readings),
    ("kraken_placed", exchange::placed),
    ("kraken_errors", exchange::errors),
    ("kraken_form", exchange::form),
    ("settings", files::settings),
    ("arguments", files::arguments),
    ("entered_key", files::entered_key),
    ("user_lists", files::user_lists),
    ("backup", backup::container),
    ("sandbox_files", files::sandbox),
    ("sandbox_requests", local_exchange::requests),
    ("audit_record", stored::audit_record),
    ("key_containers", stored::key_containers),
    ("stored_rows", stored::rows),
    ("amounts", money::amounts),
];

/// Runs the target of this name; a name that is none is a mistake of the caller's.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(target.is_some(), "there is no target `{name}`");
    if let Some((_, target)) = target {
        target(data);
    }
}

/// The lines of a text; nothing for what is no text.
fn lines(data: &[u8]) -> Vec<&str> {
    std::str::from_utf8(data).map_or_else(|_| Vec::new(), |text| text.lines().collect())
}
