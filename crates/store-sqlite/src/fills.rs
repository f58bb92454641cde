//! Executions: each booked once, whatever the number of times and the order in which it is reported.

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_controls::LatchMode;
use bursar_execution::{Booked, Intent, JournalError};
use bursar_ledger::{
    Applied, ClosedLot, LedgerError, LedgerFill, Lot, LotMethod, PriceRange, Replayed, TradingDay, Valuation,
    apply_fill, replay,
};
use bursar_model::{
    AccountId, Asset, Fill, FillId, InexactError, IntentState, Pair, Price, Quantity, Side, Usd,
    VenueOrderId, decimal,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::audit::daemon;
use crate::conditions::known_account;
use crate::error::StoreError;
use crate::intents::{self, NOT_OVER, StoredIntent};
use crate::outcomes::{contradict, end_if_complete, join};
use crate::values::{Exact, Json, Moment, Text, json, moment};
use crate::writer::Tx;
use crate::{days, equity, latches, losses, outbox, quotes, reservations};

mod lots;
mod unpriced;
mod written_off;

pub(crate) use lots::{closed_columns, closed_lots, lot_columns, lots};
pub(crate) use unpriced::waits_for_price;
pub use written_off::Holding;
pub(crate) use written_off::{WRITTEN_OFF, check as check_write_off, write_off};

pub(crate) fn book(
    tx: &Tx<'_>,
    account: &AccountId,
    fills: &[Fill],
    now: Timestamp,
) -> Result<Booked, JournalError> {
    let known = known_account(tx, account)?;
    let day = days::roll(tx, now)?;
    let mut booked = unpriced::retry(tx, account, day, now)?;
    for fill in fills {
        let told = told(tx, account, fill, now)?;
        if told == Told::First {
            take(tx, account, fill, day, now, &mut booked)?;
        }
        if told == Told::Otherwise || is_of_unknown_order(tx, account, fill)? {
            booked.of_unknown_orders.insert(fill.id.clone());
        }
    }
    if booked.new > 0 {
        booked
            .tripped
            .extend(losses::check_user(tx, known.owner(), day, now)?);
    }
    // Tripping may have changed them again.
    for intent in &mut booked.intents {
        *intent = intents::get(tx, intent.id)?.intent;
    }
    Ok(booked)
}

/// Books an execution for its order, or keeps it beside the books where that is not known as one of ours.
fn take(
    tx: &Tx<'_>,
    account: &AccountId,
    fill: &Fill,
    day: TradingDay,
    now: Timestamp,
    booked: &mut Booked,
) -> Result<(), JournalError> {
    let Some(mut stored) = intents::by_venue_order(tx, account, &fill.venue_order_id)? else {
        keep_stray(tx, account, fill, now)?;
        let kind = if may_be_ours(tx, account, fill)? {
            &mut booked.unexplained
        } else {
            &mut booked.external
        };
        *kind = kind.saturating_add(1);
        return Ok(());
    };
    if book_one(tx, &mut stored, fill, day, now)? {
        booked.new = booked.new.saturating_add(1);
    }
    join(booked, &stored.intent);
    Ok(())
}

/// Books the executions that were reported before the venue's id of the order was known.
pub(crate) fn adopt(tx: &Tx<'_>, stored: &mut StoredIntent, now: Timestamp) -> Result<(), JournalError> {
    let Some(order) = stored.intent.venue_order_id.clone() else {
        return Ok(());
    };
    let strays = strays_of(tx, &stored.intent.account, &order)?;
    if strays.is_empty() {
        return Ok(());
    }
    let day = days::roll(tx, now)?;
    for fill in strays {
        tx.prepare_cached("DELETE FROM stray_fill WHERE account = ?1 AND id = ?2")
            .and_then(|mut statement| {
                statement.execute(params![Text(&stored.intent.account), Text(&fill.id)])
            })
            .map_err(StoreError::from)?;
        book_one(tx, stored, &fill, day, now)?;
    }
    losses::check_user(tx, &stored.intent.user.clone(), day, now)?;
    Ok(())
}

/// How an execution was told before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It was not.
    First,
    Again,
    /// With other facts: a contradiction.
    Otherwise,
}

