//! `bursar approvals`, `approve` and `reject`: what takes two people.

use bursar_controls::Policy;
use bursar_execution::{
    Approval, Approvals as _, Effect, Journal as _, Measure, Proposed, Released, WrittenOff,
};
use bursar_model::ApprovalId;
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::loss::{self, AllowedLoss};
use crate::older::{self, Newest, Wanted};
use crate::render::{self, Cell, Page, Table, Tone, moment};
use crate::session::{Opened, Session};
use crate::view::{LatchDocument, OrderDocument};
use crate::{Exit, Failure, named, prompt, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar approvals
  bursar approvals --all --limit 20")]
pub struct Approvals {
    /// Those that are decided or too old too
    #[arg(long)]
    all: bool,
    /// Only proposals older than this one, for the next page
    #[arg(long, value_name = "PROPOSAL")]
    before: Option<ApprovalId>,
    /// How many of them at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
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
    must_be_known(opened, session).await?;
    match opened.store.propose(measure, evidence, &act).await? {
        Proposed::Waiting(approval) => {
            let mut page = Page::new();
            page.line(format!(
                "proposed: {}",
                described(&approval.measure, opened).await?
            ));
            facts(&mut page, &approval, now);
            page.line(format!(
                "nothing is done yet: another person runs `bursar approve {}` before {}",
                approval.id,
                moment(approval.expires_at)
            ));
            let document = Decided {
                approval: approval_json(&approval, now),
                done: false,
                effect: EffectDocument::default(),
            };
            session.console.answer(&page, &document);
            Ok(Exit::Partial)
        }
        Proposed::Done(approval, effect) => tell(&approval, &effect, now, session),
    }
}

/// Two people are two only where the kernel tells them apart.
async fn must_be_known(opened: &Opened, session: &Session<'_>) -> Result<(), Failure> {
    if session.surroundings.is_person_known || opened.store.works_alone().await? {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        format!(
            "it takes two people, and nothing says who types this: the kernel recorded no login but root's, and `{}` is anybody who may act with these rights",
            session.surroundings.principal
        ),
        "log in under your own name and type it from there by `sudo`; who works alone sets `people.alone = true`",
    ))
}

impl Approve {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let found = find(&self.proposal, &opened).await?;
        // Nobody is asked who may not.
        must_be_known(&opened, session).await?;
        let found = opened.store.approvable(found.id, &session.act()).await?;
        let now = session.surroundings.now();
        let evidence = match found.evidence.as_str() {
            "" => String::new(),
            evidence => format!("; evidence: {}", render::harmless(evidence)),
        };
        let question = format!(
            "{} proposed: {} ({}{evidence}). Approve it?",
            found.proposed_by,
            described(&found.measure, &opened).await?,
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
        let document = Rejected {
            approval: approval_json(&approval, now),
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }
}

impl Approvals {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let now = session.surroundings.now();
        let (approvals, next_before) = self.page(&opened).await?;
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
        if let Some(next) = next_before {
            page.line(render::dim(&format!("older ones: add `--before {next}`")));
        }
        view::works_alone(&mut page, alone);
        let document = Listed {
            approvals: approvals
                .iter()
                .map(|approval| approval_json(approval, now))
                .collect(),
            total_count: approvals.len(),
            next_before,
            works_alone: alone,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    /// A page of what is wanted, and after which one the next begins.
    async fn page(&self, opened: &Opened) -> Result<(Vec<Approval>, Option<ApprovalId>), Failure> {
        let wanted = Wanted {
            before: self.before.map(|before| format!("proposal `{before}`")),
            is_it: &|approval: &Approval| Some(approval.id) == self.before,
            limit: self.limit,
        };
        let (approvals, has_more) = older::page(&wanted, async |asked| {
            Ok(Newest::of(opened.store.approvals(self.all, asked).await?, asked))
        })
        .await?;
        let next = approvals.last().filter(|_| has_more).map(|approval| approval.id);
        Ok((approvals, next))
    }
}

/// What is proposed, with what a switch stops and why: its id tells a second person nothing.
async fn described(measure: &Measure, opened: &Opened) -> Result<String, Failure> {
    let words = measure.describe();
    let Measure::Release { latch, .. } = measure else {
        return Ok(words);
    };
    let latches = opened.store.latches().await?;
    Ok(match latches.iter().find(|on| on.id == *latch) {
        Some(on) => format!(
            "{words}: {} on {}, cause {}, \"{}\"",
            on.mode,
            on.scope,
            on.cause,
            render::harmless(&on.reason)
        ),
        None => format!("{words}, which is off"),
    })
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

/// What takes two people, and how far it is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Proposal")]
pub(crate) struct ApprovalDocument<'a> {
    #[serde(flatten)]
    approval: &'a Approval,
    /// open, approved, rejected or expired.
    state: &'static str,
    /// What is proposed, in words.
    describes: String,
}

pub(crate) fn approval_json(approval: &Approval, now: Timestamp) -> ApprovalDocument<'_> {
    ApprovalDocument {
        approval,
        state: approval.state(now),
        describes: approval.measure.describe(),
    }
}

/// What waits for a second person; with `--all` what is decided or too old too.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Proposals")]
pub(crate) struct Listed<'a> {
    approvals: Vec<ApprovalDocument<'a>>,
    /// How many are on this page.
    total_count: usize,
    /// What `--before` takes for the next page; `null` on the last one.
    next_before: Option<ApprovalId>,
    /// Whether one person may do what takes two.
    works_alone: bool,
}

