//! Reading the venue: orders, fills, balances, its clock; and comparing them with what we recorded.

use std::collections::BTreeMap;

use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_model::{Asset, Balance, BalanceKind, IntentState, Usd, decimal};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use tracing::warn;

use super::{Desk, DeskError, earlier, equity, signed};
use crate::{Intent, NewLatch};

/// How far back the first reading of an account goes, and how far every connect reaches behind the
/// checkpoint.
const REACH: SignedDuration = SignedDuration::from_hours(24);
/// How far the venue's clock may be off before its deadlines mean nothing.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

impl Desk {
    /// The reading of a connect: working orders, ended orders and fills since the checkpoint, with a
    /// day's overlap, then working orders again, because an order can move between two readings.
    pub(super) async fn read_everything(&self) -> Result<(), DeskError> {
        let broker = &self.parts.broker;
        let journal = &self.parts.journal;
        let began = self.venue_now();
        let checkpoint = journal.checkpoint(&self.account).await?.unwrap_or(began);
        let since = earlier(checkpoint, REACH);

        let mut orders = broker.open_orders().await?;
        orders.extend(broker.closed_orders(since).await?);
        orders.extend(broker.open_orders().await?);
        journal.observe(&self.account, orders, self.now()).await?;
        self.read_fills(since).await?;
        journal.set_checkpoint(&self.account, began).await?;
        Ok(())
    }

    /// The reading while connected: fills since the checkpoint, and what became of working orders.
    pub(super) async fn read_activity(&self, unresolved: &[Intent]) -> Result<(), DeskError> {
        let broker = &self.parts.broker;
        let journal = &self.parts.journal;
        let began = self.venue_now();
        let checkpoint = journal.checkpoint(&self.account).await?.unwrap_or(began);
        self.read_fills(earlier(checkpoint, signed(self.parts.settings.overlap)))
            .await?;

        let live: Vec<&Intent> = unresolved
            .iter()
            .filter(|intent| intent.state == IntentState::Open)
            .collect();
        let working = broker.open_orders().await?;
        let gone = live.iter().any(|intent| {
            !working
                .iter()
                .any(|order| order.client_order_id.as_ref() == Some(&intent.client_order_id))
        });
        let mut orders = working;
        if gone {
            let oldest = live.iter().map(|intent| intent.created_at).min().unwrap_or(began);
            orders.extend(
                broker
                    .closed_orders(earlier(oldest, signed(self.parts.settings.overlap)))
                    .await?,
            );
        }
        let changed = journal.observe(&self.account, orders, self.now()).await?;
        if changed.iter().any(|intent| intent.venue_filled > intent.filled) {
            self.read_fills(earlier(checkpoint, signed(self.parts.settings.overlap)))
                .await?;
        }
        journal.set_checkpoint(&self.account, began).await?;
        Ok(())
    }

    pub(super) async fn read_fills(&self, since: Timestamp) -> Result<(), DeskError> {
        let fills = self.parts.broker.fills(since).await?;
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
        let equity = equity(&balances, &quotes, now);
        self.parts
            .conditions
            .put_balances(&self.account, &balances, equity, now)
            .await?;
        Ok(())
    }

    /// The account must hold at least what the ledger says was bought and not sold. More is nobody's
    /// business: deposits and what the owner trades by hand are not ours.
    pub(super) async fn compare_with_venue(&self) -> Result<(), DeskError> {
        let Some(known) = self.parts.conditions.balances(&self.account).await? else {
            return Ok(());
        };
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
        for (asset, recorded) in recorded {
            let price = crate::usd_rate(&asset, &quotes, self.now()).map(|rate| rate.value.value());
            let at_venue = total(&asset, &known.balances);
            if let Some(missing) = missing_usd(recorded, at_venue, price) {
                self.latch_difference(&asset, recorded, at_venue, missing).await?;
            }
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

    /// Deadlines are in the venue's time. Its clock tells whole seconds, so that the offset is known
    /// to a second; one that is surely larger than the tolerance makes the reading fail.
    pub(super) async fn measure_clock(&self) -> Result<(), DeskError> {
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
        *self
            .clock_offset
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = surely_off;
        Ok(())
    }

    fn venue_now(&self) -> Timestamp {
        super::later(self.now(), self.offset())
    }
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
