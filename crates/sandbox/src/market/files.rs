//! Candles, quotes and trades from CSV files, gzipped or not.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use rust_decimal::Decimal;

use crate::moment::{MICROS, Moment};

use super::series::{Bar, Series, Tick};

/// Why a market could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// It is not there, or cannot be read or unpacked.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing to replay.
    #[error("`{}` holds no CSV file", path.display())]
    Empty {
        /// The file without a row, or the folder without a file.
        path: PathBuf,
    },
    /// Its name does not begin with a pair.
    #[error("`{}` does not name a pair", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// What it holds cannot be told from its first line.
    #[error("`{}` has columns `{columns}`, which are neither candles nor quotes nor trades", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// What the first line says.
        columns: String,
    },
    /// A line that cannot be read, or does not follow from the one before.
    #[error("line {line} of `{}` is not valid: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1, the first line included.
        line: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl MarketError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Empty { .. } => "name a CSV file, or a folder of them, `.gz` or not",
            Self::Name { .. } => {
                "name the file after its pair, for example `XXBTZUSD_1m.csv` or `BTC-USD_1m.csv`"
            }
            Self::Columns { .. } => {
                "candles have `time,open,high,low,close,volume`, trades have `time,price,volume,side`"
            }
            Self::Line { .. } => "correct the line: times rise, prices are more than zero",
        }
    }
}

/// What kind of data a file holds, from the most to the least useful for one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Trades,
    Candles,
    Quotes,
}

/// One file, read.
#[derive(Debug)]
pub(crate) struct MarketFile {
    pub(crate) path: PathBuf,
    /// The name of the pair, as the file spells it.
    pub(crate) pair: String,
    pub(crate) kind: Kind,
    pub(crate) series: Series,
    /// The decimals of its prices.
    pub(crate) price_decimals: u32,
    pub(crate) first_price: Decimal,
}

/// The files of a market: `path` itself, or every CSV file in the folder, by name.
pub(crate) fn paths(path: &Path) -> Result<Vec<PathBuf>, MarketError> {
    let read = |source| MarketError::Read {
        path: path.to_owned(),
        source,
    };
    if !std::fs::metadata(path).map_err(read)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?.path();
        let name = entry
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".csv") || name.ends_with(".csv.gz") {
            found.push(entry);
        }
    }
    if found.is_empty() {
        return Err(MarketError::Empty {
            path: path.to_owned(),
        });
    }
    found.sort();
    Ok(found)
}

/// The pair in a file's name: `XXBTZUSD_1m.csv.gz`, `kraken_BTCUSD_1m.csv`, `coinbase_BTC-USD_1m.csv`.
pub(crate) fn pair_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = name.split('.').next()?;
    stem.split('_')
        .find(|part| {
            let letters = part.chars().filter(char::is_ascii_alphabetic).count();
            part.len() >= 5
                && letters >= 5
                && part
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
        })
        .map(str::to_owned)
}

