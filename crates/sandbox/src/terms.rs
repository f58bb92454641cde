//! What an order request says, read strictly: every malformed argument has its refusal.

use std::time::Duration;

use bursar_model::Side;
use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::moment::Moment;
use crate::orders::{CloseTerms, Distance, Force, OrderType, Terms};
use crate::pairs::{PairNo, PairRules};
use crate::params::Params;
use crate::refusal::{Refusal, number};

/// The largest volume and price that are read; keeps every product within a decimal.
const LARGEST: i64 = 1_000_000_000_000;

/// What relative prices refer to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) pair: PairNo,
    pub(crate) rules: &'a PairRules,
    pub(crate) last: Decimal,
    pub(crate) now: Moment,
}

/// Reads the terms of an order. The pair is known already.
pub(crate) fn read(params: &Params, context: Context<'_>) -> Result<Terms, Refusal> {
    let side = match params.get("type") {
        Some("buy") => Side::Buy,
        Some("sell") => Side::Sell,
        _ => return Err(Refusal::InvalidArguments("type")),
    };
    let kind = params
        .get("ordertype")
        .and_then(OrderType::from_name)
        .ok_or(Refusal::InvalidArguments("ordertype"))?;
    let flags = Flags::read(params, side, kind)?;
    let volume = volume(params.get("volume"), context.rules)?;
    let shown = shown_volume(params, kind, volume)?;
    let prices = Prices::read(params.get("price"), params.get("price2"), side, kind, context)?;
    let force = force(params, kind)?;
    let expires = expiry(params, force, context.now)?;
    let starts = moment(params.get("starttm"), context.now, "starttm")?;
    let (userref, cl_ord_id) = references(params)?;
    if let Some(stp) = params.get("stptype")
        && !["cancel-newest", "cancel-oldest", "cancel-both"].contains(&stp)
    {
        return Err(Refusal::InvalidArguments("stptype"));
    }
    match params.get("trigger") {
        None | Some("last") => {}
        Some("index") => return Err(Refusal::InvalidArguments("Index unavailable")),
        Some(_) => return Err(Refusal::InvalidArguments("trigger")),
    }
    if params.get("leverage").is_some_and(|leverage| leverage != "none") {
        return Err(Refusal::CannotOpenPosition);
    }
    if params.flag("reduce_only", false) {
        return Err(Refusal::ReduceOnlyNoPosition);
    }
    Ok(Terms {
        pair: context.pair,
        side,
        kind,
        volume,
        shown,
        limit: prices.limit,
        trigger: prices.trigger,
        trailing: prices.trailing,
        limit_offset: prices.limit_offset,
        force,
        starts,
        expires,
        post_only: flags.post_only,
        no_price_protection: flags.no_price_protection,
        flags: flags.text,
        userref,
        cl_ord_id,
        close: close_terms(params)?,
        deadline: deadline(params)?,
        received: params.received.unwrap_or(context.now),
    })
}

struct Flags {
    post_only: bool,
    no_price_protection: bool,
    text: String,
}

impl Flags {
    fn read(params: &Params, side: Side, kind: OrderType) -> Result<Self, Refusal> {
        let given: Vec<&str> = params
            .get("oflags")
            .map(|text| {
                text.split(',')
                    .map(str::trim)
                    .filter(|flag| !flag.is_empty())
                    .collect()
            })
            .unwrap_or_default();
        if given.contains(&"viqc") {
            return Err(if side == Side::Buy && kind == OrderType::Market {
                Refusal::FeatureDisabled("viqc")
            } else {
                Refusal::InvalidArguments("viqc")
            });
        }
        let known = ["post", "fcib", "fciq", "nompp"];
        let excludes = given.contains(&"fcib") && given.contains(&"fciq");
        if excludes || given.iter().any(|flag| !known.contains(flag)) {
            return Err(Refusal::InvalidArguments("oflags"));
        }
        let post_only = given.contains(&"post");
        if post_only && kind != OrderType::Limit {
            return Err(Refusal::InvalidArguments("oflags"));
        }
        let mut text = given.clone();
        if !given.contains(&"fcib") && !given.contains(&"fciq") {
            text.insert(0, "fciq");
        }
        Ok(Self {
            post_only,
            no_price_protection: given.contains(&"nompp"),
            text: text.join(","),
        })
    }
}

