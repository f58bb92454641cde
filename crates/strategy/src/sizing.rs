//! How much to buy: what the risk level allows, made smaller until the gate has room for it.

use bursar_config::RiskLimits;
use bursar_controls::Policy;
use bursar_model::{Asset, InexactError, Price, Usd, UserLimits, decimal};
use rust_decimal::{Decimal, dec};
use serde::Serialize;
use strum::{Display, IntoStaticStr};

/// Everything that bounds one entry.
#[derive(Clone, Copy, Debug)]
pub struct SizingInput<'a> {
    /// What the account's orders are sized by; see [`size_base`].
    pub base: Usd,
    /// What the account is worth now.
    pub equity: Usd,
    /// The shares of the base that the owner's risk level allows.
    pub risk: &'a RiskLimits,
    /// The price that is paid, as far as is known.
    pub entry: Price,
    /// What is paid with.
    pub quote: &'a Asset,
    /// Where the position would be given up.
    pub stop: Price,
    /// Of each figure the tighter one of the user's permissions and preferences.
    pub limits: &'a UserLimits,
    /// The installation's caps, and its collar for the price.
    pub policy: &'a Policy,
    /// What the account's position in the pair has cost, working orders included.
    pub held: Usd,
    /// What is free of the quote asset, in dollars.
    pub free: Usd,
    /// The venue's worst fee, in percent.
    pub taker_fee_percent: Decimal,
    /// What the user may still lose today; `None` where it is not known here.
    pub loss_left: Option<Usd>,
    /// Orders below this are not worth their fees.
    pub smallest: Usd,
}

/// A size, and which of the bounds made it as small as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// To be asked for; at worst, with collar and fee, it still fits every bound.
    pub usd: Usd,
    /// The bound that allows the least.
    pub bound: Bound,
}

/// What kept an order from being larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Display, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Bound {
    /// What one trade may lose by its stop.
    RiskPerTrade,
    /// The largest share of equity that one position may cost.
    LargestPosition,
    /// The user's limit for a position.
    MaxPosition,
    /// The installation's cap for an order, in dollars.
    OrderCap,
    /// The installation's cap for an order, as a share of equity.
    EquityCap,
    /// What is free in the account.
    Funds,
    /// What the user may still lose today.
    DailyLoss,
}

/// Why nothing is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSize {
    /// The stop is not below the price: there is no risk to size by.
    #[error("the stop at `{stop}` is not below the price of `{entry}`")]
    NoDistance {
        /// The price at which it would be bought.
        entry: Price,
        /// The stop that is not below it.
        stop: Price,
    },
    /// There is room for some, but not for an order that is worth its fees.
    #[error("only {size} fits ({bound}), and orders below {smallest} are not placed")]
    TooSmall {
        /// What fits at most, in dollars; zero where nothing does.
        size: Usd,
        /// Which bound leaves no more.
        bound: Bound,
        /// In dollars, as [`SizingInput::smallest`] says.
        smallest: Usd,
    },
    /// A figure has more digits than are calculated with: nothing is bought on a guess.
    #[error(transparent)]
    Inexact(#[from] InexactError),
}

/// What orders are sized by: with `auto_compound` all that the account is worth, profits included;
/// otherwise never more than what was paid in.
pub fn size_base(equity: Usd, paid_in: Usd, auto_compound: bool) -> Usd {
    if auto_compound {
        equity
    } else {
        equity.min(paid_in)
    }
}