/// Whether the execution is news. One that is told with other facts than before stops the account.
fn told(tx: &Tx<'_>, account: &AccountId, fill: &Fill, now: Timestamp) -> Result<Told, JournalError> {
    match find(tx, account, &fill.id)? {
        None => Ok(Told::First),
        Some(known) if known == *fill => Ok(Told::Again),
        Some(known) => {
            let facts = format!("execution `{}` was reported before with other facts", fill.id);
            match intents::by_venue_order(tx, account, &known.venue_order_id)? {
                Some(mut stored) => contradict(tx, &mut stored, &facts, now)?,
                None => {
                    latches::contradiction(tx, account, LatchMode::Halt, &facts, now)?;
                }
            }
            Ok(Told::Otherwise)
        }
    }
}

fn find(connection: &Connection, account: &AccountId, id: &FillId) -> Result<Option<Fill>, StoreError> {
    let found: Option<Json<Fill>> = connection
        .prepare_cached(
            "SELECT body FROM fill WHERE account = ?1 AND id = ?2
             UNION ALL SELECT body FROM stray_fill WHERE account = ?1 AND id = ?2
             UNION ALL SELECT body FROM unpriced_fill WHERE account = ?1 AND id = ?2",
        )?
        .query_row(params![Text(account), Text(id)], |row| row.get(0))
        .optional()?;
    Ok(found.map(|Json(fill)| fill))
}

fn keep_stray(tx: &Tx<'_>, account: &AccountId, fill: &Fill, now: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO stray_fill (account, id, venue_order_id, body, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        Text(account),
        Text(&fill.id),
        Text(&fill.venue_order_id),
        json(fill)?,
        moment(now)?
    ])?;
    Ok(())
}

/// Whether the execution is booked for no order of ours, and its order was never seen as one of somebody else's. An
/// order that bears an id of ours and is kept beside the journal explains nothing.
fn is_of_unknown_order(
    connection: &Connection,
    account: &AccountId,
    fill: &Fill,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM stray_fill WHERE account = ?1 AND id = ?2)
                AND NOT EXISTS (SELECT 1 FROM intent WHERE account = ?1 AND venue_order_id = ?3)
                AND NOT EXISTS (
                    SELECT 1 FROM external_order AS other WHERE account = ?1 AND venue_order_id = ?3
                        AND NOT EXISTS (
                            SELECT 1 FROM intent WHERE account = ?1
                                AND client_order_id = json_extract(other.body, '$.client_order_id')
                        )
                )",
        )?
        .query_row(
            params![Text(account), Text(&fill.id), Text(&fill.venue_order_id)],
            |row| row.get(0),
        )?)
}

/// Whether an order of ours, whose id at the venue is not known yet, could have been filled here.
fn may_be_ours(connection: &Connection, account: &AccountId, fill: &Fill) -> Result<bool, StoreError> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT 1 FROM intent WHERE account = ?1 AND pair = ?2 AND side = ?3 AND venue_order_id IS NULL
               AND state IN {NOT_OVER} LIMIT 1"
        ))?
        .query_row(params![Text(account), Text(&fill.pair), Text(&fill.side)], |_| {
            Ok(())
        })
        .optional()?;
    Ok(found.is_some())
}

/// Executions of an order whose id is known that are kept aside all the same: each was tried and could not be booked;
/// resolving the order as `open` tries again. They keep no order from its end: that the account's books lack them is
/// for the people who end it, who are shown them.
pub(crate) fn kept_aside(connection: &Connection, intent: &Intent) -> Result<Vec<Fill>, StoreError> {
    match &intent.venue_order_id {
        Some(id) => strays_of(connection, &intent.account, id),
        None => Ok(Vec::new()),
    }
}