pub(crate) fn volume(text: Option<&str>, rules: &PairRules) -> Result<Decimal, Refusal> {
    let volume = number(text.unwrap_or_default(), "volume")?;
    let fits = volume > Decimal::ZERO
        && volume <= Decimal::from(LARGEST)
        && volume.normalize().scale() <= rules.volume_decimals;
    if fits {
        Ok(volume)
    } else {
        Err(Refusal::InvalidArguments("volume"))
    }
}

fn shown_volume(params: &Params, kind: OrderType, volume: Decimal) -> Result<Option<Decimal>, Refusal> {
    let shown = match (params.get("displayvol"), kind) {
        (None, OrderType::Iceberg) => return Err(Refusal::InvalidArguments("displayvol")),
        (Some(text), OrderType::Iceberg) => number(text, "displayvol")?,
        _ => return Ok(None),
    };
    if shown > volume || shown * Decimal::from(15) < volume {
        return Err(Refusal::InvalidArguments("displayvol"));
    }
    Ok(Some(shown))
}

struct Prices {
    limit: Option<Decimal>,
    trigger: Option<Decimal>,
    trailing: Option<Distance>,
    limit_offset: Option<Decimal>,
}

impl Prices {
    fn read(
        price: Option<&str>,
        price2: Option<&str>,
        side: Side,
        kind: OrderType,
        context: Context<'_>,
    ) -> Result<Self, Refusal> {
        let mut prices = Self {
            limit: None,
            trigger: None,
            trailing: None,
            limit_offset: None,
        };
        let required =
            |text: Option<&'_ str>| text.map(str::to_owned).ok_or(Refusal::InvalidArguments("price"));
        match kind {
            OrderType::Market => {}
            OrderType::Limit | OrderType::Iceberg => {
                prices.limit = Some(resolve(
                    &required(price)?,
                    side,
                    false,
                    context.last,
                    context.rules,
                )?);
            }
            OrderType::StopLoss
            | OrderType::TakeProfit
            | OrderType::StopLossLimit
            | OrderType::TakeProfitLimit => {
                let rises = !kind.is_target();
                let trigger = resolve(&required(price)?, side, rises, context.last, context.rules)?;
                prices.trigger = Some(trigger);
                if kind.has_limit() {
                    let price2 = price2.ok_or(Refusal::InvalidArguments("price2"))?;
                    prices.limit = Some(resolve(price2, side, rises, trigger, context.rules)?);
                }
            }
            OrderType::TrailingStop | OrderType::TrailingStopLimit => {
                let distance = trailing_distance(&required(price)?)?;
                let away = distance.at_price(context.last);
                let trigger = match side {
                    Side::Sell => context.last - away,
                    Side::Buy => context.last + away,
                };
                prices.trigger = Some(on_tick(trigger, context.rules)?);
                prices.trailing = Some(distance);
                if kind == OrderType::TrailingStopLimit {
                    let price2 = price2.ok_or(Refusal::InvalidArguments("price2"))?;
                    let limit = resolve(price2, side, true, trigger, context.rules)?;
                    prices.limit = Some(limit);
                    prices.limit_offset = Some(limit - trigger);
                }
            }
        }
        Ok(prices)
    }
}

