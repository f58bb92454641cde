use std::fmt;

use bursar_model::{Asset, InexactError, Usd, decimal};
use rust_decimal::{Decimal, dec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The installation's own limits and tolerances. Kept in the daemon's settings and in the store,
/// never in a user's reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
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
    /// What the positions of an account have cost and its working orders may cost, together. As with
    /// every limit here that may be `None`: that is no limit, and zero is a limit of zero.
    pub max_account_exposure: Option<Usd>,
    /// The same over all accounts of a user.
    pub max_user_exposure: Option<Usd>,
    /// The same over all accounts; paper money counts with paper money only.
    pub max_global_exposure: Option<Usd>,
    /// What entries of an account may cost in a trading day, whether they are held still or not.
    pub max_account_turnover: Option<Usd>,
    /// The same over all accounts of a user.
    pub max_user_turnover: Option<Usd>,
    /// Orders admitted per account and minute. Orders that reduce may be as many again, so that entries
    /// never use up what an exit needs.
    pub max_orders_per_minute: u32,
    /// The loss of an account's trading day at which its entries stop.
    pub max_account_daily_loss: Option<Usd>,
    /// The loss of all real accounts together at which all entries stop.
    pub max_global_daily_loss: Option<Usd>,
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
            max_account_exposure: Some(Usd::new(dec!(50_000))),
            max_user_exposure: Some(Usd::new(dec!(100_000))),
            max_global_exposure: Some(Usd::new(dec!(1_000_000))),
            max_account_turnover: Some(Usd::new(dec!(100_000))),
            max_user_turnover: Some(Usd::new(dec!(200_000))),
            max_orders_per_minute: 60,
            max_account_daily_loss: None,
            max_global_daily_loss: None,
        }
    }
}

impl Policy {
    /// How many times the market's price an order may cost at worst.
    ///
    /// # Errors
    ///
    /// Where that has more digits than are calculated with.
    pub fn collar_factor(&self) -> Result<Decimal, InexactError> {
        decimal::add(
            Decimal::ONE,
            decimal::mul(self.collar_percent, Decimal::new(1, 2))?,
        )
    }

    /// How many times its price in dollars an asset may cost until what is paid for in it is filled:
    /// as much room as the collar gives to a price, and none for the dollar.
    ///
    /// # Errors
    ///
    /// Where that has more digits than are calculated with.
    pub fn rate_factor(&self, quote: &Asset) -> Result<Decimal, InexactError> {
        if quote.is_usd() {
            Ok(Decimal::ONE)
        } else {
            self.collar_factor()
        }
    }

    /// How many orders of an account may be admitted in a minute, counted with all of that minute.
    pub const fn orders_per_minute(&self, is_reducing: bool) -> u32 {
        if is_reducing {
            self.max_orders_per_minute.saturating_mul(2)
        } else {
            self.max_orders_per_minute
        }
    }