fn strays_of(
    connection: &Connection,
    account: &AccountId,
    order: &VenueOrderId,
) -> Result<Vec<Fill>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM stray_fill WHERE account = ?1 AND venue_order_id = ?2")?;
    let fills = statement.query_map(params![Text(account), Text(order)], |row| {
        Ok(row.get::<_, Json<Fill>>(0)?.0)
    })?;
    let mut fills: Vec<Fill> = fills.collect::<rusqlite::Result<_>>()?;
    fills.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    Ok(fills)
}

/// Books one execution of a known order. Says whether it could be booked: one whose amounts cannot be
/// calculated exactly is kept aside, and stops the account.
fn book_one(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    fill: &Fill,
    day: TradingDay,
    now: Timestamp,
) -> Result<bool, JournalError> {
    let intent = &stored.intent;
    if fill.pair != intent.request.pair || fill.side != intent.request.side {
        let facts = format!(
            "execution `{}` is a {} of {}, the order is {}",
            fill.id, fill.side, fill.pair, intent.request
        );
        keep_stray(tx, &intent.account.clone(), fill, now)?;
        contradict(tx, stored, &facts, now)?;
        return Ok(false);
    }
    let Some(valuation) = valuation(tx, intent, fill, now)? else {
        unpriced::keep(tx, intent, fill, now)?;
        return Ok(false);
    };
    let result = match write_into_ledger(tx, intent, fill, &valuation, day, now)? {
        Ok(result) => result,
        Err(error) => {
            let facts = format!("execution `{}` cannot be booked: {error}", fill.id);
            keep_stray(tx, &intent.account.clone(), fill, now)?;
            contradict(tx, stored, &facts, now)?;
            return Ok(false);
        }
    };
    take_over(tx, stored, fill, now)?;
    if let Some(surplus) = result.sold_beyond {
        let reason = format!(
            "execution `{}` sold {surplus} {} more than the ledger holds",
            fill.id,
            fill.pair.base()
        );
        let account = stored.intent.account.clone();
        latches::contradiction(tx, &account, LatchMode::ReduceOnly, &reason, now)?;
    }
    Ok(true)
}

/// Moves the order along: what it has filled, what it still reserves, and whether it is over.
fn take_over(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    fill: &Fill,
    now: Timestamp,
) -> Result<(), JournalError> {
    let state = stored.intent.state;
    let filled = decimal::add(stored.intent.filled, fill.quantity.value()).map_err(StoreError::from)?;
    stored.intent.filled = filled;
    stored.intent.venue_filled = stored.intent.venue_filled.max(filled);
    stored.intent.updated_at = now;
    intents::save(tx, stored, state)?;
    if state.is_reserving() {
        reservations::shrink(tx, &stored.intent, cost_of_order(tx, &stored.intent)?)?;
    }
    let ordered = stored
        .intent
        .sizing
        .as_ref()
        .map(|sizing| sizing.terms.quantity.value());
    let is_over = !matches!(state, IntentState::Open | IntentState::Incident);
    if ordered.is_some_and(|ordered| filled > ordered) {
        let facts = format!(
            "filled {} of {} ordered",
            filled.normalize(),
            ordered.unwrap_or_default()
        );
        contradict(tx, stored, &facts, now)
    } else if is_over {
        let facts = format!("execution `{}` came after the order was {state}", fill.id);
        contradict(tx, stored, &facts, now)
    } else {
        end_if_complete(tx, stored, now)
    }
}

/// What the booked executions of an order have cost, in dollars.
pub(crate) fn cost_of_order(connection: &Connection, intent: &Intent) -> Result<Usd, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body, usd_rate FROM fill WHERE intent = ?1")?;
    let fills = statement.query_map([Text(&intent.id)], |row| {
        Ok((row.get::<_, Json<Fill>>(0)?.0, row.get::<_, Exact>(1)?.0))
    })?;
    let mut sum = Usd::ZERO;
    for fill in fills {
        let (fill, rate) = fill?;
        sum = sum.plus(cost_up(&fill, rate)?)?;
    }
    Ok(sum)
}

