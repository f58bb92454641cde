//! `bursar backup restore`: a store in the place of one that is lost, halted until a person has looked.

use std::fs;
use std::path::{Path, PathBuf};

use bursar_keystore::SlotsFound;
use bursar_model::{CredentialId, LatchId};
use bursar_store_sqlite::{ErasedKeys, PutBack, SqliteStore};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::{BackupDocument, Unsealed, backup_json, damaged_slot, facts_of, known, unseal};
use crate::installation::beside;
use crate::progress::waited;
use crate::render::{Page, count};
use crate::scratch::Scratch;
use crate::session::{Session, environment};
use crate::sole::Sole;
use crate::{Exit, Failure, Installation, tombstones};

#[derive(Debug, Args)]
#[command(after_help = "\
Never writes over a store: put the damaged one away first, its files bursar.db, bursar.db-wal and
bursar.db-shm together. The store that comes back halts everything, gives request numbers that no exchange
has seen, and erases the keys that are known to have been erased since (the list `erased-keys` in the data
folder). What else was taken away after the backup is as before: limits that were lowered, users that were
disabled, rights that were revoked, keys that were replaced. Look at them before the switch is released.

Examples:
  bursar backup restore /mnt/backups/20261120-120000.bursar-backup --reason \"the disk failed\"
  bursar backup restore backup.bursar-backup --recovery-code-file /root/bursar-recovery")]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// A list of erased keys that was kept elsewhere, besides the one in the data folder
    #[arg(long, value_name = "FILE")]
    tombstones: Option<PathBuf>,
    /// There is no list of erased keys: those that were erased after the backup come back
    #[arg(long, conflicts_with = "tombstones")]
    no_tombstones: bool,
}

/// A store that was put back: halted, until a person has looked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BackupRestored")]
pub(crate) struct Restored<'a> {
    #[serde(flatten)]
    backup: BackupDocument<'a>,
    restored_to: &'a Path,
    /// The switch that halts everything.
    latch: LatchId,
    /// Credentials that were erased after the backup, and are erased.
    erased: &'a [CredentialId],
    /// Credentials that do not open, and have to be entered anew.
    damaged: Vec<CredentialId>,
    /// Whether each slot is what it was when it was made; one that is not opens nothing.
    slots_whole: bool,
}

impl Restore {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let installation = session.installation()?;
        refuse_over(&installation)?;
        let erased = self.erased(&installation, session)?;
        installation.make_folders()?;
        // A daemon that still runs works with files that were moved away, and knows of no halt.
        let _daemon = Sole::daemon(&installation.store)?;
        let scratch = Scratch::beside(&installation.store)?;

        session.console.step(1, 3, "Open");
        let (unsealed, back) = restore(&self, &scratch.path, &installation, &erased, session).await?;
        drop(scratch);

        let mut page = Page::new();
        page.line(format!("store {}", installation.store.display()));
        page.facts(facts_of(&unsealed.header, &unsealed.about));
        page.blank();
        page.line(format!(
            "everything is halted by switch `{}`; what happened after {} is known to the exchanges alone",
            back.latch.id, unsealed.header.created_at
        ));
        if unsealed.keys.slots == SlotsFound::Damaged {
            page.line(damaged_slot(&unsealed.header, &unsealed.slot));
        }
        for facts in &unsealed.keys.damaged {
            page.line(format!(
                "credential `{}` of `{}` does not open: enter it anew",
                facts.id, facts.place.account
            ));
        }
        for credential in &back.erased {
            page.line(format!(
                "credential `{credential}` was erased after the backup, and is erased"
            ));
        }
        let release = format!("bursar release {} --reason \"compared\"", back.latch.id);
        page.next_steps(
            "Next",
            [
                (
                    "bursard run",
                    "connects, and compares every account with its exchange",
                ),
                (
                    "bursar status",
                    "shows what differs, and orders that the store does not know",
                ),
                (
                    "bursar latches",
                    "a switch that was turned on after the backup is missing: turn it on again",
                ),
                (
                    "bursar permissions show USER",
                    "limits that were lowered, users that were disabled and rights that were revoked after the backup are as \
                 before: set them again",
                ),
                (release.as_str(), "only then"),
            ],
        );
        let document = Restored {
            backup: backup_json(&unsealed.header, &unsealed.about),
            restored_to: &installation.store,
            latch: back.latch.id,
            erased: &back.erased,
            damaged: unsealed.keys.damaged.iter().map(|facts| facts.id).collect(),
            slots_whole: unsealed.keys.slots == SlotsFound::Whole,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    /// The keys that are known to have been erased.
    fn erased(
        &self,
        installation: &Installation,
        session: &mut Session<'_>,
    ) -> Result<Vec<bursar_model::CredentialId>, Failure> {
        let list = tombstones::list(installation);
        if !list.path().exists() && self.tombstones.is_none() && !self.no_tombstones {
            return Err(Failure::usage(
                format!("there is no list of erased keys at `{}`", list.path().display()),
                "name a copy of it with `--tombstones FILE`; with `--no-tombstones` keys that were erased after \
                 the backup come back",
            ));
        }
        let mut lists = vec![list];
        if let Some(file) = &self.tombstones {
            let file = session.path(file);
            if !file.exists() {
                return Err(Failure::not_found(
                    format!("there is no list of erased keys at `{}`", file.display()),
                    "name the file `erased-keys` of the data folder, or a copy of it",
                ));
            }
            lists.push(ErasedKeys::at(file));
        }
        let mut erased = Vec::new();
        for list in lists {
            let listed = tombstones::read(&list)?;
            if let Some(cut) = listed.cut {
                // How long it is, and not what it is: the list may be another file, by mistake.
                session.console.warn(&format!(
                    "the last line of `{}` is cut after {} and counts for nothing",
                    list.path().display(),
                    count(cut.len(), "byte", "bytes")
                ));
            }
            erased.extend(listed.keys.into_iter().map(|key| key.credential));
        }
        Ok(erased)
    }
}

async fn restore(
    command: &Restore,
    copy: &Path,
    installation: &Installation,
    erased: &[bursar_model::CredentialId],
    session: &mut Session<'_>,
) -> Result<(Unsealed, PutBack), Failure> {
    let unsealed = unseal(&session.path(&command.file), copy, session).await?;
    session
        .console
        .confirm(&format!("opened by slot {}", unsealed.slot));
    session.console.step(2, 3, "Check");
    if !unsealed.found.report.is_whole() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "the audit trail in the backup is broken: {}",
                unsealed.found.report
            ),
            "take another backup",
        ));
    }
    session.console.confirm("every page is whole");
    session
        .console
        .confirm(&format!("audit trail: {}", unsealed.found.report));
    session.console.step(3, 3, "Put back");
    let act = session.act();
    let environment = environment(installation, session.surroundings);
    let back = {
        let backup = known(&unsealed.header, &unsealed.about);
        let putting = SqliteStore::put_back(copy, &installation.store, environment, &act, &backup, erased);
        waited(session.console, "the store is put back", putting).await?
    };
    session
        .console
        .confirm(&format!("store {}, halted", installation.store.display()));
    Ok((unsealed, back))
}

fn refuse_over(installation: &Installation) -> Result<(), Failure> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let path = beside(&installation.store, suffix);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Failure::refused(
                format!("rule never-overwrite: there is `{}` already", path.display()),
                "stop the daemon and put the store away, with its files -wal, -shm and -journal",
            ));
        }
    }
    Ok(())
}
