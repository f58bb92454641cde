//! Each known mistake is found, and soon.

use bursar_simulation::Defect;

/// Seeds within which a mistake must be found.
const SEEDS: u64 = 1000;

fn is_found(defect: Defect) {
    match defect.search(SEEDS) {
        Some((seeds, broken)) => println!("| {defect} | {seeds} | {} |", broken.join(", ")),
        None => panic!("`{defect}` survived {SEEDS} seeds"),
    }
}

macro_rules! each_is_found {
    ($($(#[$how:meta])* $name:ident: $defect:ident,)+) => {
        $(#[test] $(#[$how])* fn $name() { is_found(Defect::$defect); })+

        #[test]
        fn no_defect_is_left_out() {
            use strum::IntoEnumIterator;
            let tried = [$(Defect::$defect),+];
            assert_eq!(tried.to_vec(), Defect::iter().collect::<Vec<_>>());
        }
    };
}

each_is_found! {
    i1_record_after_send_is_found: RecordAfterSend,
    i2_resend_on_timeout_is_found: ResendOnTimeout,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i8_one_look_that_closes_is_found: OneLookCloses,
    i8_a_refused_retry_that_closes_is_found: RefusedRetryCloses,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i4_a_switch_read_at_admission_only_is_found: LatchAtAdmissionOnly,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i2_a_stale_read_by_two_processes_is_found: StaleRead,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i3_limits_that_ignore_what_is_unresolved_are_found: LimitsIgnoreUnresolved,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i8_absence_by_the_first_bound_is_found: FirstBound,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i2_a_resend_without_guarantees_is_found: ResendWithoutGuarantees,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i1_a_time_out_taken_for_not_sent_is_found: TimeoutIsNotSent,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i8_a_proof_that_ignores_the_lag_is_found: IgnoresReadLag,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    u4_one_sweep_that_halts_is_found: OneSweepHalts,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i13_a_day_that_ends_by_our_clock_alone_is_found: OwnClockAlone,
    #[ignore = "a long search without optimisation: `just bites`, and CI, look for it in release"]
    i3_a_purchase_that_became_dearer_and_stays_is_found: DearerStays,
}
