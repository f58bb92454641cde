//! One run of one command: what was asked for everywhere, and the store once it is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use bursar_audit::Actor;
use bursar_audit::actor::UnknownActor;
use bursar_auth::{Act, Directory};
use bursar_execution::{Gateway, Journal};
use bursar_store_sqlite::{Environment, OlderFormat, SqliteStore, StoreError};
use jiff::Timestamp;

use crate::arguments::Global;
use crate::installation::Installation;
use crate::sole::Sole;
use crate::{Console, Exit, Failure, Surroundings, brokers, tombstones};

/// The largest store that a command reads whole before it works with it, in bytes. The daemon reads a larger
/// one whole too, when it starts.
const READ_IN_A_SECOND: u64 = 64 * 1024 * 1024;
/// How long a command that must not take long waits for whoever holds the store's lock.
const LOCKED: Duration = Duration::from_secs(5);

/// What a command works with.
pub struct Session<'a> {
    pub console: &'a mut Console,
    pub surroundings: &'a Surroundings,
    pub global: Global,
}

/// An open store with the settings that hold for it.
pub struct Opened {
    pub installation: Installation,
    pub store: Arc<SqliteStore>,
    gateway: Gateway,
}

/// The newest backup in which something is that was erased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastBackup {
    pub(crate) at: Timestamp,
    /// When it has to be gone, by the settings.
    pub(crate) until: Timestamp,
}

impl Opened {
    /// The newest backup that this store knows of, if it is of `since` or later.
    pub(crate) async fn last_backup(&self, since: Timestamp) -> Result<Option<LastBackup>, Failure> {
        let backup = self.store.last_backup().await?;
        let kept = self.installation.settings.backups.kept();
        Ok(backup
            .filter(|backup| backup.at >= since)
            .map(|backup| LastBackup {
                at: backup.at,
                until: backup.at.saturating_add(kept).unwrap_or(Timestamp::MAX),
            }))
    }
}

