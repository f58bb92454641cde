//! `bursard demo`: the whole product on a temporary store, told as a story, with every promise checked.
//!
//! Nothing is staged but the world: a local exchange, invented people, recorded or generated prices.
//! The commands are those an operator types, the daemon is the daemon, and what is promised is checked
//! against the exchange's own book. Exit 0 only if every promise held.

use std::path::Path;
use std::time::Duration;

use bursar::{Exit, Failure, Surroundings};
use bursar_execution::{Conditions, Connection, ConnectionState, Intent, Journal};
use bursar_model::{IntentState, Pair};
use bursar_sandbox::{CustomerSpec, LimitTier, Market, Permission};
use bursar_store_sqlite::SqliteStore;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use tokio_util::sync::CancellationToken;

use crate::options::Demo;
use crate::rehearsal::{Plan, Rehearsal, Said, StageError};

mod cast;
mod closing;
mod drills;
mod opening;
mod story;

use cast::CAST;
use story::Story;

/// Market seconds per second: a minute of prices passes in one.
const SPEED: Decimal = dec!(60);

/// What the local exchange calls the pairs that the demo's users may trade.
const TRADED: [&str; 3] = ["XBTUSD", "ETHUSD", "SOLUSD"];

/// Short intervals, so that a few seconds show what otherwise takes hours.
const SETTINGS: &str = "\
[people]
alone = true

[accounts]
quote_poll_ms = 500
order_poll_ms = 500
balance_poll_s = 5

[strategy]
candle_interval_s = 60
cycle_interval_s = 5
fast_ema_bars = 5
slow_ema_bars = 12
rsi_bars = 7
rsi_min = \"40\"
rsi_max = \"90\"
atr_bars = 7

[risk.medium]
trade_percent = \"2\"
position_percent = \"0.5\"
";

/// Runs the demo. The exit says whether every promise held.
pub async fn run(
    options: Demo,
    surroundings: &Surroundings,
    stop: CancellationToken,
) -> Result<Exit, Failure> {
    let mut demo = Performance::open(&options, surroundings).await?;
    tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Failed),
        played = demo.play(&options) => played?,
    }
    let held = demo.story.close();
    if options.keep {
        demo.stay(&stop).await;
    }
    Ok(if held { Exit::Done } else { Exit::Failed })
}

struct Performance {
    story: Story,
    stage: Rehearsal,
    store: Option<SqliteStore>,
    pair: Pair,
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::of(
            Exit::Failed,
            &error,
            "look at the log above; the temporary folder may be full",
        )
    }
}

impl Performance {
    async fn open(options: &Demo, surroundings: &Surroundings) -> Result<Self, Failure> {
        let mut story = Story::new(10);
        story.line("Bursar trades other people's exchange accounts. This is the whole of it, on money that is not real.");
        story.chapter("A local exchange that speaks Kraken's protocol");
        let market = market(options.market.as_deref(), options.seed)?.at_speed(SPEED);
        let notes = market.notes().to_vec();
        let plan = Plan {
            market,
            customers: customers(),
            seed: options.seed,
            settings: SETTINGS.to_owned(),
            daemon: std::env::current_exe()
                .map_err(|error| Failure::of(Exit::Failed, &error, "run the demo from a file"))?,
        };
        let stage = Rehearsal::prepare(plan, surroundings).await?;
        let what = match &options.market {
            Some(path) => format!("prices of {}", path.display()),
            None => format!("generated prices, seed {}", options.seed),
        };
        story.tell(&format!(
            "{} · {what} · {SPEED} market seconds a second",
            stage.url()
        ));
        for note in notes.iter().take(3) {
            story.tell(note);
        }
        let pair = "BTC-USD"
            .parse()
            .map_err(|error| Failure::of(Exit::Failed, &error, "report this"))?;
        Ok(Self {
            story,
            stage,
            store: None,
            pair,
        })
    }

    async fn play(&mut self, options: &Demo) -> Result<(), Failure> {
        self.installation().await?;
        self.people().await?;
        self.keys().await?;
        self.masters_first().await?;
        self.market_runs(options.market_time).await?;
        self.refusals().await?;
        self.loss().await?;
        self.kill_switch().await?;
        self.books().await
    }

