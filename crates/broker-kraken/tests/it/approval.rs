//! Orders that really went through permission and control.

use bursar_controls::{
    AccountState, ApprovedOrder, DayState, Funds, Holding, KeyState, MarkHealth, Observed, Policy,
    PositionCount, Readiness, Snapshot, review, size,
};
use bursar_model::{
    AccountMode, AccountStatus, Instrument, InstrumentStatus, OrderKind, OrderRequest, OrderSize, PairRule,
    Price, Quote, Side, TimeInForce, Usd, UserLimits,
};
use bursar_permissions::{Caller, TradingContext, UserPermissions, permit};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};

pub(crate) const ACCOUNT: &str = "kraken-ilves";

pub(crate) fn limit_buy(quantity: &str, price: &str) -> OrderRequest {
    OrderRequest {
        kind: OrderKind::Limit {
            price: price.parse().unwrap(),
        },
        ..market(Side::Buy, quantity)
    }
}

pub(crate) fn market(side: Side, quantity: &str) -> OrderRequest {
    OrderRequest {
        pair: "BTC-USD".parse().unwrap(),
        side,
        kind: OrderKind::Market,
        size: OrderSize::Quantity(quantity.parse().unwrap()),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: false,
        reduce_only: false,
        allow_repeat: false,
    }
}

/// Approves `request` at a market of 60000 for an account that holds one bitcoin.
pub(crate) fn approved(request: OrderRequest, now: Timestamp) -> ApprovedOrder {
    approved_for(ACCOUNT, request, now)
}

pub(crate) fn approved_for(account: &str, request: OrderRequest, now: Timestamp) -> ApprovedOrder {
    let limits = UserLimits {
        max_position: Usd::new(dec!(9000)),
        max_daily_loss: Usd::new(dec!(9000)),
        max_positions: 9,
        pairs: PairRule::All,
    };
    let snapshot = snapshot(account, limits.clone(), &request, now);
    let permissions = UserPermissions::new(limits);
    let context = TradingContext {
        caller: &Caller::Operator,
        account: &snapshot.account.id,
        account_status: AccountStatus::Active,
        user: &snapshot.account.user,
        user_enabled: true,
        permissions: &permissions,
        reducing: request.side == Side::Sell,
    };
    let sizing = size(&request, &snapshot).unwrap();
    let permitted = permit(request.clone(), context).unwrap();
    review(permitted, sizing, &snapshot).unwrap_or_else(|refused| panic!("{refused}"))
}

fn snapshot(account: &str, limits: UserLimits, request: &OrderRequest, now: Timestamp) -> Snapshot {
    let price: Price = "60000".parse().unwrap();
    fn seen<T>(value: T, at: Timestamp) -> Option<Observed<T>> {
        Some(Observed {
            value,
            at,
            source: "test".into(),
        })
    }
    Snapshot {
        now,
        policy: Policy::default(),
        account: AccountState {
            id: account.parse().unwrap(),
            user: "mara_ilves".parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            mode: AccountMode::Live,
            readiness: Readiness::Ready,
            key: KeyState::Admitted { checked_at: now },
        },
        switches: vec![],
        limits,
        holding: Holding {
            quantity: Decimal::ONE,
            ..Holding::default()
        },
        positions: PositionCount::default(),
        open_orders: 0,
        entries_today: 0,
        day: DayState {
            key: "2026-02-25".into(),
            loss: Usd::ZERO,
            reserved_loss: Usd::ZERO,
            extra_allowance: Usd::ZERO,
            marks: MarkHealth::NothingOpen,
        },
        equity: seen(Usd::new(dec!(1_000_000)), now),
        funds: seen(
            Funds {
                quote: dec!(1_000_000),
                base: Decimal::ONE,
            },
            now,
        ),
        instrument: seen(
            Instrument {
                pair: request.pair.clone(),
                status: InstrumentStatus::Online,
                price_increment: "0.1".parse().unwrap(),
                quantity_increment: "0.00000001".parse().unwrap(),
                min_quantity: "0.00005".parse().unwrap(),
                min_cost: dec!(0.5),
                taker_fee_percent: dec!(0.4),
                maker_fee_percent: dec!(0.25),
            },
            now,
        ),
        quote: Some(Quote {
            pair: request.pair.clone(),
            bid: price,
            ask: price,
            last: price,
            at: now,
        }),
        usd_rate: seen("1".parse().unwrap(), now),
        recent: vec![],
        unresolved: false,
        usage: bursar_controls::Usage::default(),
    }
}
