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
    let snapshot = snapshot(account, limits(), &request, now);
    judged(request, &snapshot)
}

/// Approves a way out of a position while no price is known.
pub(crate) fn approved_without_price(request: OrderRequest, now: Timestamp) -> ApprovedOrder {
    let snapshot = Snapshot {
        quote: None,
        ..snapshot(ACCOUNT, limits(), &request, now)
    };
    judged(request, &snapshot)
}

fn limits() -> UserLimits {
    UserLimits {
        max_position: Usd::new(dec!(9_000_000)),
        max_daily_loss: Usd::new(dec!(9_000_000)),
        max_positions: 9,
        pairs: PairRule::All,
    }
}

fn judged(request: OrderRequest, snapshot: &Snapshot) -> ApprovedOrder {
    let limits = limits();
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
    let sizing = size(&request, snapshot).unwrap();
    let permitted = permit(request.clone(), context).unwrap();
    review(permitted, sizing, snapshot).unwrap_or_else(|refused| panic!("{refused}"))
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
        policy: Policy {
            // The contract asks the exchange for what it must refuse; the gate lets it through.
            max_order: Usd::new(dec!(10_000_000)),
            max_account_exposure: None,
            max_user_exposure: None,
            max_global_exposure: None,
            max_account_turnover: None,
            max_user_turnover: None,
            max_order_equity_percent: dec!(100),
            ..Policy::default()
        },
        account: AccountState {
            id: account.parse().unwrap(),
            user: "mara_ilves".parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            mode: AccountMode::Paper,
            readiness: Readiness::Ready,
            key: KeyState::NotNeeded,
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
        equity: seen(Usd::new(dec!(100_000_000)), now),
        funds: seen(
            Funds {
                quote: dec!(100_000_000),
                base: Decimal::ONE,
            },
            now,
        ),
        instrument: seen(instrument(), now),
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

pub(crate) fn instrument() -> Instrument {
    Instrument {
        pair: "BTC-USD".parse().unwrap(),
        status: InstrumentStatus::Online,
        price_increment: "0.1".parse().unwrap(),
        quantity_increment: "0.00000001".parse().unwrap(),
        min_quantity: "0.00005".parse().unwrap(),
        min_cost: dec!(0.5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    }
}
