//! `bursar explain`: why an order was allowed or refused, with everything that was known then, and what
//! became of it. Read from the journal and the audit trail, however long ago it was.

use bursar_audit::{Record, Value as DataValue};
use bursar_controls::{Sizing, Snapshot};
use bursar_execution::{Approval, BookedFill, Recorded, Reports, SelfCheck};
use bursar_ledger::DayKey;
use bursar_model::{Check, Fill, Quote};
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::approvals::{ApprovalDocument, approval_json};
use crate::named::OrderId;
use crate::render::{Cell, Page, Table, age, harmless, moment};
use crate::session::Session;
use crate::view::OrderDocument;
use crate::{Exit, Failure, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar explain 6d1b345e-2821-40e2-ad83-4ecb18a06876
  bursar explain 6d1b345e")]
pub struct Explain {
    /// The order's id, or how it begins
    order: OrderId,
}

impl Explain {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let store = &opened.store;
        let order = self.order.of(store).await?;
        let recorded = store.explain(order).await?;
        let records = store.order_records(order).await?;
        let approvals = store.order_approvals(order).await?;
        let executions = Executions {
            booked: store.fills_of_order(order).await?,
            kept_aside: store.kept_aside(&recorded.intent).await?,
        };
        let now = session.surroundings.now();
        let page = page(&recorded, &records, &approvals, &executions);
        let document = document(&recorded, &records, &approvals, &executions, now);
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

/// What the exchange executed of the order, as far as it was read.
struct Executions {
    booked: Vec<BookedFill>,
    /// In no book.
    kept_aside: Vec<Fill>,
}

fn page(recorded: &Recorded, records: &[Record], approvals: &[Approval], executions: &Executions) -> Page {
    let (intent, snapshot) = (&recorded.intent, &recorded.snapshot);
    let mut page = Page::new();
    page.line(format!(
        "{} on {}: {}",
        intent.request, intent.account, intent.state
    ));
    page.facts([
        ("order", Cell::new(intent.id)),
        ("asked by", Cell::new(&intent.caller)),
        ("owner", Cell::new(&intent.user)),
        ("decided", Cell::new(moment(intent.created_at))),
        ("trading day", Cell::new(recorded.day)),
        ("cause", Cell::new(&intent.cause)),
    ]);
    page.heading("What was known then");
    page.facts(known_then(snapshot));
    page.heading("The limits of then");
    page.facts([
        ("position", Cell::new(snapshot.limits.max_position)),
        ("daily loss", Cell::new(snapshot.limits.max_daily_loss)),
        ("positions", Cell::new(snapshot.limits.max_positions)),
        ("pairs", Cell::new(&snapshot.limits.pairs)),
        ("order", Cell::new(snapshot.policy.max_order)),
        (
            "of equity",
            Cell::new(format!(
                "{} %",
                snapshot.policy.max_order_equity_percent.normalize()
            )),
        ),
        ("entries a day", Cell::new(snapshot.policy.max_entries_per_day)),
        ("open orders", Cell::new(snapshot.policy.max_open_orders)),
    ]);
    if !snapshot.switches.is_empty() {
        page.heading("Switches that were on");
        page.table(&view::latch_table(&snapshot.switches), "");
    }
    page.heading("What every rule said");
    page.table(&view::trace_table(&intent.trace), "nothing is recorded");
    page.heading("What happened");
    let mut table = Table::new(&["RECORD", "AT", "WHAT", "BY", "FROM", "TO", "WHY"]);
    for record in records {
        table.row([
            Cell::new(record.seq),
            Cell::new(moment(record.at)),
            Cell::new(record.action),
            Cell::new(by(record)),
            Cell::new(text(record, "from")),
            Cell::new(text(record, "to")),
            Cell::new(why(record)),
        ]);
    }
    page.table(&table, "the audit trail has nothing about it");
    if !executions.booked.is_empty() {
        page.heading("Executions");
        let mut table = Table::new(&["EXECUTION", "AT", "QUANTITY", "PRICE", "FEE", "BOOKED"]);
        for booked in &executions.booked {
            let fill = &booked.fill.fill;
            table.row([
                Cell::new(&fill.id),
                Cell::new(moment(fill.at)),
                Cell::new(fill.quantity),
                Cell::new(fill.price),
                Cell::new(&fill.fee),
                Cell::new(moment(booked.booked_at)),
            ]);
        }
        page.table(&table, "");
    }
    if !executions.kept_aside.is_empty() {
        page.heading("Executions that no book can take");
        let mut table = Table::new(&["EXECUTION", "AT", "SIDE", "QUANTITY", "PAIR", "PRICE", "FEE"]);
        for fill in &executions.kept_aside {
            table.row([
                Cell::new(&fill.id),
                Cell::new(moment(fill.at)),
                Cell::new(fill.side),
                Cell::new(fill.quantity),
                Cell::new(&fill.pair),
                Cell::new(fill.price),
                Cell::new(&fill.fee),
            ]);
        }
        page.table(&table, "");
    }
    if !approvals.is_empty() {
        page.heading("What people decided");
    }
    for approval in approvals {
        let verdict = approval.verdict.as_ref().map_or_else(
            || "nobody decided yet".to_owned(),
            |verdict| {
                let word = if verdict.approved { "approved" } else { "rejected" };
                format!("{word} by {} at {}", verdict.by, moment(verdict.at))
            },
        );
        page.line(format!("  {}: {verdict}", approval.measure.describe()));
        page.facts([
            ("  proposed by", Cell::new(&approval.proposed_by)),
            ("  because", Cell::new(&approval.reason)),
            ("  evidence", Cell::new(&approval.evidence)),
        ]);
    }
    page
}

/// The inputs of the decision, each with its age at that moment.
fn known_then(snapshot: &Snapshot) -> Vec<(&'static str, Cell)> {
    let aged = |text: String, at: Timestamp, source: &str| {
        let age_ms = snapshot.now.as_millisecond().saturating_sub(at.as_millisecond());
        Cell::new(format!("{text} ({source}, {} old)", age(age_ms)))
    };
    let unknown = || Cell::new("not known");
    let price = |quote: &Quote| {
        aged(
            format!("bid {}, ask {}", quote.bid, quote.ask),
            quote.at,
            "the exchange",
        )
    };
    vec![
        ("account", Cell::new(readiness(snapshot))),
        ("price", snapshot.quote.as_ref().map_or_else(unknown, price)),
        (
            "equity",
            snapshot.equity.as_ref().map_or_else(unknown, |equity| {
                aged(equity.value.to_string(), equity.at, &equity.source)
            }),
        ),
        (
            "free",
            snapshot.funds.as_ref().map_or_else(unknown, |funds| {
                let text = format!(
                    "{} of the quote asset, {} of the base asset",
                    funds.value.quote.normalize(),
                    funds.value.base.normalize()
                );
                aged(text, funds.at, &funds.source)
            }),
        ),
        (
            "held",
            Cell::new(format!(
                "{}, of which {} is promised to other sales",
                snapshot.holding.quantity.normalize(),
                snapshot.holding.reserved_for_sale.normalize()
            )),
        ),
        (
            "positions",
            Cell::new(format!("{} open or about to be", snapshot.positions.open)),
        ),
        (
            "orders",
            Cell::new(format!(
                "{} working, {} entries that day",
                snapshot.open_orders, snapshot.entries_today
            )),
        ),
        (
            "day's loss",
            Cell::new(format!(
                "{}, and {} at worst of orders under way",
                snapshot.day.loss, snapshot.day.reserved_loss
            )),
        ),
    ]
}

fn readiness(snapshot: &Snapshot) -> String {
    match &snapshot.account.readiness {
        bursar_controls::Readiness::Ready => format!("{}, ready", snapshot.account.mode),
        bursar_controls::Readiness::NotReady { state } => {
            format!("{}, not ready: {}", snapshot.account.mode, harmless(state))
        }
    }
}

fn by(record: &Record) -> String {
    let actor = &record.actor;
    match actor.id() {
        Some(id) => format!("{} {id}", actor.kind()),
        None => actor.kind().to_string(),
    }
}

fn text(record: &Record, key: &str) -> String {
    match record.data.get(key) {
        Some(DataValue::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

fn why(record: &Record) -> String {
    record.reason.clone().unwrap_or_else(|| text(record, "cause"))
}

/// Why an order was allowed or refused, and what became of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Explanation<'a> {
    order: OrderDocument<'a>,
    /// The trading day in which it was decided on.
    day: DayKey,
    /// The trading cycle that asked, when one did.
    cycle: Option<u64>,
    /// How often it was sent.
    attempts: u32,
    /// What was known when it was decided on.
    snapshot: &'a Snapshot,
    sizing: Option<&'a Sizing>,
    /// What every rule said.
    trace: &'a [Check],
    /// What the audit trail has about it.
    records: &'a [Record],
    executions: &'a [BookedFill],
    /// Executions that bear its id at the exchange and could not be booked for it.
    kept_aside: &'a [Fill],
    approvals: Vec<ApprovalDocument<'a>>,
}

fn document<'a>(
    recorded: &'a Recorded,
    records: &'a [Record],
    approvals: &'a [Approval],
    executions: &'a Executions,
    now: Timestamp,
) -> Explanation<'a> {
    Explanation {
        order: view::order_json(&recorded.intent),
        day: recorded.day,
        cycle: recorded.cycle,
        attempts: recorded.attempts,
        snapshot: &recorded.snapshot,
        sizing: recorded.intent.sizing.as_ref(),
        trace: &recorded.intent.trace,
        records,
        executions: &executions.booked,
        kept_aside: &executions.kept_aside,
        approvals: approvals
            .iter()
            .map(|approval| approval_json(approval, now))
            .collect(),
    }
}