    /// Types a command and shows it with its answer.
    async fn show(&mut self, line: &[&str]) -> Said {
        let said = self.stage.bursar(line, None).await;
        self.story.typed(line);
        self.story.answer(&said);
        said
    }

    /// Types a command that only prepares something; shows the first lines.
    async fn prepare(&mut self, line: &[&str], input: Option<String>, lines: usize) -> Result<Said, Failure> {
        let said = self.stage.bursar(line, input).await;
        self.story.typed(line);
        self.story.answer_briefly(&said, lines);
        if said.exit == Exit::Done {
            Ok(said)
        } else {
            Err(Failure::new(
                said.exit,
                format!("`bursar {}` failed: {}", line.join(" "), said.err.trim()),
                "report this",
            ))
        }
    }

    fn store(&self) -> Result<&SqliteStore, Failure> {
        self.store
            .as_ref()
            .ok_or_else(|| Failure::new(Exit::Failed, "the store is not open yet", "report this"))
    }

    /// Waits until every account became ready after `since`.
    async fn all_connected(&mut self, since: Timestamp) -> Result<bool, Failure> {
        let store = self.store()?.clone();
        let connected = || {
            let store = store.clone();
            async move {
                let connections = store.connections().await.unwrap_or_default();
                let ready = |connection: &Connection| {
                    connection.state == ConnectionState::Ready && connection.since >= since
                };
                connections
                    .iter()
                    .filter(|(_, connection)| ready(connection))
                    .count()
                    == CAST.len()
            }
        };
        Ok(self.stage.until(Duration::from_secs(30), connected).await)
    }
    /// Waits until nothing is under way.
    async fn quiet(&mut self, limit: Duration) -> Result<bool, Failure> {
        let store = self.store()?.clone();
        let quiet = || {
            let store = store.clone();
            async move {
                let intents = store.intents(None, u32::MAX).await.unwrap_or_default();
                !intents.iter().any(under_way)
            }
        };
        Ok(self.stage.until(limit, quiet).await)
    }

    async fn stay(&mut self, stop: &CancellationToken) {
        if let Err(error) = self.stage.start_daemon() {
            self.story.tell(&error.to_string());
        }
        let folder = self.stage.folder().display().to_string();
        self.story.line("");
        self.story.line(&format!(
            "Still up: the exchange at {}, the daemon in {folder}.",
            self.stage.url()
        ));
        self.story.line(&format!(
            "Look around with: cd {folder} && bursar status --unlock-file {}",
            self.stage.unlock_file().display()
        ));
        self.story.line("Ctrl-C ends it and removes the folder.");
        stop.cancelled().await;
    }
}

const fn under_way(intent: &Intent) -> bool {
    matches!(
        intent.state,
        IntentState::Approved | IntentState::Dispatching | IntentState::Unknown | IntentState::Open
    )
}

fn market(path: Option<&Path>, seed: u64) -> Result<Market, Failure> {
    match path {
        Some(path) => Market::replay(path).map_err(|error| Failure::of(Exit::Failed, &error, error.hint())),
        None => Ok(Market::generated(seed)),
    }
}

fn customers() -> Vec<CustomerSpec> {
    let mut customers: Vec<CustomerSpec> = CAST
        .iter()
        .filter(|member| member.mode == "live")
        .map(|member| CustomerSpec::named(member.user))
        .collect();
    let careless = CustomerSpec::named("careless");
    let mut rights = careless.rights.clone();
    rights.insert(Permission::WithdrawFunds);
    customers.push(careless.with_rights(rights));
    customers
        .into_iter()
        .map(|customer| CustomerSpec {
            limit_tier: LimitTier::Pro,
            balances: [("USD".to_owned(), dec!(20_000))].into(),
            ..customer
        })
        .collect()
}

fn id<T: std::str::FromStr<Err = bursar_model::InvalidId>>(text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error| Failure::of(Exit::Failed, &error, "report this"))
}

/// What a line of the daemon's log says, without the fields after it.
fn sentence(line: &str) -> &str {
    line.split(" account=").next().unwrap_or(line).trim_end()
}
