//! `bursar loss`: the day's loss of a user, and more allowance for today.

use bursar_auth::Directory;
use bursar_controls::Latch;
use bursar_execution::{Journal, Measure, MoreLoss, Reports, UserDay};
use bursar_ledger::{DayKey, TradingDay};
use bursar_model::{LossPolicy, Usd, UserId};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::approvals;
use crate::arguments::usd_above_zero;
use crate::render::{Cell, Page, Tone, moment};
use crate::session::Session;
use crate::view::LatchDocument;
use crate::{Exit, Failure, prompt, view};

#[derive(Debug, Subcommand)]
pub enum Loss {
    /// The trading day of a user so far
    Show(Show),
    /// Allow more loss today; today's figure stays what it is
    Allow(Allow),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar loss show mara_ilves")]
pub struct Show {
    /// The user's id
    user: UserId,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar loss allow mara_ilves --extra-usd 10 --reason \"agreed by telephone\"

Another person approves it with `bursar approve`, unless one works alone here.")]
pub struct Allow {
    /// The user's id
    user: UserId,
    /// How much more than the limit may be lost today
    #[arg(long, value_name = "USD", value_parser = usd_above_zero, allow_negative_numbers = true)]
    extra_usd: Usd,
}

impl Loss {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Show(command) => show(&command.user, session).await,
            Self::Allow(command) => allow(command, session).await,
        }
    }
}

async fn show(id: &UserId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    opened.store.user(id).await?;
    let now = session.surroundings.now();
    let day = opened.store.user_day(id, now).await?;
    let fills = opened.store.fills_of_day(id, day.day.key).await?;
    let latches = opened.store.latches().await?;
    let tripped = daily_loss_latches(&latches, id);

    let mut page = Page::new();
    page.line(crate::render::bold(&format!(
        "Loss of {id} in trading day {}",
        day.day.key
    )));
    let executions = [
        ("executions", Cell::new(fills.len())),
        (
            "last execution",
            fills.last().map_or_else(
                || Cell::new("none").tone(Tone::Dim),
                |booked| Cell::new(moment(booked.fill.fill.at)),
            ),
        ),
    ];
    page.facts(day_facts(&day, now)?.into_iter().chain(executions));
    page.heading("Switches of the day's loss");
    page.table(&view::latch_table(tripped.iter().copied()), "none is on");
    view::release_hints(&mut page, tripped.iter().copied());
    let loss = ShownLoss {
        day: day_json(&day, now)?,
        executions: fills.len(),
        last_execution_at: fills.last().map(|booked| booked.fill.fill.at),
        latches: view::latches_json(tripped),
    };
    session.console.answer(&page, &Shown { loss });
    Ok(Exit::Done)
}

/// The trading day of a user so far.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LossShown")]
pub(crate) struct Shown<'a> {
    loss: ShownLoss<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LossOfToday")]
struct ShownLoss<'a> {
    #[serde(flatten)]
    day: DayDocument<'a>,
    executions: usize,
    last_execution_at: Option<Timestamp>,
    /// The switches of the day's loss.
    latches: Vec<LatchDocument<'a>>,
}

/// What became of today's loss when more was allowed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LossAllowed")]
pub(crate) struct AllowedLoss<'a> {
    #[serde(flatten)]
    day: DayDocument<'a>,
    /// The switches of the day's loss that are still on.
    latches: Vec<LatchDocument<'a>>,
}

async fn allow(command: Allow, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let reason = prompt::reason(
        session.console,
        session.global.reason.as_deref(),
        "more loss was allowed",
    )?;
    let opened = session.open().await?;
    opened.store.user(&command.user).await?;
    let day = opened
        .store
        .user_day(&command.user, session.surroundings.now())
        .await?;
    let evidence = format!("{} of {} lost", day.loss, allowed(&day)?);
    let more = MoreLoss {
        user: command.user,
        day: day.day.key,
        limit: day.limit,
        before: day.extra_allowance,
        extra: command.extra_usd,
    };
    approvals::propose(Measure::AllowLoss(more), &evidence, &reason, &opened, session).await
}

/// What became of today's loss and its switch, to the person whose word allowed more.
pub(crate) fn allowed_more<'a>(
    page: &mut Page,
    day: &'a UserDay,
    still_on: &'a [Latch],
    now: Timestamp,
) -> Result<(Exit, AllowedLoss<'a>), Failure> {
    let still_on: Vec<&Latch> = still_on.iter().collect();
    page.line(format!(
        "`{}` may lose {} on top of the limit in trading day {}",
        day.user, day.extra_allowance, day.day.key
    ));
    page.facts(day_facts(day, now)?);
    if still_on.is_empty() {
        page.line("no switch of the day's loss is on");
    } else {
        page.heading("The switch of the day's loss is still on: the loss is above what is allowed now");
        page.table(&view::latch_table(still_on.iter().copied()), "");
    }
    let exit = if still_on.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    };
    let loss = AllowedLoss {
        day: day_json(day, now)?,
        latches: view::latches_json(still_on),
    };
    Ok((exit, loss))
}