impl Session<'_> {
    pub fn installation(&self) -> Result<Installation, Failure> {
        Installation::find(
            self.global.config.as_deref(),
            self.global.data_dir.as_deref(),
            self.surroundings,
        )
    }

    /// An act of whoever runs the command, now, with the reason that was given.
    pub fn act(&self) -> Act {
        self.surroundings.act(self.global.reason.as_deref())
    }

    /// Whoever runs the command, as a record of the audit trail names them.
    pub fn actor(&self) -> Result<Actor, Failure> {
        let named = self.surroundings.principal.to_string().parse();
        named.map_err(|error: UnknownActor| Failure::of(Exit::Failed, &error, "report this"))
    }

    /// A file name as it was typed, from where the command was started.
    pub fn path(&self, typed: &std::path::Path) -> PathBuf {
        self.surroundings.directory.join(typed)
    }

    /// As [`path`](Self::path), but `-` stays `-`, for standard input.
    pub fn document_path(&self, typed: &Path) -> PathBuf {
        if typed == Path::new("-") {
            typed.to_owned()
        } else {
            self.path(typed)
        }
    }

    /// Opens the store for a command. Nothing is ever made here.
    pub async fn open(&mut self) -> Result<Opened, Failure> {
        self.open_by(|path, environment| SqliteStore::open_looking_up_to(path, environment, READ_IN_A_SECOND))
            .await
    }

    /// Opens the store for its daemon, with the right to be that: looks at every page of it however large it is,
    /// and brings one of an older format up to this release's. Nobody else does.
    pub async fn open_as_daemon(&mut self) -> Result<(Opened, Sole), Failure> {
        let path = self.installation()?.store;
        let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        // Where there is no store, nothing is made beside it.
        if fs::metadata(&path).is_err_and(is_missing) {
            return Err(StoreError::Missing { path }.into());
        }
        // Before anything is changed: another daemon, of whichever release, reads what it knows.
        let sole = Sole::daemon(&path)?;
        let opening = self.open_by(|path, mut environment| {
            environment.older = OlderFormat::BroughtUpToDate;
            SqliteStore::open(path, environment)
        });
        Ok((opening.await?, sole))
    }

    /// Opens the store beside whoever works with it, to change nothing in it.
    pub(crate) fn open_to_look(&self, installation: &Installation) -> Result<SqliteStore, StoreError> {
        let environment = environment(installation, self.surroundings);
        SqliteStore::open_to_look(&installation.store, environment, READ_IN_A_SECOND)
    }

    /// Opens the store without looking at every page of it: for what decides on no money and must not
    /// take as long as the store is large.
    pub async fn open_quickly(&mut self) -> Result<Opened, Failure> {
        self.open_by(|path, environment| SqliteStore::open_quickly(path, environment, LOCKED))
            .await
    }

    async fn open_by(
        &mut self,
        open: impl FnOnce(&Path, Environment) -> Result<SqliteStore, StoreError>,
    ) -> Result<Opened, Failure> {
        let installation = self.installation()?;
        let store = open(&installation.store, environment(&installation, self.surroundings))?;
        self.fold_emergency(&installation, &store).await;
        Ok(self.opened(installation, store))
    }

    /// Takes over stops that the store could not take when they were wanted. Never the reason why a
    /// command fails: the daemon obeys the file itself.
    pub(crate) async fn fold_emergency(&mut self, installation: &Installation, store: &SqliteStore) {
        let file = installation.emergency_file();
        let shown = file.path().display().to_string();
        let found = match file.read() {
            Ok(None) => return,
            Ok(Some(found)) => found,
            Err(error) => {
                self.console
                    .warn(&format!("stops in `{shown}` cannot be read: {error}"));
                return;
            }
        };
        match store.fold_emergency(&found.stops).await {
            Ok(folded) => {
                for stop in &found.stops {
                    store.carry_out(&stop.latch()).await;
                }
                if found.is_whole()
                    && let Err(error) = file.empty(&found)
                {
                    self.console
                        .warn(&format!("`{shown}` cannot be emptied: {error}"));
                }
                if !folded.is_empty() {
                    self.console.warn(&format!(
                        "{} of `{shown}` taken over into the store; see `bursar latches`",
                        crate::render::count(folded.len(), "stop", "stops")
                    ));
                }
            }
            Err(error) => {
                self.console.warn(&format!(
                    "stops in `{shown}` are not in the store yet: {}",
                    crate::exit::chain(&error)
                ));
            }
        }
    }

    pub(crate) fn opened(&self, installation: Installation, store: SqliteStore) -> Opened {
        let store = Arc::new(store);
        let journal: Arc<dyn Journal> = Arc::<SqliteStore>::clone(&store);
        let directory: Arc<dyn Directory> = Arc::<SqliteStore>::clone(&store);
        let gateway = Gateway::new(
            journal,
            directory,
            brokers::profiles(),
            Arc::clone(&self.surroundings.clock),
            Arc::clone(&self.surroundings.entropy),
        );
        Opened {
            installation,
            store,
            gateway,
        }
    }
}

impl Opened {
    /// Brings the list of erased keys, which lies beside the store, up to what the store knows.
    pub(crate) async fn list_erased_keys(&self) -> Result<(), Failure> {
        tombstones::fold(&self.store, &tombstones::list(&self.installation)).await
    }

    /// The one way for orders.
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }
}

/// What the store takes from this process, which brings no older one up to date.
pub fn environment(installation: &Installation, surroundings: &Surroundings) -> Environment {
    let mut environment = Environment::new(
        Arc::clone(&surroundings.clock),
        Arc::clone(&surroundings.entropy),
        "bursar",
    );
    environment.errors = bursar_execution::settings::error_policy(&installation.settings);
    environment.breaker = bursar_execution::settings::breaker_policy(&installation.settings);
    environment.ballast = Some(installation.ballast());
    environment.erased_keys = Some(tombstones::list(installation));
    // The daemon that works with it may be of the release that wrote it.
    environment.older = OlderFormat::Refused;
    environment
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Exists { .. } => Exit::Refused,
            StoreError::Inexact(_) | StoreError::OutOfCalendar { .. } => Exit::Failed,
            StoreError::Missing { .. }
            | StoreError::Empty { .. }
            | StoreError::NotAStore { .. }
            | StoreError::Damaged { .. }
            | StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::Exposed { .. }
            | StoreError::Setting { .. }
            | StoreError::File { .. }
            | StoreError::Engine(_)
            | StoreError::Full
            | StoreError::NotWritable
            | StoreError::Unreadable { .. }
            | StoreError::AuditFull
            | StoreError::TakenBack { .. }
            | StoreError::ReadOnly => Exit::Unavailable,
            StoreError::Stopped { .. } => Exit::Unclear,
        };
        Self::of(exit, &error, error.hint())
    }
}
