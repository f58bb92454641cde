//! `bursar order resolve`: ending by people what the gateway cannot end.

use bursar_execution::{Journal, Measure, Reports, Resolution};
use bursar_model::{IntentId, VenueOrderId};
use clap::Args;

use crate::arguments::{evidence, word};
use crate::commands::approvals;
use crate::session::Session;
use crate::{Exit, Failure, prompt};

#[derive(Debug, Args)]
#[command(after_help = "\
Look at the exchange first. An order that is or was there is resolved as `open` with its id there: the
gateway then reads its executions and how it ended.

Examples:
  bursar order resolve 6d1b345e-2821-40e2-ad83-4ecb18a06876 --as absent --evidence \"no such order in the \
export of 3 March\" --reason \"older than the exchange's lists\"
  bursar order resolve 6d1b345e-2821-40e2-ad83-4ecb18a06876 --as open --venue-order-id OQCLML-BW3P3-BUCMWZ \
--evidence \"screenshot 17\" --reason \"found by hand\"")]
pub struct Resolve {
    /// The order's id
    order: IntentId,
    /// What became of it
    #[arg(long = "as", value_name = "WHAT", value_parser = word::<Resolution>())]
    to: Resolution,
    /// Its id at the exchange
    #[arg(long, value_name = "ID")]
    venue_order_id: Option<VenueOrderId>,
    /// What was seen, and where
    #[arg(long, value_name = "TEXT", value_parser = evidence)]
    evidence: String,
}

impl Resolve {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let intent = opened.store.intent(self.order).await?;
        let reason = prompt::reason(
            session.console,
            session.global.reason.as_deref(),
            "the exchange was asked",
        )?;
        let kept_aside = opened.store.kept_aside(&intent).await?;
        let measure = Measure::Resolve {
            intent: intent.id,
            from: intent.state,
            filled: intent.filled.normalize(),
            venue_filled: intent.venue_filled.normalize(),
            to: self.to,
            venue_order_id: self.venue_order_id,
            kept_aside: kept_aside.into_iter().map(|fill| fill.id).collect(),
        };
        approvals::propose(measure, &self.evidence, &reason, &opened, session).await
    }
}
