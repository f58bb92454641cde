//! From what the store knows to a decision: permission, then hard controls, in one pure function.
//!
//! Three callers, one function: the admission of an order, the last look before it is sent, and a dry
//! run. The store reads [`Facts`] inside its transaction and hands them over.

use bursar_controls::{
    AccountState, ApprovedOrder, DayState, Funds, Holding, KeyState, LatchMode, LimitKind, Observed, Policy,
    PositionCount, Readiness, RecentOrder, Refused, Sizing, Snapshot, Usage, is_fresh,
};
use bursar_ledger::PriceRange;
use bursar_model::{
    AccountId, AccountMode, Asset, BalanceKind, Check, InexactError, Instrument, IntentId, OrderRequest,
    Pair, Price, Quote, Side, Usd, Verdict, decimal,
};
use bursar_permissions::{Caller, TradingContext, UserPermissions};
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::{AccountBalances, Connection, ConnectionState};

/// A position of the user's, as the limits see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPosition {
    /// Where it is held; the accounts of one user all count.
    pub account: AccountId,
    /// What is held.
    pub pair: Pair,
    /// In the base asset.
    pub quantity: Decimal,
    /// What it cost, without fees.
    pub cost: Usd,
    /// Less than its venue takes an order for: it costs, and takes up no place.
    pub is_dust: bool,
}

/// What an unresolved order of the user's holds of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The order that holds it.
    pub intent: IntentId,
    /// The account of that order.
    pub account: AccountId,
    /// The pair of that order.
    pub pair: Pair,
    /// Of which limit.
    pub kind: LimitKind,
    /// In the unit of the kind.
    pub amount: Decimal,
}

/// Everything the store knows that bears on one order, read in one transaction.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The installation's limits in force.
    pub policy: Policy,
    /// The account that the order is for.
    pub account: bursar_auth::Account,
    /// Whether its owner is enabled.
    pub user_enabled: bool,
    /// The owner's, as the operator allows; without preferences.
    pub permissions: UserPermissions,
    /// The owner's wishes, which can only tighten.
    pub preferences: bursar_config::Preferences,
    /// `None` for an account that was never connected, which may not trade.
    pub connection: Option<Connection>,
    /// What is known of the account's key.
    pub key: KeyState,
    /// Every switch that is on.
    pub latches: Vec<bursar_controls::Latch>,
    /// The venue's rules for the pair; `None` where the venue's list was not read or does not have it.
    pub instrument: Option<Observed<Instrument>>,
    /// Of the account's broker: the order's pair, and the pairs that price its quote asset in dollars.
    pub quotes: Vec<Quote>,
    /// `None` until a balance of the account was read.
    pub balances: Option<AccountBalances>,
    /// The user's, over all accounts.
    pub positions: Vec<HeldPosition>,
    /// The user's, over all accounts, without the order that is decided on.
    pub reserved: Vec<Reserved>,
    /// The user's trading day, without reservations.
    pub day: DayState,
    /// Of the account, without the order that is decided on.
    pub entries_today: u32,
    /// Orders of the account that work or may work, without the one that is decided on.
    pub open_orders: u32,
    /// Of the account, within the duplicate window, without the order that is decided on.
    pub recent: Vec<RecentOrder>,
    /// Of the account: pair and side of orders that may or may not be at the venue.
    pub unresolved: Vec<(Pair, Side)>,
    /// Of the account, its owner and the installation, without the order that is decided on.
    pub usage: Usage,
}

/// What the rules said, and the order if all of them passed.
#[derive(Debug)]
pub enum Decision {
    /// Every rule passed. It is not recorded yet.
    Approved(Box<ApprovedOrder>),
    /// A rule was broken, or a size could not be found.
    Denied {
        /// What every rule said.
        refused: Refused,
        /// `None` where no size could be found.
        sizing: Option<Box<Sizing>>,
    },
}