    /// The limits and tolerances that `wanted` would loosen, by name.
    pub fn loosened_by(&self, wanted: &Self) -> Vec<&'static str> {
        let looser = self.compared(wanted).1;
        looser.into_iter().map(|limit| limit.name).collect()
    }

    /// The same, each with what it is and what it would be, for people: `order_usd: 100.00 USD to 200.00 USD`.
    pub fn loosenings(&self, wanted: &Self) -> Vec<String> {
        let looser = self.compared(wanted).1;
        looser.iter().map(ToString::to_string).collect()
    }

    /// Of each limit the stricter one of the two: what may be put in force without asking anybody.
    #[must_use]
    pub fn tightened_by(&self, wanted: &Self) -> Self {
        self.compared(wanted).0
    }

    /// Every field is named, so that a new one has to say which way is looser.
    fn compared(&self, wanted: &Self) -> (Self, Vec<Looser>) {
        let mut looser = Vec::new();
        let mut compare = Comparison { looser: &mut looser };
        let strictest = Self {
            max_order_equity_percent: compare.at_most(
                "order_equity_percent",
                self.max_order_equity_percent,
                wanted.max_order_equity_percent,
            ),
            max_order: compare.at_most("order_usd", self.max_order, wanted.max_order),
            max_entries_per_day: compare.at_most(
                "entries_per_day",
                self.max_entries_per_day,
                wanted.max_entries_per_day,
            ),
            max_open_orders: compare.at_most(
                "open_orders_per_account",
                self.max_open_orders,
                wanted.max_open_orders,
            ),
            reference_max_age_ms: compare.at_most(
                "reference_price_max_age_s",
                self.reference_max_age_ms,
                wanted.reference_max_age_ms,
            ),
            balance_max_age_ms: compare.at_most(
                "balance_max_age_s",
                self.balance_max_age_ms,
                wanted.balance_max_age_ms,
            ),
            collar_percent: compare.at_most(
                "price_collar_percent",
                self.collar_percent,
                wanted.collar_percent,
            ),
            duplicate_window_ms: compare.at_least(
                "duplicate_window_ms",
                self.duplicate_window_ms,
                wanted.duplicate_window_ms,
            ),
            stress_percent: compare.at_least("stress_percent", self.stress_percent, wanted.stress_percent),
            market_valid_ms: compare.at_most("market_valid_s", self.market_valid_ms, wanted.market_valid_ms),
            limit_valid_ms: compare.at_most("limit_valid_s", self.limit_valid_ms, wanted.limit_valid_ms),
            max_account_exposure: compare.within(
                "exposure_per_account_usd",
                self.max_account_exposure,
                wanted.max_account_exposure,
            ),
            max_user_exposure: compare.within(
                "exposure_per_user_usd",
                self.max_user_exposure,
                wanted.max_user_exposure,
            ),
            max_global_exposure: compare.within(
                "exposure_total_usd",
                self.max_global_exposure,
                wanted.max_global_exposure,
            ),
            max_account_turnover: compare.within(
                "turnover_per_account_usd",
                self.max_account_turnover,
                wanted.max_account_turnover,
            ),
            max_user_turnover: compare.within(
                "turnover_per_user_usd",
                self.max_user_turnover,
                wanted.max_user_turnover,
            ),
            max_orders_per_minute: compare.at_most(
                "orders_per_minute",
                self.max_orders_per_minute,
                wanted.max_orders_per_minute,
            ),
            max_account_daily_loss: compare.within(
                "daily_loss_per_account_usd",
                self.max_account_daily_loss,
                wanted.max_account_daily_loss,
            ),
            max_global_daily_loss: compare.within(
                "daily_loss_total_usd",
                self.max_global_daily_loss,
                wanted.max_global_daily_loss,
            ),
        };
        (strictest, looser)
    }
}

/// A limit that would be looser.
struct Looser {
    name: &'static str,
    now: String,
    wanted: String,
}

impl Looser {
    fn new(name: &'static str, now: impl fmt::Display, wanted: impl fmt::Display) -> Self {
        // They are kept in milliseconds and named, as in the settings, in seconds.
        let shown = |value: String| match value.parse::<Decimal>() {
            Ok(ms) if name.ends_with("_s") => (ms * dec!(0.001)).normalize().to_string(),
            _ => value,
        };
        Self {
            name,
            now: shown(now.to_string()),
            wanted: shown(wanted.to_string()),
        }
    }
}

impl fmt::Display for Looser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} to {}", self.name, self.now, self.wanted)
    }
}

struct Comparison<'l> {
    looser: &'l mut Vec<Looser>,
}

