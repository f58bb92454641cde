//! `bursar backup`: sealed copies of the store, and a store in the place of one that is lost.

mod remains;
pub(crate) mod restore;

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bursar_audit::{Hash, Head, SignedCheckpoint};
use bursar_auth::Act;
use bursar_keystore::{
    BackupHeader, CredentialFacts, KeyId, KeyStore, KeysError, OpenBackup, Proof, SealedBackup, SlotId,
    SlotsFound, StoreId, Vault,
};
use bursar_model::CredentialId;
use bursar_store_sqlite::{
    KnownBackup, OlderFormat, SqliteStore, StoreCopy, Verification, Verified, free_bytes,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::chain;
use crate::installation::beside;
use crate::output_file::{new_private, publish, refuse_over, unfinished};
use crate::progress::{Progress, waited};
use crate::render::{Cell, Page, Tone, count, moment};
use crate::scratch::Scratch;
use crate::session::{Opened, Session, environment};
use crate::unlock::unlock_file;
use crate::{Exit, Failure, Installation};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        refuse_over(&file, "name another file or a folder")?;
        lies_apart(&file, &opened.installation, session)?;
        let act = session.act();
        let (keys, unlocked) = session.unlocked(&opened).await?;
        let slots = keys.prove_slots().await;
        let slots = slots.map_err(|error| Failure::of(Exit::Unavailable, &error, error.hint()))?;
        opened.list_erased_keys().await?;

        let scratch = Scratch::beside(&opened.installation.store)?;
        // One process at a time comes here: none that is left there is still at work on this store.
        for gone in remains::remove(&file, &opened.store, now).await? {
            session.console.warn(&format!(
                "removed `{}`, which a backup that was killed had left",
                gone.display()
            ));
        }
        has_room(
            size_of_store(&opened.installation),
            &scratch.path,
            &opened.installation,
        )?;
        let facts = copied(&opened, &scratch.path, session).await?;
        let about = About::from(&facts);
        let unfinished = unfinished(&file);
        scratch.also(unfinished.clone());
        let sealed = seal(&scratch.path, &unfinished, &about, &keys, session).await;
        let published = match sealed {
            Ok(header) => {
                let known = known(&header, &about);
                recorded(&known, &unfinished, &file, &opened, &act)
                    .await
                    .map(|()| header)
            }
            Err(failure) => Err(failure),
        };
        drop(fs::remove_file(&unfinished));
        let header = published?;
        drop(scratch);
        if let Err(error) = opened
            .store
            .backup_published(header.id, session.surroundings.now())
            .await
        {
            session.console.warn(&format!(
                "the backup is there, and `bursar doctor` does not count it: {}",
                chain(&error)
            ));
        }

        if slots == SlotsFound::Damaged {
            session.console.warn(&damaged_slot(&header, &unlocked.slot));
        }
        let mut page = Page::new();
        page.line(format!("backup {}", file.display()));
        page.facts(facts_of(&header, &about));
        page.blank();
        page.line(format!("prove it: bursar backup verify {}", file.display()));
        let document = Created {
            backup: backup_json(&header, &about),
            file: &file,
            slots_whole: slots == SlotsFound::Whole,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

/// Copies the store. Only the size of the copy tells how far that is: it is at most as large as the store.
async fn copied(opened: &Opened, copy: &Path, session: &mut Session<'_>) -> Result<StoreCopy, Failure> {
    let size = |path: &Path| {
        let bytes = fs::metadata(path).map_or(0, |file| file.len());
        usize::try_from(bytes).unwrap_or(usize::MAX)
    };
    let store = &opened.installation.store;
    let look = || {
        let done = size(copy);
        (done, size(store).max(done))
    };
    let progress = Progress::new(session.console, "bytes copied");
    let copying = opened.store.copy_into(copy);
    Ok(progress.of(session.console, look, copying).await?)
}

/// Seals the copy into a new file, and makes it last there.
async fn seal(
    copy: &Path,
    to: &Path,
    about: &About,
    keys: &KeyStore,
    session: &mut Session<'_>,
) -> Result<BackupHeader, Failure> {
    let failed = |error: std::io::Error| unwritten(to, &error);
    let text = serde_json::to_string(about).map_err(|error| unwritten(to, &error))?;
    let mut contents = BufReader::new(File::open(copy).map_err(failed)?);
    let mut target = BufWriter::new(new_private(to).map_err(failed)?);
    let total = usize::try_from(about.bytes).unwrap_or(usize::MAX);
    let now = session.surroundings.now();
    let mut progress = Progress::new(session.console, "bytes sealed");
    let header = keys
        .seal_backup(text, now, &mut contents, &mut target, |done| {
            progress.at(
                session.console,
                usize::try_from(done).unwrap_or(usize::MAX),
                total,
            );
        })
        .await?;
    drop(progress);
    let target = target.into_inner().map_err(|error| failed(error.into_error()))?;
    target.sync_all().map_err(failed)?;
    let installation = session.installation()?;
    let environment = environment(&installation, session.surroundings);
    let inside = SqliteStore::open_read_only(copy, environment)?
        .load_header()
        .await?;
    // What opens the outside must open what is inside.
    if inside.is_none_or(|inside| inside.slots != header.keys.slots || inside.root != header.keys.root) {
        return Err(Failure::new(
            Exit::Failed,
            "the slots of the key store were changed while the backup was made",
            "run the command again",
        ));
    }
    Ok(header)
}

/// Gives a backup its name after it is in the trail: none is there of which nobody knows which keys are in it.
async fn recorded(
    known: &KnownBackup,
    unfinished: &Path,
    file: &Path,
    opened: &Opened,
    act: &Act,
) -> Result<(), Failure> {
    opened.store.remember_backup(known, act).await?;
    publish(unfinished, file).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!(
                "the backup is in the trail and cannot be given its name `{}`: {error}",
                file.display()
            ),
            "it is not there: make another, in a folder that you may write to",
        )
    })
}

