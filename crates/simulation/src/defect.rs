use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Mutex;

use serde::Serialize;
use strum::{Display, EnumIter, EnumString};

use crate::campaign::for_each_seed;
use crate::machine::locked;
use crate::world::run_with;

/// A mistake that somebody could make in the gateway, behind a switch
/// that only a simulation has: each sits in a wrapper around the journal or the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Display, EnumIter, EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Defect {
    /// The decision to send is on disk only once the exchange has answered.
    RecordAfterSend,
    /// A time-out is answered by sending again, where ids are unique among open orders only.
    ResendOnTimeout,
    /// The first look that finds nothing ends the order.
    OneLookCloses,
    /// Sent again, and the refusal of the second delivery ends the order.
    RefusedRetryCloses,
    /// Switches are read when an order is admitted, and not when it is sent.
    LatchAtAdmissionOnly,
    /// Two processes decide to send by what they read before.
    StaleRead,
    /// What may be at the exchange does not count towards the limits.
    LimitsIgnoreUnresolved,
    /// Sent again with a later deadline, and absence is judged by the first.
    FirstBound,
    /// Sent again where the exchange promises nothing.
    ResendWithoutGuarantees,
    /// A time-out after the request was written counts as not sent.
    TimeoutIsNotSent,
    /// The proof of absence does not wait for what the exchange lists late.
    IgnoresReadLag,
    /// An account counts as halted once one list shows that nothing works, whatever is still on its way.
    OneSweepHalts,
    /// A day ends when this machine's clock says so, whatever the exchanges' say.
    OwnClockAlone,
    /// A purchase that a rate made dearer is not asked for room: it stays, whatever its limits say.
    DearerStays,
}

impl Defect {
    /// The rules (`docs/safety.md`) whose breach counts as finding it.
    pub const fn caught_as(self) -> &'static [&'static str] {
        match self {
            Self::RecordAfterSend => &["I1", "I2"],
            Self::ResendOnTimeout | Self::ResendWithoutGuarantees | Self::StaleRead => &["I2"],
            Self::OneLookCloses | Self::RefusedRetryCloses | Self::FirstBound | Self::IgnoresReadLag => {
                &["I8"]
            }
            Self::LatchAtAdmissionOnly => &["I4"],
            Self::LimitsIgnoreUnresolved => &["I3"],
            Self::TimeoutIsNotSent => &["I1", "I2", "I8"],
            Self::OneSweepHalts => &["halted"],
            Self::OwnClockAlone => &["I13"],
            Self::DearerStays => &["rates"],
        }
    }

    /// The first of `seeds` seeds whose world shows it, and the rules that were broken there.
    pub fn search(self, seeds: u64) -> Option<(u64, Vec<&'static str>)> {
        let found: Mutex<BTreeMap<u64, BTreeSet<&'static str>>> = Mutex::default();
        for_each_seed(1, seeds, |seed| {
            let broken: BTreeSet<&'static str> = run_with(seed, self)
                .violations
                .iter()
                .map(|violation| violation.oracle)
                .collect();
            if !broken.iter().any(|oracle| self.caught_as().contains(oracle)) {
                return ControlFlow::Continue(());
            }
            locked(&found).insert(seed, broken);
            ControlFlow::Break(())
        });
        // Whatever thread was first: all seeds before the first that is in here were tried.
        let (seed, broken) = locked(&found).pop_first()?;
        Some((seed, broken.into_iter().collect()))
    }
}
