//! `bursar stats`: how a user's accounts have done, as a page, a document, rows and a chart.

mod csv;
pub(crate) mod document;
mod figures;
mod pictures;

use std::path::{Path, PathBuf};

use bursar_auth::Directory;
use bursar_controls::Latch;
use bursar_execution::{ErrorCount, Period, Reports, Statements};
use bursar_ledger::DayKey;
use bursar_model::{AccountId, UserId};
use clap::Args;
use jiff::Span;

use self::figures::{DayFigures, Figures, OfAccount};
use crate::commands::errors;
use crate::commands::loss::day_facts;
use crate::output_file::OutputFile;
use crate::render::{self, Cell, Page, Table, Tone, age, count, moment};
use crate::session::Session;
use crate::{Exit, Failure};

#[derive(Debug, Args)]
#[command(after_help = "\
A trade is everything that one order sold; it is won when it gained after the fees of purchase
and sale. Days are trading days. Results and fees are of what was traded through Bursar. Equity is
all that the account holds; its return is time-weighted, so that deposits, withdrawals and what is
traded by hand are no result: they are listed instead.

Examples:
  bursar stats mara_ilves
  bursar stats mara_ilves --account kraken-ilves --since 2026-11-01 --until 2026-11-30
  bursar stats mara_ilves --days 30 --csv mara.csv --chart mara.svg
  bursar stats mara_ilves --csv -")]
pub struct Stats {
    /// The user's id
    user: UserId,
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// The first trading day that counts
    #[arg(long, value_name = "DATE")]
    since: Option<DayKey>,
    /// The last trading day that counts
    #[arg(long, value_name = "DATE")]
    until: Option<DayKey>,
    /// Only the last so many trading days, today included
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["since", "until"], value_parser = clap::value_parser!(u32).range(1..=36_600))]
    days: Option<u32>,
    /// How many days the page shows at most; the files and the document have them all
    #[arg(long, value_name = "COUNT", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=36_600))]
    limit: u32,
    /// Write a row per day and account into this file, or on the output with `-`
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw what each account was worth into this file, which ends in .svg
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Write files anew that are there already
    #[arg(long)]
    force: bool,
}

/// What the exchanges of a user's accounts answered that was no answer.
struct Errors {
    counted: Vec<ErrorCount>,
    /// The switches that it turned on.
    stopped: Vec<Latch>,
}

impl Stats {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let csv_on_output = self.csv.as_deref() == Some(Path::new("-"));
        if csv_on_output && session.console.is_json() {
            return Err(Failure::usage(
                "`--csv -` and `--json` both want the output",
                "name a file for the rows",
            ));
        }
        let csv_file = self.file(self.csv.as_deref().filter(|_| !csv_on_output), session)?;
        let chart_file = self.file(self.chart.as_deref(), session)?;
        if chart_file.as_ref().is_some_and(|file| !is_svg(file.path())) {
            return Err(Failure::usage(
                "a chart is drawn as SVG",
                "name a file that ends in .svg",
            ));
        }

        let opened = session.open().await?;
        opened.store.user(&self.user).await?;
        if let Some(account) = &self.account
            && opened.store.account(account).await?.owner() != &self.user
        {
            return Err(Failure::not_found(
                format!("`{account}` is not an account of `{}`", self.user),
                "list the accounts with `bursar account list`",
            ));
        }
        let now = session.surroundings.now();
        let period = self.period(&opened, now).await?;
        let statement = opened
            .store
            .statement(&self.user, self.account.as_ref(), period, now)
            .await?;
        let accounts = opened.store.accounts_of(&self.user).await?;
        let errors = Errors {
            counted: errors::of_accounts(&accounts, &opened, now).await?,
            stopped: errors::stopped_for_errors(&accounts, &opened).await?,
        };
        let figures = Figures::of(self.user, self.account, period, statement)
            .map_err(|error| Failure::of(Exit::Failed, &error, "report this"))?;

