//! Limits of the installation: caps, the gate, the trading day, and what errors lead to.

use bursar_model::Usd;
use jiff::civil::{Time, time};
use rust_decimal::{Decimal, dec};

use crate::section::{
    any, at_least_one, none_or_not_negative, not_negative, percent, percent_above_zero, section,
};
use crate::values::{Milliseconds, Seconds, ZoneName};

section! {
    /// Caps that hold for everybody and that no user, strategy or request can lift.
    pub struct Caps {
        /// The most that one order may be worth, in percent of the account's equity.
        pub order_equity_percent: Decimal = dec!(10), percent_above_zero;
        /// The most that one order may be worth.
        pub order_usd: Usd = Usd::new(dec!(10_000)), not_negative;
        /// Entries admitted per account and trading day.
        pub entries_per_day: u32 = 50, any;
        /// Orders of an account that work or may work at the exchange at the same time.
        pub open_orders_per_account: u32 = 20, at_least_one;
        /// Orders admitted per account and minute. Orders that reduce may be as many again.
        pub orders_per_minute: u32 = 60, at_least_one;
        /// What the positions of an account have cost and its working orders may cost, together; "none" is
        /// no limit, here and below.
        pub exposure_per_account_usd: Option<Usd> = Some(Usd::new(dec!(50_000))), none_or_not_negative;
        /// The same over all accounts of a user.
        pub exposure_per_user_usd: Option<Usd> = Some(Usd::new(dec!(100_000))), none_or_not_negative;
        /// The same over everybody; paper counts with paper only.
        pub exposure_total_usd: Option<Usd> = Some(Usd::new(dec!(1_000_000))), none_or_not_negative;
        /// What an account may buy in a trading day, whether it holds it still or not.
        pub turnover_per_account_usd: Option<Usd> = Some(Usd::new(dec!(100_000))), none_or_not_negative;
        /// The same over all accounts of a user.
        pub turnover_per_user_usd: Option<Usd> = Some(Usd::new(dec!(200_000))), none_or_not_negative;
        /// The loss of an account's trading day at which its entries stop, beside the limit of its user.
        pub daily_loss_per_account_usd: Option<Usd> = None, none_or_not_negative;
        /// The loss of all real accounts together at which all entries stop.
        pub daily_loss_total_usd: Option<Usd> = None, none_or_not_negative;
    }
}

section! {
    /// What the gate takes for fresh, near and double.
    pub struct Gate {
        /// How old the price may be by which an order is measured.
        pub reference_price_max_age_s: Seconds = Seconds(30), Seconds::some;
        /// How old the balance may be by which an order is measured.
        pub balance_max_age_s: Seconds = Seconds(120), Seconds::some;
        /// How far a price may lie on the costly side of the reference price.
        pub price_collar_percent: Decimal = dec!(2), percent_above_zero;
        /// How soon the same order again is taken for a mistake; 0 switches the check off.
        pub duplicate_window_ms: Milliseconds = Milliseconds(2_000), any;
        /// How long an admitted market order may wait to be sent.
        pub market_valid_s: Seconds = Seconds(5), Seconds::some;
        /// How long any other admitted order may wait to be sent.
        pub limit_valid_s: Seconds = Seconds(30), Seconds::some;
        /// The move against a new position that is assumed before it is allowed, so that one order
        /// cannot jump far past the daily loss limit.
        pub stress_percent: Decimal = dec!(5), percent;
    }
}

section! {
    /// When a trading day begins. The day's loss is counted from there.
    pub struct Day {
        /// A time zone by name. Daylight saving gives days of 23 or 25 hours.
        pub zone: ZoneName = ZoneName::utc(), any;
        /// The time of day in that zone.
        pub start: Time = time(0, 0, 0, 0), any;
    }
}

section! {
    /// When errors of an exchange stop an account. Our own refusals never count.
    pub struct Errors {
        /// Errors are counted over this time.
        pub window_s: Seconds = Seconds(600), Seconds::some;
        /// So many errors in the window stop the account.
        pub threshold: u32 = 5, at_least_one;
        /// So many refusals of the key in the window disable the key.
        pub auth_threshold: u32 = 2, at_least_one;
        /// So many refused nonces stop the account, ...
        pub nonce_threshold: u32 = 3, at_least_one;
        /// ... when they come within this time.
        pub nonce_window_s: Seconds = Seconds(60), Seconds::some;
        /// So many unclear answers in a row, however long that takes, stop the account. One clear answer to
        /// the same kind of request begins anew.
        pub row_threshold: u32 = 5, at_least_one;
        /// So many orders refused by the exchange in the window are reported. They stop nothing.
        pub business_alarm: u32 = 10, at_least_one;
    }
}

section! {
    /// When an exchange as a whole counts as out of order: new positions pause at it until it answers
    /// again.
    pub struct Breaker {
        /// Requests of all accounts are counted over this time.
        pub window_s: Seconds = Seconds(60), Seconds::some;
        /// With fewer requests in the window nothing is concluded.
        pub min_requests: u32 = 20, at_least_one;
        /// So many of them without a clear answer, in percent, trip it.
        pub fault_percent: Decimal = dec!(50), percent_above_zero;
        /// How often the exchange is asked whether it is back.
        pub probe_s: Seconds = Seconds(30), Seconds::some;
        /// So many good answers in a row clear it.
        pub good_probes: u32 = 3, at_least_one;
    }
}
