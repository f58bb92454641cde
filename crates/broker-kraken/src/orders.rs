//! Orders on their way out, and orders as Kraken reports them.

use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_model::{ClientOrderId, OrderKind, OrderTerms, Price, Quantity, Side, TimeInForce};
use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::form::Form;
use crate::names::{Directory, KrakenPair, Named};
use crate::text::{Text, Unreadable, decimal, unreadable};
use crate::wire::{WireDescription, WireOrder};

/// The parameters of `AddOrder`. After `deadline` (venue time) the exchange must refuse the order.
pub(crate) fn add_order(
    terms: &OrderTerms,
    pair: &KrakenPair,
    id: &ClientOrderId,
    deadline: Timestamp,
) -> Form {
    let mut form = Form::new()
        .with("pair", &pair.altname)
        .with("type", terms.side.into())
        .with("ordertype", terms.kind.name())
        .with("volume", &plain(terms.quantity.value()));
    match &terms.kind {
        OrderKind::Market => {}
        OrderKind::Limit { price } => form.add("price", &plain(price.value())),
        OrderKind::StopLoss { trigger } | OrderKind::TakeProfit { trigger } => {
            form.add("price", &plain(trigger.value()));
        }
        OrderKind::StopLossLimit { trigger, price } | OrderKind::TakeProfitLimit { trigger, price } => {
            form.add("price", &plain(trigger.value()));
            form.add("price2", &plain(price.value()));
        }
    }
    match (terms.time_in_force, &terms.kind) {
        // A market order takes at once or not at all; Kraken has no further word for it.
        (TimeInForce::GoodTilCancelled, _) | (TimeInForce::ImmediateOrCancel, OrderKind::Market) => {}
        (TimeInForce::ImmediateOrCancel, _) => form.add("timeinforce", "IOC"),
        (TimeInForce::GoodTilDate(until), _) => {
            form.add("timeinforce", "GTD");
            form.add("expiretm", &until.as_second().to_string());
        }
    }
    // The fee in the quote asset, said out loud: the default differs between buys and sells.
    form.add("oflags", if terms.post_only { "post,fciq" } else { "fciq" });
    form.add("cl_ord_id", id.as_str());
    form.add("deadline", &written_deadline(deadline).to_string());
    form
}

/// Whole milliseconds, downwards: the exchange never gets more time than was recorded.
fn written_deadline(deadline: Timestamp) -> Timestamp {
    i64::try_from(deadline.as_nanosecond().div_euclid(1_000_000))
        .ok()
        .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
        .unwrap_or(deadline)
}

/// Digits and a dot. `Decimal` never writes an exponent.
fn plain(value: Decimal) -> String {
    value.normalize().to_string()
}

/// Whether Kraken's description of a new order, for example `buy 0.001 XBTUSD @ limit 60000.0`, is
/// the order that was sent.
pub(crate) fn agrees(description: &str, terms: &OrderTerms, directory: &Directory) -> bool {
    let mut words = description.split_whitespace();
    let side: &'static str = terms.side.into();
    let same = |word: Option<&str>, value: Decimal| word.is_some_and(|word| decimal(word) == Ok(value));
    let head = words.next() == Some(side)
        && same(words.next(), terms.quantity.value())
        && words.next().is_some_and(
            |name| matches!(directory.named(name), Named::Pair(named) if *named.pair() == terms.pair),
        )
        && words.next() == Some("@");
    let mut says = |text: &str| text.split(' ').all(|word| words.next() == Some(word));
    let kind = match &terms.kind {
        OrderKind::Market => says("market"),
        OrderKind::Limit { price } => says("limit") && same(words.next(), price.value()),
        OrderKind::StopLoss { trigger } => says("stop loss") && same(words.next(), trigger.value()),
        OrderKind::TakeProfit { trigger } => says("take profit") && same(words.next(), trigger.value()),
        OrderKind::StopLossLimit { trigger, price } => {
            says("stop loss")
                && same(words.next(), trigger.value())
                && words.next() == Some("->")
                && words.next() == Some("limit")
                && same(words.next(), price.value())
        }
        OrderKind::TakeProfitLimit { trigger, price } => {
            says("take profit")
                && same(words.next(), trigger.value())
                && words.next() == Some("->")
                && words.next() == Some("limit")
                && same(words.next(), price.value())
        }
    };
    // Anything more, such as leverage, was not asked for.
    head && kind && words.next().is_none()
}

