//! Reading the venue: orders, fills, balances, its clock; and comparing them with what we recorded.

use std::collections::BTreeMap;

use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_model::{Asset, Balance, BalanceKind, Fill, IntentState, Side, Usd, decimal};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use tokio::time::Instant;
use tracing::warn;

use super::{Desk, DeskError, earlier, later, lock, signed};
use crate::{Intent, NewLatch, equity};

/// How far back the first reading of an account goes, and how far every connect reaches behind the
/// checkpoint.
const REACH: SignedDuration = SignedDuration::from_hours(24);
/// How far the venue's clock may be off before its deadlines mean nothing.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);
/// How far the checkpoint moves before it is written anew. Reading the same again costs nothing.
const CHECKPOINT_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// Whether a balance that is too low is given the time in which the venue may show it late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Before an account may trade.
    None,
    Some,
}

impl Desk {
    /// The reading of a connect: working orders, ended orders and fills since the checkpoint, with a
    /// day's overlap, then working orders again, because an order can move between two readings.
    pub(super) async fn read_everything(&self) -> Result<(), DeskError> {
        let broker = &self.parts.broker;
        let journal = &self.parts.journal;
        let began = self.venue_now();
        let checkpoint = journal.checkpoint(&self.account).await?.unwrap_or(began);
        let since = earlier(checkpoint.min(began), REACH);

        let mut orders = broker.open_orders().await?;
        orders.extend(broker.closed_orders(since).await?);
        orders.extend(broker.open_orders().await?);
        journal.observe(&self.account, orders, self.now()).await?;
        let unresolved = journal.unresolved(&self.account).await?;
        self.read_fills(since.min(self.fills_since(checkpoint, &unresolved)))
            .await?;
        journal.set_checkpoint(&self.account, began).await?;
        Ok(())
    }

    /// The reading while connected: fills since the checkpoint, and what became of working orders.
    pub(super) async fn read_activity(&self, unresolved: &[Intent]) -> Result<(), DeskError> {
        let broker = &self.parts.broker;
        let journal = &self.parts.journal;
        let began = self.venue_now();
        let known = journal.checkpoint(&self.account).await?;
        let checkpoint = known.unwrap_or(began);
        // A clock that was ahead for a while has left a checkpoint in the future.
        let checkpoint = checkpoint.min(began);
        self.read_fills(self.fills_since(checkpoint, unresolved)).await?;

        let live: Vec<&Intent> = unresolved
            .iter()
            .filter(|intent| intent.state == IntentState::Open)
            .collect();
        let working = broker.open_orders().await?;
        let ours_gone = live.iter().any(|intent| {
            !working
                .iter()
                .any(|order| order.client_order_id.as_ref() == Some(&intent.client_order_id))
        });
        // Those placed by hand end too, and would count as working for ever.
        let external = journal.external_orders(&self.account).await?;
        let theirs_gone = external
            .iter()
            .filter(|known| !working.iter().any(|order| order.id == known.order.id))
            .map(|known| known.first_seen);
        let ended_since = live
            .iter()
            .filter(|_| ours_gone)
            .map(|intent| intent.created_at)
            .chain(theirs_gone)
            .min();
        let mut orders = working;
        if let Some(since) = ended_since {
            orders.extend(
                broker
                    .closed_orders(earlier(since, signed(self.parts.settings.overlap)))
                    .await?,
            );
        }
        let changed = journal.observe(&self.account, orders, self.now()).await?;
        if changed.iter().any(is_behind) {
            self.read_fills(self.fills_since(checkpoint, &changed)).await?;
        }
        if began.duration_since(checkpoint) >= CHECKPOINT_EVERY || known.is_none() {
            journal.set_checkpoint(&self.account, began).await?;
        }
        Ok(())
    }

    /// From when on fills are read: with what the venue may show late, and as far back as the oldest
    /// order of which the venue says that more was filled than is booked.
    fn fills_since(&self, checkpoint: Timestamp, intents: &[Intent]) -> Timestamp {
        let late = signed(self.parts.settings.overlap)
            .saturating_add(signed(self.parts.broker.profile().visibility_lag));
        let oldest = intents
            .iter()
            .filter(|intent| is_behind(intent))
            .map(|intent| intent.dispatched_at.unwrap_or(intent.created_at))
            .min();
        earlier(oldest.unwrap_or(checkpoint).min(checkpoint), late)
    }

