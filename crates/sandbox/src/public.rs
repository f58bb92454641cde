//! What anybody may ask: time, assets, pairs, prices.

use std::sync::Arc;

use bursar_model::Side;
use rust_decimal::Decimal;

use crate::endpoint::Public;
use crate::exchange::Exchange;
use crate::json::Json;
use crate::mode::Mode;
use crate::moment::{MICROS, Moment};
use crate::orders::fixed;
use crate::pairs::{PairNo, PairRules};
use crate::params::Params;
use crate::refusal::Refusal;
use crate::settings::UnknownPair;

/// The intervals of candles, in minutes.
const INTERVALS: [i64; 9] = [1, 5, 15, 30, 60, 240, 1_440, 10_080, 21_600];

impl Exchange {
    pub(crate) fn call_public(
        &mut self,
        endpoint: Public,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        match endpoint {
            Public::Time => Ok(time(now)),
            Public::SystemStatus => Ok(Json::object([
                ("status", Json::text(self.mode)),
                (
                    "timestamp",
                    Json::text(Moment::from_seconds(now.seconds()).timestamp()),
                ),
            ])),
            Public::Assets => self.assets(params),
            Public::AssetPairs => self.asset_pairs(params),
            Public::Ticker => self.ticker(params, now),
            Public::Ohlc => self.ohlc(params, now),
            Public::Depth => self.depth_reply(params, now),
            Public::Trades => self.public_trades(params, now),
            Public::Spread => self.spread_reply(params, now),
        }
    }

    fn assets(&self, params: &Params) -> Result<Json, Refusal> {
        let modern = params.get("assetVersion") == Some("1");
        let wanted: Option<Vec<Arc<str>>> = params
            .get("asset")
            .map(|names| {
                names
                    .split(',')
                    .map(|name| self.market.pairs.assets.find(name).map(|asset| asset.id.clone()))
                    .collect::<Option<Vec<_>>>()
                    .ok_or(Refusal::UnknownAsset)
            })
            .transpose()?;
        let rows = self
            .market
            .pairs
            .assets
            .iter()
            .filter(|asset| wanted.as_ref().is_none_or(|wanted| wanted.contains(&asset.id)))
            .map(|asset| {
                let row = Json::object([
                    ("aclass", Json::text("currency")),
                    ("altname", Json::text(&asset.altname)),
                    ("decimals", Json::number(asset.decimals)),
                    ("display_decimals", Json::number(asset.display_decimals)),
                    ("status", Json::text("enabled")),
                ]);
                let name = if modern { &asset.code } else { &asset.id };
                (name.to_string(), row)
            });
        Ok(Json::object(rows))
    }

    /// The pairs that `pair` names, or all of them.
    fn pairs_named(&self, params: &Params) -> Result<Vec<PairNo>, Refusal> {
        match params.get("pair") {
            None => Ok(self.market.listed().map(|(pair, _)| pair).collect()),
            Some(names) => names
                .split(',')
                .map(|name| self.tradable_pair(Some(name)))
                .collect(),
        }
    }

    /// Those of the pairs that `pair` names which are listed, and whether that is all of them.
    fn pairs_found(&self, params: &Params) -> (Vec<PairNo>, bool) {
        let Some(names) = params.get("pair") else {
            return (self.market.listed().map(|(pair, _)| pair).collect(), true);
        };
        let found: Vec<Option<PairNo>> = names.split(',').map(|name| self.market.find(name)).collect();
        let are_all = found.iter().all(Option::is_some);
        (found.into_iter().flatten().collect(), are_all)
    }

    /// The one pair that `pair` names.
    fn pair_named(&self, params: &Params) -> Result<(PairNo, PairRules), Refusal> {
        let name = params.get("pair").ok_or(Refusal::InvalidArguments(""))?;
        let pair = self.tradable_pair(Some(name))?;
        let rules = self
            .market
            .rules(pair)
            .cloned()
            .ok_or(Refusal::UnknownAssetPair)?;
        Ok((pair, rules))
    }

