//! Mistakes that somebody could make in the gateway. Each is a switch of the model alone: it puts a wrong
//! answer in the place of the gateway's own, or a step that the gateway does not have beside its steps.

use strum::{Display, EnumIter};

use crate::oracle::Broken;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Defect {
    /// The attempt is recorded after its request is written.
    RecordAfterSend,
    /// A time-out is answered by sending again, where ids are unique among open orders only.
    ResendOnTimeout,
    /// The first look that finds nothing ends the order.
    OneLookCloses,
    /// Sent again, and what the exchange says to the second request ends the order.
    RefusedRetryCloses,
    /// Switches are read when an order is admitted, and never after that.
    LatchAtAdmissionOnly,
    /// Two processes record an attempt by what they read before, not by what is there.
    StaleRead,
    /// What may be at the exchange does not count towards the limits.
    LimitsIgnoreUnresolved,
    /// Sent again with a later deadline, and absence is judged by the first.
    FirstBound,
    /// Sent again where the exchange promises nothing.
    ResendWithoutGuarantees,
    /// An account counts as halted once one list shows that nothing works.
    OneSweepHalts,
    /// A time-out after the request was written counts as not sent.
    TimeoutIsNotSent,
    /// The proof of absence does not wait for what the exchange lists late.
    IgnoresReadLag,
}

impl Defect {
    /// As what it has to be found: each of these.
    pub(crate) const fn caught_as(self) -> &'static [Broken] {
        match self {
            Self::RecordAfterSend => &[Broken::Duplicate, Broken::NoRecord],
            Self::ResendOnTimeout | Self::StaleRead | Self::ResendWithoutGuarantees => &[Broken::Duplicate],
            Self::OneLookCloses => &[Broken::AcceptedAfterAbsent, Broken::Limit],
            Self::RefusedRetryCloses => &[Broken::AcceptedAfterRejected],
            Self::LatchAtAdmissionOnly => &[
                Broken::SentAfterSwitch,
                Broken::AcceptedAfterSwitch,
                Broken::OpensAfterHalted,
            ],
            Self::LimitsIgnoreUnresolved => &[Broken::Limit],
            Self::FirstBound | Self::IgnoresReadLag => &[Broken::AcceptedAfterAbsent],
            Self::OneSweepHalts => &[Broken::OpensAfterHalted],
            Self::TimeoutIsNotSent => &[
                Broken::Duplicate,
                Broken::NoRecord,
                Broken::AcceptedAfterWithdrawn,
            ],
        }
    }

    /// Whether an order that is unknown is sent once more, which no row of the table allows (decision 25).
    pub(crate) const fn resends(self) -> bool {
        matches!(
            self,
            Self::ResendOnTimeout
                | Self::RefusedRetryCloses
                | Self::FirstBound
                | Self::ResendWithoutGuarantees
        )
    }
}