/// A price: absolute, or `+`, `-` or `#` from `reference`, in units or percent. `rises` says which
/// way `#` goes for a buy.
pub(crate) fn resolve(
    text: &str,
    side: Side,
    rises: bool,
    reference: Decimal,
    rules: &PairRules,
) -> Result<Decimal, Refusal> {
    let (sign, rest) = match text.as_bytes().first() {
        Some(b'+') => (Some(true), text.get(1..)),
        Some(b'-') => (Some(false), text.get(1..)),
        Some(b'#') => (Some((side == Side::Buy) == rises), text.get(1..)),
        _ => (None, Some(text)),
    };
    let rest = rest.unwrap_or_default();
    let (digits, is_percent) = match rest.strip_suffix('%') {
        Some(digits) if sign.is_some() => (digits, true),
        _ => (rest, false),
    };
    let value = bursar_model::decimal::parse(digits).map_err(|_| Refusal::PriceArgument)?;
    if value < Decimal::ZERO || value > Decimal::from(LARGEST) {
        return Err(Refusal::PriceArgument);
    }
    let Some(upward) = sign else {
        return if value > Decimal::ZERO {
            Ok(value)
        } else {
            Err(Refusal::PriceArgument)
        };
    };
    let offset = if is_percent {
        reference * value * Decimal::new(1, 2)
    } else {
        value
    };
    on_tick(
        if upward {
            reference + offset
        } else {
            reference - offset
        },
        rules,
    )
}

fn on_tick(price: Decimal, rules: &PairRules) -> Result<Decimal, Refusal> {
    let ticks = price.checked_div(rules.tick).ok_or(Refusal::PriceArgument)?;
    let price = ticks.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero) * rules.tick;
    if price > Decimal::ZERO {
        Ok(price)
    } else {
        Err(Refusal::PriceArgument)
    }
}

fn trailing_distance(text: &str) -> Result<Distance, Refusal> {
    let rest = text.strip_prefix('+').ok_or(Refusal::PriceArgument)?;
    let (digits, is_percent) = match rest.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (rest, false),
    };
    let value = bursar_model::decimal::parse(digits).map_err(|_| Refusal::PriceArgument)?;
    if value <= Decimal::ZERO || value > Decimal::from(LARGEST) {
        return Err(Refusal::PriceArgument);
    }
    if is_percent {
        if value >= Decimal::ONE_HUNDRED {
            return Err(Refusal::PriceArgument);
        }
        Ok(Distance::Percent(value))
    } else {
        Ok(Distance::Absolute(value))
    }
}

fn force(params: &Params, kind: OrderType) -> Result<Force, Refusal> {
    let force = match params.get("timeinforce") {
        None | Some("GTC") => Force::Gtc,
        Some("IOC") => Force::Ioc,
        Some("GTD") => Force::Gtd,
        Some("FOK") => Force::Fok,
        Some(_) => return Err(Refusal::InvalidArguments("timeinforce")),
    };
    let fits = match force {
        Force::Gtc | Force::Gtd => true,
        Force::Ioc => kind == OrderType::Limit || kind == OrderType::Market,
        Force::Fok => kind == OrderType::Limit,
    };
    let is_post = params.get("oflags").is_some_and(|flags| flags.contains("post"));
    if fits && !(is_post && matches!(force, Force::Ioc | Force::Fok)) {
        Ok(force)
    } else {
        Err(Refusal::InvalidArguments("timeinforce"))
    }
}

/// GTD needs an end, from five seconds to a month away.
fn expiry(params: &Params, force: Force, now: Moment) -> Result<Option<Moment>, Refusal> {
    const MONTH: i64 = 31 * 24 * 3_600;
    let expires = moment(params.get("expiretm"), now, "expiretm")?;
    match expires {
        None if force == Force::Gtd => Err(Refusal::InvalidArguments("expiretm")),
        None => Ok(None),
        Some(at) if at < now.plus_seconds(5) || at > now.plus_seconds(MONTH) => {
            Err(Refusal::InvalidArguments("expiretm"))
        }
        Some(at) => Ok(Some(at)),
    }
}

/// `0` is none, `+n` is seconds from now, anything else is Unix time.
fn moment(text: Option<&str>, now: Moment, argument: &'static str) -> Result<Option<Moment>, Refusal> {
    let refuse = || Refusal::InvalidArguments(argument);
    let Some(text) = text else { return Ok(None) };
    if let Some(seconds) = text.strip_prefix('+') {
        let seconds: u32 = seconds.parse().map_err(|_| refuse())?;
        return Ok(Some(now.plus(Duration::from_secs(seconds.into()))));
    }
    let seconds: u32 = text.parse().map_err(|_| refuse())?;
    Ok((seconds > 0).then(|| Moment::from_seconds(seconds.into())))
}

