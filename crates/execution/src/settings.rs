//! The settings file in the words of the gate, the counters, the desk and the trading day.

use bursar_config::{Seconds, Settings};
use bursar_controls::{LatchMode, Policy};
use jiff::SignedDuration;

use crate::breaker::BreakerPolicy;
use crate::errors::{ErrorPolicy, Threshold};
use crate::{DayBoundary, DeskSettings};

/// The installation's limits and tolerances. The daemon writes them into the store, where every
/// process that admits an order reads them.
pub fn policy(settings: &Settings) -> Policy {
    let (caps, gate) = (&settings.caps, &settings.gate);
    Policy {
        max_order_equity_percent: caps.order_equity_percent,
        max_order: caps.order_usd,
        max_entries_per_day: caps.entries_per_day,
        max_open_orders: caps.open_orders_per_account,
        reference_max_age_ms: gate.reference_price_max_age_s.milliseconds(),
        balance_max_age_ms: gate.balance_max_age_s.milliseconds(),
        collar_percent: gate.price_collar_percent,
        duplicate_window_ms: gate.duplicate_window_ms.milliseconds(),
        stress_percent: gate.stress_percent,
        market_valid_ms: gate.market_valid_s.milliseconds(),
        limit_valid_ms: gate.limit_valid_s.milliseconds(),
        max_account_exposure: caps.exposure_per_account_usd,
        max_user_exposure: caps.exposure_per_user_usd,
        max_global_exposure: caps.exposure_total_usd,
        max_account_turnover: caps.turnover_per_account_usd,
        max_user_turnover: caps.turnover_per_user_usd,
        max_orders_per_minute: caps.orders_per_minute,
        max_account_daily_loss: caps.daily_loss_per_account_usd,
        max_global_daily_loss: caps.daily_loss_total_usd,
    }
}

/// When errors stop an account.
pub fn error_policy(settings: &Settings) -> ErrorPolicy {
    let errors = &settings.errors;
    let window = |seconds: Seconds| SignedDuration::from_millis(seconds.milliseconds());
    let of = |count, window, mode| Threshold { count, window, mode };
    ErrorPolicy {
        ambiguous: of(errors.threshold, window(errors.window_s), LatchMode::ReduceOnly),
        auth: of(errors.auth_threshold, window(errors.window_s), LatchMode::Halt),
        nonce: of(
            errors.nonce_threshold,
            window(errors.nonce_window_s),
            LatchMode::ReduceOnly,
        ),
        ambiguous_row: errors.row_threshold,
        business_alarm: errors.business_alarm,
    }
}

/// When an exchange as a whole counts as out of order.
pub fn breaker_policy(settings: &Settings) -> BreakerPolicy {
    let breaker = &settings.breaker;
    let span = |seconds: Seconds| SignedDuration::from_millis(seconds.milliseconds());
    BreakerPolicy {
        window: span(breaker.window_s),
        min_requests: breaker.min_requests,
        fault_percent: breaker.fault_percent,
        probe_every: span(breaker.probe_s),
        good_probes: breaker.good_probes,
    }
}

/// How often a desk looks at its venue.
pub fn desk_settings(settings: &Settings) -> DeskSettings {
    let accounts = &settings.accounts;
    DeskSettings {
        active_interval: accounts.order_poll_ms.duration(),
        balance_interval: accounts.balance_poll_s.duration(),
        ..DeskSettings::default()
    }
}

/// When trading days begin. The store keeps it, and the trading days are found by its
/// [rule](DayBoundary::rule).
pub fn day_boundary(settings: &Settings) -> DayBoundary {
    DayBoundary {
        zone: settings.day.zone.as_str().to_owned(),
        at: settings.day.start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d30_the_default_settings_are_the_default_policy() {
        assert_eq!(policy(&Settings::default()), Policy::default());
    }

    #[test]
    fn d7_the_default_settings_are_the_default_thresholds() {
        assert_eq!(error_policy(&Settings::default()), ErrorPolicy::default());
        assert_eq!(breaker_policy(&Settings::default()), BreakerPolicy::default());
    }

    #[test]
    fn d25_days_begin_at_midnight_utc_unless_a_zone_is_set() {
        let day = day_boundary(&Settings::default())
            .rule()
            .unwrap()
            .day_at("2026-03-02T00:00:00Z".parse().unwrap())
            .unwrap();

        assert_eq!(day.start.to_string(), "2026-03-02T00:00:00Z");
    }
}
