//! The last prices of each exchange, and the exchange's rules for each pair.

use bursar_controls::Observed;
use bursar_execution::usd_rate;
use bursar_ledger::{Mark, PriceRange};
use bursar_model::{Asset, BrokerId, Instrument, Pair, Price, Quote};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::days;
use crate::error::StoreError;
use crate::values::{Exact, Json, Moment, Text, json, moment};
use crate::writer::Tx;

pub(crate) fn put(tx: &Tx<'_>, broker: &BrokerId, quotes: &[Quote]) -> Result<(), StoreError> {
    let Some(newest) = quotes.iter().map(|quote| quote.at).max() else {
        return Ok(());
    };
    // A day that begins now begins with the prices before these.
    let day = days::roll(tx, newest)?;
    // The last that was received counts, also after our clock was set back.
    let mut statement = tx.prepare_cached(
        "INSERT INTO quote (broker, pair, bid, ask, last, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (broker, pair) DO UPDATE SET bid = excluded.bid, ask = excluded.ask, last = excluded.last,
             at = excluded.at",
    )?;
    for quote in quotes {
        statement.execute(params![
            Text(broker),
            Text(&quote.pair),
            Exact(quote.bid.value()),
            Exact(quote.ask.value()),
            Exact(quote.last.value()),
            moment(quote.at)?,
        ])?;
    }
    let pairs: Vec<Pair> = quotes.iter().map(|quote| quote.pair.clone()).collect();
    days::complete_opening_marks(tx, &day, broker, &pairs)
}

const QUOTE: &str = "SELECT pair, bid, ask, last, at FROM quote WHERE broker = ?1";

pub(crate) fn all(connection: &Connection, broker: &BrokerId) -> Result<Vec<Quote>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{QUOTE} ORDER BY pair"))?;
    let quotes = statement.query_map([Text(broker)], read)?;
    Ok(quotes.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn of_pair(
    connection: &Connection,
    broker: &BrokerId,
    pair: &Pair,
) -> Result<Option<Quote>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("{QUOTE} AND pair = ?2"))?
        .query_row(params![Text(broker), Text(pair)], read)
        .optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Quote> {
    let price = |column: usize| -> rusqlite::Result<Price> {
        Price::new(row.get::<_, Exact>(column)?.0).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
        })
    };
    Ok(Quote {
        pair: row.get::<_, Text<_>>(0)?.0,
        bid: price(1)?,
        ask: price(2)?,
        last: price(3)?,
        at: row.get::<_, Moment>(4)?.0,
    })
}

/// The pair's own quote and the one that prices its quote asset in dollars, as far as they are known.
pub(crate) fn relevant(
    connection: &Connection,
    broker: &BrokerId,
    pair: &Pair,
) -> Result<Vec<Quote>, StoreError> {
    let in_dollars = Pair::new(pair.quote().clone(), Asset::usd());
    [Some(pair.clone()), in_dollars]
        .into_iter()
        .flatten()
        .filter_map(|pair| of_pair(connection, broker, &pair).transpose())
        .collect()
}

/// Dollars per unit of `asset` at the broker's last price.
pub(crate) fn rate(
    connection: &Connection,
    broker: &BrokerId,
    asset: &Asset,
    now: Timestamp,
) -> Result<Option<Observed<Price>>, StoreError> {
    let quote = match Pair::new(asset.clone(), Asset::usd()) {
        Some(pair) => of_pair(connection, broker, &pair)?,
        None => None,
    };
    Ok(usd_rate(asset, quote.as_slice(), now))
}

/// What the broker's last prices say a pair is worth; `None` while one is missing.
pub(crate) fn mark(
    connection: &Connection,
    broker: &BrokerId,
    pair: &Pair,
    now: Timestamp,
) -> Result<Option<Mark>, StoreError> {
    Ok(ranges(connection, broker, pair, now)?.map(|(price, rate)| Mark::new(price, rate)))
}

/// What the last prices say of a pair, and of its quote asset in dollars.
pub(crate) fn ranges(
    connection: &Connection,
    broker: &BrokerId,
    pair: &Pair,
    now: Timestamp,
) -> Result<Option<(PriceRange, PriceRange)>, StoreError> {
    let Some(quote) = of_pair(connection, broker, pair)? else {
        return Ok(None);
    };
    let Some(mut rate) = rate_range(connection, broker, pair.quote(), now)? else {
        return Ok(None);
    };
    if pair.quote().is_usd() {
        // The dollar's own rate is of no age: it makes an old price no younger.
        rate.at = quote.at;
    }
    Ok(Some((PriceRange::of(&quote)?, rate)))
}

/// As [`rate`], at least and at most. The dollar's own is of this moment.
pub(crate) fn rate_range(
    connection: &Connection,
    broker: &BrokerId,
    asset: &Asset,
    now: Timestamp,
) -> Result<Option<PriceRange>, StoreError> {
    Ok(match Pair::new(asset.clone(), Asset::usd()) {
        Some(in_dollars) => of_pair(connection, broker, &in_dollars)?
            .map(|quote| PriceRange::of(&quote))
            .transpose()?,
        None => usd_rate(asset, &[], now).map(|one| PriceRange::exactly(one.value, now)),
    })
}

pub(crate) fn put_instruments(
    tx: &Tx<'_>,
    broker: &BrokerId,
    instruments: &[Instrument],
    now: Timestamp,
) -> Result<(), StoreError> {
    let at = moment(now)?;
    let mut statement = tx.prepare_cached(
        "INSERT INTO instrument (broker, pair, body, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (broker, pair) DO UPDATE SET body = excluded.body, at = excluded.at",
    )?;
    for instrument in instruments {
        statement.execute(params![
            Text(broker),
            Text(&instrument.pair),
            json(instrument)?,
            at
        ])?;
    }
    // What the venue lists no more is not traded any more.
    tx.execute(
        "DELETE FROM instrument WHERE broker = ?1 AND at <> ?2",
        params![Text(broker), at],
    )?;
    Ok(())
}

pub(crate) fn instruments(connection: &Connection, broker: &BrokerId) -> Result<Vec<Instrument>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM instrument WHERE broker = ?1 ORDER BY pair")?;
    let instruments = statement.query_map([Text(broker)], |row| Ok(row.get::<_, Json<_>>(0)?.0))?;
    Ok(instruments.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn instrument(
    connection: &Connection,
    broker: &BrokerId,
    pair: &Pair,
) -> Result<Option<Observed<Instrument>>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT body, at FROM instrument WHERE broker = ?1 AND pair = ?2")?
        .query_row(params![Text(broker), Text(pair)], |row| {
            Ok(Observed {
                value: row.get::<_, Json<Instrument>>(0)?.0,
                at: row.get::<_, Moment>(1)?.0,
                source: format!("pairs of {broker}"),
            })
        })
        .optional()?)
}
