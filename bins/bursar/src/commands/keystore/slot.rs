//! `bursar keystore slot`: ways to unlock the store come and go; no data is touched.

use std::path::{Path, PathBuf};

use bursar_keystore::{InitError, KeyFile, NewSlot, PassphraseCost, SlotId, check_passphrase};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::{SlotDocument, header, slot_table, slots_json};
use crate::recovery::{Recovery, hand_over, keys_apart};
use crate::render::Page;
use crate::session::{Opened, Session};
use crate::unlock::{SYSTEMD_CREDENTIAL, UNLOCK_VARIABLE, Unlocked, key_file};
use crate::{Exit, Failure, prompt};

#[derive(Debug, Subcommand)]
pub enum Slot {
    /// Add a way to unlock the store, and prove it before it counts
    #[command(subcommand)]
    Add(Add),
    /// Remove a way to unlock the store
    #[command(after_help = "\
The store is unlocked with another slot than the one that goes, which proves that one. The last slot but the
recovery code cannot be removed. An old copy of the store still opens with it: where
its key is in wrong hands, run `bursar keystore rotate root` and `bursar keystore rotate wrapping-key` too.

Example:
  bursar keystore slot remove file-1 --unlock-file /media/safe/unlock.key --reason \"the laptop was sold\"")]
    Remove(Named),
    /// Open the store with what was named, or with what it is unlocked with here; change nothing
    #[command(after_help = "\
Examples:
  bursar keystore slot prove
  bursar keystore slot prove --unlock-file /media/safe/unlock.key
  bursar keystore slot prove --recovery-code")]
    Prove,
}

#[derive(Debug, Subcommand)]
pub enum Add {
    /// A key file, mode 0400, to keep on another disk than the store
    #[command(after_help = "Example:\n  bursar keystore slot add file /media/safe/unlock.key")]
    File(InFile),
    /// A key that systemd hands over: written to a file, to be encrypted by systemd and removed
    #[command(after_help = "\
Example:
  bursar keystore slot add systemd-credential /root/bursar-unlock
  systemd-creds encrypt --name=bursar-unlock /root/bursar-unlock /etc/credstore.encrypted/bursar-unlock
  shred -u /root/bursar-unlock")]
    SystemdCredential(InFile),
    /// A key in the variable BURSAR_UNLOCK_KEY; others who run as the same user can read it there
    #[command(after_help = "Example:\n  bursar keystore slot add env /root/bursar-unlock")]
    Env(InFile),
    /// A passphrase that is typed at every start
    #[command(after_help = "\
Example:
  bursar keystore slot add passphrase")]
    Passphrase(Passphrase),
    /// One more recovery code, shown once
    #[command(after_help = "\
Example:
  bursar keystore slot add recovery")]
    Recovery(RecoveryFile),
}

