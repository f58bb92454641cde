//! `bursar order`: manual orders, through the same gate as every other.

use std::time::Duration;

use bursar_execution::{Admission, CancelState, Conditions, Intent, Journal, OrderIntent};
use bursar_model::{
    AccountId, Check, IntentId, IntentState, OrderKind, OrderRequest, OrderSize, Pair, Price, Quantity, Side,
    TimeInForce, Usd,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::{Until, pair, until, usd_above_zero, word};
use crate::commands::can::{SizingDocument, sizing_facts, sizing_json};
use crate::named::OrderId;
use crate::render::{self, Cell, Page, moment};
use crate::session::{Opened, Session};
use crate::view::OrderDocument;
use crate::{Exit, Failure, view};

mod resolve;

#[derive(Debug, Subcommand)]
pub enum Order {
    /// Place an order, and follow it for a moment
    Place(Box<Place>),
    /// Take an order back, or have it cancelled at the exchange
    #[command(after_help = "Example:\n  bursar order cancel 6d1b345e-2821-40e2-ad83-4ecb18a06876")]
    Cancel(Named),
    /// Everything about an order
    #[command(after_help = "Example:\n  bursar order show 6d1b345e-2821-40e2-ad83-4ecb18a06876")]
    Show(Named),
    /// End an order that is unknown or an incident; a second person has to approve it
    Resolve(resolve::Resolve),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar order place kraken-ilves buy BTC-USD --usd 40
  bursar order place kraken-ilves sell BTC-USD --quantity 0.0004 --limit 105000 --post-only")]
pub struct Place {
    /// The account's id
    account: AccountId,
    /// Which side
    #[arg(value_parser = word::<Side>())]
    side: Side,
    /// For example BTC-USD
    #[arg(value_parser = pair)]
    pair: Pair,
    #[command(flatten)]
    size: Size,
    /// This price or better
    #[arg(long, value_name = "PRICE")]
    limit: Option<Price>,
    /// Wake up when the market moves against you to this price
    #[arg(long, value_name = "PRICE")]
    stop: Option<Price>,
    /// Wake up when the market moves for you to this price
    #[arg(long, value_name = "PRICE", conflicts_with = "stop")]
    take_profit: Option<Price>,
    /// Only if it waits in the book
    #[arg(long, requires = "limit", conflicts_with_all = ["stop", "take_profit", "ioc"])]
    post_only: bool,
    /// What is not filled at once is cancelled
    #[arg(long, conflicts_with = "good_til")]
    ioc: bool,
    /// Until a moment (2026-11-20T18:00:00Z) or for a while (30m)
    #[arg(long, value_name = "TIME", value_parser = until)]
    good_til: Option<Until>,
    /// Refuse it unless it lowers a position
    #[arg(long)]
    reduce_only: bool,
    /// Let it through although it looks like the one just sent
    #[arg(long)]
    allow_repeat: bool,
    /// How long to follow the order before the command ends
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    wait_ms: u64,
    /// An idempotency key: the same key never makes a second order
    #[arg(long, value_name = "TEXT", value_parser = key)]
    key: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Size {
    /// So many dollars' worth
    #[arg(long, value_parser = usd_above_zero, allow_negative_numbers = true)]
    usd: Option<Usd>,
    /// So much of the base asset
    #[arg(long)]
    quantity: Option<Quantity>,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The order's id, or how it begins
    order: OrderId,
}

fn key(text: &str) -> Result<String, String> {
    let fits = (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 128 printable ASCII characters without spaces".to_owned())
    }
}

impl Order {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Place(command) => place(*command, session).await,
            Self::Cancel(command) => cancel(command.order, session).await,
            Self::Show(command) => show(command.order, session).await,
            Self::Resolve(command) => command.run(session).await,
        }
    }
}

impl Place {
    fn request(&self, now: Timestamp) -> Result<OrderRequest, Failure> {
        let size = match (self.size.usd, self.size.quantity) {
            (Some(usd), None) => OrderSize::Usd(usd),
            (None, Some(quantity)) => OrderSize::Quantity(quantity),
            _ => {
                return Err(Failure::usage(
                    "an order needs one size",
                    "add `--usd` or `--quantity`",
                ));
            }
        };
        let kind = match (self.limit, self.stop, self.take_profit) {
            (Some(price), Some(trigger), _) => OrderKind::StopLossLimit { trigger, price },
            (Some(price), None, Some(trigger)) => OrderKind::TakeProfitLimit { trigger, price },
            (Some(price), None, None) => OrderKind::Limit { price },
            (None, Some(trigger), _) => OrderKind::StopLoss { trigger },
            (None, None, Some(trigger)) => OrderKind::TakeProfit { trigger },
            (None, None, None) => OrderKind::Market,
        };
        let time_in_force = match (self.ioc, self.good_til) {
            (true, _) => TimeInForce::ImmediateOrCancel,
            (false, None) => TimeInForce::GoodTilCancelled,
            (false, Some(until)) => {
                let until = until.from(now);
                if until <= now {
                    return Err(Failure::usage(
                        format!("`--good-til {until}` is over already"),
                        "name a moment that is still to come",
                    ));
                }
                TimeInForce::GoodTilDate(until)
            }
        };
        Ok(OrderRequest {
            pair: self.pair.clone(),
            side: self.side,
            kind,
            size,
            time_in_force,
            post_only: self.post_only,
            reduce_only: self.reduce_only,
            allow_repeat: self.allow_repeat,
        })
    }
}

async fn place(command: Place, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let request = command.request(session.surroundings.now())?;
    let opened = session.open().await?;
    let admission = opened
        .gateway()
        .submit(OrderIntent {
            account: command.account,
            caller: session.surroundings.caller(),
            request,
            idempotency_key: command.key,
            cycle: None,
        })
        .await?;
    let repeated = matches!(admission, Admission::Repeated(_));
    let followed = match admission {
        Admission::Denied(intent) => intent,
        Admission::Approved(intent) | Admission::Repeated(intent) => {
            follow(intent, Duration::from_millis(command.wait_ms), &opened).await?
        }
    };
    let exit = exit_of(&followed);
    let order = PlacedOrder {
        order: view::order_json(&followed),
        repeated,
        sizing: followed.sizing.as_ref().map(sizing_json),
        advice: advice(&followed),
    };
    let mut page = Page::new();
    if repeated {
        page.line("the idempotency key named this order before; nothing new was placed");
    }
    describe(&mut page, &followed, session.surroundings.now());
    session.console.answer(&page, &Placed { order });
    Ok(exit)
}

/// An order that was asked for, and what became of it while the command looked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OrderPlaced")]
pub(crate) struct Placed<'a> {
    order: PlacedOrder<'a>,
}