        let mut written = Vec::new();
        if let Some(file) = &csv_file {
            file.write(&csv::rows(&figures)?)?;
            written.push(file.path());
        }
        if let Some(file) = &chart_file {
            let chart = pictures::chart(&figures);
            let svg = chart.and_then(|chart| chart.to_svg());
            file.write(&svg.map_err(|error| Failure::of(Exit::Failed, &error, "report this"))?)?;
            written.push(file.path());
        }
        if csv_on_output {
            session.console.raw_out(&csv::rows(&figures)?);
            return Ok(Exit::Done);
        }
        let mut page = page(&figures, &errors, self.limit, now)?;
        for file in &written {
            page.line(format!(
                "written: {}",
                render::harmless(&file.display().to_string())
            ));
        }
        let document = document::of(&figures, &errors, &written, now)?;
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    fn file(&self, typed: Option<&Path>, session: &Session<'_>) -> Result<Option<OutputFile>, Failure> {
        let file = typed.map(|typed| OutputFile::new(session.path(typed), self.force));
        file.transpose()
    }

    async fn period(&self, opened: &crate::session::Opened, now: jiff::Timestamp) -> Result<Period, Failure> {
        let (mut since, until) = (self.since, self.until);
        if let Some(days) = self.days {
            let today = opened.store.user_day(&self.user, now).await?.day.key.date();
            let back = Span::new().days(i64::from(days).saturating_sub(1));
            // Before the calendar begins there was no trading either.
            since = today.checked_sub(back).ok().map(DayKey::new);
        }
        if since.zip(until).is_some_and(|(since, until)| since > until) {
            return Err(Failure::usage(
                "the first day is after the last",
                "exchange `--since` and `--until`",
            ));
        }
        Ok(Period { since, until })
    }
}

fn is_svg(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("svg"))
}

fn page(figures: &Figures, errors: &Errors, limit: u32, now: jiff::Timestamp) -> Result<Page, Failure> {
    let mut page = Page::new();
    page.line(render::bold(&figures.title()));
    results(&mut page, figures, now);
    page.heading("Today, in all accounts");
    today(&mut page, figures, now)?;
    page.heading("Errors");
    page.table(&errors::table(&errors.counted), "none");
    errors::tell_stopped(&mut page, &errors.stopped);
    page.heading("Held now");
    page.table(&held_table(figures, now), "no position is open");
    page.heading("By pair");
    page.table(&pair_table(figures), "no trade was closed");
    page.heading("By day");
    days(&mut page, figures, limit);
    page.heading("Equity, with what came in and went out left out of the return");
    page.table(
        &equity_table(&figures.accounts),
        "no reading yet: `bursard run` takes them while an account is connected",
    );
    page.heading("Came in and went out");
    page.table(&flow_table(figures), "nothing");
    for difference in &figures.statement.unsettled {
        let quantity = difference.quantity.normalize();
        page.line(render::caution(&format!(
            "{}: {quantity} {} that no execution explains, since {}; it counts once it is sure to last",
            difference.account,
            difference.asset,
            moment(difference.since)
        )));
    }
    Ok(page)
}

fn results(page: &mut Page, figures: &Figures, now: jiff::Timestamp) {
    let total = &figures.total.total;
    let none = || Cell::new("none").tone(Tone::Dim);
    let last = figures.total.last_closed_at;
    page.facts([
        (
            "trades",
            Cell::new(format!("{}: {}", total.trades, figures::outcomes(total))),
        ),
        ("win rate", total.win_rate().map_or_else(none, Cell::new)),
        ("realised", Cell::new(total.realised)),
        ("fees of what was sold", Cell::new(total.fees)),
        ("net", amount_cell(figures.net)),
        ("best trade", figures.total.best.map_or_else(none, amount_cell)),
        ("worst trade", figures.total.worst.map_or_else(none, amount_cell)),
        ("last trade", last.map_or_else(none, |at| Cell::new(moment(at)))),
        ("executions", Cell::new(figures.executions)),
        ("all fees paid", Cell::new(figures.fees_paid)),
        ("unrealised now", unrealised_cell(figures, now)),
    ]);
}

