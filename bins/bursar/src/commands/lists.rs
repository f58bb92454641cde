//! `bursar positions`, `orders` and `fills`: rows, each with the user it belongs to.

mod executions;

use std::collections::BTreeMap;

use bursar_auth::Directory;
use bursar_broker::VenueOrderStatus;
use bursar_execution::{BookedFill, Conditions, IntentFilter, Journal, Reports, usd_rate};
use bursar_ledger::{DayKey, OpenPosition};
use bursar_model::{
    AccountId, Amount, Asset, BrokerId, FillId, IntentId, IntentState, Liquidity, Pair, Price, Quantity,
    Quote, Side, Usd, UserId, VenueOrderId, decimal,
};
use clap::Args;
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::{pair, word};
use crate::commands::lists::executions::Execution;
use crate::render::{Cell, Page, Table, Tone, age, moment};
use crate::session::{Opened, Session};
use crate::view::OrderDocument;
use crate::{Exit, Failure, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar positions --user mara_ilves")]
pub struct Positions {
    /// Only of this user
    #[arg(long)]
    user: Option<UserId>,
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar orders --account kraken-ilves
  bursar orders --open
  bursar orders --external")]
pub struct Orders {
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Only of this user
    #[arg(long)]
    user: Option<UserId>,
    /// Only of this pair, for example BTC-USD
    #[arg(long, value_parser = pair)]
    pair: Option<Pair>,
    /// Only orders in this state; may be given several times
    #[arg(long, value_parser = word::<IntentState>(), conflicts_with = "open")]
    state: Vec<IntentState>,
    /// Only orders that are not over
    #[arg(long)]
    open: bool,
    /// Those that work at the exchange and were not placed through Bursar: known, counted, never touched
    #[arg(long, conflicts_with_all = ["state", "open", "before"])]
    external: bool,
    /// Only orders older than this one, for the next page
    #[arg(long, value_name = "ORDER")]
    before: Option<IntentId>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar fills --account kraken-ilves --limit 20
  bursar fills --before kraken-ilves/TIR5OZ-3QYQA-ZV4HWV")]
pub struct Fills {
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Only of this user
    #[arg(long)]
    user: Option<UserId>,
    /// Only executions older than this one, for the next page
    #[arg(long, value_name = "ACCOUNT/FILL")]
    before: Option<Execution>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// A name that is nowhere gets an error, and not an empty table.
pub(super) async fn must_exist(
    user: Option<&UserId>,
    account: Option<&AccountId>,
    opened: &Opened,
) -> Result<(), Failure> {
    if let Some(user) = user {
        opened.store.user(user).await?;
    }
    if let Some(account) = account {
        opened.store.account(account).await?;
    }
    Ok(())
}

impl Positions {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        must_exist(self.user.as_ref(), self.account.as_ref(), &opened).await?;
        let now = session.surroundings.now();
        let brokers: BTreeMap<AccountId, BrokerId> = opened
            .store
            .accounts()
            .await?
            .iter()
            .map(|account| (account.id().clone(), account.broker().clone()))
            .collect();
        let mut quotes: BTreeMap<BrokerId, Vec<Quote>> = BTreeMap::new();
        for broker in brokers.values() {
            if !quotes.contains_key(broker) {
                quotes.insert(broker.clone(), opened.store.quotes(broker).await?);
            }
        }
        let mut table = Table::new(&[
            "USER",
            "ACCOUNT",
            "PAIR",
            "QUANTITY",
            "COST",
            "WORTH",
            "RESULT",
            "PRICE AGE",
            "SINCE",
        ])
        .figures(&[3, 4, 5, 6, 7]);
        let mut rows = Vec::new();
        let positions = opened.store.open_positions(self.account.as_ref()).await?;
        let wanted = |position: &&OpenPosition| self.user.as_ref().is_none_or(|user| position.user == *user);
        for position in positions.iter().filter(wanted) {
            let known = brokers
                .get(&position.account)
                .and_then(|broker| quotes.get(broker))
                .map_or(&[][..], Vec::as_slice);
            let worth = worth(position, known, now);
            let unknown = || Cell::new("no price").tone(Tone::Caution);
            table.row([
                Cell::new(&position.user),
                Cell::new(&position.account),
                Cell::new(&position.pair),
                Cell::new(position.quantity),
                Cell::new(position.cost_usd),
                worth.map_or_else(unknown, |worth| Cell::new(worth.value)),
                worth.map_or_else(unknown, |worth| result_cell(worth.result)),
                worth.map_or_else(|| Cell::new(""), |worth| Cell::new(age(worth.age_ms))),
                Cell::new(moment(position.opened_at)),
            ]);
            rows.push(PositionRow {
                user_id: &position.user,
                account_id: &position.account,
                pair: &position.pair,
                quantity: position.quantity,
                cost_usd: position.cost_usd,
                worth_usd: worth.map(|worth| worth.value),
                unrealised_usd: worth.map(|worth| worth.result),
                price_age_ms: worth.map(|worth| worth.age_ms),
                opened_at: position.opened_at,
            });
        }
        let mut page = Page::new();
        page.table(&table, "no position is open");
        let mut beside = Table::new(&["USER", "ACCOUNT", "ASSET", "QUANTITY"]).figures(&[3]);
        let mut beside_rows = Vec::new();
        for account in opened.store.accounts().await? {
            let is_wanted = self.account.as_ref().is_none_or(|id| id == account.id())
                && self.user.as_ref().is_none_or(|user| user == account.owner());
            if !is_wanted {
                continue;
            }
            for holding in view::unmanaged_of(account.id(), &opened).await? {
                beside.row([
                    Cell::new(account.owner()),
                    Cell::new(account.id()),
                    Cell::new(&holding.asset),
                    Cell::new(holding.quantity),
                ]);
                beside_rows.push(UnmanagedRow {
                    user_id: account.owner().clone(),
                    account_id: account.id().clone(),
                    asset: holding.asset,
                    quantity: holding.quantity,
                });
            }
        }
        if !beside_rows.is_empty() {
            page.heading("Unmanaged: not bought through Bursar, never sold by it");
            page.table(&beside, "");
        }
        let document = OpenPositions {
            total_count: rows.len(),
            positions: rows,
            unmanaged: beside_rows,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

/// Open positions, and what is held beside them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Positions")]
pub(crate) struct OpenPositions<'a> {
    positions: Vec<PositionRow<'a>>,
    total_count: usize,
    /// What was not bought through Bursar, and is never sold by it.
    unmanaged: Vec<UnmanagedRow>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Position")]
struct PositionRow<'a> {
    user_id: &'a UserId,
    account_id: &'a AccountId,
    pair: &'a Pair,
    quantity: Quantity,
    cost_usd: Usd,
    /// At the middle of the last price; `null` without one.
    worth_usd: Option<Usd>,
    unrealised_usd: Option<Usd>,
    price_age_ms: Option<i64>,
    opened_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UnmanagedHolding")]
struct UnmanagedRow {
    user_id: UserId,
    account_id: AccountId,
    asset: Asset,
    quantity: Decimal,
}

#[derive(Clone, Copy)]
struct Worth {
    value: Usd,
    result: Usd,
    age_ms: i64,
}

/// What a position is worth at the middle of the last quote; `None` without a price.
fn worth(position: &OpenPosition, quotes: &[Quote], now: jiff::Timestamp) -> Option<Worth> {
    let quote = quotes.iter().find(|quote| quote.pair == position.pair)?;
    let rate = usd_rate(position.pair.quote(), quotes, now)?;
    let price = quote.mid().ok()?;
    let in_quote = price.cost(position.quantity).ok()?;
    let value = Usd::new(decimal::mul(in_quote, rate.value.value()).ok()?).rounded_down();
    Some(Worth {
        value,
        result: value.minus(position.cost_usd).ok()?,
        age_ms: now.as_millisecond().saturating_sub(quote.at.as_millisecond()),
    })
}

fn result_cell(result: Usd) -> Cell {
    let tone = if result.is_negative() {
        Tone::Bad
    } else {
        Tone::Good
    };
    Cell::new(result).tone(tone)
}

impl Orders {
    async fn external(&self, opened: &Opened, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let mut table = Table::new(&[
            "AT THE EXCHANGE",
            "USER",
            "ACCOUNT",
            "SIDE",
            "PAIR",
            "SIZE",
            "FILLED",
            "STATE",
            "FIRST SEEN",
            "PLACED BY",
        ])
        .figures(&[5, 6]);
        let mut rows = Vec::new();
        for account in opened.store.accounts().await? {
            let is_wanted = self.account.as_ref().is_none_or(|id| id == account.id())
                && self.user.as_ref().is_none_or(|user| user == account.owner());
            if !is_wanted {
                continue;
            }
            for external in opened.store.external_orders(account.id()).await? {
                let order = &external.order;
                if self.pair.as_ref().is_some_and(|pair| *pair != order.pair) {
                    continue;
                }
                table.row([
                    Cell::new(&order.id),
                    Cell::new(account.owner()),
                    Cell::new(account.id()),
                    Cell::new(order.side),
                    Cell::new(&order.pair),
                    Cell::new(order.quantity),
                    Cell::new(order.filled.normalize()),
                    Cell::new(order.status),
                    Cell::new(moment(external.first_seen)),
                    Cell::new("somebody else").tone(Tone::Caution),
                ]);
                rows.push(ExternalRow {
                    venue_order_id: order.id.clone(),
                    account_id: account.id().clone(),
                    user_id: account.owner().clone(),
                    pair: order.pair.clone(),
                    side: order.side,
                    quantity: order.quantity,
                    filled: order.filled,
                    status: order.status,
                    first_seen: external.first_seen,
                    external: true,
                });
            }
        }
        let mut page = Page::new();
        page.table(&table, "nobody else's order works there");
        let document = ExternalOrders {
            total_count: rows.len(),
            orders: rows,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        must_exist(self.user.as_ref(), self.account.as_ref(), &opened).await?;
        if self.external {
            return self.external(&opened, session).await;
        }
        let states = if self.open {
            <IntentState as strum::IntoEnumIterator>::iter()
                .filter(|state| !state.is_terminal())
                .collect()
        } else {
            self.state
        };
        let filter = IntentFilter {
            account: self.account,
            user: self.user,
            pair: self.pair,
            states,
            since: None,
            before: self.before,
        };
        // One more than a page, to know whether there is another.
        let mut intents = opened
            .store
            .find_intents(&filter, self.limit.saturating_add(1))
            .await?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = intents.len() > limit;
        intents.truncate(limit);
        let next = intents
            .last()
            .filter(|_| has_more)
            .map(|intent| intent.id.to_string());
        let mut page = Page::new();
        page.table(&view::order_table(&intents), "no orders");
        if let Some(next) = &next {
            page.line(crate::render::dim(&format!("older ones: add `--before {next}`")));
        }
        let document = ListedOrders {
            orders: intents.iter().map(view::order_json).collect(),
            next_before: next,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

/// Orders, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Orders")]
pub(crate) struct ListedOrders<'a> {
    orders: Vec<OrderDocument<'a>>,
    /// What `--before` takes for the next page; `null` on the last one.
    next_before: Option<String>,
}

/// With `--external`: orders that work at the exchange and were not placed through Bursar.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ExternalOrders {
    orders: Vec<ExternalRow>,
    total_count: usize,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExternalOrder")]
struct ExternalRow {
    venue_order_id: VenueOrderId,
    account_id: AccountId,
    user_id: UserId,
    pair: Pair,
    side: Side,
    quantity: Quantity,
    filled: Decimal,
    status: VenueOrderStatus,
    first_seen: Timestamp,
    /// Always true.
    external: bool,
}

/// Executions, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Executions")]
pub(crate) struct ListedFills<'a> {
    fills: Vec<FillRow<'a>>,
    /// How many are on this page.
    total_count: usize,
    /// What `--before` takes for the next page; `null` on the last one.
    next_before: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Execution")]
struct FillRow<'a> {
    fill_id: &'a FillId,
    order_id: IntentId,
    user_id: &'a UserId,
    account_id: &'a AccountId,
    pair: &'a Pair,
    side: Side,
    quantity: Quantity,
    price: Price,
    fee: &'a Amount,
    fee_usd: Usd,
    fee_is_estimated: bool,
    liquidity: Liquidity,
    at: Timestamp,
    booked_at: Timestamp,
    trading_day: DayKey,
}

impl Fills {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        must_exist(self.user.as_ref(), self.account.as_ref(), &opened).await?;
        let (account, user, before) = (self.account.as_ref(), self.user.as_ref(), self.before.as_ref());
        let (fills, next) = executions::page(account, user, before, self.limit, &opened).await?;
        let next = next.map(|next| next.to_string());
        let mut table = Table::new(&[
            "WHEN", "USER", "ACCOUNT", "SIDE", "PAIR", "QUANTITY", "PRICE", "FEE", "ORDER", "FILL",
        ])
        .figures(&[5, 6, 7]);
        let mut rows = Vec::new();
        for booked in &fills {
            let fill = &booked.fill.fill;
            table.row([
                Cell::new(moment(fill.at)),
                Cell::new(&booked.fill.user),
                Cell::new(&booked.fill.account),
                Cell::new(fill.side),
                Cell::new(&fill.pair),
                Cell::new(fill.quantity),
                Cell::new(fill.price),
                Cell::new(&fill.fee),
                Cell::new(booked.intent),
                Cell::new(&fill.id),
            ]);
            rows.push(fill_json(booked));
        }
        let mut page = Page::new();
        page.table(&table, "no executions");
        if let Some(next) = &next {
            page.line(crate::render::dim(&format!("older ones: add `--before {next}`")));
        }
        let document = ListedFills {
            total_count: rows.len(),
            fills: rows,
            next_before: next,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

fn fill_json(booked: &BookedFill) -> FillRow<'_> {
    let fill = &booked.fill.fill;
    FillRow {
        fill_id: &fill.id,
        order_id: booked.intent,
        user_id: &booked.fill.user,
        account_id: &booked.fill.account,
        pair: &fill.pair,
        side: fill.side,
        quantity: fill.quantity,
        price: fill.price,
        fee: &fill.fee,
        fee_usd: booked.fill.fee_usd,
        fee_is_estimated: booked.fill.fee_is_estimated,
        liquidity: fill.liquidity,
        at: fill.at,
        booked_at: booked.booked_at,
        trading_day: booked.fill.day,
    }
}
