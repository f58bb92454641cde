//! `bursar can`: a dry run of an order, with what every rule says.

use bursar_auth::Directory;
use bursar_controls::Sizing;
use bursar_execution::OrderIntent;
use bursar_execution::Preview;
use bursar_model::{AccountId, Check, OrderRequest, OrderSize, Pair, Price, Quantity, Side, Usd, UserId};
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::{pair, usd_above_zero, word};
use crate::render::{self, Cell, Page, age};
use crate::session::Session;
use crate::{Exit, Failure, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 3 when the order would be refused.

Example:
  bursar can mara_ilves kraken-ilves buy BTC-USD 40")]
pub struct Can {
    /// The owner of the account
    user: UserId,
    /// The account's id
    account: AccountId,
    /// Which side
    #[arg(value_parser = word::<Side>())]
    side: Side,
    /// For example BTC-USD
    #[arg(value_parser = pair)]
    pair: Pair,
    /// How much, in dollars
    #[arg(value_name = "USD", value_parser = usd_above_zero, allow_negative_numbers = true)]
    usd: Usd,
}

impl Can {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        opened.store.user(&self.user).await?;
        let account = opened.store.account(&self.account).await?;
        if *account.owner() != self.user {
            return Err(Failure::not_found(
                format!(
                    "account `{}` does not belong to user `{}`",
                    self.account, self.user
                ),
                format!(
                    "list the user's accounts with `bursar account list --user {}`",
                    self.user
                ),
            ));
        }
        let preview = opened
            .gateway()
            .preview(OrderIntent {
                account: self.account.clone(),
                caller: session.surroundings.caller(),
                request: OrderRequest::market(self.pair, self.side, OrderSize::Usd(self.usd)),
                idempotency_key: None,
                cycle: None,
            })
            .await?;
        let document = Answer {
            user_id: &self.user,
            account_id: &self.account,
            allowed: preview.allowed,
            order: &preview.order,
            reducing: preview.reducing,
            sizing: preview.sizing.as_ref().map(sizing_json),
            trace: &preview.trace,
            broken_rules: view::broken(&preview.trace)
                .map(|check| check.rule.as_str())
                .collect(),
        };
        session.console.answer(
            &page(&preview, &self.account, session.surroundings.now()),
            &document,
        );
        Ok(if preview.allowed {
            Exit::Done
        } else {
            Exit::Refused
        })
    }
}

fn page(preview: &Preview, account: &AccountId, now: jiff::Timestamp) -> Page {
    let mut page = Page::new();
    let broken = view::broken(&preview.trace).count();
    let verdict = if preview.allowed {
        render::good("allowed")
    } else {
        render::bad(&format!("refused by {}", render::count(broken, "rule", "rules")))
    };
    page.line(format!("{} on {account}: {verdict}", preview.order));
    if let Some(sizing) = &preview.sizing {
        page.facts(sizing_facts(sizing, now));
    }
    if preview.reducing {
        page.line("  it lowers a position, so that limits on risk do not apply");
    }
    page.blank();
    page.table(&view::trace_table(&preview.trace), "no rule was asked");
    if !preview.allowed {
        page.heading("Broken rules");
        view::broken_rules(&mut page, &preview.trace);
    }
    page
}

/// The figures of an order: price, its age, what rounding left, the fee.
pub(crate) fn sizing_facts(sizing: &Sizing, now: jiff::Timestamp) -> Vec<(&'static str, Cell)> {
    let mut facts = vec![
        (
            "quantity",
            Cell::new(format!("{} {}", sizing.terms.quantity, sizing.terms.pair.base())),
        ),
        ("worth", Cell::new(sizing.notional)),
        ("at worst", Cell::new(sizing.worst_cost)),
        ("fee at worst", Cell::new(sizing.worst_fee)),
        ("left by rounding", Cell::new(sizing.rounded_off)),
    ];
    if let Some(reference) = sizing.reference {
        let age_ms = now.as_millisecond().saturating_sub(reference.at.as_millisecond());
        facts.push((
            "reference price",
            Cell::new(format!(
                "{} {}, {} old",
                reference.price,
                sizing.terms.pair.quote(),
                age(age_ms)
            )),
        ));
    }
    facts
}

/// What the rules say of an order that is not placed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DryRun")]
pub(crate) struct Answer<'a> {
    user_id: &'a UserId,
    account_id: &'a AccountId,
    allowed: bool,
    /// The order in words.
    order: &'a str,
    /// Whether it would lower a position.
    reducing: bool,
    /// `null` for an order that cannot be sized.
    sizing: Option<SizingDocument>,
    /// What every rule says.
    trace: &'a [Check],
    /// The names of those that refuse it.
    broken_rules: Vec<&'a str>,
}

/// The figures of an order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OrderFigures")]
pub(crate) struct SizingDocument {
    quantity: Quantity,
    notional_usd: Usd,
    worst_cost_usd: Usd,
    worst_fee_usd: Usd,
    /// What the exchange's smallest step leaves of the amount.
    rounded_off_usd: Usd,
    reference_price: Option<Price>,
    reference_at: Option<Timestamp>,
}

pub(crate) fn sizing_json(sizing: &Sizing) -> SizingDocument {
    SizingDocument {
        quantity: sizing.terms.quantity,
        notional_usd: sizing.notional,
        worst_cost_usd: sizing.worst_cost,
        worst_fee_usd: sizing.worst_fee,
        rounded_off_usd: sizing.rounded_off,
        reference_price: sizing.reference.map(|reference| reference.price),
        reference_at: sizing.reference.map(|reference| reference.at),
    }
}
