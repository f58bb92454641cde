//! What the gate is told besides the state of the model: an account in which any small order passes, and a user
//! who may hold one position.

use bursar_broker::{BrokerProfile, IdUniqueness};
use bursar_controls::{
    ClearRule, DayState, KeyState, Latch, LatchCause, LatchMode, MarkHealth, Observed, Policy, Scope, Usage,
};
use bursar_execution::{AccountBalances, Connection, ConnectionState, Facts, HeldPosition};
use bursar_model::{
    AccountId, Balance, BalanceKind, Instrument, InstrumentStatus, LatchId, OrderKind, OrderRequest,
    OrderSize, Pair, PairRule, Price, Quote, Side, Usd, UserLimits,
};
use bursar_permissions::UserPermissions;
use bursar_testkit::people;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use std::time::Duration;

use crate::gateway::{at, lasting};
use crate::grid::{Class, Config};
use crate::world::{Number, Tick};

pub(crate) fn account() -> AccountId {
    "kraken-ilves".parse().unwrap()
}

/// Each intent is for a pair of its own: one that is unknown keeps no other from being asked for, so that only
/// what is reserved stands in the way.
pub(crate) fn pair(intent: Number) -> Pair {
    ["BTC-USD", "ETH-USD"][usize::from(intent)].parse().unwrap()
}

const PRICE: Decimal = dec!(100);

pub(crate) fn request(intent: Number) -> OrderRequest {
    let size = OrderSize::Quantity("1".parse().unwrap());
    let mut request = OrderRequest::market(pair(intent), Side::Buy, size);
    // A limit order is good for longer than one tick.
    request.kind = OrderKind::Limit {
        price: Price::new(PRICE).unwrap(),
    };
    request
}

pub(crate) fn held(intent: Number) -> HeldPosition {
    HeldPosition {
        account: account(),
        pair: pair(intent),
        quantity: Decimal::ONE,
        cost: Usd::new(PRICE),
        is_dust: false,
    }
}

pub(crate) fn facts(intent: Number, now: Timestamp) -> Facts {
    let limits = UserLimits {
        max_position: "1000".parse().unwrap(),
        max_daily_loss: "500".parse().unwrap(),
        max_positions: 1,
        pairs: PairRule::All,
    };
    let dollars = Balance {
        asset: "USD".parse().unwrap(),
        kind: BalanceKind::Spendable,
        total: dec!(50000),
        held: Decimal::ZERO,
    };
    Facts {
        policy: Policy::default(),
        account: bursar_auth::Account::made(people::account("kraken-ilves", "mara_ilves"), at(0)),
        user_enabled: true,
        permissions: UserPermissions::new(limits),
        preferences: bursar_config::Preferences::default(),
        connection: Some(Connection {
            state: ConnectionState::Ready,
            cause: String::new(),
            since: at(0),
        }),
        key: KeyState::Admitted { checked_at: at(0) },
        latches: vec![],
        instrument: Some(Observed {
            value: instrument(intent),
            at: now,
            source: "model".into(),
        }),
        quotes: vec![quote(intent, now)],
        balances: Some(AccountBalances {
            balances: vec![dollars],
            equity: Some("50000".parse().unwrap()),
            at: now,
        }),
        positions: vec![],
        reserved: vec![],
        day: DayState {
            key: "2026-03-02".into(),
            loss: Usd::ZERO,
            reserved_loss: Usd::ZERO,
            extra_allowance: Usd::ZERO,
            marks: MarkHealth::NothingOpen,
        },
        entries_today: 0,
        open_orders: 0,
        recent: vec![],
        unresolved: vec![],
        usage: Usage::default(),
    }
}

fn instrument(intent: Number) -> Instrument {
    Instrument {
        pair: pair(intent),
        status: InstrumentStatus::Online,
        price_increment: "0.1".parse().unwrap(),
        quantity_increment: "0.00000001".parse().unwrap(),
        min_quantity: "0.00005".parse().unwrap(),
        min_cost: dec!(0.5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    }
}

fn quote(intent: Number, at: Timestamp) -> Quote {
    Quote {
        pair: pair(intent),
        bid: "99.9".parse().unwrap(),
        ask: "100.1".parse().unwrap(),
        last: "100".parse().unwrap(),
        at,
    }
}

/// The strictest switch that closes no positions.
pub(crate) fn switch(tripped_at: Timestamp) -> Latch {
    Latch {
        id: LatchId::from_uuid(uuid::Uuid::from_u128(1)),
        scope: Scope::Account(account()),
        mode: LatchMode::Halt,
        cause: LatchCause::Manual,
        reason: "model".into(),
        tripped_by: "ops_desk".into(),
        tripped_at,
        clear_rule: ClearRule::Manual,
    }
}

pub(crate) fn profile(config: &Config, lag: Tick) -> BrokerProfile {
    BrokerProfile {
        broker: "kraken".parse().unwrap(),
        id_uniqueness: match config.class {
            Class::Lifetime => IdUniqueness::Lifetime,
            Class::OpenOnly | Class::Nothing => IdUniqueness::OpenOrders,
        },
        acceptance: config.class.acceptance().map_or(Duration::MAX, lasting),
        visibility_lag: lasting(lag),
        sustainable_look: Duration::ZERO,
        retention: Duration::from_secs(24 * 3600),
        client_order_id: |intent| intent.to_string().parse().unwrap(),
    }
}