/// A proposal that somebody rejected.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProposalRejected")]
pub(crate) struct Rejected<'a> {
    approval: ApprovalDocument<'a>,
}

/// A proposal that was made or approved, and what was done if it was.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProposalDecided")]
pub(crate) struct Decided<'a> {
    approval: ApprovalDocument<'a>,
    /// Whether it is done; otherwise a second person has to approve it.
    done: bool,
    #[serde(flatten)]
    effect: EffectDocument<'a>,
}

/// What was done: the fields of what was proposed are there, the others are left out.
#[derive(Default, Serialize, JsonSchema)]
struct EffectDocument<'a> {
    /// The order that was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderDocument<'a>>,
    /// The switch that was turned off.
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<LatchDocument<'a>>,
    /// The gentler switch in its place; `null` where none is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<Option<LatchDocument<'a>>>,
    /// The limits that hold for everybody from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a Policy>,
    /// The day in which more loss is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<AllowedLoss<'a>>,
    /// What the ledger holds no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_off: Option<&'a WrittenOff>,
}

/// What was done, to the person whose word made it happen.
fn tell(
    approval: &Approval,
    effect: &Effect,
    now: Timestamp,
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    let mut page = Page::new();
    let mut done = EffectDocument::default();
    let mut exit = Exit::Done;
    match effect {
        Effect::Resolved(intent) => {
            page.line(format!("order {} is {}", intent.id, intent.state));
            done.order = Some(view::order_json(intent));
        }
        Effect::Released(released) => {
            let Released { latch, instead } = released.as_ref();
            page.line(format!("switch {} on {} is off", latch.id, latch.scope));
            if let Some(instead) = instead {
                page.line(view::instead_line(instead));
            }
            done.released = Some(view::latch_json(latch));
            done.instead = Some(instead.as_ref().map(view::latch_json));
        }
        Effect::PolicySet(policy) => {
            page.line("the looser limits are in force");
            done.policy = Some(policy);
        }
        Effect::LossAllowed { day, still_on } => {
            let (ends, loss) = loss::allowed_more(&mut page, day, still_on, now)?;
            exit = ends;
            done.loss = Some(loss);
        }
        Effect::WrittenOff(gone) => {
            let WrittenOff {
                account,
                pair,
                quantity,
                price,
                realised_usd,
                left,
            } = gone.as_ref();
            let left = left.normalize();
            page.line(format!(
                "{quantity} {} of {account} are written off at {price}: a result of {realised_usd}; the ledger holds {left} \
                 of {pair}",
                pair.base()
            ));
            done.written_off = Some(gone);
        }
    }
    facts(&mut page, approval, now);
    let document = Decided {
        approval: approval_json(approval, now),
        done: true,
        effect: done,
    };
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
