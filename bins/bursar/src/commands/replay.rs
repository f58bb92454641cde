//! `bursar replay`: what other limits would have made of the orders of the past.

use std::path::{Path, PathBuf};

use bursar_execution::replay::{OtherLimits, Redecision, Totals, redecide};
use bursar_execution::{Intent, IntentFilter, Reports};
use bursar_model::{AccountId, UserId};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::arguments::shortened;
use crate::commands::credentials::without_what_was_read;
use crate::commands::lists::must_exist;
use crate::progress::Progress;
use crate::render::{Cell, Page, Table, Tone, count, moment};
use crate::session::{Opened, Session};
use crate::{Exit, Failure, prompt, view};

#[derive(Debug, Args)]
#[command(after_help = "\
The file names the limits to try out; what it leaves out stays as it was recorded with each order:

  [limits]                        [policy]
  max_position_usd = \"30\"         order_usd = \"500\"
  max_daily_loss_usd = 10         entries_per_day = 20
  max_positions = 2               price_collar_percent = \"1.5\"
  pairs = { only = [\"BTC-USD\"] }  stress_percent = \"8\"

In [policy] belong all settings of `caps`, and of `gate` its percentages, duplicate_window_ms,
reference_price_max_age_ms and balance_max_age_ms. What goes beyond a user is added up only while
it is limited; the answer says on how many orders such a limit could not be tried out.

Every order is judged by what was known when it was decided on.

Example:
  bursar replay --limits tighter.toml --days 30")]
pub struct Replay {
    /// The limits to try out, or `-` to pipe them in
    #[arg(long, value_name = "FILE")]
    limits: PathBuf,
    /// How far back
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=3_650))]
    days: u16,
    /// Only of this user
    #[arg(long)]
    user: Option<UserId>,
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
}

struct Changed {
    intent: Intent,
    redecision: Redecision,
}

impl Replay {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let other = read(&self.limits, session)?;
        let opened = session.open().await?;
        must_exist(self.user.as_ref(), self.account.as_ref(), &opened).await?;
        let span = SignedDuration::from_hours(i64::from(self.days).saturating_mul(24));
        let since = session.surroundings.now().saturating_sub(span).ok();
        let filter = IntentFilter {
            account: self.account,
            user: self.user,
            since,
            ..IntentFilter::default()
        };
        let (totals, changed) = replay(filter, &other, &opened, session).await?;
        let page = page(&totals, &changed, self.days);
        let document = Replayed {
            days: self.days,
            totals: &totals,
            changed: changed.iter().map(row_json).collect(),
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

fn read(file: &Path, session: &mut Session<'_>) -> Result<OtherLimits, Failure> {
    let name = if file == Path::new("-") {
        file.to_owned()
    } else {
        session.path(file)
    };
    let text = prompt::document(session.console, &name)?;
    // The form first: what is said of that repeats nothing of the file, which may hold anything.
    let document = DeTable::parse(&text).map_err(|error| {
        let what = format!(": {}", error.message());
        names_no_limits(file, &text, &error, &what)
    })?;
    let document = Spanned::new(0..text.len(), DeValue::Table(document.into_inner()));
    OtherLimits::deserialize(ValueDeserializer::from(document)).map_err(|error| {
        let what = of_a_value(error.message());
        names_no_limits(file, &text, &error, &what)
    })
}

/// With the line, and not as the reader of the file shows it, which is the line itself.
fn names_no_limits(file: &Path, text: &str, error: &toml::de::Error, what: &str) -> Failure {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    Failure::new(
        Exit::Usage,
        format!("`{}` names no limits: line {line}{what}", file.display()),
        "see `bursar replay --help` for what belongs there",
    )
}

/// What is wrong, and nothing of the file but what can only be the name of a limit.
fn of_a_value(message: &str) -> String {
    let name = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split('`').next());
    match name {
        Some(name) if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
            format!(": unknown field `{}`", shortened(name))
        }
        _ => without_what_was_read(message),
    }
}

/// How many orders are in memory at once.
const AT_ONCE: u32 = 500;

/// How many orders there are, to know how far it is; what each was decided by takes longer to read.
async fn counted(mut filter: IntentFilter, opened: &Opened) -> Result<usize, Failure> {
    let mut all: usize = 0;
    loop {
        let intents = opened.store.find_intents(&filter, AT_ONCE).await?;
        let Some(last) = intents.last() else {
            return Ok(all);
        };
        filter.before = Some(last.id);
        all = all.saturating_add(intents.len());
    }
}