fn deadline(params: &Params) -> Result<Option<Moment>, Refusal> {
    params
        .get("deadline")
        .map(|text| text.parse::<Timestamp>().map(Moment::from_timestamp))
        .transpose()
        .map_err(|_| Refusal::InvalidArguments("deadline"))
}

/// The client's own marks: a number, or an id; never both.
fn references(params: &Params) -> Result<(Option<i32>, Option<String>), Refusal> {
    let userref = params
        .get("userref")
        .map(|text| {
            text.parse::<i32>()
                .map_err(|_| Refusal::InvalidArguments("userref"))
        })
        .transpose()?;
    let cl_ord_id = params.get("cl_ord_id").map(str::to_owned);
    if let Some(id) = &cl_ord_id {
        if !is_client_order_id(id) {
            return Err(Refusal::InvalidArguments("cl_ord_id"));
        }
        if userref.is_some_and(|userref| userref != 0) {
            return Err(Refusal::InvalidArguments("userref"));
        }
    }
    Ok((userref, cl_ord_id))
}

/// A UUID of 36 or 32 characters, or up to 18 of `A-Z a-z 0-9 _ -`.
pub(crate) fn is_client_order_id(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    match text.len() {
        36 => {
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            lengths == [8, 4, 4, 4, 12] && text.split('-').all(hex)
        }
        32 => hex(text),
        1..=18 => text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
        _ => false,
    }
}

fn close_terms(params: &Params) -> Result<Option<CloseTerms>, Refusal> {
    let Some(name) = params.get("close[ordertype]") else {
        return Ok(None);
    };
    let kind = OrderType::from_name(name)
        .filter(|kind| *kind != OrderType::Market)
        .ok_or(Refusal::InvalidArguments("close[ordertype]"))?;
    let price = params.get("close[price]").map(str::to_owned);
    if price.is_none() {
        return Err(Refusal::InvalidArguments("close[price]"));
    }
    let price2 = params.get("close[price2]").map(str::to_owned);
    if price2.is_none() && kind.is_triggered() && kind.has_limit() {
        return Err(Refusal::InvalidArguments("close[price2]"));
    }
    Ok(Some(CloseTerms { kind, price, price2 }))
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use crate::pairs::Pairs;

    use super::*;

    #[test]
    fn relative_prices_are_resolved_from_the_reference() {
        let pairs = Pairs::built_in();
        let rules = pairs.get(pairs.find("XBTUSD").unwrap()).unwrap();
        let at = |text, side, rises| resolve(text, side, rises, dec!(60000), rules);

        assert_eq!(at("+100", Side::Buy, false), Ok(dec!(60100)));
        assert_eq!(at("-100.04", Side::Buy, false), Ok(dec!(59900.0)));
        assert_eq!(at("-5%", Side::Buy, false), Ok(dec!(57000)));
        assert_eq!(at("#50", Side::Buy, false), Ok(dec!(59950)));
        assert_eq!(at("#50", Side::Sell, false), Ok(dec!(60050)));
        assert_eq!(at("#1%", Side::Sell, true), Ok(dec!(59400)));
        assert_eq!(at("61000.5", Side::Buy, false), Ok(dec!(61000.5)));
        for bad in [
            "", "-", "6.4e-7", "1,000", "0", "-60000", "-100%", "5%", "--1", " 60",
        ] {
            assert_eq!(at(bad, Side::Buy, false), Err(Refusal::PriceArgument), "{bad}");
        }
    }

    #[test]
    fn client_order_ids_have_three_forms() {
        for id in [
            "6d1b345e-2821-40e2-ad83-4ecb18a06876",
            "da8e4ad59b78481c93e589746b0cf91f",
            "arb-20240509-00010",
            "a",
        ] {
            assert!(is_client_order_id(id), "{id}");
        }
        for id in [
            "",
            "6d1b345e-2821-40e2-ad83-4ecb18a0687",
            "6d1b345e-282140e2--ad83-4ecb18a06876",
            "da8e4ad59b78481c93e589746b0cf91z",
            "nineteen-characters",
            "with space",
            "ünï",
        ] {
            assert!(!is_client_order_id(id), "{id}");
        }
    }
}