/// What is held would gain if it were sold at the last prices, and how old the oldest of them is.
fn unrealised_cell(figures: &Figures, now: jiff::Timestamp) -> Cell {
    let Some(unrealised) = figures.unrealised else {
        return Cell::new("unknown: a position has no price").tone(Tone::Caution);
    };
    match figures.oldest_mark() {
        None => Cell::new(unrealised),
        Some(mark) => {
            let old = age(mark.age(now).as_millis().try_into().unwrap_or(i64::MAX));
            let fresh = mark.state(now, bursar_ledger::STALE_AFTER) == bursar_ledger::MarkState::Fresh;
            let tone = if fresh { Tone::Plain } else { Tone::Caution };
            Cell::new(format!(
                "{unrealised} without fees; the oldest price is {old} old"
            ))
            .tone(tone)
        }
    }
}

fn today(page: &mut Page, figures: &Figures, now: jiff::Timestamp) -> Result<(), Failure> {
    let today = &figures.today;
    let none = || Cell::new("none").tone(Tone::Dim);
    let last_execution = figures.last_execution_today();
    let more = [
        ("executions", Cell::new(figures.executions_today())),
        (
            "last execution",
            last_execution.map_or_else(none, |at| Cell::new(moment(at))),
        ),
        (
            "trades",
            Cell::new(format!(
                "{}: {}",
                today.total.trades,
                figures::outcomes(&today.total)
            )),
        ),
        (
            "last trade",
            today.last_closed_at.map_or_else(none, |at| Cell::new(moment(at))),
        ),
    ];
    let facts = day_facts(&figures.statement.today.day, now)?;
    page.facts(facts.into_iter().chain(more));
    Ok(())
}

fn held_table(figures: &Figures, now: jiff::Timestamp) -> Table {
    let mut table = Table::new(&[
        "ACCOUNT",
        "PAIR",
        "QUANTITY",
        "COST",
        "WORTH",
        "UNREALISED",
        "FEES",
        "PRICE AGE",
        "SINCE",
    ])
    .figures(&[2, 3, 4, 5, 6, 7]);
    for row in &figures.held {
        let position = &row.held.position;
        let unknown = || Cell::new("no price").tone(Tone::Caution);
        let old = |mark: bursar_ledger::Mark| age(mark.age(now).as_millis().try_into().unwrap_or(i64::MAX));
        table.row([
            Cell::new(&position.account),
            Cell::new(&position.pair),
            Cell::new(position.quantity),
            Cell::new(position.cost_usd),
            row.worth.map_or_else(unknown, Cell::new),
            row.unrealised.map_or_else(unknown, amount_cell),
            Cell::new(row.held.fees),
            row.held
                .mark
                .map_or_else(|| Cell::new(""), |mark| Cell::new(old(mark))),
            Cell::new(moment(position.opened_at)),
        ]);
    }
    table
}

fn pair_table(figures: &Figures) -> Table {
    let mut table = Table::new(&[
        "PAIR", "TRADES", "WON", "LOST", "WIN RATE", "REALISED", "FEES", "NET",
    ])
    .figures(&[1, 2, 3, 4, 5, 6, 7]);
    for row in &figures.by_pair {
        let tally = &row.tally;
        table.row([
            Cell::new(&row.pair),
            Cell::new(tally.trades),
            Cell::new(tally.wins),
            Cell::new(tally.losses),
            tally.win_rate().map_or_else(|| Cell::new(""), Cell::new),
            Cell::new(tally.realised),
            Cell::new(tally.fees),
            amount_cell(row.net),
        ]);
    }
    table
}