/// Exact, or rounded up to 12 decimals where that has more digits than can be kept.
pub(crate) fn cost_up(fill: &Fill, rate: Decimal) -> Result<Usd, StoreError> {
    let exact = fill
        .price
        .cost(fill.quantity)
        .and_then(|cost| decimal::mul(cost, rate));
    let cost = exact.or_else(|error| {
        let price = fill.price.value().checked_mul(rate).ok_or(error)?;
        let near = price.checked_mul(fill.quantity.value()).ok_or(error)?;
        Ok::<_, InexactError>(near.round_dp_with_strategy(12, RoundingStrategy::ToPositiveInfinity))
    })?;
    Ok(Usd::new(cost))
}

struct Ledgered {
    sold_beyond: Option<Quantity>,
}

/// The ledger's part: the fill, its entries, and the lots of its pair. The inner error is the
/// ledger's own refusal; nothing is written then.
fn write_into_ledger(
    tx: &Tx<'_>,
    intent: &Intent,
    fill: &Fill,
    valuation: &Valuation,
    day: TradingDay,
    now: Timestamp,
) -> Result<Result<Ledgered, LedgerError>, StoreError> {
    let (account, user) = (intent.account.clone(), intent.user.clone());
    let fill = match LedgerFill::new(account, user, day.key, fill.clone(), valuation) {
        Ok(fill) => fill,
        Err(error) => return Ok(Err(error)),
    };
    let books = match next_books(tx, &fill)? {
        Ok(books) => books,
        Err(error) => return Ok(Err(error)),
    };
    insert_fill(tx, intent, &fill, now)?;
    let realised = books.realised_usd;
    let sold_beyond = books.sold_beyond;
    insert_entries(tx, &fill, &books.entries)?;
    equity::count(tx, &fill.account, &books.entries)?;
    lots::replace(tx, &fill, &books)?;
    let data = Data::new()
        .text("side", fill.fill.side)
        .text("pair", &fill.fill.pair)
        .text("quantity", fill.fill.quantity)
        .text("price", fill.fill.price)
        .text("fee", &fill.fill.fee)
        .text("realised_usd", realised)
        .text("day", day.key)
        .text("at", fill.fill.at)
        .text("venue_order_id", &fill.fill.venue_order_id)
        .text("liquidity", fill.fill.liquidity)
        .text("usd_rate", fill.usd_rate)
        .text("fee_usd", fill.fee_usd)
        .flag("fee_is_estimated", fill.fee_is_estimated);
    let subject = Subject {
        fill: Some(fill.fill.id.clone()),
        user: Some(intent.user.clone()),
        ..Subject::intent(&intent.account, intent.id)
    };
    tx.record(
        now,
        Draft::new(daemon(), Action::FillBooked).on(subject).with(data),
    )?;
    outbox::of_fill(tx, now, intent, &fill, realised)?;
    Ok(Ok(Ledgered { sold_beyond }))
}

/// The lots of a pair after a fill.
struct Books {
    lots: Vec<Lot>,
    /// Only what this fill closed, or everything of the pair when it was booked anew.
    closed: Vec<ClosedLot>,
    is_anew: bool,
    entries: Vec<bursar_ledger::Entry>,
    realised_usd: Usd,
    sold_beyond: Option<Quantity>,
}

/// A fill that is the newest of its pair goes on top; one that comes late makes the pair be booked
/// again in the venue's order, so that the order of arrival makes no difference.
fn next_books(connection: &Connection, fill: &LedgerFill) -> Result<Result<Books, LedgerError>, StoreError> {
    let method = LotMethod::default();
    let is_late = is_late(connection, fill)?;
    if !is_late {
        let open = lots(connection, &fill.account, fill.pair())?;
        return Ok(apply_fill(&open, fill, method).map(on_top));
    }
    let mut all = ledger_fills(connection, &fill.account, fill.pair())?;
    let before = replay(&all, method);
    all.push(fill.clone());
    let after = replay(&all, method);
    match (before, after) {
        (Ok(before), Ok(after)) => anew(fill, &before, after).map(Ok),
        (Err(error), _) | (_, Err(error)) => Ok(Err(error)),
    }
}