    async fn read_fills(&self, since: Timestamp) -> Result<(), DeskError> {
        let fills = self.parts.broker.fills(since).await?;
        self.book(fills).await
    }

    pub(super) async fn book(&self, fills: Vec<Fill>) -> Result<(), DeskError> {
        if fills.is_empty() {
            return Ok(());
        }
        let booked = self.parts.journal.book(&self.account, fills, self.now()).await?;
        for latch in &booked.tripped {
            warn!(account = %self.account, scope = %latch.scope, mode = %latch.mode, reason = %latch.reason, "switch tripped");
        }
        Ok(())
    }

    pub(super) async fn read_balances(&self) -> Result<(), DeskError> {
        let balances = self.parts.broker.balances().await?;
        let now = self.now();
        let quotes = self
            .parts
            .conditions
            .quotes(&self.parts.broker.profile().broker)
            .await?;
        let max_age_ms = self.parts.conditions.policy().await?.reference_max_age_ms;
        let equity = equity(&balances, &quotes, max_age_ms, now);
        self.parts
            .conditions
            .put_balances(&self.account, &balances, equity, now)
            .await?;
        Ok(())
    }

    /// The account must hold at least what the ledger says was bought and not sold. More is nobody's
    /// business: deposits and what the owner trades by hand are not ours. What our own sells may have
    /// sold since their fills were read is not missing either.
    pub(super) async fn compare_with_venue(&self, patience: Patience) -> Result<(), DeskError> {
        let Some(known) = self.parts.conditions.balances(&self.account).await? else {
            return Ok(());
        };
        let unresolved = self.parts.journal.unresolved(&self.account).await?;
        let mut recorded: BTreeMap<Asset, Decimal> = BTreeMap::new();
        for position in self.parts.journal.positions(&self.account).await? {
            let held = recorded.entry(position.pair.base().clone()).or_default();
            *held = decimal::add(*held, position.quantity.value()).unwrap_or(Decimal::MAX);
        }
        let quotes = self
            .parts
            .conditions
            .quotes(&self.parts.broker.profile().broker)
            .await?;
        let mut differences = Vec::new();
        for (asset, recorded) in recorded {
            let price = crate::usd_rate(&asset, &quotes, self.now()).map(|rate| rate.value.value());
            let at_venue = total(&asset, &known.balances);
            let explained = decimal::add(at_venue, being_sold(&asset, &unresolved)).unwrap_or(at_venue);
            if let Some(missing) = missing_usd(recorded, explained, price) {
                differences.push((asset, recorded, at_venue, missing));
            }
        }
        if differences.is_empty() {
            *lock(&self.short_since) = None;
            return Ok(());
        }
        let short_for = lock(&self.short_since).get_or_insert_with(Instant::now).elapsed();
        if patience == Patience::Some && short_for < self.parts.broker.profile().visibility_lag {
            return Ok(());
        }
        for (asset, recorded, at_venue, missing) in differences {
            self.latch_difference(&asset, recorded, at_venue, missing).await?;
        }
        Ok(())
    }

    async fn latch_difference(
        &self,
        asset: &Asset,
        recorded: Decimal,
        at_venue: Decimal,
        missing: Option<Usd>,
    ) -> Result<(), DeskError> {
        let scope = Scope::Account(self.account.clone());
        let latches = self.parts.journal.latches().await?;
        if latches
            .iter()
            .any(|latch| latch.scope == scope && latch.cause == LatchCause::Reconciliation)
        {
            return Ok(());
        }
        let worth = missing.map_or_else(|| "of unknown worth".to_owned(), |usd| format!("worth {usd}"));
        let reason = format!(
            "the ledger holds {} {asset} and the venue {}: the difference is {worth}",
            recorded.normalize(),
            at_venue.normalize()
        );
        warn!(account = %self.account, reason, "balance below the ledger");
        let latch = NewLatch {
            scope,
            mode: LatchMode::ReduceOnly,
            cause: LatchCause::Reconciliation,
            reason,
            clear_rule: ClearRule::Manual,
        };
        self.parts.journal.trip(latch, &self.act()).await?;
        Ok(())
    }