#[derive(Serialize, JsonSchema)]
struct PlacedOrder<'a> {
    #[serde(flatten)]
    order: OrderDocument<'a>,
    /// Whether the idempotency key named it before, so that nothing new was placed.
    repeated: bool,
    sizing: Option<SizingDocument>,
    /// What its state means for whoever placed it.
    advice: String,
}

/// An order that was taken back, or whose cancel was asked for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OrderCancelled")]
pub(crate) struct Cancelled<'a> {
    cancel: CancelDocument,
    order: OrderDocument<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cancel")]
struct CancelDocument {
    order_id: IntentId,
    state: CancelState,
    requested_at: Timestamp,
    sent_at: Option<Timestamp>,
    /// The same in words.
    meaning: &'static str,
}

/// Everything about an order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OrderShown")]
pub(crate) struct Shown<'a> {
    order: ShownOrder<'a>,
}

#[derive(Serialize, JsonSchema)]
struct ShownOrder<'a> {
    #[serde(flatten)]
    order: OrderDocument<'a>,
    sizing: Option<SizingDocument>,
    /// What its state means.
    advice: String,
    /// What every rule said.
    trace: &'a [Check],
}

/// Follows an order in the store until nothing more is to be expected, or the time is up.
async fn follow(mut intent: Intent, wait: Duration, opened: &Opened) -> Result<Intent, Failure> {
    let watch = async {
        let mut seen = 0;
        while !is_settled(&intent) {
            seen = opened.store.changed(seen).await;
            intent = opened.store.intent(intent.id).await?;
        }
        Ok::<(), Failure>(())
    };
    match tokio::time::timeout(wait, watch).await {
        Ok(watched) => watched?,
        Err(_time_is_up) => {}
    }
    Ok(opened.store.intent(intent.id).await?)
}

/// Whether waiting longer makes no sense: it is over, it rests in the book, or only a look-up or a
/// person can tell more.
fn is_settled(intent: &Intent) -> bool {
    match intent.state {
        IntentState::Approved | IntentState::Dispatching => false,
        IntentState::Open => rests(intent),
        _ => true,
    }
}

/// Whether it may lie in the book for long.
fn rests(intent: &Intent) -> bool {
    intent.request.kind != OrderKind::Market && intent.request.time_in_force != TimeInForce::ImmediateOrCancel
}

fn exit_of(intent: &Intent) -> Exit {
    match intent.state {
        IntentState::Denied | IntentState::Withdrawn => Exit::Refused,
        IntentState::Approved | IntentState::Dispatching | IntentState::Unknown | IntentState::Incident => {
            Exit::Partial
        }
        IntentState::Expired | IntentState::Rejected | IntentState::Absent => Exit::Failed,
        IntentState::Open | IntentState::Filled | IntentState::Cancelled | IntentState::VenueExpired => {
            Exit::Done
        }
    }
}

