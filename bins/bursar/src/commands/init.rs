//! `bursar init`: makes a new installation, in four steps.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bursar_auth::Directory as _;
use bursar_config::{Settings, StoreUrl};
use bursar_execution::{Approvals as _, Conditions, settings as rules};
use bursar_keystore::{
    InitError, KeyFileError, KeyStore, NewSlot, PassphraseCost, Secret, Vault, VaultError, check_passphrase,
};
use bursar_model::Tier;
use bursar_store_sqlite::SqliteStore;
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::installation::beside;
use crate::recovery::{Recovery, hand_over, keys_apart};
use crate::render::{self, Page};
use crate::session::{Opened, Session, environment};
use crate::sole::Sole;
use crate::{Exit, Failure, Installation, prompt, unlock};

#[derive(Debug, Args)]
#[command(after_help = "\
Makes the store, its keys, its rules and the settings file. Never writes over anything.

Examples:
  bursar init
  bursar init --unlock-file /etc/bursar/unlock.key
  bursar init --yes --recovery-file /root/bursar-recovery       (in scripts)
  bursar init --passphrase")]
pub struct Init {
    /// Unlock with a passphrase that is typed at every start, instead of a key file
    #[arg(long)]
    passphrase: bool,
    /// Write the recovery code to this new file instead of showing it
    #[arg(long, value_name = "FILE")]
    recovery_file: Option<PathBuf>,
}

/// How the store will be unlocked.
enum Way {
    File(PathBuf),
    Passphrase(Secret),
}

impl Way {
    const fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Passphrase(_) => "passphrase",
        }
    }
}

/// A new store.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StoreMade")]
pub(crate) struct Made<'a> {
    store: &'a Path,
    unlock: MadeUnlock<'a>,
    /// Where the recovery code was written; `null` when it was shown.
    recovery_file: Option<&'a Path>,
    settings_file: &'a Path,
    /// Whether the settings file is new.
    settings_written: bool,
    /// The commands to run next.
    next: Vec<&'static str>,
    /// What to look at in the settings.
    warnings: Vec<String>,
}

/// How the store is unlocked.
#[derive(Serialize, JsonSchema)]
struct MadeUnlock<'a> {
    /// file or passphrase.
    kind: &'static str,
    file: Option<&'a Path>,
    slots: Vec<String>,
}

impl Init {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let (installation, settings_file) = self.installation(session)?;
        let begun = begun(&installation, session).await?;
        let way = self.way(&installation, session)?;
        let recovery = Recovery::chosen(self.recovery_file.as_deref(), &installation, session)?;

        session.console.step(1, 4, "Store");
        // Nobody else goes on from what this command has begun, or takes it away.
        let (store, _sole) = match begun {
            Some((store, sole)) => (take_over(store, &installation, session), sole),
            None => make_store(&installation, session)?,
        };
        let opened = session.opened(installation, store);

        session.console.step(2, 4, "Authentication");
        let kind = way.kind();
        let unlock_file = match &way {
            Way::File(path) => Some(path.clone()),
            Way::Passphrase(_) => None,
        };
        let slots = match make_keys(way, &recovery, &opened, session).await {
            Ok(slots) => slots,
            Err(failure) => {
                take_back(&opened, &failure, session).await;
                return Err(failure);
            }
        };

        session.console.step(3, 4, "Permissions and controls");
        make_rules(&opened, session).await?;

        session.console.step(4, 4, "Configuration");
        let written = write_settings(
            &opened.installation,
            &settings_file,
            unlock_file.as_deref(),
            session,
        )?;

        let page = finish(&opened.installation);
        let document = Made {
            store: &opened.installation.store,
            unlock: MadeUnlock {
                kind,
                file: unlock_file.as_deref(),
                slots,
            },
            recovery_file: recovery.file(),
            settings_file: &settings_file,
            settings_written: written,
            next: NEXT.iter().map(|(command, _)| *command).collect(),
            warnings: (opened.installation.warnings.iter())
                .map(ToString::to_string)
                .collect(),
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    /// The settings as they hold now, and the file that they will be in.
    fn installation(&self, session: &Session<'_>) -> Result<(Installation, PathBuf), Failure> {
        let mut global = session.global.clone();
        let named = global
            .config
            .clone()
            .or_else(|| session.surroundings.variable("BURSAR_CONFIG").map(PathBuf::from))
            .map(|file| session.path(&file));
        match named {
            Some(file) if !file.exists() => {
                global.config = None;
                let installation =
                    Installation::with_defaults(global.data_dir.as_deref(), session.surroundings);
                Ok((installation, file))
            }
            _ => {
                let installation = session.installation()?;
                let file = installation
                    .file
                    .clone()
                    .unwrap_or_else(|| installation.new_file(session.surroundings));
                Ok((installation, file))
            }
        }
    }

    fn way(&self, installation: &Installation, session: &Session<'_>) -> Result<Way, Failure> {
        if self.passphrase || session.global.passphrase_file.is_some() {
            if session.global.unlock_file.is_some() {
                return Err(Failure::usage(
                    "a new store is unlocked by a key file or by a passphrase, and both were named",
                    "name one of them; the recovery code comes on top",
                ));
            }
            let passphrase = match &session.global.passphrase_file {
                Some(file) => prompt::secret_file(&session.path(file))?,
                None => prompt::new_secret(
                    session.console,
                    "New passphrase of the key store",
                    "name a file with it: `--passphrase-file FILE`",
                )?,
            };
            check_passphrase(&passphrase).map_err(InitError::from)?;
            return Ok(Way::Passphrase(passphrase));
        }
        let path = unlock::unlock_file(
            session.global.unlock_file.as_deref(),
            installation,
            session.surroundings,
        )?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Failure::refused(
                format!(
                    "rule never-overwrite: there is an unlock key at `{}` already",
                    path.display()
                ),
                "name another place with `--unlock-file`; remove the file only if it belongs to no store",
            ));
        }
        keys_apart(&path, installation)?;
        place_of_key(&path, installation)?;
        Ok(Way::File(path))
    }
}

