//! The chapters in which something is stopped: a loss limit, and the kill switch.

use std::time::Duration;

use bursar::{Exit, Failure};
use bursar_controls::Scope;
use bursar_execution::Journal;
use bursar_model::{IntentState, UserId};
use rust_decimal::{Decimal, dec};

use super::{Performance, TRADED, id};
use crate::rehearsal::Said;

impl Performance {
    pub(super) async fn loss(&mut self) -> Result<(), Failure> {
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
            "60000",
        ])
        .await;
        self.fall(dec!(0.80))?;
        self.story.tell("All prices fall by a fifth.");
        let store = self.store()?.clone();
        let tripped = || {
            let (store, user) = (store.clone(), user.clone());
            async move {
                store
                    .latches()
                    .await
                    .unwrap_or_default()
                    .iter()
                    .any(|latch| latch.is_of_losses(&user))
            }
        };
        let tripped = self.stage.until(Duration::from_secs(60), tripped).await;
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
        if let Some((pair, quantity)) = self.held("kraken-brandt").await? {
            let line = [
                "order",
                "place",
                "kraken-brandt",
                "sell",
                &pair,
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
                .filter(|line| line.contains(" cycle ") && super::sentence(line).ends_with(&name))
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
                // All of them: what the strategy bought by itself decides how much of which can still be held.
                let pairs = exchange.status().pairs;
                let mut falling = pairs
                    .iter()
                    .filter(|status| TRADED.contains(&status.pair.as_str()));
                falling.try_for_each(|status| {
                    let price = status.last;
                    let fallen = price.checked_mul(to).unwrap_or(price).round_dp(price.scale());
                    exchange.set_price(now, &status.pair, fallen)
                })
            })
            .map_err(|error| Failure::of(Exit::Failed, &error, "choose a market with BTC-USD"))
    }

    /// A position of the account, in the demo's own pair if there is one.
    async fn held(&self, account: &str) -> Result<Option<(String, String)>, Failure> {
        let mut positions = Journal::positions(self.store()?, &id(account)?).await?;
        positions.sort_by_key(|position| position.pair != self.pair);
        let held = positions.into_iter().next();
        Ok(held.map(|position| (position.pair.to_string(), position.quantity.to_string())))
    }

    pub(super) async fn kill_switch(&mut self) -> Result<(), Failure> {
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
            stopped_by_switch(&stopped),
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
            back && stopped_by_switch(&still) && nothing_sent,
            format!("exit {}, nothing new at the exchange", still.exit.code()),
        );
        self.show(&["latches"]).await;
        let store = self.store()?.clone();
        // While something is held, a halt gives way to `reduce-only` first.
        while let Some(latch) = store
            .latches()
            .await?
            .into_iter()
            .find(|latch| latch.scope == Scope::Global)
        {
            let name = latch.id.to_string();
            let said = self
                .show(&["release", &name, "--yes", "--reason", "the drill is over"])
                .await;
            if said.exit != Exit::Done {
                break;
            }
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
        let mut released = self.show(&order).await;
        if released.exit != Exit::Done {
            self.story
                .tell("The exchange wanted fewer requests for a moment; asked once more.");
            released = self.show(&order).await;
        }
        self.story
            .promise("released, it trades again", released.exit == Exit::Done, "");
        Ok(())
    }
}

/// Refused, and by the global switch: not by something that happens to refuse too.
fn stopped_by_switch(said: &Said) -> bool {
    said.exit == Exit::Refused && said.out.contains("switch-global")
}
