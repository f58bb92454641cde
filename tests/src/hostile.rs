//! Whatever reads bytes from outside, behind functions that take any bytes at all.
//!
//! Each checks what must hold for every input, in other words than the code under it. The fuzzer of
//! `fuzz/` searches with them, and a test plays the kept corpus through them, so that what was found
//! once is found without a fuzzer.
//!
//! A function returns when the rule holds and panics when it does not. None may take more than ten
//! seconds in the fuzzer's build, or 256 MB.

pub mod backup;
pub mod beside;
mod exchange;
mod files;
mod local_exchange;
mod money;
mod stored;
mod webhooks;

use std::sync::Arc;

use bursar_keystore::{KeyStore, MemoryVault, NewSlot, PassphraseCost, Secret};
use bursar_testkit::SeededEntropy;
use jiff::Timestamp;

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
    ("checkpoints", beside::checkpoints),
    ("audit_export", beside::audit_export),
    ("emergency_file", beside::emergency_file),
    ("webhook_addresses", webhooks::addresses),
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

/// What waits, on a thread of its own: whoever runs a target may be inside a runtime.
fn apart<T: Send>(wait: impl AsyncFnOnce() -> T + Send) -> T {
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(wait()),
                Err(error) => unreachable!("no runtime: {error}"),
            }
        });
        waiting.join()
    });
    waited.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A key store in memory, the same in every run, and its recovery code.
fn key_store(seed: u64) -> (KeyStore, String) {
    match apart(async || new_key_store(seed).await) {
        Some(made) => made,
        None => unreachable!("a key store in memory can be made"),
    }
}

async fn new_key_store(seed: u64) -> Option<(KeyStore, String)> {
    let slot = NewSlot::Passphrase {
        passphrase: Secret::from_text("walnut harbour violin eleven".to_owned()),
        cost: PassphraseCost::FLOOR,
    };
    let vault = Arc::new(MemoryVault::new());
    let entropy = Arc::new(SeededEntropy::new(seed));
    let new = KeyStore::init(vault, entropy, Timestamp::UNIX_EPOCH, vec![slot])
        .await
        .ok()?;
    let code = new.recovery_code().reveal().to_string();
    let mut groups = code.split('-').map(|group| Secret::from_text(group.to_owned()));
    let (first, second) = (groups.next()?, groups.next()?);
    let confirmed = new.recovery_code().confirm([(1, &first), (2, &second)]).ok()?;
    Some((new.finish(confirmed).await.ok()?, code))
}
