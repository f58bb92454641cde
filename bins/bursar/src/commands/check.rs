//! `bursar check`: the gateway's own promises, asked of the store.

use bursar_execution::{CheckReport, Reach, SelfCheck};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::progress::waited;
use crate::render::{self, Cell, Page, Table, Tone, count};
use crate::session::Session;
use crate::{Exit, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
The daemon asks the same every minute of what changed, and of the rest in turns. A promise that is
found broken for the first time turns the global switch on. Exits with 1 when one does not hold.

Example:
  bursar check")]
pub struct Check {}

/// Whether the gateway's own promises hold.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Promises")]
pub(crate) struct Checked {
    holds: bool,
    check: CheckReport,
}

impl Check {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let now = session.surroundings.now();
        let checking = opened.store.check_self(Reach::Everything, now);
        let report = waited(
            session.console,
            "every promise is asked of all that is recorded",
            checking,
        )
        .await?;
        let mut page = Page::new();
        let looked_at = format!(
            "{}, {}, {} looked at",
            count(report.orders, "order", "orders"),
            count(report.pairs, "pair", "pairs"),
            count(report.limits, "limit in use", "limits in use")
        );
        if report.violations.is_empty() {
            page.line(render::good("every promise holds"));
        } else {
            page.line(render::bad(&format!(
                "{} broken, {} found for the first time",
                count(report.violations.len(), "promise is", "promises are"),
                report.new
            )));
        }
        page.line(looked_at);
        let mut table = Table::new(&["PROMISE", "OF", "WHAT IS WRONG"]);
        for violation in &report.violations {
            table.row([
                Cell::new(violation.promise).tone(Tone::Bad),
                Cell::new(&violation.subject),
                Cell::new(&violation.facts),
            ]);
        }
        if !report.violations.is_empty() {
            page.table(&table, "");
        }
        let holds = report.violations.is_empty();
        let check = report;
        session.console.answer(&page, &Checked { holds, check });
        Ok(if holds { Exit::Done } else { Exit::Failed })
    }
}
