//! The rules once more, in other words, over many orders.

use bursar_controls::{Holding, LatchMode, PositionCount};
use bursar_model::{OrderSize, Quantity, Usd};
use proptest::prelude::*;
use rust_decimal::Decimal;
use strum::IntoEnumIterator;

use crate::world::{buy, decide, holding, latch, sell, world};

proptest! {
    #[test]
    fn i3_an_approved_buy_never_lets_a_position_pass_its_limit(
        limit in 1_u32..5_000, held in 0_u32..5_000, reserved in 0_u32..5_000, asked in 1_u32..5_000,
    ) {
        let mut world = world();
        world.limits.max_position = Usd::new(limit.into());
        world.limits.max_daily_loss = Usd::new(Decimal::from(1_000_000));
        world.holding = Holding {
            cost: Usd::new(held.into()), reserved_cost: Usd::new(reserved.into()), ..Holding::default()
        };
        if let Ok(approved) = decide(buy(&asked.to_string()), &world) {
            // In cents: the worst a market order can cost is 2 % above the middle of the quote.
            let worst = approved.terms().quantity.value() * Decimal::from(61_200);
            prop_assert!(worst + Decimal::from(held) + Decimal::from(reserved) <= Decimal::from(limit));
        }
    }

    #[test]
    fn an_approved_sell_never_crosses_zero(held in 1_i64..1_000_000, promised in 0_i64..1_000_000, asked in 1_i64..1_000_000) {
        let mut world = world();
        world.holding = holding(Decimal::new(held, 6));
        world.holding.reserved_for_sale = Decimal::new(promised, 6);
        let mut order = sell("1");
        order.size = OrderSize::Quantity(Quantity::new(Decimal::new(asked, 6)).unwrap());
        if decide(order, &world).is_ok() {
            prop_assert!(asked + promised <= held);
        }
    }

    #[test]
    fn a_further_switch_never_lets_more_through(first in 0_usize..4, second in 0_usize..4, selling: bool) {
        let modes: Vec<LatchMode> = LatchMode::iter().collect();
        let order = || if selling { sell("0.01") } else { buy("100") };
        let mut world = world();
        world.holding = holding("0.01".parse().unwrap());
        world.switches = vec![latch("global", modes[first])];
        let alone = decide(order(), &world).is_ok();
        world.switches.push(latch("user:mara_ilves", modes[second]));
        let together = decide(order(), &world).is_ok();
        prop_assert!(alone || !together);
    }

    #[test]
    fn switches_form_a_lattice_by_what_they_let_through(
        some in prop::collection::vec((0_usize..4, 0_usize..4), 0..5),
        order in any::<prop::sample::Index>(),
        selling: bool,
    ) {
        let modes: Vec<LatchMode> = LatchMode::iter().collect();
        let scopes = ["global", "broker:kraken", "user:mara_ilves", "account:kraken-ilves"];
        let some: Vec<_> = some.into_iter().map(|(scope, mode)| latch(scopes[scope], modes[mode])).collect();
        let allowed = |switches: Vec<bursar_controls::Latch>| {
            let mut world = world();
            world.holding = holding("0.01".parse().unwrap());
            world.switches = switches;
            decide(if selling { sell("0.01") } else { buy("100") }, &world).is_ok()
        };
        let all = allowed(some.clone());

        // Neither their order nor their number counts, only the strictest of them.
        let mut turned = some.clone();
        turned.rotate_left(if some.is_empty() { 0 } else { order.index(some.len()) });
        prop_assert_eq!(allowed(turned), all);
        prop_assert_eq!(allowed([some.clone(), some.clone()].concat()), all);
        let strictest = some.iter().max_by_key(|latch| latch.mode).cloned();
        prop_assert_eq!(allowed(strictest.into_iter().collect()), all);
        // And all of them together let through what each of them lets through.
        prop_assert_eq!(some.into_iter().all(|one| allowed(vec![one])), all);
    }

    #[test]
    fn the_same_arguments_always_give_the_same_decision(asked in 1_u32..2_000, open in 0_u32..8) {
        let mut world = world();
        world.positions = PositionCount { open, ..PositionCount::default() };
        let said = |result: Result<bursar_controls::ApprovedOrder, bursar_controls::Refused>| match result {
            Ok(approved) => format!("{:?}", approved.trace()),
            Err(refused) => format!("{:?}", refused.trace),
        };
        prop_assert_eq!(said(decide(buy(&asked.to_string()), &world)), said(decide(buy(&asked.to_string()), &world)));
    }
}
