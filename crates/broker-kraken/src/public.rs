//! Public data of the exchange, and what all accounts there share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{ErrorClass, MarketData, ReadError, VenueStatus};
use bursar_model::{Candle, Clock, CredentialId, Instrument, Pair, Price, Quote};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::catalogue::is_of_pair;
use crate::endpoint::KrakenEndpoint;
use crate::envelope::{self, Answer, unread, unreadable};
use crate::form::Form;
use crate::limits::{Counters, KeyLimits, KrakenTier, PublicLimit, locked};
use crate::names::{Directory, Named};
use crate::text::{Text, Unreadable};
use crate::transport::{Reply, Transport};
use crate::venue_clock::{ClockOffset, VenueClock};
use crate::wire::{WireAsset, WireCandles, WirePair, WireStatus, WireTicker, WireTime};

/// How to reach Kraken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrakenSettings {
    /// Kraken itself, or a local exchange that speaks its protocol.
    pub endpoint: KrakenEndpoint,
    /// For name, connection and handshake together.
    pub connect_timeout: Duration,
    /// For a whole request, from the connection to the last byte of the answer.
    pub request_timeout: Duration,
    /// How long a reading waits for its turn below Kraken's limits before it is put off.
    pub longest_wait: Duration,
    /// Public requests that may go at once.
    pub public_burst: u32,
    /// Public requests a second after that. Kraken names no number; clients live well with one.
    pub public_per_second: u32,
}

impl Default for KrakenSettings {
    fn default() -> Self {
        Self {
            endpoint: KrakenEndpoint::default(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            longest_wait: Duration::from_secs(20),
            public_burst: 10,
            public_per_second: 1,
        }
    }
}

/// Why an adapter could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KrakenSetupError {
    /// No HTTP client: usually the system's list of trusted certificates is missing.
    #[error("no connection to Kraken can be made on this machine")]
    Client(#[source] reqwest::Error),
    /// A paper account is never connected to an exchange.
    #[error("account `{account}` trades on paper: it gets no connection to Kraken")]
    PaperAccount {
        /// The account that was asked for.
        account: bursar_model::AccountId,
    },
}

impl KrakenSetupError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Client(_) => "install the system's certificates (package `ca-certificates`)",
            Self::PaperAccount { .. } => {
                "the mode of an account is fixed when it is made: add a live account"
            }
        }
    }
}

/// Kraken's public data, and what is counted of each key, shared by all accounts at Kraken. A handle: clones
/// share one state.
#[derive(Clone)]
pub struct KrakenPublic {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    clock: Arc<dyn Clock>,
    longest_wait: Duration,
    limit: PublicLimit,
    counters: Counters,
    venue_clock: VenueClock,
    told: Mutex<Option<Told>>,
    names: std::sync::Mutex<Option<Names>>,
    /// Held by whoever reads the names; who knows them does not wait for it.
    reading_names: Mutex<()>,
}

const TICKER: &str = "Ticker";

/// What Kraken's clock showed, and when we had it by a clock of ours that nobody sets.
#[derive(Clone, Copy)]
struct Told {
    second: Timestamp,
    answered: Instant,
}

/// So long one answer serves all accounts: their desks ask for the same time again and again.
const TIME_REST: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Names {
    directory: Arc<Directory>,
    at: Timestamp,
    /// Listed pairs of which the exchange has no price.
    unpriced: BTreeSet<Pair>,
}

/// A name that is not known makes us look again, but not more often than this.
const NAMES_REST: SignedDuration = SignedDuration::from_mins(10);

/// The same for a price that is refused because a pair is not listed any more: nobody has prices meanwhile.
const REFUSED_REST: SignedDuration = SignedDuration::from_secs(30);

/// Pairs of one request, so that its address stays short.
const PAIRS_AT_ONCE: usize = 100;

/// The intervals of candles that Kraken keeps, in minutes.
const INTERVALS: [u32; 9] = [1, 5, 15, 30, 60, 240, 1440, 10080, 21600];