fn on_top(applied: Applied) -> Books {
    Books {
        lots: applied.lots_after,
        closed: applied.closed,
        is_anew: false,
        entries: applied.entries,
        realised_usd: applied.realised_usd,
        sold_beyond: applied.sold_external,
    }
}

fn anew(fill: &LedgerFill, before: &Replayed, after: Replayed) -> Result<Books, StoreError> {
    let realised_usd = realised(&after)?.minus(realised(before)?)?;
    let more_surplus = decimal::sub(surplus(&after)?, surplus(before)?)?;
    Ok(Books {
        lots: after.lots,
        closed: after.closed,
        is_anew: true,
        entries: bursar_ledger::entries(&fill.fill)?,
        realised_usd,
        sold_beyond: Quantity::new(more_surplus).ok(),
    })
}

fn realised(books: &Replayed) -> Result<Usd, InexactError> {
    let mut closed = books.closed.iter();
    closed.try_fold(Usd::ZERO, |sum, closed| sum.plus(closed.realised_usd))
}

fn surplus(books: &Replayed) -> Result<Decimal, InexactError> {
    let mut sales = books.sold_external.iter();
    sales.try_fold(Decimal::ZERO, |sum, sale| {
        decimal::add(sum, sale.quantity.value())
    })
}

fn is_late(connection: &Connection, fill: &LedgerFill) -> Result<bool, StoreError> {
    // At the same instant the ledger's order decides, which SQL does not know.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {BOOKED} FROM fill WHERE account = ?1 AND pair = ?2 AND at >= ?3
         UNION ALL SELECT {WRITTEN_OFF} FROM written_off WHERE account = ?1 AND pair = ?2 AND at >= ?3"
    ))?;
    let later = statement.query_map(
        params![Text(&fill.account), Text(fill.pair()), moment(fill.fill.at)?],
        read_ledger_fill,
    )?;
    for other in later {
        if other?.order_key() > fill.order_key() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The prices of the moment. Where nobody believes in the middle of the quote asset's: what is nearest to the rate that the
/// order was sized with, within bid and ask; against us without one. Without any price: that rate, else what was paid for
/// what is held. `None` when nothing prices it.
fn valuation(
    connection: &Connection,
    intent: &Intent,
    fill: &Fill,
    now: Timestamp,
) -> Result<Option<Valuation>, StoreError> {
    let rate = |asset: &Asset| quotes::rate_range(connection, &intent.broker, asset, now);
    // Against us, where bid and ask are too far apart to believe in their middle.
    let prudent = |rate: PriceRange| match fill.side {
        Side::Buy => rate.most,
        Side::Sell => rate.least,
    };
    let sized = intent
        .sizing
        .as_ref()
        .and_then(|sizing| sizing.reference)
        .map(|reference| reference.usd_rate);
    let known = match (rate(fill.pair.quote())?, sized) {
        // An order may have worked for weeks: what it was sized with counts only as far as bid and ask allow.
        (Some(rate), Some(sized)) => Some(rate.nearest_to(sized)),
        (Some(rate), None) => Some(prudent(rate)),
        (None, Some(sized)) => Some(sized),
        (None, None) => {
            let held = lots(connection, &intent.account, &fill.pair)?;
            held.first().map(|lot| lot.entry_rate)
        }
    };
    let Some(usd_rate) = known else { return Ok(None) };
    let worst_fee_percent = quotes::instrument(connection, &intent.broker, &fill.pair)?
        .map_or(Decimal::ONE, |known| known.value.taker_fee_percent);
    Ok(Some(Valuation {
        usd_rate,
        fee_asset_rate: rate(&fill.fee.asset)?.map(|rate| rate.most),
        worst_fee_percent,
    }))
}

fn insert_fill(tx: &Tx<'_>, intent: &Intent, fill: &LedgerFill, now: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO fill (account, id, intent, user, pair, day, at, booked_at, body, usd_rate, fee_usd,
             fee_is_estimated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        Text(&fill.account),
        Text(&fill.fill.id),
        Text(&intent.id),
        Text(&fill.user),
        Text(&fill.fill.pair),
        Text(&fill.day),
        moment(fill.fill.at)?,
        moment(now)?,
        json(&fill.fill)?,
        Exact(fill.usd_rate.value()),
        Exact(fill.fee_usd.amount()),
        fill.fee_is_estimated,
    ])?;
    Ok(())
}

