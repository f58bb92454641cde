//! `bursar doctor`: whether everything that has to be there is there, one line each.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bursar_auth::{Account, Directory};
use bursar_controls::KeyState;
use bursar_execution::{Conditions, ConnectionState, Journal};
use bursar_keystore::{Header, KeyPurpose, KeyStore, KeysError, SlotKind, SlotsFound, UnlockMaterial, Vault};
use bursar_model::AccountMode;
use bursar_store_sqlite::{SqliteStore, StoreError, Tombstone, free_bytes};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::channels::secret_files;
use crate::checkpoint_file::OutsideCopy;
use crate::commands::audit::WITHOUT_COPY;
use crate::commands::keystore::seal;
use crate::render::{Cell, Page, Table, Tone, age, count, moment};
use crate::session::{Opened, Session};
use crate::sole::daemon_of;
use crate::unlock::{UNLOCK_VARIABLE, key_file, unlock_file};
use crate::{Exit, Failure, Installation, tombstones};

#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the settings, the store, its disk, the ways to unlock it, the keys, backups, the audit trail, the
clock and the accounts; changes nothing. Exit 1 when something is bad. The whole trail is checked by
`bursar audit verify`, a backup by `bursar backup verify`.

Examples:
  bursar doctor
  bursar doctor --json")]
pub struct Doctor {}

/// A backup that is older is worth a word.
const BACKUP_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So is a key whose rights nobody has asked for so long; the daemon asks at every connect.
const RIGHTS_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// An exchange's clock is looked at every few seconds while the daemon runs.
const CLOCK_AGE: SignedDuration = SignedDuration::from_mins(5);
/// What others than the owner may do with a file.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// A checkpoint is signed at least every minute in which something is recorded.
const CHECKPOINT_AGE: SignedDuration = SignedDuration::from_mins(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Caution,
    Bad,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Caution => "look",
            Self::Bad => "bad",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Good => Tone::Good,
            Self::Caution => Tone::Caution,
            Self::Bad => Tone::Bad,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do; empty where all is well.
    hint: String,
}

impl Finding {
    fn json(&self) -> FindingDocument<'_> {
        FindingDocument {
            check: self.check,
            verdict: self.verdict.name(),
            found: &self.found,
            hint: &self.hint,
        }
    }
}

/// Whether everything that has to be there is there.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Examination")]
pub(crate) struct Examined<'a> {
    checks: Vec<FindingDocument<'a>>,
    /// How many are bad.
    bad: usize,
    /// How many somebody should look at.
    look: usize,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
struct FindingDocument<'a> {
    check: &'a str,
    verdict: &'a str,
    found: &'a str,
    /// What to do; empty where all is well.
    hint: &'a str,
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Verdict::Good, found.into(), "");
    }

    fn caution(&mut self, check: &'static str, found: impl Into<String>, hint: &str) {
        self.add(check, Verdict::Caution, found.into(), hint);
    }

    fn bad(&mut self, check: &'static str, found: impl Into<String>, hint: &str) {
        self.add(check, Verdict::Bad, found.into(), hint);
    }

    fn failed(&mut self, check: &'static str, failure: &Failure) {
        self.bad(check, failure.message(), failure.hint());
    }

    fn add(&mut self, check: &'static str, verdict: Verdict, found: String, hint: &str) {
        let hint = hint.to_owned();
        self.0.push(Finding {
            check,
            verdict,
            found,
            hint,
        });
    }
}