/// The size of an entry: what the risk level allows, then never more than what passes the gate at
/// worst. Every rounding is down.
///
/// # Errors
///
/// [`NoSize`], with what stands in the way.
pub fn order_size(input: &SizingInput<'_>) -> Result<Size, NoSize> {
    let policy = input.policy;
    let collar = policy.collar_factor()?;
    // What is not paid in dollars may become dearer in them before it is filled.
    let factor = decimal::mul(collar, policy.rate_factor(input.quote)?)?;
    let room = |limit: Usd, taken: Usd| -> Result<Usd, InexactError> {
        at_worst(limit.rounded_down().minus(taken)?, factor)
    };
    let largest = input.base.percent(input.risk.position_percent)?;
    let equity_cap = input.equity.percent(policy.max_order_equity_percent)?;
    let mut bounds = vec![
        (Bound::RiskPerTrade, by_risk(input)?),
        (Bound::LargestPosition, room(largest, input.held)?),
        (Bound::MaxPosition, room(input.limits.max_position, input.held)?),
        (Bound::OrderCap, room(policy.max_order, Usd::ZERO)?),
        (Bound::EquityCap, room(equity_cap, Usd::ZERO)?),
        (Bound::Funds, by_funds(input, collar)?),
    ];
    if let Some(left) = input.loss_left {
        bounds.push((Bound::DailyLoss, by_loss(input, left, factor)?));
    }
    let (bound, usd) = bounds
        .into_iter()
        .min_by_key(|(_, usd)| *usd)
        .ok_or(InexactError)?;
    if usd < input.smallest || usd <= Usd::ZERO {
        return Err(NoSize::TooSmall {
            size: usd.max(Usd::ZERO),
            bound,
            smallest: input.smallest,
        });
    }
    Ok(Size { usd, bound })
}

/// What may be bought so that the stop loses no more than the risk level's share of the base.
fn by_risk(input: &SizingInput<'_>) -> Result<Usd, NoSize> {
    let (entry, stop) = (input.entry, input.stop);
    let distance = decimal::sub(entry.value(), stop.value())?;
    if distance <= Decimal::ZERO {
        return Err(NoSize::NoDistance { entry, stop });
    }
    let at_risk = input.base.percent(input.risk.trade_percent)?;
    // The share of a dollar that is lost at the stop, rounded up: the size never rounds to more risk.
    let share = decimal::div_up(distance, entry.value())?;
    divided(at_risk, share).map_err(NoSize::from)
}

/// What can be paid for with collar and fee. Two cents stay for the gate's own rounding up.
fn by_funds(input: &SizingInput<'_>, collar: Decimal) -> Result<Usd, InexactError> {
    let with_fee = decimal::mul(collar, add_percent(input.taker_fee_percent)?)?;
    at_worst(input.free.rounded_down().minus(TWO_CENTS)?, with_fee)
}

/// What may be bought so that the gate's stress move and the fee fit into what may still be lost today.
fn by_loss(input: &SizingInput<'_>, left: Usd, factor: Decimal) -> Result<Usd, InexactError> {
    let percent = decimal::add(input.policy.stress_percent, input.taker_fee_percent)?;
    let share = decimal::mul(decimal::mul(percent, Decimal::new(1, 2))?, factor)?;
    if share.is_zero() {
        return Ok(Usd::new(Decimal::MAX));
    }
    divided(left.rounded_down().minus(TWO_CENTS)?, share)
}

const TWO_CENTS: Usd = Usd::new(dec!(0.02));

/// The largest size whose worst case, `factor` times as much, is not above `limit`.
fn at_worst(limit: Usd, factor: Decimal) -> Result<Usd, InexactError> {
    divided(limit, factor)
}

fn divided(amount: Usd, divisor: Decimal) -> Result<Usd, InexactError> {
    let amount = amount.max(Usd::ZERO).amount();
    decimal::div_down(amount, divisor).map(|usd| Usd::new(usd).rounded_down())
}

