//! A world in which any small order passes; a test sets what matters to it.

use bursar_controls::{
    AccountState, ApprovedOrder, ClearRule, DayState, Funds, Holding, KeyState, Latch, LatchCause, LatchMode,
    MarkHealth, Observed, Policy, PositionCount, Readiness, Refused, Scope, Sizing, Snapshot, review, size,
};
use bursar_model::{
    AccountMode, AccountStatus, Check, Instrument, InstrumentStatus, LatchId, OrderKind, OrderRequest,
    OrderSize, PairRule, Quote, Side, Usd, UserLimits, Verdict,
};
use bursar_permissions::{Caller, PermittedOrder, TradingContext, UserPermissions, permit};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, dec};

pub(crate) fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

pub(crate) fn ago(ms: i64) -> Timestamp {
    now() - SignedDuration::from_millis(ms)
}

pub(crate) fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn seen<T>(value: T) -> Observed<T> {
    Observed {
        value,
        at: ago(1_000),
        source: "test".into(),
    }
}

/// Bitcoin at 60 000, a user with limits of 1 000 / 500 / 5, an account worth 100 000.
pub(crate) fn world() -> Snapshot {
    Snapshot {
        now: now(),
        policy: Policy::default(),
        account: AccountState {
            id: "kraken-ilves".parse().unwrap(),
            user: "mara_ilves".parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            mode: AccountMode::Live,
            readiness: Readiness::Ready,
            key: KeyState::Admitted {
                checked_at: ago(60_000),
            },
        },
        switches: vec![],
        limits: UserLimits {
            max_position: usd("1000"),
            max_daily_loss: usd("500"),
            max_positions: 5,
            pairs: PairRule::Only(["BTC-USD".parse().unwrap()].into()),
        },
        holding: Holding::default(),
        positions: PositionCount::default(),
        open_orders: 0,
        entries_today: 0,
        day: DayState {
            key: "2026-03-02".into(),
            loss: Usd::ZERO,
            reserved_loss: Usd::ZERO,
            extra_allowance: Usd::ZERO,
            marks: MarkHealth::NothingOpen,
        },
        equity: Some(seen(usd("100000"))),
        funds: Some(seen(Funds {
            quote: dec!(50000),
            base: dec!(1),
        })),
        instrument: Some(seen(Instrument {
            pair: "BTC-USD".parse().unwrap(),
            status: InstrumentStatus::Online,
            price_increment: "0.1".parse().unwrap(),
            quantity_increment: "0.00000001".parse().unwrap(),
            min_quantity: "0.00005".parse().unwrap(),
            min_cost: dec!(0.5),
            taker_fee_percent: dec!(0.4),
            maker_fee_percent: dec!(0.25),
        })),
        quote: Some(quote("59999.9", "60000.1", 1_000)),
        usd_rate: Some(Observed {
            value: "1".parse().unwrap(),
            at: now(),
            source: "the dollar itself".into(),
        }),
        recent: vec![],
        unresolved: false,
        usage: bursar_controls::Usage::default(),
    }
}

pub(crate) fn quote(bid: &str, ask: &str, age_ms: i64) -> Quote {
    Quote {
        pair: "BTC-USD".parse().unwrap(),
        bid: bid.parse().unwrap(),
        ask: ask.parse().unwrap(),
        last: bid.parse().unwrap(),
        at: ago(age_ms),
    }
}

pub(crate) fn buy(dollars: &str) -> OrderRequest {
    OrderRequest::market(
        "BTC-USD".parse().unwrap(),
        Side::Buy,
        OrderSize::Usd(usd(dollars)),
    )
}

pub(crate) fn sell(quantity: &str) -> OrderRequest {
    let size = OrderSize::Quantity(quantity.parse().unwrap());
    OrderRequest::market("BTC-USD".parse().unwrap(), Side::Sell, size)
}

pub(crate) fn limit(mut order: OrderRequest, price: &str) -> OrderRequest {
    order.kind = OrderKind::Limit {
        price: price.parse().unwrap(),
    };
    order
}

pub(crate) fn with(mut order: OrderRequest, kind: OrderKind) -> OrderRequest {
    order.kind = kind;
    order
}