impl Comparison<'_> {
    /// A limit from above: more is looser.
    fn at_most<T: Ord + Copy + fmt::Display>(&mut self, name: &'static str, now: T, wanted: T) -> T {
        if wanted > now {
            self.looser.push(Looser::new(name, now, wanted));
        }
        now.min(wanted)
    }

    /// As [`at_most`](Self::at_most), where `None` is no limit and so the loosest of all.
    fn within<T: Ord + Copy + fmt::Display>(
        &mut self,
        name: &'static str,
        now: Option<T>,
        wanted: Option<T>,
    ) -> Option<T> {
        let is_looser = match (now, wanted) {
            (Some(now), Some(wanted)) => wanted > now,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_looser {
            let shown =
                |limit: Option<T>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
            self.looser.push(Looser::new(name, shown(now), shown(wanted)));
            return now;
        }
        wanted
    }

    /// A guard that protects more the larger it is.
    fn at_least<T: Ord + Copy + fmt::Display>(&mut self, name: &'static str, now: T, wanted: T) -> T {
        if wanted < now {
            self.looser.push(Looser::new(name, now, wanted));
        }
        now.max(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loosening_is_named_and_tightening_is_taken_over() {
        let now = Policy::default();
        let wanted = Policy {
            max_order: Usd::new(dec!(20_000)),
            max_entries_per_day: 5,
            duplicate_window_ms: 0,
            stress_percent: dec!(10),
            max_account_exposure: None,
            max_global_daily_loss: Some(Usd::ZERO),
            ..now.clone()
        };

        assert_eq!(
            now.loosened_by(&wanted),
            ["order_usd", "duplicate_window_ms", "exposure_per_account_usd"]
        );
        let slower = Policy {
            reference_max_age_ms: now.reference_max_age_ms + 1_500,
            ..wanted.clone()
        };
        let shown = now.loosenings(&slower);
        assert!(
            shown.contains(&format!("order_usd: {} to 20000.00 USD", now.max_order)),
            "{shown:?}"
        );
        let seconds = Decimal::from(now.reference_max_age_ms) / dec!(1000);
        let expected = format!(
            "reference_price_max_age_s: {} to {}",
            seconds.normalize(),
            (seconds + dec!(1.5)).normalize()
        );
        assert!(shown.contains(&expected), "{shown:?}");
        assert!(
            shown.iter().any(|limit| limit.ends_with("to no limit")),
            "{shown:?}"
        );
        assert_eq!(
            now.tightened_by(&wanted),
            Policy {
                max_entries_per_day: 5,
                stress_percent: dec!(10),
                max_global_daily_loss: Some(Usd::ZERO),
                ..now.clone()
            }
        );
    }

    /// Of each field, so that a new one is looked at too.
    #[test]
    fn every_limit_knows_which_way_is_looser() {
        let now = Policy {
            max_account_daily_loss: Some(Usd::new(dec!(500))),
            max_global_daily_loss: Some(Usd::new(dec!(5_000))),
            ..Policy::default()
        };
        let fields = serde_json::to_value(&now).unwrap();
        let moved = |field: &str, by: i64| -> Policy {
            let mut fields = fields.clone();
            fields[field] = match fields[field].as_i64() {
                Some(number) => serde_json::Value::from(number + by),
                None => {
                    let amount: Decimal = fields[field].as_str().unwrap().parse().unwrap();
                    serde_json::Value::from((amount + Decimal::from(by)).to_string())
                }
            };
            serde_json::from_value(fields).unwrap()
        };

        let mut named = Vec::new();
        for field in fields.as_object().unwrap().keys() {
            let protects = ["duplicate_window_ms", "stress_percent"].contains(&field.as_str());
            let up = if protects { -1 } else { 1 };
            let (looser, stricter) = (moved(field, up), moved(field, -up));
            let names = now.loosened_by(&looser);
            assert_eq!(names.len(), 1, "{field}");
            named.extend(names);
            assert_eq!(now.tightened_by(&looser), now, "{field}");
            assert!(now.loosened_by(&stricter).is_empty(), "{field}");
            assert_eq!(now.tightened_by(&stricter), stricter, "{field}");
        }
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), fields.as_object().unwrap().len(), "{named:?}");
    }

    #[test]
    fn the_same_limits_loosen_nothing() {
        assert!(Policy::default().loosened_by(&Policy::default()).is_empty());
    }
}