/// What the state means for whoever placed the order.
fn advice(intent: &Intent) -> String {
    match intent.state {
        IntentState::Approved => format!(
            "recorded and not sent yet: the daemon sends it; if none runs, start `bursard run`; after {} it is \
             not sent any more",
            moment(intent.valid_until)
        ),
        IntentState::Dispatching => "on its way; look with `bursar order show`".to_owned(),
        IntentState::Unknown => {
            "do not place it again: it may be at the exchange, and is looked up until it is found or proved absent"
                .to_owned()
        }
        IntentState::Incident => {
            "do not place it again: the exchange contradicts what was recorded; a person must look".to_owned()
        }
        IntentState::Denied => "nothing was sent".to_owned(),
        IntentState::Withdrawn | IntentState::Expired => "it was never sent".to_owned(),
        IntentState::Rejected => "the exchange refused it; nothing was placed".to_owned(),
        IntentState::Absent => "proved that it never reached the exchange's book".to_owned(),
        IntentState::Open if rests(intent) => "it works at the exchange".to_owned(),
        IntentState::Open => "accepted by the exchange; its executions are not read yet".to_owned(),
        IntentState::Filled => "filled".to_owned(),
        IntentState::Cancelled => "cancelled; see what was filled before".to_owned(),
        IntentState::VenueExpired => "its time at the exchange is over".to_owned(),
    }
}

fn describe(page: &mut Page, intent: &Intent, now: Timestamp) {
    let state = intent.state.to_string();
    let painted = match exit_of(intent) {
        Exit::Done => render::good(&state),
        Exit::Partial => render::caution(&state),
        _ => render::bad(&state),
    };
    let cause = if intent.cause.is_empty() {
        String::new()
    } else {
        format!(" ({})", render::harmless(&intent.cause))
    };
    page.line(format!(
        "{} on {}: {painted}{cause}",
        intent.request, intent.account
    ));
    let mut facts = vec![
        ("order", Cell::new(intent.id)),
        ("advice", Cell::new(advice(intent))),
        (
            "filled",
            Cell::new(format!(
                "{} {}",
                intent.filled.normalize(),
                intent.request.pair.base()
            )),
        ),
    ];
    if let Some(venue) = &intent.venue_order_id {
        facts.push(("at the exchange", Cell::new(venue)));
    }
    if intent.state == IntentState::Unknown
        && let Some(bound) = intent.acceptance_bound
    {
        facts.push(("accepted at latest", Cell::new(moment(bound))));
    }
    if let Some(sizing) = &intent.sizing {
        facts.extend(sizing_facts(sizing, now));
    }
    page.facts(facts);
    if view::broken(&intent.trace).next().is_some() {
        page.heading("Broken rules");
        view::broken_rules(page, &intent.trace);
    }
}

async fn cancel(order: OrderId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let id = order.of(&opened.store).await?;
    let cancel = opened.gateway().cancel(id, &session.act()).await?;
    let intent = opened.store.intent(id).await?;
    let (text, exit) = match (cancel.state, intent.state) {
        (_, IntentState::Withdrawn) => ("taken back before it was sent", Exit::Done),
        (CancelState::Moot, _) => ("the order was over before", Exit::Done),
        (CancelState::Done, _) => ("cancelled", Exit::Done),
        (CancelState::Requested | CancelState::Sent, _) => (
            "asked for; the running daemon cancels it at the exchange and repeats that until the order is over",
            Exit::Partial,
        ),
    };
    let mut page = Page::new();
    page.line(format!("cancel of {id}: {text}"));
    page.table(&view::order_table([&intent]), "");
    let document = Cancelled {
        cancel: CancelDocument {
            order_id: id,
            state: cancel.state,
            requested_at: cancel.requested_at,
            sent_at: cancel.sent_at,
            meaning: text,
        },
        order: view::order_json(&intent),
    };
    session.console.answer(&page, &document);
    Ok(exit)
}

async fn show(order: OrderId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let id = order.of(&opened.store).await?;
    let intent = opened.store.intent(id).await?;
    let request = &intent.request;
    let mut page = Page::new();
    describe(&mut page, &intent, intent.created_at);
    page.facts([
        ("user", Cell::new(&intent.user)),
        ("broker", Cell::new(&intent.broker)),
        ("asked by", Cell::new(intent.caller.to_string())),
        ("type", Cell::new(request.kind.name())),
        ("time in force", Cell::new(request.time_in_force)),
        ("reduces a position", view::yes_no(intent.reducing)),
        ("our id there", Cell::new(&intent.client_order_id)),
        ("created", Cell::new(moment(intent.created_at))),
        ("changed", Cell::new(moment(intent.updated_at))),
    ]);
    page.heading("What every rule said");
    page.table(&view::trace_table(&intent.trace), "nothing is recorded");
    let order = ShownOrder {
        order: view::order_json(&intent),
        sizing: intent.sizing.as_ref().map(sizing_json),
        advice: advice(&intent),
        trace: &intent.trace,
    };
    session.console.answer(&page, &Shown { order });
    Ok(Exit::Done)
}