/// What the key store would refuse is refused before there is a recovery code that opens nothing.
fn place_of_key(path: &Path, installation: &Installation) -> Result<(), Failure> {
    let checked = unlock::key_file(path.to_owned(), installation).check_place();
    checked.map_err(|error| match error {
        KeyFileError::Inside { .. } | KeyFileError::Beside { .. } => {
            Failure::refused(format!("rule keys-apart: {error}"), error.hint())
        }
        error => Failure::of(Exit::Failed, &error, error.hint()),
    })
}

/// The store of an earlier `init` that ended before its keys were made, as when the terminal closed at
/// the recovery code. Any other store is not touched.
async fn begun(
    installation: &Installation,
    session: &Session<'_>,
) -> Result<Option<(SqliteStore, Sole)>, Failure> {
    if fs::symlink_metadata(&installation.store).is_err() {
        return Ok(None);
    }
    let environment = environment(installation, session.surroundings);
    if let Ok(store) = SqliteStore::open(&installation.store, environment)
        && is_empty(&store).await
    {
        let sole = Sole::copier(&installation.store)?;
        // Whoever was at work here may have ended just now.
        if is_empty(&store).await {
            return Ok(Some((store, sole)));
        }
    }
    Err(Failure::refused(
        format!(
            "rule never-overwrite: there is a store at `{}` already",
            installation.store.display()
        ),
        "use it, name another folder with `--data-dir`, or put this one away first",
    ))
}

/// Whether there is neither a key nor anybody in it.
async fn is_empty(store: &SqliteStore) -> bool {
    store.load_header().await.is_ok_and(|header| header.is_none())
        && store.list().await.is_ok_and(|sealed| sealed.is_empty())
        && store.users().await.is_ok_and(|users| users.is_empty())
}

fn take_over(store: SqliteStore, installation: &Installation, session: &mut Session<'_>) -> SqliteStore {
    session.console.confirm(&format!(
        "store {}, begun earlier and left without keys: goes on from there",
        installation.store.display()
    ));
    store
}

fn make_store(
    installation: &Installation,
    session: &mut Session<'_>,
) -> Result<(SqliteStore, Sole), Failure> {
    for folder in installation.make_folders()? {
        session.console.confirm(&format!("folder {}", folder.display()));
    }
    let sole = Sole::copier(&installation.store)?;
    let environment = environment(installation, session.surroundings);
    let store = SqliteStore::create(&installation.store, environment, &session.act())?;
    session.console.confirm(&format!(
        "store {}, readable by you alone",
        installation.store.display()
    ));
    session
        .console
        .confirm("audit trail begun: every change is recorded in a chain");
    Ok((store, sole))
}

