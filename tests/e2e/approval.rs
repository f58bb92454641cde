//! Orders that really went through permission and control, with limits that let everything pass.

use bursar_controls::{
    AccountState, ApprovedOrder, DayState, Funds, Holding, KeyState, MarkHealth, Observed, Policy,
    PositionCount, Readiness, Snapshot, review, size,
};
use bursar_model::{
    AccountMode, AccountStatus, Instrument, OrderRequest, PairRule, Price, Quote, Side, Usd, UserLimits,
};
use bursar_permissions::{Caller, TradingContext, UserPermissions, permit};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};

/// Approves `request` for an account with more money than it could need.
pub(crate) fn approved(
    account: &str,
    request: OrderRequest,
    instrument: Instrument,
    price: Price,
    now: Timestamp,
) -> Result<ApprovedOrder, String> {
    let limits = UserLimits {
        max_position: Usd::new(dec!(1_000_000_000)),
        max_daily_loss: Usd::new(dec!(1_000_000_000)),
        max_positions: 9,
        pairs: PairRule::All,
    };
    let snapshot = snapshot(account, limits.clone(), instrument, price, now);
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
    let sizing = size(&request, &snapshot).map_err(|broken| format!("{broken:?}"))?;
    let permitted = permit(request.clone(), context).map_err(|broken| format!("{broken:?}"))?;
    review(permitted, sizing, &snapshot).map_err(|refused| refused.to_string())
}

fn snapshot(
    account: &str,
    limits: UserLimits,
    instrument: Instrument,
    price: Price,
    now: Timestamp,
) -> Snapshot {
    fn seen<T>(value: T, at: Timestamp) -> Option<Observed<T>> {
        Some(Observed {
            value,
            at,
            source: "test".into(),
        })
    }
    let pair = instrument.pair.clone();
    Snapshot {
        now,
        policy: Policy {
            max_order: Usd::new(dec!(1_000_000_000)),
            max_account_exposure: None,
            max_user_exposure: None,
            max_global_exposure: None,
            max_account_turnover: None,
            max_user_turnover: None,
            ..Policy::default()
        },
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
            key: "2026-11-20".into(),
            loss: Usd::ZERO,
            reserved_loss: Usd::ZERO,
            extra_allowance: Usd::ZERO,
            marks: MarkHealth::NothingOpen,
        },
        equity: seen(Usd::new(dec!(10_000_000_000)), now),
        funds: seen(
            Funds {
                quote: dec!(10_000_000_000),
                base: Decimal::ONE,
            },
            now,
        ),
        instrument: seen(instrument, now),
        quote: Some(Quote {
            pair,
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
