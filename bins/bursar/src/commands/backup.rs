//! `bursar backup`: sealed copies of the store, and a store in the place of one that is lost.

mod restore;

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bursar_audit::{Hash, Head, SignedCheckpoint};
use bursar_keystore::{BackupHeader, OpenBackup, SealedBackup, SlotId};
use bursar_store_sqlite::{KnownBackup, SqliteStore, StoreCopy, Verification, Verified, discard_copy};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::progress::Progress;
use crate::render::{Cell, Page, Tone, moment};
use crate::session::{Session, environment};
use crate::unlock::unlock_file;
use crate::{Exit, Failure, Installation, tombstones};

const SUFFIX: &str = "bursar-backup";

#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Copy the store as it is at this moment, sealed; the daemon goes on
    Create(Create),
    /// Open all of a backup, and check the store and the audit trail in it
    Verify(Named),
    /// Make the store anew from a backup, where there is none; everything is halted then
    Restore(restore::Restore),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The backup opens with what the store opens with now: an unlock key, the passphrase or the recovery code.
Keep none of them where the backups are. Copying the store's file while it is in use is no backup.

Examples:
  bursar backup create /mnt/backups
  bursar backup create /mnt/backups/before-upgrade.bursar-backup")]
pub struct Create {
    /// A folder, or a new file
    to: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar backup verify /mnt/backups/20261120-120000.bursar-backup")]
pub struct Named {
    /// The backup
    file: PathBuf,
}

impl Backup {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Create(command) => command.run(session).await,
            Self::Verify(command) => verify(&session.path(&command.file), session).await,
            Self::Restore(command) => command.run(session).await,
        }
    }
}

/// What a backup says of its contents, to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    /// How often the store was put back before.
    epoch: i64,
    /// The number of the store's format.
    format: i64,
    /// The last record of the audit trail, and its hash.
    records: u64,
    head: Hash,
    /// The newest signed checkpoint of the trail.
    checkpoint: Option<String>,
    bytes: u64,
}

impl From<&StoreCopy> for About {
    fn from(copy: &StoreCopy) -> Self {
        Self {
            epoch: copy.epoch,
            format: copy.format,
            records: copy.head.seq,
            head: copy.head.hash,
            checkpoint: copy.checkpoint.clone(),
            bytes: copy.bytes,
        }
    }
}

impl Create {
    async fn run(&self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let now = session.surroundings.now();
        let to = session.path(&self.to);
        let file = if to.is_dir() {
            let time = now.strftime("%Y%m%d-%H%M%S");
            to.join(format!("{time}.{SUFFIX}"))
        } else {
            to
        };
        if fs::symlink_metadata(&file).is_ok() {
            return Err(Failure::refused(
                format!(
                    "rule never-overwrite: there is something at `{}` already",
                    file.display()
                ),
                "name another file or a folder",
            ));
        }
        if opened
            .installation
            .kept_from_keys()
            .iter()
            .any(|folder| file.starts_with(folder))
        {
            return Err(Failure::refused(
                format!(
                    "rule backups-apart: `{}` lies in the folder of the store, and would be lost along with it",
                    file.display()
                ),
                "name a folder elsewhere, best on another machine",
            ));
        }
        key_is_elsewhere(&file, &opened.installation, session)?;
        let act = session.act();
        let (keys, _) = session.unlocked(&opened).await?;
        tombstones::fold(&opened).await?;

        let copy = scratch_beside(&opened.installation.store);
        let unfinished = part_of(&file);
        let made = async {
            let facts = opened.store.copy_into(&copy).await?;
            let about = About::from(&facts);
            let text = serde_json::to_string(&about).map_err(|error| unwritten(&file, &error))?;
            let mut contents = BufReader::new(File::open(&copy).map_err(|error| unwritten(&file, &error))?);
            let target = private(&unfinished).map_err(|error| unwritten(&file, &error))?;
            let mut target = BufWriter::new(target);
            let total = usize::try_from(facts.bytes).unwrap_or(usize::MAX);
            let mut progress = Progress::new(session.console, "bytes sealed");
            let header = keys
                .seal_backup(text, now, &mut contents, &mut target, |done| {
                    progress.at(usize::try_from(done).unwrap_or(usize::MAX), total);
                })
                .await?;
            drop(progress);
            target
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)
                .and_then(|target| target.sync_all())
                .and_then(|()| publish(&unfinished, &file))
                .map_err(|error| unwritten(&file, &error))?;
            Ok::<_, Failure>((header, about))
        };
        let made = made.await;
        discard_copy(&copy);
        drop(fs::remove_file(&unfinished));
        let (header, about) = made?;
        let known = KnownBackup {
            id: header.id,
            at: header.created_at,
            seq: about.records,
        };
        opened.store.remember_backup(&known, &act).await?;

        let mut page = Page::new();
        page.line(format!("backup {}", file.display()));
        page.facts(facts(&header, &about));
        page.blank();
        page.line(format!("prove it: bursar backup verify {}", file.display()));
        let mut document = backup_json(&header, &about);
        if let Some(fields) = document.as_object_mut() {
            fields.insert("file".to_owned(), json!(file));
        }
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

/// What opens a backup does not lie with it.
fn key_is_elsewhere(file: &Path, installation: &Installation, session: &Session<'_>) -> Result<(), Failure> {
    let typed = session.global.unlock_file.as_deref();
    let key = unlock_file(typed, installation, session.surroundings)?;
    let folder_of = |path: &Path| path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder_of(&key), folder_of(file)) {
        (Some(of_key), Some(of_backup)) if key.exists() && of_key.starts_with(&of_backup) => {
            Err(Failure::refused(
                format!(
                    "rule keys-apart: the unlock key `{}` lies where the backup would lie",
                    key.display()
                ),
                "name another folder, best on another machine",
            ))
        }
        _ => Ok(()),
    }
}