async fn make_keys(
    way: Way,
    recovery: &Recovery,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Vec<String>, Failure> {
    let (slot, shown) = match way {
        Way::File(path) => {
            let shown = format!(
                "unlock key {}, mode 0400: keep a copy away from the store",
                path.display()
            );
            (NewSlot::File(unlock::key_file(path, &opened.installation)), shown)
        }
        Way::Passphrase(passphrase) => (
            NewSlot::Passphrase {
                passphrase,
                cost: PassphraseCost::DEFAULT,
            },
            "passphrase slot: it is typed at every start".to_owned(),
        ),
    };
    let vault: Arc<dyn Vault> = Arc::<SqliteStore>::clone(&opened.store);
    let entropy = Arc::clone(&session.surroundings.entropy);
    let begun = KeyStore::init(vault, entropy, session.surroundings.now(), vec![slot]).await?;
    let slots = begun.slots().iter().map(|slot| slot.id.to_string()).collect();
    let confirmed = hand_over(begun.recovery_code(), recovery, session)?;
    if let Err(error) = begun.finish(confirmed).await {
        // Where the keys may be stored after all, the code may open them.
        let is_unclear = matches!(
            error,
            InitError::Vault {
                source: VaultError::Unavailable { .. }
            }
        );
        if !is_unclear {
            recovery.forget();
        }
        return Err(error.into());
    }
    session
        .console
        .confirm("keyring made: exchange keys are sealed before they are stored");
    session.console.confirm(&shown);
    session
        .console
        .confirm("users and accounts can be kept: the directory is ready");
    Ok(slots)
}

/// A store without keys is worth nothing, and this command made it a moment ago or found it so. Where its
/// keys may exist after all, or somebody was added to it meanwhile, it stays.
async fn take_back(opened: &Opened, failure: &Failure, session: &mut Session<'_>) {
    if matches!(failure.exit(), Exit::Unavailable | Exit::Unclear) {
        session
            .console
            .warn("it is not certain whether the keys were stored; the store is left as it is");
        return;
    }
    if !is_empty(&opened.store).await {
        session
            .console
            .warn("there is something in the store by now; it is left as it is");
        return;
    }
    for suffix in ["", "-wal", "-shm"] {
        // What is not there need not go.
        drop(fs::remove_file(beside(&opened.installation.store, suffix)));
    }
}

async fn make_rules(opened: &Opened, session: &mut Session<'_>) -> Result<(), Failure> {
    let settings = &opened.installation.settings;
    let act = session.act();
    let policy = rules::policy(settings);
    opened.store.set_works_alone(settings.people.alone, &act).await?;
    opened.store.set_policy(&policy, &act).await?;
    let boundary = rules::day_boundary(settings);
    if boundary != opened.store.day_boundary().await? {
        opened.store.set_day_boundary(&boundary, &act).await?;
    }
    session
        .console
        .confirm("permission rules ready: right to trade, account, user, pairs");
    session.console.confirm(&format!(
        "hard controls ready: an order is worth at most {} % of the account and {}, {} entries a day",
        policy.max_order_equity_percent.normalize(),
        policy.max_order,
        policy.max_entries_per_day
    ));
    for tier in [Tier::Basic, Tier::Pro, Tier::Enterprise] {
        let limits = settings.tier(tier).default;
        session.console.confirm(&format!(
            "tier {tier}: position {}, daily loss {}, {} positions",
            limits.max_position, limits.max_daily_loss, limits.max_positions
        ));
    }
    session.console.confirm(&format!(
        "trading days begin at {} {}",
        boundary.at, boundary.zone
    ));
    Ok(())
}

/// Writes a settings file where there is none. Returns whether it did.
fn write_settings(
    installation: &Installation,
    file: &Path,
    unlock_file: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<bool, Failure> {
    let shipped = Settings::default();
    if installation.file.is_some() {
        session
            .console
            .confirm(&format!("settings {} checked and kept", file.display()));
        let held = unlock::unlock_file(None, installation, session.surroundings)?;
        if let Some(unlock_file) = unlock_file
            && held != unlock_file
        {
            session.console.warn(&format!(
                "add to {}: [unlock] file = \"{}\"",
                file.display(),
                unlock_file.display()
            ));
        }
        return Ok(false);
    }
    let mut settings = installation.settings.clone();
    if installation.data_dir != session.path(Path::new(shipped.data_dir.as_str())) {
        settings.data_dir = as_setting(&installation.data_dir)?;
        settings.store.url = StoreUrl::Sqlite {
            path: installation.store.display().to_string().into(),
        };
    }
    if let Some(unlock_file) = unlock_file
        && unlock::unlock_file(None, installation, session.surroundings)? != unlock_file
    {
        settings.unlock.file = as_setting(unlock_file)?;
    }
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut open| open.write_all(settings.to_toml().as_bytes()));
    written.map_err(|error| {
        Failure::new(
            Exit::Partial,
            format!(
                "the store is made, but the settings `{}` cannot be written: {error}",
                file.display()
            ),
            "the defaults hold without the file; write it with `bursar config show > bursar.toml`",
        )
    })?;
    session.console.confirm(&format!(
        "settings {} written: every value with what it means",
        file.display()
    ));
    Ok(true)
}

fn as_setting(path: &Path) -> Result<bursar_config::Text, Failure> {
    path.display()
        .to_string()
        .parse()
        .map_err(|error: String| Failure::usage(error, "name a shorter place with plain characters"))
}

const NEXT: [(&str, &str); 5] = [
    (
        "bursar user add ops_desk --email ops@example.com --tier enterprise",
        "yourself, the operator",
    ),
    (
        "bursar account add kraken-main --user ops_desk --broker kraken --role master",
        "your own account at the broker: masters first",
    ),
    (
        "bursar credentials set kraken-main",
        "its exchange key: to trade and read, never to withdraw",
    ),
    ("bursar user enable ops_desk", "let it trade"),
    ("bursard run", "start the daemon"),
];

fn finish(installation: &Installation) -> Page {
    let mut page = Page::new();
    page.blank();
    page.line(render::good("Bursar is initialised. Users can be added now."));
    page.next_steps("Next", NEXT);
    if !installation.warnings.is_empty() {
        page.heading("Settings to look at");
        for warning in &installation.warnings {
            page.line(format!("  {warning}"));
        }
    }
    page
}
