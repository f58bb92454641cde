//! Whether what a switch stops has really stopped, and what could not be verified.

use bursar_auth::{Account, Directory};
use bursar_broker::BrokerProfile;
use bursar_controls::{Latch, LatchCause, LatchMode};
use bursar_execution::halting::{HaltFacts, Halting, LONGEST_PAUSE, judge};
use bursar_execution::{Conditions, Connection, ConnectionState, HaltState, Intent, Journal};
use bursar_model::{AccountId, AccountMode, LatchId};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{self, Page, age, count, moment};
use crate::session::Opened;
use crate::sole::daemon_of;
use crate::view::{LatchDocument, connection_of};
use crate::{Failure, brokers};

/// A desk that works looks more often than this.
const SILENT_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// How long a desk is given before its silence means anything.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);

/// One account under one switch.
pub(crate) struct Standing {
    latch: LatchId,
    mode: LatchMode,
    account: AccountId,
    how: How,
}

enum How {
    /// Proved by two listings of the exchange.
    Verified { at: Timestamp },
    /// Nothing was ever ordered for it.
    NeverUsed,
    Open {
        uncertain: usize,
        working: usize,
        to_close: usize,
        safe_at: Option<Timestamp>,
        /// Why nobody can say more.
        doubt: Option<String>,
    },
}

/// Where every open account stands under the switches that cover it.
pub(crate) async fn standings(
    latches: &[Latch],
    opened: &Opened,
    now: Timestamp,
) -> Result<Vec<Standing>, Failure> {
    let store = &opened.store;
    let mut accounts = store.accounts().await?;
    // What only shadows has sent nothing.
    accounts.retain(|account| account.is_open() && account.mode() != AccountMode::Shadow);
    let connections = store.connections().await?;
    let halts = store.halts().await?;
    let profiles = brokers::profiles();
    let has_daemon = daemon_of(&opened.installation.store).is_some();
    let mut standings = Vec::new();
    for account in &accounts {
        let covering: Vec<&Latch> = (latches.iter())
            .filter(|latch| {
                latch
                    .scope
                    .covers(account.id(), account.owner(), account.broker())
            })
            .collect();
        if covering.is_empty() {
            continue;
        }
        let unresolved = store.unresolved(account.id()).await?;
        let was_used = !store.intents(Some(account.id()), 1).await?.is_empty();
        let positions = Journal::positions(store.as_ref(), account.id()).await?.len();
        for latch in covering {
            let state = halts
                .iter()
                .find(|state| state.latch == latch.id && state.account == *account.id());
            let how = match state.and_then(|state| state.verified_at) {
                Some(at) => How::Verified { at },
                // A store that was put back has forgotten what was ordered.
                None if !was_used && latch.cause != LatchCause::Restored => How::NeverUsed,
                None => {
                    let connection = connection_of(account.id(), &connections);
                    let doubt = doubt(connection, state, latch, has_daemon, now);
                    open(latch, account, &unresolved, positions, &profiles, doubt)
                }
            };
            standings.push(Standing {
                latch: latch.id,
                mode: latch.mode,
                account: account.id().clone(),
                how,
            });
        }
    }
    Ok(standings)
}

fn open(
    latch: &Latch,
    account: &Account,
    unresolved: &[Intent],
    positions: usize,
    profiles: &[BrokerProfile],
    doubt: Option<String>,
) -> How {
    let profile = (profiles.iter()).find(|profile| profile.broker == *account.broker());
    let facts = HaltFacts {
        unresolved,
        listings: &[],
        visibility_lag: profile.map(|profile| profile.visibility_lag).unwrap_or_default(),
        to_close: positions,
    };
    match judge(latch, &facts) {
        // Without listings nothing is proved.
        Halting::Halted(_) => How::NeverUsed,
        Halting::Halting(missing) => How::Open {
            uncertain: missing.uncertain,
            working: missing.working,
            to_close: missing.to_close,
            safe_at: missing.safe_at,
            doubt,
        },
    }
}