/// A backup that was opened whole into a file that only this user can read.
struct Unsealed {
    header: BackupHeader,
    about: About,
    slot: SlotId,
    found: Verified,
}

/// Opens all of a backup into `copy`, and checks the store and the trail in it.
async fn unseal(file: &Path, copy: &Path, session: &mut Session<'_>) -> Result<Unsealed, Failure> {
    let source = File::open(file).map_err(|error| {
        Failure::new(
            if error.kind() == std::io::ErrorKind::NotFound {
                Exit::NotFound
            } else {
                Exit::Failed
            },
            format!("the backup `{}` cannot be read: {error}", file.display()),
            "name a file that `bursar backup create` made",
        )
    })?;
    let sealed = SealedBackup::read(BufReader::new(source))?;
    let header = sealed.header().clone();
    let about: About = serde_json::from_str(&header.about).map_err(|_| {
        Failure::new(
            Exit::Failed,
            "the backup does not say what it holds in a form that this release reads",
            "run the release that made it, or a newer one",
        )
    })?;
    let installation = session.installation()?;
    let material = session.unlock_material(&header.keys.slots, &installation)?;
    let (slot, mut opened) = sealed.unlock(&material)?;
    copy_out(&mut opened, copy, about.bytes, session)?;
    // Brought up to this release's format, if it is older: it is a copy, and thrown away or put back.
    let store = SqliteStore::open(copy, environment(&installation, session.surroundings))?;
    store.check_completely().await?;
    let checkpoints = match &about.checkpoint {
        None => Vec::new(),
        Some(text) => vec![
            text.parse::<SignedCheckpoint>()
                .map_err(|error| Failure::of(Exit::Failed, &error, "take another backup"))?,
        ],
    };
    let verification = Verification {
        deep: true,
        heads: vec![Head {
            seq: about.records,
            hash: about.head,
        }],
        checkpoints,
        ..Verification::default()
    };
    let found = store.verify_trail(verification).await?;
    Ok(Unsealed {
        header,
        about,
        slot,
        found,
    })
}

fn copy_out(
    opened: &mut OpenBackup<BufReader<File>>,
    copy: &Path,
    bytes: u64,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let unwritten = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("`{}` cannot be written: {error}", copy.display()),
            "check that the disk has room for the whole store",
        )
    };
    let target = private(copy).map_err(unwritten)?;
    let total = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut progress = Progress::new(session.console, "bytes opened");
    let mut target = BufWriter::new(target);
    opened.copy_to(&mut target, |done| {
        progress.at(usize::try_from(done).unwrap_or(usize::MAX), total);
    })?;
    drop(progress);
    target
        .into_inner()
        .map_err(|error| unwritten(error.into_error()))?;
    Ok(())
}

async fn verify(file: &Path, session: &mut Session<'_>) -> Result<Exit, Failure> {
    // Beside the backup: there is room, and whoever may read the backup's folder may not read this one.
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let scratch =
        TempDir::with_prefix_in(".bursar-verify-", folder).map_err(|error| unwritten(file, &error))?;
    let unsealed = unseal(file, &scratch.path().join("copy"), session).await?;
    let report = &unsealed.found.report;
    let mut page = Page::new();
    page.line(format!("backup {}", file.display()));
    let trail = Cell::new(report).tone(if report.is_whole() { Tone::Good } else { Tone::Bad });
    let found = [
        ("opened by", Cell::new(format!("slot {}", unsealed.slot))),
        ("store", Cell::new("every page is whole").tone(Tone::Good)),
        ("audit trail", trail),
    ];
    page.facts(facts(&unsealed.header, &unsealed.about).into_iter().chain(found));
    let mut document = backup_json(&unsealed.header, &unsealed.about);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("slot".to_owned(), json!(unsealed.slot));
        fields.insert("whole".to_owned(), json!(report.is_whole()));
        fields.insert("audit".to_owned(), json!(report.to_string()));
    }
    session.console.answer(&page, &document);
    Ok(if report.is_whole() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn facts(header: &BackupHeader, about: &About) -> Vec<(&'static str, Cell)> {
    let slots: Vec<String> = header.keys.slots.iter().map(|slot| slot.id.to_string()).collect();
    vec![
        ("id", Cell::new(header.id)),
        ("store id", Cell::new(header.store)),
        ("made", Cell::new(moment(header.created_at))),
        (
            "records",
            Cell::new(format!("{}, the last {}", about.records, about.head)),
        ),
        ("size", Cell::new(format!("{} bytes", about.bytes))),
        ("opens with", Cell::new(slots.join(", "))),
    ]
}

fn backup_json(header: &BackupHeader, about: &About) -> Value {
    json!({
        "id": header.id,
        "store": header.store,
        "created_at": header.created_at,
        "key": header.key,
        "slots": header.keys.slots.iter().map(|slot| &slot.id).collect::<Vec<_>>(),
        "about": about,
    })
}

/// A name beside the store that nothing else has.
fn scratch_beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(format!(".copy-{}", std::process::id()));
    PathBuf::from(name)
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    PathBuf::from(name)
}

fn private(path: &Path) -> std::io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Under its name whole or not at all, and never over another file.
fn publish(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::hard_link(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn unwritten(file: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the backup `{}` cannot be written: {error}", file.display()),
        "name a folder that you may write to and that has room",
    )
}