/// What a dry run shows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Preview {
    /// Whether every rule passed, as of the moment of the question.
    pub allowed: bool,
    /// The request in one line, for people.
    pub order: String,
    /// What would be sent and what it costs at worst; `None` where no size could be found.
    pub sizing: Option<Sizing>,
    /// Whether the ledger proves that it only lowers a position.
    pub reducing: bool,
    /// Every rule, passed ones too.
    pub trace: Vec<Check>,
}

/// Decides on an order. `recorded` is the sizing of an order that was admitted before, so that its
/// worst case is judged by the figures it was reserved with.
pub fn decide(
    request: &OrderRequest,
    caller: &Caller,
    recorded: Option<Sizing>,
    facts: &Facts,
    now: Timestamp,
) -> Decision {
    let mut snapshot = snapshot(request, facts, now);
    if recorded.is_some() {
        // It was compared with those before it when it was admitted; those after it are not its twins.
        snapshot.recent.clear();
    }
    let sized = recorded.map_or_else(|| bursar_controls::size(request, &snapshot), Ok);
    let refuse = |trace, sizing: Option<Sizing>| Decision::Denied {
        refused: Refused {
            account: facts.account.id().clone(),
            order: request.to_string(),
            trace,
        },
        sizing: sizing.map(Box::new),
    };
    let context = TradingContext {
        caller,
        account: facts.account.id(),
        account_status: facts.account.status,
        user: facts.account.owner(),
        user_enabled: facts.user_enabled,
        permissions: &facts.permissions,
        reducing: (sized.as_ref()).is_ok_and(|sizing| bursar_controls::reduces(&sizing.terms, &snapshot)),
    };
    let sizing = match sized {
        Ok(sizing) => sizing,
        Err(missing) => {
            let mut trace = bursar_permissions::trace(request, context);
            trace.extend(bursar_controls::trace_without_size(request, caller, &snapshot));
            trace.extend(missing);
            return refuse(trace, None);
        }
    };
    match bursar_permissions::permit(request.clone(), context) {
        Ok(permitted) => match bursar_controls::review(permitted, sizing.clone(), &snapshot) {
            Ok(approved) => Decision::Approved(Box::new(approved)),
            Err(refused) => Decision::Denied {
                refused,
                sizing: Some(Box::new(sizing)),
            },
        },
        Err(mut trace) => {
            // Not permitted; the caller still learns of everything else that stands in the way.
            trace.extend(bursar_controls::trace(request, caller, &sizing, &snapshot));
            refuse(trace, Some(sizing))
        }
    }
}

/// The same decision with its whole trace, for a dry run.
pub fn preview(request: &OrderRequest, caller: &Caller, facts: &Facts, now: Timestamp) -> Preview {
    let (allowed, trace, sizing) = match decide(request, caller, None, facts, now) {
        Decision::Approved(approved) => (true, approved.trace().to_vec(), Some(approved.sizing().clone())),
        Decision::Denied { refused, sizing } => (false, refused.trace, sizing.map(|sizing| *sizing)),
    };
    debug_assert_eq!(
        allowed,
        trace.iter().all(|check| check.verdict != Verdict::Broken)
    );
    let snapshot = snapshot(request, facts, now);
    let reducing = (sizing.as_ref()).is_some_and(|sizing| bursar_controls::reduces(&sizing.terms, &snapshot));
    Preview {
        allowed,
        order: request.to_string(),
        sizing,
        reducing,
        trace,
    }
}