/// What could not be verified, in plain words.
fn doubt(
    connection: Option<&Connection>,
    state: Option<&HaltState>,
    latch: &Latch,
    has_daemon: bool,
    now: Timestamp,
) -> Option<String> {
    let is_silent = |since: Timestamp, patience| now.duration_since(since) > patience;
    let not_connected = |why: &str, cause: &str| {
        let cause = if cause.is_empty() {
            String::new()
        } else {
            format!(" ({})", render::harmless(cause))
        };
        Some(format!("not verified: {why}{cause}"))
    };
    match state {
        Some(state) if !state.cause.is_empty() => {
            return Some(format!(
                "not verified: the exchange could not be read ({})",
                render::harmless(&state.cause)
            ));
        }
        Some(state) if !is_silent(state.looked_at, SILENT_AFTER) => return None,
        _ => {}
    }
    match connection.map(|connection| (connection.state, connection.cause.as_str())) {
        None | Some((ConnectionState::Stopped, _)) => {
            not_connected("no daemon looks at the account; start `bursard run`", "")
        }
        Some((ConnectionState::NotConfigured, _)) => not_connected(
            "no key is stored, so its orders can be looked at only at the exchange",
            "",
        ),
        Some((ConnectionState::Failed, cause)) => not_connected("the account is not connected", cause),
        Some((ConnectionState::Connecting, cause)) => {
            not_connected("the account is not connected yet", cause)
        }
        Some((ConnectionState::Ready | ConnectionState::Degraded, _)) => {
            let last = state.map_or(latch.tripped_at, |state| state.looked_at.max(latch.tripped_at));
            if !is_silent(last, PATIENCE) {
                None
            } else if !has_daemon {
                not_connected("no daemon looks at the account; start `bursard run`", "")
            } else if is_silent(last, SILENT_AFTER) {
                Some(format!(
                    "not verified: nobody has looked at the exchange for {}; end the daemon if it hangs, and start it",
                    age(i64::try_from(now.duration_since(last).as_millis()).unwrap_or(i64::MAX))
                ))
            } else {
                Some(format!(
                    "not verified yet: the daemon looks every {} s, and has to find the same twice",
                    LONGEST_PAUSE.as_secs()
                ))
            }
        }
    }
}

impl Standing {
    pub(crate) fn is_of(&self, account: &AccountId) -> bool {
        self.account == *account
    }

    const fn is_open(&self) -> bool {
        matches!(self.how, How::Open { .. })
    }

    fn line(&self) -> String {
        let account = &self.account;
        match &self.how {
            How::Verified { at } => {
                format!("{account}: {} since {}", done(self.mode), moment(*at))
            }
            How::NeverUsed => format!("{account}: {}; nothing was ever ordered for it", done(self.mode)),
            How::Open {
                uncertain,
                working,
                to_close,
                safe_at,
                doubt,
            } => {
                let mut parts = Vec::new();
                if *uncertain > 0 {
                    let verb = if *uncertain == 1 { "attempt" } else { "attempts" };
                    parts.push(format!("{uncertain} {verb} may still arrive"));
                }
                if *working > 0 {
                    parts.push(format!(
                        "{} at the exchange",
                        count(*working, "order works", "orders work")
                    ));
                }
                if *to_close > 0 {
                    parts.push(count(
                        *to_close,
                        "position is to be closed",
                        "positions are to be closed",
                    ));
                }
                if let Some(at) = safe_at {
                    parts.push(if *at == Timestamp::MAX {
                        "nobody can say when it is safe".to_owned()
                    } else {
                        format!("safe from {}", moment(*at))
                    });
                }
                if parts.is_empty() {
                    parts.push(nothing_known(self.mode).to_owned());
                }
                parts.extend(doubt.clone());
                format!("{account}: {}, {}", doing(self.mode), parts.join("; "))
            }
        }
    }

