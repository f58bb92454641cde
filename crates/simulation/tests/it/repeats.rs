//! A seed decides everything, and where nothing goes wrong nothing is found.

use bursar_simulation::{run, run_without_faults};

#[test]
fn two_runs_of_a_seed_write_the_same_log_and_the_same_trail() {
    // The last trades for euros too.
    for seed in [3, 8, 7] {
        let (one, other) = (run(seed), run(seed));

        if let Some((line, (left, right))) =
            (one.log.iter().zip(&other.log).enumerate()).find(|(_, (left, right))| left != right)
        {
            panic!("seed {seed} differs from line {line} on:\n{left}\n{right}");
        }
        assert_eq!(one.hash, other.hash, "seed {seed}");
    }
}

#[test]
fn two_seeds_are_two_worlds() {
    assert_ne!(run_without_faults(1).hash, run_without_faults(2).hash);
}

#[test]
fn a_world_without_faults_trades_and_breaks_no_rule() {
    for seed in [5, 7] {
        let outcome = run_without_faults(seed);

        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
        for work in [
            "admitted",
            "denied",
            "repeated",
            "executions",
            "ended filled",
            "ended cancelled",
        ] {
            assert!(
                outcome.work.get(work).is_some_and(|count| *count > 0),
                "no {work}: {:?}",
                outcome.work
            );
        }
    }
}
