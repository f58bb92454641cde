//! What an account holds. Kraken lists staked and bonded parts under names of their own.

use std::collections::BTreeMap;

use bursar_model::{Asset, Balance, BalanceKind, decimal};
use rust_decimal::Decimal;

use crate::names::Directory;
use crate::text::{Unreadable, unreadable};
use crate::wire::WireBalance;

/// Balances by asset and kind; assets of which there is nothing are left out.
///
/// `flexible_counts`: the part under auto-earn (`.F`), on which orders draw, counts as spendable.
pub(crate) fn balances(
    wire: &BTreeMap<String, WireBalance>,
    directory: &Directory,
    flexible_counts: bool,
) -> Result<Vec<Balance>, Unreadable> {
    let mut sums: BTreeMap<(Asset, bool), (Decimal, Decimal)> = BTreeMap::new();
    for (name, row) in wire {
        let (total, held) = amounts(row)?;
        if total.is_zero() && held.is_zero() {
            continue;
        }
        let Some((asset, kind)) = asset(name, directory, flexible_counts) else {
            tracing::debug!(%name, "a balance whose name is no asset code is left out");
            continue;
        };
        let sum = sums.entry((asset, kind == BalanceKind::Spendable)).or_default();
        let too_large = |_| unreadable(name, "a balance that can be added up exactly");
        sum.0 = decimal::add(sum.0, total).map_err(too_large)?;
        sum.1 = decimal::add(sum.1, held).map_err(too_large)?;
    }
    Ok(sums
        .into_iter()
        .map(|((asset, spendable), (total, held))| Balance {
            asset,
            kind: if spendable {
                BalanceKind::Spendable
            } else {
                BalanceKind::Locked
            },
            total,
            held,
        })
        .collect())
}

/// Total and held. A credit line is not counted: borrowed money pays for no order of ours. What of
/// it is used beyond its amount is taken off.
fn amounts(row: &WireBalance) -> Result<(Decimal, Decimal), Unreadable> {
    let optional =
        |text: &Option<crate::text::Text>| text.as_ref().map_or(Ok(Decimal::ZERO), |t| t.decimal());
    let total = row.balance.decimal()?;
    let overdrawn = optional(&row.credit_used)?
        .checked_sub(optional(&row.credit)?)
        .unwrap_or_default()
        .max(Decimal::ZERO);
    let held = decimal::add(row.hold_trade.decimal()?, overdrawn)
        .map_err(|_| unreadable(row.hold_trade.as_str(), "a balance that can be added up exactly"))?;
    Ok((total, held))
}

fn asset(name: &str, directory: &Directory, flexible_counts: bool) -> Option<(Asset, BalanceKind)> {
    let (base, suffix) = match name.rsplit_once('.') {
        Some((base, suffix)) => (base, Some(suffix)),
        None => (name, None),
    };
    let kind = match suffix {
        None if base == "KFEE" => BalanceKind::Locked,
        None => BalanceKind::Spendable,
        Some("F") if flexible_counts => BalanceKind::Spendable,
        // Staked, bonded, on hold, tokenised, or something new: not to be spent.
        Some(_) => BalanceKind::Locked,
    };
    // A lock period stands between the asset and its suffix: `DOT28.S`.
    let without_period = base.trim_end_matches(|c: char| c.is_ascii_digit());
    let known = directory.asset(base).or_else(|| match suffix {
        Some(_) => directory.asset(without_period),
        None => None,
    });
    known.or_else(|| base.parse().ok()).map(|asset| (asset, kind))
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;
    use crate::test_support::directory;

    fn read(json: &str, flexible_counts: bool) -> Vec<Balance> {
        balances(
            &serde_json::from_str(json).unwrap(),
            &directory(),
            flexible_counts,
        )
        .unwrap()
    }

    fn balance(asset: &str, kind: BalanceKind, total: Decimal, held: Decimal) -> Balance {
        Balance {
            asset: asset.parse().unwrap(),
            kind,
            total,
            held,
        }
    }

    #[test]
    fn only_what_is_free_of_suffix_and_hold_can_be_spent() {
        let json = r#"{
          "ZUSD":{"balance":"25000.1234","hold_trade":"8249.7600"},
          "XXBT":{"balance":0.5,"hold_trade":"0.1","credit":"1.0","credit_used":"0"},
          "XBT.M":{"balance":"0.25","hold_trade":"0"},
          "DOT28.S":{"balance":"3","hold_trade":"0"},"DOT.S":{"balance":"4","hold_trade":"0"},
          "ETH2.S":{"balance":"1","hold_trade":"0"},
          "USDT.F":{"balance":"10","hold_trade":"0"},
          "EUR.HOLD":{"balance":"7","hold_trade":"0"},
          "NEWCOIN":{"balance":"9","hold_trade":"0"},
          "AAPLx.T":{"balance":"2","hold_trade":"0"},
          "ATOM":{"balance":"0.0000","hold_trade":"0.0"}}"#;
        use BalanceKind::{Locked, Spendable};

        assert_eq!(
            read(json, false),
            [
                balance("BTC", Locked, dec!(0.25), dec!(0)),
                balance("BTC", Spendable, dec!(0.5), dec!(0.1)),
                balance("DOT", Locked, dec!(7), dec!(0)),
                balance("ETH", Locked, dec!(1), dec!(0)),
                balance("EUR", Locked, dec!(7), dec!(0)),
                balance("NEWCOIN", Spendable, dec!(9), dec!(0)),
                balance("USD", Spendable, dec!(25000.1234), dec!(8249.7600)),
                balance("USDT", Locked, dec!(10), dec!(0)),
            ]
        );
        assert!(read(json, true).contains(&balance("USDT", Spendable, dec!(10), dec!(0))));
    }

    #[test]
    fn a_credit_line_pays_for_nothing() {
        let json = r#"{"ZUSD":{"balance":"100","hold_trade":"10","credit":"50","credit_used":"60"}}"#;

        assert_eq!(read(json, false).first().unwrap().available(), dec!(80));
    }

    #[test]
    fn i18_an_amount_that_cannot_be_read_voids_the_whole() {
        let wire = serde_json::from_str(r#"{"ZUSD":{"balance":"many","hold_trade":"0"}}"#).unwrap();

        assert!(balances(&wire, &directory(), false).is_err());
    }
}
