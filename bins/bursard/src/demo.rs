//! `bursard demo`: the whole product on a temporary store, told as a story, with every promise checked.
//!
//! Nothing is staged but the world: a local exchange, invented people, recorded or generated prices.
//! The commands are those an operator types, the daemon is the daemon, and what is promised is checked
//! against the exchange's own book. Exit 0 only if every promise held.

use std::path::Path;
use std::time::Duration;

use bursar::render::{Cell, Table, Tone};
use bursar::{Exit, Failure, Surroundings};
use bursar_controls::{LatchCause, Scope};
use bursar_execution::{Conditions, Connection, ConnectionState, Intent, Journal, Reports};
use bursar_model::{AccountId, IntentState, Pair, Usd, UserId};
use bursar_sandbox::{CustomerSpec, LimitTier, Market, Permission};
use bursar_store_sqlite::SqliteStore;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use tokio_util::sync::CancellationToken;

use crate::options::Demo;
use crate::oracle;
use crate::rehearsal::{Plan, Rehearsal, Said, StageError};

mod cast;
mod secrets;
mod story;

use cast::{CAST, Role};
use story::Story;

/// Market seconds per second: a minute of prices passes in one.
const SPEED: Decimal = dec!(60);

/// What the local exchange calls BTC-USD.
const BTC_USD: &str = "XBTUSD";