fn insert_entries(
    tx: &Tx<'_>,
    fill: &LedgerFill,
    entries: &[bursar_ledger::Entry],
) -> Result<(), StoreError> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO entry (account, fill, line, leg, asset, amount) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (line, entry) in (1_i64..).zip(entries) {
        statement.execute(params![
            Text(&fill.account),
            Text(&fill.fill.id),
            line,
            leg_word(entry.leg),
            Text(&entry.asset),
            Exact(entry.amount),
        ])?;
    }
    Ok(())
}

const fn leg_word(leg: bursar_ledger::Leg) -> &'static str {
    match leg {
        bursar_ledger::Leg::Holding => "holding",
        bursar_ledger::Leg::Market => "market",
        bursar_ledger::Leg::Fees => "fees",
    }
}

/// The columns of a booked execution, as [`read_booked`] wants them.
pub(crate) const LEDGER_FILL: &str =
    "account, user, day, body, usd_rate, fee_usd, fee_is_estimated, intent, booked_at";

/// Those that [`read_ledger_fill`] wants.
const BOOKED: &str = "account, user, day, body, usd_rate, fee_usd, fee_is_estimated";

pub(crate) fn read_ledger_fill(row: &Row<'_>) -> rusqlite::Result<LedgerFill> {
    let rate = Price::new(row.get::<_, Exact>(4)?.0).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(LedgerFill {
        account: row.get::<_, Text<_>>(0)?.0,
        user: row.get::<_, Text<_>>(1)?.0,
        day: row.get::<_, Text<_>>(2)?.0,
        fill: row.get::<_, Json<_>>(3)?.0,
        usd_rate: rate,
        fee_usd: Usd::new(row.get::<_, Exact>(5)?.0),
        fee_is_estimated: row.get(6)?,
    })
}

pub(crate) fn read_booked(row: &Row<'_>) -> rusqlite::Result<bursar_execution::BookedFill> {
    Ok(bursar_execution::BookedFill {
        intent: row.get::<_, Text<_>>(7)?.0,
        booked_at: row.get::<_, Moment>(8)?.0,
        fill: read_ledger_fill(row)?,
    })
}

/// The booked executions of one order, oldest first.
pub(crate) fn of_order(
    connection: &Connection,
    intent: bursar_model::IntentId,
) -> Result<Vec<bursar_execution::BookedFill>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {LEDGER_FILL} FROM fill WHERE intent = ?1 ORDER BY at, id"
    ))?;
    let fills = statement.query_map([Text(&intent)], read_booked)?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

/// Everything that the lots of a pair follow from: its executions, and what was written off.
pub(crate) fn ledger_fills(
    connection: &Connection,
    account: &AccountId,
    pair: &Pair,
) -> Result<Vec<LedgerFill>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {BOOKED} FROM fill WHERE account = ?1 AND pair = ?2
         UNION ALL SELECT {WRITTEN_OFF} FROM written_off WHERE account = ?1 AND pair = ?2"
    ))?;
    let fills = statement.query_map(params![Text(account), Text(pair)], read_ledger_fill)?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}
