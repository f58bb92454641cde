//! The first chapters: an installation, people, keys, the daemon, a market that runs.

use std::time::Duration;

use bursar::render::{Cell, Table, Tone};
use bursar::{Exit, Failure};
use bursar_execution::{Journal, Reports};
use bursar_model::{AccountId, IntentState, Usd};

use super::cast::{CAST, Role};
use super::{Performance, id};

impl Performance {
    pub(super) async fn installation(&mut self) -> Result<(), Failure> {
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

    pub(super) async fn people(&mut self) -> Result<(), Failure> {
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

    pub(super) async fn keys(&mut self) -> Result<(), Failure> {
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
    pub(super) async fn masters_first(&mut self) -> Result<(), Failure> {
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
        // An account is ready before it is said.
        let all_said = |log: &str| connection_order(log).len() == CAST.len();
        self.stage.until_logged(Duration::from_secs(60), all_said).await;
        let order = connection_order(&self.stage.log());
        let at_kraken: Vec<&str> = order
            .iter()
            .map(String::as_str)
            .filter(|name| {
                CAST.iter()
                    .any(|member| member.broker == "kraken" && member.account == *name)
            })
            .collect();
        let found = match at_kraken.as_slice() {
            [first, others @ ..] => format!("kraken: {first}, then {}", others.join(", ")),
            [] => "nobody".to_owned(),
        };
        self.story.promise(
            "a master connects before its users",
            order.len() == CAST.len() && at_kraken.first() == Some(&"kraken-main"),
            found,
        );
        let report = self.stage.bursar(&["hierarchy", "--json"], None).await;
        let alone = trading_alone(&report.out);
        self.story.promise(
            "the user without a master is reported",
            alone == ["paper: paper-lindqvist"],
            alone.join(", "),
        );
        Ok(())
    }

    /// The market runs for `time`: one order by hand, and every account trades in cycles of its own.
    pub(super) async fn market_runs(&mut self, time: Duration) -> Result<(), Failure> {
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
        let all_cycle = |log: &str| {
            CAST.iter()
                .all(|member| log.contains(&format!("cycle 2 for {} / {}", member.broker, member.user)))
        };
        let cycling = self.stage.until_logged(Duration::from_secs(60), all_cycle).await;
        self.story.promise(
            "every account runs its own cycles",
            cycling,
            "second cycle of each seen in the log",
        );
        Ok(())
    }

    pub(super) async fn refusals(&mut self) -> Result<(), Failure> {
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
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Broker and account of everybody whom the report warns of.
fn trading_alone(report: &str) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_str(report).unwrap_or_default();
    let warnings = report
        .pointer("/hierarchy/warnings")
        .and_then(serde_json::Value::as_array)
        .cloned()
        .unwrap_or_default();
    warnings
        .iter()
        .flat_map(|warning| {
            let broker = warning.get("broker").map(text).unwrap_or_default();
            let trading = warning
                .get("trading")
                .and_then(serde_json::Value::as_array)
                .cloned()
                .unwrap_or_default();
            trading
                .into_iter()
                .map(move |entry| format!("{broker}: {}", entry.get("account").map(text).unwrap_or_default()))
        })
        .collect()
}

/// The accounts of the cast in the order in which the daemon says that they are connected.
fn connection_order(log: &str) -> Vec<String> {
    let lines = log
        .lines()
        .filter_map(|line| super::sentence(line).strip_suffix(" connected"));
    let mut order: Vec<String> = Vec::new();
    for account in lines.filter_map(|line| line.rsplit(' ').next()) {
        let plays = CAST.iter().any(|member| member.account == account);
        if plays && !order.iter().any(|seen| seen == account) {
            order.push(account.to_owned());
        }
    }
    order
}
