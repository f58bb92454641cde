//! `bursar balance`: whether an account has enough money to trade, and what that means.

use bursar_accounts::{BalanceOwner, BalanceReport, ReadinessLevel};
use bursar_auth::{Directory, DisplayName};
use bursar_execution::Conditions;
use bursar_execution::holdings::Unmanaged;
use bursar_model::{AccountId, Usd};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{Cell, Page, Tone, age, moment};
use crate::session::Session;
use crate::view::BalancesDocument;
use crate::{Exit, Failure, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar balance kraken-ilves")]
pub struct Balance {
    /// The account's id
    account: AccountId,
}

impl Balance {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let account = opened.store.account(&self.account).await?;
        let user = opened.store.user(account.owner()).await?;
        let Some(known) = opened.store.balances(&self.account).await? else {
            return Err(Failure::new(
                Exit::Failed,
                format!("the balance of `{}` was never read", self.account),
                "start `bursard run`; it reads the balance when it has connected the account",
            ));
        };
        let owner = BalanceOwner {
            user: user.id.clone(),
            name: user.name.as_ref().map_or("", DisplayName::as_str).to_owned(),
            email: user.email.to_string(),
            account: account.id().clone(),
            broker: account.broker().clone(),
        };
        let thresholds = &opened.installation.settings.balance;
        let report = BalanceReport::new(owner, &known.balances, thresholds)
            .map_err(|error| Failure::of(Exit::Failed, &error, "look at the balances at the exchange"))?;

        let age_ms = session
            .surroundings
            .now()
            .as_millisecond()
            .saturating_sub(known.at.as_millisecond());
        let tone = match report.level {
            ReadinessLevel::Insufficient => Tone::Bad,
            ReadinessLevel::Limited => Tone::Caution,
            ReadinessLevel::Recommended | ReadinessLevel::Excellent => Tone::Good,
        };
        let mut page = Page::new();
        page.line(crate::render::bold(&format!("Balance of {}", self.account)));
        page.facts([
            ("user", Cell::new(&report.owner.user)),
            ("name", Cell::new(user.shown_name())),
            ("e-mail", Cell::new(&report.owner.email)),
            ("broker", Cell::new(&report.owner.broker)),
            (
                "available for trading",
                Cell::new(format!(
                    "{} ({} USD + {} USDT)",
                    report.total,
                    report.usd.normalize(),
                    report.usdt.normalize()
                )),
            ),
            ("level", Cell::new(report.level).tone(tone)),
            ("meaning", Cell::new(&report.meaning)),
            (
                "read",
                Cell::new(format!("{}, {} ago", moment(known.at), age(age_ms))),
            ),
        ]);
        if !report.steps.is_empty() {
            page.heading("What to do");
            for (step, number) in report.steps.iter().zip(1..) {
                page.line(format!("  {number}. {step}"));
            }
        }
        page.heading("Everything there");
        page.table(&view::balance_table(&known.balances), "nothing");
        let unmanaged = view::unmanaged_of(&self.account, &opened).await?;
        if !unmanaged.is_empty() {
            page.heading("Of this unmanaged: not bought through Bursar, never sold by it");
            for holding in &unmanaged {
                page.line(format!("  {} {}", holding.quantity, holding.asset));
            }
        }
        let document = Readiness {
            readiness: &report,
            thresholds_usd: Thresholds {
                limited: thresholds.limited_usd,
                recommended: thresholds.recommended_usd,
                excellent: thresholds.excellent_usd,
            },
            balances: view::balances_json(&known),
            unmanaged: &unmanaged,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

/// Whether an account has enough money to trade.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Readiness<'a> {
    readiness: &'a BalanceReport,
    /// From which amount on each level is reached.
    thresholds_usd: Thresholds,
    balances: BalancesDocument<'a>,
    /// What was not bought through Bursar, and is never sold by it.
    unmanaged: &'a [Unmanaged],
}

#[derive(Serialize, JsonSchema)]
struct Thresholds {
    limited: Usd,
    recommended: Usd,
    excellent: Usd,
}
