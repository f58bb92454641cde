//! Reading the venue: orders, fills, balances, its clock; and comparing them with what we recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_model::{
    Asset, Balance, BalanceKind, Fill, IntentId, IntentState, Side, Usd, VenueOrderId, decimal,
};
use bursar_points::reach;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use tokio::time::Instant;
use tracing::{info, warn};

use super::missing::MISSED_AFTER;
use super::search::sent_at;
use super::{Desk, DeskError, lock};
use crate::clocks::{earlier, signed};
use crate::{Booked, ExternalOrder, Intent, NewLatch, Reconciliation, equity};

/// How far back the first reading of an account goes, and how far every connect reaches behind the
/// checkpoint.
const REACH: SignedDuration = SignedDuration::from_hours(24);
/// How far the checkpoint moves before it is written anew. Reading the same again costs nothing.
const CHECKPOINT_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// Whether the account holds what the ledger says that it holds.
#[derive(Debug, Default)]
pub(super) enum Holdings {
    #[default]
    Enough,
    /// The venue shows less, and it may be that it shows it late. Until that is known, no entry is sent.
    Short {
        since: Instant,
        /// The least that the ledger has held since: fills that are newer may be shown late in their turn.
        least: BTreeMap<Asset, Decimal>,
    },
    /// It stayed short, and a switch tells so.
    Missing,
}

/// An order that works as far as we know, and that the venue does not list any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gone {
    Ours(IntentId),
    Theirs(VenueOrderId),
}

/// The search for the end of an order that is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndSearch {
    /// From when on ended orders are read for it.
    since: Timestamp,
    begun_at: Instant,
}

impl EndSearch {
    /// A list that does not show it after so long will not show it later.
    fn is_over(&self) -> bool {
        self.begun_at.elapsed() >= MISSED_AFTER
    }
}

/// An asset of which the venue shows less than the ledger holds.
#[derive(Debug)]
struct Difference {
    asset: Asset,
    recorded: Decimal,
    at_venue: Decimal,
    worth: Option<Usd>,
}

/// What a reading of the balances tells.
enum Judgement {
    Fits,
    /// It is less than the ledger holds, and may be shown late.
    MayBeLate(Vec<Difference>),
    /// It has been less for longer than it may be shown late.
    Missing(Vec<Difference>),
}

impl Holdings {
    /// Takes a reading into account. `short_of` compares amounts with it.
    fn judge(
        &mut self,
        recorded: BTreeMap<Asset, Decimal>,
        lag: Duration,
        short_of: impl Fn(&BTreeMap<Asset, Decimal>) -> Vec<Difference>,
    ) -> Judgement {
        let differences = short_of(&recorded);
        if differences.is_empty() {
            *self = Self::Enough;
            return Judgement::Fits;
        }
        let now = Instant::now();
        let (since, mut least) = match self {
            Self::Missing => return Judgement::Missing(differences),
            Self::Enough => (now, recorded.clone()),
            Self::Short { since, least } => (*since, std::mem::take(least)),
        };
        for (asset, least) in &mut least {
            let held = recorded.get(asset).copied().unwrap_or_default();
            *least = held.min(*least);
        }
        if now.duration_since(since) < lag {
            *self = Self::Short { since, least };
            return Judgement::MayBeLate(differences);
        }
        let missing = short_of(&least);
        if missing.is_empty() {
            // What is short now was bought since, and has its own time.
            *self = Self::Short {
                since: now,
                least: recorded,
            };
            return Judgement::MayBeLate(differences);
        }
        // Not yet `Missing`: no entry goes out until the switch is on.
        *self = Self::Short { since, least };
        Judgement::Missing(missing)
    }
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
        reach("read-everything", "listed");
        journal.observe(&self.account, orders, self.now()).await?;
        reach("read-everything", "orders-recorded");
        let unresolved = journal.unresolved(&self.account).await?;
        self.read_fills(since.min(self.fills_since(checkpoint, &unresolved)))
            .await?;
        reach("read-everything", "fills-recorded");
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
        let since = self.fills_since(checkpoint, unresolved);
        let again = self.due_to_be_read_again(unresolved);
        self.read_fills(again.map_or(since, |again| since.min(self.with_what_is_late(again))))
            .await?;
        reach("read-activity", "fills-recorded");

