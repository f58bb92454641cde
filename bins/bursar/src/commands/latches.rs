//! `bursar release` and `bursar latches`: which switches are on, and turning one off.

use bursar_auth::{Account, Directory as _};
use bursar_controls::{ClearRule, Latch, Scope};
use bursar_execution::{Approvals as _, Journal, LatchRecord, Measure, Released};
use bursar_model::LatchId;
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::approvals;
use crate::older::{self, Newest, Wanted};
use crate::render::{Cell, Page, Table, Tone, moment};
use crate::session::{Opened, Session};
use crate::view::{LatchDocument, LatchWithStandings};
use crate::{Exit, Failure, named, prompt, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar latches
  bursar release 6d1b345e --reason \"checked with the exchange\"

A switch that stops a broker or everything takes two people: this proposes it, and another person runs
`bursar approve`. While something is held or unknown in its scope, a strict switch first gives way to
one of mode `reduce-only`.")]
pub struct Release {
    /// The switch's id, or how it begins
    latch: String,
    /// Although nobody could compare the accounts with the exchange just now; takes two people
    #[arg(long)]
    unreconciled: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar latches
  bursar latches --all --limit 20")]
pub struct Latches {
    /// Those that were turned off too, newest first
    #[arg(long)]
    all: bool,
    /// Of all of them only those older than this one, for the next page
    #[arg(long, value_name = "SWITCH", requires = "all")]
    before: Option<LatchId>,
    /// How many of them at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

impl Release {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let latches = opened.store.latches().await?;
        let latch = self.find(&latches, &opened).await?;
        if let ClearRule::DayBoundary { day } = &latch.clear_rule {
            return Err(Failure::refused(
                format!(
                    "rule daily-loss-allowance: the switch on {} clears by itself when trading day {day} ends",
                    latch.scope
                ),
                latch.release_hint(),
            ));
        }
        let reason = prompt::reason(
            session.console,
            session.global.reason.as_deref(),
            "trading was allowed again",
        )?;
        let takes_two = matches!(latch.scope, Scope::Global | Scope::Broker(_)) || self.unreconciled;
        if takes_two && (self.unreconciled || !opened.store.works_alone().await?) {
            let measure = Measure::Release {
                latch: latch.id,
                unreconciled: self.unreconciled,
            };
            return approvals::propose(measure, "", &reason, &opened, session).await;
        }
        let act = session.act().because(reason.clone());
        let Released {
            latch: released,
            instead,
        } = opened.store.release(latch.id, &act).await?;
        let left: Vec<Latch> = opened.store.latches().await?;
        let accounts = opened.store.accounts().await?;
        let still: Vec<&Latch> = left
            .iter()
            .filter(|other| overlap(&other.scope, &released.scope, &accounts))
            .collect();

        let mut page = Page::new();
        page.line(format!("switch {} on {} is off", released.id, released.scope));
        if let Some(instead) = &instead {
            page.line(view::instead_line(instead));
        }
        page.facts([
            (
                "was",
                Cell::new(format!("{}: {}", released.mode, released.reason)),
            ),
            ("released because", Cell::new(&reason)),
        ]);
        if !still.is_empty() {
            page.heading("Switches that are still on there");
            page.table(&view::latch_table(still.iter().copied()), "");
            view::release_hints(&mut page, still.iter().copied());
        }
        let document = ReleasedDocument {
            released: view::latch_json(&released),
            reason: &reason,
            instead: instead.as_ref().map(view::latch_json),
            still_on: view::latches_json(still),
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    async fn find<'a>(&self, latches: &'a [Latch], opened: &Opened) -> Result<&'a Latch, Failure> {
        let typed = self.latch.to_ascii_lowercase();
        let shown = named::shown(&self.latch);
        let hits: Vec<&Latch> = latches
            .iter()
            .filter(|latch| named::is_how_it_begins(&typed, &latch.id))
            .collect();
        match hits.as_slice() {
            [latch] => Ok(latch),
            [] => {
                let history = opened.store.latch_history(1_000).await?;
                let is_over = history.iter().any(|record| record.latch.id.to_string() == typed);
                Err(Failure::not_found(
                    if is_over {
                        format!("switch `{shown}` is off already")
                    } else {
                        format!("no switch `{shown}` is on")
                    },
                    "list the switches that are on with `bursar latches`",
                ))
            }
            _ => Err(named::ambiguous(
                &self.latch,
                hits.len(),
                "switch",
                "switches",
                "bursar latches",
            )),
        }
    }
}

/// A switch that was released.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SwitchReleased")]
pub(crate) struct ReleasedDocument<'a> {
    released: LatchDocument<'a>,
    reason: &'a str,
    /// The gentler switch that is on in its place while something is held or unknown.
    instead: Option<LatchDocument<'a>>,
    /// Other switches that are on there.
    still_on: Vec<LatchDocument<'a>>,
}

/// The switches that are on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SwitchesOn")]
pub(crate) struct On<'a> {
    latches: Vec<LatchWithStandings<'a>>,
    total_count: usize,
}