/// The newest first, at most so many days.
fn days(page: &mut Page, figures: &Figures, limit: u32) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut shown: Vec<DayKey> = figures.days.iter().map(|row| row.day).collect();
    shown.sort_unstable();
    shown.dedup();
    let older = shown.len().saturating_sub(limit);
    let from = shown.get(older).copied();
    let mut table = Table::new(&[
        "DAY",
        "ACCOUNT",
        "TRADES",
        "WON",
        "LOST",
        "REALISED",
        "FEES",
        "NET",
        "IN AND OUT",
        "EQUITY",
    ])
    .figures(&[2, 3, 4, 5, 6, 7, 8, 9]);
    let mut rows: Vec<&DayFigures> = figures.days.iter().filter(|row| Some(row.day) >= from).collect();
    rows.sort_by(|a, b| b.day.cmp(&a.day).then_with(|| a.account.cmp(&b.account)));
    for row in rows {
        table.row([
            Cell::new(row.day),
            Cell::new(&row.account),
            Cell::new(row.tally.trades),
            Cell::new(row.tally.wins),
            Cell::new(row.tally.losses),
            Cell::new(row.tally.realised),
            Cell::new(row.tally.fees),
            amount_cell(row.net),
            Cell::new(row.flows),
            row.equity
                .map_or_else(|| Cell::new("-").tone(Tone::Dim), Cell::new),
        ]);
    }
    page.table(&table, "no day with anything to tell");
    if older > 0 {
        let days = count(older, "older day", "older days");
        page.line(render::dim(&format!(
            "{days}: add `--limit {}`, or `--csv -`",
            shown.len()
        )));
    }
}

fn equity_table(accounts: &[OfAccount]) -> Table {
    let mut table = Table::new(&[
        "ACCOUNT",
        "FROM",
        "UNTIL",
        "BEGAN WITH",
        "IN AND OUT",
        "GAINED",
        "ENDED WITH",
        "RETURN",
        "DEEPEST FALL",
        "PRICES",
    ])
    .figures(&[3, 4, 5, 6, 7, 8, 9]);
    for of in accounts {
        let done = &of.performance;
        let none = || Cell::new("-").tone(Tone::Dim);
        table.row([
            Cell::new(&of.account),
            Cell::new(moment(done.first.at)),
            Cell::new(moment(done.last.at)),
            Cell::new(done.first.equity),
            Cell::new(done.flows),
            amount_cell(done.gain),
            Cell::new(done.last.equity),
            done.return_percent
                .map_or_else(none, |percent| Cell::new(figures::percent(percent))),
            done.drawdown
                .and_then(|fall| fall.percent)
                .map_or_else(none, |percent| Cell::new(figures::percent(percent))),
            prices_cell(of),
        ]);
    }
    table
}

/// How old the oldest price was with the last reading, and what had none.
fn prices_cell(of: &OfAccount) -> Cell {
    let Some(last) = of.readings.last() else {
        return Cell::new("");
    };
    if !last.unpriced.is_empty() {
        let assets: Vec<String> = last.unpriced.iter().map(ToString::to_string).collect();
        return Cell::new(format!("none of {}", assets.join(", "))).tone(Tone::Caution);
    }
    last.prices_at.map_or_else(
        || Cell::new("only dollars"),
        |at| {
            let old = last
                .reading
                .at
                .as_millisecond()
                .saturating_sub(at.as_millisecond());
            Cell::new(format!("{} old", age(old)))
        },
    )
}

fn flow_table(figures: &Figures) -> Table {
    let mut table = Table::new(&["SEEN", "DAY", "ACCOUNT", "WHAT", "QUANTITY", "WORTH"]).figures(&[4, 5]);
    for flow in &figures.statement.flows {
        table.row([
            Cell::new(moment(flow.at)),
            Cell::new(flow.day),
            Cell::new(&flow.account),
            Cell::new(figures::what_flowed(flow)),
            Cell::new(format!("{} {}", flow.quantity.normalize(), flow.asset)),
            flow.usd
                .map_or_else(|| Cell::new("no price").tone(Tone::Caution), Cell::new),
        ]);
    }
    table
}

fn amount_cell(amount: bursar_model::Usd) -> Cell {
    let tone = if amount.is_negative() {
        Tone::Bad
    } else {
        Tone::Plain
    };
    Cell::new(amount).tone(tone)
}
