//! Whether an account has enough money to trade, and what that means.

use bursar_config::Balance as Thresholds;
use bursar_model::{AccountId, Asset, Balance, BrokerId, InexactError, Usd, UserId, decimal};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoStaticStr};

/// How far the money goes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ReadinessLevel {
    /// Less than what trading takes.
    Insufficient,
    /// Trading is possible, in single small positions.
    Limited,
    /// The strategy works as intended.
    Recommended,
    /// Enough for several positions at once.
    Excellent,
}

impl ReadinessLevel {
    /// The highest level whose threshold `total` reaches.
    pub fn of(total: Usd, thresholds: &Thresholds) -> Self {
        if total >= thresholds.excellent_usd {
            Self::Excellent
        } else if total >= thresholds.recommended_usd {
            Self::Recommended
        } else if total >= thresholds.limited_usd {
            Self::Limited
        } else {
            Self::Insufficient
        }
    }

    /// What it means for trading.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Insufficient => "not enough to trade",
            Self::Limited => "enough for single small positions; trading is limited",
            Self::Recommended => "optimal: the strategy works as intended",
            Self::Excellent => {
                "the full strategy: enough for several positions at once, the bot can work effectively"
            }
        }
    }
}

/// Whose money it is, for the head of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BalanceOwner {
    /// The owner of the account.
    pub user: UserId,
    /// For people; empty where there is no name.
    pub name: String,
    /// Where the owner is reached.
    pub email: String,
    /// Whose balances these are.
    pub account: AccountId,
    /// Where the money lies.
    pub broker: BrokerId,
}

/// What is available for trading, and what that means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BalanceReport {
    /// Whose account this is about.
    pub owner: BalanceOwner,
    /// Free US dollars.
    pub usd: Decimal,
    /// Free USDT; each counts as one dollar.
    pub usdt: Decimal,
    /// Both together, as dollars.
    pub total: Usd,
    /// Which thresholds that reaches.
    pub level: ReadinessLevel,
    /// In words, for people.
    pub meaning: String,
    /// What to do; empty when there is enough.
    pub steps: Vec<String>,
}

impl BalanceReport {
    /// # Errors
    ///
    /// When the balances cannot be added up exactly.
    pub fn new(
        owner: BalanceOwner,
        balances: &[Balance],
        thresholds: &Thresholds,
    ) -> Result<Self, InexactError> {
        let free = |is: &dyn Fn(&Asset) -> bool| {
            balances
                .iter()
                .filter(|balance| is(&balance.asset))
                .try_fold(Decimal::ZERO, |sum, balance| {
                    decimal::add(sum, balance.available())
                })
        };
        let usd = free(&Asset::is_usd)?;
        let usdt = free(&|asset| asset.code() == "USDT")?;
        let total = Usd::new(decimal::add(usd, usdt)?);
        let level = ReadinessLevel::of(total, thresholds);
        Ok(Self {
            steps: steps(&owner, total, level, thresholds)?,
            owner,
            usd,
            usdt,
            total,
            level,
            meaning: level.meaning().to_owned(),
        })
    }

    /// For the log and the terminal, without colours.
    pub fn text(&self) -> String {
        let owner = &self.owner;
        let mut text = format!(
            "BALANCE OF {}\nuser:      {}\nname:      {}\ne-mail:    {}\nbroker:    {}\navailable: {} for trading \
             ({} USD + {} USDT)\nlevel:     {}: {}\n",
            owner.account,
            owner.user,
            owner.name,
            owner.email,
            owner.broker,
            self.total,
            self.usd.normalize(),
            self.usdt.normalize(),
            self.level,
            self.meaning
        );
        for (step, number) in self.steps.iter().zip(1..) {
            text.push_str(&format!("  {number}. {step}\n"));
        }
        text
    }
}

fn steps(
    owner: &BalanceOwner,
    total: Usd,
    level: ReadinessLevel,
    thresholds: &Thresholds,
) -> Result<Vec<String>, InexactError> {
    if level >= ReadinessLevel::Recommended {
        return Ok(vec![]);
    }
    let missing = thresholds.recommended_usd.minus(total)?;
    Ok(vec![
        format!("sign in at {}", owner.broker),
        format!(
            "deposit at least {missing} in USD or USDT, so that {} are there",
            thresholds.recommended_usd
        ),
        "wait until the deposit has arrived".to_owned(),
        format!("run `bursar balance {}` again", owner.account),
    ])
}