#[derive(Debug, Args)]
pub struct InFile {
    /// A new file for the key, outside the folders of the store
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Passphrase {
    /// A file with the new passphrase, for scripts
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RecoveryFile {
    /// Write the recovery code to this new file instead of showing it
    #[arg(long, value_name = "FILE")]
    recovery_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The slot's id, as `bursar keystore status` shows it
    slot: SlotId,
}

impl Slot {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Add(command) => command.run(session).await,
            Self::Remove(command) => remove(&command.slot, session).await,
            Self::Prove => prove(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let recovery = match &self {
            Self::Recovery(command) => {
                let file = command.recovery_file.as_deref();
                Some(Recovery::chosen(file, &opened.installation, session)?)
            }
            _ => None,
        };
        let written = match &self {
            Self::File(command) | Self::SystemdCredential(command) | Self::Env(command) => {
                Some(session.path(&command.file))
            }
            Self::Passphrase(_) | Self::Recovery(_) => None,
        };
        let new = self.new_slot(written.as_deref(), &opened, session)?;
        let act = session.act();
        let (store, _) = session.unlocked_to_act(&opened, act).await?;
        let addition = store.new_slot(new, session.surroundings.now()).await?;
        let id = addition.id().clone();
        let next = match (&recovery, addition.recovery_code()) {
            (Some(recovery), Some(code)) => {
                let confirmed = hand_over(code, recovery, session)?;
                recovery.take_back(addition.finish_confirmed(confirmed))?
            }
            _ => addition.finish()?,
        };
        let committed = store.commit(next).await;
        match &recovery {
            Some(recovery) => recovery.take_back(committed)?,
            None => committed?,
        }

        let mut page = Page::new();
        page.line(format!("slot `{id}` added, and proved to open the store"));
        for line in self.what_next(written.as_deref()) {
            page.line(line);
        }
        let header = header(&opened).await?;
        page.blank();
        page.table(&slot_table(&header.slots), "");
        let document = Added {
            slot: &id,
            file: written.as_deref(),
            recovery_file: recovery.as_ref().and_then(Recovery::file),
            slots: slots_json(&header),
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    fn new_slot(
        &self,
        written: Option<&Path>,
        opened: &Opened,
        session: &Session<'_>,
    ) -> Result<NewSlot, Failure> {
        let file = |path: &Path| -> Result<KeyFile, Failure> {
            keys_apart(path, &opened.installation)?;
            Ok(key_file(path.to_owned(), &opened.installation))
        };
        let path = written.unwrap_or_else(|| Path::new(""));
        Ok(match self {
            Self::File(_) => NewSlot::File(file(path)?),
            Self::SystemdCredential(_) => NewSlot::SystemdCredential(file(path)?),
            Self::Env(_) => NewSlot::Env(file(path)?),
            Self::Passphrase(command) => {
                let passphrase = match &command.new_passphrase_file {
                    Some(file) => prompt::secret_file(&session.path(file))?,
                    None => prompt::new_secret(
                        session.console,
                        "New passphrase of the key store",
                        "name a file with it: `--new-passphrase-file FILE`",
                    )?,
                };
                check_passphrase(&passphrase).map_err(InitError::from)?;
                NewSlot::Passphrase {
                    passphrase,
                    cost: PassphraseCost::DEFAULT,
                }
            }
            Self::Recovery(_) => NewSlot::Recovery,
        })
    }

    /// What is left to the operator.
    fn what_next(&self, written: Option<&Path>) -> Vec<String> {
        let file = written.map(|path| path.display().to_string()).unwrap_or_default();
        match self {
            Self::File(_) => vec![format!(
                "unlock with it by `--unlock-file {file}`, BURSAR_UNLOCK_FILE, or `unlock.file` in the settings"
            )],
            Self::SystemdCredential(_) => vec![
                "give the key to systemd, and remove the file:".to_owned(),
                format!(
                    "  systemd-creds encrypt --name={SYSTEMD_CREDENTIAL} {file} \
                     /etc/credstore.encrypted/{SYSTEMD_CREDENTIAL}"
                ),
                format!("  shred -u {file}"),
            ],
            Self::Env(_) => vec![
                format!(
                    "set {UNLOCK_VARIABLE} to the text of {file} where the daemon is started, and remove the file"
                ),
                "whoever runs as the same user can read the variable; a file or systemd keeps the key better"
                    .to_owned(),
            ],
            Self::Passphrase(_) | Self::Recovery(_) => Vec::new(),
        }
    }
}

async fn remove(slot: &SlotId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let reason = prompt::reason(
        session.console,
        session.global.reason.as_deref(),
        "a slot is removed",
    )?;
    let opened = session.open().await?;
    let act = session.act().because(reason);
    let (store, unlocked) = session.unlocked_to_act(&opened, act).await?;
    let next = store.without_slot(slot).await?;
    if unlocked.slot == *slot {
        return Err(Failure::refused(
            format!("rule proved-first: the store was unlocked by slot `{slot}` itself"),
            "unlock with a slot that stays, which proves it: `--unlock-file`, `--passphrase-file` or \
             `--recovery-code`",
        ));
    }
    prompt::dangerous(
        session.console,
        session.global.yes,
        &format!("Slot `{slot}` will unlock the store no more. Remove it?"),
    )?;
    store.commit(next).await?;

    let header = header(&opened).await?;
    let mut page = Page::new();
    page.line(format!("slot `{slot}` removed"));
    page.line("an old copy of the store still opens with its key; against a key in wrong hands:");
    page.line("  bursar keystore rotate root");
    page.line("  bursar keystore rotate wrapping-key");
    page.blank();
    page.table(&slot_table(&header.slots), "");
    let document = Removed {
        removed: slot,
        slots: slots_json(&header),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// A slot that was added, and proved to open the store.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SlotAdded")]
pub(crate) struct Added<'a> {
    slot: &'a SlotId,
    /// Where its key was written.
    file: Option<&'a Path>,
    /// Where its recovery code was written.
    recovery_file: Option<&'a Path>,
    slots: Vec<SlotDocument<'a>>,
}

/// A slot that was removed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SlotRemoved")]
pub(crate) struct Removed<'a> {
    removed: &'a SlotId,
    slots: Vec<SlotDocument<'a>>,
}

/// A slot that opens the store.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SlotProved")]
pub(crate) struct Proved {
    slot: SlotId,
    kind: &'static str,
}

async fn prove(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let Unlocked { material, slot } = session.proved(&opened).await?;
    let mut page = Page::new();
    page.line(format!("slot `{slot}` opens the store"));
    let kind = material.kind();
    session.console.answer(&page, &Proved { slot, kind });
    Ok(Exit::Done)
}