fn known(header: &BackupHeader, about: &About) -> KnownBackup {
    KnownBackup {
        id: header.id,
        at: header.created_at,
        seq: about.records,
    }
}

/// With what is still in its log.
fn size_of_store(installation: &Installation) -> u64 {
    let size = |suffix: &str| fs::metadata(beside(&installation.store, suffix)).map_or(0, |file| file.len());
    size("").saturating_add(size("-wal"))
}

/// A copy of the whole store fits where it is made. On the disk of the store it leaves the daemon the room that it
/// needs.
fn has_room(bytes: u64, copy: &Path, installation: &Installation) -> Result<(), Failure> {
    let folder = copy.parent().unwrap_or(&installation.data_dir);
    let is_beside_store = installation.store.parent() == Some(folder);
    let kept = u64::from(installation.settings.switches.min_free_mb).saturating_mul(1_000_000);
    let (kept, why, hint) = if is_beside_store {
        (
            kept,
            ", with what the daemon keeps free",
            "make room first: a full disk stops trading",
        )
    } else {
        (0, "", "make room first, or name another folder in TMPDIR")
    };
    let needed = bytes.saturating_add(kept);
    match free_bytes(folder) {
        Ok(free) if free < needed => Err(Failure::new(
            Exit::Failed,
            format!(
                "a copy of the store needs {needed} bytes on the disk of `{}`{why}; {free} are free",
                folder.display()
            ),
            hint,
        )),
        _ => Ok(()),
    }
}