    fn asset_pairs(&self, params: &Params) -> Result<Json, Refusal> {
        let schedule = |rows: &[(Decimal, Decimal)]| {
            Json::list(rows.iter().map(|(volume, fee)| {
                Json::list([Json::number(volume.normalize()), Json::number(fee.normalize())])
            }))
        };
        let modern = params.get("assetVersion") == Some("1");
        let rows: Vec<(String, Json)> = self
            .pairs_named(params)?
            .into_iter()
            .filter_map(|pair| self.market.rules(pair))
            .map(|rules| {
                let mut row = Json::object([
                    ("altname", Json::text(&rules.altname)),
                    ("wsname", Json::text(&rules.wsname)),
                    ("aclass_base", Json::text("currency")),
                    ("base", Json::text(&rules.base)),
                    ("aclass_quote", Json::text("currency")),
                    ("quote", Json::text(&rules.quote)),
                    ("lot", Json::text("unit")),
                    ("cost_decimals", Json::number(rules.cost_decimals)),
                    ("pair_decimals", Json::number(rules.price_decimals)),
                    ("lot_decimals", Json::number(rules.volume_decimals)),
                    ("lot_multiplier", Json::number(1)),
                    ("leverage_buy", Json::list([])),
                    ("leverage_sell", Json::list([])),
                ]);
                for (name, value) in [
                    ("fees", schedule(&self.settings.taker_fees)),
                    ("fees_maker", schedule(&self.settings.maker_fees)),
                    ("fee_volume_currency", Json::text("ZUSD")),
                    ("margin_call", Json::number(80)),
                    ("margin_stop", Json::number(40)),
                    ("ordermin", Json::text(rules.order_minimum.normalize())),
                    ("costmin", Json::text(rules.cost_minimum.normalize())),
                    ("tick_size", Json::text(rules.tick.normalize())),
                    ("status", Json::text(rules.mode)),
                ] {
                    row.push(name, value);
                }
                let name = if modern {
                    rules.modern_name(&self.market.pairs.assets)
                } else {
                    rules.id.to_string()
                };
                (name, row)
            })
            .collect();
        Ok(Json::object(rows))
    }

    fn ticker(&mut self, params: &Params, now: Moment) -> Result<Json, Refusal> {
        let (pairs, are_all) = match self.settings.unknown_pair {
            UnknownPair::RefusesAll => (self.pairs_named(params)?, true),
            UnknownPair::IsLeftOut => self.pairs_found(params),
        };
        let mut rows = Vec::new();
        for pair in pairs {
            if let Some(row) = self.ticker_row(pair, now) {
                rows.push(row);
            }
        }
        match (are_all, rows.is_empty()) {
            (true, _) => Ok(Json::object(rows)),
            (false, true) => Err(Refusal::UnknownAssetPair),
            (false, false) => Err(Refusal::UnknownAssetPairAmong(Json::object(rows).to_string())),
        }
    }

    fn ticker_row(&mut self, pair: PairNo, now: Moment) -> Option<(String, Json)> {
        let quote = self.quote(pair, now)?;
        let rules = self.market.rules(pair)?.clone();
        let market_now = self.market.time(now);
        let midnight = market_now.seconds().div_euclid(86_400).saturating_mul(86_400);
        // Five-minute candles cover a day in few enough rows, and are kept.
        let candles = self.market.candles(pair, 300, now);
        let of = |from: i64| {
            let rows: Vec<_> = candles.iter().filter(|row| row.start >= from).collect();
            let volume: Decimal = rows.iter().map(|row| row.volume).sum();
            let turnover: Decimal = rows.iter().map(|row| row.turnover).sum();
            (
                volume,
                turnover.checked_div(volume).unwrap_or(quote.last),
                rows.iter().map(|row| u64::from(row.count)).sum::<u64>(),
                rows.iter().map(|row| row.low).min().unwrap_or(quote.last),
                rows.iter().map(|row| row.high).max().unwrap_or(quote.last),
                rows.first().map_or(quote.last, |row| row.open),
            )
        };
        let (today, day) = (of(midnight), of(market_now.seconds().saturating_sub(86_400)));
        let decimals = rules.price_decimals.max(5);
        let price = |value: Decimal| Json::text(fixed(value, decimals));
        let volume = |value: Decimal| Json::text(fixed(value, 8));
        let side = |depth: &[(Decimal, Decimal)], otherwise: Decimal| {
            let (best, offered) = depth.first().copied().unwrap_or((otherwise, Decimal::ZERO));
            Json::list([
                price(best),
                Json::text(offered.trunc().normalize()),
                Json::text(fixed(offered, 3)),
            ])
        };
        let asks = self.depth(pair, Side::Buy, 1, now);
        let bids = self.depth(pair, Side::Sell, 1, now);
        let row = Json::object([
            ("a", side(&asks, quote.ask)),
            ("b", side(&bids, quote.bid)),
            ("c", Json::list([price(quote.last), volume(quote.volume)])),
            ("v", Json::list([volume(today.0), volume(day.0)])),
            ("p", Json::list([price(today.1), price(day.1)])),
            ("t", Json::list([Json::number(today.2), Json::number(day.2)])),
            ("l", Json::list([price(today.3), price(day.3)])),
            ("h", Json::list([price(today.4), price(day.4)])),
            ("o", price(today.5)),
        ]);
        Some((rules.id.to_string(), row))
    }

