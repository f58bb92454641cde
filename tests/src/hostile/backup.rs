//! Sealed backups: whatever opens is what was sealed.

use std::sync::{Arc, OnceLock};

use bursar_keystore::{
    KeyStore, MemoryVault, NewSlot, PassphraseCost, RecoveryCode, SealedBackup, Secret, UnlockMaterial,
};
use bursar_testkit::SeededEntropy;
use jiff::Timestamp;

/// What the backup holds: more than one part would, if parts were small.
const CONTENTS: &[u8] = b"SQLite format 3, users, accounts, sealed keys, and a hash chain";

struct Sealed {
    bytes: Vec<u8>,
    code: String,
}

/// The one backup that the search begins with, the same in every run.
pub fn sealed() -> &'static [u8] {
    &known().bytes
}

fn known() -> &'static Sealed {
    static KNOWN: OnceLock<Sealed> = OnceLock::new();
    // On a thread of its own: whoever asks may be inside a runtime.
    KNOWN.get_or_init(|| match std::thread::spawn(make).join() {
        Ok(Some(sealed)) => sealed,
        _ => unreachable!("a backup can be sealed in memory"),
    })
}

fn make() -> Option<Sealed> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    runtime.block_on(async {
        let slot = NewSlot::Passphrase {
            passphrase: Secret::from_text("walnut harbour violin eleven".to_owned()),
            cost: PassphraseCost::FLOOR,
        };
        let vault = Arc::new(MemoryVault::new());
        let entropy = Arc::new(SeededEntropy::new(2));
        let new = KeyStore::init(vault, entropy, Timestamp::UNIX_EPOCH, vec![slot])
            .await
            .ok()?;
        let code = new.recovery_code().reveal().to_string();
        let mut groups = code.split('-').map(|group| Secret::from_text(group.to_owned()));
        let (first, second) = (groups.next()?, groups.next()?);
        let confirmed = new.recovery_code().confirm([(1, &first), (2, &second)]).ok()?;
        let keys = new.finish(confirmed).await.ok()?;
        let mut bytes = Vec::new();
        let about = "a store of a test".to_owned();
        keys.seal_backup(about, Timestamp::UNIX_EPOCH, &mut &*CONTENTS, &mut bytes, |_| {})
            .await
            .ok()?;
        Some(Sealed { bytes, code })
    })
}

pub(super) fn container(data: &[u8]) {
    if let Some(contents) = open(data, &known().code) {
        assert_eq!(contents, CONTENTS, "something else was opened");
    } else {
        assert_ne!(data, sealed(), "what was sealed does not open");
    }
}

fn open(data: &[u8], code: &str) -> Option<Vec<u8>> {
    let code = RecoveryCode::parse(&Secret::from_text(code.to_owned())).ok()?;
    let backup = SealedBackup::read(data).ok()?;
    let (_, mut backup) = backup.unlock(&UnlockMaterial::Recovery(code)).ok()?;
    let mut contents = Vec::new();
    backup.copy_to(&mut contents, |_| {}).ok()?;
    Some(contents)
}
