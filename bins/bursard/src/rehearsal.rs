//! A whole installation on a temporary store, with a local exchange beside it: the stage of the demo
//! and of the campaigns that kill the daemon.
//!
//! The exchange runs in this process, so that its own book can be asked. The daemon is a process of
//! its own, so that it can be killed. Commands are those an operator types, run in this process.
//! Everything that any of them writes is kept, and searched for secrets.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar::{Console, Exit, Surroundings};
use bursar_auth::Principal;
use bursar_execution::{Journal, Reports};
use bursar_model::AccountId;
use bursar_sandbox::{
    Announcement, Book, CustomerSpec, Customers, Exchange, ExchangeSettings, Market, SandboxServer,
};
use bursar_store_sqlite::{Environment, SqliteStore};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::oracle::Recorded;

/// What a rehearsal is made of.
pub struct Plan {
    pub market: Market,
    /// Who trades at the local exchange.
    pub customers: Vec<CustomerSpec>,
    pub seed: u64,
    /// Put into `bursar.toml` after the section that names the local exchange.
    pub settings: String,
    /// The program that is run as the daemon.
    pub daemon: PathBuf,
}

/// Why a rehearsal could not go on. A defect of the stage, not of what is rehearsed.
#[derive(Debug, thiserror::Error)]
#[error("the rehearsal cannot {what}")]
pub struct StageError {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

trait OrStage<T> {
    fn or_stage(self, what: &str) -> Result<T, StageError>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> OrStage<T> for Result<T, E> {
    fn or_stage(self, what: &str) -> Result<T, StageError> {
        self.map_err(|source| StageError {
            what: what.to_owned(),
            source: source.into(),
        })
    }
}

/// How a command ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Said {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

/// A stage. Dropped, it ends the daemon and removes its folder.
pub struct Rehearsal {
    folder: TempDir,
    exchange: SandboxServer,
    keys: Vec<Announcement>,
    surroundings: Surroundings,
    daemon: Option<Child>,
    program: PathBuf,
    /// Everything that commands wrote, and that may not hold a secret.
    written: Vec<u8>,
}

impl Rehearsal {
    /// Opens the local exchange and writes the settings that lead there. Nothing else exists yet.
    pub async fn prepare(plan: Plan, surroundings: &Surroundings) -> Result<Self, StageError> {
        let folder = tempfile::Builder::new()
            .prefix("bursar-rehearsal-")
            .tempdir()
            .or_stage("make a folder")?;
        let customers = Customers::new(plan.customers).or_stage("name its customers")?;
        let exchange = Exchange::new(ExchangeSettings::default(), plan.market, customers, plan.seed)
            .or_stage("open the exchange")?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.or_stage("listen")?;
        let clock = Arc::clone(&surroundings.clock);
        let exchange = SandboxServer::start(listener, exchange, clock, CancellationToken::new())
            .or_stage("open the exchange")?;
        let url = exchange.url();
        let keys = exchange.with(|exchange| exchange.announcements(&url));

        let home = folder.path().join("home");
        fs::create_dir_all(&home).or_stage("make a folder")?;
        let settings = format!(
            "[brokers.kraken]\nbase_url = \"{url}\"\nallow_custom_url = true\nrate_tier = \"pro\"\npublic_requests_per_s = 50\n\n{}",
            plan.settings
        );
        fs::write(folder.path().join("bursar.toml"), settings).or_stage("write its settings")?;
        let surroundings = Surroundings {
            directory: folder.path().to_owned(),
            variables: [("HOME".to_owned(), home.display().to_string())].into(),
            ..surroundings.clone()
        };
        Ok(Self {
            folder,
            exchange,
            keys,
            surroundings,
            daemon: None,
            program: plan.daemon,
            written: Vec::new(),
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        self.exchange.url()
    }

    pub const fn exchange(&self) -> &SandboxServer {
        &self.exchange
    }

    /// The exchange's own book at this moment.
    pub fn book(&self) -> Book {
        self.exchange.with(|exchange| exchange.book())
    }

    /// Sets an environment variable of the commands and of a daemon that is started later.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.surroundings
            .variables
            .insert(name.to_owned(), value.to_owned());
    }

    /// From now on somebody else types.
    pub fn set_principal(&mut self, principal: Principal) {
        self.surroundings.principal = principal;
        self.surroundings.is_person_known = true;
    }

    /// Where the unlock key is.
    pub fn unlock_file(&self) -> PathBuf {
        self.folder.path().join("home/unlock.key")
    }

    /// The key of a customer, as `credentials set` reads it.
    pub fn key_of(&self, customer: &str) -> Option<String> {
        let key = self.keys.iter().find(|key| key.customer == customer)?;
        Some(format!(
            "{{\"key\":\"{}\",\"secret\":\"{}\"}}",
            key.key, key.secret
        ))
    }

    /// The exchange keys' secrets, by customer: none may be found in any output.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys
            .iter()
            .map(|key| (key.customer.as_str(), key.secret.as_str()))
    }

