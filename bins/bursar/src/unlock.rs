//! Unlocking the key store: with the unlock key's file, or with a passphrase.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bursar_keystore::{KeyFile, KeyStore, SlotKind, UnlockMaterial, Vault};

use bursar_store_sqlite::SqliteStore;

use crate::session::{Opened, Session};
use crate::{Failure, Installation, Surroundings, prompt};

/// Where the unlock key's file is: as it was typed, else `BURSAR_UNLOCK_FILE`, else the settings.
pub fn unlock_file(
    typed: Option<&Path>,
    installation: &Installation,
    surroundings: &Surroundings,
) -> Result<PathBuf, Failure> {
    let named = typed
        .map(Path::to_owned)
        .or_else(|| surroundings.variable("BURSAR_UNLOCK_FILE").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(installation.settings.unlock.file.as_str()));
    let Ok(below_home) = named.strip_prefix("~") else {
        return Ok(surroundings.directory.join(named));
    };
    let home = surroundings.variable("HOME").ok_or_else(|| {
        Failure::usage(
            format!(
                "`{}` begins with a home folder, and HOME is not set",
                named.display()
            ),
            "name the unlock key with `--unlock-file`",
        )
    })?;
    Ok(Path::new(home).join(below_home))
}

/// The file, together with the folders in which it must not lie.
pub fn key_file(path: PathBuf, installation: &Installation) -> KeyFile {
    KeyFile::new(path, installation.kept_from_keys())
}

impl Session<'_> {
    /// The key store, unsealed.
    pub async fn unlocked(&mut self, opened: &Opened) -> Result<KeyStore, Failure> {
        let vault: Arc<dyn Vault> = Arc::<SqliteStore>::clone(&opened.store);
        let store = KeyStore::open(vault, Arc::clone(&self.surroundings.entropy)).await?;
        let material = self.unlock_material(opened).await?;
        store.unlock(&material).await?;
        Ok(store)
    }

    async fn unlock_material(&mut self, opened: &Opened) -> Result<UnlockMaterial, Failure> {
        if let Some(file) = &self.global.passphrase_file {
            return Ok(UnlockMaterial::Passphrase(prompt::secret_file(&self.path(file))?));
        }
        let header = opened.store.load_header().await?;
        let slots = header.map(|header| header.slots).unwrap_or_default();
        let has_file = slots.iter().any(|slot| matches!(slot.kind, SlotKind::File));
        if has_file || self.global.unlock_file.is_some() {
            let path = unlock_file(
                self.global.unlock_file.as_deref(),
                &opened.installation,
                self.surroundings,
            )?;
            return Ok(UnlockMaterial::File(key_file(path, &opened.installation)));
        }
        prompt::secret(
            self.console,
            "passphrase of the key store",
            "name a file with it: `--passphrase-file FILE`",
        )
        .map(UnlockMaterial::Passphrase)
    }
}