/// An order of one of Kraken's lists; `None` for what is not traded through us, such as margin
/// venues, and cannot be ours.
pub(crate) fn venue_order(
    id: &str,
    wire: &WireOrder,
    directory: &Directory,
) -> Result<Option<VenueOrder>, Unreadable> {
    let client_order_id = wire.cl_ord_id.as_deref().and_then(client_order_id);
    let spelling = wire.descr.pair.as_deref().unwrap_or_default();
    let pair = match directory.named(spelling) {
        Named::Pair(known) => known.pair().clone(),
        Named::BeyondUs => return Ok(None),
        Named::Unknown => directory
            .unlisted(spelling)
            .ok_or_else(|| unreadable(spelling, "a pair that Kraken lists"))?,
    };
    // Volumes in the quote asset belong to market buys by amount, which we never place; volume zero
    // closes a margin position.
    let in_quote = wire.oflags.split(',').any(|flag| flag == "viqc");
    let Ok(quantity) = Quantity::new(wire.vol.decimal()?) else {
        return Ok(None);
    };
    if in_quote {
        return Ok(None);
    }
    Ok(Some(VenueOrder {
        id: id.parse().map_err(|_| unreadable(id, "an order id"))?,
        client_order_id,
        pair,
        side: side(wire.descr.side.as_deref().unwrap_or_default())?,
        kind: kind(&wire.descr),
        quantity,
        filled: wire.vol_exec.decimal()?,
        status: status(&wire.status)?,
        opened_at: wire.opentm.moment()?,
        reason: wire
            .reason
            .clone()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect(),
    }))
}

/// When an order of the list of closed orders ended.
pub(crate) fn ended_at(wire: &WireOrder) -> Result<Option<Timestamp>, Unreadable> {
    wire.closetm.as_ref().map_or(Ok(None), Text::optional_moment)
}

/// Kraken keeps 128 bits: a UUID comes back as a UUID, perhaps spelled otherwise.
pub(crate) fn client_order_id(text: &str) -> Option<ClientOrderId> {
    match Uuid::try_parse(text) {
        Ok(uuid) => uuid.hyphenated().to_string().parse().ok(),
        Err(_) => text.parse().ok(),
    }
}

/// Whether an order of this id may be one of ours, which are random UUIDs.
pub(crate) fn may_be_ours(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|uuid| uuid.get_version() == Some(uuid::Version::Random))
}

pub(crate) fn side(word: &str) -> Result<Side, Unreadable> {
    match word {
        "buy" | "b" => Ok(Side::Buy),
        "sell" | "s" => Ok(Side::Sell),
        _ => Err(unreadable(word, "a side")),
    }
}

fn status(word: &str) -> Result<VenueOrderStatus, Unreadable> {
    match word {
        "pending" | "open" => Ok(VenueOrderStatus::Live),
        "closed" => Ok(VenueOrderStatus::Filled),
        "canceled" => Ok(VenueOrderStatus::Cancelled),
        "expired" => Ok(VenueOrderStatus::Expired),
        _ => Err(unreadable(word, "the status of an order")),
    }
}