/// With `--all`: those that were turned off too, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SwitchHistory")]
pub(crate) struct History<'a> {
    latches: Vec<Past<'a>>,
    /// How many are on this page.
    total_count: usize,
    /// What `--before` takes for the next page; `null` on the last one.
    next_before: Option<LatchId>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PastSwitch")]
struct Past<'a> {
    #[serde(flatten)]
    latch: LatchDocument<'a>,
    /// `null` for one that is on.
    cleared: Option<Cleared<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SwitchCleared")]
struct Cleared<'a> {
    by: &'a str,
    at: Timestamp,
    reason: &'a str,
}

/// Whether a switch of one scope stops something that the other stops: an account that may still trade.
fn overlap(one: &Scope, other: &Scope, accounts: &[Account]) -> bool {
    let covers =
        |scope: &Scope, account: &Account| scope.covers(account.id(), account.owner(), account.broker());
    one == other
        || accounts
            .iter()
            .filter(|account| account.is_open())
            .any(|account| covers(one, account) && covers(other, account))
}

impl Latches {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open_quickly().await?;
        if self.all {
            return self.history(&opened, session).await;
        }
        let latches = opened.store.latches().await?;
        let mut page = Page::new();
        page.table(&view::latch_table(&latches), "no switch is on");
        if !latches.is_empty() {
            page.blank();
        }
        let standings = view::standings(&latches, &opened, session.surroundings.now()).await?;
        view::release_hints(&mut page, &latches);
        view::standing_lines(&mut page, &latches, &standings);
        let rows: Vec<_> = latches
            .iter()
            .map(|latch| view::latch_with_standings_json(latch, &standings))
            .collect();
        let document = On {
            latches: rows,
            total_count: latches.len(),
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    async fn history(&self, opened: &Opened, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let (records, next_before) = self.past(opened).await?;
        let mut table = Table::new(&[
            "SWITCH",
            "SCOPE",
            "MODE",
            "CAUSE",
            "SINCE",
            "BY",
            "REASON",
            "OFF SINCE",
            "OFF BY",
            "BECAUSE",
        ]);
        let mut rows = Vec::new();
        for record in &records {
            let latch = &record.latch;
            let cleared = record.cleared.as_ref();
            table.row([
                Cell::new(latch.id),
                Cell::new(&latch.scope),
                Cell::new(latch.mode),
                Cell::new(latch.cause),
                Cell::new(moment(latch.tripped_at)),
                Cell::new(&latch.tripped_by),
                Cell::new(&latch.reason),
                cleared.map_or_else(
                    || Cell::new("on").tone(Tone::Bad),
                    |cleared| Cell::new(moment(cleared.at)),
                ),
                Cell::new(cleared.map_or("", |cleared| cleared.by.as_str())),
                Cell::new(cleared.map_or("", |cleared| cleared.note.as_str())),
            ]);
            rows.push(Past {
                latch: view::latch_json(latch),
                cleared: cleared.map(|cleared| Cleared {
                    by: &cleared.by,
                    at: cleared.at,
                    reason: &cleared.note,
                }),
            });
        }
        let mut page = Page::new();
        page.table(&table, "there never was a switch");
        if let Some(next) = next_before {
            page.line(crate::render::dim(&format!("older ones: add `--before {next}`")));
        }
        let document = History {
            latches: rows,
            total_count: records.len(),
            next_before,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    /// A page of all switches there were, and after which one the next begins.
    async fn past(&self, opened: &Opened) -> Result<(Vec<LatchRecord>, Option<LatchId>), Failure> {
        let wanted = Wanted {
            before: self.before.map(|before| format!("switch `{before}`")),
            is_it: &|record: &LatchRecord| Some(record.latch.id) == self.before,
            limit: self.limit,
        };
        let (records, has_more) = older::page(&wanted, async |asked| {
            Ok(Newest::of(opened.store.latch_history(asked).await?, asked))
        })
        .await?;
        let next = records.last().filter(|_| has_more).map(|record| record.latch.id);
        Ok((records, next))
    }
}