    /// Those, and what opens the store, each under a name for people.
    pub fn all_secrets(&self) -> Vec<(String, String)> {
        let named =
            |(customer, secret): (&str, &str)| (format!("the secret of {customer}"), secret.to_owned());
        let mut secrets: Vec<(String, String)> = self.secrets().map(named).collect();
        for (name, file) in [
            ("the unlock key", "home/unlock.key"),
            ("the recovery code", "home/recovery.txt"),
        ] {
            let text = fs::read(self.folder.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            if !text.is_empty() {
                secrets.push((name.to_owned(), text));
            }
        }
        secrets
    }

    /// Runs a command of the admin command line, as it would be typed, with `input` piped in.
    pub async fn bursar(&mut self, line: &[&str], input: Option<String>) -> Said {
        let (out, err) = (Buffer::default(), Buffer::default());
        let input: Box<dyn Read + Send> = match input {
            Some(text) => Box::new(io::Cursor::new(text.into_bytes())),
            None => Box::new(io::empty()),
        };
        let mut console = Console::with_streams(Box::new(out.clone()), Box::new(err.clone()), input);
        let unlock = self.unlock_file().into_os_string();
        let mut arguments: Vec<OsString> = vec!["bursar".into()];
        arguments.extend(line.iter().map(OsString::from));
        arguments.extend(["--unlock-file".into(), unlock]);
        let exit = bursar::execute(arguments, &self.surroundings, &mut console).await;
        let said = Said {
            exit,
            out: out.text(),
            err: err.text(),
        };
        self.written.extend(said.out.bytes().chain(said.err.bytes()));
        said
    }

    /// Starts the daemon as a process of its own; its log goes to a file.
    pub fn start_daemon(&mut self) -> Result<(), StageError> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .or_stage("open the log")?;
        let child = Command::new(&self.program)
            .args(["run", "--allow-root", "--unlock-file"])
            .arg(self.unlock_file())
            .current_dir(self.folder.path())
            .env_clear()
            .envs(&self.surroundings.variables)
            .stdin(Stdio::null())
            .stdout(log.try_clone().or_stage("open the log")?)
            .stderr(log)
            .spawn()
            .or_stage("start the daemon")?;
        self.daemon = Some(child);
        Ok(())
    }

    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("bursard.log")
    }

    /// What the daemon logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Ends the daemon in the middle of whatever it does, as a crash would.
    pub fn kill_daemon(&mut self) -> Result<(), StageError> {
        let Some(mut child) = self.daemon.take() else {
            return Ok(());
        };
        child.kill().or_stage("kill the daemon")?;
        child.wait().or_stage("wait for the daemon")?;
        Ok(())
    }

