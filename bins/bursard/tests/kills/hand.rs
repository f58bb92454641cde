//! Whoever types commands beside the daemon: each command is a process of its own, which can be killed
//! like the daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bursar::arguments::Global;
use bursar::session::Session;
use bursar::{Console, Exit, Surroundings};
use bursar_auth::{Act, Principal};
use bursar_controls::{LatchCause, LatchMode, Scope};
use bursar_execution::emergency::EmergencyStop;
use bursar_execution::{Approvals as _, Journal};
use bursar_model::{AccountId, IntentState};
use bursar_store_sqlite::{EmergencyFile, SqliteStore};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::chores::Entered;
use crate::ledger::{Ledger, Who};
use crate::stage::{self, Dice, PAPER_USER, REENTERED, USERS};

const LINE: &str = "BURSAR_HAND_LINE";
const LOGINS: [&str; 2] = ["ops_desk", "second_desk"];

/// One command as it is typed, and by whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    words: Vec<String>,
    login: String,
    #[serde(skip)]
    input: Option<String>,
    /// What it finds in its environment.
    #[serde(skip)]
    variables: Vec<(&'static str, String)>,
}

impl Line {
    pub(crate) fn typed(login: &str, words: &str) -> Self {
        Self {
            words: words.split_whitespace().map(str::to_owned).collect(),
            login: login.to_owned(),
            input: None,
            variables: Vec::new(),
        }
    }

    pub(crate) fn with_input(self, input: Option<String>) -> Self {
        Self { input, ..self }
    }

    /// With the key of the account whose key is entered anew, as `import-env` finds it.
    pub(crate) fn with_key(self, key: &Entered) -> Self {
        let variables = vec![
            ("KRAKEN_USER_TOMAS_BRANDT_API_KEY", key.key.clone()),
            ("KRAKEN_USER_TOMAS_BRANDT_API_SECRET", key.secret.clone()),
        ];
        Self { variables, ..self }
    }

