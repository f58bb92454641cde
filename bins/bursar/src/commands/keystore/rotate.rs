//! `bursar keystore rotate`: new keys in the place of old ones, while the daemon goes on.

use std::path::{Path, PathBuf};

use bursar_keystore::{KeyId, MacPurpose, SlotId, UnlockMaterial};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::{SlotDocument, header, slot_table, slots_json};
use crate::progress::Progress;
use crate::recovery::{Recovery, hand_over};
use crate::render::{Page, count};
use crate::session::Session;
use crate::unlock::{key_file, unlock_file};
use crate::{Exit, Failure, prompt};

#[derive(Debug, Subcommand)]
pub enum Rotate {
    /// Replace the key that every credential is wrapped with; goes on where it was, if it ended before
    #[command(after_help = "Example:\n  bursar keystore rotate wrapping-key --reason \"yearly\"")]
    WrappingKey,
    /// Replace ROOT: every slot is sealed anew, and there is a new recovery code
    Root(Root),
    /// Replace the key that hashes our own API keys, which come with the HTTP API; those of the last one stay valid
    /// until the next time
    #[command(after_help = "Example:\n  bursar keystore rotate api-key-pepper")]
    ApiKeyPepper,
    /// Replace the key that authenticates sessions, which come with the HTTP API
    #[command(after_help = "Example:\n  bursar keystore rotate session-key")]
    SessionKey,
    /// Replace the key for pseudonyms of people, of which nothing makes any yet; the old ones are kept, to recognise
    /// them
    #[command(after_help = "Example:\n  bursar keystore rotate pseudonym-key")]
    PseudonymKey,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The key of each slot that stays has to be at hand: the store is unlocked with one of them, others are named
here. The recovery code is always a new one. A running daemon takes the new ROOT over with what it was
started with.

Examples:
  bursar keystore rotate root --recovery-file /root/bursar-recovery
  bursar keystore rotate root --key-file /media/safe/unlock.key
  bursar keystore rotate root --leave-out passphrase-4")]
pub struct Root {
    /// The key file of one more slot; may be given several times
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
    /// A slot that is removed instead of sealed anew; may be given several times
    #[arg(long, value_name = "SLOT")]
    leave_out: Vec<SlotId>,
    /// Write the new recovery code to this new file instead of showing it
    #[arg(long, value_name = "FILE")]
    recovery_file: Option<PathBuf>,
}

impl Rotate {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::WrappingKey => wrapping_key(session).await,
            Self::Root(command) => command.run(session).await,
            Self::ApiKeyPepper => purpose_key(MacPurpose::ApiKeyPepper, session).await,
            Self::SessionKey => purpose_key(MacPurpose::Session, session).await,
            Self::PseudonymKey => purpose_key(MacPurpose::AuditPseudonym, session).await,
        }
    }
}

async fn wrapping_key(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let act = session.act();
    let (store, _) = session.unlocked_to_act(&opened, act).await?;
    let mut progress = Progress::new(session.console, "credentials wrapped anew");
    let rotated = store
        .rotate_wrapping_key(|step| progress.at(session.console, step.done, step.of))
        .await?;
    drop(progress);

    let mut page = Page::new();
    page.line(format!(
        "{} wrapped with `{}`; the keys before it are destroyed",
        count(rotated.of, "credential is", "credentials are"),
        rotated.key
    ));
    let document = Wrapped {
        key: rotated.key,
        credentials: rotated.of,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// The key that every credential is wrapped with now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WrappingKeyRotated")]
pub(crate) struct Wrapped {
    key: KeyId,
    /// How many credentials there are.
    credentials: usize,
}

/// The key that new things are made with.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PurposeKeyRotated")]
pub(crate) struct Renewed {
    key: KeyId,
}

/// A root key that has taken over.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RootRotated")]
pub(crate) struct Replaced<'a> {
    root: KeyId,
    /// The slots that unlock the store no more.
    removed: Vec<&'a SlotId>,
    /// Where the new recovery code was written.
    recovery_file: Option<&'a Path>,
    slots: Vec<SlotDocument<'a>>,
}

async fn purpose_key(purpose: MacPurpose, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let act = session.act();
    let (store, _) = session.unlocked_to_act(&opened, act).await?;
    store.commit(store.next_purpose_key(purpose).await?).await?;
    let made = store
        .mac(purpose, None, &[])
        .map_err(|error| Failure::of(Exit::Unavailable, &error, error.hint()))?;
    let mut page = Page::new();
    page.line(format!("new things are made with `{}` from now on", made.key));
    session.console.answer(&page, &Renewed { key: made.key });
    Ok(Exit::Done)
}

impl Root {
    async fn run(&self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let reason = prompt::reason(
            session.console,
            session.global.reason.as_deref(),
            "the root key is replaced",
        )?;
        let opened = session.open().await?;
        let recovery = Recovery::chosen(self.recovery_file.as_deref(), &opened.installation, session)?;
        let act = session.act().because(reason);
        let (store, unlocked) = session.unlocked_to_act(&opened, act).await?;
        let mut held = vec![unlocked.material];
        held.extend(session.at_hand());
        for file in &self.key_file {
            held.push(UnlockMaterial::File(key_file(
                session.path(file),
                &opened.installation,
            )));
        }
        let header_before = header(&opened).await?;
        if let Ok(usual) = unlock_file(None, &opened.installation, session.surroundings)
            && usual.exists()
        {
            held.push(UnlockMaterial::File(key_file(usual, &opened.installation)));
        }
        let rotation = store
            .rotate_root(&held, &self.leave_out, session.surroundings.now())
            .await?;
        let gone: Vec<&SlotId> = header_before
            .slots
            .iter()
            .map(|slot| &slot.id)
            .filter(|id| !rotation.slots().iter().any(|slot| slot.id == **id))
            .collect();
        let names: Vec<String> = gone.iter().map(|id| format!("`{id}`")).collect();
        prompt::dangerous(
            session.console,
            session.global.yes,
            &format!(
                "{} will unlock the store no more. Replace the root key?",
                names.join(" and ")
            ),
        )?;
        let confirmed = hand_over(rotation.recovery_code(), &recovery, session)?;
        let next = recovery.take_back(rotation.finish(confirmed))?;
        recovery.take_back(store.commit(next).await)?;

        let header = header(&opened).await?;
        let mut page = Page::new();
        page.line(format!(
            "`{}` has taken over; the recovery code is a new one",
            header.root
        ));
        page.line("old copies of the store open as before: new backups take the place of old ones");
        page.blank();
        page.table(&slot_table(&header.slots), "");
        let document = Replaced {
            root: header.root,
            removed: gone,
            recovery_file: recovery.file(),
            slots: slots_json(&header),
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}
