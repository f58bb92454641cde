//! What an account holds beyond what the gateway bought: recognised, shown, never sold by us.

use bursar_model::{Asset, Balance, BalanceKind, IntentState, Position, Side, decimal};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Intent;

/// An asset, and how much of it nobody bought through the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unmanaged {
    /// By its canonical code.
    pub asset: Asset,
    /// In units of the asset; more than zero.
    pub quantity: Decimal,
}

/// What is at the venue, less what the ledger holds, less what our purchases under way may have bought
/// already. Dollars, in either form, are what is traded with and no holding.
pub fn unmanaged(balances: &[Balance], positions: &[Position], unresolved: &[Intent]) -> Vec<Unmanaged> {
    balances
        .iter()
        .filter(|balance| balance.kind == BalanceKind::Spendable && !is_cash(&balance.asset))
        .filter_map(|balance| {
            let ours = ours(&balance.asset, positions, unresolved)?;
            let quantity = decimal::sub(balance.total, ours).ok()?.normalize();
            (quantity > Decimal::ZERO).then(|| Unmanaged {
                asset: balance.asset.clone(),
                quantity,
            })
        })
        .collect()
}

fn is_cash(asset: &Asset) -> bool {
    asset.is_usd() || asset.to_string() == "USDT"
}

/// What is ours of an asset, at most; `None` when that cannot be added up.
fn ours(asset: &Asset, positions: &[Position], unresolved: &[Intent]) -> Option<Decimal> {
    let held = positions
        .iter()
        .filter(|position| position.pair.base() == asset)
        .map(|position| Some(position.quantity.value()));
    let coming = unresolved
        .iter()
        .filter(|intent| may_buy(intent, asset))
        .map(|intent| {
            let ordered = intent.sizing.as_ref()?.terms.quantity.value();
            decimal::sub(ordered, intent.filled).ok()
        });
    held.chain(coming)
        .try_fold(Decimal::ZERO, |sum, quantity| decimal::add(sum, quantity?).ok())
}

fn may_buy(intent: &Intent, asset: &Asset) -> bool {
    let may_be_there = matches!(
        intent.state,
        IntentState::Dispatching | IntentState::Unknown | IntentState::Open | IntentState::Incident
    );
    may_be_there && intent.request.side == Side::Buy && intent.request.pair.base() == asset
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn balance(asset: &str, total: Decimal) -> Balance {
        Balance {
            asset: asset.parse().unwrap(),
            kind: BalanceKind::Spendable,
            total,
            held: dec!(0),
        }
    }

    fn position(pair: &str, quantity: &str) -> Position {
        Position {
            pair: pair.parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            cost: dec!(1),
        }
    }

    #[test]
    fn what_was_bought_elsewhere_is_what_is_left() {
        let balances = [
            balance("BTC", dec!(3)),
            balance("ETH", dec!(1)),
            balance("USD", dec!(500)),
        ];

        let found = unmanaged(
            &balances,
            &[position("BTC-USD", "1"), position("ETH-USD", "1")],
            &[],
        );

        assert_eq!(
            found,
            [Unmanaged {
                asset: "BTC".parse().unwrap(),
                quantity: dec!(2)
            }]
        );
    }

    #[test]
    fn less_than_the_ledger_is_no_holding_of_somebody_elses() {
        assert_eq!(
            unmanaged(&[balance("BTC", dec!(1))], &[position("BTC-USD", "2")], &[]),
            []
        );
    }
}