    /// What is typed, without whom or what it is about.
    fn command(&self) -> String {
        let groups = [
            "account",
            "audit",
            "backup",
            "credentials",
            "errors",
            "loss",
            "order",
            "user",
        ];
        let length = match self.words[0].as_str() {
            "keystore" => 3,
            group if groups.contains(&group) => 2,
            _ => 1,
        };
        let words = self
            .words
            .iter()
            .take(length)
            .filter(|word| !word.starts_with("--"));
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    fn is(&self, words: &str) -> bool {
        self.words.join(" ").starts_with(words)
    }

    /// Whether a command may end so: a rule may refuse it, another may have been faster; and where the
    /// exchange has a say, it may not answer.
    fn may_end_with(&self, exit: u8, said: &str) -> bool {
        let asks_the_exchange = self.is("credentials") || self.is("import-env") || self.is("order place");
        // The daemon, or another command, may have changed the keys meanwhile.
        let changes_keys = self.is("keystore") || self.is("backup");
        [Exit::Done, Exit::Refused, Exit::NotFound, Exit::Partial]
            .iter()
            .any(|good| good.code() == exit)
            || ((asks_the_exchange || changes_keys) && exit == Exit::Failed.code())
            // They are so already.
            || (self.is("preferences set") && exit == Exit::Usage.code())
            // Somebody sealed the key store, and nobody has unsealed it yet.
            || (exit == Exit::Unavailable.code() && said.contains("the key store is sealed since"))
    }
}

/// What makes a process die at these moments, and note there where it was.
pub(crate) fn armed(points: String, log: &Path) -> [(&'static str, String); 2] {
    [
        ("BURSAR_POINT", points),
        ("BURSAR_POINT_LOG", log.display().to_string()),
    ]
}

/// How a process ended that ran a command.
pub(crate) struct Ended {
    by_signal: bool,
    pub(crate) exit: u8,
    pub(crate) said: String,
}

impl Ended {
    /// Whether it died where it was told to, or ended as its command may.
    pub(crate) fn is_sound(&self, line: &Line, died: Option<&str>) -> bool {
        (self.by_signal && died.is_some()) || line.may_end_with(self.exit, &self.said)
    }
}

/// Starts the process; it is killed when it is dropped.
pub(crate) fn start(folder: &Path, line: &Line, variables: &[(&str, String)]) -> tokio::process::Child {
    tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hand::a_process_that_runs_one_command", "--nocapture"])
        .env_clear()
        .env("HOME", folder.join("home"))
        .env(LINE, serde_json::to_string(line).unwrap())
        .envs(variables.iter().chain(&line.variables).cloned())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Gives it what it reads, and waits until it ended.
pub(crate) async fn finish(mut process: tokio::process::Child, line: &Line) -> Ended {
    let mut input = process.stdin.take().unwrap();
    if let Some(text) = &line.input {
        // It may have died before it read.
        drop(input.write_all(text.as_bytes()).await);
    }
    drop(input);
    let output = process.wait_with_output().await.unwrap();
    Ended {
        by_signal: std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9),
        exit: u8::try_from(output.status.code().unwrap_or(255)).unwrap(),
        said: String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    }
}

/// Not a test by itself: what [`start`] runs. Without its variable there is nothing to do.
#[tokio::test]
async fn a_process_that_runs_one_command() {
    let Ok(line) = std::env::var(LINE) else { return };
    #[cfg(feature = "points")]
    bursar_points::arm(bursar_points::Plan::read(|name| std::env::var(name).ok()));
    let line: Line = serde_json::from_str(&line).unwrap();
    let surroundings = Surroundings {
        principal: Principal::operator(&line.login).unwrap(),
        is_person_known: true,
        ..Surroundings::of_process()
    };
    let exit = match line.words[0].strip_prefix('!') {
        Some(what) => {
            without_a_command(what, &line.words[1..], &surroundings).await;
            Exit::Done
        }
        None => {
            let mut console = Console::with_streams(
                Box::new(std::io::stdout()),
                Box::new(std::io::stderr()),
                Box::new(std::io::stdin()),
            );
            let unlock = surroundings.directory.join("home/unlock.key");
            let words = std::iter::once("bursar").chain(line.words.iter().map(String::as_str));
            let words = words
                .map(Into::into)
                .chain(["--unlock-file".into(), unlock.into()]);
            bursar::execute(words, &surroundings, &mut console).await
        }
    };
    std::process::exit(i32::from(exit.code()));
}

/// What happens to a store and is no command.
async fn without_a_command(what: &str, words: &[String], surroundings: &Surroundings) {
    let data = surroundings.directory.join("bursar-data");
    let act = Act::new(surroundings.principal.clone(), surroundings.now()).because("a rehearsal");
    match what {
        // A stop while the store could not be written.
        "emergency" => {
            let stop = EmergencyStop::new(
                Scope::Account(words[0].parse().unwrap()),
                LatchMode::Halt,
                "a rehearsal",
                act.principal.clone(),
                act.at,
                surroundings.entropy.as_ref(),
            );
            EmergencyFile::at(data.join("emergency.jsonl"))
                .append(&stop)
                .unwrap();
        }
        "halt-file" => std::fs::write(data.join("HALT"), "").unwrap(),
        "reset-errors" => {
            let store = stage::open(&surroundings.directory);
            let account: AccountId = words[0].parse().unwrap();
            store.reset_errors(&account, &act).await.unwrap();
        }
        // A daemon changes the key once a day.
        "next-key" => {
            let tomorrow = act.at + jiff::SignedDuration::from_hours(25);
            let mut console = Console::with_streams(
                Box::new(std::io::stdout()),
                Box::new(std::io::stderr()),
                Box::new(std::io::empty()),
            );
            let mut session = Session {
                console: &mut console,
                surroundings,
                global: Global {
                    unlock_file: Some(surroundings.directory.join("home/unlock.key")),
                    ..Global::default()
                },
            };
            let opened = session.open().await.unwrap();
            let (keys, _) = session.unlocked(&opened).await.unwrap();
            opened.store.certify_next_key(&keys, tomorrow).await.unwrap();
        }
        other => panic!("nobody knows `{other}`"),
    }
}

/// Somebody whose account has another name each time.
fn a_guest(number: u64) -> String {
    format!(
        "[{{\"user_id\": \"guest-of-all\", \"name\": \"Guest\", \"account_type\": \"retail\", \
         \"broker_type\": \"kraken\", \"enabled\": true, \"email\": \"guest@example.com\", \
         \"tier\": \"basic\", \"mode\": \"paper\", \"pairs\": [\"BTC-USD\"], \
         \"max_position_usd\": \"40\", \"nickname\": \"name {number}\"}}]"
    )
}

/// Commands beside a daemon, one after the other, some of them killed.
pub(crate) struct Hand {
    pub(crate) folder: PathBuf,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) ledger: Arc<Ledger>,
    /// The keys of the account whose key is entered anew.
    pub(crate) keys: Vec<Entered>,
    pub(crate) dice: Dice,
}

impl Hand {
    /// Until `stop`; returns what was typed how often, and what ended as no command may.
    pub(crate) async fn work(mut self, stop: Arc<AtomicBool>) -> (BTreeMap<String, u64>, Vec<String>) {
        let (mut typed, mut complaints) = (BTreeMap::<String, u64>::new(), Vec::new());
        let log = self.folder.join("points-command.log");
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(self.dice.below(1_000))).await;
            let line = self.next_line().await;
            *typed.entry(line.command()).or_default() += 1;
            let points = self.ledger.arm(Who::Command, &mut self.dice);
            let may_be_killed = points.is_empty();
            let process = start(&self.folder, &line, &armed(points, &log));
            let killed = may_be_killed && self.dice.once_in(4);
            let patience = if killed {
                Duration::from_millis(20 + self.dice.below(180))
            } else {
                Duration::from_secs(60)
            };
            let ended = tokio::time::timeout(patience, finish(process, &line)).await;
            let died = self.ledger.take(Who::Command, &log);
            match ended {
                Err(_) if killed => self.ledger.killed_at_random(Who::Command),
                Err(_) => complaints.push(format!("`{line:?}` did not end")),
                Ok(ended) if !ended.is_sound(&line, died.as_deref()) => {
                    complaints.push(format!("`{line:?}` ended with {}: {}", ended.exit, ended.said));
                }
                Ok(_) => {}
            }
        }
        (typed, complaints)
    }

    async fn next_line(&mut self) -> Line {
        if self.store.sealing().await.unwrap().is_some() && !self.dice.once_in(3) {
            return Line::typed(LOGINS[0], "keystore unseal --reason rehearsal");
        }
        if !self.dice.once_in(4)
            && let Some(line) = self.turn_something_off().await
        {
            return line;
        }
        let (user, account, _) = *self.dice.one_of(&USERS);
        let login = *self.dice.one_of(&LOGINS);
        let typed = |words: String| Line::typed(login, &words);
        let mode = *self
            .dice
            .one_of(&["pause", "reduce-only", "halt", "flatten", "flatten"]);
        match self.dice.below(30) {
            0..=4 => {
                let limit = *self
                    .dice
                    .one_of(&["", "--limit 20000", "--limit 20000 --good-til 3s"]);
                typed(format!(
                    "order place {account} buy BTC-USD --usd 20 {limit} --allow-repeat --wait-ms 100 --yes"
                ))
            }
            5 => match self.something_to_cancel(account).await {
                Some(id) => typed(format!("order cancel {id}")),
                None => typed(format!("can {user} {account} buy ETH-USD 20")),
            },
            6 | 7 => typed(format!(
                "kill account {account} --mode {mode} --reason rehearsal --yes"
            )),
            8 => typed(format!("kill user {user} --mode {mode} --reason rehearsal --yes")),
            9 if self.dice.once_in(3) => typed(format!(
                "kill broker kraken --mode {mode} --reason rehearsal --yes"
            )),
            9 if self.dice.once_in(2) => typed(format!("kill global --mode {mode} --reason rehearsal --yes")),
            10..=13 => {
                let usd = 200 + self.dice.below(101);
                typed(format!("permissions set {user} --max-position-usd {usd} --yes"))
            }
            14 => {
                let percent = 1 + self.dice.below(90);
                typed(format!("preferences set {user} --trailing-stop {percent} --yes"))
            }
            15 => {
                let word = *self.dice.one_of(&["disable", "enable"]);
                typed(format!("user {word} {user}"))
            }
            16 if self.dice.once_in(2) => {
                typed(format!("credentials delete {REENTERED} --reason rehearsal --yes"))
            }
            16 | 17 => typed(format!("credentials set {REENTERED} --yes")).with_input(Some(self.a_key())),
            18 => typed(format!("loss allow {user} --extra-usd 1 --reason rehearsal")),
            19 => {
                // Looser or tighter, for the next start and for `config apply`.
                let percent = *self.dice.one_of(&["2", "1.9", "1.8"]);
                stage::write_settings(&self.folder, percent);
                typed("config apply --reason rehearsal".to_owned())
            }
            20 if self.dice.once_in(2) => {
                let words = *self
                    .dice
                    .one_of(&["setup - --without-keys --yes", "apply - --without-keys --yes"]);
                typed(words.to_owned()).with_input(Some(a_guest(self.dice.below(1_000))))
            }
            20 => typed("check".to_owned()),
            21 => {
                let number = self.dice.below(1_000_000);
                if self.dice.once_in(2) {
                    typed(format!(
                        "user add guest-{number} --email guest-{number}@example.com --tier basic"
                    ))
                } else {
                    typed(format!(
                        "account add paper-{number} --user {PAPER_USER} --broker kraken --role user --mode paper"
                    ))
                }
            }
            22 => match self.dice.below(3) {
                0 => typed("keystore rotate wrapping-key --reason rehearsal".to_owned()),
                1 => typed("keystore rotate session-key --reason rehearsal".to_owned()),
                _ => typed(format!(
                    "keystore slot add file home/spare-{}",
                    self.dice.below(1_000_000)
                )),
            },
            23 => {
                // Apart from the unlock key.
                std::fs::create_dir_all(self.folder.join("backups")).unwrap();
                typed(format!("backup create backups/{}", self.dice.below(1_000_000)))
            }
            24 => match self.a_paper_account().await {
                Some(id) => typed(format!("account close {id} --reason rehearsal --yes")),
                None => typed(format!("!reset-errors {account}")),
            },
            25..=28 => self.chore(login).await,
            _ => {
                let what = *self
                    .dice
                    .one_of(&["emergency", "reset-errors", "reset-errors", "halt-file"]);
                typed(format!("!{what} {account}"))
            }
        }
    }

    /// What was stopped, or has no key, does not stay so for long, or nothing would happen any more.
    async fn turn_something_off(&mut self) -> Option<Line> {
        let login = *self.dice.one_of(&LOGINS);
        if let Some(waiting) = self.store.approvals(false, 10).await.unwrap().first() {
            let word = if self.dice.once_in(5) { "reject" } else { "approve" };
            return Some(Line::typed(
                login,
                &format!("{word} {} --reason rehearsal --yes", waiting.id),
            ));
        }
        let reentered = REENTERED.parse().unwrap();
        if self.store.credential_of(&reentered).await.unwrap().is_none() {
            let set = Line::typed(login, &format!("credentials set {REENTERED} --yes"));
            return Some(set.with_input(Some(self.a_key())));
        }
        let users = bursar_auth::Directory::users(self.store.as_ref()).await.unwrap();
        let disabled = users
            .iter()
            .find(|user| !user.enabled && !user.id.as_str().starts_with("guest-"));
        if let Some(user) = disabled {
            return Some(Line::typed(login, &format!("user enable {}", user.id)));
        }
        let mut latches = self.store.latches().await.unwrap();
        latches.retain(|latch| latch.cause == LatchCause::Manual);
        if latches.is_empty() {
            return None;
        }
        let latch = self.dice.one_of(&latches);
        Some(Line::typed(
            login,
            &format!("release {} --reason rehearsal", latch.id),
        ))
    }

    async fn something_to_cancel(&mut self, account: &str) -> Option<bursar_model::IntentId> {
        let account: AccountId = account.parse().unwrap();
        let mut unresolved = self.store.unresolved(&account).await.unwrap();
        unresolved.retain(|intent| intent.state != IntentState::Incident);
        if unresolved.is_empty() {
            return None;
        }
        Some(self.dice.one_of(&unresolved).id)
    }

    async fn a_paper_account(&mut self) -> Option<AccountId> {
        let mut accounts = bursar_auth::Directory::accounts(self.store.as_ref())
            .await
            .unwrap();
        accounts.retain(|account| account.is_open() && account.id().as_str().starts_with("paper-"));
        if accounts.is_empty() {
            return None;
        }
        Some(self.dice.one_of(&accounts).id().clone())
    }
}
