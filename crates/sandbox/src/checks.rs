//! The exchange's checks of a new order, in its order, with their refusals.

use bursar_model::Side;
use rust_decimal::Decimal;

use crate::exchange::Exchange;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::orders::{CustomerNo, OrderType, Terms};
use crate::pairs::PairRules;
use crate::refusal::Refusal;
use crate::settings::PostOnlyCrossing;

impl Exchange {
    /// The exchange's checks, in its order: modes, grid and minimums, funds, ids, times, caps.
    pub(crate) fn check(&self, customer: CustomerNo, terms: &Terms, now: Moment) -> Result<(), Refusal> {
        let rules = self.market.rules(terms.pair).ok_or(Refusal::UnknownAssetPair)?;
        for mode in [rules.mode, self.mode] {
            check_mode(mode, terms)?;
        }
        let account = self.customer(customer).ok_or(Refusal::InvalidKey)?;
        for asset in [&rules.base, &rules.quote] {
            let code = self.market.pairs.assets.code(asset);
            let restricted = &account.spec.restricted_assets;
            if restricted.contains(code) || restricted.contains(&**asset) {
                return Err(Refusal::TradingRestricted);
            }
        }
        for price in [terms.limit, terms.trigger.filter(|_| terms.trailing.is_none())] {
            check_grid(price, rules)?;
        }
        if terms.volume < rules.order_minimum {
            return Err(Refusal::OrderMinimum);
        }
        let quote = self.quote(terms.pair, now).ok_or(Refusal::Unavailable)?;
        let price = terms.limit.or(terms.trigger).unwrap_or(quote.last);
        if price * terms.volume < rules.cost_minimum {
            return Err(Refusal::CostMinimum);
        }
        self.check_funds(customer, terms, rules, now)?;
        let is_taken = terms.cl_ord_id.as_ref().is_some_and(|id| {
            account
                .live
                .iter()
                .filter_map(|number| self.order(*number))
                .any(|order| order.terms.cl_ord_id.as_ref() == Some(id))
        });
        if is_taken {
            return Err(Refusal::InvalidArguments("cl_ord_id not unique"));
        }
        check_deadline(terms.deadline, terms.received, now)?;
        let on_pair = account
            .live
            .iter()
            .filter_map(|number| self.order(*number))
            .filter(|order| order.terms.pair == terms.pair)
            .count();
        let is_resting = terms.kind != OrderType::Market;
        if is_resting
            && account
                .spec
                .limit_tier
                .open_orders()
                .is_some_and(|most| on_pair >= most)
        {
            return Err(Refusal::OrdersLimit);
        }
        if terms.starts.is_some_and(|starts| starts > now) {
            let waiting = account
                .live
                .iter()
                .filter_map(|number| self.order(*number))
                .filter(|order| order.terms.starts.is_some_and(|starts| starts > now))
                .count();
            if waiting >= self.settings.scheduled_orders {
                return Err(Refusal::ScheduledOrdersLimit);
            }
        }
        let crosses = crate::matching::crosses(terms.side, terms.limit, &quote);
        if terms.post_only && crosses && self.settings.post_only_crossing == PostOnlyCrossing::Refuse {
            return Err(Refusal::PostOnlyOrder);
        }
        Ok(())
    }

    pub(crate) fn check_funds(
        &self,
        customer: CustomerNo,
        terms: &Terms,
        rules: &PairRules,
        now: Moment,
    ) -> Result<(), Refusal> {
        let wallet = &self.customer(customer).ok_or(Refusal::InvalidKey)?.wallet;
        let (asset, needed) = match terms.side {
            Side::Sell => (&rules.base, terms.volume),
            Side::Buy => {
                let cost = match terms.limit.or(terms.trigger) {
                    Some(price) => price * terms.volume,
                    // What the whole book cannot fill, no purse could pay.
                    None => self
                        .market_cost(terms.pair, terms.side, terms.volume, now)
                        .unwrap_or(terms.volume * Decimal::from(1_000_000_000)),
                };
                let (taker, _) = self.fees(customer);
                (&rules.quote, cost * (Decimal::ONE + taker * Decimal::new(1, 2)))
            }
        };
        if wallet.of(asset).available() < needed {
            return Err(Refusal::InsufficientFunds);
        }
        Ok(())
    }
}

/// Whether a mode lets such an order in.
pub(crate) fn check_mode(mode: Mode, terms: &Terms) -> Result<(), Refusal> {
    let is_allowed = match mode {
        Mode::Online => true,
        Mode::PostOnly => terms.post_only,
        Mode::LimitOnly => terms.limit.is_some() && !terms.kind.is_triggered(),
        Mode::CancelOnly => false,
        Mode::Maintenance => return Err(Refusal::Unavailable),
    };
    if is_allowed {
        Ok(())
    } else {
        Err(Refusal::MarketMode(mode))
    }
}

/// Too many decimals are named as such; a price between two ticks fails the tick check.
pub(crate) fn check_grid(price: Option<Decimal>, rules: &PairRules) -> Result<(), Refusal> {
    let Some(price) = price else { return Ok(()) };
    if price.normalize().scale() > rules.price_decimals {
        return Err(Refusal::PriceDecimals(
            rules.altname.to_string(),
            rules.price_decimals,
        ));
    }
    if price.checked_rem(rules.tick).is_none_or(|rest| !rest.is_zero()) {
        return Err(Refusal::TickSize);
    }
    Ok(())
}

/// A deadline that has passed is that; one that was not 2 to 60 seconds away when the request came
/// in is no valid argument.
pub(crate) fn check_deadline(deadline: Option<Moment>, received: Moment, now: Moment) -> Result<(), Refusal> {
    let Some(deadline) = deadline else { return Ok(()) };
    if deadline <= now {
        return Err(Refusal::DeadlineElapsed);
    }
    if deadline < received.plus_seconds(2) || deadline > received.plus_seconds(60) {
        return Err(Refusal::InvalidArguments("deadline"));
    }
    Ok(())
}