impl KrakenPublic {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`KrakenSetupError::Client`] where no HTTP client can be made.
    pub fn new(settings: KrakenSettings, clock: Arc<dyn Clock>) -> Result<Self, KrakenSetupError> {
        let transport = Transport::new(
            settings.endpoint,
            settings.connect_timeout,
            settings.request_timeout,
        )
        .map_err(KrakenSetupError::Client)?;
        Ok(Self {
            shared: Arc::new(Shared {
                transport,
                clock,
                longest_wait: settings.longest_wait,
                limit: PublicLimit::new(settings.public_burst, settings.public_per_second, Instant::now()),
                counters: Counters::default(),
                venue_clock: VenueClock::default(),
                told: Mutex::new(None),
                names: std::sync::Mutex::default(),
                reading_names: Mutex::new(()),
            }),
        })
    }

    /// Where requests go; to be shown when it is not the built-in address.
    pub fn endpoint(&self) -> &KrakenEndpoint {
        self.shared.transport.endpoint()
    }

    /// How Kraken's clock stands against ours; `None` before it was looked at, and when that was
    /// more than ten minutes ago. Every [`MarketData::venue_time`] is a look.
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        self.shared.venue_clock.offset(self.shared.clock.now())
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    pub(crate) fn limits(&self, key: CredentialId, tier: KrakenTier) -> Arc<KeyLimits> {
        self.shared.counters.of(key, tier, Instant::now())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn longest_wait(&self) -> Duration {
        self.shared.longest_wait
    }

    /// Kraken's time by our best estimate; our own while there is none.
    pub(crate) fn venue_now(&self) -> Timestamp {
        let now = self.now();
        self.clock_offset()
            .and_then(|known| now.checked_add(known.offset).ok())
            .unwrap_or(now)
    }

    /// As [`clock_offset`](Self::clock_offset), after a look if there was none of late.
    pub(crate) async fn measured_offset(&self) -> Result<ClockOffset, ReadError> {
        if self.clock_offset().is_none() {
            self.venue_time().await?;
        }
        self.clock_offset()
            .ok_or_else(|| unreadable("Time", "it is no moment that a clock can show"))
    }

    /// The names of pairs and assets, read once.
    pub(crate) async fn directory(&self) -> Result<Arc<Directory>, ReadError> {
        if let Some(known) = self.known_names() {
            return Ok(known.directory);
        }
        let sole = self.shared.reading_names.lock().await;
        match self.known_names() {
            Some(known) => Ok(known.directory),
            None => self.read_names(&sole).await,
        }
    }

    /// The names, read again if one of `spellings` is not among them.
    pub(crate) async fn directory_for<'a>(
        &self,
        spellings: impl Iterator<Item = &'a str> + Send,
    ) -> Result<Arc<Directory>, ReadError> {
        let directory = self.directory().await?;
        let mut unknown = spellings.filter(|name| directory.named(name) == Named::Unknown);
        if unknown.next().is_none() {
            return Ok(directory);
        }
        self.names_of_the_last(NAMES_REST).await
    }

    /// The names, read again unless that was done of late.
    async fn names_of_the_last(&self, rest: SignedDuration) -> Result<Arc<Directory>, ReadError> {
        let sole = self.shared.reading_names.lock().await;
        match self.known_names() {
            Some(known) if self.now().duration_since(known.at).abs() <= rest => Ok(known.directory),
            _ => self.read_names(&sole).await,
        }
    }

    fn known_names(&self) -> Option<Names> {
        locked(&self.shared.names).clone()
    }

    async fn read_names(&self, _sole: &MutexGuard<'_, ()>) -> Result<Arc<Directory>, ReadError> {
        let form = Form::new();
        let (pairs, assets) = tokio::try_join!(
            self.get::<BTreeMap<String, WirePair>>("AssetPairs", &form),
            self.get::<BTreeMap<String, WireAsset>>("Assets", &form),
        )?;
        let directory = Directory::new(&pairs, &assets);
        let directory = Arc::new(match self.known_names() {
            Some(earlier) => directory.remembering(&earlier.directory),
            None => directory,
        });
        *locked(&self.shared.names) = Some(Names {
            directory: Arc::clone(&directory),
            at: self.now(),
            unpriced: BTreeSet::new(),
        });
        Ok(directory)
    }

    async fn get<T: DeserializeOwned>(&self, call: &'static str, form: &Form) -> Result<T, ReadError> {
        let reply = self.ask(call, form).await?;
        self.read_answer(call, &envelope::open(&reply))
    }

    async fn ask(&self, call: &str, form: &Form) -> Result<Reply, ReadError> {
        self.wait_for_turn().await?;
        let path = format!("/0/public/{call}{}", form.query());
        self.shared.transport.get(&path).await.map_err(unread)
    }

    fn read_answer<T: DeserializeOwned>(&self, call: &str, answer: &Answer) -> Result<T, ReadError> {
        let result = envelope::read(call, answer, self.venue_now());
        if let Err(ReadError::TryAgain {
            class: ErrorClass::Rate,
            wait,
            ..
        }) = &result
        {
            let wait = wait.unwrap_or(Duration::from_secs(5));
            self.shared.limit.exceeded(wait, Instant::now());
        }
        result
    }

    async fn wait_for_turn(&self) -> Result<(), ReadError> {
        let patience = Instant::now() + self.shared.longest_wait;
        while let Err(wait) = self.shared.limit.take(Instant::now()) {
            if Instant::now() + wait > patience {
                return Err(ReadError::TryAgain {
                    class: ErrorClass::Rate,
                    reason: "public requests are spaced out".into(),
                    wait: Some(wait),
                });
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

#[async_trait]
impl MarketData for KrakenPublic {
    /// Always read afresh: minimums and status change without notice.
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        let sole = self.shared.reading_names.lock().await;
        Ok(self.read_names(&sole).await?.instruments())
    }

    async fn quotes(&self, pairs: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        let mut quotes = Vec::with_capacity(pairs.len());
        for slice in pairs.chunks(PAIRS_AT_ONCE) {
            quotes.extend(self.quotes_of(slice).await?);
        }
        Ok(quotes)
    }

    async fn candles(&self, pair: &Pair, interval_minutes: u32) -> Result<Vec<Candle>, ReadError> {
        let refused = |code: String| ReadError::Refused {
            class: ErrorClass::Business,
            code,
        };
        if !INTERVALS.contains(&interval_minutes) {
            return Err(refused(format!("no candles of {interval_minutes} minutes")));
        }
        let directory = self.directory().await?;
        let known = directory
            .pair(pair)
            .ok_or_else(|| refused(format!("no pair {pair}")))?;
        let form = Form::new()
            .with("pair", &known.altname)
            .with("interval", &interval_minutes.to_string());
        let wire: WireCandles = self.get("OHLC", &form).await?;
        read_candles(&wire).map_err(|reason| unreadable("OHLC", reason))
    }

    async fn status(&self) -> Result<VenueStatus, ReadError> {
        let wire: WireStatus = self.get("SystemStatus", &Form::new()).await?;
        Ok(read_status(&wire))
    }

    /// Rounded down: the venue's clock shows at least this. Accounts that ask within a few seconds
    /// share one answer, carried forward by the time that passed since we had it.
    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        let mut told = self.shared.told.lock().await;
        if let Some(known) = *told
            && known.answered.elapsed() < TIME_REST
        {
            return known.carried_forward().map_err(|error| unreadable("Time", error));
        }
        *told = None;
        let known = self.ask_time().await?;
        *told = Some(known);
        Ok(known.second)
    }

    fn has_own_clock(&self) -> bool {
        true
    }
}

impl Told {
    /// The answer was made before we had it, so this is never ahead of Kraken's clock.
    fn carried_forward(&self) -> Result<Timestamp, jiff::Error> {
        self.second.checked_add(self.answered.elapsed())
    }
}

impl KrakenPublic {
    /// What a pair that is not listed any more costs is the price of that pair, and no other's: Kraken
    /// refuses the whole request for it, or answers without it.
    async fn quotes_of(&self, pairs: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        let known = self.directory().await?;
        let Some(form) = self.asking_for(pairs, &known) else {
            return Ok(Vec::new());
        };
        if let Some(tickers) = self.tickers(&form).await? {
            return self.quotes_in(&tickers, pairs, &known);
        }
        // Where the names cannot be read anew, the exchange is asked without them.
        let fresh = self.names_of_the_last(REFUSED_REST).await.unwrap_or(known);
        let shorter = self.asking_for(pairs, &fresh);
        let Some(shorter) = shorter else {
            return Ok(Vec::new());
        };
        if shorter != form
            && let Some(tickers) = self.tickers(&shorter).await?
        {
            return self.quotes_in(&tickers, pairs, &fresh);
        }
        // Kraken lists it still, or lists cannot be read: what is asked for by no name is never refused for one.
        let Some(all) = self.tickers(&Form::new()).await? else {
            return Err(unreadable(TICKER, "it knows none of its own pairs"));
        };
        self.leave_out_unpriced(&all, pairs, &fresh);
        self.quotes_in(&all, pairs, &fresh)
    }

    /// `None` where there is nothing to ask for.
    fn asking_for(&self, pairs: &[Pair], directory: &Directory) -> Option<Form> {
        let unpriced = self
            .known_names()
            .map_or_else(BTreeSet::new, |names| names.unpriced);
        let altnames: Vec<&str> = pairs
            .iter()
            .filter(|pair| !unpriced.contains(pair))
            .filter_map(|pair| Some(directory.pair(pair)?.altname.as_str()))
            .collect();
        (!altnames.is_empty()).then(|| Form::new().with("pair", &altnames.join(",")))
    }

    /// `None` when Kraken does not know one of the pairs, and says nothing of the others.
    async fn tickers(&self, form: &Form) -> Result<Option<BTreeMap<String, WireTicker>>, ReadError> {
        let reply = self.ask(TICKER, form).await?;
        match envelope::open_in_part(&reply, is_of_pair) {
            Answer::Errors(errors) if errors.iter().all(|text| is_of_pair(text)) => Ok(None),
            answer => self.read_answer(TICKER, &answer).map(Some),
        }
    }

    fn quotes_in(
        &self,
        tickers: &BTreeMap<String, WireTicker>,
        pairs: &[Pair],
        directory: &Directory,
    ) -> Result<Vec<Quote>, ReadError> {
        let mut quotes =
            read_quotes(tickers, directory, self.now()).map_err(|reason| unreadable(TICKER, reason))?;
        quotes.retain(|quote| pairs.contains(&quote.pair));
        Ok(quotes)
    }

    /// Until the names are read again: by then the exchange has made up its mind.
    fn leave_out_unpriced(&self, all: &BTreeMap<String, WireTicker>, pairs: &[Pair], directory: &Directory) {
        let is_priced = |pair: &Pair| {
            (all.keys())
                .any(|name| matches!(directory.named(name), Named::Pair(known) if known.pair() == pair))
        };
        let mut names = locked(&self.shared.names);
        let Some(names) = names.as_mut() else { return };
        for pair in pairs
            .iter()
            .filter(|pair| directory.pair(pair).is_some() && !is_priced(pair))
        {
            if names.unpriced.insert(pair.clone()) {
                tracing::warn!(%pair, "Kraken lists a pair of which it has no price: it is not asked for until the list is read again");
            }
        }
    }

    async fn ask_time(&self) -> Result<Told, ReadError> {
        // A wait for a turn must not count as travel time.
        self.wait_for_turn().await?;
        let asked = self.now();
        let reply = self
            .shared
            .transport
            .get("/0/public/Time")
            .await
            .map_err(unread)?;
        let (answered, had) = (self.now(), Instant::now());
        let time: WireTime = envelope::read("Time", &envelope::open(&reply), answered)?;
        self.shared.venue_clock.observe(asked, answered, time.unixtime);
        let second = Timestamp::from_second(time.unixtime).map_err(|error| unreadable("Time", error))?;
        Ok(Told {
            second,
            answered: had,
        })
    }
}

pub(crate) fn read_quotes(
    tickers: &BTreeMap<String, WireTicker>,
    directory: &Directory,
    at: Timestamp,
) -> Result<Vec<Quote>, Unreadable> {
    let mut quotes = Vec::new();
    for (name, ticker) in tickers {
        let Named::Pair(known) = directory.named(name) else {
            continue;
        };
        // Zero stands for a side of the book on which nothing lies.
        let price = |list: &[Text]| -> Result<Option<Price>, Unreadable> {
            let first = list.first().map(Text::decimal).transpose()?;
            Ok(first.and_then(|value| Price::new(value).ok()))
        };
        if let (Some(bid), Some(ask), Some(last)) = (price(&ticker.b)?, price(&ticker.a)?, price(&ticker.c)?)
        {
            quotes.push(Quote {
                pair: known.pair().clone(),
                bid,
                ask,
                last,
                at,
            });
        }
    }
    Ok(quotes)
}

/// Start, open, high, low, close, average, volume, count.
type WireCandle = (Text, Text, Text, Text, Text, Text, Text, Text);

/// Finished candles. `last` names the latest of them, and the row at the end is still forming.
pub(crate) fn read_candles(wire: &WireCandles) -> Result<Vec<Candle>, String> {
    let last: Text = wire
        .get("last")
        .ok_or("there is no `last`")
        .map(|raw| serde_json::from_str(raw.get()).map_err(|error| error.to_string()))??;
    let last = last.moment().map_err(|reason| reason.to_string())?;
    let mut lists = wire.iter().filter(|(name, _)| *name != "last");
    let rows: &RawValue = match (lists.next(), lists.next()) {
        (Some((_, rows)), None) => rows,
        _ => return Err("not exactly one pair".into()),
    };
    let mut rows: Vec<WireCandle> = serde_json::from_str(rows.get()).map_err(|error| error.to_string())?;
    rows.pop();
    let mut candles = Vec::with_capacity(rows.len());
    for row in &rows {
        let candle = read_candle(row)?;
        if candle.start <= last {
            candles.push(candle);
        }
    }
    Ok(candles)
}

fn read_candle((start, open, high, low, close, _, volume, _): &WireCandle) -> Result<Candle, String> {
    let words = |reason: Unreadable| reason.to_string();
    let price = |text: &Text| {
        let value = text.decimal().map_err(words)?;
        Price::new(value).map_err(|reason| reason.to_string())
    };
    Ok(Candle {
        start: start.moment().map_err(words)?,
        open: price(open)?,
        high: price(high)?,
        low: price(low)?,
        close: price(close)?,
        volume: volume.decimal().map_err(words)?,
    })
}

/// A status that is not known lets nothing be done.
pub(crate) fn read_status(wire: &WireStatus) -> VenueStatus {
    match wire.status.as_str() {
        "online" => VenueStatus::Online,
        "post_only" => VenueStatus::PostOnly,
        "cancel_only" => VenueStatus::CancelOnly,
        _ => VenueStatus::Maintenance,
    }
}
