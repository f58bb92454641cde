//! The contract that every adapter runs against a venue it can drive.
//!
//! A [`ContractWorld`] is an adapter together with the venue behind it: a paper exchange, or an
//! adapter before a local exchange. Each of [`CHECKS`] wants a world of its own, with an account that
//! holds enough to trade and has no orders.
//!
//! ```text
//! for check in CHECKS {
//!     check.run(&world()).await.unwrap();
//! }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bursar_controls::ApprovedOrder;
use bursar_model::{
    Asset, ClientOrderId, Fill, OrderKind, OrderRequest, OrderSize, Pair, Price, Quantity, Side, TimeInForce,
    VenueOrderId, decimal,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::{
    Broker, CancelOutcome, ErrorClass, OrderTicket, PlaceError, StillWanted, VenueOrder, VenueOrderStatus,
};

/// An adapter and the venue behind it, both in the test's hand.
#[async_trait]
pub trait ContractWorld: Send + Sync {
    /// The adapter under test, of the one account that this world is made for.
    fn broker(&self) -> &dyn Broker;

    /// A pair that the account can trade, at [`price`](Self::price).
    fn pair(&self) -> Pair;

    /// Where the market stands when the world is made. One percent to either side of it is a valid
    /// price, and so are [`above`] and [`below`].
    fn price(&self) -> Price;

    /// A quantity that the venue takes and the account can pay for twenty times; a tenth of it is on
    /// the grid too.
    fn quantity(&self) -> Quantity;

    /// A quantity that the venue refuses because the account cannot pay for it.
    fn beyond_funds(&self) -> Quantity;

    /// Takes an order through permission and control, with limits that let everything here pass.
    async fn approve(&self, request: OrderRequest) -> Result<ApprovedOrder, String>;

    /// A ticket for a new order, valid from now.
    async fn ticket(&self) -> OrderTicket;

    /// The market comes to `price`, once, and best bid and ask follow: orders that rest at that price
    /// or a better one are filled. With a `quantity`, about so much of them is filled in all: more
    /// than nothing and not everything. Without one, everything is.
    async fn trade(&self, price: Price, quantity: Option<Quantity>) -> Result<(), String>;

    /// How many orders with this id the venue itself ever made.
    async fn orders_made(&self, id: &ClientOrderId) -> Result<usize, String>;

    /// The owner places an order past the gateway: a small limit buy, far below the market.
    async fn order_by_hand(&self) -> Result<VenueOrderId, String>;

    /// Waits until what has happened is visible in the venue's lists.
    async fn settle(&self) {}
}

/// A rule of the contract that an adapter broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{check}`: {what}")]
pub struct Breach {
    /// The name of the rule.
    pub check: &'static str,
    /// What was expected and what was found instead, for people.
    pub what: String,
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// One rule of the contract, by name.
#[derive(Clone, Copy)]
pub struct Check {
    /// Says what has to hold; a test is best called after it.
    pub name: &'static str,
    check: for<'a> fn(&'a dyn ContractWorld) -> Outcome<'a>,
}

impl Check {
    /// Runs the rule in a world that no other rule was run in.
    ///
    /// # Errors
    ///
    /// The first thing in which the adapter, or the world, does not do as it should.
    pub async fn run(&self, world: &dyn ContractWorld) -> Result<(), Breach> {
        (self.check)(world).await.map_err(|what| Breach {
            check: self.name,
            what,
        })
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! checks {
    ($($name:ident),+ $(,)?) => {
        /// Every rule of the contract.
        pub const CHECKS: &[Check] = &[$(Check {
            name: stringify!($name),
            check: |world| Box::pin($name(world)),
        }),+];
    };
}

checks! {
    a_placed_order_is_found_by_its_id_with_equal_terms,
    the_same_id_while_open_makes_no_second_order,
    a_cancel_twice_is_harmless,
    a_cancel_of_nothing_is_harmless,
    a_market_order_fills_and_is_reported_once,
    a_fill_moves_both_balances_and_takes_its_fee,
    partial_fills_add_up,
    what_was_filled_before_a_cancel_stays_filled,
    an_unknown_id_is_not_found,
    a_working_order_holds_what_it_may_take,
    a_refused_order_leaves_nothing,
    orders_placed_by_hand_are_listed,
    an_order_that_must_not_wait_leaves_nothing_working,
    an_order_that_must_wait_never_takes,
    an_order_no_longer_wanted_is_not_sent,
    whether_it_is_wanted_is_asked_before_it_is_written,
    the_clock_and_the_key_are_told,
}

async fn a_placed_order_is_found_by_its_id_with_equal_terms(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let price = below(world.price())?;
    let (ticket, placed) = place(world, limit(world, Side::Buy, price)).await?;
    world.settle().await;
    let order = the_only(world, &ticket.client_order_id, since).await?;
    equal("venue order id", &order.id, &placed)?;
    equal(
        "client order id",
        &order.client_order_id,
        &Some(ticket.client_order_id.clone()),
    )?;
    equal("pair", &order.pair, &world.pair())?;
    equal("side", &order.side, &Side::Buy)?;
    equal("kind", &order.kind, &Some(OrderKind::Limit { price }))?;
    equal("quantity", &order.quantity, &world.quantity())?;
    equal("filled", &order.filled, &Decimal::ZERO)?;
    equal("status", &order.status, &VenueOrderStatus::Live)?;
    let open = world.broker().open_orders().await.map_err(text)?;
    equal("open orders", &ids(&open), &vec![placed])
}

async fn the_same_id_while_open_makes_no_second_order(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let request = || -> Result<OrderRequest, String> { Ok(limit(world, Side::Buy, below(world.price())?)) };
    let (ticket, first) = place(world, request()?).await?;
    world.settle().await;
    let again = world.approve(request()?).await?;
    match world.broker().place(again, &ticket).await {
        Ok(placed) => equal(
            "the order answered for the same id",
            &placed.venue_order_id,
            &first,
        )?,
        Err(PlaceError::AlreadyThere { .. } | PlaceError::Unknown { .. }) => {}
        Err(other) => return Err(format!("the same id again was answered with: {other}")),
    }
    world.settle().await;
    equal(
        "orders made",
        &world.orders_made(&ticket.client_order_id).await?,
        &1,
    )?;
    the_only(world, &ticket.client_order_id, since).await.map(drop)
}

async fn a_cancel_twice_is_harmless(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let (ticket, placed) = place(world, limit(world, Side::Buy, below(world.price())?)).await?;
    let id = &ticket.client_order_id;
    world.settle().await;
    let first = world.broker().cancel(id).await.map_err(text)?;
    equal("the first cancel", &first, &CancelOutcome::Taken)?;
    world.settle().await;
    let second = world.broker().cancel(id).await.map_err(text)?;
    equal("the second cancel", &second, &CancelOutcome::NotWorking)?;
    let order = the_only(world, id, since).await?;
    equal("status", &order.status, &VenueOrderStatus::Cancelled)?;
    equal("filled", &order.filled, &Decimal::ZERO)?;
    let open = world.broker().open_orders().await.map_err(text)?;
    equal("open orders", &ids(&open), &vec![])?;
    let closed = world.broker().closed_orders(since).await.map_err(text)?;
    equal("closed orders", &ids(&closed), &vec![placed])
}

async fn a_cancel_of_nothing_is_harmless(world: &dyn ContractWorld) -> Result<(), String> {
    let nobody = world.ticket().await.client_order_id;
    let outcome = world.broker().cancel(&nobody).await.map_err(text)?;
    equal("the cancel", &outcome, &CancelOutcome::NotWorking)
}

async fn a_market_order_fills_and_is_reported_once(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let (ticket, placed) = place(world, market(world, Side::Buy)).await?;
    world.settle().await;
    let order = the_only(world, &ticket.client_order_id, since).await?;
    equal("status", &order.status, &VenueOrderStatus::Filled)?;
    equal("filled", &order.filled, &world.quantity().value())?;
    let fills = fills_of(world, &placed, since).await?;
    equal("sum of the fills", &sum(&fills)?, &world.quantity().value())?;
    for fill in &fills {
        equal("pair", &fill.pair, &world.pair())?;
        equal("side", &fill.side, &Side::Buy)?;
        if fill.fee.value.is_sign_negative() {
            return Err(format!("taking earned a fee: {}", fill.fee));
        }
    }
    equal(
        "fills read again",
        &fills_of(world, &placed, since).await?,
        &fills,
    )?;
    let mut names: Vec<_> = fills.iter().map(|fill| fill.id.clone()).collect();
    names.sort();
    names.dedup();
    equal("different fill ids", &names.len(), &fills.len())?;
    let later = since_after(&fills)?;
    let after = world.broker().fills(later).await.map_err(text)?;
    equal("fills after the last", &after, &vec![])
}

async fn a_fill_moves_both_balances_and_takes_its_fee(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let pair = world.pair();
    let before = (
        total(world, pair.base()).await?,
        total(world, pair.quote()).await?,
    );
    let (_, placed) = place(world, market(world, Side::Buy)).await?;
    world.settle().await;
    let (mut base, mut quote) = before;
    for fill in fills_of(world, &placed, since).await? {
        let cost = fill.price.cost(fill.quantity).map_err(text)?;
        base = decimal::add(base, fill.quantity.value()).map_err(text)?;
        quote = decimal::sub(quote, cost).map_err(text)?;
        if fill.fee.asset == *pair.quote() {
            quote = decimal::sub(quote, fill.fee.value).map_err(text)?;
        } else if fill.fee.asset == *pair.base() {
            base = decimal::sub(base, fill.fee.value).map_err(text)?;
        }
    }
    near("base", total(world, pair.base()).await?, base)?;
    near("quote", total(world, pair.quote()).await?, quote)
}

async fn partial_fills_add_up(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let price = below(world.price())?;
    let (ticket, placed) = place(world, limit(world, Side::Buy, price)).await?;
    let id = &ticket.client_order_id;
    let mut before = Decimal::ZERO;
    for _ in 0..2 {
        world.trade(price, Some(part(world.quantity(), 1)?)).await?;
        world.settle().await;
        let order = the_only(world, id, since).await?;
        equal("status after a part", &order.status, &VenueOrderStatus::Live)?;
        if order.filled <= before || order.filled >= world.quantity().value() {
            return Err(format!(
                "a part more than {before} was filled; {} is told",
                order.filled
            ));
        }
        let fills = fills_of(world, &placed, since).await?;
        equal("sum of the fills so far", &sum(&fills)?, &order.filled)?;
        before = order.filled;
    }
    world.trade(price, None).await?;
    world.settle().await;
    let order = the_only(world, id, since).await?;
    equal("status at the end", &order.status, &VenueOrderStatus::Filled)?;
    equal("filled at the end", &order.filled, &world.quantity().value())?;
    let fills = fills_of(world, &placed, since).await?;
    equal("sum of all fills", &sum(&fills)?, &world.quantity().value())?;
    if fills.iter().any(|fill| fill.price > price) {
        return Err("a limit buy was filled above its limit".into());
    }
    Ok(())
}

async fn what_was_filled_before_a_cancel_stays_filled(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let price = below(world.price())?;
    let (ticket, placed) = place(world, limit(world, Side::Buy, price)).await?;
    world.trade(price, Some(part(world.quantity(), 1)?)).await?;
    world.settle().await;
    world
        .broker()
        .cancel(&ticket.client_order_id)
        .await
        .map_err(text)?;
    world.settle().await;
    let order = the_only(world, &ticket.client_order_id, since).await?;
    equal("status", &order.status, &VenueOrderStatus::Cancelled)?;
    if order.filled.is_zero() {
        return Err("what was filled before the cancel is told as nothing".into());
    }
    let fills = fills_of(world, &placed, since).await?;
    equal("sum of the fills", &sum(&fills)?, &order.filled)
}

async fn an_unknown_id_is_not_found(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    place(world, limit(world, Side::Buy, below(world.price())?)).await?;
    world.settle().await;
    let nobody = world.ticket().await.client_order_id;
    let found = world.broker().find(&nobody, since).await.map_err(text)?;
    equal("orders found", &ids(&found), &vec![])
}

async fn a_working_order_holds_what_it_may_take(world: &dyn ContractWorld) -> Result<(), String> {
    let quote = world.pair().quote().clone();
    let before = available(world, &quote).await?;
    let price = below(world.price())?;
    let (ticket, _) = place(world, limit(world, Side::Buy, price)).await?;
    world.settle().await;
    let cost = price.cost(world.quantity()).map_err(text)?;
    let least = decimal::sub(before, cost).map_err(text)?;
    let during = available(world, &quote).await?;
    if during > least {
        return Err(format!(
            "an order for {cost} {quote} leaves {during} of {before} available"
        ));
    }
    world
        .broker()
        .cancel(&ticket.client_order_id)
        .await
        .map_err(text)?;
    world.settle().await;
    equal(
        "available after the cancel",
        &available(world, &quote).await?,
        &before,
    )
}

async fn a_refused_order_leaves_nothing(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let quote = world.pair().quote().clone();
    let before = available(world, &quote).await?;
    let mut request = limit(world, Side::Buy, below(world.price())?);
    request.size = OrderSize::Quantity(world.beyond_funds());
    let order = world.approve(request).await?;
    let ticket = world.ticket().await;
    match world.broker().place(order, &ticket).await {
        Err(PlaceError::Refused { .. }) => {}
        other => return Err(format!("an order beyond the account's funds: {other:?}")),
    }
    world.settle().await;
    let id = &ticket.client_order_id;
    equal("orders made", &world.orders_made(id).await?, &0)?;
    let found = world.broker().find(id, since).await.map_err(text)?;
    equal("orders found", &ids(&found), &vec![])?;
    equal("available", &available(world, &quote).await?, &before)
}

async fn orders_placed_by_hand_are_listed(world: &dyn ContractWorld) -> Result<(), String> {
    let foreign = world.order_by_hand().await?;
    let (_, ours) = place(world, limit(world, Side::Buy, below(world.price())?)).await?;
    world.settle().await;
    let mut open = ids(&world.broker().open_orders().await.map_err(text)?);
    open.sort();
    let mut both = vec![foreign, ours];
    both.sort();
    equal("open orders", &open, &both)
}

async fn an_order_that_must_not_wait_leaves_nothing_working(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let mut request = limit(world, Side::Buy, below(world.price())?);
    request.time_in_force = TimeInForce::ImmediateOrCancel;
    let order = world.approve(request).await?;
    let ticket = world.ticket().await;
    match world.broker().place(order, &ticket).await {
        Ok(_) | Err(PlaceError::Refused { .. }) => {}
        Err(other) => return Err(other.to_string()),
    }
    world.settle().await;
    let open = world.broker().open_orders().await.map_err(text)?;
    equal("open orders", &ids(&open), &vec![])?;
    let fills = world.broker().fills(since).await.map_err(text)?;
    equal("fills", &fills, &vec![])
}

async fn an_order_that_must_wait_never_takes(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let mut request = limit(world, Side::Buy, above(world.price())?);
    request.post_only = true;
    let order = world.approve(request).await?;
    let ticket = world.ticket().await;
    match world.broker().place(order, &ticket).await {
        Ok(_) | Err(PlaceError::Refused { .. }) => {}
        Err(other) => return Err(other.to_string()),
    }
    world.settle().await;
    let fills = world.broker().fills(since).await.map_err(text)?;
    equal("fills", &fills, &vec![])?;
    let found = world
        .broker()
        .find(&ticket.client_order_id, since)
        .await
        .map_err(text)?;
    match found
        .iter()
        .find(|order| order.status == VenueOrderStatus::Filled)
    {
        Some(order) => Err(format!("{} took from the book", order.id)),
        None => Ok(()),
    }
}

async fn an_order_no_longer_wanted_is_not_sent(world: &dyn ContractWorld) -> Result<(), String> {
    let since = beginning(world).await?;
    let mut ticket = world.ticket().await;
    let id = ticket.client_order_id.clone();
    ticket.still_wanted = StillWanted::asking(|| Err("a switch is on".into()));
    let order = world
        .approve(limit(world, Side::Buy, below(world.price())?))
        .await?;
    match world.broker().place(order, &ticket).await {
        // Nobody's error: it counts against neither the account nor the venue.
        Err(PlaceError::NotSent {
            class: ErrorClass::LocalDeny,
            ..
        }) => {}
        other => return Err(format!("an order that is no longer wanted: {other:?}")),
    }
    world.settle().await;
    equal("orders made", &world.orders_made(&id).await?, &0)?;
    let found = world.broker().find(&id, since).await.map_err(text)?;
    equal("orders found", &ids(&found), &vec![])?;
    // It was not sent, so it may be sent, once it is wanted again.
    ticket.still_wanted = StillWanted::always();
    let order = world
        .approve(limit(world, Side::Buy, below(world.price())?))
        .await?;
    world.broker().place(order, &ticket).await.map_err(text)?;
    world.settle().await;
    equal("orders made", &world.orders_made(&id).await?, &1)
}

async fn whether_it_is_wanted_is_asked_before_it_is_written(world: &dyn ContractWorld) -> Result<(), String> {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut ticket = world.ticket().await;
    let counter = Arc::clone(&asked);
    ticket.still_wanted = StillWanted::asking(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    // Refused by the venue: then it was written, and asked about before.
    let mut request = limit(world, Side::Buy, below(world.price())?);
    request.size = OrderSize::Quantity(world.beyond_funds());
    let order = world.approve(request).await?;
    match world.broker().place(order, &ticket).await {
        Err(PlaceError::Refused { .. }) => {}
        other => return Err(format!("an order beyond the account's funds: {other:?}")),
    }
    if asked.load(Ordering::SeqCst) == 0 {
        return Err("it was written without asking whether it is still wanted".into());
    }
    Ok(())
}

async fn the_clock_and_the_key_are_told(world: &dyn ContractWorld) -> Result<(), String> {
    let first = world.broker().venue_time().await.map_err(text)?;
    let second = world.broker().venue_time().await.map_err(text)?;
    if second < first {
        return Err(format!("the venue's clock went from {first} to {second}"));
    }
    let rights = world.broker().key_rights().await.map_err(text)?;
    match rights.refusal() {
        None => Ok(()),
        Some(refusal) => Err(refusal),
    }
}

/// One percent above, on a grid that a price of a world is on.
///
/// # Errors
///
/// Where that has more digits than fit.
pub fn above(price: Price) -> Result<Price, String> {
    scaled(price, Decimal::new(101, 2))
}

/// One percent below.
///
/// # Errors
///
/// Where that has more digits than fit.
pub fn below(price: Price) -> Result<Price, String> {
    scaled(price, Decimal::new(99, 2))
}

fn scaled(price: Price, factor: Decimal) -> Result<Price, String> {
    Price::new(decimal::mul(price.value(), factor).map_err(text)?).map_err(text)
}

/// So many tenths.
fn part(quantity: Quantity, tenths: i64) -> Result<Quantity, String> {
    let value = decimal::mul(quantity.value(), Decimal::new(tenths, 1)).map_err(text)?;
    Quantity::new(value).map_err(text)
}

fn market(world: &dyn ContractWorld, side: Side) -> OrderRequest {
    let mut request = OrderRequest::market(world.pair(), side, OrderSize::Quantity(world.quantity()));
    request.allow_repeat = true;
    request
}

fn limit(world: &dyn ContractWorld, side: Side, price: Price) -> OrderRequest {
    OrderRequest {
        kind: OrderKind::Limit { price },
        ..market(world, side)
    }
}

async fn place(
    world: &dyn ContractWorld,
    request: OrderRequest,
) -> Result<(OrderTicket, VenueOrderId), String> {
    let order = world.approve(request).await?;
    let ticket = world.ticket().await;
    let placed = world.broker().place(order, &ticket).await.map_err(text)?;
    Ok((ticket, placed.venue_order_id))
}

/// A moment before anything that the check does.
async fn beginning(world: &dyn ContractWorld) -> Result<Timestamp, String> {
    let now = world.broker().venue_time().await.map_err(text)?;
    now.checked_sub(SignedDuration::from_secs(60)).map_err(text)
}

async fn the_only(
    world: &dyn ContractWorld,
    id: &ClientOrderId,
    since: Timestamp,
) -> Result<VenueOrder, String> {
    let mut found = world.broker().find(id, since).await.map_err(text)?;
    match (found.pop(), found.len()) {
        (Some(order), 0) => Ok(order),
        (_, others) => Err(format!("{others} other orders instead of one bear the id {id}")),
    }
}

async fn fills_of(
    world: &dyn ContractWorld,
    order: &VenueOrderId,
    since: Timestamp,
) -> Result<Vec<Fill>, String> {
    let mut fills = world.broker().fills(since).await.map_err(text)?;
    if !fills.is_sorted_by(|a, b| a.at <= b.at) {
        return Err("fills are not in the order in which they happened".into());
    }
    fills.retain(|fill| fill.venue_order_id == *order);
    Ok(fills)
}

fn sum(fills: &[Fill]) -> Result<Decimal, String> {
    fills.iter().try_fold(Decimal::ZERO, |sum, fill| {
        decimal::add(sum, fill.quantity.value()).map_err(text)
    })
}

/// A moment after the last fill.
fn since_after(fills: &[Fill]) -> Result<Timestamp, String> {
    let last = fills
        .iter()
        .map(|fill| fill.at)
        .max()
        .ok_or("there are no fills")?;
    last.checked_add(SignedDuration::from_secs(1)).map_err(text)
}

async fn total(world: &dyn ContractWorld, asset: &Asset) -> Result<Decimal, String> {
    let balances = world.broker().balances().await.map_err(text)?;
    let of_asset = balances.iter().filter(|balance| balance.asset == *asset);
    Ok(of_asset.map(|balance| balance.total).sum())
}

async fn available(world: &dyn ContractWorld, asset: &Asset) -> Result<Decimal, String> {
    let balances = world.broker().balances().await.map_err(text)?;
    let of_asset = balances.iter().filter(|balance| balance.asset == *asset);
    Ok(of_asset.map(|balance| balance.available()).sum())
}

fn ids(orders: &[VenueOrder]) -> Vec<VenueOrderId> {
    orders.iter().map(|order| order.id.clone()).collect()
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what} is {found:?} instead of {expected:?}"))
    }
}

/// Venues round what they book: a ten-thousandth may be missing.
fn near(what: &str, found: Decimal, expected: Decimal) -> Result<(), String> {
    let difference = decimal::sub(found, expected).map_err(text)?.abs();
    if difference <= Decimal::new(1, 4) {
        Ok(())
    } else {
        Err(format!("{what} is {found} instead of {expected}"))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
