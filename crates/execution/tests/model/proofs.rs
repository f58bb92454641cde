//! What is asked of the model: that the protocol breaks no rule, and that each mistake does.

use strum::IntoEnumIterator;

use crate::defect::Defect;
use crate::grid::{defective, protocol};
use crate::search::{explore, told};
use crate::world::Tick;

/// What takes a few seconds without optimisation.
const SHORT_HORIZON: Tick = 3;

fn horizon() -> Tick {
    std::env::var("BURSAR_MODEL_HORIZON").map_or(SHORT_HORIZON, |ticks| ticks.parse().unwrap())
}

#[test]
fn i1_i2_i3_i4_i8_i9_no_interleaving_of_the_protocol_breaks_a_rule() {
    let mut states = 0;
    for config in protocol(horizon()) {
        let explored = explore(&config, None);
        println!("{}", explored.line(&config));
        states += explored.states;

        for (broken, violation) in &explored.violations {
            println!("{}: {broken}: {}", config.name, told(&violation.path));
        }
        assert!(
            explored.violations.is_empty(),
            "{}: a rule was broken",
            config.name
        );
        assert_eq!(
            explored.stuck,
            0,
            "{}: {}",
            config.name,
            told(&explored.stuck_path)
        );
        let is_for_people = config.class.acceptance().is_none();
        assert_eq!(explored.for_people > 0, is_for_people, "{}", config.name);
    }
    println!("{}", serde_json::json!({ "states": states }));
}

#[test]
fn every_mistake_is_found_as_what_it_is() {
    println!("| defect | broken | states until found | steps | the fewest |\n|---|---|---|---|---|");
    for defect in Defect::iter() {
        let wanted = defect.caught_as();
        let explored = explore(&defective(defect), Some(wanted));

        for broken in wanted {
            let Some(found) = explored.violations.get(broken) else {
                panic!("{defect} is not found as {broken}, in {} states", explored.states);
            };
            let (steps, path) = (found.path.len(), told(&found.path));
            println!("| {defect} | {broken} | {} | {steps} | {path} |", found.states);
        }
    }
}