#[cfg(test)]
mod tests {
    use bursar_model::BalanceKind;
    use rust_decimal::dec;

    use super::*;

    fn balance(asset: &str, total: Decimal, held: Decimal, kind: BalanceKind) -> Balance {
        Balance {
            asset: asset.parse().unwrap(),
            kind,
            total,
            held,
        }
    }

    fn spendable(asset: &str, total: Decimal) -> Balance {
        balance(asset, total, dec!(0), BalanceKind::Spendable)
    }

    fn report(balances: &[Balance]) -> BalanceReport {
        let owner = BalanceOwner {
            user: "mara_ilves".parse().unwrap(),
            name: "Mara Ilves".to_owned(),
            email: "mara@example.com".to_owned(),
            account: "kraken-ilves".parse().unwrap(),
            broker: "kraken".parse().unwrap(),
        };
        BalanceReport::new(owner, balances, &Thresholds::default()).unwrap()
    }

    #[test]
    fn n2_levels_begin_where_the_settings_say() {
        let level = |amount| report(&[spendable("USD", amount)]).level.to_string();

        let levels = [
            dec!(0),
            dec!(24.99),
            dec!(25),
            dec!(99.99),
            dec!(100),
            dec!(199.99),
            dec!(200),
        ]
        .map(level);

        assert_eq!(
            levels,
            [
                "insufficient",
                "insufficient",
                "limited",
                "limited",
                "recommended",
                "recommended",
                "excellent"
            ]
        );
    }

    #[test]
    fn n3_usd_and_usdt_count_and_nothing_else() {
        let report = report(&[
            spendable("USD", dec!(60.5)),
            spendable("USDT", dec!(40)),
            spendable("USDC", dec!(1000)),
            spendable("BTC", dec!(2)),
            balance("USD", dec!(500), dec!(0), BalanceKind::Locked),
        ]);

        assert_eq!(report.total, Usd::new(dec!(100.5)));
        assert_eq!((report.usd, report.usdt), (dec!(60.5), dec!(40)));
    }

    #[test]
    fn n1_what_working_orders_hold_is_not_available() {
        let report = report(&[balance("USD", dec!(150), dec!(30), BalanceKind::Spendable)]);

        assert_eq!(report.total, Usd::new(dec!(120)));
    }

    #[test]
    fn n1_n4_n6_the_report_names_the_user_and_says_what_it_means() {
        let texts = [dec!(150), dec!(250)].map(|amount| report(&[spendable("USD", amount)]).text());

        insta::assert_snapshot!(texts.concat(), @r"
        BALANCE OF kraken-ilves
        user:      mara_ilves
        name:      Mara Ilves
        e-mail:    mara@example.com
        broker:    kraken
        available: 150.00 USD for trading (150 USD + 0 USDT)
        level:     recommended: optimal: the strategy works as intended
        BALANCE OF kraken-ilves
        user:      mara_ilves
        name:      Mara Ilves
        e-mail:    mara@example.com
        broker:    kraken
        available: 250.00 USD for trading (250 USD + 0 USDT)
        level:     excellent: the full strategy: enough for several positions at once, the bot can work effectively
        ");
    }

    #[test]
    fn n5_too_little_says_what_to_do() {
        let texts = [dec!(12.5), dec!(40)].map(|amount| report(&[spendable("USDT", amount)]).text());

        insta::assert_snapshot!(texts.concat(), @r"
        BALANCE OF kraken-ilves
        user:      mara_ilves
        name:      Mara Ilves
        e-mail:    mara@example.com
        broker:    kraken
        available: 12.50 USD for trading (0 USD + 12.5 USDT)
        level:     insufficient: not enough to trade
          1. sign in at kraken
          2. deposit at least 87.50 USD in USD or USDT, so that 100.00 USD are there
          3. wait until the deposit has arrived
          4. run `bursar balance kraken-ilves` again
        BALANCE OF kraken-ilves
        user:      mara_ilves
        name:      Mara Ilves
        e-mail:    mara@example.com
        broker:    kraken
        available: 40.00 USD for trading (0 USD + 40 USDT)
        level:     limited: enough for single small positions; trading is limited
          1. sign in at kraken
          2. deposit at least 60.00 USD in USD or USDT, so that 100.00 USD are there
          3. wait until the deposit has arrived
          4. run `bursar balance kraken-ilves` again
        ");
    }
}