/// The facts as the hard controls want to see them.
pub fn snapshot(request: &OrderRequest, facts: &Facts, now: Timestamp) -> Snapshot {
    let account = &facts.account;
    let covers = |latch: &&bursar_controls::Latch| {
        latch
            .scope
            .covers(account.id(), account.owner(), account.broker())
    };
    Snapshot {
        now,
        policy: facts.policy.clone(),
        account: AccountState {
            id: account.id().clone(),
            user: account.owner().clone(),
            broker: account.broker().clone(),
            mode: account.mode(),
            readiness: readiness(facts.connection.as_ref()),
            key: facts.key.clone(),
        },
        switches: facts.latches.iter().filter(covers).cloned().collect(),
        limits: facts.preferences.effective(&facts.permissions.limits),
        holding: holding(&request.pair, facts),
        positions: position_count(&request.pair, facts),
        open_orders: facts.open_orders,
        entries_today: facts.entries_today,
        day: DayState {
            reserved_loss: reserved_loss(facts),
            ..facts.day.clone()
        },
        equity: facts.balances.as_ref().and_then(|balances| {
            balances.equity.map(|value| Observed {
                value,
                at: balances.at,
                source: "balance".into(),
            })
        }),
        funds: funds(&request.pair, facts),
        instrument: facts.instrument.clone(),
        quote: facts
            .quotes
            .iter()
            .find(|quote| quote.pair == request.pair)
            .cloned(),
        usd_rate: believable_rate(request.pair.quote(), &facts.quotes, now),
        recent: facts.recent.clone(),
        unresolved: facts
            .unresolved
            .iter()
            .any(|(pair, side)| *pair == request.pair && *side == request.side),
        usage: facts.usage.clone(),
    }
}

fn readiness(connection: Option<&Connection>) -> Readiness {
    match connection {
        Some(connection) if connection.state == ConnectionState::Ready => Readiness::Ready,
        Some(connection) if connection.cause.is_empty() => Readiness::NotReady {
            state: connection.state.to_string(),
        },
        Some(connection) => Readiness::NotReady {
            state: format!("{}: {}", connection.state, connection.cause),
        },
        None => Readiness::NotReady {
            state: "never connected".into(),
        },
    }
}

fn holding(pair: &Pair, facts: &Facts) -> Holding {
    let ours =
        || (facts.positions.iter()).filter(|held| held.account == *facts.account.id() && held.pair == *pair);
    let reserved = |kind| {
        facts
            .reserved
            .iter()
            .filter(|row| row.account == *facts.account.id() && row.pair == *pair && row.kind == kind)
            .try_fold(Decimal::ZERO, |sum, row| decimal::add(sum, row.amount))
            // What cannot be added up is as much as there can be.
            .unwrap_or(Decimal::MAX)
    };
    Holding {
        // What cannot be added up is not there to be sold, and has cost as much as there can be.
        quantity: ours()
            .try_fold(Decimal::ZERO, |sum, held| decimal::add(sum, held.quantity))
            .unwrap_or_default(),
        reserved_for_sale: reserved(LimitKind::SaleQuantity),
        cost: ours()
            .try_fold(Usd::ZERO, |sum, held| sum.plus(held.cost))
            .unwrap_or(Usd::new(Decimal::MAX)),
        reserved_cost: Usd::new(reserved(LimitKind::PositionCost)),
    }
}

fn position_count(pair: &Pair, facts: &Facts) -> PositionCount {
    let mut keys: Vec<(&AccountId, &Pair)> = facts
        .positions
        .iter()
        .filter(|held| !held.is_dust)
        .map(|held| (&held.account, &held.pair))
        .collect();
    keys.extend(
        facts
            .reserved
            .iter()
            .filter(|row| row.kind == LimitKind::Positions)
            .map(|row| (&row.account, &row.pair)),
    );
    keys.sort_unstable();
    keys.dedup();
    let dust = facts.positions.iter().filter(|held| held.is_dust).count();
    PositionCount {
        open: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        dust: u32::try_from(dust).unwrap_or(u32::MAX),
        includes_this: keys.binary_search(&(facts.account.id(), pair)).is_ok(),
    }
}

fn reserved_loss(facts: &Facts) -> Usd {
    let sum = facts
        .reserved
        .iter()
        .filter(|row| row.kind == LimitKind::DayLoss)
        .try_fold(Decimal::ZERO, |sum, row| decimal::add(sum, row.amount));
    Usd::new(sum.unwrap_or(Decimal::MAX))
}