pub(crate) fn quantity(mut order: OrderRequest, quantity: &str) -> OrderRequest {
    order.size = OrderSize::Quantity(quantity.parse().unwrap());
    order
}

/// A position of `quantity` bitcoin that cost 60 000 each.
pub(crate) fn holding(quantity: Decimal) -> Holding {
    Holding {
        quantity,
        cost: Usd::new(quantity * dec!(60000)),
        ..Holding::default()
    }
}

pub(crate) fn latch(scope: &str, mode: LatchMode) -> Latch {
    Latch {
        id: LatchId::from_uuid(uuid_of(scope)),
        scope: scope.parse::<Scope>().unwrap(),
        mode,
        cause: LatchCause::Manual,
        reason: "maintenance".into(),
        tripped_by: "operator:ops_desk".into(),
        tripped_at: ago(5_000),
        clear_rule: ClearRule::Manual,
    }
}

fn uuid_of(text: &str) -> uuid::Uuid {
    uuid::Uuid::from_u128(text.bytes().fold(0, |sum: u128, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    }))
}

/// Takes an order the whole way: sized, permitted, reviewed.
pub(crate) fn decide(order: OrderRequest, snapshot: &Snapshot) -> Result<ApprovedOrder, Refused> {
    decide_as(&Caller::Operator, order, snapshot)
}

pub(crate) fn decide_as(
    caller: &Caller,
    order: OrderRequest,
    snapshot: &Snapshot,
) -> Result<ApprovedOrder, Refused> {
    let sizing = size(&order, snapshot).map_err(|trace| refused(&order, trace, snapshot))?;
    judge(caller, order, sizing, snapshot)
}

/// Looks again at an order that was admitted with this sizing.
pub(crate) fn decide_sized(
    order: OrderRequest,
    sizing: Sizing,
    snapshot: &Snapshot,
) -> Result<ApprovedOrder, Refused> {
    judge(&Caller::Operator, order, sizing, snapshot)
}

fn refused(order: &OrderRequest, trace: Vec<Check>, snapshot: &Snapshot) -> Refused {
    Refused {
        account: snapshot.account.id.clone(),
        order: order.to_string(),
        trace,
    }
}

fn judge(
    caller: &Caller,
    order: OrderRequest,
    sizing: Sizing,
    snapshot: &Snapshot,
) -> Result<ApprovedOrder, Refused> {
    let permitted = permitted(caller, order, &sizing, snapshot)?;
    review(permitted, sizing, snapshot)
}

/// What an order needs before it is reviewed.
pub(crate) fn permitted(
    caller: &Caller,
    order: OrderRequest,
    sizing: &Sizing,
    snapshot: &Snapshot,
) -> Result<PermittedOrder, Refused> {
    let permissions = UserPermissions::new(UserLimits {
        pairs: PairRule::All,
        ..snapshot.limits.clone()
    });
    let context = TradingContext {
        caller,
        account: &snapshot.account.id,
        account_status: AccountStatus::Active,
        user: &snapshot.account.user,
        user_enabled: true,
        permissions: &permissions,
        reducing: bursar_controls::reduces(&sizing.terms, snapshot),
    };
    permit(order.clone(), context).map_err(|trace| refused(&order, trace, snapshot))
}

/// The rules that refuse an order, in order; empty when it is approved.
pub(crate) fn broken(order: OrderRequest, snapshot: &Snapshot) -> Vec<String> {
    match decide(order, snapshot) {
        Ok(_) => vec![],
        Err(refused) => refused.broken().map(|check| check.rule.clone()).collect(),
    }
}

/// What one rule says of an order.
pub(crate) fn said(rule: &str, order: OrderRequest, snapshot: &Snapshot) -> Check {
    let trace = match decide(order, snapshot) {
        Ok(approved) => approved.trace().to_vec(),
        Err(refused) => refused.trace,
    };
    trace
        .into_iter()
        .find(|check| check.rule == rule)
        .unwrap_or_else(|| panic!("no rule `{rule}`"))
}

pub(crate) fn verdict(rule: &str, order: OrderRequest, snapshot: &Snapshot) -> Verdict {
    said(rule, order, snapshot).verdict
}
