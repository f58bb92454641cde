//! Unlocking the key store: with whatever one of its slots is unlocked with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bursar_auth::Act;
use bursar_keystore::{
    KeyFile, KeyStore, RecoveryCode, SealedSlot, Secret, SlotId, SlotKind, UnlockMaterial, Vault,
};
use bursar_store_sqlite::SqliteStore;

use crate::commands::keystore::seal;
use crate::session::{Opened, Session};
use crate::{Exit, Failure, Installation, Surroundings, prompt};

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

/// The name under which the service manager hands the unlock key over.
pub const SYSTEMD_CREDENTIAL: &str = "bursar-unlock";
/// The variable that holds the unlock key where a slot of kind `env` says so.
pub const UNLOCK_VARIABLE: &str = "BURSAR_UNLOCK_KEY";

/// What a key store was unlocked with.
#[derive(Debug)]
pub struct Unlocked {
    pub material: UnlockMaterial,
    pub slot: SlotId,
}

impl Session<'_> {
    /// The key store, unsealed, and what unlocked it.
    pub async fn unlocked(&mut self, opened: &Opened) -> Result<(KeyStore, Unlocked), Failure> {
        let vault: Arc<dyn Vault> = Arc::<SqliteStore>::clone(&opened.store);
        self.unlocked_in(vault, opened).await
    }

    /// The key store, unsealed, with this command's act in the record of each change.
    pub(crate) async fn unlocked_to_act(
        &mut self,
        opened: &Opened,
        act: Act,
    ) -> Result<(KeyStore, Unlocked), Failure> {
        let vault: Arc<dyn Vault> = Arc::new(opened.store.acting(act));
        self.unlocked_in(vault, opened).await
    }

    /// What opens the store, proved without unlocking it: also while somebody has sealed it.
    pub(crate) async fn proved(&self, opened: &Opened) -> Result<Unlocked, Failure> {
        let store = self.locked(opened).await?;
        let material = self.stored_material(opened).await?;
        let slot = store.prove_slot(&material).await?;
        Ok(Unlocked { material, slot })
    }

    /// The key store without its keys.
    pub async fn locked(&self, opened: &Opened) -> Result<KeyStore, Failure> {
        let vault: Arc<dyn Vault> = Arc::<SqliteStore>::clone(&opened.store);
        Ok(KeyStore::open(vault, Arc::clone(&self.surroundings.entropy)).await?)
    }

    async fn unlocked_in(
        &self,
        vault: Arc<dyn Vault>,
        opened: &Opened,
    ) -> Result<(KeyStore, Unlocked), Failure> {
        if let Some(sealing) = opened.store.sealing().await? {
            return Err(Failure::new(Exit::Unavailable, seal::told(&sealing), seal::HINT));
        }
        let material = self.stored_material(opened).await?;
        let store = KeyStore::open(vault, Arc::clone(&self.surroundings.entropy)).await?;
        let slot = store.unlock(&material).await?;
        Ok((store, Unlocked { material, slot }))
    }

    /// What unlocks the store.
    pub async fn stored_material(&self, opened: &Opened) -> Result<UnlockMaterial, Failure> {
        let header = opened.store.load_header().await?;
        let slots = header.map(|header| header.slots).unwrap_or_default();
        self.unlock_material(&slots, &opened.installation)
    }

    /// What unlocks something that has these slots: as it was named, else the first that is at hand, else
    /// a passphrase that is asked for.
    pub(crate) fn unlock_material(
        &self,
        slots: &[SealedSlot],
        installation: &Installation,
    ) -> Result<UnlockMaterial, Failure> {
        if let Some(file) = &self.global.passphrase_file {
            return Ok(UnlockMaterial::Passphrase(prompt::secret_file(&self.path(file))?));
        }
        if let Some(material) = self.recovery_code()? {
            return Ok(material);
        }
        let has = |kind: &SlotKind| slots.iter().any(|slot| slot.kind == *kind);
        if self.global.unlock_file.is_none() {
            if has(&SlotKind::SystemdCredential)
                && let Some(credential) = self.handed_over()
            {
                return Ok(UnlockMaterial::SystemdCredential(credential));
            }
            if has(&SlotKind::Env)
                && let Some(text) = self.surroundings.variable(UNLOCK_VARIABLE)
            {
                return Ok(UnlockMaterial::Env(Secret::from_text(text.to_owned())));
            }
        }
        let has_passphrase = slots
            .iter()
            .any(|slot| matches!(slot.kind, SlotKind::Passphrase { .. }));
        if has(&SlotKind::File) || self.global.unlock_file.is_some() {
            let typed = self.global.unlock_file.as_deref();
            let path = unlock_file(typed, installation, self.surroundings)?;
            // A file that is missing is told of, but where somebody can type a passphrase instead.
            let is_asked_instead = typed.is_none() && has_passphrase && self.console.can_ask();
            if path.exists() || !is_asked_instead {
                return Ok(UnlockMaterial::File(key_file(path, installation)));
            }
        }
        prompt::secret(
            self.console,
            "passphrase of the key store",
            "name a file with it: `--passphrase-file FILE`",
        )
        .map(UnlockMaterial::Passphrase)
    }

    /// The code that was written down when the store was made, where it is to be used.
    fn recovery_code(&self) -> Result<Option<UnlockMaterial>, Failure> {
        let typed = match &self.global.recovery_code_file {
            Some(file) => prompt::secret_file(&self.path(file))?,
            None if self.global.recovery_code => prompt::secret(
                self.console,
                "recovery code",
                "name a file with it: `--recovery-code-file FILE`",
            )?,
            None => return Ok(None),
        };
        let code =
            RecoveryCode::parse(&typed).map_err(|error| Failure::of(Exit::Usage, &error, error.hint()))?;
        Ok(Some(UnlockMaterial::Recovery(code)))
    }

    /// Unlock keys that this process was given without being asked for.
    pub(crate) fn at_hand(&self) -> Vec<UnlockMaterial> {
        let credential = self.handed_over().map(UnlockMaterial::SystemdCredential);
        let variable = self.surroundings.variable(UNLOCK_VARIABLE);
        let variable = variable.map(|text| UnlockMaterial::Env(Secret::from_text(text.to_owned())));
        credential.into_iter().chain(variable).collect()
    }

    /// The unlock key that the service manager has put down for this process.
    fn handed_over(&self) -> Option<KeyFile> {
        let folder = self.surroundings.variable("CREDENTIALS_DIRECTORY")?;
        let file = Path::new(folder).join(SYSTEMD_CREDENTIAL);
        std::fs::symlink_metadata(&file).ok()?;
        Some(KeyFile::of_service_manager(file))
    }
}
