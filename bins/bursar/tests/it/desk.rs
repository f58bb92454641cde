//! An operator's desk: a folder of its own, a clock that stands still, and the command line run in
//! this process, so that ids and times are the same in every run.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bursar::arguments::Global;
use bursar::session::Session;
use bursar::{Console, Exit, Failure, Surroundings};
use bursar_auth::{Act, Principal};
use bursar_execution::{Conditions, Connection, ConnectionState};
use bursar_model::{
    Balance, BalanceKind, Clock, Instrument, InstrumentStatus, Pair, Price, Quantity, Quote, Usd,
};
use bursar_store_sqlite::{Environment, SqliteStore};
use bursar_testkit::{SeededEntropy, TestClock};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, dec};
use serde_json::Value;

pub(crate) const NOON: &str = "2026-11-20T12:00:00Z";

/// A format that no command may bring up to date.
pub(crate) const OLDER: u32 = 15;

pub(crate) struct Desk {
    folder: tempfile::TempDir,
    pub(crate) clock: Arc<TestClock>,
    surroundings: Surroundings,
}

/// What a command printed, and how it ended.
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes.clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Desk {
    /// An empty folder.
    pub(crate) fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(NOON.parse().unwrap()));
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let surroundings = Surroundings {
            clock: Arc::<TestClock>::clone(&clock),
            entropy: Arc::new(SeededEntropy::new(7)),
            principal: Principal::operator("ops_desk").unwrap(),
            is_person_known: true,
            variables: BTreeMap::from([("HOME".to_owned(), home.display().to_string())]),
            directory: folder.path().to_owned(),
        };
        Self {
            folder,
            clock,
            surroundings,
        }
    }

    /// After `bursar init`.
    pub(crate) async fn made() -> Self {
        let desk = Self::bare();
        desk.done("init --yes --recovery-file recovery.txt").await;
        desk
    }

    /// With one user and her paper account, which is not connected.
    pub(crate) async fn with_mara() -> Self {
        let desk = Self::made().await;
        desk.done("user add mara_ilves --email mara@example.com --tier basic")
            .await;
        desk.done("account add kraken-ilves --user mara_ilves --broker kraken --role user --mode paper")
            .await;
        desk
    }

    /// With everything that an order of the user needs to be allowed: what the daemon would have
    /// written when it connected the account.
    pub(crate) async fn ready() -> Self {
        let desk = Self::with_mara().await;
        desk.done("user enable mara_ilves").await;
        desk.connect("kraken-ilves").await;
        desk
    }

    /// What an `init` leaves behind that ends at its recovery code: a store without keys.
    pub(crate) fn begun(&self) -> PathBuf {
        let store = self.path("bursar-data/bursar.db");
        std::fs::create_dir(self.path("bursar-data")).unwrap();
        let environment = Environment::new(
            self.surroundings.clock.clone(),
            Arc::new(SeededEntropy::new(3)),
            "test",
        );
        let act = Act::new(self.surroundings.principal.clone(), self.now());
        SqliteStore::create(&store, environment, &act).unwrap();
        store
    }

    /// The same desk with somebody else in front of it.
    pub(crate) fn taken_by(&mut self, login: &str) {
        self.surroundings.principal = Principal::operator(login).unwrap();
    }

    /// Whether the kernel tells who is in front of it.
    pub(crate) fn set_person_known(&mut self, known: bool) {
        self.surroundings.is_person_known = known;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Leaves nobody at the store, and nothing of it in the engine's log: a command hands its last
    /// connections to threads that close them, and whoever changes the files by hand comes after them.
    pub(crate) fn leave_store(&self) {
        self.wait_until_closed();
        // Whoever can write and closes last writes the log back.
        drop(self.store());
    }

    /// Gives the store the number of an older format, as an older release would have left it; returns this release's.
    pub(crate) fn make_older(&self) -> u32 {
        self.leave_store();
        self.wait_until_closed();
        let newest = self.format();
        self.set_format(OLDER);
        newest
    }

    pub(crate) fn set_format(&self, format: u32) {
        self.wait_until_closed();
        let path = self.path("bursar-data/bursar.db");
        let mut bytes = std::fs::read(&path).unwrap();
        // Where the engine keeps the number that is not its own.
        bytes[60..64].copy_from_slice(&format.to_be_bytes());
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn format(&self) -> u32 {
        let bytes = std::fs::read(self.path("bursar-data/bursar.db")).unwrap();
        u32::from_be_bytes(bytes[60..64].try_into().unwrap())
    }

    pub(crate) fn wait_until_closed(&self) {
        let data = self.path("bursar-data");
        let is_open = || {
            let held = std::fs::read_dir("/proc/self/fd").unwrap();
            held.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
                .any(|file| file.starts_with(&data))
        };
        let began = std::time::Instant::now();
        while is_open() {
            assert!(began.elapsed().as_secs() < 60, "the store stays open");
            std::thread::yield_now();
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A file that its owner alone can read.
    pub(crate) fn write_secret(&self, name: &str, text: &str) {
        self.write(name, text);
        self.set_mode(name, 0o600);
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.surroundings
            .variables
            .insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset_variable(&mut self, name: &str) {
        self.surroundings.variables.remove(name);
    }

    /// Opens the store as `bursard run` does.
    pub(crate) async fn begin_as_daemon(&self) -> Result<(), Failure> {
        let streams = || Box::new(Buffer::default());
        let mut console = Console::with_streams(streams(), streams(), Box::new(std::io::empty()));
        let mut session = Session {
            console: &mut console,
            surroundings: &self.surroundings,
            global: Global::default(),
        };
        session.open_as_daemon().await.map(drop)
    }

    /// Runs a command line; words are divided at spaces, and `'` keeps them together.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        self.run_with(line, "").await
    }

    pub(crate) async fn run_with(&self, line: &str, input: &str) -> Ran {
        self.run_words(&words(line), input).await
    }

    pub(crate) async fn run_words(&self, words: &[String], input: &str) -> Ran {
        let (out, err) = (Buffer::default(), Buffer::default());
        let mut console = Console::with_streams(
            Box::new(out.clone()),
            Box::new(err.clone()),
            Box::new(Cursor::new(input.to_owned().into_bytes())),
        );
        let arguments = std::iter::once("bursar".to_owned()).chain(words.iter().cloned());
        let exit = bursar::execute(arguments.map(Into::into), &self.surroundings, &mut console).await;
        drop(console);
        let ran = Ran {
            exit,
            out: self.without_folder(&out.text()),
            err: self.without_folder(&err.text()),
        };
        crate::schemas::check(words, &ran);
        ran
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) async fn done(&self, line: &str) -> String {
        let ran = self.run(line).await;
        assert_eq!(ran.exit, Exit::Done, "`{line}` failed:\n{}\n{}", ran.out, ran.err);
        ran.out
    }

    /// Runs a command that must end like that, and returns what it printed on the error stream.
    pub(crate) async fn ends(&self, line: &str, exit: Exit) -> String {
        let ran = self.run(line).await;
        assert_eq!(ran.exit, exit, "`{line}`:\n{}\n{}", ran.out, ran.err);
        ran.err
    }

    /// Runs a command with `--json`, however it ends, and reads what it printed.
    pub(crate) async fn json(&self, line: &str) -> Value {
        let ran = self.run(&format!("{line} --json")).await;
        serde_json::from_str(&ran.out)
            .unwrap_or_else(|error| panic!("`{line}` printed no JSON: {error}\n{}\n{}", ran.out, ran.err))
    }

    /// Texts without the name of the temporary folder, which is another in each run.
    pub(crate) fn without_folder(&self, text: &str) -> String {
        text.replace(&self.folder.path().display().to_string(), "/desk")
    }

    pub(crate) fn store(&self) -> SqliteStore {
        let clock = Arc::<TestClock>::clone(&self.clock);
        let environment = Environment::new(clock, Arc::new(SeededEntropy::new(11)), "test");
        SqliteStore::open(self.path("bursar-data/bursar.db"), environment).unwrap()
    }

    /// Writes what the daemon writes when it has connected an account: rules, prices, balances, state.
    pub(crate) async fn connect(&self, account: &str) {
        let store = self.store();
        let now = self.clock.now();
        let kraken = "kraken".parse().unwrap();
        store
            .put_instruments(&kraken, &[btc_usd(), eth_usd()], now)
            .await
            .unwrap();
        self.quote(dec!(100_000)).await;
        let usd = balance("USD", dec!(1_000));
        store
            .put_balances(
                &account.parse().unwrap(),
                &[usd],
                Some(Usd::new(dec!(1_000))),
                now,
            )
            .await
            .unwrap();
        let ready = Connection {
            state: ConnectionState::Ready,
            cause: String::new(),
            since: now,
        };
        store
            .put_connection(&account.parse().unwrap(), &ready)
            .await
            .unwrap();
    }

    /// A fresh price of one bitcoin.
    pub(crate) async fn quote(&self, price: Decimal) {
        let at = |price| Price::new(price).unwrap();
        let quote = Quote {
            pair: pair("BTC-USD"),
            bid: at(price - dec!(1)),
            ask: at(price + dec!(1)),
            last: at(price),
            at: self.clock.now(),
        };
        self.store()
            .put_quotes(&"kraken".parse().unwrap(), &[quote])
            .await
            .unwrap();
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub(crate) fn pair(text: &str) -> Pair {
    text.parse().unwrap()
}

pub(crate) fn balance(asset: &str, total: Decimal) -> Balance {
    Balance {
        asset: asset.parse().unwrap(),
        kind: BalanceKind::Spendable,
        total,
        held: dec!(0),
    }
}

fn btc_usd() -> Instrument {
    instrument("BTC-USD")
}

fn eth_usd() -> Instrument {
    instrument("ETH-USD")
}

fn instrument(name: &str) -> Instrument {
    Instrument {
        pair: pair(name),
        status: InstrumentStatus::Online,
        price_increment: Price::new(dec!(0.1)).unwrap(),
        quantity_increment: Quantity::new(dec!(0.00000001)).unwrap(),
        min_quantity: Quantity::new(dec!(0.00005)).unwrap(),
        min_cost: dec!(0.5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    }
}

/// Divides a command line at spaces; `'` keeps words together.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