    /// Candle times are the market's; see the front page of `market`.
    fn ohlc(&mut self, params: &Params, now: Moment) -> Result<Json, Refusal> {
        let (pair, rules) = self.pair_named(params)?;
        let interval: i64 = params.get("interval").unwrap_or("1").parse().unwrap_or(0);
        if !INTERVALS.contains(&interval) {
            return Err(Refusal::InvalidArguments("interval"));
        }
        let since: i64 = match params.get("since") {
            None => 0,
            Some(text) => text.parse().map_err(|_| Refusal::InvalidArguments("since"))?,
        };
        let candles = self.market.candles(pair, interval.saturating_mul(60), now);
        let committed = candles.len().saturating_sub(2);
        let last = candles.get(committed).map_or(0, |row| row.start);
        let price = |value: Decimal| Json::text(fixed(value, rules.price_decimals));
        let rows = candles.iter().filter(|row| row.start >= since).map(|row| {
            Json::list([
                Json::number(row.start),
                price(row.open),
                price(row.high),
                price(row.low),
                price(row.close),
                price(row.average()),
                Json::text(fixed(row.volume, 8)),
                Json::number(row.count),
            ])
        });
        Ok(Json::object([
            (rules.id.to_string(), Json::list(rows)),
            ("last".to_owned(), Json::number(last)),
        ]))
    }

    fn depth_reply(&mut self, params: &Params, now: Moment) -> Result<Json, Refusal> {
        let (pair, rules) = self.pair_named(params)?;
        let count: usize = params.get("count").unwrap_or("100").parse().unwrap_or(0);
        if !(1..=500).contains(&count) {
            return Err(Refusal::InvalidArguments("count"));
        }
        let decimals = rules.price_decimals.max(5);
        let rows = |levels: Vec<(Decimal, Decimal)>| {
            Json::list(levels.into_iter().map(|(price, volume)| {
                Json::list([
                    Json::text(fixed(price, decimals)),
                    Json::text(fixed(volume, 3.max(rules.volume_decimals))),
                    Json::number(now.seconds()),
                ])
            }))
        };
        let asks = rows(self.depth(pair, Side::Buy, count, now));
        let bids = rows(self.depth(pair, Side::Sell, count, now));
        Ok(Json::object([(
            rules.id.to_string(),
            Json::object([("asks", asks), ("bids", bids)]),
        )]))
    }

    fn public_trades(&mut self, params: &Params, now: Moment) -> Result<Json, Refusal> {
        let (pair, rules) = self.pair_named(params)?;
        let count: usize = params.get("count").unwrap_or("1000").parse().unwrap_or(0);
        if !(1..=1_000).contains(&count) {
            return Err(Refusal::InvalidArguments("count"));
        }
        let since = match params.get("since") {
            None => None,
            Some(text) => Some(read_since(text).ok_or(Refusal::InvalidArguments("since"))?),
        };
        let trades = self.market.trades(pair, now, since, count);
        let last = trades.last().map_or(now, |trade| trade.at);
        let decimals = rules.price_decimals.max(5);
        let rows = trades.into_iter().map(|trade| {
            Json::list([
                Json::text(fixed(trade.price, decimals)),
                Json::text(fixed(trade.volume, 8)),
                Json::number(trade.at),
                Json::text(if trade.is_sell { "s" } else { "b" }),
                Json::text("m"),
                Json::text(""),
                Json::number(trade.number),
            ])
        });
        Ok(Json::object([
            (rules.id.to_string(), Json::list(rows)),
            ("last".to_owned(), Json::text(i128::from(last.micros()) * 1_000)),
        ]))
    }

    fn spread_reply(&mut self, params: &Params, now: Moment) -> Result<Json, Refusal> {
        let (pair, rules) = self.pair_named(params)?;
        let decimals = rules.price_decimals.max(5);
        let mut rows = Vec::new();
        for trade in self.market.trades(pair, now, None, 200) {
            if let Some(quote) = self.quote(pair, trade.at) {
                rows.push(Json::list([
                    Json::number(trade.at.seconds()),
                    Json::text(fixed(quote.bid, decimals)),
                    Json::text(fixed(quote.ask, decimals)),
                ]));
            }
        }
        Ok(Json::object([
            (rules.id.to_string(), Json::List(rows)),
            ("last".to_owned(), Json::number(now.seconds())),
        ]))
    }

    /// Whether a public method answers in this mode.
    pub(crate) const fn is_public_open(&self, endpoint: Public) -> bool {
        !matches!(self.mode, Mode::Maintenance) || matches!(endpoint, Public::Time | Public::SystemStatus)
    }
}

/// Nanoseconds, as the exchange hands them out, or seconds.
fn read_since(text: &str) -> Option<Moment> {
    let number = bursar_model::decimal::parse(text)
        .ok()
        .or_else(|| text.parse::<Decimal>().ok())?;
    let micros = if number > Decimal::from(100_000_000_000_000_i64) {
        number.checked_div(Decimal::ONE_THOUSAND)?
    } else {
        number.checked_mul(Decimal::from(MICROS))?
    };
    i64::try_from(micros.trunc()).ok().map(Moment::from_micros)
}

/// `Time`: the second of the wall, twice.
fn time(now: Moment) -> Json {
    let seconds = Moment::from_seconds(now.seconds());
    Json::object([
        ("unixtime", Json::number(seconds.seconds())),
        (
            "rfc1123",
            Json::text(seconds.timestamp().strftime("%a, %d %b %y %H:%M:%S +0000")),
        ),
    ])
}
