//! Every mode at every scope against every kind of order.

use bursar_controls::{LatchMode, trace_without_size};
use bursar_model::Verdict;
use bursar_permissions::Caller;
use strum::IntoEnumIterator;

use crate::world::{buy, decide_as, holding, latch, said, sell, world};

#[test]
fn g1_g2_each_mode_at_each_scope_stops_what_it_says() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    let callers = [("operator", Caller::Operator), ("flattener", Caller::Flattener)];

    let mut table = String::new();
    for scope in [
        "global",
        "broker:kraken",
        "user:mara_ilves",
        "account:kraken-ilves",
    ] {
        for mode in LatchMode::iter() {
            world.switches = vec![latch(scope, mode)];
            for (name, caller) in &callers {
                let passes = |order| {
                    if decide_as(caller, order, &world).is_ok() {
                        "passes"
                    } else {
                        "refused"
                    }
                };
                table.push_str(&format!(
                    "{scope:<21} {mode:<12} {name:<10} entry {:<8} exit {}\n",
                    passes(buy("100")),
                    passes(sell("0.01"))
                ));
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_strictest_of_several_switches_decides() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    world.switches = vec![
        latch("user:mara_ilves", LatchMode::Pause),
        latch("global", LatchMode::Halt),
    ];

    assert!(decide_as(&Caller::Operator, sell("0.01"), &world).is_err());
    world.switches.pop();
    assert!(decide_as(&Caller::Operator, sell("0.01"), &world).is_ok());
}

#[test]
fn the_flattener_passes_only_flatten() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    world.switches = vec![
        latch("account:kraken-ilves", LatchMode::Flatten),
        latch("global", LatchMode::Halt),
    ];

    assert!(decide_as(&Caller::Flattener, sell("0.01"), &world).is_err());
    world.switches.pop();
    assert!(decide_as(&Caller::Flattener, sell("0.01"), &world).is_ok());
}

#[test]
fn the_flattener_passes_only_while_a_flatten_switch_is_on() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    let broken = |world: &_| -> Vec<String> {
        let refused = decide_as(&Caller::Flattener, sell("0.01"), world).unwrap_err();
        refused.broken().map(|check| check.rule.clone()).collect()
    };

    assert_eq!(broken(&world), ["flatten-switch"]);
    world.switches = vec![latch("global", LatchMode::Pause)];
    assert_eq!(broken(&world), ["flatten-switch"]);
    world
        .switches
        .push(latch("account:kraken-ilves", LatchMode::Flatten));
    assert!(decide_as(&Caller::Flattener, sell("0.01"), &world).is_ok());
}

#[test]
fn who_wants_to_leave_a_position_under_flatten_learns_that_the_gateway_does_it() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    world.switches = vec![latch("account:kraken-ilves", LatchMode::Flatten)];

    let refused = decide_as(&Caller::Operator, sell("0.01"), &world)
        .unwrap_err()
        .to_string();

    assert!(refused.contains("closes the position itself"), "{refused}");
    assert!(refused.contains("bursar release"), "{refused}");
}

#[test]
fn whoever_the_gateway_does_not_lead_out_is_told_only_how_the_switch_is_turned_off() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    for (mode, order) in [
        (LatchMode::Flatten, buy("100")),
        (LatchMode::Halt, sell("0.01")),
        (LatchMode::Pause, buy("100")),
    ] {
        world.switches = vec![latch("account:kraken-ilves", mode)];
        let hint = said("switch-account", order, &world).hint;
        assert_eq!(hint, world.switches[0].release_hint(), "{mode}");
    }
}

#[test]
fn g1_what_a_mode_takes_back_of_what_was_asked_before() {
    // Whether it cancels what works and takes back what was not sent: of entries, and of what only lowers a position.
    let takes_back = |mode: LatchMode| {
        let of = |reducing| (mode.cancels_working(reducing), mode.withdraws_unsent(reducing));
        (of(false), of(true))
    };

    let everything = ((true, true), (true, true));
    assert_eq!(takes_back(LatchMode::Pause), ((false, true), (false, false)));
    assert_eq!(takes_back(LatchMode::ReduceOnly), ((true, true), (false, false)));
    assert_eq!(takes_back(LatchMode::Halt), everything);
    assert_eq!(takes_back(LatchMode::Flatten), everything);
}

#[test]
fn the_switches_are_told_of_an_order_without_a_size_too() {
    let mut world = world();
    world.switches = vec![latch("global", LatchMode::ReduceOnly)];
    let refused_by = |order, world: &_| -> Vec<String> {
        trace_without_size(&order, &Caller::Operator, world)
            .into_iter()
            .filter(|check| check.verdict == Verdict::Broken)
            .map(|check| check.rule)
            .collect()
    };

    // With nothing to sell a sell lowers nothing.
    assert_eq!(refused_by(sell("0.01"), &world), ["switch-global"]);
    world.holding = holding("0.01".parse().unwrap());
    assert!(refused_by(sell("0.01"), &world).is_empty());
    assert_eq!(refused_by(buy("100"), &world), ["switch-global"]);
}