/// `None` for what we never place: other kinds, prices relative to the market, borrowed money.
fn kind(descr: &WireDescription) -> Option<OrderKind> {
    if descr
        .leverage
        .as_deref()
        .is_some_and(|leverage| leverage != "none")
    {
        return None;
    }
    let price = |text: &Option<Text>| Price::new(text.as_ref()?.decimal().ok()?).ok();
    match descr.ordertype.as_deref()? {
        "market" => Some(OrderKind::Market),
        "limit" => Some(OrderKind::Limit {
            price: price(&descr.price)?,
        }),
        "stop-loss" => Some(OrderKind::StopLoss {
            trigger: price(&descr.price)?,
        }),
        "take-profit" => Some(OrderKind::TakeProfit {
            trigger: price(&descr.price)?,
        }),
        "stop-loss-limit" => Some(OrderKind::StopLossLimit {
            trigger: price(&descr.price)?,
            price: price(&descr.price2)?,
        }),
        "take-profit-limit" => Some(OrderKind::TakeProfitLimit {
            trigger: price(&descr.price)?,
            price: price(&descr.price2)?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::directory;

    fn terms(kind: OrderKind) -> OrderTerms {
        OrderTerms {
            pair: "BTC-USD".parse().unwrap(),
            side: Side::Buy,
            kind,
            quantity: "0.00100000".parse().unwrap(),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: false,
        }
    }

    #[test]
    fn i8_a_deadline_is_written_downwards_on_both_sides_of_1970() {
        for (deadline, written) in [
            ("2025-01-01T00:00:10.1239999Z", "2025-01-01T00:00:10.123Z"),
            ("0618-08-23T12:56:46.8559999Z", "0618-08-23T12:56:46.855Z"),
        ] {
            let deadline: Timestamp = deadline.parse().unwrap();
            assert_eq!(written_deadline(deadline).to_string(), written);
        }
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn body(terms: &OrderTerms) -> String {
        let directory = directory();
        let id = "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap();
        let deadline = "2025-01-01T00:00:10.1239999Z".parse().unwrap();
        add_order(terms, directory.pair(&terms.pair).unwrap(), &id, deadline).numbered(1)
    }

    const TAIL: &str =
        "&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876&deadline=2025-01-01T00%3A00%3A10.123Z";

    #[test]
    fn every_kind_has_its_parameters() {
        let (trigger, limit) = (price("55000"), price("54900.50"));
        for (kind, expected) in [
            (OrderKind::Market, "market&volume=0.001"),
            (
                OrderKind::Limit { price: limit },
                "limit&volume=0.001&price=54900.5",
            ),
            (
                OrderKind::StopLoss { trigger },
                "stop-loss&volume=0.001&price=55000",
            ),
            (
                OrderKind::TakeProfit { trigger },
                "take-profit&volume=0.001&price=55000",
            ),
            (
                OrderKind::StopLossLimit {
                    trigger,
                    price: limit,
                },
                "stop-loss-limit&volume=0.001&price=55000&price2=54900.5",
            ),
            (
                OrderKind::TakeProfitLimit {
                    trigger,
                    price: limit,
                },
                "take-profit-limit&volume=0.001&price=55000&price2=54900.5",
            ),
        ] {
            assert_eq!(
                body(&terms(kind)),
                format!("nonce=1&pair=XBTUSD&type=buy&ordertype={expected}&oflags=fciq{TAIL}")
            );
        }
    }

    #[test]
    fn how_long_and_how_it_waits_is_said() {
        let mut order = terms(OrderKind::Limit {
            price: price("60000"),
        });
        order.side = Side::Sell;
        order.post_only = true;
        order.time_in_force = TimeInForce::GoodTilDate("2025-01-01T01:00:00.9Z".parse().unwrap());
        assert!(body(&order).contains(
            "type=sell&ordertype=limit&volume=0.001&price=60000&timeinforce=GTD&expiretm=1735693200&oflags=post%2Cfciq"
        ));

        order.post_only = false;
        order.time_in_force = TimeInForce::ImmediateOrCancel;
        assert!(body(&order).contains("price=60000&timeinforce=IOC&oflags=fciq"));

        order.kind = OrderKind::Market;
        assert!(!body(&order).contains("timeinforce"));
    }

    #[test]
    fn a_small_number_is_written_without_an_exponent() {
        let mut order = terms(OrderKind::Limit {
            price: price("0.00000064"),
        });
        order.quantity = "0.00000001".parse().unwrap();

        assert!(body(&order).contains("volume=0.00000001&price=0.00000064&"));
    }

    #[test]
    fn a_description_agrees_only_with_its_order() {
        let directory = directory();
        let agrees = |text: &str, kind: OrderKind| agrees(text, &terms(kind), &directory);
        let limit = || OrderKind::Limit {
            price: price("60000"),
        };
        let (trigger, price) = (price("55000"), price("54900"));

        assert!(agrees("buy 0.00100000 XBTUSD @ limit 60000.0", limit()));
        assert!(agrees("buy 0.00100000 XBTUSD @ market", OrderKind::Market));
        assert!(agrees(
            "buy 0.001 XBTUSD @ stop loss 55000.0",
            OrderKind::StopLoss { trigger }
        ));
        assert!(agrees(
            "buy 0.001 XBTUSD @ take profit 55000.0",
            OrderKind::TakeProfit { trigger }
        ));
        assert!(agrees(
            "buy 0.001 XBTUSD @ stop loss 55000.0 -> limit 54900.0",
            OrderKind::StopLossLimit { trigger, price }
        ));
        assert!(agrees(
            "buy 0.001 XBTUSD @ take profit 55000.0 -> limit 54900.0",
            OrderKind::TakeProfitLimit { trigger, price }
        ));
        for text in [
            "sell 0.00100000 XBTUSD @ limit 60000.0",
            "buy 0.00200000 XBTUSD @ limit 60000.0",
            "buy 0.00100000 ETHUSD @ limit 60000.0",
            "buy 0.00100000 XBTUSD @ limit 60000.1",
            "buy 0.00100000 XBTUSD @ market",
            "buy 0.00100000 XBTUSD @ limit 60000.0 with 2:1 leverage",
            "buy 0.00100000 XBTUSD limit 60000.0",
            "",
        ] {
            assert!(!agrees(text, limit()), "`{text}`");
        }
    }

    #[test]
    fn an_id_comes_back_in_any_spelling() {
        let id = client_order_id("6D1B345E282140E2AD834ECB18A06876").unwrap();

        assert_eq!(id.as_str(), "6d1b345e-2821-40e2-ad83-4ecb18a06876");
        assert_eq!(client_order_id("by-hand-7").unwrap().as_str(), "by-hand-7");
        assert_eq!(client_order_id("two words"), None);
    }
}