/// A backup does not lie with the store, which it would be lost with, nor with what opens it.
fn lies_apart(file: &Path, installation: &Installation, session: &Session<'_>) -> Result<(), Failure> {
    let folder_of = |path: &Path| path.parent().and_then(|folder| folder.canonicalize().ok());
    let Some(folder) = folder_of(file) else {
        return Ok(()); // It cannot be written to, and says so.
    };
    for kept in installation.kept_from_keys() {
        if kept.canonicalize().is_ok_and(|kept| folder.starts_with(kept)) {
            return Err(Failure::refused(
                format!(
                    "rule backups-apart: `{}` lies in the folder of the store, and would be lost along with it",
                    file.display()
                ),
                "name a folder elsewhere, best on another machine",
            ));
        }
    }
    let global = &session.global;
    let usual = unlock_file(global.unlock_file.as_deref(), installation, session.surroundings).ok();
    let typed = [&global.passphrase_file, &global.recovery_code_file];
    let typed = typed.into_iter().flatten().map(|file| session.path(file));
    for key in usual.into_iter().chain(typed) {
        if key.exists() && folder_of(&key).is_some_and(|of_key| of_key.starts_with(&folder)) {
            return Err(Failure::refused(
                format!(
                    "rule keys-apart: `{}`, which opens the backup, lies where the backup would lie",
                    key.display()
                ),
                "name another folder, best on another machine",
            ));
        }
    }
    Ok(())
}