/// Reads one file whole.
pub(crate) fn read(path: &Path) -> Result<MarketFile, MarketError> {
    let pair = pair_name(path).ok_or_else(|| MarketError::Name {
        path: path.to_owned(),
    })?;
    let text = read_text(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    let header: Vec<String> = reader
        .headers()
        .map(|header| header.iter().map(str::to_owned).collect())
        .unwrap_or_default();
    let column = |name: &str| header.iter().position(|column| column == name);
    let unknown = || MarketError::Columns {
        path: path.to_owned(),
        columns: header.join(","),
    };
    let mut rows = Rows {
        path,
        reader,
        line: 1,
        price_decimals: 0,
    };
    let time = column("time").ok_or_else(unknown)?;
    let (kind, series) = if let (Some(price), Some(volume)) = (column("price"), column("volume")) {
        let ticks = rows.ticks(time, price, volume, column("side"))?;
        (Kind::Trades, Series::of_ticks(ticks))
    } else if let (Some(bid), Some(ask)) = (column("bid_open"), column("ask_open")) {
        let bars = rows.quotes(time, bid, ask)?;
        let width = width(&bars);
        (Kind::Quotes, Series::of_bars(bars, width))
    } else if let (Some(open), Some(high), Some(low), Some(close), Some(volume)) = (
        column("open"),
        column("high"),
        column("low"),
        column("close"),
        column("volume"),
    ) {
        let bars = rows.candles(time, [open, high, low, close], volume, column("count"))?;
        let width = width(&bars);
        (Kind::Candles, Series::of_bars(bars, width))
    } else {
        return Err(unknown());
    };
    let price_decimals = rows.price_decimals.min(10);
    let first_price = series
        .bounds()
        .and_then(|(first, _)| series.event_at(Moment::from_seconds(first.saturating_add(59))))
        .map(|event| event.price)
        .ok_or_else(|| MarketError::Empty {
            path: path.to_owned(),
        })?;
    Ok(MarketFile {
        path: path.to_owned(),
        pair,
        kind,
        series,
        price_decimals,
        first_price,
    })
}

fn read_text(path: &Path) -> Result<String, MarketError> {
    let failed = |source| MarketError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(failed)?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .map_err(failed)?;
    } else {
        bytes.as_slice().read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

/// The usual distance between bars: the smallest that occurs.
fn width(bars: &[Bar]) -> i64 {
    bars.windows(2)
        .filter_map(|pair| match pair {
            [one, next] => Some(next.start.saturating_sub(one.start)),
            _ => None,
        })
        .min()
        .unwrap_or(60)
        .max(1)
}

struct Rows<'a> {
    path: &'a Path,
    reader: csv::Reader<&'a [u8]>,
    line: u64,
    price_decimals: u32,
}

impl Rows<'_> {
    fn error(&self, reason: &'static str) -> MarketError {
        MarketError::Line {
            path: self.path.to_owned(),
            line: self.line,
            reason,
        }
    }

    fn next(&mut self) -> Result<Option<csv::StringRecord>, MarketError> {
        let mut record = csv::StringRecord::new();
        self.line = self.line.saturating_add(1);
        match self.reader.read_record(&mut record) {
            Ok(true) => Ok(Some(record)),
            Ok(false) => Ok(None),
            Err(_) => Err(self.error("it is not CSV")),
        }
    }

    fn number(&self, record: &csv::StringRecord, column: usize) -> Result<Decimal, MarketError> {
        let text = record.get(column).unwrap_or_default();
        bursar_model::decimal::parse(text)
            .or_else(|_| Decimal::from_scientific(text))
            .map_err(|_| self.error("a number is missing or malformed"))
    }

    fn price(&mut self, record: &csv::StringRecord, column: usize) -> Result<Decimal, MarketError> {
        let price = self.number(record, column)?;
        if price <= Decimal::ZERO || price > Decimal::from(1_000_000_000) {
            return Err(self.error("a price is not more than zero, or beyond a billion"));
        }
        self.price_decimals = self.price_decimals.max(price.normalize().scale());
        Ok(price)
    }

    fn volume(&self, record: &csv::StringRecord, column: usize) -> Result<Decimal, MarketError> {
        let volume = self.number(record, column)?;
        if volume.is_sign_negative() && !volume.is_zero() {
            return Err(self.error("a volume is less than zero"));
        }
        Ok(volume.min(Decimal::from(1_000_000_000_000_i64)))
    }

    fn time(&self, record: &csv::StringRecord, column: usize) -> Result<Moment, MarketError> {
        let micros = self.number(record, column)? * Decimal::from(MICROS);
        i64::try_from(micros.round())
            .map(Moment::from_micros)
            .map_err(|_| self.error("the time is not in seconds"))
    }

    fn ticks(
        &mut self,
        time: usize,
        price: usize,
        volume: usize,
        side: Option<usize>,
    ) -> Result<Vec<Tick>, MarketError> {
        let mut ticks: Vec<Tick> = Vec::new();
        while let Some(record) = self.next()? {
            let tick = Tick {
                at: self.time(&record, time)?,
                price: self.price(&record, price)?,
                volume: self.volume(&record, volume)?,
                is_sell: side
                    .and_then(|side| record.get(side))
                    .is_some_and(|side| side.starts_with('s')),
            };
            if ticks.last().is_some_and(|last| last.at > tick.at) {
                return Err(self.error("its time lies before that of the line above"));
            }
            ticks.push(tick);
        }
        Ok(ticks)
    }

    fn candles(
        &mut self,
        time: usize,
        prices: [usize; 4],
        volume: usize,
        count: Option<usize>,
    ) -> Result<Vec<Bar>, MarketError> {
        let mut bars = Vec::new();
        while let Some(record) = self.next()? {
            let [open, high, low, close] = prices;
            let bar = Bar {
                start: self.time(&record, time)?.seconds(),
                open: self.price(&record, open)?,
                high: self.price(&record, high)?,
                low: self.price(&record, low)?,
                close: self.price(&record, close)?,
                volume: self.volume(&record, volume)?,
                count: count
                    .and_then(|count| record.get(count)?.parse().ok())
                    .unwrap_or(0),
            };
            self.push(&mut bars, bar)?;
        }
        Ok(bars)
    }

    /// Quotes become bars of the middle price, with a volume made of what was offered.
    fn quotes(&mut self, time: usize, bid: usize, ask: usize) -> Result<Vec<Bar>, MarketError> {
        let mut bars = Vec::new();
        let half = Decimal::new(5, 1);
        while let Some(record) = self.next()? {
            let mut middle = |offset: usize| -> Result<Decimal, MarketError> {
                let bid = self.price(&record, bid.saturating_add(offset))?;
                let ask = self.price(&record, ask.saturating_add(offset))?;
                Ok((bid + ask) * half)
            };
            let (open, one, other, close) = (middle(0)?, middle(1)?, middle(2)?, middle(3)?);
            let bar = Bar {
                start: self.time(&record, time)?.seconds(),
                open,
                high: one.max(other).max(open).max(close),
                low: one.min(other).min(open).min(close),
                close,
                volume: self.volume(&record, bid.saturating_add(4))?
                    + self.volume(&record, ask.saturating_add(4))?,
                count: 0,
            };
            self.push(&mut bars, bar)?;
        }
        Ok(bars)
    }

    fn push(&self, bars: &mut Vec<Bar>, bar: Bar) -> Result<(), MarketError> {
        if bars.last().is_some_and(|last| last.start >= bar.start) {
            return Err(self.error("its time is not after that of the line above"));
        }
        if bar.high < bar.open.max(bar.close) || bar.low > bar.open.min(bar.close) {
            return Err(self.error("its high or low does not contain its open and close"));
        }
        bars.push(bar);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_found_in_a_files_name() {
        for (name, pair) in [
            ("XXBTZUSD_1m.csv.gz", "XXBTZUSD"),
            ("kraken_BTCUSD_1m.csv.gz", "BTCUSD"),
            ("BTCUSDT_1m.csv", "BTCUSDT"),
            ("coinbase_BTC-USD_1m.csv.gz", "BTC-USD"),
            ("BTC-USD_quote_1m_2017-09-03.csv.gz", "BTC-USD"),
            ("kraken_XBTUSD_2019-07-01T00.csv.gz", "XBTUSD"),
        ] {
            assert_eq!(pair_name(Path::new(name)).as_deref(), Some(pair));
        }
        assert_eq!(pair_name(Path::new("prices.csv")), None);
    }

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [
            ("time,open,high,low,close,volume\n60,1,2,1,2,5\n60,1,2,1,2,5\n", 3),
            (
                "time,open,high,low,close,volume\n60,1,2,1,2,5\n120,x,2,1,2,5\n",
                3,
            ),
            ("time,open,high,low,close,volume\n60,3,2,1,2,5\n", 2),
            ("time,open,high,low,close,volume\n60,0,2,0,2,5\n", 2),
            ("time,price,volume,side\n60.5,1,1,b\n60.4,1,1,b\n", 3),
            ("time,price,volume,side\n60.5,1,-1,b\n", 2),
        ] {
            let (_folder, path) = written("BTC-USD_1m.csv", text);

            let error = read(&path).unwrap_err();

            assert!(
                error.to_string().starts_with(&format!("line {line} of")),
                "{error}"
            );
        }
    }

    #[test]
    fn files_without_rows_or_of_another_kind_are_refused() {
        let (_folder, path) = written("BTC-USD_1m.csv", "time,open,high,low,close,volume\n");
        assert!(matches!(read(&path), Err(MarketError::Empty { .. })));
        let (_folder, path) = written("BTC-USD_1m.csv", "a,b\n1,2\n");
        assert!(matches!(read(&path), Err(MarketError::Columns { .. })));
        let (_folder, path) = written("prices.csv", "time,price,volume\n");
        assert!(matches!(read(&path), Err(MarketError::Name { .. })));
        let (folder, _) = written("notes.txt", "");
        assert!(matches!(paths(folder.path()), Err(MarketError::Empty { .. })));
    }
}