/// What the last balance says is free, of the order's two assets. `None` until a balance was read.
fn funds(pair: &Pair, facts: &Facts) -> Option<Observed<Funds>> {
    let known = facts.balances.as_ref()?;
    let free = |asset: &Asset| {
        known
            .balances
            .iter()
            .filter(|balance| balance.asset == *asset && balance.kind == BalanceKind::Spendable)
            .try_fold(Decimal::ZERO, |sum, balance| {
                decimal::add(sum, balance.available())
            })
            .unwrap_or_default()
    };
    let value = Funds {
        quote: free(pair.quote()),
        base: free(pair.base()),
    };
    Some(Observed {
        value,
        at: known.at,
        source: "balance".into(),
    })
}

/// Dollars per unit of `asset`, from the venue's own prices: exactly one for the dollar itself.
pub fn usd_rate(asset: &Asset, quotes: &[Quote], now: Timestamp) -> Option<Observed<Price>> {
    let source = |text: &str| text.to_owned();
    if asset.is_usd() {
        let one = Price::new(Decimal::ONE).ok()?;
        return Some(Observed {
            value: one,
            at: now,
            source: source("the dollar itself"),
        });
    }
    let direct = in_dollars(asset, quotes)?;
    let value = direct.mid().ok()?;
    Some(Observed {
        value,
        at: direct.at,
        source: direct.pair.to_string(),
    })
}

pub(crate) fn in_dollars<'q>(asset: &Asset, quotes: &'q [Quote]) -> Option<&'q Quote> {
    quotes
        .iter()
        .find(|quote| quote.pair.base() == asset && quote.pair.quote().is_usd())
}

/// As [`usd_rate`], where bid and ask are near enough to believe in their middle: a cost converted at
/// half its rate would pass every limit.
fn believable_rate(asset: &Asset, quotes: &[Quote], now: Timestamp) -> Option<Observed<Price>> {
    let rate = usd_rate(asset, quotes, now)?;
    match in_dollars(asset, quotes) {
        Some(quote) if !asset.is_usd() => (prudent(quote)? == rate.value).then_some(rate),
        _ => Some(rate),
    }
}

/// The middle of a quote, or its lower side where the two are too far apart.
pub(crate) fn prudent(quote: &Quote) -> Option<Price> {
    PriceRange::of(quote).ok().map(|range| range.least)
}

/// What an account is worth in dollars at least: every spendable holding that has a price not older
/// than `max_age_ms`. What has none counts as nothing, so that neither a forgotten coin stops an account
/// nor an old price makes its caps larger. `None` when it cannot be calculated exactly.
pub fn equity(
    balances: &[bursar_model::Balance],
    quotes: &[Quote],
    max_age_ms: i64,
    now: Timestamp,
) -> Option<Usd> {
    let price = |asset: &Asset| {
        if asset.is_usd() {
            return Some(Decimal::ONE);
        }
        let quote = in_dollars(asset, quotes)?;
        is_fresh(quote.at, now, max_age_ms)
            .then(|| prudent(quote))
            .flatten()
            .map(Price::value)
    };
    let worth = |balance: &bursar_model::Balance| -> Result<Usd, InexactError> {
        match (balance.kind, price(&balance.asset)) {
            (BalanceKind::Spendable, Some(price)) if balance.total > Decimal::ZERO => {
                decimal::mul(balance.total, price).map(|usd| Usd::new(usd).rounded_down())
            }
            // What cannot be spent does not make an order's cap larger.
            _ => Ok(Usd::ZERO),
        }
    };
    balances
        .iter()
        .try_fold(Usd::ZERO, |sum, balance| sum.plus(worth(balance)?))
        .ok()
}

/// The strictest mode of the switches that cover an account, for status lines.
pub fn strictest<'a>(latches: impl IntoIterator<Item = &'a bursar_controls::Latch>) -> Option<LatchMode> {
    latches.into_iter().map(|latch| latch.mode).max()
}

/// What a key check means for an account of this mode that has none.
pub const fn key_without_record(mode: AccountMode) -> KeyState {
    match mode {
        AccountMode::Paper => KeyState::NotNeeded,
        AccountMode::Live | AccountMode::Shadow => KeyState::Missing,
    }
}