impl Doctor {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let mut findings = Findings::default();
        match session.installation() {
            Ok(installation) => look(&installation, &mut findings, session).await,
            Err(failure) => findings.failed("settings", &failure),
        }
        let findings = findings.0;
        let mut table = Table::new(&["CHECK", "", "FOUND"]);
        for finding in &findings {
            table.row([
                Cell::new(finding.check),
                Cell::new(finding.verdict.name()).tone(finding.verdict.tone()),
                Cell::new(&finding.found),
            ]);
        }
        let mut page = Page::new();
        page.table(&table, "");
        let open: Vec<&Finding> = findings
            .iter()
            .filter(|finding| !finding.hint.is_empty())
            .collect();
        if !open.is_empty() {
            page.heading("What to do");
            for finding in open {
                page.line(format!("  {}: {}", finding.check, finding.hint));
            }
        }
        let count_of = |verdict| {
            findings
                .iter()
                .filter(|finding| finding.verdict == verdict)
                .count()
        };
        let document = Examined {
            checks: findings.iter().map(Finding::json).collect(),
            bad: count_of(Verdict::Bad),
            look: count_of(Verdict::Caution),
        };
        session.console.answer(&page, &document);
        Ok(if count_of(Verdict::Bad) == 0 {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

async fn look(installation: &Installation, findings: &mut Findings, session: &Session<'_>) {
    settings(installation, findings);
    files(installation, findings, session);
    disk(installation, findings);
    let daemon = daemon_of(&installation.store);
    match daemon {
        None => findings.caution("daemon", "none runs", "start it with `bursard run`"),
        // It starts, and has not noted its number yet.
        Some(0) => findings.good("daemon", "one starts".to_owned()),
        Some(process) => findings.good("daemon", format!("process {process}")),
    }
    emergency(installation, findings);
    let opened = match session.open_to_look(installation) {
        Ok(store) => session.opened(installation.clone(), store),
        Err(error @ (StoreError::Older { .. } | StoreError::Newer { .. })) => {
            return findings.failed("format", &error.into());
        }
        Err(error) => return findings.failed("store", &error.into()),
    };
    findings.good("store", "opens, and has this release's format");
    let now = session.surroundings.now();
    unlocking(&opened, findings, session).await;
    told("erased keys", erased_keys(&opened, findings).await, findings);
    told("rights", rights(&opened, now, findings).await, findings);
    told("backups", backups(&opened, now, findings).await, findings);
    told("audit", audit(&opened, now, findings, session).await, findings);
    told("clock", clock(&opened, now, findings).await, findings);
    told(
        "accounts",
        accounts(&opened, daemon.is_some(), findings).await,
        findings,
    );
    told("switches", switches(&opened, findings).await, findings);
}

/// What cannot be looked at is bad.
fn told(check: &'static str, looked: Result<(), Failure>, findings: &mut Findings) {
    if let Err(failure) = looked {
        findings.failed(check, &failure);
    }
}

fn settings(installation: &Installation, findings: &mut Findings) {
    let from = installation.file.as_ref().map_or_else(
        || "every value is the default".to_owned(),
        |file| file.display().to_string(),
    );
    let warnings: Vec<String> = installation.warnings.iter().map(ToString::to_string).collect();
    if warnings.is_empty() {
        findings.good("settings", from);
    } else {
        findings.caution("settings", warnings.join("; "), &format!("change {from}"));
    }
}

/// Others than the owner have no business in the store's folder and with what is secret, and none but the owner
/// says in the settings what is traded.
fn files(installation: &Installation, findings: &mut Findings, session: &Session<'_>) {
    let folder = installation.store.parent().unwrap_or(&installation.data_dir);
    for path in [folder, installation.store.as_path()] {
        let Ok(file) = fs::metadata(path) else {
            // Whether the store is there is another check.
            return;
        };
        if let Some(found) = open_to_others(path, &file, OTHERS) {
            return findings.bad("files", found, &format!("run `chmod go-rwx {}`", path.display()));
        }
    }
    let mut secrets = secret_files(&installation.settings, &session.surroundings.directory);
    secrets.push(tombstones::list(installation).path().to_owned());
    let settings = installation.file.iter().map(|file| (file, OTHERS_WRITE, "go-w"));
    let looked_at = secrets.iter().map(|file| (file, OTHERS, "go-rwx"));
    let mut is_open = false;
    for (path, mask, closed) in looked_at.chain(settings) {
        // One that is missing is told where it is used.
        if let Ok(file) = fs::metadata(path)
            && let Some(found) = open_to_others(path, &file, mask)
        {
            is_open = true;
            findings.caution(
                "files",
                found,
                &format!("run `chmod {closed} {}`", path.display()),
            );
        }
    }
    if !is_open {
        findings.good("files", "what is secret is readable by its owner alone");
    }
}

fn open_to_others(path: &Path, file: &fs::Metadata, mask: u32) -> Option<String> {
    let found = || format!("`{}` has mode {:04o}", path.display(), file.mode() & 0o7777);
    (file.mode() & mask != 0).then(found)
}

fn disk(installation: &Installation, findings: &mut Findings) {
    let folder = installation.store.parent().unwrap_or(&installation.data_dir);
    let needed = u64::from(installation.settings.switches.min_free_mb);
    let megabytes = |bytes: u64| bytes.checked_div(1_000_000).unwrap_or_default();
    match free_bytes(folder).map(megabytes) {
        Ok(free) if free < needed => findings.bad(
            "disk",
            format!("{free} MB free; below {needed} MB no new risk is taken"),
            "make room on the disk of the store",
        ),
        Ok(free) => findings.good("disk", format!("{free} MB free")),
        Err(error) => findings.bad("disk", error.to_string(), "check `data_dir` in the settings"),
    }
    let ballast = installation.ballast();
    if installation.settings.switches.ballast_mb > 0 && !ballast.path().exists() {
        findings.caution(
            "ballast",
            format!("`{}` is not there", ballast.path().display()),
            "the daemon makes it when it starts, where there is room",
        );
    }
}

fn emergency(installation: &Installation, findings: &mut Findings) {
    let file = installation.emergency_file();
    match file.read() {
        Ok(None) => {}
        Ok(Some(_)) => findings.caution(
            "emergency file",
            format!("stops wait in `{}`", file.path().display()),
            "the daemon obeys them; `bursar latches` takes them over into the store",
        ),
        Err(error) => findings.bad(
            "emergency file",
            error.to_string(),
            "make it readable for whoever runs the daemon",
        ),
    }
    if installation.halt_file().exists() {
        findings.caution(
            "halt file",
            format!("`{}` halts everything", installation.halt_file().display()),
            "remove it when the reason is gone, then release the switch",
        );
    }
}

/// Each slot whose key is at hand is proved; with the first of them everything is opened, unless somebody has
/// sealed the store.
async fn unlocking(opened: &Opened, findings: &mut Findings, session: &Session<'_>) {
    let header = match opened.store.load_header().await {
        Ok(Some(header)) => header,
        Ok(None) => {
            return findings.bad(
                "slots",
                "the store has no keys",
                "run `bursar init` again: it goes on",
            );
        }
        Err(error) => return findings.failed("slots", &error.into()),
    };
    let keys = match session.locked(opened).await {
        Ok(keys) => keys,
        Err(failure) => return findings.failed("slots", &failure),
    };
    let sealing = match opened.store.sealing().await {
        Ok(sealing) => sealing,
        Err(error) => return findings.failed("slots", &error.into()),
    };
    let mut proved = Vec::new();
    for material in at_hand(&header, opened, session) {
        let proof = match sealing {
            None => keys.unlock(&material).await,
            Some(_) => keys.prove_slot(&material).await,
        };
        match proof {
            Ok(slot) => proved.push(slot),
            Err(error) => findings.failed("slots", &error.into()),
        }
    }
    let not: Vec<String> = header
        .slots
        .iter()
        .map(|slot| &slot.id)
        .filter(|id| !proved.contains(id))
        .map(ToString::to_string)
        .collect();
    let names: Vec<String> = proved.iter().map(ToString::to_string).collect();
    if proved.is_empty() {
        findings.caution(
            "slots",
            format!("none was proved; there is {}", not.join(", ")),
            "prove each with `bursar keystore slot prove`, and name its key",
        );
    } else {
        let rest = if not.is_empty() {
            String::new()
        } else {
            format!("; not at hand: {}", not.join(", "))
        };
        findings.good("slots", format!("{} opens the store{rest}", names.join(", ")));
    }
    if !header.slots.iter().any(|slot| slot.kind == SlotKind::Recovery) {
        findings.caution(
            "recovery",
            "there is no recovery code",
            "make one with `bursar keystore slot add recovery`",
        );
    }
    if session.surroundings.variable(UNLOCK_VARIABLE).is_some() {
        findings.caution(
            "unlock key",
            format!("{UNLOCK_VARIABLE} is set: others who run as this user can read it"),
            "prefer a credential of systemd or a file: `bursar keystore slot add`",
        );
    }
    if let Some(sealing) = sealing {
        findings.caution("sealed", seal::told(&sealing), seal::HINT);
    } else if !proved.is_empty() {
        credentials(&keys, findings).await;
    }
}

/// What unlocks the store without anybody being asked.
fn at_hand(header: &Header, opened: &Opened, session: &Session<'_>) -> Vec<UnlockMaterial> {
    let mut materials = session.at_hand();
    let typed = session.global.unlock_file.as_deref();
    let has = |kinds: fn(&SlotKind) -> bool| header.slots.iter().any(|slot| kinds(&slot.kind));
    // Where the daemon is handed another key, the file is often removed, or lies on another disk.
    let is_needed = typed.is_some() || !has(|kind| !matches!(kind, SlotKind::File | SlotKind::Recovery));
    if has(|kind| *kind == SlotKind::File)
        && let Ok(file) = unlock_file(typed, &opened.installation, session.surroundings)
        && (is_needed || file.exists())
    {
        materials.push(UnlockMaterial::File(key_file(file, &opened.installation)));
    }
    materials.retain(|material| {
        header
            .slots
            .iter()
            .any(|slot| slot.kind.name() == material.kind())
    });
    materials
}

async fn credentials(keys: &KeyStore, findings: &mut Findings) {
    let proof = keys.prove().await;
    if proof
        .as_ref()
        .is_ok_and(|proof| proof.slots == SlotsFound::Damaged)
    {
        let damaged = KeysError::SlotDamaged;
        findings.bad("slots", damaged.to_string(), &damaged.hint());
    }
    match proof {
        Ok(proof) if proof.damaged.is_empty() => {
            let opened = count(proof.opened, "credential opens", "credentials open");
            findings.good("keys", opened);
        }
        Ok(proof) => {
            let of: Vec<&str> = proof
                .damaged
                .iter()
                .map(|facts| facts.place.account.as_str())
                .collect();
            findings.bad(
                "keys",
                format!("the keys of {} do not open", of.join(", ")),
                "enter them anew with `bursar credentials set`, then run `bursar audit verify --deep`",
            );
        }
        Err(error) => findings.bad("keys", error.to_string(), error.hint()),
    }
    let wrapping = keys.key_ids().unwrap_or_default();
    let wrapping = wrapping.iter().filter(|id| id.purpose == KeyPurpose::Kek);
    if wrapping.count() > 1 {
        findings.caution(
            "wrapping key",
            "a rotation has not come to its end",
            "run `bursar keystore rotate wrapping-key` again: it goes on",
        );
    }
}

/// A key that was erased is in the store again only with an older copy of it, or where somebody was killed while it
/// was erased.
async fn erased_keys(opened: &Opened, findings: &mut Findings) -> Result<(), Failure> {
    const CHECK: &str = "erased keys";
    let (store, list) = (&opened.store, tombstones::list(&opened.installation));
    let mut problems = false;
    // One in the place of which there is another is erased by the daemon when it is due, listed or not.
    for facts in store.current_credentials().await? {
        if store.is_erased(facts.id).await? {
            problems = true;
            let account = &facts.place.account;
            findings.bad(
                CHECK,
                format!("the key …{} of `{account}` was erased, is there again, and is refused", facts.public_key_hint),
                &format!(
                    "was an older copy of the store put in its place? then see docs/runbooks/restored.md; erase it again \
                     with `bursar credentials delete {account}`, and delete it at the exchange"
                ),
            );
        }
    }
    let listed = tombstones::read(&list)?;
    if let Some(cut) = &listed.cut {
        problems = true;
        let hint =
            "compare it with the copy that is kept elsewhere; the next key that is erased takes its place";
        findings.caution(CHECK, format!("the last line of the list is cut: {cut}"), hint);
    }
    let is_listed = |key: &Tombstone| listed.keys.iter().any(|known| known.credential == key.credential);
    let missing = store
        .tombstones()
        .await?
        .iter()
        .filter(|key| !is_listed(key))
        .count();
    if missing > 0 {
        problems = true;
        findings.caution(
            CHECK,
            format!("{} not on the list `{}`", count(missing, "is", "are"), list.path().display()),
            "the daemon adds what the store knows when it starts; put back a copy of the list that knows more",
        );
    }
    if !problems {
        findings.good(
            CHECK,
            format!("{} listed, none is in the store", listed.keys.len()),
        );
    }
    Ok(())
}

async fn rights(opened: &Opened, now: Timestamp, findings: &mut Findings) -> Result<(), Failure> {
    let store = &opened.store;
    let (mut fit, mut problems) = (0_usize, false);
    for account in open_accounts(store).await? {
        if account.mode() == AccountMode::Paper {
            continue;
        }
        let id = account.id();
        match store.key_state(id).await? {
            KeyState::Admitted { checked_at } if now.duration_since(checked_at) > RIGHTS_AGE => {
                problems = true;
                let since = moment(checked_at);
                findings.caution(
                    "rights",
                    format!("the key of `{id}` was last checked at {since}"),
                    &format!("run `bursar credentials check {id}`"),
                );
            }
            KeyState::Admitted { .. } => fit = fit.saturating_add(1),
            KeyState::Refused { reason } => {
                problems = true;
                let hint = format!("run `bursar credentials check {id}`, or enter another key");
                findings.bad("rights", format!("the key of `{id}` is refused: {reason}"), &hint);
            }
            KeyState::Missing => {
                problems = true;
                let hint = format!("run `bursar credentials set {id}`");
                findings.caution("rights", format!("`{id}` has no key"), &hint);
            }
            KeyState::NotNeeded => {}
        }
    }
    if !problems {
        findings.good(
            "rights",
            count(fit, "key is fit for trading", "keys are fit for trading"),
        );
    }
    Ok(())
}

async fn open_accounts(store: &SqliteStore) -> Result<Vec<Account>, Failure> {
    let mut accounts = store.accounts().await?;
    accounts.retain(Account::is_open);
    Ok(accounts)
}

async fn backups(opened: &Opened, now: Timestamp, findings: &mut Findings) -> Result<(), Failure> {
    const MAKE_ONE: &str = "run `bursar backup create FOLDER`, and prove it with `bursar backup verify`";
    match opened.store.last_published_backup().await? {
        None => findings.caution("backups", "none was ever made", MAKE_ONE),
        Some(backup) => {
            let old = now.duration_since(backup.at);
            let found = format!("the last is of {}", moment(backup.at));
            if old > BACKUP_AGE {
                findings.caution("backups", found, MAKE_ONE);
            } else {
                findings.good("backups", found);
            }
        }
    }
    Ok(())
}

async fn audit(
    opened: &Opened,
    now: Timestamp,
    findings: &mut Findings,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let state = opened.store.checkpoint_state().await?;
    let head = format!("the head is record {}", state.records);
    match state.last {
        None => findings.caution(
            "audit",
            format!("{head}, and nothing is signed yet"),
            "start the daemon: it signs checkpoints",
        ),
        Some((size, at)) => {
            let covered = if size < state.records {
                format!("records up to {size}")
            } else {
                "it".to_owned()
            };
            let found = format!(
                "{head}; the newest signed checkpoint covers {covered}, and is {} old",
                since(now, at)
            );
            if size < state.records && now.duration_since(at) > CHECKPOINT_AGE {
                findings.caution("audit", found, "start the daemon: it signs checkpoints");
            } else {
                findings.good("audit", found);
            }
        }
    }
    let Some(outside) = OutsideCopy::of(&opened.installation, &session.surroundings.directory)? else {
        findings.caution(
            "outside copy",
            WITHOUT_COPY,
            "name a file on another volume in `audit.checkpoint_file`",
        );
        return Ok(());
    };
    outside_copy(&outside, opened, findings).await
}

async fn outside_copy(
    outside: &OutsideCopy,
    opened: &Opened,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let Some(file) = outside.read()? else {
        if opened.store.last_checkpoint().await?.is_some() {
            findings.bad(
                "outside copy",
                format!("`{}` is not there", outside.path().display()),
                "mount its volume; if it was never written to, make it empty: the daemon compares before it writes",
            );
        } else {
            findings.caution(
                "outside copy",
                "it holds nothing yet",
                "start the daemon: it writes it",
            );
        }
        return Ok(());
    };
    let newest = file
        .checkpoints
        .iter()
        .max_by_key(|signed| signed.checkpoint().size);
    let Some(newest) = newest else {
        findings.caution(
            "outside copy",
            "it holds nothing yet",
            "start the daemon: it writes it",
        );
        return Ok(());
    };
    let size = newest.checkpoint().size;
    match opened.store.checkpoint_of(size).await? {
        Some(kept) if kept == newest.to_string() => {
            findings.good("outside copy", format!("agrees with the store at {size} records"));
        }
        _ => findings.bad(
            "outside copy",
            format!("has a checkpoint of {size} records that the store does not have"),
            "the store was put back or rewritten: run `bursar audit verify`, compare with the exchange",
        ),
    }
    if outside.is_on_volume_of(opened.store.path()) {
        findings.caution(
            "outside copy",
            "it is on the volume of the store",
            "name a file on another volume in `audit.checkpoint_file`",
        );
    }
    Ok(())
}

async fn clock(opened: &Opened, now: Timestamp, findings: &mut Findings) -> Result<(), Failure> {
    let mut agrees = None;
    let compared = opened.store.confirmed_clocks().await?;
    if compared.is_empty() {
        findings.caution(
            "clock",
            "was never compared with an exchange",
            "start the daemon: it compares it when an account connects",
        );
    }
    for (broker, at) in compared {
        if now.duration_since(at).abs() > CLOCK_AGE {
            findings.caution(
                "clock",
                format!("last compared with {broker} {} ago", since(now, at)),
                "start the daemon; if it runs, set this machine's clock: `timedatectl status`",
            );
        } else {
            agrees = Some(broker);
        }
    }
    if let Some(broker) = agrees {
        findings.good("clock", format!("agrees with {broker}"));
    }
    Ok(())
}

fn since(now: Timestamp, at: Timestamp) -> String {
    age(i64::try_from(now.duration_since(at).as_millis()).unwrap_or(i64::MAX))
}

async fn accounts(opened: &Opened, has_daemon: bool, findings: &mut Findings) -> Result<(), Failure> {
    let connections = opened.store.connections().await?;
    let (mut ready, mut all) = (0_usize, 0_usize);
    for account in open_accounts(&opened.store).await? {
        all = all.saturating_add(1);
        let of = connections.iter().find(|(id, _)| id == account.id());
        match of.map(|(_, connection)| connection) {
            Some(connection) if connection.state == ConnectionState::Ready => ready = ready.saturating_add(1),
            Some(connection) if !connection.cause.is_empty() => findings.caution(
                "accounts",
                format!("`{}` is {}: {}", account.id(), connection.state, connection.cause),
                "see `bursar hierarchy`",
            ),
            _ => {}
        }
    }
    let found = format!("{ready} of {all} ready");
    if has_daemon && ready < all {
        findings.caution(
            "accounts",
            found,
            "see `bursar hierarchy`, and the log of the daemon",
        );
    } else {
        findings.good("accounts", found);
    }
    Ok(())
}

async fn switches(opened: &Opened, findings: &mut Findings) -> Result<(), Failure> {
    let on = opened.store.latches().await?.len();
    if on == 0 {
        findings.good("switches", "none is on");
    } else {
        findings.caution("switches", count(on, "is on", "are on"), "see `bursar latches`");
    }
    Ok(())
}
