//! `bursar approvals`, `approve` and `reject`: what takes two people.

use bursar_execution::{Approval, Approvals as _, Effect, Measure, Proposed};
use bursar_model::ApprovalId;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::loss;
use crate::render::{self, Cell, Page, Table, Tone, moment};
use crate::session::{Opened, Session};
use crate::{Exit, Failure, named, prompt, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar approvals --all")]
pub struct Approvals {
    /// Those that are decided or too old too
    #[arg(long)]
    all: bool,
    /// How many of them
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar approve 6d1b345e --reason \"saw the same at the exchange\"")]
pub struct Approve {
    /// The proposal's id, or how it begins
    proposal: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar reject 6d1b345e --reason \"it is in the export of 4 March\"")]
pub struct Reject {
    /// The proposal's id, or how it begins
    proposal: String,
}

/// Proposes something, and says what happens next.
pub(crate) async fn propose(
    measure: Measure,
    evidence: &str,
    reason: &str,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    let act = session.act().because(reason);
    let now = session.surroundings.now();
    match opened.store.propose(measure, evidence, &act).await? {
        Proposed::Waiting(approval) => {
            let mut page = Page::new();
            page.line(format!("proposed: {}", approval.measure.describe()));
            facts(&mut page, &approval, now);
            page.line(format!(
                "nothing is done yet: another person runs `bursar approve {}` before {}",
                approval.id,
                moment(approval.expires_at)
            ));
            let document = json!({ "approval": approval_json(&approval, now), "done": false });
            session.console.answer(&page, &document);
            Ok(Exit::Partial)
        }
        Proposed::Done(approval, effect) => tell(&approval, &effect, now, session),
    }
}

impl Approve {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let found = find(&self.proposal, &opened).await?;
        // Nobody is asked who may not.
        let found = opened.store.approvable(found.id, &session.act()).await?;
        let now = session.surroundings.now();
        let question = format!(
            "{} proposed: {} ({}). Approve it?",
            found.proposed_by,
            found.measure.describe(),
            render::harmless(&found.reason)
        );
        prompt::dangerous(session.console, session.global.yes, &question)?;
        let (approval, effect) = opened.store.approve(found.id, &session.act()).await?;
        tell(&approval, &effect, now, session)
    }
}

impl Reject {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let found = find(&self.proposal, &opened).await?;
        let now = session.surroundings.now();
        let reason = prompt::reason(
            session.console,
            session.global.reason.as_deref(),
            "it was not approved",
        )?;
        let act = session.act().because(reason);
        let approval = opened.store.reject(found.id, &act).await?;
        let mut page = Page::new();
        page.line(format!("rejected: {}", approval.measure.describe()));
        facts(&mut page, &approval, now);
        let document = json!({ "approval": approval_json(&approval, now) });
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

impl Approvals {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let now = session.surroundings.now();
        let approvals = opened.store.approvals(self.all, self.limit).await?;
        let alone = opened.store.works_alone().await?;
        let mut table = Table::new(&[
            "PROPOSAL",
            "STATE",
            "WHAT",
            "BY",
            "SINCE",
            "UNTIL",
            "REASON",
            "EVIDENCE",
            "DECIDED BY",
        ]);
        for approval in &approvals {
            let state = approval.state(now);
            let tone = match state {
                "open" => Tone::Caution,
                "approved" => Tone::Good,
                _ => Tone::Dim,
            };
            table.row([
                Cell::new(approval.id),
                Cell::new(state).tone(tone),
                Cell::new(approval.measure.describe()),
                Cell::new(&approval.proposed_by),
                Cell::new(moment(approval.proposed_at)),
                Cell::new(moment(approval.expires_at)),
                Cell::new(&approval.reason),
                Cell::new(&approval.evidence),
                Cell::new(
                    approval
                        .verdict
                        .as_ref()
                        .map(|verdict| verdict.by.to_string())
                        .unwrap_or_default(),
                ),
            ]);
        }
        let mut page = Page::new();
        page.table(&table, "nothing waits for a second person");
        view::works_alone(&mut page, alone);
        let document = json!({
            "approvals": approvals.iter().map(|approval| approval_json(approval, now)).collect::<Vec<_>>(),
            "total_count": approvals.len(),
            "works_alone": alone,
        });
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

fn facts(page: &mut Page, approval: &Approval, now: Timestamp) {
    let mut facts = vec![
        ("proposal", Cell::new(approval.id)),
        ("state", Cell::new(approval.state(now))),
        ("proposed by", Cell::new(&approval.proposed_by)),
        ("because", Cell::new(&approval.reason)),
    ];
    if !approval.evidence.is_empty() {
        facts.push(("evidence", Cell::new(&approval.evidence)));
    }
    if let Some(verdict) = &approval.verdict {
        let word = if verdict.approved {
            "approved by"
        } else {
            "rejected by"
        };
        facts.push((word, Cell::new(&verdict.by)));
    }
    page.facts(facts);
}

pub(crate) fn approval_json(approval: &Approval, now: Timestamp) -> Value {
    let mut document = json!(approval);
    view::insert(&mut document, "state", json!(approval.state(now)));
    view::insert(&mut document, "describes", json!(approval.measure.describe()));
    document
}

/// What was done, to the person whose word made it happen.
fn tell(
    approval: &Approval,
    effect: &Effect,
    now: Timestamp,
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    let mut page = Page::new();
    let mut document = json!({ "approval": approval_json(approval, now), "done": true });
    let mut exit = Exit::Done;
    match effect {
        Effect::Resolved(intent) => {
            page.line(format!("order {} is {}", intent.id, intent.state));
            view::insert(&mut document, "order", view::order_json(intent));
        }
        Effect::Released { latch, instead } => {
            page.line(format!("switch {} on {} is off", latch.id, latch.scope));
            if let Some(instead) = instead {
                page.line(view::instead_line(instead));
            }
            view::insert(&mut document, "released", view::latch_json(latch));
            view::insert(
                &mut document,
                "instead",
                json!(instead.as_deref().map(view::latch_json)),
            );
        }
        Effect::PolicySet(policy) => {
            page.line("the looser limits are in force");
            view::insert(&mut document, "policy", json!(policy));
        }
        Effect::LossAllowed { day, still_on } => {
            exit = loss::allowed_more(&mut page, &mut document, day, still_on, now)?;
        }
    }
    facts(&mut page, approval, now);
    session.console.answer(&page, &document);
    Ok(exit)
}

/// The proposal of that id, or the only one that begins so.
async fn find(typed: &str, opened: &Opened) -> Result<Approval, Failure> {
    const LOOKED_THROUGH: u32 = 10_000;
    let exact: Option<ApprovalId> = typed.to_ascii_lowercase().parse().ok();
    let all = opened.store.approvals(true, LOOKED_THROUGH).await?;
    let mut hits: Vec<Approval> = all
        .into_iter()
        .filter(|approval| Some(approval.id) == exact || named::is_how_it_begins(typed, &approval.id))
        .collect();
    match (hits.pop(), hits.len()) {
        (Some(approval), 0) => Ok(approval),
        (None, _) => Err(Failure::not_found(
            format!("there is no proposal `{}`", named::shown(typed)),
            "list them with `bursar approvals`",
        )),
        (Some(_), more) => {
            let hits = more.saturating_add(1);
            Err(named::ambiguous(
                typed,
                hits,
                "proposal",
                "proposals",
                "bursar approvals",
            ))
        }
    }
}
