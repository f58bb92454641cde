use bursar_model::Usd;
use rust_decimal::{Decimal, dec};
use serde::{Deserialize, Serialize};

/// The installation's own limits and tolerances. Kept in the daemon's settings and in the store,
/// never in a user's reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// No order is worth more than this share of the account's equity.
    pub max_order_equity_percent: Decimal,
    /// No order is worth more than this.
    pub max_order: Usd,
    /// Entries admitted per account and trading day.
    pub max_entries_per_day: u32,
    /// Orders of an account that work or may work at the venue at once.
    pub max_open_orders: u32,
    /// How old a reference price may be.
    pub reference_max_age_ms: i64,
    /// How old a balance may be.
    pub balance_max_age_ms: i64,
    /// How far a price may lie on the costly side of the reference price.
    pub collar_percent: Decimal,
    /// How soon the same order again is taken for a mistake.
    pub duplicate_window_ms: i64,
    /// The move against a new position that the pre-trade loss check assumes.
    pub stress_percent: Decimal,
    /// How long an admitted market order may wait to be sent.
    pub market_valid_ms: i64,
    /// How long any other admitted order may wait to be sent.
    pub limit_valid_ms: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_order_equity_percent: dec!(10),
            max_order: Usd::new(dec!(10_000)),
            max_entries_per_day: 50,
            max_open_orders: 20,
            reference_max_age_ms: 30_000,
            balance_max_age_ms: 120_000,
            collar_percent: dec!(2),
            duplicate_window_ms: 2_000,
            stress_percent: dec!(5),
            market_valid_ms: 5_000,
            limit_valid_ms: 30_000,
        }
    }
}
