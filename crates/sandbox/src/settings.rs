//! How the sandbox behaves where the real exchange leaves a choice, or where its behaviour is not
//! known for certain. The defaults are the documented ones, and the harsher of two unknowns.

use std::time::Duration;

use rust_decimal::Decimal;

use crate::limits::PublicLimit;

/// What to do with a post-only order that would take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostOnlyCrossing {
    /// Accept it with an id, then cancel it with the reason `Post only order`: the usual way.
    #[default]
    AcceptThenCancel,
    /// Refuse it at once with `EOrder:Post only order`.
    Refuse,
}

/// Which words `GetApiKeyInfo` uses for its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyInfoCasing {
    /// `nonceWindow`, a number, as the documentation shows it.
    #[default]
    Camel,
    /// `nonce_window`, a string, as recorded replies show it.
    Snake,
}

/// What `Ticker` answers when one of the pairs that it is asked for is not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownPair {
    /// An error and nothing else.
    #[default]
    RefusesAll,
    /// The same error beside the prices of the others.
    IsLeftOut,
}

/// The behaviour of one exchange.
#[derive(Clone, Debug)]
pub struct ExchangeSettings {
    /// What becomes of a post-only order that would take.
    pub post_only_crossing: PostOnlyCrossing,
    /// For customers whose specification does not say.
    pub key_info_casing: KeyInfoCasing,
    /// How a request for prices is answered that names a pair which is not listed, among others.
    pub unknown_pair: UnknownPair,
    /// How long a new order stays invisible to the reading calls.
    pub read_lag: Duration,
    /// So many bad nonces or signatures within a minute lock a key out.
    pub lockout_threshold: u32,
    /// How long that lasts.
    pub lockout: Duration,
    /// `None`: anonymous calls are not counted.
    pub public_limit: Option<PublicLimit>,
    /// Whether the word `false` in a form's `validate=false` counts as present, hence on.
    pub validate_by_presence: bool,
    /// Whether a single cancel is refused while the pair's counter is at its limit.
    pub cancels_are_limited: bool,
    /// Whether what an open buy order holds includes the fee it may cost.
    pub hold_includes_fee: bool,
    /// Whether an order that waits for its trigger shows as `pending`; else as `open`.
    pub untriggered_is_pending: bool,
    /// Distance between bid and ask, in hundredths of a basis point of the price; at least a tick.
    pub spread: u32,
    /// What one level of the book is worth on average, in US dollars or as many of the quote asset.
    pub level_value: u32,
    /// How soon liquidity that was taken comes back while the price stands still.
    pub refill: Option<Duration>,
    /// How many orders with a start time an account may have waiting.
    pub scheduled_orders: usize,
    /// Taker and maker fee schedules, percent by 30-day volume in US dollars.
    pub taker_fees: Vec<(Decimal, Decimal)>,
    /// Percent by 30-day volume in US dollars, rising in volume: what waits in the book pays this.
    pub maker_fees: Vec<(Decimal, Decimal)>,
}

impl Default for ExchangeSettings {
    fn default() -> Self {
        Self {
            post_only_crossing: PostOnlyCrossing::default(),
            key_info_casing: KeyInfoCasing::default(),
            unknown_pair: UnknownPair::default(),
            read_lag: Duration::ZERO,
            lockout_threshold: 20,
            lockout: Duration::from_secs(15 * 60),
            public_limit: None,
            validate_by_presence: true,
            cancels_are_limited: true,
            hold_includes_fee: true,
            untriggered_is_pending: true,
            spread: 100,
            level_value: 25_000,
            refill: Some(Duration::from_secs(1)),
            scheduled_orders: 25,
            taker_fees: schedule(&[40, 35, 24, 22, 20, 18, 16, 14, 12, 10]),
            maker_fees: schedule(&[25, 20, 14, 12, 10, 8, 6, 4, 2, 0]),
        }
    }
}

/// The public schedule: fees in hundredths of a percent, by volume.
fn schedule(fees: &[i64]) -> Vec<(Decimal, Decimal)> {
    const VOLUMES: [i64; 10] = [
        0, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
    ];
    VOLUMES
        .into_iter()
        .zip(fees)
        .map(|(volume, fee)| (Decimal::from(volume), Decimal::new(*fee, 2)))
        .collect()
}