/// Short intervals, so that a few seconds show what otherwise takes hours.
const SETTINGS: &str = "\
[accounts]
quote_poll_ms = 500
order_poll_ms = 500
balance_poll_s = 3

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

    async fn installation(&mut self) -> Result<(), Failure> {
        self.story
            .chapter("An installation: store, keys, rules, settings");
        let recovery = self
            .stage
            .folder()
            .join("home/recovery.txt")
            .display()
            .to_string();
        self.prepare(&["init", "--yes", "--recovery-file", &recovery], None, 12)
            .await?;
        self.store = Some(self.stage.store()?);
        Ok(())
    }

    async fn people(&mut self) -> Result<(), Failure> {
        self.story.chapter("People and their accounts");
        for member in CAST {
            let email = format!("{}@example.com", member.user);
            self.prepare(
                &[
                    "user",
                    "add",
                    member.user,
                    "--email",
                    &email,
                    "--tier",
                    member.tier,
                ],
                None,
                1,
            )
            .await?;
            let role = match member.role {
                Role::Master => "master",
                Role::User => "user",
            };
            let line = [
                "account",
                "add",
                member.account,
                "--user",
                member.user,
                "--broker",
                member.broker,
                "--role",
                role,
                "--mode",
                member.mode,
            ];
            self.prepare(&line, None, 1).await?;
            let line = [
                "permissions",
                "set",
                member.user,
                "--pairs",
                "BTC-USD,ETH-USD,SOL-USD",
                "--max-position-usd",
                member.max_position,
                "--max-daily-loss-usd",
                member.max_daily_loss,
            ];
            self.prepare(&line, None, 1).await?;
            self.prepare(&["user", "enable", member.user], None, 1).await?;
        }
        self.show(&["user", "list"]).await;
        Ok(())
    }

    async fn keys(&mut self) -> Result<(), Failure> {
        self.story
            .chapter("Keys: the exchange is asked what a key may do before it is sealed");
        let careless = self.stage.key_of("careless");
        let line = ["credentials", "set", "kraken-main"];
        self.story.tell("A key that can withdraw is offered first:");
        let refused = self.stage.bursar(&line, careless).await;
        self.story.typed(&line);
        self.story.answer_briefly(&refused, 4);
        self.story.promise(
            "a key that can withdraw is refused",
            refused.exit == Exit::Refused,
            format!("exit {}", refused.exit.code()),
        );
        for member in CAST.iter().filter(|member| member.mode == "live") {
            let key = self.stage.key_of(member.user);
            self.prepare(&["credentials", "set", member.account], key, 1)
                .await?;
        }
        self.show(&["credentials", "list"]).await;
        Ok(())
    }

    async fn masters_first(&mut self) -> Result<(), Failure> {
        self.story
            .chapter("The daemon starts: masters first, users second");
        let started = self.stage.exchange().now();
        self.stage.start_daemon()?;
        let connected = self.all_connected(started).await?;
        self.show(&["hierarchy"]).await;
        self.story.promise(
            "every account connects",
            connected,
            format!("{} accounts", CAST.len()),
        );
        let order = self.connection_order();
        let place = |account: &str| order.iter().position(|name| name == account);
        let behind_master = CAST
            .iter()
            .filter(|member| member.broker == "kraken" && member.role == Role::User)
            .all(|member| place(member.account) > place("kraken-main"));
        self.story.promise(
            "masters connect first",
            order.len() == CAST.len() && behind_master,
            order.join(", "),
        );
        let report = self.stage.bursar(&["hierarchy", "--json"], None).await;
        let alone = CAST
            .iter()
            .filter(|member| member.broker != "kraken")
            .all(|member| report.out.contains(member.broker));
        self.story.promise(
            "the user without a master is reported",
            alone && report.out.contains("paper"),
            "broker paper",
        );
        Ok(())
    }

    /// Accounts in the order in which the daemon said that they are connected.
    fn connection_order(&self) -> Vec<String> {
        let log = self.stage.log();
        let lines = log
            .lines()
            .filter_map(|line| line.trim_end().strip_suffix(" connected"));
        let mut order: Vec<String> = Vec::new();
        for account in lines.filter_map(|line| line.rsplit(' ').next()) {
            let plays = CAST.iter().any(|member| member.account == account);
            if plays && !order.iter().any(|seen| seen == account) {
                order.push(account.to_owned());
            }
        }
        order
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

    async fn market_runs(&mut self, time: Duration) -> Result<(), Failure> {
        self.story
            .chapter("The market runs: every account trades in cycles of its own");
        // One order by hand, so that something is seen however quiet the market is.
        let line = [
            "order",
            "place",
            "kraken-ilves",
            "buy",
            "BTC-USD",
            "--usd",
            "40",
            "--wait-ms",
            "5000",
        ];
        let placed = self.show(&line).await;
        self.story.wait("the market runs", time).await;
        let store = self.store()?.clone();
        let mut table = Table::new(&[
            "account",
            "user",
            "orders",
            "filled",
            "refused",
            "open",
            "profit today",
        ])
        .figures(&[2, 3, 4, 5, 6]);
        let mut filled_anywhere = 0_usize;
        for member in CAST {
            let account: AccountId = id(member.account)?;
            let intents = store.intents(Some(&account), u32::MAX).await?;
            let count = |state: IntentState| intents.iter().filter(|intent| intent.state == state).count();
            let positions = Journal::positions(&store, &account).await?.len();
            let day = store
                .user_day(&id(member.user)?, self.stage.exchange().now())
                .await?;
            let profit = day
                .realised
                .plus(day.unrealised_change)
                .and_then(|sum| sum.minus(day.fees))
                .unwrap_or(Usd::ZERO);
            filled_anywhere = filled_anywhere.saturating_add(count(IntentState::Filled));
            table.row([
                Cell::new(member.account),
                Cell::new(member.user),
                Cell::new(intents.len()),
                Cell::new(count(IntentState::Filled)),
                Cell::new(count(IntentState::Denied)),
                Cell::new(positions),
                Cell::new(profit).tone(if profit.is_negative() {
                    Tone::Bad
                } else {
                    Tone::Good
                }),
            ]);
        }
        self.story.table(&table);
        self.story.promise(
            "an order is sent and filled",
            placed.exit == Exit::Done && filled_anywhere > 0,
            format!("{filled_anywhere} filled"),
        );
        let log = self.stage.log();
        let cycling = CAST
            .iter()
            .all(|member| log.contains(&format!("cycle 2 for {} / {}", member.broker, member.user)));
        self.story.promise(
            "every account runs its own cycles",
            cycling,
            "second cycle of each seen in the log",
        );
        Ok(())
    }

    async fn refusals(&mut self) -> Result<(), Failure> {
        self.story.chapter("What the gate refuses, and why");
        let refused = self
            .show(&[
                "order",
                "place",
                "kraken-ilves",
                "buy",
                "BTC-USD",
                "--usd",
                "15000",
            ])
            .await;
        let reasons = ["order-size", "position-size", "loss-headroom", "cap-order-amount"];
        self.story.promise(
            "limits are refused with every reason",
            refused.exit == Exit::Refused
                && reasons
                    .iter()
                    .all(|rule| refused.out.contains(rule) || refused.err.contains(rule)),
            reasons.join(", "),
        );
        let line = ["can", "mara_ilves", "kraken-ilves", "buy", "BTC-USD", "50"];
        let said = self.stage.bursar(&line, None).await;
        self.story.typed(&line);
        self.story.answer_briefly(&said, 8);
        Ok(())
    }

    async fn loss(&mut self) -> Result<(), Failure> {
        self.story
            .chapter("A day's loss trips its switch: no new risk, and no trapped position");
        let user: UserId = id("tomas_brandt")?;
        // What the strategy decides by itself comes in a moment; until its next cycle it stays out.
        self.next_cycle(&user).await;
        self.stage
            .exchange()
            .with(|exchange| exchange.set_speed(self.stage.exchange().now(), Decimal::ZERO));
        self.show(&[
            "order",
            "place",
            "kraken-brandt",
            "buy",
            "BTC-USD",
            "--usd",
            "60",
            "--allow-repeat",
            "--wait-ms",
            "5000",
        ])
        .await;
        self.fall(dec!(0.80))?;
        self.story.tell("The price of BTC falls by a fifth.");
        let store = self.store()?.clone();
        let tripped = || {
            let (store, scope) = (store.clone(), Scope::User(user.clone()));
            async move {
                store
                    .latches()
                    .await
                    .unwrap_or_default()
                    .iter()
                    .any(|latch| latch.scope == scope && latch.cause == LatchCause::DailyLoss)
            }
        };
        let tripped = self.stage.until(Duration::from_secs(10), tripped).await;
        self.show(&["loss", "show", "tomas_brandt"]).await;
        self.story.promise("a loss latch trips", tripped, "");
        let entry = self
            .show(&["order", "place", "kraken-brandt", "buy", "BTC-USD", "--usd", "10"])
            .await;
        let names_it = entry.out.contains("switch-user") || entry.err.contains("switch-user");
        self.story.promise(
            "it blocks entries",
            entry.exit == Exit::Refused && names_it,
            "switch-user",
        );
        // The trailing stop may have sold already: that is an exit too.
        if let Some(quantity) = self.held("kraken-brandt").await? {
            let line = [
                "order",
                "place",
                "kraken-brandt",
                "sell",
                "BTC-USD",
                "--quantity",
                &quantity,
                "--wait-ms",
                "8000",
            ];
            self.show(&line).await;
        }
        let exit = self.exit_since_loss(&user).await?;
        self.story.promise(
            "it does not block exits",
            exit.is_some(),
            exit.unwrap_or_default(),
        );
        Ok(())
    }

    /// A sell of the user's that was filled after the switch tripped.
    async fn exit_since_loss(&mut self, user: &UserId) -> Result<Option<String>, Failure> {
        self.quiet(Duration::from_secs(10)).await?;
        let store = self.store()?;
        let account = id("kraken-brandt")?;
        let latches = store.latches().await?;
        let tripped = latches
            .iter()
            .find(|latch| latch.scope == Scope::User(user.clone()))
            .map(|latch| latch.tripped_at);
        let sells = store.intents(Some(&account), u32::MAX).await?;
        let exit = sells.into_iter().find(|intent| {
            intent.state == IntentState::Filled
                && intent.reducing
                && tripped.is_some_and(|at| intent.created_at >= at)
        });
        Ok(exit.map(|intent| format!("{} sold {}", intent.caller, intent.filled)))
    }

    /// Waits until a cycle of the user's has just begun: the next one leaves time to look.
    async fn next_cycle(&mut self, user: &UserId) {
        let log = self.stage.log_file();
        let name = format!(" / {user}");
        let cycles = move || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines()
                .filter(|line| line.contains(" cycle ") && line.ends_with(&name))
                .count()
        };
        let before = cycles();
        self.stage
            .until(Duration::from_secs(10), || std::future::ready(cycles() > before))
            .await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }

    fn fall(&self, to: Decimal) -> Result<(), Failure> {
        let exchange = self.stage.exchange();
        let now = exchange.now();
        exchange
            .with(|exchange| {
                let pairs = exchange.status().pairs;
                let price = pairs
                    .iter()
                    .find(|status| status.pair == BTC_USD)
                    .map_or(Decimal::ONE, |status| status.last);
                let fallen = price.checked_mul(to).unwrap_or(price).round_dp(1);
                exchange.set_price(now, BTC_USD, fallen)
            })
            .map_err(|error| Failure::of(Exit::Failed, &error, "choose a market with BTC-USD"))
    }

    async fn held(&self, account: &str) -> Result<Option<String>, Failure> {
        let positions = Journal::positions(self.store()?, &id(account)?).await?;
        let held = positions.into_iter().find(|position| position.pair == self.pair);
        Ok(held.map(|position| position.quantity.to_string()))
    }

    async fn kill_switch(&mut self) -> Result<(), Failure> {
        self.story
            .chapter("The kill switch: it stops, and a crash does not turn it off");
        self.show(&["kill", "global", "--mode", "halt", "--reason", "drill"])
            .await;
        let order = [
            "order",
            "place",
            "kraken-main",
            "buy",
            "BTC-USD",
            "--usd",
            "20",
            "--allow-repeat",
        ];
        let stopped = self.stage.bursar(&order, None).await;
        self.story.typed(&order);
        self.story.answer_briefly(&stopped, 4);
        self.story.promise(
            "the kill switch stops",
            stopped.exit == Exit::Refused,
            "switch-global",
        );

        let before = self.stage.book().orders.len();
        self.quiet(Duration::from_secs(5)).await?;
        self.stage.kill_daemon()?;
        self.story
            .tell("The daemon is killed as a crash would kill it, and started again.");
        let restarted = self.stage.exchange().now();
        self.stage.start_daemon()?;
        let back = self.all_connected(restarted).await?;
        let still = self.stage.bursar(&order, None).await;
        let nothing_sent = self.stage.book().orders.len() == before;
        self.story.promise(
            "the kill switch survives a restart of the daemon",
            back && still.exit == Exit::Refused && nothing_sent,
            format!("exit {}, nothing new at the exchange", still.exit.code()),
        );
        self.show(&["latches"]).await;
        let store = self.store()?.clone();
        let global = store
            .latches()
            .await?
            .into_iter()
            .find(|latch| latch.scope == Scope::Global);
        if let Some(latch) = global {
            let name = latch.id.to_string();
            self.show(&["release", &name, "--yes", "--reason", "the drill is over"])
                .await;
        }
        let order = [
            "order",
            "place",
            "kraken-main",
            "buy",
            "BTC-USD",
            "--usd",
            "20",
            "--allow-repeat",
            "--wait-ms",
            "8000",
        ];
        let released = self.show(&order).await;
        self.story
            .promise("released, it trades again", released.exit == Exit::Done, "");
        Ok(())
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

    async fn books(&mut self) -> Result<(), Failure> {
        self.story
            .chapter("The books are compared, the audit trail verified, every output searched");
        self.stage
            .bursar(
                &["kill", "global", "--mode", "pause", "--reason", "end of the demo"],
                None,
            )
            .await;
        let settled = self.quiet(Duration::from_secs(60)).await?;
        let status = self.stage.stop_daemon().await?;
        let live: Vec<(AccountId, &str)> = CAST
            .iter()
            .filter(|member| member.broker == "kraken")
            .map(|member| Ok((id(member.account)?, member.user)))
            .collect::<Result<_, Failure>>()?;
        let verdict = oracle::compare(&self.stage.book(), &self.stage.recorded(&live).await?);
        for violation in verdict.violations().take(10) {
            self.story.tell(violation);
        }
        self.story.promise(
            "no duplicate order",
            verdict.duplicated.is_empty(),
            format!("{} orders at the exchange", verdict.orders),
        );
        self.story.promise(
            "no lost order",
            settled && verdict.lost.is_empty(),
            "each has its record, each record its order",
        );
        self.story.promise(
            "no lost or doubled fill",
            verdict.misbooked.is_empty(),
            format!("{} fills", verdict.fills),
        );
        self.story.promise(
            "the daemon stops cleanly",
            status.is_some_and(|status| status.success()),
            "SIGTERM",
        );
        let audit = self.show(&["audit", "verify"]).await;
        self.story
            .promise("the audit trail verifies", audit.exit == Exit::Done, "");
        let secrets: Vec<(&str, &str)> = self.stage.secrets().collect();
        let leaks = secrets::find(&secrets, &self.stage.everything_written()?);
        let places = "outputs, log, settings, store";
        self.story.promise(
            "no key in any output",
            leaks.is_empty(),
            if leaks.is_empty() {
                places.to_owned()
            } else {
                leaks.join("; ")
            },
        );
        self.show(&["status"]).await;
        Ok(())
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