        let live: Vec<&Intent> = unresolved
            .iter()
            .filter(|intent| intent.state == IntentState::Open)
            .collect();
        let working = broker.open_orders().await?;
        let ours_gone = live
            .iter()
            .filter(|intent| {
                !working
                    .iter()
                    .any(|order| order.client_order_id.as_ref() == Some(&intent.client_order_id))
            })
            .map(|intent| (Gone::Ours(intent.id), sent_at(intent)));
        // Those placed by hand end too, and would count as working for ever.
        let external = journal.external_orders(&self.account).await?;
        let theirs_gone = external
            .iter()
            .filter(|known| !working.iter().any(|order| order.id == known.order.id))
            .map(|known| (Gone::Theirs(known.order.id.clone()), known.first_seen));
        let gone: Vec<(Gone, Timestamp)> = ours_gone.chain(theirs_gone).collect();
        let last_look = known.map(|_| earlier(checkpoint, signed(broker.profile().visibility_lag)));
        let mut orders = working;
        if let Some(since) = self.ended_since(gone, last_look, began) {
            orders.extend(
                broker
                    .closed_orders(earlier(since, signed(self.parts.settings.overlap)))
                    .await?,
            );
        }
        let is_ours = |order: &VenueOrder| {
            unresolved
                .iter()
                .any(|intent| order.client_order_id.as_ref() == Some(&intent.client_order_id))
        };
        let external = external.into_iter().map(|known| known.order);
        orders.extend(self.unlisted(external.filter(|order| !is_ours(order)), &orders));
        let missed = self.look_for_missing(unresolved, &mut orders).await?;
        reach("read-activity", "listed");
        let changed = journal.observe(&self.account, orders, self.now()).await?;
        reach("read-activity", "orders-recorded");
        if let Some(intent) = missed {
            self.give_up_on(intent).await?;
        }
        if changed.iter().any(is_behind) {
            reach("read-activity", "fills-behind");
            self.read_fills(self.fills_since(checkpoint, &changed)).await?;
        }
        self.give_up_on_untold(unresolved).await?;
        if began.duration_since(checkpoint) >= CHECKPOINT_EVERY || known.is_none() {
            journal.set_checkpoint(&self.account, began).await?;
        }
        Ok(())
    }

    /// From when on ended orders are read, given those that are gone from the list and since when each may have
    /// been on it. One that was listed at the last complete look ended after that, however long it had rested;
    /// while no list shows its end, it is looked for from there, as long as a list may still show it.
    fn ended_since(
        &self,
        gone: Vec<(Gone, Timestamp)>,
        last_look: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut known = lock(&self.gone);
        let searched: BTreeMap<Gone, EndSearch> = gone
            .into_iter()
            .map(|(order, began)| {
                // A clock of ours that was ahead wrote down a time that is still to come.
                let began = began.min(now);
                let since = last_look.map_or(began, |look| look.max(began));
                let search = match known.get(&order) {
                    Some(search) => EndSearch {
                        since: since.min(search.since),
                        ..*search
                    },
                    None => EndSearch {
                        since,
                        begun_at: Instant::now(),
                    },
                };
                (order, search)
            })
            .collect();
        let since = searched
            .values()
            .filter(|search| !search.is_over())
            .map(|search| search.since)
            .min();
        *known = searched;
        since
    }

    /// Orders by hand that worked and that no list shows any more: venues drop some that were cancelled. They do
    /// not work, since the list of those that do is without them.
    fn unlisted(&self, external: impl Iterator<Item = VenueOrder>, listed: &[VenueOrder]) -> Vec<VenueOrder> {
        let gone = lock(&self.gone);
        let is_over = |order: &VenueOrder| {
            gone.get(&Gone::Theirs(order.id.clone()))
                .is_some_and(EndSearch::is_over)
        };
        external
            .filter(|order| is_over(order) && !listed.iter().any(|listed| listed.id == order.id))
            .map(|order| VenueOrder {
                status: VenueOrderStatus::Cancelled,
                reason: ExternalOrder::UNLISTED.to_owned(),
                ..order
            })
            .collect()
    }

    /// From when on fills are read: with what the venue may show late, and as far back as the oldest
    /// order of which the venue says that more was filled than is booked.
    fn fills_since(&self, checkpoint: Timestamp, intents: &[Intent]) -> Timestamp {
        let oldest = intents
            .iter()
            .filter(|intent| is_behind(intent))
            .map(sent_at)
            .min();
        self.with_what_is_late(oldest.unwrap_or(checkpoint).min(checkpoint))
    }

    /// From when on what the venue may show late, or stamp by another clock, is read as well.
    fn with_what_is_late(&self, since: Timestamp) -> Timestamp {
        let late = signed(self.parts.settings.overlap)
            .saturating_add(signed(self.parts.broker.profile().visibility_lag));
        earlier(since, late)
    }

    async fn read_fills(&self, since: Timestamp) -> Result<(), DeskError> {
        let fills = self.parts.broker.fills(since).await?;
        reach("read-fills", "read");
        self.book(fills).await?;
        Ok(())
    }

    pub(super) async fn book(&self, fills: Vec<Fill>) -> Result<Booked, DeskError> {
        if fills.is_empty() {
            return Ok(Booked::default());
        }
        let booked = self.parts.journal.book(&self.account, fills, self.now()).await?;
        if booked.unexplained > 0 {
            self.hurry_searches();
        }
        Ok(booked)
    }

    pub(super) async fn read_balances(&self) -> Result<(), DeskError> {
        let balances = self.parts.broker.balances().await?;
        reach("read-balances", "read");
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
    /// sold since their fills were read is not missing either. A venue may show a balance late, also to
    /// an account that has just connected: one reading is not enough to stop it.
    pub(super) async fn compare_with_venue(&self) -> Result<(), DeskError> {
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
        let short_of = |recorded: &BTreeMap<Asset, Decimal>| {
            let difference = |(asset, &recorded): (&Asset, &Decimal)| {
                let price = crate::usd_rate(asset, &quotes, self.now()).map(|rate| rate.value.value());
                let at_venue = total(asset, &known.balances);
                let explained = decimal::add(at_venue, being_sold(asset, &unresolved)).unwrap_or(at_venue);
                Some(Difference {
                    asset: asset.clone(),
                    recorded,
                    at_venue,
                    worth: missing_usd(recorded, explained, price)?,
                })
            };
            recorded.iter().filter_map(difference).collect()
        };
        let lag = self.parts.broker.profile().visibility_lag;
        let was_short = self.is_short();
        let judgement = lock(&self.holdings).judge(recorded, lag, short_of);
        let told = |differences: &[Difference]| differences.iter().map(Difference::to_string).collect();
        match judgement {
            Judgement::Fits => {
                if was_short {
                    info!(account = %self.account, "the balance is there: entries are sent again");
                }
                self.note_reconciled(Vec::new()).await
            }
            Judgement::MayBeLate(differences) => {
                let differences: Vec<String> = told(&differences);
                if !was_short {
                    warn!(
                        account = %self.account,
                        differences = differences.join("; "),
                        "balance below the ledger: entries wait for as long as the venue may show it late"
                    );
                }
                // No switch is released meanwhile by what was seen before.
                self.note_reconciled(differences).await
            }
            Judgement::Missing(differences) => {
                reach("compare", "differs");
                self.note_reconciled(told(&differences)).await?;
                reach("compare", "difference-recorded");
                for difference in &differences {
                    self.latch_difference(difference).await?;
                }
                *lock(&self.holdings) = Holdings::Missing;
                Ok(())
            }
        }
    }

    /// Whether it is not known yet if something is missing.
    pub(super) fn is_short(&self) -> bool {
        matches!(*lock(&self.holdings), Holdings::Short { .. })
    }

    /// A release of a switch rests on how fresh this is.
    async fn note_reconciled(&self, differences: Vec<String>) -> Result<(), DeskError> {
        let found = Reconciliation {
            at: self.now(),
            differences,
        };
        self.parts.journal.reconciled(&self.account, found).await?;
        Ok(())
    }

    async fn latch_difference(&self, difference: &Difference) -> Result<(), DeskError> {
        let scope = Scope::Account(self.account.clone());
        let latches = self.parts.journal.latches().await?;
        // Another asset that is missing is another thing to know, also where the account is stopped already.
        if latches.iter().any(|latch| {
            latch.scope == scope
                && latch.cause == LatchCause::Reconciliation
                && difference.is_told_in(&latch.reason)
        }) {
            return Ok(());
        }
        let reason = difference.to_string();
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
}

impl Difference {
    /// Whether a text is that of a difference of the same asset, however large it was.
    fn is_told_in(&self, text: &str) -> bool {
        text.contains(&self.of_venue())
    }

    fn of_venue(&self) -> String {
        format!(" {} and the venue ", self.asset)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recorded, at_venue) = (self.recorded.normalize(), self.at_venue.normalize());
        let of_venue = self.of_venue();
        write!(
            f,
            "the ledger holds {recorded}{of_venue}{at_venue}: the difference is "
        )?;
        let worth = &self.worth;
        match worth {
            Some(usd) => write!(f, "worth {usd}"),
            None => f.write_str("of unknown worth"),
        }
    }
}

/// Whether the venue says that more of the order was filled than is booked. Those of an incident, which may be kept
/// aside, are read again now and then, not in each round.
fn is_behind(intent: &Intent) -> bool {
    intent.state != IntentState::Incident && intent.venue_filled > intent.filled
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
