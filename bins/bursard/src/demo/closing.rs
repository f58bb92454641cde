//! The last chapter: the books are compared, the trail is verified, every output searched.

use std::time::Duration;

use bursar::{Exit, Failure};
use bursar_model::AccountId;
use bursar_testkit::Canary;

use super::cast::CAST;
use super::{Performance, id};
use crate::oracle;

impl Performance {
    pub(super) async fn books(&mut self) -> Result<(), Failure> {
        self.story
            .chapter("The books are compared, the audit trail verified, every output searched");
        self.stage
            .bursar(
                &["kill", "global", "--mode", "pause", "--reason", "end of the demo"],
                None,
            )
            .await;
        let settled = self.quiet(Duration::from_secs(60)).await?;
        let status = self.stage.stop_daemon().await?;
        let live: Vec<(AccountId, &str)> = CAST
            .iter()
            .filter(|member| member.broker == "kraken")
            .map(|member| Ok((id(member.account)?, member.user)))
            .collect::<Result<_, Failure>>()?;
        let verdict = oracle::compare(&self.stage.book(), &self.stage.recorded(&live).await?);
        for violation in verdict.violations().take(10) {
            self.story.tell(violation);
        }
        self.story.promise(
            "no duplicate order",
            verdict.duplicated.is_empty(),
            format!("{} orders at the exchange", verdict.orders),
        );
        self.story.promise(
            "no lost order",
            settled && verdict.lost.is_empty(),
            "each has its record, each record its order",
        );
        self.story.promise(
            "no lost or doubled fill",
            verdict.misbooked.is_empty(),
            format!("{} fills", verdict.fills),
        );
        self.story.promise(
            "the daemon stops cleanly",
            status.is_some_and(|status| status.success()),
            "SIGTERM",
        );
        let audit = self.show(&["audit", "verify"]).await;
        self.story
            .promise("the audit trail verifies", audit.exit == Exit::Done, "");
        let secrets = self.stage.all_secrets();
        let canaries: Vec<Canary> = secrets
            .iter()
            .map(|(name, secret)| Canary::new(name, secret))
            .collect();
        let leaks = Canary::search(&canaries, &self.stage.everything_written()?);
        let places = "outputs, log, settings, store";
        self.story.promise(
            "no key in any output",
            leaks.is_empty(),
            if leaks.is_empty() {
                places.to_owned()
            } else {
                leaks.join("; ")
            },
        );
        self.show(&["status"]).await;
        Ok(())
    }
}