async fn replay(
    mut filter: IntentFilter,
    other: &OtherLimits,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<(Totals, Vec<Changed>), Failure> {
    let of = counted(filter.clone(), opened).await?;
    let mut progress = Progress::new(session.console, "orders decided again");
    let mut done: usize = 0;
    let mut totals = Totals::default();
    let mut changed = Vec::new();
    loop {
        let intents = opened.store.find_intents(&filter, AT_ONCE).await?;
        let Some(last) = intents.last() else {
            return Ok((totals, changed));
        };
        filter.before = Some(last.id);
        for intent in intents {
            let recorded = opened.store.explain(intent.id).await?;
            let redecision = redecide(&recorded, other);
            totals
                .add(&redecision)
                .map_err(|error| Failure::of(Exit::Failed, &error, "ask for fewer days"))?;
            if redecision.was_allowed != redecision.would_be_allowed {
                changed.push(Changed { intent, redecision });
            }
            done = done.saturating_add(1);
            // More may have come in the meantime.
            progress.at(session.console, done, of.max(done));
        }
    }
}

fn page(totals: &Totals, changed: &[Changed], days: u16) -> Page {
    let mut page = Page::new();
    page.line(format!(
        "{} of {}, {} of them allowed",
        count(
            usize::try_from(totals.orders).unwrap_or(usize::MAX),
            "order",
            "orders"
        ),
        count(days.into(), "day", "days"),
        totals.allowed_then
    ));
    page.facts([
        (
            "would be refused",
            Cell::new(format!(
                "{}, at worst {}",
                totals.would_be_refused, totals.would_be_refused_usd
            )),
        ),
        (
            "would pass",
            Cell::new(format!(
                "{}, at worst {}",
                totals.would_pass, totals.would_pass_usd
            )),
        ),
    ]);
    for (orders, what) in [
        (
            totals.unfaithful,
            "this version decides otherwise even under the limits of then",
        ),
        (
            totals.uncounted,
            "not all of these limits could be tried out: what they limit is added up only while there is a limit",
        ),
    ] {
        if orders > 0 {
            let orders = count(usize::try_from(orders).unwrap_or(usize::MAX), "order", "orders");
            page.line(crate::render::caution(&format!("on {orders} {what}")));
        }
    }
    let mut table = Table::new(&[
        "ORDER", "USER", "ACCOUNT", "WHAT", "DECIDED", "THEN", "WOULD", "RULES",
    ]);
    for Changed { intent, redecision } in changed {
        let word = |allowed: bool| if allowed { "allowed" } else { "refused" };
        // Of an order that would pass: what refused it then.
        let rules: Vec<&str> = if redecision.would_be_allowed {
            view::broken(&intent.trace)
                .map(|check| check.rule.as_str())
                .collect()
        } else {
            redecision
                .broken
                .iter()
                .map(|check| check.rule.as_str())
                .collect()
        };
        table.row([
            Cell::new(intent.id),
            Cell::new(&intent.user),
            Cell::new(&intent.account),
            Cell::new(&intent.request),
            Cell::new(moment(intent.created_at)),
            Cell::new(word(redecision.was_allowed)),
            Cell::new(word(redecision.would_be_allowed)).tone(Tone::Caution),
            Cell::new(rules.join(", ")),
        ]);
    }
    page.blank();
    page.table(&table, "nothing would have been decided otherwise");
    page
}

/// What would have been decided under other limits.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Replayed<'a> {
    days: u16,
    totals: &'a Totals,
    /// The orders that would have been decided otherwise.
    changed: Vec<ChangedRow<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DecidedOtherwise")]
struct ChangedRow<'a> {
    #[serde(flatten)]
    redecision: &'a Redecision,
    user_id: &'a UserId,
    account_id: &'a AccountId,
    /// The order in words.
    order: String,
    decided_at: Timestamp,
}

fn row_json(changed: &Changed) -> ChangedRow<'_> {
    ChangedRow {
        redecision: &changed.redecision,
        user_id: &changed.intent.user,
        account_id: &changed.intent.account,
        order: changed.intent.request.to_string(),
        decided_at: changed.intent.created_at,
    }
}
