//! What the chart of a statement shows.

use bursar_model::InexactError;

use super::figures::{Figures, OfAccount, percent, what_flowed};
use crate::chart::{Chart, Panel};
use crate::render::moment;

pub(super) fn chart(figures: &Figures) -> Result<Chart, InexactError> {
    let mut panels: Vec<Panel> = figures.accounts.iter().map(|of| panel(of, figures)).collect();
    if panels.is_empty() {
        panels.push(Panel {
            name: String::new(),
            summary: "There is no reading of what the account was worth in this time.".to_owned(),
            curve: Vec::new(),
            below_peak: Vec::new(),
            marks: Vec::new(),
        });
    }
    Ok(Chart {
        title: figures.title(),
        panels,
    })
}

fn panel(of: &OfAccount, figures: &Figures) -> Panel {
    let done = &of.performance;
    let told = match (done.return_percent, done.drawdown) {
        (Some(gained), Some(fall)) => format!(
            "return {}, deepest fall {}",
            percent(gained),
            percent(fall.percent.unwrap_or_default())
        ),
        (Some(gained), None) => format!("return {}, no fall", percent(gained)),
        (None, _) => "nothing was in it".to_owned(),
    };
    let marks = figures
        .statement
        .flows
        .iter()
        .filter(|flow| flow.account == of.account);
    Panel {
        name: format!("{}: {told}", of.account),
        summary: format!(
            "Account {} from {} to {}: it began with {} and ended with {}; {} came in and went out; \
             time-weighted {told}.",
            of.account,
            moment(done.first.at),
            moment(done.last.at),
            done.first.equity,
            done.last.equity,
            done.flows,
        ),
        curve: done.curve.clone(),
        below_peak: of.below_peak.clone(),
        marks: marks
            .map(|flow| {
                let quantity = flow.quantity.normalize();
                (
                    flow.at,
                    format!("{quantity} {} {}", flow.asset, what_flowed(flow)),
                )
            })
            .collect(),
    }
}
