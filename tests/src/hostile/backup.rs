//! Sealed backups: whatever opens is what was sealed.

use std::sync::OnceLock;

use bursar_keystore::{RecoveryCode, SealedBackup, Secret, UnlockMaterial};
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
    KNOWN.get_or_init(|| {
        let (keys, code) = super::key_store(2);
        let sealed = super::apart(async || {
            let mut bytes = Vec::new();
            let about = "a store of a test".to_owned();
            keys.seal_backup(about, Timestamp::UNIX_EPOCH, &mut &*CONTENTS, &mut bytes, |_| {})
                .await
                .map(|_| bytes)
        });
        match sealed {
            Ok(bytes) => Sealed { bytes, code },
            Err(error) => unreachable!("a backup can be sealed in memory: {error}"),
        }
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