    /// Asks the daemon to stop and waits until it did.
    pub async fn stop_daemon(&mut self) -> Result<Option<ExitStatus>, StageError> {
        let Some(mut child) = self.daemon.take() else {
            return Ok(None);
        };
        let pid = i32::try_from(child.id()).or_stage("signal the daemon")?;
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .or_stage("signal the daemon")?;
        }
        // A daemon may take a while by its own bounds: a desk ten seconds, a copy that hangs seven.
        for _ in 0..2_400 {
            if let Some(status) = child.try_wait().or_stage("wait for the daemon")? {
                return Ok(Some(status));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        child.kill().or_stage("kill the daemon")?;
        child.wait().or_stage("wait for the daemon").map(Some)
    }

    /// The daemon's process, while it was not asked to end.
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Whether the daemon is still there.
    pub fn daemon_runs(&mut self) -> bool {
        self.daemon
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits until the daemon ended by itself, and says how.
    pub async fn daemon_ends(&mut self) -> Result<ExitStatus, StageError> {
        let Some(child) = &mut self.daemon else {
            return std::future::pending().await;
        };
        let pid = i32::try_from(child.id()).or_stage("watch the daemon")?;
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // On a thread of its own, which ends with the daemon also when nobody waits for it any more. The
            // daemon is not reaped there: until it is, its number is nobody else's.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let watching = tokio::task::spawn_blocking(move || waitid(WaitId::Pid(pid), options));
            watching
                .await
                .or_stage("watch the daemon")?
                .or_stage("watch the daemon")?;
        }
        let status = child.wait().or_stage("wait for the daemon")?;
        self.daemon = None;
        Ok(status)
    }

    /// The store, opened beside whoever else has it open.
    pub fn store(&self) -> Result<SqliteStore, StageError> {
        let surroundings = &self.surroundings;
        let environment = Environment::new(
            Arc::clone(&surroundings.clock),
            Arc::clone(&surroundings.entropy),
            "rehearsal",
        );
        SqliteStore::open(self.folder.path().join("bursar-data/bursar.db"), environment)
            .or_stage("open the store")
    }

    /// What was recorded for the accounts of these customers.
    pub async fn recorded(&self, accounts: &[(AccountId, &str)]) -> Result<Vec<Recorded>, StageError> {
        let store = self.store()?;
        let mut recorded = Vec::new();
        for (account, customer) in accounts {
            let intents = store
                .intents(Some(account), u32::MAX)
                .await
                .or_stage("read the journal")?;
            let fills = store
                .fills(Some(account), None, u32::MAX)
                .await
                .or_stage("read the fills")?;
            recorded.push(Recorded {
                account: account.clone(),
                customer: (*customer).to_owned(),
                intents,
                fills: fills.into_iter().map(|row| row.fill.fill).collect(),
            });
        }
        Ok(recorded)
    }

    /// Everything in which no secret may be: outputs, log, settings, and every file of the store.
    pub fn everything_written(&self) -> Result<Vec<(String, Vec<u8>)>, StageError> {
        let mut places = vec![("the output of the commands".to_owned(), self.written.clone())];
        for file in [
            "bursard.log",
            "bursar.toml",
            "bursar-data/bursar.db",
            "bursar-data/bursar.db-wal",
        ] {
            let path = self.folder.path().join(file);
            if path.exists() {
                places.push((
                    file.to_owned(),
                    fs::read(&path).or_stage("read what was written")?,
                ));
            }
        }
        Ok(places)
    }

    /// Waits until the daemon's log is as `done` wants it, at most for `limit`. Says whether it came.
    pub async fn until_logged(&mut self, limit: Duration, done: impl Fn(&str) -> bool) -> bool {
        let log = self.log_file();
        let looks = || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            std::future::ready(done(&log))
        };
        self.until(limit, looks).await
    }

    /// Waits until `done`, at most for `limit`. Says whether it came.
    pub async fn until<F: Future<Output = bool>>(
        &mut self,
        limit: Duration,
        mut done: impl FnMut() -> F,
    ) -> bool {
        let checks = limit.as_millis() / 100;
        for _ in 0..checks.max(1) {
            if done().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// Leaves the folder where it is, and says where.
    pub fn keep(self) -> PathBuf {
        let mut this = self;
        drop(this.daemon.take());
        this.folder.disable_cleanup(true);
        this.folder.path().to_owned()
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Where a command in this process writes to.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
