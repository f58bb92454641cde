//! One run of one command: what was asked for everywhere, and the store once it is open.

use std::path::PathBuf;
use std::sync::Arc;

use bursar_auth::{Act, Directory};
use bursar_execution::{Gateway, Journal};
use bursar_store_sqlite::{Environment, SqliteStore, StoreError};

use crate::arguments::Global;
use crate::installation::Installation;
use crate::{Console, Exit, Failure, Surroundings, brokers};

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

    /// A file name as it was typed, from where the command was started.
    pub fn path(&self, typed: &std::path::Path) -> PathBuf {
        self.surroundings.directory.join(typed)
    }

    /// Opens the store. Nothing is ever made here.
    pub async fn open(&mut self) -> Result<Opened, Failure> {
        let installation = self.installation()?;
        let environment = environment(&installation, self.surroundings);
        let store = SqliteStore::open(&installation.store, environment)?;
        Ok(self.opened(installation, store))
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
    /// The one way for orders.
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }
}

/// What the store takes from this process.
pub fn environment(installation: &Installation, surroundings: &Surroundings) -> Environment {
    let mut environment = Environment::new(
        Arc::clone(&surroundings.clock),
        Arc::clone(&surroundings.entropy),
        "bursar",
    );
    environment.errors = bursar_execution::settings::error_policy(&installation.settings);
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
            | StoreError::Unreadable { .. }
            | StoreError::AuditFull
            | StoreError::TakenBack { .. }
            | StoreError::Stopped { .. }
            | StoreError::ReadOnly => Exit::Unavailable,
        };
        Self::of(exit, &error, error.hint())
    }
}