fn daily_loss_latches<'a>(latches: &'a [Latch], user: &UserId) -> Vec<&'a Latch> {
    latches.iter().filter(|latch| latch.is_of_losses(user)).collect()
}

fn allowed(day: &UserDay) -> Result<Usd, Failure> {
    day.limit
        .plus(day.extra_allowance)
        .map_err(|error| Failure::of(Exit::Failed, &error, "report this"))
}

/// Whether its end has come by this machine's clock, and no exchange's clock has confirmed that yet.
pub(crate) fn is_overdue(day: &TradingDay, now: Timestamp) -> bool {
    day.end <= now
}

pub(crate) fn trading_day(day: &TradingDay, now: Timestamp) -> Cell {
    let (key, end) = (day.key, moment(day.end));
    if is_overdue(day, now) {
        let text =
            format!("{key}, goes on until the clock of an exchange has passed {end}, as this machine's has");
        Cell::new(text).tone(Tone::Caution)
    } else {
        Cell::new(format!("{key}, ends {end}"))
    }
}

pub(crate) fn day_facts(day: &UserDay, now: Timestamp) -> Result<Vec<(&'static str, Cell)>, Failure> {
    let allowed = allowed(day)?;
    let tone = if day.loss >= allowed {
        Tone::Bad
    } else {
        Tone::Plain
    };
    let mut facts = vec![
        ("trading day", trading_day(&day.day, now)),
        ("loss", Cell::new(format!("{} of {allowed}", day.loss)).tone(tone)),
        ("realised", Cell::new(day.realised)),
        ("change of what is held", Cell::new(day.unrealised_change)),
        ("fees", Cell::new(day.fees)),
        ("limit", Cell::new(day.limit)),
    ];
    if day.extra_allowance != Usd::ZERO {
        facts.push((
            "allowed on top",
            Cell::new(day.extra_allowance).tone(Tone::Caution),
        ));
    }
    let policy = day.terms.policy;
    let until = if day.terms.needs_release {
        "a person releases it after the day"
    } else {
        "the day ends"
    };
    facts.push(("at the limit", Cell::new(format!("{policy} until {until}"))));
    if let Some(at) = day.warned_at {
        facts.push(("near the limit since", Cell::new(moment(at)).tone(Tone::Caution)));
    }
    if let Some(trip) = &day.tripped {
        facts.extend([
            ("limit reached", Cell::new(moment(trip.at)).tone(Tone::Bad)),
            (
                "loss at that moment",
                Cell::new(format!("{} of {}", trip.loss, trip.limit)),
            ),
            ("worst loss since", Cell::new(trip.worst)),
        ]);
    }
    if day.basis_uncertain {
        facts.push((
            "note",
            Cell::new("a position came into the day without a fresh price: the figure is uncertain")
                .tone(Tone::Caution),
        ));
    }
    Ok(facts)
}

/// A trading day of a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TradingDayOfUser")]
pub(crate) struct DayDocument<'a> {
    user_id: &'a UserId,
    trading_day: DayKey,
    starts: Timestamp,
    ends: Timestamp,
    /// Whether its end has come by this machine's clock and no exchange has confirmed it yet.
    is_overdue: bool,
    loss_usd: Usd,
    realised_usd: Usd,
    /// How much less, or more, what is held is worth than when the day began.
    unrealised_change_usd: Usd,
    fees_usd: Usd,
    limit_usd: Usd,
    /// What was allowed on top of the limit, for this day.
    extra_allowance_usd: Usd,
    allowed_usd: Usd,
    /// Whether a position came into the day without a fresh price.
    basis_uncertain: bool,
    on_daily_loss: LossPolicy,
    loss_needs_release: bool,
    warned_at: Option<Timestamp>,
    /// When the limit was reached.
    tripped_at: Option<Timestamp>,
    loss_at_trip_usd: Option<Usd>,
    limit_at_trip_usd: Option<Usd>,
    worst_loss_usd: Option<Usd>,
}

pub(crate) fn day_json(day: &UserDay, now: Timestamp) -> Result<DayDocument<'_>, Failure> {
    Ok(DayDocument {
        user_id: &day.user,
        trading_day: day.day.key,
        starts: day.day.start,
        ends: day.day.end,
        is_overdue: is_overdue(&day.day, now),
        loss_usd: day.loss,
        realised_usd: day.realised,
        unrealised_change_usd: day.unrealised_change,
        fees_usd: day.fees,
        limit_usd: day.limit,
        extra_allowance_usd: day.extra_allowance,
        allowed_usd: allowed(day)?,
        basis_uncertain: day.basis_uncertain,
        on_daily_loss: day.terms.policy,
        loss_needs_release: day.terms.needs_release,
        warned_at: day.warned_at,
        tripped_at: day.tripped.map(|trip| trip.at),
        loss_at_trip_usd: day.tripped.map(|trip| trip.loss),
        limit_at_trip_usd: day.tripped.map(|trip| trip.limit),
        worst_loss_usd: day.tripped.map(|trip| trip.worst),
    })
}