    /// Asks the venue for its time, which is returned as the venue told it. Deadlines are in that time.
    /// Its clock tells whole seconds, so that the offset is known to a second; one that is surely larger than the tolerance makes the reading fail.
    pub(super) async fn measure_clock(&self) -> Result<Timestamp, DeskError> {
        let before = self.now();
        let venue = self.parts.broker.venue_time().await?;
        let after = self.now();
        let second = SignedDuration::from_secs(1);
        let slowest = venue.duration_since(after);
        let fastest = venue.duration_since(before).saturating_add(second);
        let surely_off = if slowest > SignedDuration::ZERO {
            slowest
        } else if fastest < SignedDuration::ZERO {
            fastest
        } else {
            SignedDuration::ZERO
        };
        if surely_off.abs() > CLOCK_TOLERANCE {
            return Err(DeskError::Venue(bursar_broker::ReadError::TryAgain {
                class: bursar_broker::ErrorClass::LocalFault,
                reason: format!(
                    "this machine's clock is {} ms off the venue's",
                    surely_off.as_millis()
                ),
                wait: None,
            }));
        }
        *lock(&self.venue_clock) = Some((later(after, surely_off), Instant::now()));
        Ok(venue)
    }
}

/// Whether the venue says that more of the order was filled than is booked.
fn is_behind(intent: &Intent) -> bool {
    intent.venue_filled > intent.filled
}

/// How much of an asset our orders that are or may be at the venue may still sell.
fn being_sold(asset: &Asset, unresolved: &[Intent]) -> Decimal {
    let left = |intent: &Intent| {
        let ordered = intent.sizing.as_ref()?.terms.quantity.value();
        decimal::sub(ordered, intent.filled).ok()
    };
    unresolved
        .iter()
        .filter(|intent| {
            let may_sell = matches!(
                intent.state,
                IntentState::Dispatching | IntentState::Unknown | IntentState::Open
            );
            may_sell && intent.request.side == Side::Sell && intent.request.pair.base() == asset
        })
        .filter_map(left)
        .fold(Decimal::ZERO, |sum, left| decimal::add(sum, left).unwrap_or(sum))
}

fn total(asset: &Asset, balances: &[Balance]) -> Decimal {
    balances
        .iter()
        .filter(|balance| balance.asset == *asset && balance.kind == BalanceKind::Spendable)
        .fold(Decimal::ZERO, |sum, balance| {
            decimal::add(sum, balance.total).unwrap_or(sum)
        })
}

/// What is missing at the venue, if it is more than 0.1 % of what is recorded and more than a
/// dollar's worth. Without a price, any share above the tolerance counts.
fn missing_usd(recorded: Decimal, at_venue: Decimal, price: Option<Decimal>) -> Option<Option<Usd>> {
    let missing = decimal::sub(recorded, at_venue).ok()?;
    let tolerated = decimal::mul(recorded, Decimal::new(1, 3)).ok()?;
    if missing <= tolerated {
        return None;
    }
    let Some(price) = price else { return Some(None) };
    let worth = decimal::mul(missing, price)
        .map(|usd| Usd::new(usd).rounded_up())
        .ok();
    match worth {
        Some(usd) if usd <= Usd::new(Decimal::ONE) => None,
        worth => Some(worth),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::dec;

    #[test]
    fn a_small_difference_is_tolerated_and_a_large_one_is_not() {
        assert_eq!(missing_usd(dec!(1), dec!(0.9995), Some(dec!(65000))), None);
        assert_eq!(missing_usd(dec!(0.00001), dec!(0), Some(dec!(65000))), None);
        assert_eq!(
            missing_usd(dec!(1), dec!(0.9), Some(dec!(100))),
            Some(Some("10".parse().unwrap()))
        );
        assert_eq!(missing_usd(dec!(1), dec!(0.9), None), Some(None));
    }

    #[test]
    fn more_than_recorded_is_nobodys_business() {
        assert_eq!(missing_usd(dec!(1), dec!(5), Some(dec!(65000))), None);
    }
}