fn add_percent(percent: Decimal) -> Result<Decimal, InexactError> {
    decimal::add(Decimal::ONE, decimal::mul(percent, Decimal::new(1, 2))?)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use bursar_config::Risk;
    use bursar_model::{PairRule, RiskLevel};
    use proptest::prelude::*;

    use super::*;

    static DOLLAR: LazyLock<Asset> = LazyLock::new(Asset::usd);
    static EURO: LazyLock<Asset> = LazyLock::new(|| "EUR".parse().unwrap());

    fn usd(amount: Decimal) -> Usd {
        Usd::new(amount)
    }

    fn price(value: Decimal) -> Price {
        Price::new(value).unwrap()
    }

    fn limits(max_position: Decimal) -> UserLimits {
        UserLimits {
            max_position: usd(max_position),
            max_daily_loss: usd(dec!(1_000_000)),
            max_positions: 5,
            pairs: PairRule::All,
        }
    }

    /// An account with room everywhere, so that only what a test sets matters.
    fn roomy<'a>(risk: &'a RiskLimits, limits: &'a UserLimits, policy: &'a Policy) -> SizingInput<'a> {
        SizingInput {
            base: usd(dec!(10_000)),
            equity: usd(dec!(10_000)),
            risk,
            entry: price(dec!(100)),
            quote: &DOLLAR,
            stop: price(dec!(95)),
            limits,
            policy,
            held: Usd::ZERO,
            free: usd(dec!(10_000)),
            taker_fee_percent: dec!(0.4),
            loss_left: None,
            smallest: usd(dec!(10)),
        }
    }

    #[test]
    fn d10_what_the_risk_levels_mean() {
        let (policy, limits, risk) = (Policy::default(), limits(dec!(1_000_000)), Risk::default());
        let mut table = String::from("level   stop  size          bound by\n");
        for level in [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High] {
            for stop in [dec!(99), dec!(95), dec!(40), dec!(10)] {
                let size = order_size(&SizingInput {
                    stop: price(stop),
                    ..roomy(risk.of(level), &limits, &policy)
                })
                .unwrap();
                table.push_str(&format!(
                    "{:<7} {stop:<5} {:<13} {}\n",
                    level.to_string(),
                    size.usd.to_string(),
                    size.bound
                ));
            }
        }

        insta::assert_snapshot!(table, @r"
        level   stop  size          bound by
        low     99    196.07 USD    largest-position
        low     95    196.07 USD    largest-position
        low     40    166.66 USD    risk-per-trade
        low     10    111.11 USD    risk-per-trade
        medium  99    490.19 USD    largest-position
        medium  95    490.19 USD    largest-position
        medium  40    333.33 USD    risk-per-trade
        medium  10    222.22 USD    risk-per-trade
        high    99    980.39 USD    largest-position
        high    95    980.39 USD    largest-position
        high    40    500.00 USD    risk-per-trade
        high    10    333.33 USD    risk-per-trade
        ");
    }

    #[test]
    fn d10_the_tightest_bound_wins() {
        let (policy, risk) = (Policy::default(), Risk::default());
        let (wide, narrow) = (limits(dec!(1_000_000)), limits(dec!(51)));
        let high = roomy(&risk.high, &wide, &policy);
        let cases: [(&str, SizingInput<'_>); 8] = [
            ("nothing else", high),
            (
                "user's limit 51",
                SizingInput {
                    limits: &narrow,
                    ..high
                },
            ),
            (
                "user's limit 51, 20 held",
                SizingInput {
                    limits: &narrow,
                    held: usd(dec!(20)),
                    ..high
                },
            ),
            (
                "equity 1,000,000",
                SizingInput {
                    base: usd(dec!(1_000_000)),
                    equity: usd(dec!(1_000_000)),
                    free: usd(dec!(1_000_000)),
                    ..high
                },
            ),
            (
                "equity halved, base not",
                SizingInput {
                    equity: usd(dec!(5_000)),
                    ..high
                },
            ),
            (
                "100 free",
                SizingInput {
                    free: usd(dec!(100)),
                    ..high
                },
            ),
            (
                "5 may still be lost",
                SizingInput {
                    loss_left: Some(usd(dec!(5))),
                    ..high
                },
            ),
            (
                "nothing may be lost",
                SizingInput {
                    loss_left: Some(Usd::ZERO),
                    ..high
                },
            ),
        ];

        let table: String = cases
            .iter()
            .map(|(case, input)| match order_size(input) {
                Ok(size) => format!("{case}: {} by {}\n", size.usd, size.bound),
                Err(error) => format!("{case}: {error}\n"),
            })
            .collect();

        insta::assert_snapshot!(table, @r"
        nothing else: 980.39 USD by largest-position
        user's limit 51: 50.00 USD by max-position
        user's limit 51, 20 held: 30.39 USD by max-position
        equity 1,000,000: 9803.92 USD by order-cap
        equity halved, base not: 490.19 USD by equity-cap
        100 free: 97.62 USD by funds
        5 may still be lost: 90.41 USD by daily-loss
        nothing may be lost: only 0.00 USD fits (daily-loss), and orders below 10.00 USD are not placed
        ");
    }

    #[test]
    fn a_stop_above_the_price_buys_nothing() {
        let (policy, limits, risk) = (Policy::default(), limits(dec!(1_000)), Risk::default());
        let input = SizingInput {
            stop: price(dec!(100)),
            ..roomy(&risk.low, &limits, &policy)
        };

        assert!(matches!(order_size(&input), Err(NoSize::NoDistance { .. })));
    }

    #[test]
    fn f5_profits_are_put_to_work_only_when_they_are_meant_to() {
        let (start, grown, shrunk) = (usd(dec!(1_000)), usd(dec!(1_500)), usd(dec!(800)));

        assert_eq!(size_base(grown, start, true), grown);
        assert_eq!(size_base(grown, start, false), start);
        assert_eq!(size_base(shrunk, start, true), shrunk);
        assert_eq!(size_base(shrunk, start, false), shrunk);
    }

    proptest! {
        #[test]
        fn d10_no_size_breaks_a_bound_at_worst(
            equity in 100..10_000_000_i64,
            held in 0..100_000_i64,
            free in 0..10_000_000_i64,
            max_position in 1..1_000_000_i64,
            loss_left in 0..100_000_i64,
            stop in 1..9_999_i64,
            level in 0..3_usize,
            in_euros: bool,
        ) {
            let (policy, risk) = (Policy::default(), Risk::default());
            let level = [&risk.low, &risk.medium, &risk.high][level];
            let cents = |value| usd(Decimal::new(value, 2));
            let limits = limits(Decimal::new(max_position, 2));
            let input = SizingInput {
                base: cents(equity),
                equity: cents(equity),
                stop: price(Decimal::new(stop, 2)),
                held: cents(held),
                free: cents(free),
                loss_left: Some(cents(loss_left)),
                smallest: usd(dec!(0.01)),
                quote: if in_euros { &EURO } else { &DOLLAR },
                ..roomy(level, &limits, &policy)
            };
            let Ok(size) = order_size(&input) else { return Ok(()) };
            // As the gate counts: costs rounded up to the cent.
            let size = size.usd.amount();
            let rate = if in_euros { dec!(1.02) } else { dec!(1) };
            let worst = usd(size * dec!(1.02) * rate).rounded_up().amount();
            let fee = usd(worst * dec!(0.004)).rounded_up().amount();
            let stress = usd(worst * dec!(0.05)).rounded_up().amount();
            let equity = Decimal::new(equity, 2);
            prop_assert!(worst + Decimal::new(held, 2) <= Decimal::new(max_position, 2));
            prop_assert!(worst <= equity / dec!(10) && worst <= dec!(10_000));
            // What is free is of the same asset: its rate makes no difference.
            prop_assert!(size * dec!(1.02) + fee / rate <= Decimal::new(free, 2));
            prop_assert!(stress + fee <= Decimal::new(loss_left, 2));
            prop_assert!(size * (dec!(100) - Decimal::new(stop, 2)) / dec!(100) <= equity * level.trade_percent / dec!(100));
            prop_assert!(worst + Decimal::new(held, 2) <= equity * level.position_percent / dec!(100));
        }
    }
}
