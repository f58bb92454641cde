//! The account itself: ready, with an admitted key, and with no switch in the way.

use bursar_model::{AccountMode, Check, Level};
use bursar_permissions::Caller;

use super::{Order, Rule};
use crate::{KeyState, Latch, LatchMode, Readiness, Scope, Snapshot};

pub(super) fn ready(snapshot: &Snapshot) -> Check {
    let account = &snapshot.account;
    let observed = match &account.readiness {
        Readiness::Ready => "ready".to_owned(),
        Readiness::NotReady { state } => state.clone(),
    };
    Rule::new("account-ready", Level::Account, format!("account {}", account.id))
        .limit("ready")
        .observed(observed)
        .holds(account.readiness == Readiness::Ready, || {
            "start `bursard run`, or see `bursar hierarchy` for what keeps the account from connecting".into()
        })
}

pub(super) fn key_admitted(snapshot: &Snapshot) -> Check {
    let account = &snapshot.account;
    let rule = Rule::new("key-admitted", Level::Account, "key store").limit("a key fit for trading only");
    match &account.key {
        KeyState::Admitted { checked_at } => rule
            .observed("admitted")
            .aged(snapshot.age_ms(*checked_at))
            .holds(true, String::new),
        KeyState::NotNeeded => {
            let fits = account.mode == AccountMode::Paper;
            rule.observed("no key is needed on paper")
                .holds(fits, || "a live account needs a key".into())
        }
        KeyState::Missing => rule
            .observed("none")
            .holds(false, || format!("run `bursar credentials set {}`", account.id)),
        KeyState::Refused { reason } => rule.observed(reason).holds(false, || {
            format!(
                "make a new key without that right, then run `bursar credentials set {}`",
                account.id
            )
        }),
    }
}

pub(super) fn mode(snapshot: &Snapshot) -> Check {
    let mode = snapshot.account.mode;
    let meaning = match mode {
        AccountMode::Live => "live: the order goes to the venue",
        AccountMode::Paper => "paper: the order goes to the paper exchange",
        AccountMode::Shadow => "shadow: the order is recorded and not sent",
    };
    let key_fits = match (&snapshot.account.key, mode) {
        (KeyState::NotNeeded, AccountMode::Paper) => true,
        (KeyState::NotNeeded, AccountMode::Live | AccountMode::Shadow) => false,
        (_, AccountMode::Paper) => false,
        (_, AccountMode::Live | AccountMode::Shadow) => true,
    };
    Rule::new(
        "account-mode",
        Level::Account,
        format!("account {}", snapshot.account.id),
    )
    .limit("a mode that fits the key")
    .observed(meaning)
    .holds(key_fits, || {
        "a paper account holds no key, any other needs one".into()
    })
}

/// One check per scope without a switch, and one per switch that is on.
pub(super) fn switches(caller: &Caller, reducing: bool, snapshot: &Snapshot) -> Vec<Check> {
    let account = &snapshot.account;
    let scopes = [
        Scope::Global,
        Scope::Broker(account.broker.clone()),
        Scope::User(account.user.clone()),
        Scope::Account(account.id.clone()),
    ];
    let mut checks = Vec::new();
    for scope in scopes {
        let level = match scope {
            Scope::Global | Scope::Broker(_) => Level::System,
            Scope::User(_) => Level::User,
            Scope::Account(_) => Level::Account,
        };
        let mut quiet = true;
        for latch in snapshot.switches.iter().filter(|latch| latch.scope == scope) {
            quiet = false;
            let passes = latch.mode.lets_through(caller, reducing);
            let rule = Rule::new(
                &format!("switch-{}", scope.kind()),
                level,
                format!("latch {}", latch.id),
            )
            .limit(match latch.mode {
                LatchMode::Pause | LatchMode::ReduceOnly => "orders that reduce",
                LatchMode::Halt => "none",
                LatchMode::Flatten => "the gateway's own orders that close positions",
            })
            .observed(format!(
                "{} since {} ({}): {}",
                latch.mode, latch.tripped_at, latch.cause, latch.reason
            ))
            .aged(snapshot.age_ms(latch.tripped_at));
            checks.push(rule.holds_unless(passes, false, || hint(reducing, latch)));
        }
        if quiet {
            let rule = Rule::new(&format!("switch-{}", scope.kind()), level, "switches");
            checks.push(rule.limit("off").observed("off").holds(true, String::new));
        }
    }
    checks
}

/// Whoever wants to leave a position that the gateway is closing needs nothing but patience.
fn hint(reducing: bool, latch: &Latch) -> String {
    if reducing && latch.mode == LatchMode::Flatten {
        format!(
            "`bursard run` closes the position itself, see `bursar orders`; to trade by hand, {}",
            latch.release_hint()
        )
    } else {
        latch.release_hint()
    }
}

/// The gateway closes positions only while somebody wants it to: what it asked for just before the switch
/// was turned off is not sent after that.
pub(super) fn flattener(caller: &Caller, snapshot: &Snapshot) -> Option<Check> {
    if *caller != Caller::Flattener {
        return None;
    }
    let on = (snapshot.switches.iter()).any(|latch| latch.mode == LatchMode::Flatten);
    let rule = Rule::new("flatten-switch", Level::System, "switches").limit("a switch of mode flatten");
    Some(
        rule.observed(if on { "one is on" } else { "none is on" })
            .holds(on, || {
                "the gateway closes positions only after `bursar kill … --mode flatten`".into()
            }),
    )
}

/// While an order may or may not be at the venue, the same side of the same pair waits.
pub(super) fn unresolved(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    Rule::new("unresolved-order", Level::Account, "journal")
        .limit("none of the same pair and side")
        .observed(if snapshot.unresolved {
            "one is being looked up at the venue"
        } else {
            "none"
        })
        .holds_unless(order.reducing, !snapshot.unresolved, || {
            "wait until it is found or proved absent: see `bursar orders`; do not place it again".into()
        })
}
