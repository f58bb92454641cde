//! `bursar backup restore`: a store in the place of one that is lost, halted until a person has looked.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bursar_store_sqlite::{PutBack, SqliteStore, discard_copy};
use clap::Args;
use serde_json::json;

use super::{Unsealed, backup_json, facts, scratch_beside, unseal};
use crate::render::Page;
use crate::session::{Session, environment};
use crate::{Exit, Failure, Installation, tombstones};

#[derive(Debug, Args)]
#[command(after_help = "\
Never writes over a store: put the damaged one away first, its files bursar.db, bursar.db-wal and
bursar.db-shm together. The store that comes back halts everything, gives request numbers that no exchange
has seen, and erases the keys that are known to have been erased since. Limits that were lowered after the
backup are as they were before: look at them before the switch is released.

Examples:
  bursar backup restore /mnt/backups/20261120-120000.bursar-backup --reason \"the disk failed\"
  bursar backup restore backup.bursar-backup --recovery-code-file /root/bursar-recovery")]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// A list of erased keys that was kept elsewhere, besides the one in the data folder
    #[arg(long, value_name = "FILE")]
    tombstones: Option<PathBuf>,
}

impl Restore {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let installation = session.installation()?;
        refuse_over(&installation)?;
        let erased = self.erased(&installation, session)?;
        make_folders(&installation)?;

        session.console.step(1, 3, "Open");
        let copy = scratch_beside(&installation.store);
        let restored = restore(&self, &copy, &installation, &erased, session).await;
        // Whatever happened, only the store itself stays.
        discard_copy(&copy);
        let (unsealed, back) = restored?;

        let mut page = Page::new();
        page.line(format!("store {}", installation.store.display()));
        page.facts(facts(&unsealed.header, &unsealed.about));
        page.blank();
        page.line(format!(
            "everything is halted by switch `{}`; what happened after {} is known to the exchanges alone",
            back.latch.id, unsealed.header.created_at
        ));
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
                    "bursar permissions show USER",
                    "limits that were lowered after the backup have to be lowered again",
                ),
                (release.as_str(), "only then"),
            ],
        );
        let mut document = backup_json(&unsealed.header, &unsealed.about);
        if let Some(fields) = document.as_object_mut() {
            fields.insert("restored_to".to_owned(), json!(installation.store));
            fields.insert("latch".to_owned(), json!(back.latch.id));
            fields.insert("erased".to_owned(), json!(back.erased));
        }
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    /// The keys that are known to have been erased.
    fn erased(
        &self,
        installation: &Installation,
        session: &Session<'_>,
    ) -> Result<Vec<bursar_model::CredentialId>, Failure> {
        let mut erased = tombstones::read(&tombstones::file(installation))?;
        if let Some(file) = &self.tombstones {
            let file = session.path(file);
            if !file.exists() {
                return Err(Failure::not_found(
                    format!("there is no list of erased keys at `{}`", file.display()),
                    "name the file `erased-keys` of the data folder, or a copy of it",
                ));
            }
            erased.extend(tombstones::read(&file)?);
        }
        Ok(erased.into_iter().map(|tombstone| tombstone.credential).collect())
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
    let back = SqliteStore::put_back(copy, &installation.store, environment, &act, erased).await?;
    session
        .console
        .confirm(&format!("store {}, halted", installation.store.display()));
    Ok((unsealed, back))
}

fn refuse_over(installation: &Installation) -> Result<(), Failure> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = installation.store.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Failure::refused(
                format!("rule never-overwrite: there is `{}` already", path.display()),
                "stop the daemon and put the store away, with its files -wal and -shm, or name another folder \
                 with `--data-dir`",
            ));
        }
    }
    Ok(())
}

fn make_folders(installation: &Installation) -> Result<(), Failure> {
    for folder in installation.kept_from_keys() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| {
                Failure::new(
                    Exit::Unavailable,
                    format!("the folder `{}` cannot be made: {error}", folder.display()),
                    "name a folder that you may write to with `--data-dir`",
                )
            })?;
    }
    Ok(())
}