    fn json(&self) -> StandingDocument<'_> {
        let state = if self.is_open() {
            doing(self.mode)
        } else {
            done(self.mode)
        };
        let nothing = StandingDocument {
            account: &self.account,
            state: state.to_ascii_lowercase(),
            verified_at: None,
            unresolved: 0,
            working: 0,
            to_close: 0,
            safe_at: None,
            not_verified: None,
        };
        match &self.how {
            How::Verified { at } => StandingDocument {
                verified_at: Some(*at),
                ..nothing
            },
            How::NeverUsed => nothing,
            How::Open {
                uncertain,
                working,
                to_close,
                safe_at,
                doubt,
            } => StandingDocument {
                unresolved: *uncertain,
                working: *working,
                to_close: *to_close,
                safe_at: *safe_at,
                not_verified: doubt.as_deref(),
                ..nothing
            },
        }
    }
}

/// Where an account stands under a switch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Standing")]
pub(crate) struct StandingDocument<'a> {
    account: &'a AccountId,
    /// pausing, paused, halting or halted.
    state: String,
    /// When two listings of the exchange proved it.
    verified_at: Option<Timestamp>,
    /// Attempts that may still arrive at the exchange.
    unresolved: usize,
    /// Orders that work at the exchange.
    working: usize,
    /// Positions that are to be closed.
    to_close: usize,
    /// From when on no attempt can arrive any more.
    safe_at: Option<Timestamp>,
    /// What could not be verified, in plain words.
    not_verified: Option<&'a str>,
}

/// What is known while the exchange has not shown it yet.
const fn nothing_known(mode: LatchMode) -> &'static str {
    match mode {
        LatchMode::Pause => {
            "no entry is on its way and what works is left alone; two listings of the exchange have to show it"
        }
        LatchMode::ReduceOnly => "no entry is known to work; two listings of the exchange have to show it",
        LatchMode::Halt | LatchMode::Flatten => {
            "no order is known to work; two listings of the exchange have to show it"
        }
    }
}

const fn doing(mode: LatchMode) -> &'static str {
    match mode {
        LatchMode::Pause => "PAUSING",
        LatchMode::ReduceOnly | LatchMode::Halt | LatchMode::Flatten => "HALTING",
    }
}

const fn done(mode: LatchMode) -> &'static str {
    match mode {
        LatchMode::Pause => "PAUSED",
        LatchMode::ReduceOnly | LatchMode::Halt | LatchMode::Flatten => "HALTED",
    }
}

/// One line for each account under each switch; what is not over first.
pub(crate) fn standing_lines(page: &mut Page, latches: &[Latch], standings: &[Standing]) {
    if standings.is_empty() {
        return;
    }
    page.heading("Whether it has stopped");
    for latch in latches {
        let of_latch = || standings.iter().filter(|standing| standing.latch == latch.id);
        for standing in of_latch().filter(|standing| standing.is_open()) {
            page.line(render::bad(&format!("  {} {}", latch.scope, standing.line())));
        }
        for standing in of_latch().filter(|standing| !standing.is_open()) {
            page.line(format!("  {} {}", latch.scope, standing.line()));
        }
    }
}

/// A switch with where its accounts stand.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SwitchWithStandings")]
pub(crate) struct LatchWithStandings<'a> {
    #[serde(flatten)]
    latch: LatchDocument<'a>,
    /// pausing, paused, halting or halted: that of the slowest account.
    state: String,
    accounts: Vec<StandingDocument<'a>>,
}

pub(crate) fn latch_with_standings_json<'a>(
    latch: &'a Latch,
    standings: &'a [Standing],
) -> LatchWithStandings<'a> {
    let of_latch = || standings.iter().filter(|standing| standing.latch == latch.id);
    let state = if of_latch().any(Standing::is_open) {
        doing(latch.mode)
    } else {
        done(latch.mode)
    };
    LatchWithStandings {
        latch: super::latch_json(latch),
        state: state.to_ascii_lowercase(),
        accounts: of_latch().map(Standing::json).collect(),
    }
}