/// A backup that was opened whole into a file that only this user can read.
struct Unsealed {
    header: BackupHeader,
    about: About,
    slot: SlotId,
    found: Verified,
    /// What of its keys opens. A slot that does not is in it since it was made: all of a backup is sealed.
    keys: Proof,
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
    has_room(about.bytes, copy, &installation)?;
    copy_out(&mut opened, copy, about.bytes, session)?;
    // Brought up to this release's format, if it is older: it is a copy, and thrown away or put back.
    let mut environment = environment(&installation, session.surroundings);
    environment.older = OlderFormat::BroughtUpToDate;
    let store = SqliteStore::open(copy, environment)?;
    let checking = store.check_completely();
    waited(session.console, "every page of the store is checked", checking).await?;
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
    let what = format!(
        "{} of the audit trail are verified, and the store is compared",
        count(
            usize::try_from(about.records).unwrap_or(usize::MAX),
            "record",
            "records"
        )
    );
    let found = waited(session.console, &what, store.verify_trail(verification)).await?;
    // The key store inside, not only the one that the backup was opened with.
    let vault: Arc<dyn Vault> = Arc::new(store);
    let inside = KeyStore::open(vault, Arc::clone(&session.surroundings.entropy)).await?;
    inside.unlock(&material).await?;
    let keys = inside
        .prove()
        .await
        .map_err(|error| Failure::of(Exit::Failed, &error, "take another backup"))?;
    Ok(Unsealed {
        header,
        about,
        slot,
        found,
        keys,
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
    let target = new_private(copy).map_err(unwritten)?;
    let total = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut progress = Progress::new(session.console, "bytes opened");
    let mut target = BufWriter::new(target);
    opened.copy_to(&mut target, |done| {
        progress.at(
            session.console,
            usize::try_from(done).unwrap_or(usize::MAX),
            total,
        );
    })?;
    drop(progress);
    target
        .into_inner()
        .map_err(|error| unwritten(error.into_error()))?;
    Ok(())
}

async fn verify(file: &Path, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let installation = session.installation()?;
    // Never beside the backup: where sealed copies are kept nothing else belongs.
    let folder = installation.store.parent().is_some_and(Path::is_dir);
    let scratch = if folder {
        Scratch::beside(&installation.store)?
    } else {
        Scratch::elsewhere(&std::env::temp_dir())?
    };
    let unsealed = unseal(file, &scratch.path, session).await?;
    drop(scratch);
    let report = &unsealed.found.report;
    let mut page = Page::new();
    page.line(format!("backup {}", file.display()));
    let trail = Cell::new(report).tone(if report.is_whole() { Tone::Good } else { Tone::Bad });
    let found = [
        ("opened by", Cell::new(format!("slot {}", unsealed.slot))),
        ("store", Cell::new("every page is whole").tone(Tone::Good)),
        ("audit trail", trail),
        ("keys", keys_cell(&unsealed.keys.damaged)),
        ("slots", slots_cell(&unsealed)),
    ];
    page.facts(
        facts_of(&unsealed.header, &unsealed.about)
            .into_iter()
            .chain(found),
    );
    let is_whole = report.is_whole() && unsealed.keys.is_whole();
    let document = Proved {
        backup: backup_json(&unsealed.header, &unsealed.about),
        slot: &unsealed.slot,
        whole: is_whole,
        slots_whole: unsealed.keys.slots == SlotsFound::Whole,
        damaged: unsealed.keys.damaged.iter().map(|facts| facts.id).collect(),
        audit: report.to_string(),
    };
    session.console.answer(&page, &document);
    Ok(if is_whole { Exit::Done } else { Exit::Failed })
}

fn keys_cell(damaged: &[CredentialFacts]) -> Cell {
    if damaged.is_empty() {
        return Cell::new("every credential opens").tone(Tone::Good);
    }
    let of: Vec<&str> = damaged.iter().map(|facts| facts.place.account.as_str()).collect();
    Cell::new(format!("damaged: those of {}", of.join(", "))).tone(Tone::Bad)
}

/// Which slot it is that does not open nobody can say, but that it is none which was opened.
fn slots_cell(unsealed: &Unsealed) -> Cell {
    match unsealed.keys.slots {
        SlotsFound::Whole => Cell::new("each is what it was when it was made").tone(Tone::Good),
        SlotsFound::Damaged => Cell::new(format!(
            "damaged: one of {}; `{}` opens the backup",
            others(&unsealed.header, &unsealed.slot),
            unsealed.slot
        ))
        .tone(Tone::Bad),
    }
}

/// The slots that nobody has opened.
fn others(header: &BackupHeader, opened: &SlotId) -> String {
    let slots = header.keys.slots.iter().map(|slot| &slot.id);
    let others: Vec<&str> = slots.filter(|id| *id != opened).map(SlotId::as_str).collect();
    others.join(", ")
}

fn damaged_slot(header: &BackupHeader, opened: &SlotId) -> String {
    format!(
        "{}: `{opened}` opens the backup, and one of {} does not; {}, then another backup",
        KeysError::SlotDamaged,
        others(header, opened),
        KeysError::SlotDamaged.hint()
    )
}

fn facts_of(header: &BackupHeader, about: &About) -> Vec<(&'static str, Cell)> {
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

/// A sealed copy of the store.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Backup")]
struct BackupDocument<'a> {
    id: String,
    store: StoreId,
    created_at: Timestamp,
    key: KeyId,
    /// What it opens with.
    slots: Vec<&'a SlotId>,
    about: &'a About,
}

fn backup_json<'a>(header: &'a BackupHeader, about: &'a About) -> BackupDocument<'a> {
    BackupDocument {
        id: header.id.to_string(),
        store: header.store,
        created_at: header.created_at,
        key: header.key,
        slots: header.keys.slots.iter().map(|slot| &slot.id).collect(),
        about,
    }
}

/// A backup that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BackupCreated")]
pub(crate) struct Created<'a> {
    #[serde(flatten)]
    backup: BackupDocument<'a>,
    file: &'a Path,
    /// Whether each slot is what it was when it was made, so that its key opens the backup.
    slots_whole: bool,
}

/// A backup that was opened and looked at.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BackupProved")]
pub(crate) struct Proved<'a> {
    #[serde(flatten)]
    backup: BackupDocument<'a>,
    /// The slot that opened it.
    slot: &'a SlotId,
    /// Whether its audit trail and its slots are whole, and every credential opens.
    whole: bool,
    /// Whether each slot is what it was when it was made.
    slots_whole: bool,
    /// Exchange keys that do not open.
    damaged: Vec<CredentialId>,
    /// What was found of its audit trail, in words.
    audit: String,
}

fn unwritten(file: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the backup `{}` cannot be written: {error}", file.display()),
        "name a folder that you may write to and that has room",
    )
}
